//! What every exported function does around its call: options, client, signal, errors.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{ready, Future};
use std::pin::Pin;
use std::time::Duration;

use js_sys::{Promise, Reflect};
use wasm_bindgen::prelude::*;

use super::abort::{abortable, Signal};
use super::convert;
use super::task;
use super::throw;
use super::transport::{Host, JsAnswer, JsTransport};
use crate::client::call::Outcome;
use crate::client::machine::call_options;
use crate::client::{Client, Failure};
use crate::core::config::{self, CLIENT_OPTIONS};
use crate::core::error::Error;
use crate::core::machine;
use crate::core::options::{Fields, Value};

/// A call under way. Boxed, so that what surrounds it is compiled once, not once for each export.
pub type Call = Pin<Box<dyn Future<Output = Outcome<JsTransport, JsValue>>>>;

/// A handle of JavaScript, as its calls take it along: it can be cloned, and it knows the transport.
pub trait Handle: Clone + 'static {
    /// What its calls go through.
    fn transport(&self) -> JsTransport;
}

/// What a call gives, as JavaScript sees it.
pub trait IntoJs {
    /// The value that the promise resolves with.
    fn into_js(self) -> JsValue;
}

impl IntoJs for JsValue {
    fn into_js(self) -> JsValue {
        self
    }
}

impl IntoJs for JsAnswer {
    fn into_js(self) -> JsValue {
        self.0
    }
}

impl IntoJs for () {
    fn into_js(self) -> JsValue {
        JsValue::UNDEFINED
    }
}

impl IntoJs for bool {
    fn into_js(self) -> JsValue {
        self.into()
    }
}

impl IntoJs for String {
    fn into_js(self) -> JsValue {
        self.into()
    }
}

/// A call of a static function.
pub fn on_class<F, V>(options: JsValue, client: JsValue, call: impl FnOnce(Given) -> F + 'static) -> Promise
where
    F: Future<Output = Outcome<JsTransport, V>> + 'static,
    V: IntoJs + 'static,
{
    class_call(options, client, Box::new(|given| in_js(Box::pin(call(given)))))
}

/// A call on a handle: `options` may hold a signal. What else they hold is checked by the call itself.
pub fn on_handle<H: Handle, F, V>(
    handle: &H,
    options: JsValue,
    call: impl FnOnce(H, Option<Value>) -> F + 'static,
) -> Promise
where
    F: Future<Output = Outcome<JsTransport, V>> + 'static,
    V: IntoJs + 'static,
{
    let owned = handle.clone();
    handle_call(
        handle.transport(),
        options,
        Box::new(|read| in_js(Box::pin(call(owned, read)))),
    )
}

/// A call on a handle that takes no options but a time and a signal.
pub fn on_handle_timed<H: Handle, F, V>(
    handle: &H,
    options: JsValue,
    call: impl FnOnce(H, Option<Duration>) -> F + 'static,
) -> Promise
where
    F: Future<Output = Outcome<JsTransport, V>> + 'static,
    V: IntoJs + 'static,
{
    let owned = handle.clone();
    timed_call(
        handle.transport(),
        options,
        Box::new(|timeout| in_js(Box::pin(call(owned, timeout)))),
    )
}

/// Generic over the result alone: boxed before, or every export would have one of its own.
fn in_js<V: IntoJs + 'static>(call: Pin<Box<dyn Future<Output = Outcome<JsTransport, V>>>>) -> Call {
    Box::pin(async { call.await.map(V::into_js) })
}

// From here on nothing is generic: it is compiled once.

type OnClass = Box<dyn FnOnce(Given) -> Call>;
type OnHandle = Box<dyn FnOnce(Option<Value>) -> Call>;
type OnHandleTimed = Box<dyn FnOnce(Option<Duration>) -> Call>;

fn class_call(options: JsValue, client: JsValue, call: OnClass) -> Promise {
    task::start(Box::pin(async move {
        let given = Given::read(&options, &client)?;
        let (transport, signal) = (given.transport.clone(), given.signal.clone());
        run(transport, signal, call(given)).await
    }))
}

fn timed_call(transport: JsTransport, options: JsValue, call: OnHandleTimed) -> Promise {
    handle_call(
        transport,
        options,
        Box::new(|read| match call_options(read.as_ref(), &[]) {
            Ok((timeout, _)) => call(timeout),
            Err(error) => Box::pin(ready(Err(error.into()))),
        }),
    )
}

fn handle_call(transport: JsTransport, options: JsValue, call: OnHandle) -> Promise {
    task::start(Box::pin(async move {
        let (read, signal) = options_of_handle(&options)?;
        run(transport, signal, call(read)).await
    }))
}

/// What the options of a call on a handle hold, and the signal among them.
pub fn options_of_handle(options: &JsValue) -> Result<(Option<Value>, Option<Signal>), JsValue> {
    let read = optional(options)?;
    let signal = match options.is_object() {
        true => signal(Reflect::get(options, &"signal".into())?)?,
        false => None,
    };
    Ok((read, signal))
}

/// Runs a call under its signal, and makes its failure what JavaScript gets.
pub async fn run(transport: JsTransport, signal: Option<Signal>, call: Call) -> Result<JsValue, JsValue> {
    abortable(
        signal.as_ref(),
        Box::pin(async {
            call.await.map_err(|failure| {
                let cause = match &failure {
                    Failure::Error(error) => transport.take_cause(&error.message),
                    Failure::Thrown(_) => None,
                };
                throw::failure(failure, cause)
            })
        }),
    )
    .await
}

/// An argument that is no option.
pub fn argument(js: &JsValue) -> Outcome<JsTransport, Value> {
    convert::value(js).map_err(Failure::Thrown)
}

/// An argument that is an id or another text that must not be empty.
pub fn named(argument_name: &str, js: &JsValue) -> Outcome<JsTransport, String> {
    Ok(machine::id(argument_name, &argument(js)?)?)
}

/// Options of a static call, and what they say about the client.
pub struct Given {
    /// The options of the call over those of its client; without the latter when that is [`Given::known`].
    pub options: Value,
    transport: JsTransport,
    signal: Option<Signal>,
    /// The client of an earlier call with the same options.
    known: Option<Client<JsTransport>>,
}

/// What was made of the options of a `Nullspace`, which never change: reading them again would be most of a short call.
struct Known {
    options: JsValue,
    transport: JsTransport,
    signal: Option<Signal>,
    client: Client<JsTransport>,
}

/// Clients that are remembered. More only cost the time of reading their options.
const KNOWN: usize = 8;

thread_local! {
    static CLIENTS: RefCell<VecDeque<Known>> = const { RefCell::new(VecDeque::new()) };
}

fn says_nothing_of_the_client(own: &Value) -> bool {
    matches!(own, Value::Object(list) if !list.iter().any(|(name, _)| CLIENT_OPTIONS.contains(&name.as_str())))
}

impl Known {
    /// The client of an object that was read before, for a call with these options of its own.
    fn find(object: &JsValue, own: Value) -> Result<Given, Value> {
        if !says_nothing_of_the_client(&own) {
            return Err(own);
        }
        CLIENTS.with_borrow(|known| {
            let Some(known) = known.iter().find(|known| known.options == *object) else {
                return Err(own);
            };
            Ok(Given {
                options: own,
                transport: known.transport.clone(),
                signal: known.signal.clone(),
                known: Some(known.client.clone()),
            })
        })
    }

    /// Remembers what was read. Not when a part of it came from the environment, which may be another one at the next call.
    fn remember(object: &JsValue, signal: Option<Signal>, client: &Client<JsTransport>) {
        let Ok(Value::Object(read)) = convert::value(object) else {
            return;
        };
        let has = |wanted: &str| read.iter().any(|(name, _)| name == wanted);
        if !has("apiKey") || !has("baseUrl") {
            return;
        }
        let known = Known {
            options: object.clone(),
            transport: client.transport().clone(),
            signal,
            client: client.clone(),
        };
        CLIENTS.with_borrow_mut(|clients| {
            clients.truncate(KNOWN - 1);
            clients.push_front(known);
        });
    }
}

impl Given {
    /// Reads the options of a call and those of the client it was made on.
    pub fn read(options: &JsValue, client: &JsValue) -> Result<Self, JsValue> {
        let mut own = match optional(options)? {
            Some(value) => value,
            None => Value::Object(Vec::new()),
        };
        if client.is_object() {
            match Known::find(client, own) {
                Ok(given) => return Ok(given),
                Err(unknown) => own = unknown,
            }
        }
        let is_plain = says_nothing_of_the_client(&own);
        let merged =
            config::merge(optional(client)?.as_ref(), own).map_err(|error| throw::error(&error, None))?;
        let find = |name: &str| -> Result<JsValue, JsValue> {
            for bag in [options, client] {
                if bag.is_object() {
                    let value = Reflect::get(bag, &name.into())?;
                    if !value.is_undefined() {
                        return Ok(value);
                    }
                }
            }
            Ok(JsValue::UNDEFINED)
        };
        let signal = signal(find("signal")?)?;
        let mut given = Self {
            options: merged,
            transport: JsTransport::new(find)?,
            signal,
            known: None,
        };
        if client.is_object() && is_plain {
            // What is wrong with them is said by the call itself.
            let read = optional(client)?;
            let fields = Fields::new("", read.as_ref(), &[&CLIENT_OPTIONS]).ok();
            if let Some(Ok(made)) = fields.map(|fields| given.client(&fields)) {
                Known::remember(client, given.signal.clone(), &made);
                given.known = Some(made);
            }
        }
        Ok(given)
    }

    /// The options of a static that takes those of the client and `more`.
    pub fn fields(&self, more: &[&str]) -> Result<Fields<'_>, Error> {
        Fields::new("", Some(&self.options), &[more, &CLIENT_OPTIONS])
    }

    /// Client and id of a static that takes no options of its own.
    pub fn on(&self, id: &JsValue) -> Outcome<JsTransport, (Client<JsTransport>, String)> {
        let fields = self.fields(&[])?;
        Ok((self.client(&fields)?, named("id", id)?))
    }

    /// What its calls go through.
    pub fn transport(&self) -> JsTransport {
        self.transport.clone()
    }

    /// What may give the call up.
    pub fn signal(&self) -> Option<Signal> {
        self.signal.clone()
    }

    /// The client that the options describe.
    pub fn client(&self, fields: &Fields<'_>) -> Result<Client<JsTransport>, Error> {
        if let Some(known) = &self.known {
            return Ok(known.clone());
        }
        Ok(Client::new(
            config::settings(fields, &Host)?,
            self.transport.clone(),
        ))
    }
}

/// Options, `undefined` being absent.
fn optional(js: &JsValue) -> Result<Option<Value>, JsValue> {
    if js.is_undefined() {
        Ok(None)
    } else {
        convert::value(js).map(Some)
    }
}

/// Anything with the shape of an `AbortSignal`. What is none is left to the check of the options.
fn signal(js: JsValue) -> Result<Option<Signal>, JsValue> {
    if !js.is_object() {
        return Ok(None);
    }
    let listens = Reflect::get(&js, &"addEventListener".into())?.is_function();
    if listens && Reflect::get(&js, &"aborted".into())?.as_bool().is_some() {
        return Ok(Some(js.unchecked_into()));
    }
    Err(throw::error(
        &Error::option("signal", "must be an AbortSignal"),
        None,
    ))
}
