//! Egress policies and preview hosts. Source: PROTOCOL.md section 3.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What a machine may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EgressMode {
    /// Everything but the host itself and link-local ranges.
    AllowAll,
    /// Nothing, names included.
    DenyAll,
    /// What the lists say.
    Custom,
}

/// What a machine may reach. In mode `custom` the most specific matching range decides and a tie denies; an
/// address in no range is denied if `allow_cidrs` is non-empty and allowed otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NetworkEgressPolicy {
    /// How to read the lists.
    pub mode: EgressMode,
    /// Ranges such as `10.0.0.0/8`; a bare address is one host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_cidrs: Option<Vec<String>>,
    /// Ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_cidrs: Option<Vec<String>>,
    /// Limit of each direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<EgressRateLimit>,
}

/// Either `kbit_per_sec` or `pps`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EgressRateLimit {
    /// Kilobits (1000 bits) per second, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kbit_per_sec: Option<u64>,
    /// Packets per second, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pps: Option<u64>,
    /// What may pass at once: kilobytes with `kbit_per_sec`, packets with `pps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
}

/// `network` of a create body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NetworkCreateConfig {
    /// Whether preview ports open without a token; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_public_traffic: Option<bool>,
    /// `Host` header that preview requests carry inside; `${PORT}` becomes the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask_request_host: Option<String>,
    /// What the machine may reach; default `allow_all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<NetworkEgressPolicy>,
    /// Older spelling of `egress.deny_cidrs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_out: Option<Vec<String>>,
    /// Older spelling of `egress.allow_cidrs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_out: Option<Vec<String>>,
}

/// `network` of a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MachineNetwork {
    /// The policy in force, or the one that will be with the next start.
    pub egress: NetworkEgressPolicy,
}

/// Body of `PATCH /v1/machines/{id}/egress`: replaces the whole policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UpdateEgressRequest {
    /// The new policy.
    pub egress: NetworkEgressPolicy,
}

/// Answer of an egress update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UpdateEgressResponse {
    /// `mch_...`
    pub machine_id: String,
    /// The policy in force.
    pub egress: NetworkEgressPolicy,
}

/// Body of `POST /v1/machines/{id}/host`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GetHostRequest {
    /// 1 to 65535, except 22 and 5900 to 5999.
    pub port: u16,
}

/// Where a port of a machine is reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GetHostResponse {
    /// `name` or `address:port`.
    pub host: String,
    /// HTTP(S) URL; absent without a public host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// WebSocket URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub websocket_url: Option<String>,
    /// Until when the URL works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_expires_at: Option<Timestamp>,
    /// `query` when the URL carries a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_transport: Option<String>,
}
