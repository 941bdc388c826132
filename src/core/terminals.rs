//! Terminals as options. Source: PROTOCOL.md section 6.

use std::time::Duration;

use super::config;
use super::error::Error;
use super::options::{Fields, Value};
use super::shown::options;
use super::value::json;

/// A side of a terminal. Source: `struct winsize` of Linux.
const MAX_SIDE: u64 = 65_535;

options! {
    /// Options of {@link Pty.create}.
    const START = PtyOptions: "CallOptions" {
        /// Characters a line, 1 to 65535. @default 120
        cols: "number";
        /// Lines, 1 to 65535. @default 30
        rows: "number";
        /// Working directory of the shell. @default the machine's
        cwd: "string";
        /// Added to the machine's environment. @default `{}`
        envs: "Record<string, string>";
    }
}

/// Columns and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Characters a line.
    pub cols: u64,
    /// Lines.
    pub rows: u64,
}

/// Reads the options of `pty.create` into the first frame, without its id.
pub fn start(options: Option<&Value>) -> Result<Value, Error> {
    let fields = config::call_fields(options, &START)?;
    let mut frame = json!({
        "type": "pty_start",
        "cols": fields.integer("cols", 1, MAX_SIDE)?.unwrap_or(120),
        "rows": fields.integer("rows", 1, MAX_SIDE)?.unwrap_or(30),
    });
    frame.put_given("cwd", fields.filled("cwd")?);
    let envs = fields.environment("envs")?.filter(|envs| envs.has_fields());
    frame.put_given("envs", envs.cloned());
    Ok(frame)
}

/// Reads the target of `pty.connect` into the first frame, without its id.
pub fn connect(target: &Value, options: Option<&Value>) -> Result<Value, Error> {
    config::call_fields(options, &[])?;
    let wrong = || {
        Error::option(
            "target",
            "must be `{ sessionId }` or `{ pid }`, one of them: a session of `pty.list()`",
        )
    };
    if !matches!(target, Value::Object(_)) {
        return Err(wrong());
    }
    let fields = Fields::new("target", Some(target), &[&["sessionId", "pid"]])?;
    match (fields.filled("sessionId")?, fields.get("pid")) {
        (Some(id), None) => Ok(json!({ "type": "pty_connect", "session_id": id })),
        (None, Some(_)) => {
            Ok(json!({ "type": "pty_connect", "pid": fields.integer("pid", 1, u64::from(u32::MAX))? }))
        }
        _ => Err(wrong()),
    }
}

/// Reads a size.
pub fn size(value: &Value) -> Result<Size, Error> {
    let wrong = || {
        Error::option(
            "size",
            "must be `{ cols, rows }`, such as { cols: 120, rows: 30 }",
        )
    };
    if !matches!(value, Value::Object(_)) {
        return Err(wrong());
    }
    let fields = Fields::new("size", Some(value), &[&["cols", "rows"]])?;
    match (
        fields.integer("cols", 1, MAX_SIDE)?,
        fields.integer("rows", 1, MAX_SIDE)?,
    ) {
        (Some(cols), Some(rows)) => Ok(Size { cols, rows }),
        _ => Err(wrong()),
    }
}

/// Reads the options of `wait` of a session.
pub fn wait(options: Option<&Value>) -> Result<Option<Duration>, Error> {
    let fields = Fields::new("", options, &[&["timeout", "signal"]])?;
    config::signal(&fields)?;
    fields.seconds("timeout")
}

/// Exit code of a wait whose time was over: that of `timeout` of coreutils.
pub const TIMED_OUT: i32 = 124;

/// What is typed.
pub enum Input {
    /// Text.
    Text(String),
    /// Base64 of bytes.
    Base64(String),
}

impl Input {
    /// Its field in a frame, and what that holds.
    pub fn field(&self) -> (&'static str, &str) {
        match self {
            Input::Text(text) => ("data", text),
            Input::Base64(bytes) => ("data_base64", bytes),
        }
    }
}

/// Text to type.
pub fn input(value: &Value) -> Result<&str, Error> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(Error::option(
            "data",
            &format!("must be a string or bytes, not {}", other.kind()),
        )),
    }
}
