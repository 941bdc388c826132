//! Snapshots and forks as options. Source: PROTOCOL.md section 3, "Operations".

use std::time::Duration;

use serde_json::Value as Json;

use super::config::{self, CLIENT_OPTIONS};
use super::error::Error;
use super::http;
use super::options::{Fields, Value};

/// A call that makes one thing however often it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Keyed {
    /// `Idempotency-Key`; made by the caller when absent.
    pub idempotency_key: Option<String>,
    /// As given.
    pub request_timeout: Option<Duration>,
}

/// Reads the options of `fork` and `createSnapshot`.
pub fn keyed(options: Option<&Value>) -> Result<Keyed, Error> {
    let fields = config::call_fields(options, &["idempotencyKey"])?;
    Ok(Keyed {
        idempotency_key: idempotency_key(&fields)?,
        request_timeout: fields.seconds("requestTimeout")?,
    })
}

/// Reads `idempotencyKey`: text that a header can hold.
pub fn idempotency_key(fields: &Fields<'_>) -> Result<Option<String>, Error> {
    let key = fields.filled("idempotencyKey")?;
    if let Some(key) = key {
        http::check_header("idempotencyKey", "idempotency-key", key)?;
    }
    Ok(key.map(str::to_owned))
}

/// Options of a list, known names checked.
pub fn list_fields(options: &Value) -> Result<Fields<'_>, Error> {
    Fields::new("", Some(options), &[&["machineId", "metadata"], &CLIENT_OPTIONS])
}

/// The query of a list.
pub fn list(fields: &Fields<'_>) -> Result<Vec<(&'static str, String)>, Error> {
    let mut query = Vec::new();
    if let Some(id) = fields.filled("machineId")? {
        query.push(("machine_id", id.trim().to_owned()));
    }
    if let Some(metadata) = fields.json_object("metadata")? {
        query.push(("metadata", Json::Object(metadata).to_string()));
    }
    Ok(query)
}
