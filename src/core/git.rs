//! Git as options. Source: PROTOCOL.md section 7.

use std::time::Duration;

use serde_json::{json, Map, Value as Json};

use super::config;
use super::error::Error;
use super::options::{self, Fields, Value};

/// Where a repository is when nobody says.
const DEFAULT_PATH: &str = "/workspace";

/// Options of a call, with what every one takes.
pub struct Given<'a> {
    fields: Fields<'a>,
    /// The body so far, or what goes into the query.
    pub body: Map<String, Json>,
    /// As given.
    pub request_timeout: Option<Duration>,
}

impl<'a> Given<'a> {
    /// Reads `path`, and lets `more` in.
    pub fn read(options: Option<&'a Value>, more: &[&str]) -> Result<Self, Error> {
        let fields = config::call_fields(options, &[more, &["path"]].concat())?;
        let path = fields.filled("path")?.unwrap_or(DEFAULT_PATH);
        Ok(Self {
            body: Map::from_iter([("path".to_owned(), json!(path))]),
            request_timeout: fields.seconds("requestTimeout")?,
            fields,
        })
    }

    /// Puts a value into the body.
    pub fn put(&mut self, name: &str, value: impl Into<Json>) {
        self.body.insert(name.to_owned(), value.into());
    }

    /// A text, if there is one.
    pub fn text(&mut self, option: &str, field: &str) -> Result<&mut Self, Error> {
        if let Some(text) = self.fields.filled(option)? {
            self.put(field, text);
        }
        Ok(self)
    }

    /// A flag, if there is one.
    pub fn flag(&mut self, option: &str, field: &str) -> Result<&mut Self, Error> {
        if let Some(flag) = self.fields.flag(option)? {
            self.put(field, flag);
        }
        Ok(self)
    }

    /// A count from 1, if there is one.
    pub fn count(&mut self, option: &str, field: &str) -> Result<&mut Self, Error> {
        if let Some(count) = self.fields.integer(option, 1, u64::from(u32::MAX))? {
            self.put(field, count);
        }
        Ok(self)
    }

    /// Files; whether there are any.
    pub fn files(&mut self) -> Result<bool, Error> {
        let files = self.fields.texts("files")?;
        let any = files.is_some();
        if let Some(files) = files {
            self.put("files", files);
        }
        Ok(any)
    }

    /// `author: { name, email }`.
    pub fn author(&mut self) -> Result<(), Error> {
        if let Some(author) = self.fields.object("author", &["name", "email"])? {
            match (author.filled("name")?, author.filled("email")?) {
                (Some(name), Some(email)) => {
                    self.put("author_name", name);
                    self.put("author_email", email);
                }
                _ => {
                    let what = "must be { name, email }, both of them";
                    return Err(self.fields.wrong("author", what));
                }
            }
        }
        Ok(())
    }

    /// Credentials: `{ username, password }` or `{ privateKey, passphrase? }`.
    pub fn auth(&mut self) -> Result<(), Error> {
        let names = ["kind", "username", "password", "privateKey", "passphrase"];
        let Some(auth) = self.fields.object("auth", &names)? else {
            return Ok(());
        };
        let kind = auth.choice("kind", &["https", "ssh"])?;
        let (https, ssh) = (
            auth.has("username") || auth.has("password"),
            auth.has("privateKey"),
        );
        let value = match (
            auth.filled("username")?,
            auth.filled("password")?,
            auth.filled("privateKey")?,
        ) {
            (Some(username), Some(password), None) if kind != Some("ssh") => {
                json!({ "kind": "https", "username": username, "password": password })
            }
            (None, None, Some(key)) if kind != Some("https") => {
                let mut value = json!({ "kind": "ssh", "private_key": key });
                if let Some(passphrase) = auth.text("passphrase")? {
                    value["passphrase"] = json!(passphrase);
                }
                value
            }
            _ => {
                let what = match (https, ssh) {
                    (true, true) => "must be either { username, password } or { privateKey }",
                    _ => "must be { username, password } or { privateKey, passphrase? }",
                };
                return Err(self.fields.wrong("auth", what));
            }
        };
        self.put("auth", value);
        Ok(())
    }
}

/// A remote. Credentials in it would end up in the repository's configuration and in logs.
pub fn url(value: &Value) -> Result<String, Error> {
    let url = options::filled("url", value)?;
    let (scheme, rest) = url.split_once("://").unwrap_or(("", ""));
    let user = rest.split('/').next().and_then(|host| host.rsplit_once('@'));
    let secret = user.is_some_and(|(user, _)| user.contains(':') || !scheme.eq_ignore_ascii_case("ssh"));
    if secret {
        return Err(Error::option(
            "url",
            "must not hold credentials: pass them as `auth: { username, password }`",
        ));
    }
    Ok(url.to_owned())
}

/// Where a setting is kept, and the repository of a local one.
pub struct Scope {
    /// `--global`, `--local` or `--system`.
    pub flag: &'static str,
    /// Only for a local setting.
    pub path: Option<String>,
    /// As given.
    pub request_timeout: Option<Duration>,
}

/// Reads `scope` and `path` of the calls on settings.
pub fn scope(options: Option<&Value>) -> Result<Scope, Error> {
    let fields = config::call_fields(options, &["scope", "path"])?;
    let path = fields.filled("path")?.map(str::to_owned);
    let flag = match fields.choice("scope", &["global", "local", "system"])? {
        Some("local") => "--local",
        Some("system") => "--system",
        _ => "--global",
    };
    if flag != "--local" && path.is_some() {
        return Err(fields.wrong("path", "belongs to `scope: 'local'`"));
    }
    Ok(Scope {
        flag,
        path: match flag {
            "--local" => Some(path.unwrap_or_else(|| DEFAULT_PATH.to_owned())),
            _ => None,
        },
        request_timeout: fields.seconds("requestTimeout")?,
    })
}

/// A line of git's credential store.
pub fn credential_line(protocol: &str, username: &str, password: &str, host: &str) -> String {
    let (username, password) = (super::http::encode(username), super::http::encode(password));
    format!("{protocol}://{username}:{password}@{host}\n")
}
