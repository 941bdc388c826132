//! Lifecycle events. Source: PROTOCOL.md section 10.

use serde::{Deserialize, Serialize};

use crate::{JsonObject, Timestamp};

/// What happens to machines and snapshots. Source: schema, `LifecycleOperation`.
pub const OPERATIONS: &[&str] = &[
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
/// How far it got.
pub const STATUSES: &[&str] = &["requested", "succeeded", "failed"];

/// Something that happened to a machine or a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "LifecycleEvent")
)]
pub struct LifecycleEventInfo {
    /// UUID.
    pub id: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Whom the event is for: `customer` or `internal`.
    pub audience: String,
    /// What happened.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = OPERATIONS)))]
    pub operation: String,
    /// How far it got.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = STATUSES)))]
    pub status: String,
    /// Who did it: `user`, `system` or `reconcile`.
    pub actor_kind: String,
    /// Keys depend on the event.
    #[serde(default)]
    pub metadata: JsonObject,
    /// `mch_...`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// `snap_...`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// The machine that a fork or a snapshot was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_machine_id: Option<String>,
    /// The machine that a fork made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_machine_id: Option<String>,
    /// Why, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Code of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// The same as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

/// One page of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "LifecycleEventPage")
)]
pub struct LifecycleEventListResponse {
    /// In the order asked for.
    pub events: Vec<LifecycleEventInfo>,
    /// Events skipped.
    pub offset: u64,
    /// Most events of a page.
    pub limit: u64,
    /// Whether another page follows.
    pub has_more: bool,
}
