//! Lifecycle events and webhooks as options. Source: PROTOCOL.md section 10.

use std::time::Duration;

use serde_json::json;

use super::error::Error;
use super::options::{Fields, MAX_INTEGER};

/// What happens to machines. Source: schema, `LifecycleOperation`.
const OPERATIONS: [&str; 9] = [
    "create",
    "destroy",
    "timeout_updated",
    "timeout_expired",
    "hibernate",
    "snapshot_created",
    "resume_from_snapshot",
    "fork",
    "reconcile",
];
const STATUSES: [&str; 3] = ["requested", "succeeded", "failed"];

/// Filters of every list of events.
pub const LIST: [&str; 7] = ["offset", "limit", "order", "operation", "status", "from", "to"];
/// Further ones of the list of all events. `audience: 'internal'` is the server's own.
pub const LIST_ALL: [&str; 4] = ["machineId", "snapshotId", "sourceMachineId", "targetMachineId"];

/// The query of a list. Names of [`LIST_ALL`] read as absent where the caller did not let them in.
pub fn list(fields: &Fields<'_>) -> Result<Vec<(&'static str, String)>, Error> {
    let mut query = Vec::new();
    for (name, least) in [("offset", 0), ("limit", 1)] {
        if let Some(number) = fields.integer(name, least, MAX_INTEGER)? {
            query.push((name, number.to_string()));
        }
    }
    if let Some(order) = fields.choice("order", &["asc", "desc"])? {
        query.push(("order", order.to_owned()));
    }
    filter(fields, &mut query)?;
    for name in ["from", "to"] {
        if let Some(moment) = moment(fields, name)? {
            query.push((name, moment.to_owned()));
        }
    }
    for (name, wire) in [
        ("machineId", "machine_id"),
        ("snapshotId", "snapshot_id"),
        ("sourceMachineId", "source_machine_id"),
        ("targetMachineId", "target_machine_id"),
    ] {
        if let Some(id) = fields.filled(name)? {
            query.push((wire, id.trim().to_owned()));
        }
    }
    Ok(query)
}

fn filter(fields: &Fields<'_>, query: &mut Vec<(&'static str, String)>) -> Result<(), Error> {
    if let Some(operation) = fields.choice("operation", &OPERATIONS)? {
        query.push(("operation", operation.to_owned()));
    }
    if let Some(status) = fields.choice("status", &STATUSES)? {
        query.push(("status", status.to_owned()));
    }
    Ok(())
}

/// RFC 3339 text, as far as its shape goes: the server knows the calendar.
fn moment<'a>(fields: &Fields<'a>, name: &str) -> Result<Option<&'a str>, Error> {
    let text = fields.filled(name)?;
    let shaped = |text: &str| {
        let bytes = text.as_bytes();
        bytes.len() >= 20
            && [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')]
                .iter()
                .all(|(place, byte)| bytes[*place] == *byte)
            && matches!(bytes[10], b'T' | b't' | b' ')
            && (bytes[bytes.len() - 1].eq_ignore_ascii_case(&b'z') || text[19..].contains(['+', '-']))
    };
    match text {
        Some(text) if !text.is_ascii() || !shaped(text) => Err(fields.wrong(
            name,
            &format!("must be a moment such as '2026-01-02T03:04:05Z', not '{text}'"),
        )),
        text => Ok(text),
    }
}

/// What a stream of events is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// First frame of the socket, without `type`.
    pub filter: Vec<(&'static str, String)>,
    /// Only what happens from now on.
    pub live_only: bool,
    /// Leave out what a server assumes of a plain `subscribe`.
    pub plain: bool,
    /// Go on behind this event.
    pub after_event_id: Option<String>,
    /// Most events of the past.
    pub replay_limit: u64,
    /// The stream ends when nothing came for so long.
    pub idle_timeout: Option<Duration>,
    /// Only events with this metadata.
    pub metadata: Option<nullspace_wire::JsonObject>,
}

impl Stream {
    /// The first frame of a socket that goes on behind `cursor`, or begins as asked.
    pub fn subscribe(&self, cursor: Option<&str>) -> String {
        let mut frame = json!({ "type": "subscribe" });
        for (name, value) in &self.filter {
            frame[*name] = value.as_str().into();
        }
        let after = cursor.or(self.after_event_id.as_deref());
        match after {
            Some(id) => {
                frame["live_only"] = false.into();
                frame["after_event_id"] = id.into();
            }
            // A plain `subscribe` means what happens from now on.
            None if self.plain => return frame.to_string(),
            None => frame["live_only"] = self.live_only.into(),
        }
        frame["replay_limit"] = self.replay_limit.into();
        if let Some(metadata) = &self.metadata {
            frame["metadata"] = metadata.clone().into();
        }
        frame.to_string()
    }
}

/// Names that [`subscription`] reads.
pub const SUBSCRIPTION: [&str; 6] = [
    "machineId",
    "snapshotId",
    "operation",
    "status",
    "onEvent",
    "onError",
];

/// Reads the options of `subscribe`: what happens from now on.
pub fn subscription(fields: &Fields<'_>) -> Result<Stream, Error> {
    for name in ["onEvent", "onError"] {
        super::config::function(fields, name)?;
    }
    Ok(Stream {
        live_only: true,
        plain: true,
        ..stream(fields)?
    })
}

/// Names of the scope of a stream of all events.
pub const SCOPE: [&str; 2] = ["machineId", "snapshotId"];

/// Names that [`stream`] reads.
pub const STREAM: [&str; 7] = [
    "operation",
    "status",
    "liveOnly",
    "afterEventId",
    "replayLimit",
    "metadata",
    "idleTimeout",
];

/// Reads the options of `streamEvents`. `machineId` and `snapshotId` where the caller let them in.
pub fn stream(fields: &Fields<'_>) -> Result<Stream, Error> {
    let mut query = Vec::new();
    filter(fields, &mut query)?;
    for (name, wire) in [("machineId", "machine_id"), ("snapshotId", "snapshot_id")] {
        if let Some(id) = fields.filled(name)? {
            query.push((wire, id.trim().to_owned()));
        }
    }
    let live_only = fields.flag("liveOnly")?.unwrap_or(false);
    let after_event_id = fields.filled("afterEventId")?.map(str::to_owned);
    if live_only && after_event_id.is_some() {
        return Err(fields.wrong("afterEventId", "contradicts `liveOnly: true`: give one of them"));
    }
    Ok(Stream {
        filter: query,
        live_only,
        plain: false,
        after_event_id,
        replay_limit: fields.integer("replayLimit", 0, MAX_INTEGER)?.unwrap_or(100),
        idle_timeout: fields.seconds("idleTimeout")?,
        metadata: fields.json_object("metadata")?,
    })
}

/// Reads the body of a webhook. A change may leave everything out but not be empty.
pub fn webhook(
    fields: &Fields<'_>,
    change: bool,
) -> Result<serde_json::Map<String, serde_json::Value>, Error> {
    let mut body = serde_json::Map::new();
    if let Some(url) = fields.filled("url")? {
        if !url.starts_with("https://") && !url.starts_with("http://") {
            return Err(fields.wrong("url", "must begin with https:// or http://"));
        }
        body.insert("url".into(), url.into());
    }
    if let Some(operations) = fields.texts("operations")? {
        if operations.is_empty() {
            return Err(fields.wrong("operations", "must hold at least one, such as ['create']"));
        }
        for (index, name) in operations.iter().enumerate() {
            if !OPERATIONS.contains(&name.as_str()) {
                let known = OPERATIONS.join("', '");
                return Err(Error::option(
                    &format!("operations[{index}]"),
                    &format!("must be one of '{known}', not '{name}'"),
                ));
            }
        }
        body.insert("operations".into(), operations.into());
    }
    if let Some(secret) = fields.filled("signingSecret")? {
        body.insert("signing_secret".into(), secret.into());
    }
    if let Some(enabled) = fields.flag("enabled")? {
        body.insert("enabled".into(), enabled.into());
    }
    if change {
        if body.is_empty() {
            return Err(Error::invalid_request(
                "an update must change something, such as { enabled: false }",
            ));
        }
        return Ok(body);
    }
    for (name, wire, good) in [
        ("url", "url", "'https://example.com/hook'"),
        ("operations", "operations", "['create']"),
        ("signingSecret", "signing_secret", "32 random characters"),
    ] {
        if !body.contains_key(wire) {
            return Err(fields.wrong(name, &format!("is missing, such as {good}")));
        }
    }
    Ok(body)
}

/// Names that [`webhook`] reads.
pub const WEBHOOK: [&str; 4] = ["url", "operations", "signingSecret", "enabled"];

/// A page of deliveries: its query.
pub fn deliveries(options: &Fields<'_>) -> Result<Vec<(&'static str, String)>, Error> {
    let mut query = Vec::new();
    for (name, least) in [("offset", 0), ("limit", 1)] {
        if let Some(number) = options.integer(name, least, MAX_INTEGER)? {
            query.push((name, number.to_string()));
        }
    }
    Ok(query)
}
