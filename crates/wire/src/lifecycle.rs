//! Lifecycle events. Source: PROTOCOL.md section 10.

use serde::{Deserialize, Serialize};

use crate::{JsonObject, Timestamp};

/// Something that happened to a machine or a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LifecycleEventInfo {
    /// UUID.
    pub id: String,
    /// When.
    pub occurred_at: Timestamp,
    /// `customer` or `internal`.
    pub audience: String,
    /// `create`, `destroy`, `timeout_updated`, `timeout_expired`, `hibernate`, `snapshot_created`,
    /// `resume_from_snapshot`, `fork` or `reconcile`.
    pub operation: String,
    /// `requested`, `succeeded` or `failed`.
    pub status: String,
    /// `user`, `system` or `reconcile`.
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
    /// Where a fork or a restored machine came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_machine_id: Option<String>,
    /// What was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_machine_id: Option<String>,
    /// Why, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Code of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// Text of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

/// One page of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LifecycleEventListResponse {
    /// In the order asked for.
    pub events: Vec<LifecycleEventInfo>,
    /// Events skipped.
    pub offset: u64,
    /// Most events of a page.
    pub limit: u64,
    /// Whether more follow.
    pub has_more: bool,
}
