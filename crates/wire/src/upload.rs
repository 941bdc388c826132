//! Resumable uploads. Source: PROTOCOL.md section 5, "Uploads".

use serde::{Deserialize, Serialize};

use crate::{JsonObject, Timestamp};

/// What is uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UploadKind {
    /// One file.
    File,
    /// A directory, as an uncompressed tar archive.
    DirectoryTar,
}

/// What happens to what is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UploadConflict {
    /// Files are replaced, directories are joined.
    Merge,
    /// All of it is replaced.
    Replace,
    /// The upload fails.
    Error,
}

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // they are the names of the states
pub enum UploadStatus {
    Created,
    Uploading,
    Staged,
    Completing,
    Completed,
    Aborted,
    Expired,
    Failed,
}

/// Body of `POST .../uploads`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateUploadRequest {
    /// What is uploaded.
    pub kind: UploadKind,
    /// Where the bytes come from: `restartable_file`, `spooled_stream`, `directory_archive`.
    pub source_kind: String,
    /// Path in the machine.
    pub target_path: String,
    /// Bytes in all.
    pub content_length: u64,
    /// What happens to what is there.
    pub conflict: UploadConflict,
    /// `sha256`.
    pub checksum_algorithm: String,
    /// `tar`, for directories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_format: Option<String>,
    /// Lower-case hexadecimal, when it is known already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_checksum_sha256: Option<String>,
    /// The caller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<JsonObject>,
    /// Whose rights count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Permission bits of a single file, octal. The local engine's own; those of an archive are in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// What a server allows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UploadLimits {
    /// Bytes of one upload.
    pub max_upload_bytes: u64,
    /// Bytes of one part.
    pub max_part_bytes: u64,
    /// Parts at once.
    pub max_concurrency: u32,
    /// Bytes of all uploads of a machine that are under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_staging_quota_bytes: Option<u64>,
    /// The same of a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staging_quota_bytes: Option<u64>,
}

/// An upload that is under way, or was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UploadSession {
    /// `upl_...`
    pub upload_id: String,
    /// What is uploaded.
    pub kind: UploadKind,
    /// As given.
    pub source_kind: String,
    /// Absolute path in the machine.
    pub target_path: String,
    /// Bytes in all.
    pub content_length: u64,
    /// Bytes that came.
    pub accepted_bytes: u64,
    /// Bytes kept free for it.
    pub reserved_staging_bytes: u64,
    /// Bytes of each part but the last.
    pub part_size: u64,
    /// Parts, counted from 0.
    pub part_count: u32,
    /// Parts at once.
    pub max_concurrency: u32,
    /// How far it is.
    pub status: UploadStatus,
    /// As given.
    pub conflict: UploadConflict,
    /// `sha256`.
    pub checksum_algorithm: String,
    /// What the server allows.
    pub limits: UploadLimits,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
    /// When it ends unless it is completed.
    pub expires_at: Timestamp,
    /// As given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The first part that is missing; absent when none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_part: Option<u32>,
    /// As given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_format: Option<String>,
    /// As given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_checksum_sha256: Option<String>,
}

/// Answer of `POST .../uploads`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateUploadResponse {
    /// The session.
    pub session: UploadSession,
}

/// Body of `POST .../uploads/{id}/complete`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CompleteUploadRequest {
    /// Lower-case hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_checksum_sha256: Option<String>,
}

/// Answer of `POST .../uploads/{id}/complete`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CompleteUploadResponse {
    /// The session, completed.
    pub session: UploadSession,
    /// Bytes of files.
    pub published_bytes: u64,
    /// Files.
    pub published_file_count: u64,
}
