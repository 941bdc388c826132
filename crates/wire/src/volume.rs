//! Volumes: directories that outlive machines. Source: PROTOCOL.md section 9.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Body of `create_volume`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateVolumeRequest {
    /// Unique in an account.
    pub name: String,
}

/// A volume as the server describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VolumeInfo {
    /// `vol_...`
    pub id: String,
    /// Unique in an account.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Bytes of its files.
    pub used_bytes: u64,
    /// Number of its files and directories.
    pub inode_count: u64,
    /// Number of its mounts in machines.
    pub mount_count: u64,
    /// Most bytes; absent without a limit.
    #[serde(default)]
    pub max_size_bytes: Option<u64>,
    /// Most files and directories; absent without a limit.
    #[serde(default)]
    pub max_file_count: Option<u64>,
    /// Most mounts; absent without a limit.
    #[serde(default)]
    pub max_mounts: Option<u64>,
    /// When its files were counted.
    #[serde(default)]
    pub last_reconciled_at: Option<Timestamp>,
    /// Whether it can be used.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["available", "attached", "degraded", "error"])))]
    pub status: String,
}

/// A volume in a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VolumeAttachment {
    /// `vat_...`
    pub id: String,
    /// `vol_...`
    pub volume_id: String,
    /// `mch_...`
    pub machine_id: String,
    /// Absolute, inside the machine.
    pub mount_path: String,
    /// Whether writes are refused.
    pub read_only: bool,
    /// How far the mount is.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["requested", "mounting", "mounted", "paused", "remounting", "unmounted", "releasing", "released", "failed"])))]
    pub state: String,
    /// When it was attached.
    pub created_at: Timestamp,
    /// When it was mounted last.
    pub updated_at: Timestamp,
    /// Directory of the volume that is mounted; absent for all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
    /// Why it is `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error_code: Option<String>,
    /// The same as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error_message: Option<String>,
}
