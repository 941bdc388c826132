//! Preview ports: what a service inside a machine is reached by. Source: PROTOCOL.md section 3.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Permission to reach one port of one machine. Its tokens are never listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PreviewGrantInfo {
    /// `pvg_...`
    pub id: String,
    /// `mch_...`
    pub machine_id: String,
    /// Port inside the machine.
    pub port: u16,
    /// `active`, `expired`, `revoked` or `disabled`.
    pub status: String,
    /// `direct` or `proxy`.
    pub auth_mode: String,
    /// `query` or `header`.
    pub bootstrap_transport: String,
    /// `http_port` and `websocket_port`.
    pub token_kinds: Vec<String>,
    /// `user`
    pub principal_kind: String,
    /// When it was given.
    pub issued_at: Timestamp,
    /// Until when it holds.
    pub expires_at: Timestamp,
    /// Requests and connections that used it.
    pub use_count: u64,
    /// Requests.
    pub http_request_count: u64,
    /// WebSockets.
    pub websocket_connection_count: u64,
    /// Bytes into the machine, as far as counted.
    pub bytes_in_count: u64,
    /// Bytes out of the machine, as far as counted.
    pub bytes_out_count: u64,
    /// When it was given.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// When it was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// First use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_used_at: Option<Timestamp>,
    /// Last use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
}

/// Answer of a preview URL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PreviewUrlResponse {
    /// What the URLs stand for.
    pub grant: PreviewGrantInfo,
    /// HTTP URL with its token.
    pub url: String,
    /// WebSocket URL with its token.
    pub websocket_url: String,
    /// Until when the tokens hold.
    pub access_token_expires_at: Timestamp,
    /// `query`
    pub access_token_transport: String,
}

/// Body of `POST .../signed-preview-url`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateSignedPreviewUrlRequest {
    /// 60 to 86400; default 3600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
}

/// Body of `POST .../preview-proxy-target`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreatePreviewProxyTargetRequest {
    /// 60 to 86400; default 3600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
    /// `http` and `websocket`; default both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transports: Option<Vec<String>>,
    /// Only `header`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_transport: Option<String>,
    /// Say whether the traffic token is needed too; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_traffic_token_hint: Option<bool>,
}

/// What a reverse proxy of the caller needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PreviewProxyTargetResponse {
    /// What the tokens stand for.
    pub grant: PreviewGrantInfo,
    /// `mch_...`
    pub machine_id: String,
    /// Port inside the machine.
    pub port: u16,
    /// `x-nullspace-preview-proxy-token`
    pub token_header_name: String,
    /// Until when the tokens hold.
    pub expires_at: Timestamp,
    /// `header`
    pub token_transport: String,
    /// Headers that the proxy must set.
    pub required_forwarded_headers: Vec<String>,
    /// What to know.
    pub warnings: Vec<String>,
    /// Where HTTP goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_url: Option<String>,
    /// Where WebSockets go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub websocket_url: Option<String>,
    /// Token of HTTP requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_token: Option<String>,
    /// Token of WebSockets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub websocket_token: Option<String>,
    /// Whether the machine's traffic token is needed too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_access_required: Option<bool>,
    /// `x-nullspace-traffic-access-token`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_access_header_name: Option<String>,
}

/// Grants that match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ListPreviewGrantsResponse {
    /// Newest first.
    pub items: Vec<PreviewGrantInfo>,
}

/// Answer of a revocation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RevokePreviewGrantResponse {
    /// True.
    pub success: bool,
    /// The grant, which now is `revoked`.
    pub grant: PreviewGrantInfo,
}

/// Body of `POST .../readiness`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PreviewReadinessRequest {
    /// `tcp` (default): the port accepts; `http`: it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Path to ask for, with `http`; default `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Seconds; default 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<f64>,
    /// Milliseconds between two looks; default 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
}

/// Whether a service inside answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PreviewReadinessResponse {
    /// Both of the next two.
    pub ready: bool,
    /// The way to the machine stands.
    pub route_ready: bool,
    /// The service answers.
    pub service_ready: bool,
    /// `mch_...`
    pub machine_id: String,
    /// Port inside the machine.
    pub port: u16,
    /// `tcp` or `http`.
    pub kind: String,
    /// Time of the last look.
    pub checked_at: Timestamp,
    /// Milliseconds of all looks together.
    pub elapsed_ms: u64,
    /// Looks.
    pub attempts: u64,
    /// As asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Why it is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggested_action: Option<String>,
}
