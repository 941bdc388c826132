//! Options of a monitor, and what its frames say. Source: PROTOCOL.md section 10.

use serde_json::json;

use super::config;
use super::error::Error;
use super::options::Fields;

/// Shortest and longest time between two looks, milliseconds.
const INTERVAL: (u64, u64) = (100, 3_600_000);
const HOOKS: [&str; 5] = ["onSnapshot", "onUpdate", "onMetrics", "onProcesses", "onError"];

/// Names that [`subscribe`] reads.
pub const SUBSCRIBE: [&str; 7] = [
    "intervalMs",
    "includeProcesses",
    "onSnapshot",
    "onUpdate",
    "onMetrics",
    "onProcesses",
    "onError",
];

/// The first frame of a subscription.
pub fn subscribe(fields: &Fields<'_>, id: &str) -> Result<String, Error> {
    for name in HOOKS {
        config::function(fields, name)?;
    }
    let mut frame = json!({ "type": "monitor_subscribe", "id": id });
    if let Some(interval) = fields.integer("intervalMs", INTERVAL.0, INTERVAL.1)? {
        frame["interval_ms"] = interval.into();
    }
    if let Some(include) = fields.flag("includeProcesses")? {
        frame["include_processes"] = include.into();
    }
    Ok(frame.to_string())
}

/// The last frame of a subscription.
pub fn unsubscribe(id: &str) -> String {
    json!({ "type": "monitor_unsubscribe", "id": id }).to_string()
}
