//! Kinds of values that several resources share.

use crate::core::error::Error;
use crate::core::options::{self, Value};

/// A port that previews can reach. SSH and VNC are refused by every server.
pub fn port(name: &str, value: &Value) -> Result<Value, Error> {
    let port = options::integer(name, value, 1, 65_535)?;
    if port == 22 || (5900..=5999).contains(&port) {
        return Err(Error::option(
            name,
            &format!("must not be 22 or 5900 to 5999, which are reserved; it is {port}"),
        ));
    }
    Ok(port.into())
}

/// An id, or an object that has one.
pub fn reference(name: &str, value: &Value) -> Result<Value, Error> {
    let text = match value {
        Value::Object(inner) => inner.iter().find(|(key, _)| key == "id").map(|(_, id)| id),
        other => Some(other),
    };
    match text {
        Some(Value::Text(id)) if !id.trim().is_empty() => Ok(id.as_str().into()),
        _ => Err(Error::option(name, "must be an id, or an object with one")),
    }
}

/// A text that is no path: a pattern.
pub fn pattern(name: &str, value: &Value) -> Result<Value, Error> {
    match value {
        Value::Text(text) if text.is_empty() => Err(Error::option(name, "must not be empty")),
        value => any_text(name, value),
    }
}

/// Text, possibly empty.
pub fn any_text(name: &str, value: &Value) -> Result<Value, Error> {
    options::text(name, value).map(Value::from)
}

/// A process id.
pub fn pid(name: &str, value: &Value) -> Result<Value, Error> {
    options::integer(name, value, 1, super::U32).map(Value::from)
}

/// A `Date`, or RFC 3339 text as far as its shape goes: the server knows the calendar.
pub fn moment(name: &str, value: &Value) -> Result<Value, Error> {
    if let Value::Date(text) = value {
        return Ok(text.as_str().into());
    }
    let text = options::filled(name, value)?;
    let bytes = text.as_bytes();
    let shaped = || {
        bytes.len() >= 20
            && [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')]
                .iter()
                .all(|(place, byte)| bytes[*place] == *byte)
            && matches!(bytes[10], b'T' | b't' | b' ')
            && (bytes[bytes.len() - 1].eq_ignore_ascii_case(&b'z') || text[19..].contains(['+', '-']))
    };
    if !text.is_ascii() || !shaped() {
        return Err(Error::option(
            name,
            &format!("must be a moment such as '2026-01-02T03:04:05Z', not '{text}'"),
        ));
    }
    Ok(text.into())
}
