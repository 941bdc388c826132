//! Template warm pools. Source: PROTOCOL.md section 12.

use serde::{Deserialize, Serialize};

use crate::machine::MachineConfig;
use crate::{JsonObject, Timestamp};

/// What a create does with a warm pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CheckoutMode {
    /// Take a ready machine, else make one.
    Prefer,
    /// Take a ready machine, else fail.
    Require,
    /// Make one.
    Bypass,
}

/// `warm_pool` of a create body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WarmPoolCheckoutRequest {
    /// `twp_...`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Default `prefer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<CheckoutMode>,
    /// Milliseconds to wait for a ready machine; default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// Which build of a template a pool holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum VersionPolicy {
    /// The build that the reference meant when the pool was made.
    PinnedBuild,
    /// Whatever the tag means now.
    TrackTag,
}

/// Size of each machine of a pool.
pub type PoolResources = MachineConfig;

/// Whether a pool serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PoolState {
    /// Holds ready machines.
    Enabled,
    /// Holds none.
    Disabled,
    /// Gives up its machines.
    Draining,
    /// Gone.
    Deleted,
}

/// Why a pool holds fewer than it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DegradedReason {
    /// No host can make the machine.
    NoEligibleHosts,
    /// The template is being prepared.
    ArtifactNotReady,
    /// Preparing the template failed.
    ArtifactPrewarmFailed,
    /// A quota stands in the way.
    QuotaExceeded,
    /// The build is gone.
    TemplateBuildUnavailable,
    /// Refilling is off.
    ControllerDisabled,
    /// It is being drained.
    DrainActive,
}

/// Counts of a warm pool's machines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "WarmPoolCounts")
)]
pub struct PoolCounts {
    /// Aimed at.
    pub target: u32,
    /// Can be taken.
    pub ready: u32,
    /// Being made.
    pub warming: u32,
    /// Taken since the pool was made.
    pub claimed: u32,
    /// Being given up.
    pub draining: u32,
    /// Failed to start.
    pub failed: u32,
    /// Given up as idle or stale.
    pub expired: u32,
    /// Lost.
    pub unavailable: u32,
}

/// Body of `POST /v1/template-warm-pools`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateWarmPoolRequest {
    /// Free text.
    pub name: String,
    /// Template.
    pub template_ref: String,
    /// Older spelling of `template_ref`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Machines to hold ready.
    pub min_ready: u32,
    /// At most so many; not below `min_ready`.
    pub max_ready: u32,
    /// Size of each.
    pub resources: PoolResources,
    /// Default `prefer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkout_policy: Option<CheckoutMode>,
    /// Seconds, at least 1; default 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_seconds: Option<u64>,
    /// Seconds, at least 1; default 900.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_after_seconds: Option<u64>,
    /// Default `pinned_build`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_policy: Option<VersionPolicy>,
    /// Tag to follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_tag: Option<String>,
    /// Placement; hosted only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_pool_id: Option<String>,
    /// Placement; hosted only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell_id: Option<String>,
    /// Lists can filter by them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<JsonObject>,
    /// Verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<JsonObject>,
}

/// Body of `PATCH /v1/template-warm-pools/{id}`: only what is given changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UpdateWarmPoolRequest {
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_ref: Option<String>,
    /// Older spelling of `template_ref`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Machines to hold ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ready: Option<u32>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ready: Option<u32>,
    /// Size of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<PoolResources>,
    /// What a create without a mode does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkout_policy: Option<CheckoutMode>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_seconds: Option<u64>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_after_seconds: Option<u64>,
    /// Which build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_policy: Option<VersionPolicy>,
    /// Tag to follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_tag: Option<String>,
    /// Placement; hosted only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_pool_id: Option<String>,
    /// Placement; hosted only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell_id: Option<String>,
    /// Replaces the labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<JsonObject>,
    /// Replaces the metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<JsonObject>,
}

/// A warm pool as the server describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "WarmPoolInfo")
)]
pub struct WarmPool {
    /// `twp_...`
    pub id: String,
    /// Free text.
    pub name: String,
    /// As given.
    pub template_ref: String,
    /// What it means now.
    pub resolved_template: String,
    /// `tb_...`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_template_build_id: Option<String>,
    /// Size of each machine.
    pub resources: PoolResources,
    /// Machines to hold ready.
    pub min_ready: u32,
    /// At most this many.
    pub max_ready: u32,
    /// Seconds.
    pub idle_timeout_seconds: u64,
    /// Seconds.
    pub stale_after_seconds: u64,
    /// What a create without a mode does.
    pub checkout_policy: CheckoutMode,
    /// Which build of the template it holds.
    pub version_policy: VersionPolicy,
    /// Tag followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_tag: Option<String>,
    /// Grows when the build changes.
    pub rollout_generation: u64,
    /// Progress of a change of build; empty when none is under way.
    pub rollout_status: JsonObject,
    /// Counts.
    pub status: PoolCounts,
    /// Whether it serves.
    pub state: PoolState,
    /// Why it holds too few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded_reason: Option<DegradedReason>,
    /// As given.
    pub labels: JsonObject,
    /// As given.
    pub metadata: JsonObject,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
    /// When it was enabled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled_at: Option<Timestamp>,
    /// When it was disabled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<Timestamp>,
    /// When it was drained last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_requested_at: Option<Timestamp>,
    /// When it was compared last with what there should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reconciled_at: Option<Timestamp>,
    /// When it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
}

/// All warm pools that match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ListWarmPoolsResponse {
    /// Newest first.
    pub items: Vec<WarmPool>,
}
