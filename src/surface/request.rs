//! The one reader of the table: arguments and options in, a request out.

use std::borrow::Cow;
use std::time::Duration;

use nullspace_wire::answers::Answer;
use nullspace_wire::api::{Route, Verb};

use super::{Field, Inputs, Kind, Operation, Time, To};
use crate::core::config::{self, CALL_OPTIONS, CLIENT_OPTIONS};
use crate::core::error::Error;
use crate::core::options::{self, Fields, Value};
use crate::core::value::json;
use crate::core::{files, http};

/// Where an operation is called, which decides the options that every call takes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// On a class: those of a client come along.
    Class,
    /// On a handle.
    Handle,
    /// On the files of a volume.
    Volume,
}

/// What an operation sends.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Verb and path.
    pub route: &'static Route,
    /// What fills the path, in order.
    pub ids: Vec<String>,
    /// Names and values.
    pub query: Vec<(Cow<'static, str>, String)>,
    /// Fields of the JSON body.
    pub body: Value,
    /// Whether there is a body: an empty one may be one.
    pub has_body: bool,
    /// How the answer is read.
    pub answer: Answer,
    /// As given.
    pub idempotency_key: Option<String>,
    /// As given on a handle; that of a client is the client's.
    pub request_timeout: Option<Duration>,
    /// The least HTTP time when nobody gave one.
    pub least: Duration,
    /// The answer must tell names of a network policy back.
    pub tells_domains: bool,
}

impl Request {
    /// Puts a field into the body.
    pub fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.has_body = true;
        self.body.put(name, value.into());
    }

    /// Puts the fields of an object into the body.
    pub fn put_all(&mut self, fields: Value) {
        if let Value::Object(fields) = fields {
            for (name, value) in fields {
                self.put(&name, value);
            }
        }
    }

    /// Path and query.
    pub fn path(&self) -> String {
        http::with_query(http::fill(self.route.path, &self.ids), &self.query)
    }
}

impl Operation {
    /// Checks what was given, and makes the request of it. `ids` are those of the handle.
    pub fn request(
        &'static self,
        scope: Scope,
        ids: &[&str],
        args: &[Option<Value>],
        options: Option<&Value>,
    ) -> Result<Request, Error> {
        let every: &[&str] = match scope {
            Scope::Class => &CLIENT_OPTIONS,
            Scope::Handle | Scope::Volume => &CALL_OPTIONS,
        };
        let own: Vec<&str> = self.own_options().map(|field| field.js).collect();
        let known: Vec<&str> = match self.keyed {
            true => [&own[..], &["idempotencyKey"]].concat(),
            false => own,
        };
        let fields = Fields::new("", options, &[&known, every])?;
        let has_body = self
            .args
            .iter()
            .chain(self.own_options())
            .any(|field| matches!(field.to, To::Body | To::Spread));
        let route = match (scope, self.volume) {
            (Scope::Volume, Some(route)) => route,
            _ => self.route,
        };
        let mut request = Request {
            route,
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            query: Vec::new(),
            body: json!({}),
            has_body: has_body && route.verb != Verb::Get,
            answer: route.answer,
            idempotency_key: None,
            request_timeout: None,
            tells_domains: false,
            least: match self.time {
                Time::AtLeast(time) => time,
                _ => Duration::ZERO,
            },
        };
        if scope != Scope::Class {
            config::signal(&fields)?;
            request.request_timeout = fields.seconds("requestTimeout")?;
        }
        if self.keyed {
            request.idempotency_key = idempotency_key(&fields)?;
        }
        let given: Vec<(String, Value)> = self
            .args
            .iter()
            .enumerate()
            .filter_map(|(index, field)| {
                let value = args.get(index).cloned().flatten();
                // What must be given is checked as what it is.
                let undefined = || {
                    field
                        .needed
                        .is_some()
                        .then(|| Value::Opaque("undefined".to_owned()))
                };
                Some((field.js.to_owned(), value.or_else(undefined)?))
            })
            .collect();
        let arguments = Fields::all(&given);
        for field in self.args {
            field.put(&arguments, &mut request)?;
        }
        for field in self.own_options() {
            field.put(&fields, &mut request)?;
        }
        if scope == Scope::Volume {
            for name in ["path", "from", "to"] {
                files::in_volume(name, arguments.text(name)?)?;
            }
        }
        let given = Inputs {
            args: arguments,
            options: fields,
        };
        (self.rules)(&given, &mut request)?;
        Ok(request)
    }

    /// All options but those that every call takes.
    pub fn own_options(&self) -> impl Iterator<Item = &'static Field> + Clone {
        self.sets.iter().flat_map(|set| set.iter())
    }
}

/// Reads `idempotencyKey`: text that a header can hold.
pub fn idempotency_key(fields: &Fields<'_>) -> Result<Option<String>, Error> {
    let key = fields.filled("idempotencyKey")?;
    if let Some(key) = key {
        http::check_header("idempotencyKey", "idempotency-key", key)?;
    }
    Ok(key.map(str::to_owned))
}

impl Field {
    fn put(&self, fields: &Fields<'_>, request: &mut Request) -> Result<(), Error> {
        let Some(value) = self.read(fields)? else {
            return match self.needed {
                Some(what) => Err(fields.wrong(self.js, what)),
                None => Ok(()),
            };
        };
        match self.to {
            To::Local => {}
            To::Path => request.ids.push(plain(value)),
            To::Query => request.query.push((self.wire_name(), plain(value))),
            To::Body => request.put(&self.wire_name(), value),
            To::Spread => request.put_all(value),
        }
        Ok(())
    }

    /// Name on the wire.
    pub(super) fn wire_name(&self) -> Cow<'static, str> {
        match self.wire {
            "" if self.js.bytes().any(|letter| letter.is_ascii_uppercase()) => {
                options::snake_case(self.js).into()
            }
            "" => self.js.into(),
            wire => wire.into(),
        }
    }

    /// The value that was given, checked.
    pub(super) fn read(&self, fields: &Fields<'_>) -> Result<Option<Value>, Error> {
        let name = self.js;
        Ok(match self.kind {
            Kind::Text => fields.text(name)?.map(Value::from),
            Kind::Filled => fields.filled(name)?.map(Value::from),
            Kind::Trimmed => fields.filled(name)?.map(|text| text.trim().into()),
            Kind::Id => match fields.get(name) {
                Some(value) => Some(options::id(&fields.path(name), value)?.into()),
                None => None,
            },
            Kind::Flag => fields.flag(name)?.map(Value::from),
            Kind::Int(range) => fields.integer(name, range.min, range.max)?.map(Value::from),
            Kind::OneOf(choices) => fields.choice(name, choices)?.map(Value::from),
            Kind::Texts => fields.texts(name)?.map(Value::from),
            Kind::Envs => fields.environment(name)?.cloned(),
            Kind::Object => fields.json_object(name)?.cloned(),
            Kind::Function => {
                config::function(fields, name)?;
                None
            }
            Kind::By(read) => match fields.get(name) {
                Some(value) => Some(read(&fields.path(name), value)?),
                None => None,
            },
        })
    }
}

/// A value as a part of a URL.
fn plain(value: Value) -> String {
    match value {
        Value::Text(text) => text,
        other => other.to_json(),
    }
}
