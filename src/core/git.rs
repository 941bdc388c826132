//! Git as options. Source: PROTOCOL.md section 7.

use std::time::Duration;

use super::config;
use super::error::Error;
use super::options::{self, Fields, Value};
use super::shown::options;
use super::value::json;

/// Where a repository is when nobody says.
pub const DEFAULT_PATH: &str = "/workspace";

/// `{ name, email }` of an author, as fields of the body.
pub fn author(name: &str, value: &Value) -> Result<Value, Error> {
    let author = Fields::new(name, Some(value), &[&["name", "email"]])?;
    match (author.filled("name")?, author.filled("email")?) {
        (Some(by), Some(email)) => Ok(json!({ "author_name": by, "author_email": email })),
        _ => Err(Error::option(name, "must be { name, email }, both of them")),
    }
}

/// Credentials: `{ username, password }` or `{ privateKey, passphrase? }`.
pub fn auth(name: &str, value: &Value) -> Result<Value, Error> {
    let names = ["kind", "username", "password", "privateKey", "passphrase"];
    let auth = Fields::new(name, Some(value), &[&names])?;
    let kind = auth.choice("kind", &["https", "ssh"])?;
    let (https, ssh) = (
        auth.has("username") || auth.has("password"),
        auth.has("privateKey"),
    );
    match (
        auth.filled("username")?,
        auth.filled("password")?,
        auth.filled("privateKey")?,
    ) {
        (Some(username), Some(password), None) if kind != Some("ssh") => {
            Ok(json!({ "kind": "https", "username": username, "password": password }))
        }
        (None, None, Some(key)) if kind != Some("https") => {
            let mut credentials = json!({ "kind": "ssh", "private_key": key });
            if let Some(passphrase) = auth.text("passphrase")? {
                credentials.put("passphrase", passphrase.into());
            }
            Ok(credentials)
        }
        _ => {
            let what = match (https, ssh) {
                (true, true) => "must be either { username, password } or { privateKey }",
                _ => "must be { username, password } or { privateKey, passphrase? }",
            };
            Err(Error::option(name, what))
        }
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

options! {
    /// Options of {@link Git.setConfig} and {@link Git.getConfig}.
    const CONFIG = GitConfigOptions: "CallOptions" {
        /// Where it is kept. @default 'global'
        scope: "'global' | 'local' | 'system'";
        /// The repository, for `local`. @default '/workspace'
        path: "string";
    }
}

/// Reads `scope` and `path` of the calls on settings.
pub fn scope(options: Option<&Value>) -> Result<Scope, Error> {
    let fields = config::call_fields(options, &CONFIG)?;
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
