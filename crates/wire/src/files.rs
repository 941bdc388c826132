//! Files of a machine, or of a volume. Source: PROTOCOL.md sections 5 and 9.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileInfo {
    /// A byte that belongs to no UTF-8 is U+FFFD and its two digits, so that the path leads back to the file: `caf\uFFFDE9`.
    pub name: String,
    /// Absolute.
    pub path: String,
    /// Whether `type` is `dir`.
    pub is_dir: bool,
    /// Bytes.
    pub size: u64,
    /// `file`, `dir`, `symlink`, or another kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// Octal, such as `0644`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// As `ls -l` shows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<String>,
    /// Name of the user, or the number of one without a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Name of the group, or the number of one without a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// When its content changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_time: Option<Timestamp>,
    /// Where a symbolic link leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symlink_target: Option<String>,
}

/// How `content` holds bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum FileEncoding {
    /// As text.
    #[default]
    Utf8,
    /// As standard base64 with padding.
    Base64,
}

/// Body of `exists`, `info`, `mkdir`, `remove`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PathRequest {
    /// Relative ones start at the machine's working directory.
    pub path: String,
    /// Whose rights count; default root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Body of `read`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReadFileRequest {
    /// As in [`PathRequest`].
    pub path: String,
    /// Default `utf8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<FileEncoding>,
    /// Whose rights count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Answer of `read`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReadFileResponse {
    /// In `encoding`.
    pub content: String,
    /// As asked for.
    pub encoding: FileEncoding,
    /// Bytes of the file.
    pub size: u64,
}

/// Body of `write`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WriteFileRequest {
    /// As in [`PathRequest`].
    pub path: String,
    /// In `encoding`.
    pub content: String,
    /// Default `utf8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<FileEncoding>,
    /// Whose rights count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Permission bits, octal. The local engine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// Body of `rename`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RenameRequest {
    /// As in [`PathRequest`].
    pub old_path: String,
    /// As in [`PathRequest`].
    pub new_path: String,
    /// Whose rights count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Body of `permissions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SetPermissionsRequest {
    /// As in [`PathRequest`].
    pub path: String,
    /// Octal, such as `0644`.
    pub permissions: String,
    /// Whose rights count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Body of `find` (text in content) and `search` (pattern of names).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PatternRequest {
    /// Where to look, as in [`PathRequest`].
    pub path: String,
    /// What to look for.
    pub pattern: String,
    /// Whose rights count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Body of `replace`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReplaceInFilesRequest {
    /// As in [`PathRequest`].
    pub files: Vec<String>,
    /// Text, literally.
    pub pattern: String,
    /// What to put there.
    pub replacement: String,
    /// Only count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// Whose rights count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// What {@link Files.replaceInFiles} did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReplaceResult {
    /// Whether nothing was changed, since `dry_run` asked so. Told of volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// Places, over all files.
    pub replacements: u64,
    /// Files that changed.
    pub files_modified: u64,
    /// Files without the pattern.
    pub files_skipped: u64,
    /// Files left out because they are no text.
    pub binary_files_skipped: u64,
}

/// Answer of `exists`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileExistsResponse {
    /// Whether something is there.
    pub exists: bool,
}

/// A line that matches: {@link Files.findFiles}.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SearchMatch {
    /// Path of the file.
    pub file: String,
    /// Counts from 1.
    pub line: u64,
    /// The line.
    pub content: String,
}

/// Answer of `POST .../files/batch-write`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BatchWriteResponse {
    /// One for each file, in order.
    pub results: Vec<BatchWriteResult>,
}

/// What became of one file of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BatchWriteResult {
    /// `success` or `error`.
    pub status: String,
    /// As it was given.
    pub path: String,
    /// The file, when it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<FileInfo>,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Body of `POST .../files/download-url`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DownloadUrlRequest {
    /// As in [`PathRequest`].
    pub path: String,
    /// `tar` for a directory. Of machines the local engine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_format: Option<String>,
    /// Whose rights count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Answer of `POST .../files/download-url`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DownloadUrlResponse {
    /// Absolute; whoever has it may read the file until it expires.
    pub url: String,
}

/// Where a file can be written without a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "UploadUrl")
)]
pub struct UploadUrlResponse {
    /// Anybody who has it may write the file until it expires.
    pub url: String,
    /// The secret part of it, which the volume's info leaves out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}
