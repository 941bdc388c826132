//! Access by SSH: a certificate for a key of the caller. Source: schema, SshAccessRequest and SshAccessResponse.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Body of `POST /v1/machines/{id}/ssh-access`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SshAccessRequest {
    /// One line of OpenSSH, such as `ssh-ed25519 AAAA...`.
    pub public_key: String,
    /// User inside the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How long the certificate admits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// The same in minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_minutes: Option<u64>,
}

/// A way into a machine by SSH.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "SshAccess")
)]
pub struct SshAccessResponse {
    /// For the key alone, for this machine and user alone. One line of OpenSSH.
    pub certificate: String,
    /// Name or address to connect to.
    pub host: String,
    /// Port to connect to.
    pub port: u16,
    /// User inside the machine.
    pub user: String,
    /// When the certificate expires.
    pub expires_at: Timestamp,
    /// Keep it to yourself.
    pub access_id: String,
    /// To be pasted into a terminal. It names the files below when there are some. `scp` and `sftp` take the same options,
    /// with `-P` for the port.
    pub command: String,
    /// Public key by which `ssh` recognises the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_key: Option<String>,
}
