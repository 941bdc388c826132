//! The HTTP and WebSocket API as serde types, shared by the client and the local engine.
//!
//! No behaviour lives here. Field names are the wire's (snake_case). Optional answer fields are left out when
//! absent and never sent as `null`, because strict clients refuse `null` in most of them; on input `null` and
//! absence read the same. Source: `spec/openapi.json`, `spec/PROTOCOL.md`.
//!
//! Users read the comments of answers: `cargo xtask declarations` writes them into `index.d.ts`, where `{@link Machine}` is a link.
//! A field that holds one of several texts names them by an `enum`, in its type or in its schema.
//!
//! - [`api`]: every operation: verb, path, answer; [`answers`]: every kind of answer
//! - [`limits`]: limits and defaults that both sides check
//! - [`machine`]: machines, their lists, leases, metrics, snapshots
//! - [`lifecycle`]: lifecycle events
//! - [`network`]: egress policies and preview hosts
//! - [`preview`]: preview ports
//! - [`ssh`]: access by SSH
//! - [`exec`]: commands and processes
//! - [`code`]: the code interpreter
//! - [`files`]: files of a machine
//! - [`volume`]: volumes and their attachments
//! - [`template`]: templates and their builds
//! - [`template_answers`]: what the SDK reads of templates and their builds
//! - [`warm_pool`]: template warm pools
//! - [`monitor`]: frames of the monitor socket
//! - [`webhook`]: lifecycle webhooks and their deliveries
//! - [`error`]: the error envelope and its codes

pub mod answers;
pub mod api;
pub mod code;
pub mod error;
pub mod exec;
pub mod files;
pub mod git;
pub mod lifecycle;
pub mod limits;
pub mod machine;
pub mod monitor;
pub mod network;
pub mod preview;
pub mod ssh;
pub mod template;
pub mod template_answers;
pub mod upload;
pub mod volume;
pub mod warm_pool;
pub mod webhook;

use serde::{Deserialize, Serialize};

/// A JSON object passed through verbatim (`metadata`, `labels`).
pub type JsonObject = serde_json::Map<String, serde_json::Value>;

/// Environment variables.
pub type Envs = std::collections::BTreeMap<String, String>;

/// A moment, RFC 3339 text with `Z` or an offset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub String);

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}
