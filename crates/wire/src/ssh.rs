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

/// Answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SshAccessResponse {
    /// One line of OpenSSH, to be kept beside the private key as `<key>-cert.pub`.
    pub certificate: String,
    /// Where to connect.
    pub host: String,
    /// Port there.
    pub port: u16,
    /// User inside the machine.
    pub user: String,
    /// Until when the certificate admits. Connections that are open then stay open.
    pub expires_at: Timestamp,
    /// `ssh_...`
    pub access_id: String,
    /// A command to connect with, for the key at its usual place.
    pub command: String,
    /// What the server proves itself with: the rest of a `known_hosts` line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_key: Option<String>,
}
