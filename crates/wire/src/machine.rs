//! Machines, their lists, leases, metrics and snapshots. Source: PROTOCOL.md section 3.

use serde::{Deserialize, Serialize};

use crate::network::{MachineNetwork, NetworkCreateConfig};
use crate::warm_pool::{CheckoutMode, WarmPoolCheckoutRequest};
use crate::{Envs, JsonObject, Timestamp};

/// The key of `metadata` that is the name of a machine or of a snapshot. Servers without names keep and filter it as they do any other;
/// the local engine lets no two machines that live have the same. Source: PROTOCOL.md section 14.
pub const NAME_KEY: &str = "nullspace.name";

/// Where a machine is in its life. A newer server may send other values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MachineStatus {
    /// Being made.
    Creating,
    /// Answers commands.
    Running,
    /// Frozen; its id is an alias of a snapshot until it is resumed.
    Paused,
    /// Gone.
    Destroyed,
    /// Died without being asked to.
    Error,
}

/// What happens when the lease ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TimeoutAction {
    /// The machine is destroyed (default).
    Destroy,
    /// The machine is paused.
    Hibernate,
}

/// The `lifecycle.on_timeout` spelling of [`TimeoutAction`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// The machine is destroyed (default).
    Destroy,
    /// The machine is paused.
    Pause,
}

/// Size of a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MachineConfig {
    /// Processors.
    pub vcpus: u32,
    /// MiB.
    pub memory_mb: u32,
    /// MiB, when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_mb: Option<u32>,
}

/// Body of `POST /v1/machines`. Absent fields take the server defaults named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateMachineRequest {
    /// Start from this snapshot; excludes template, size, envs and cwd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// Take a ready machine of a warm pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_pool: Option<WarmPoolCheckoutRequest>,
    /// Template reference; default `base`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Processors, at least 1; default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u32>,
    /// MiB, at least 1; default 256 (2048 for `code-interpreter` and `desktop`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u32>,
    /// MiB, 512 to 131072.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_mb: Option<u32>,
    /// Lease in milliseconds; default 300000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Default `destroy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_action: Option<TimeoutAction>,
    /// Milliseconds without a request until the timeout action, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inactivity_timeout_ms: Option<u64>,
    /// Milliseconds after which a paused machine is deleted, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_delete_after_ms: Option<u64>,
    /// Never outlives its lease; excludes `auto_resume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<bool>,
    /// Traffic wakes the paused machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_resume: Option<bool>,
    /// Environment of every command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envs: Option<Envs>,
    /// Verbatim; lists can filter by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<JsonObject>,
    /// `false` denies all egress and no allow rule reopens it; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internet_access: Option<bool>,
    /// Working directory of commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Only for the template `desktop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desktop: Option<DesktopCreateConfig>,
    /// Network policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkCreateConfig>,
    /// Volumes to mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Vec<VolumeMountRequest>>,
    /// The other spelling of `timeout_action`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<LifecycleConfig>,
}

/// `lifecycle` of a create body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LifecycleConfig {
    /// What happens when the lease ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<OnTimeout>,
}

/// `desktop` of a create body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DesktopCreateConfig {
    /// Screen size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<DesktopResolution>,
    /// Dots per inch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpi: Option<u32>,
    /// X display such as `:0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
}

/// Screen size in pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DesktopResolution {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// One volume to mount.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VolumeMountRequest {
    /// Id or name of the volume.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Absolute path inside the machine.
    pub mount_path: String,
    /// Directory of the volume to mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
    /// Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// A machine as the server describes it: a plain object, safe to store and to send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MachineInfo {
    /// `mch_...`
    pub id: String,
    /// Where it is in its life.
    pub status: MachineStatus,
    /// Size.
    pub config: MachineConfig,
    /// As given on create.
    pub template: String,
    /// As given on create, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<JsonObject>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it first ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Milliseconds: length of the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// End of the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_at: Option<Timestamp>,
    /// The same as `timeout_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Milliseconds until the end of the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_ms: Option<u64>,
    /// What happens then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_action: Option<TimeoutAction>,
    /// Last request to the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_active_at: Option<Timestamp>,
    /// As given on create.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inactivity_timeout_ms: Option<u64>,
    /// As given on create.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_delete_after_ms: Option<u64>,
    /// As given on create.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<bool>,
    /// As given on create.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_resume: Option<bool>,
    /// Working directory of commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Only while paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// How a create that named a warm pool was served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_pool_checkout: Option<WarmPoolCheckoutResult>,
    /// What the machine may reach now, and what secrets it uses. Hosted servers leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<MachineNetwork>,
    /// What the local engine does not enforce on this computer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("readOnly" = true)))]
    pub warnings: Option<Vec<String>>,
    /// Why the machine is in `error` (local engine).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

/// Answer of a create: the machine and what only its maker learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateMachineResponse {
    /// The machine.
    #[serde(flatten)]
    pub machine: MachineInfo,
    /// Opens preview ports of a machine whose `allow_public_traffic` is false; shown only here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_access_token: Option<String>,
}

/// Answer of resume and fork; a full [`MachineInfo`] fits too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MachineHandle {
    /// `mch_...`
    pub id: String,
    /// Where the machine is in its life.
    pub status: MachineStatus,
    /// Size.
    pub config: MachineConfig,
    /// Working directory of commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
}

/// How a create that named a warm pool was served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "WarmPoolCheckout")
)]
pub struct WarmPoolCheckoutResult {
    /// Where the machine came from.
    pub source: CheckoutSource,
    /// Whether a ready machine was taken.
    pub hit: bool,
    /// The pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// As asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<CheckoutMode>,
    /// Milliseconds waited for a ready machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// Where a machine came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CheckoutSource {
    /// A ready machine of the pool.
    ReadyInstance,
    /// Made anew, since the pool could not serve.
    ColdCreate,
    /// Made anew, as asked.
    Bypassed,
}

/// Answer of a destroy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DestroyMachineResponse {
    /// `mch_...`
    pub id: String,
    /// `destroyed`
    pub status: MachineStatus,
}

/// One page of machines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ListMachinesResponse {
    /// Newest first.
    pub items: Vec<MachineInfo>,
    /// Whether another page follows.
    pub has_next: bool,
    /// Asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// One sample of a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MachineMetrics {
    /// When it was taken.
    pub timestamp: Timestamp,
    /// 100 is one processor fully used.
    pub cpu_percent: f64,
    /// Processors of the machine.
    pub cpu_count: u32,
    /// Memory in use.
    pub mem_used_bytes: u64,
    /// Memory of the machine.
    pub mem_total_bytes: u64,
    /// Disk in use.
    pub disk_used_bytes: u64,
    /// Disk of the machine.
    pub disk_total_bytes: u64,
    /// Since the start.
    pub network_rx_bytes: u64,
    /// Since the start.
    pub network_tx_bytes: u64,
}

/// Body of `POST /v1/machines/{id}/timeout`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SetTimeoutRequest {
    /// New length, counted from now.
    pub timeout_ms: u64,
    /// Unchanged when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_action: Option<TimeoutAction>,
}

/// Lease on a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "TimeoutLease")
)]
pub struct SetTimeoutResponse {
    /// Milliseconds, counted from the call.
    pub timeout_ms: u64,
    /// What happens at the end of the lease.
    pub timeout_action: TimeoutAction,
    /// End of the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_at: Option<Timestamp>,
    /// Milliseconds left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_ms: Option<u64>,
}

/// Body of `POST /v1/machines/{id}/snapshots`. Source: PROTOCOL.md section 14; the published API takes none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateSnapshotRequest {
    /// Any JSON object, kept verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<JsonObject>,
}

/// A snapshot as the server describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SnapshotInfo {
    /// `snap_...`
    pub id: String,
    /// The machine that the snapshot was taken of.
    pub machine_id: String,
    /// Bytes that the snapshot adds on the disk.
    pub size_bytes: u64,
    /// When it was taken.
    pub created_at: Timestamp,
    /// As given, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<JsonObject>,
}
