//! Git in a machine. Source: PROTOCOL.md section 7.

use serde::{Deserialize, Serialize};

/// Credentials of one operation.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum GitAuth {
    /// A name and a password or token.
    Https {
        /// Name.
        username: String,
        /// Password or token.
        password: String,
    },
    /// A private key.
    Ssh {
        /// In the form of OpenSSH or PEM.
        private_key: String,
        /// Opens it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        passphrase: Option<String>,
    },
}

impl std::fmt::Debug for GitAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            GitAuth::Https { .. } => "GitAuth::Https(..)",
            GitAuth::Ssh { .. } => "GitAuth::Ssh(..)",
        })
    }
}

/// Body of `POST .../git/clone`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GitCloneRequest {
    /// Remote, without credentials in it.
    pub url: String,
    /// Where it goes.
    pub path: String,
    /// Instead of the remote's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Commits of history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// For this operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<GitAuth>,
}

/// Answer of `POST .../git/clone`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GitCloneResponse {
    /// Where it went.
    pub path: String,
}

/// Body of `POST .../git/add`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GitAddRequest {
    /// The repository.
    pub path: String,
    /// None or no files = everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<String>>,
}

/// What `POST .../git/branch` does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum GitBranchAction {
    /// Makes it where `HEAD` is.
    #[default]
    Create,
    /// Deletes it.
    Delete,
}

/// Body of `POST .../git/branch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GitBranchRequest {
    /// The repository.
    pub path: String,
    /// Name of the branch.
    pub name: String,
    /// What to do.
    #[serde(default)]
    pub action: GitBranchAction,
    /// Delete what is not merged too.
    #[serde(default)]
    pub force: bool,
}

/// Body of `POST .../git/checkout`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GitCheckoutRequest {
    /// The repository.
    pub path: String,
    /// Branch, tag or commit.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Make the branch first.
    #[serde(default)]
    pub create: bool,
}

/// Body of `POST .../git/commit`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GitCommitRequest {
    /// The repository.
    pub path: String,
    /// Message.
    pub message: String,
    /// Add everything first.
    #[serde(default)]
    pub add_all: bool,
    /// Add these first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<String>>,
    /// With the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author_name: Option<String>,
    /// With the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author_email: Option<String>,
}

/// Answer of `POST .../git/commit`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GitCommitResponse {
    /// The new commit.
    pub sha: String,
}

/// Body of `POST .../git/pull` and `push`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GitSyncRequest {
    /// The repository.
    pub path: String,
    /// Name of the remote; `origin` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Instead of the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Remember the remote branch. Push only.
    #[serde(default)]
    pub set_upstream: bool,
    /// For this operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<GitAuth>,
}

/// Answer of `POST .../git/pull` and `push`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GitSyncResponse {
    /// What git said.
    pub summary: String,
}

/// Answer of operations that tell nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GitOkResponse {
    /// Always true.
    pub ok: bool,
}

/// State of a repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GitStatus {
    /// Absent when `HEAD` is no branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Whether `HEAD` is no branch.
    pub detached: bool,
    /// Whether nothing has changed.
    pub clean: bool,
    /// Commits that the upstream lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<u64>,
    /// Commits that only the upstream has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
    /// Files that have changed.
    #[cfg_attr(feature = "schema", schemars(extend("readOnly" = true)))]
    pub changed: Vec<GitChangedFile>,
}

/// A file that has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GitChangedFile {
    /// From the top of the repository.
    pub path: String,
    /// `modified`, `added`, `deleted`, `renamed`, `copied`, `type_changed`, `untracked`, `conflicted`.
    pub status: String,
    /// In the index.
    pub staged: bool,
    /// In the working tree.
    pub unstaged: bool,
    /// Of a renamed or copied file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_path: Option<String>,
}

/// Answer of `GET .../git/log`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GitLog {
    /// Newest first.
    pub commits: Vec<GitCommit>,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GitCommit {
    /// Hexadecimal digits.
    pub sha: String,
    /// Name of the author.
    pub author_name: String,
    /// Address of the author.
    pub author_email: String,
    /// RFC 3339, in the author's time zone.
    pub date: String,
    /// The whole message.
    pub message: String,
}

/// Local branches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "GitBranches")
)]
pub struct GitBranchList {
    /// Absent when `HEAD` is no branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// Their names.
    #[cfg_attr(feature = "schema", schemars(extend("readOnly" = true)))]
    pub branches: Vec<String>,
}
