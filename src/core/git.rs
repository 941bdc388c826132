//! Git as options. Source: PROTOCOL.md section 7.

use std::time::Duration;

use super::config;
use super::error::Error;
use super::http;
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

/// Something that git needs done in the machine. Not `Debug`: it may hold a secret.
pub enum Step {
    /// A command of git: its arguments.
    Git(Vec<String>),
    /// The same, which may fail.
    Try(Vec<String>),
    /// Makes a directory that only root may enter.
    Directory(&'static str),
    /// Writes a file that only root may read.
    Secret(&'static str, String),
    /// Adds a line to such a file.
    SecretLine(&'static str, String),
}

/// What a call is made of, in order.
pub struct Steps {
    /// None of them is taken before all are checked.
    pub steps: Vec<Step>,
    /// The repository; some calls have none.
    pub path: Option<String>,
    /// Of each command.
    pub request_timeout: Option<Duration>,
    /// What the caller gets.
    pub gives: Gives,
}

/// What a call gives.
pub enum Gives {
    /// Nothing.
    Nothing,
    /// What the last command printed.
    Output,
    /// The same without space around it.
    Trimmed,
}

/// Credentials that stay, in the home of the machine's root.
const CREDENTIALS: &str = "/root/.git-credentials";
/// The command that makes git look there.
const HELPER: &str = "store --file /root/.git-credentials";
/// Keys that stay.
const KEYS: &str = "/root/.ssh";

fn arguments(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

/// Reads `path` and `requestTimeout`, and puts the steps into that repository.
fn in_repository(fields: &Fields<'_>, steps: Vec<Step>, gives: Gives) -> Result<Steps, Error> {
    Ok(Steps {
        steps,
        path: Some(fields.filled("path")?.unwrap_or(DEFAULT_PATH).to_owned()),
        request_timeout: fields.seconds("requestTimeout")?,
        gives,
    })
}

/// What is not added yet, as a patch.
pub fn diff(options: Option<&Value>) -> Result<Steps, Error> {
    let fields = config::call_fields(options, &["path"])?;
    in_repository(&fields, vec![Step::Git(arguments(&["diff"]))], Gives::Output)
}

/// Names a remote.
pub fn remote_add(name: &Value, url: &Value, options: Option<&Value>) -> Result<Steps, Error> {
    let (name, url) = (options::filled("name", name)?, self::url(url)?);
    let fields = config::call_fields(options, &["fetch", "overwrite", "path"])?;
    let mut steps = Vec::new();
    if fields.flag("overwrite")? == Some(true) {
        // There may be none to overwrite.
        steps.push(Step::Try(arguments(&["remote", "remove", "--", name])));
    }
    steps.push(Step::Git(match fields.flag("fetch")? {
        Some(true) => arguments(&["remote", "add", "-f", "--", name, &url]),
        _ => arguments(&["remote", "add", "--", name, &url]),
    }));
    in_repository(&fields, steps, Gives::Nothing)
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

/// Settings: each with the arguments that follow where it is kept.
fn settings(all: &[&[&str]], options: Option<&Value>, gives: Gives) -> Result<Steps, Error> {
    let fields = config::call_fields(options, &CONFIG)?;
    let path = fields.filled("path")?;
    let flag = match fields.choice("scope", &["global", "local", "system"])? {
        Some("local") => "--local",
        Some("system") => "--system",
        _ => "--global",
    };
    if flag != "--local" && path.is_some() {
        return Err(fields.wrong("path", "belongs to `scope: 'local'`"));
    }
    let step = |rest: &&[&str]| Step::Git(arguments(&[&["config", flag], *rest].concat()));
    Ok(Steps {
        steps: all.iter().map(step).collect(),
        path: (flag == "--local").then(|| path.unwrap_or(DEFAULT_PATH).to_owned()),
        request_timeout: fields.seconds("requestTimeout")?,
        gives,
    })
}

/// Keeps a setting.
pub fn set_config(key: &Value, value: &Value, options: Option<&Value>) -> Result<Steps, Error> {
    let (key, value) = (options::filled("key", key)?, options::text("value", value)?);
    settings(&[&["--", key, value]], options, Gives::Nothing)
}

/// A setting.
pub fn get_config(key: &Value, options: Option<&Value>) -> Result<Steps, Error> {
    let key = options::filled("key", key)?;
    settings(&[&["--get", "--", key]], options, Gives::Trimmed)
}

/// Name and address of who commits.
pub fn configure_user(name: &Value, email: &Value, options: Option<&Value>) -> Result<Steps, Error> {
    let (name, email) = (options::text("name", name)?, options::text("email", email)?);
    let both: [&[&str]; 2] = [&["--", "user.name", name], &["--", "user.email", email]];
    settings(&both, options, Gives::Nothing)
}

/// Keeps credentials in the machine, for every later operation there.
pub fn store_credentials(options: Option<&Value>) -> Result<Steps, Error> {
    let fields = config::call_fields(options, &["username", "password", "host", "protocol"])?;
    let needed = |name: &str| {
        let missing = || fields.wrong(name, "is missing: give { username, password }");
        Ok::<_, Error>(http::encode(fields.filled(name)?.ok_or_else(missing)?))
    };
    let protocol = fields.choice("protocol", &["https", "http"])?.unwrap_or("https");
    let host = fields.filled("host")?.unwrap_or("github.com");
    let (username, password) = (needed("username")?, needed("password")?);
    let line = format!("{protocol}://{username}:{password}@{host}\n");
    Ok(Steps {
        steps: vec![
            Step::Git(arguments(&["config", "--global", "credential.helper", HELPER])),
            Step::SecretLine(CREDENTIALS, line),
        ],
        path: None,
        request_timeout: fields.seconds("requestTimeout")?,
        gives: Gives::Nothing,
    })
}

/// Keeps a private key in the machine, for every later operation there.
pub fn add_ssh_key(key: &Value, options: Option<&Value>) -> Result<Steps, Error> {
    let fields = config::call_fields(options, &[])?;
    let key = options::filled("privateKey", key)?;
    let accept = "Host *\n  StrictHostKeyChecking accept-new\n";
    Ok(Steps {
        steps: vec![
            Step::Directory(KEYS),
            Step::Secret("/root/.ssh/id_rsa", format!("{}\n", key.trim_end())),
            Step::Secret("/root/.ssh/config", accept.to_owned()),
        ],
        path: None,
        request_timeout: fields.seconds("requestTimeout")?,
        gives: Gives::Nothing,
    })
}
