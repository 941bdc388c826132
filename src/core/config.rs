//! Where the API key and the base URL come from. Source: PROTOCOL.md section 1, "Resolution order".

use std::cell::OnceCell;
use std::time::Duration;

use super::error::{Error, Kind};
use super::http;
use super::options::{Fields, Value};

/// Names of the options that every static call takes.
pub const CLIENT_OPTIONS: [&str; 10] = [
    "apiKey",
    "baseUrl",
    "requestTimeout",
    "signal",
    "fetch",
    "WebSocket",
    "headers",
    "onRequest",
    "onResponse",
    // What lib.js makes of `tracer`.
    "startSpan",
];

/// Names of the options that calls on handles take.
pub const CALL_OPTIONS: [&str; 2] = ["requestTimeout", "signal"];

/// Where a local engine listens.
pub const DEFAULT_BASE_URL: &str = "http://localhost:3000";

/// What the runtime may know: environment and files. Browsers and the edge know nothing.
pub trait Environment {
    /// A value of the environment.
    fn env(&self, name: &str) -> Option<String>;
    /// A file's text.
    fn read(&self, path: &str) -> Option<String>;
    /// The user's home directory.
    fn home(&self) -> Option<String>;
    /// The value of a JSON text; `None` when it is no JSON.
    fn json(text: &str) -> Option<Value>
    where
        Self: Sized;
}

/// The API key.
#[derive(Clone, PartialEq)]
pub enum Key {
    /// Text.
    Fixed(String),
    /// The caller gave a function: ask it, and again after a 401.
    Asked,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Key::Fixed(_) => "Key::Fixed(..)",
            Key::Asked => "Key::Asked",
        })
    }
}

/// Options of a client, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What goes into `Authorization`.
    pub key: Key,
    /// Without trailing slashes.
    pub base_url: String,
    /// Who named it, for messages.
    pub base_url_from: &'static str,
    /// As given; each operation has its own default.
    pub request_timeout: Option<Duration>,
    /// Added to every request.
    pub headers: Vec<(String, String)>,
}

/// Puts the options of a call over those of its client. Names that are no client options are refused in the latter.
pub fn merge(client: Option<&Value>, call: Value) -> Result<Value, Error> {
    let Some(client) = client else { return Ok(call) };
    Fields::new("", Some(client), &[&CLIENT_OPTIONS])?;
    let (Value::Object(base), Value::Object(mut merged)) = (client, call.clone()) else {
        return Ok(call);
    };
    for (name, value) in base {
        match merged.iter_mut().find(|(known, _)| known == name) {
            None => merged.push((name.clone(), value.clone())),
            Some((_, Value::Object(over))) if name == "headers" => {
                let Value::Object(under) = value else { continue };
                for (header, text) in under {
                    if !over.iter().any(|(known, _)| known.eq_ignore_ascii_case(header)) {
                        over.push((header.clone(), text.clone()));
                    }
                }
            }
            Some(_) => {}
        }
    }
    Ok(Value::Object(merged))
}

/// Reads the client options among `fields`, and the rest from the runtime.
pub fn settings(fields: &Fields<'_>, environment: &impl Environment) -> Result<Settings, Error> {
    for name in ["fetch", "WebSocket", "onRequest", "onResponse", "startSpan"] {
        function(fields, name)?;
    }
    signal(fields)?;
    let places = SettingSources::of(environment);
    let mut key_place = None;
    let key = match fields.get("apiKey") {
        Some(Value::Opaque(kind)) if kind == "a function" => Key::Asked,
        Some(Value::Text(text)) => match text.trim() {
            "" => return Err(missing_key("the option `apiKey` is empty")),
            text => Key::Fixed(text.to_owned()),
        },
        Some(other) => {
            return Err(fields.wrong(
                "apiKey",
                &format!("must be a string or a function, not {}", other.kind()),
            ))
        }
        None => match SETTING_SOURCES
            .into_iter()
            .find_map(|place| Some((place, places.key(place)?)))
        {
            Some((place, key)) => {
                key_place = Some(place);
                Key::Fixed(key)
            }
            None => return Err(missing_key("there is no API key")),
        },
    };
    // A file of the directory may not say where the user's own key is sent: its URL is used with its own key alone, or with one that the
    // caller gave beside it. The same holds for the other files.
    let fits = |place: SettingSource| {
        place == SettingSource::Environment || key_place.is_none_or(|key| key == place)
    };
    if let Key::Fixed(text) = &key {
        http::check_header("apiKey", "authorization", text)?;
    }
    let default = || (DEFAULT_BASE_URL.to_owned(), "the default");
    let (base_url, base_url_from) = match fields.text("baseUrl")? {
        Some(text) if text.trim().is_empty() => default(),
        Some(text) => (
            http::check_base_url("option `baseUrl`", text.trim())?,
            "the option `baseUrl`",
        ),
        None => SETTING_SOURCES
            .into_iter()
            .filter(|place| fits(*place))
            .find_map(|place| Some((place, places.url(place)?)))
            .map_or_else(
                || Ok(default()),
                |(place, url)| Ok((http::check_base_url(place.url_name(), &url)?, place.url_name())),
            )?,
    };
    Ok(Settings {
        key,
        base_url,
        base_url_from,
        request_timeout: fields.seconds("requestTimeout")?,
        headers: http::check_headers(fields)?,
    })
}

/// Options of a call on a handle: its own and those that every call takes.
pub fn call_fields<'a>(options: Option<&'a Value>, more: &[&str]) -> Result<Fields<'a>, Error> {
    let fields = Fields::new("", options, &[more, &CALL_OPTIONS])?;
    signal(&fields)?;
    Ok(fields)
}

/// Checks that an option, if given, is a function.
pub fn function(fields: &Fields<'_>, name: &str) -> Result<(), Error> {
    match fields.get(name) {
        None => Ok(()),
        Some(Value::Opaque(kind)) if kind == "a function" => Ok(()),
        Some(other) => Err(fields.wrong(name, &format!("must be a function, not {}", other.kind()))),
    }
}

/// Checks that `signal`, if given, may be an `AbortSignal`.
pub fn signal(fields: &Fields<'_>) -> Result<(), Error> {
    match fields.get("signal") {
        None => Ok(()),
        Some(Value::Opaque(kind)) if kind.starts_with("a ") && kind != "a function" => Ok(()),
        Some(other) => Err(fields.wrong("signal", &format!("must be an AbortSignal, not {}", other.kind()))),
    }
}

fn missing_key(what: &str) -> Error {
    Error::new(
        Kind::Auth,
        "unauthorized",
        format!(
            "{what}: pass `apiKey`, or, where the runtime has an environment and files, set NULLSPACE_API_KEY \
             (or NULLSPACE_TOKEN), put it into ./.env, or \"api_key\" into ~/.config/nullspace/config.json. \
             A local engine that you run needs none of that: start one with `npx nullspace engine`"
        ),
    )
}

/// Where settings may be that are no options, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SettingSource {
    Environment,
    /// `./.env`
    Directory,
    /// `$XDG_CONFIG_HOME/nullspace/config.json`
    Config,
    /// `~/.nullspace/config.json`, the older place.
    OldConfig,
    /// `$XDG_STATE_HOME/nullspace/engine.json`, which a local engine of this user writes while it runs.
    Engine,
}

const SETTING_SOURCES: [SettingSource; 5] = [
    SettingSource::Environment,
    SettingSource::Directory,
    SettingSource::Config,
    SettingSource::OldConfig,
    SettingSource::Engine,
];

impl SettingSource {
    /// Its base URL in messages.
    fn url_name(self) -> &'static str {
        match self {
            SettingSource::Environment => "the base URL in NULLSPACE_API_URL or NULLSPACE_BASE_URL",
            SettingSource::Directory => "the base URL in ./.env",
            SettingSource::Config => "the base URL in ~/.config/nullspace/config.json",
            SettingSource::OldConfig => "the base URL in ~/.nullspace/config.json",
            SettingSource::Engine => "the address of the engine that runs here",
        }
    }
}

/// Settings of the environment and of files. A file is read when everything before it says nothing: most callers give options or
/// set variables, and a file costs as much as a call.
struct SettingSources<'a, E> {
    environment: &'a E,
    dotenv: OnceCell<Option<String>>,
    configs: OnceCell<[Option<Value>; 2]>,
    engine: OnceCell<Option<Value>>,
}

impl<'a, E: Environment> SettingSources<'a, E> {
    fn of(environment: &'a E) -> Self {
        Self {
            environment,
            dotenv: OnceCell::new(),
            configs: OnceCell::new(),
            engine: OnceCell::new(),
        }
    }

    fn key(&self, place: SettingSource) -> Option<String> {
        self.first(place, &["NULLSPACE_API_KEY", "NULLSPACE_TOKEN"], &["api_key"])
    }

    fn url(&self, place: SettingSource) -> Option<String> {
        self.first(
            place,
            &["NULLSPACE_API_URL", "NULLSPACE_BASE_URL"],
            &["base_url", "api_url"],
        )
    }

    /// The first of these that is not blank.
    fn first(&self, place: SettingSource, names: &[&str], keys: &[&str]) -> Option<String> {
        let filled = |text: String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let of = |config: &Option<Value>| {
            let config = config.as_ref()?;
            let text = |key: &&str| config.get(key)?.as_str().map(str::to_owned).and_then(filled);
            keys.iter().find_map(text)
        };
        match place {
            SettingSource::Environment => names
                .iter()
                .find_map(|name| self.environment.env(name).and_then(filled)),
            SettingSource::Directory => {
                let text = self
                    .dotenv
                    .get_or_init(|| self.environment.read("./.env"))
                    .as_deref()?;
                names.iter().find_map(|name| dotenv(text, name).and_then(filled))
            }
            SettingSource::Config => of(&self.configs()[0]),
            SettingSource::OldConfig => of(&self.configs()[1]),
            SettingSource::Engine => of(self.engine.get_or_init(|| running_engine(self.environment))),
        }
    }

    fn configs(&self) -> &[Option<Value>; 2] {
        self.configs.get_or_init(|| {
            let environment = self.environment;
            let home = environment.home();
            let json = |path: Option<String>| object(environment, &path?);
            let xdg = environment
                .env("XDG_CONFIG_HOME")
                .filter(|path| !path.is_empty())
                .or_else(|| home.as_ref().map(|home| format!("{home}/.config")));
            [
                json(xdg.map(|folder| format!("{folder}/nullspace/config.json"))),
                json(home.map(|home| format!("{home}/.nullspace/config.json"))),
            ]
        })
    }
}

/// A file that holds a JSON object.
fn object<E: Environment>(environment: &E, path: &str) -> Option<Value> {
    E::json(&environment.read(path)?).filter(|value| value.as_object().is_some())
}

/// What the local engine of this user says of itself, while it lives: a port that a killed one had may be somebody else's by now.
/// A file without a process is that of an engine in a container, whose processes are not seen from here.
fn running_engine(environment: &impl Environment) -> Option<Value> {
    let state = environment
        .env("XDG_STATE_HOME")
        .filter(|path| path.starts_with('/'))
        .or_else(|| environment.home().map(|home| format!("{home}/.local/state")))?;
    let engine = object(environment, &format!("{state}/nullspace/engine.json"))?;
    let Some(pid) = engine.get("pid") else {
        return Some(engine);
    };
    let stat = environment.read(&format!("/proc/{}/stat", pid.to_json()))?;
    // The program's name stands in parentheses and may hold any character.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut words = after_name.split_whitespace();
    // Ended, and not yet waited for.
    if words.next()? == "Z" {
        return None;
    }
    (engine.get("started")?.as_str()? == words.nth(18)?).then_some(engine)
}

/// `KEY=VALUE` lines, `#` comments, one pair of quotes removed; no `export`, no interpolation.
fn dotenv(text: &str, name: &str) -> Option<String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let (key, value) = line.split_once('=')?;
            if key.trim() != name {
                return None;
            }
            let value = value.trim();
            let bare = ['"', '\'']
                .iter()
                .find_map(|quote| {
                    value
                        .strip_prefix(*quote)
                        .and_then(|rest| rest.strip_suffix(*quote))
                })
                .unwrap_or(value);
            Some(bare.to_owned())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    struct Fake(
        HashMap<&'static str, &'static str>,
        HashMap<&'static str, &'static str>,
    );

    impl Environment for Fake {
        fn env(&self, name: &str) -> Option<String> {
            self.0.get(name).map(|text| (*text).to_owned())
        }
        fn read(&self, path: &str) -> Option<String> {
            self.1.get(path).map(|text| (*text).to_owned())
        }
        fn home(&self) -> Option<String> {
            Some("/home/u".to_owned())
        }
        fn json(text: &str) -> Option<Value> {
            crate::core::value::parse(text)
        }
    }

    fn resolve(
        env: &[(&'static str, &'static str)],
        files: &[(&'static str, &'static str)],
    ) -> Result<Settings, Error> {
        let fake = Fake(env.iter().copied().collect(), files.iter().copied().collect());
        settings(&Fields::new("", None, &[&CLIENT_OPTIONS])?, &fake)
    }

    #[test]
    fn the_environment_comes_before_dotenv_before_the_files() {
        let files = [
            (
                "./.env",
                "# x\nNULLSPACE_TOKEN='from dotenv'\nNULLSPACE_BASE_URL=http://dotenv\n",
            ),
            (
                "/home/u/.config/nullspace/config.json",
                r#"{"api_key":"from config","base_url":7}"#,
            ),
            (
                "/home/u/.nullspace/config.json",
                r#"{"api_key":"old","base_url":"http://old/"}"#,
            ),
        ];
        let all = resolve(&[("NULLSPACE_TOKEN", " token ")], &files).unwrap();
        assert_eq!(all.key, Key::Fixed("token".into()));
        let directory = resolve(&[], &files).unwrap();
        assert_eq!(directory.key, Key::Fixed("from dotenv".into()));
        assert_eq!(directory.base_url, "http://dotenv");
        let configs = resolve(&[("NULLSPACE_API_KEY", "")], &files[1..]).unwrap();
        assert_eq!(configs.key, Key::Fixed("from config".into()));
        let old = resolve(&[], &files[2..]).unwrap();
        assert_eq!(
            (old.key, old.base_url.as_str()),
            (Key::Fixed("old".into()), "http://old")
        );
        assert_eq!(
            resolve(&[("NULLSPACE_API_KEY", "k")], &[]).unwrap().base_url,
            DEFAULT_BASE_URL
        );
    }

    #[test]
    fn a_file_does_not_say_where_a_key_from_elsewhere_is_sent() {
        let here = [("./.env", "NULLSPACE_API_URL=http://evil\n")];
        let mine = (
            "/home/u/.nullspace/config.json",
            r#"{"api_key":"mine","base_url":"http://mine"}"#,
        );
        let of_config = resolve(&[], &[here[0], mine]).unwrap();
        assert_eq!(
            (of_config.key, of_config.base_url.as_str()),
            (Key::Fixed("mine".into()), "http://mine")
        );
        let of_environment = resolve(&[("NULLSPACE_API_KEY", "k")], &[here[0], mine]).unwrap();
        assert_eq!(of_environment.base_url, DEFAULT_BASE_URL);
        // The environment is the user's own, and so are options.
        let named = [("NULLSPACE_API_KEY", "k"), ("NULLSPACE_API_URL", "http://named")];
        assert_eq!(resolve(&named, &here).unwrap().base_url, "http://named");
        let fake = Fake(HashMap::new(), here.iter().copied().collect());
        let options = Value::Object(vec![("apiKey".to_owned(), Value::Text("k".to_owned()))]);
        let given = Fields::new("", Some(&options), &[&CLIENT_OPTIONS]).unwrap();
        assert_eq!(settings(&given, &fake).unwrap().base_url, "http://evil");
    }

    #[test]
    fn a_running_engine_of_this_user_is_found_last_and_only_while_it_lives() {
        const FILE: &str = "/home/u/.local/state/nullspace/engine.json";
        const TOLD: &str =
            r#"{"base_url":"http://127.0.0.1:41000","api_key":"of the engine","pid":77,"started":"500"}"#;
        const ALIVE: &str = "77 (a )b) S 1 77 77 0 -1 4 5 6 7 8 9 10 11 12 20 0 9 0 500 1000 2000";
        let engine = [(FILE, TOLD), ("/proc/77/stat", ALIVE)];
        let found = resolve(&[], &engine).unwrap();
        assert_eq!(found.key, Key::Fixed("of the engine".into()));
        assert_eq!(found.base_url, "http://127.0.0.1:41000");
        // Its address is used with its own key, or with an option.
        assert_eq!(
            resolve(&[("NULLSPACE_API_KEY", "k")], &engine).unwrap().base_url,
            DEFAULT_BASE_URL
        );
        let config = ("/home/u/.nullspace/config.json", r#"{"api_key":"old"}"#);
        assert_eq!(
            resolve(&[], &[config, engine[0], engine[1]]).unwrap().key,
            Key::Fixed("old".into())
        );
        let elsewhere = [("/state/nullspace/engine.json", TOLD), ("/proc/77/stat", ALIVE)];
        assert!(resolve(&[("XDG_STATE_HOME", "/state")], &elsewhere).is_ok());
        assert!(resolve(&[("XDG_STATE_HOME", "state")], &elsewhere).is_err());
        // Killed, or killed and its number taken by another process.
        assert!(resolve(&[], &engine[..1]).is_err());
        let later = "77 (node) S 1 77 77 0 -1 4 5 6 7 8 9 10 11 12 20 0 9 0 501 1000 2000";
        assert!(resolve(&[], &[engine[0], ("/proc/77/stat", later)]).is_err());
        let ended = "77 (a )b) Z 1 77 77 0 -1 4 5 6 7 8 9 10 11 12 20 0 9 0 500 0 0";
        assert!(resolve(&[], &[engine[0], ("/proc/77/stat", ended)]).is_err());
        let contained = r#"{"base_url":"http://127.0.0.1:3000","api_key":"c"}"#;
        assert_eq!(
            resolve(&[], &[(FILE, contained)]).unwrap().key,
            Key::Fixed("c".into())
        );
    }

    #[test]
    fn no_key_anywhere_says_where_to_put_it() {
        let error = resolve(&[], &[]).unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (Kind::Auth, "unauthorized"));
        assert!(error.message.contains("NULLSPACE_API_KEY"));
    }
}
