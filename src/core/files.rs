//! Files as options. Source: PROTOCOL.md section 5.

use std::time::Duration;

use super::config;
use super::error::Error;
use super::http;
use super::options::{self, Fields, Value};
use super::value::json;

/// Texts up to this many bytes go inside a JSON body: one request instead of two.
pub const SMALL_TEXT: usize = 1 << 16;

/// Fields of a frame that tells a change, and what a caller sees of it.
pub const CHANGE: [&str; 3] = ["event", "name", "path"];

/// What every call on files takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Common {
    /// Whose rights and home directory count.
    pub user: Option<String>,
    /// As given.
    pub request_timeout: Option<Duration>,
}

impl Common {
    /// Reads them, and nothing more.
    pub fn read(options: Option<&Value>) -> Result<Self, Error> {
        Self::of(&fields(options, &[])?)
    }

    /// Those among `fields`.
    pub fn of(fields: &Fields<'_>) -> Result<Self, Error> {
        Ok(Self {
            user: fields.filled("user")?.map(|user| user.trim().to_owned()),
            request_timeout: fields.seconds("requestTimeout")?,
        })
    }

    /// A path with these parameters and the user.
    pub fn query(&self, path: &str, mut query: Vec<(&'static str, String)>) -> String {
        if let Some(user) = &self.user {
            query.push(("user", user.clone()));
        }
        http::with_query(path, &query)
    }
}

/// Options of a call on files.
pub fn fields<'a>(options: Option<&'a Value>, more: &[&str]) -> Result<Fields<'a>, Error> {
    config::call_fields(options, &[more, &["user"]].concat())
}

/// A path in a machine: relative ones begin at the machine's working directory.
pub fn path(name: &str, value: &Value) -> Result<String, Error> {
    let path = options::filled(name, value)?;
    if path.contains('\0') {
        return Err(Error::option(name, "must not hold a NUL character"));
    }
    Ok(path.to_owned())
}

/// A path in a volume.
pub fn in_volume(name: &str, path: Option<&str>) -> Result<(), Error> {
    match path {
        Some(path) if !path.starts_with('/') => Err(Error::option(
            name,
            "must begin with a slash, such as '/a.txt': a volume has no working directory",
        )),
        _ => Ok(()),
    }
}

/// Refuses the option that files of volumes do not take.
pub fn no_user(options: Option<&Value>) -> Result<(), Error> {
    match options {
        Some(Value::Object(given)) if given.iter().any(|(name, _)| name == "user") => {
            let what = "is for files of machines: a volume has no users";
            Err(Error::option("user", what))
        }
        _ => Ok(()),
    }
}

/// Permissions under the name `name`: `'0644'`, `'644'` or the number 0o644.
pub fn permissions(name: &str, value: &Value) -> Result<String, Error> {
    let mode = match value {
        Value::Number(number) if *number >= 0.0 && *number <= 4095.0 && number.fract() == 0.0 => {
            Some(*number as u32)
        }
        Value::Text(text) if (3..=5).contains(&text.len()) => {
            u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8)
                .ok()
                .filter(|mode| *mode <= 0o7777)
        }
        _ => None,
    };
    let mode = mode.ok_or_else(|| {
        Error::option(
            name,
            "must be an octal mode such as '0644', or a number such as 0o644",
        )
    })?;
    Ok(format!("{mode:04o}"))
}

/// Paths of `replaceInFiles`.
pub fn paths(value: &Value) -> Result<Vec<String>, Error> {
    match value {
        Value::List(list) if !list.is_empty() => list
            .iter()
            .enumerate()
            .map(|(index, one)| path(&format!("files[{index}]"), one))
            .collect(),
        _ => Err(Error::option(
            "files",
            "must be a list of paths, such as ['/workspace/a.txt']",
        )),
    }
}

/// What is written, without its content.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Where.
    pub path: String,
    /// Permissions, octal; as the server likes when absent.
    pub mode: Option<String>,
}

/// Option `mode` of what writes files.
pub fn mode(fields: &Fields<'_>) -> Result<Option<String>, Error> {
    let mode = fields.get("mode");
    mode.map(|mode| permissions(&fields.path("mode"), mode))
        .transpose()
}

/// Files of `writeFiles`: each is `{ path, content, mode }`. The contents are looked at elsewhere.
pub fn batch(value: &Value) -> Result<Vec<Target>, Error> {
    let wrong = |at: &str| {
        Error::option(
            at,
            "must be a list of files, such as [{ path: '/workspace/a.txt', content: 'text' }]",
        )
    };
    let Value::List(files) = value else {
        return Err(wrong("files"));
    };
    files
        .iter()
        .enumerate()
        .map(|(index, file)| {
            let at = format!("files[{index}]");
            let fields = match file {
                Value::Object(_) => Fields::new(&at, Some(file), &[&["path", "content", "mode"]])?,
                _ => return Err(wrong(&at)),
            };
            let path = fields
                .get("path")
                .ok_or_else(|| fields.wrong("path", "is missing"))?;
            if !fields.has("content") {
                return Err(fields.wrong("content", "is missing"));
            }
            Ok(Target {
                path: self::path(&fields.path("path"), path)?,
                mode: mode(&fields)?,
            })
        })
        .collect()
}

/// A watch to begin.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchRequest {
    /// What is watched.
    pub path: String,
    /// Whose rights count.
    pub user: Option<String>,
    /// Directories below too.
    pub recursive: bool,
    /// Seconds until it ends by itself.
    pub timeout: Option<f64>,
}

/// Reads the options of `watch`.
pub fn watch(path: &Value, options: Option<&Value>) -> Result<WatchRequest, Error> {
    let fields = fields(options, &["recursive", "timeout"])?;
    Ok(WatchRequest {
        path: self::path("path", path)?,
        user: Common::of(&fields)?.user,
        recursive: fields.flag("recursive")?.unwrap_or(false),
        timeout: fields.seconds("timeout")?.map(|time| time.as_secs_f64()),
    })
}

/// What content must be.
pub fn no_content(name: &str) -> Error {
    Error::option(
        name,
        "must be a string, bytes (Uint8Array, ArrayBuffer), a Blob or a ReadableStream of bytes",
    )
}

/// The manifest of a batch.
pub fn manifest(targets: &[Target], user: Option<&str>) -> String {
    let files: Vec<Value> = targets
        .iter()
        .enumerate()
        .map(|(index, target)| {
            let mut file = json!({ "path": &target.path, "field": format!("file{index}") });
            file.put_given("mode", target.mode.as_deref());
            file
        })
        .collect();
    json!({ "files": files, "user": user }).to_json()
}
