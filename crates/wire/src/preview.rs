//! Preview ports: what a service inside a machine is reached by. Source: PROTOCOL.md section 3.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Permission to reach one port of one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "PreviewGrant")
)]
pub struct PreviewGrantInfo {
    /// `pvg_...`
    pub id: String,
    /// `mch_...`
    pub machine_id: String,
    /// Port inside the machine.
    pub port: u16,
    /// Whether it opens the port.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["active", "expired", "revoked", "disabled"])))]
    pub status: String,
    /// Who holds the token: a visitor, or a proxy.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["direct", "proxy"])))]
    pub auth_mode: String,
    /// Where the token goes first: into the query of the URL, or into a header.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["query", "header"])))]
    pub bootstrap_transport: String,
    /// What its tokens are for: `http_port` and `websocket_port`.
    pub token_kinds: Vec<String>,
    /// Whom it was given to, such as `user`.
    pub principal_kind: String,
    /// When it was given.
    pub issued_at: Timestamp,
    /// When the grant expires.
    pub expires_at: Timestamp,
    /// Requests and connections that used it.
    pub use_count: u64,
    /// Requests that used it.
    pub http_request_count: u64,
    /// WebSockets that used it.
    pub websocket_connection_count: u64,
    /// Bytes into the machine, as far as counted.
    pub bytes_in_count: u64,
    /// Bytes out of the machine, as far as counted.
    pub bytes_out_count: u64,
    /// The same as `issued_at`.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
    /// When the grant was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// When it was used first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_used_at: Option<Timestamp>,
    /// When it was used last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
}

/// URLs with a token in them. Keep them out of logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "PreviewUrl")
)]
pub struct PreviewUrlResponse {
    /// The permission that the URLs carry.
    pub grant: PreviewGrantInfo,
    /// HTTP URL with a token.
    pub url: String,
    /// WebSocket URL with a token.
    pub websocket_url: String,
    /// When the URLs expire.
    pub access_token_expires_at: Timestamp,
    /// Where the token is.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["query"])))]
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

/// What a reverse proxy needs. Keep the tokens out of logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "PreviewProxyTarget")
)]
pub struct PreviewProxyTargetResponse {
    /// The permission that the tokens stand for.
    pub grant: PreviewGrantInfo,
    /// `mch_...`
    pub machine_id: String,
    /// Port inside the machine.
    pub port: u16,
    /// Header that the token goes into.
    pub token_header_name: String,
    /// When the tokens expire.
    pub expires_at: Timestamp,
    /// Where the token goes.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["header"])))]
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
    /// Whether {@link Machine.trafficAccessToken} is needed too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_access_required: Option<bool>,
    /// Header that it goes into.
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

/// Whether a service answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "PreviewReadiness")
)]
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
    /// As asked.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["tcp", "http"])))]
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
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggested_action: Option<String>,
}
