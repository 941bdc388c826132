//! Why a verb refused or failed, in the words of the API.

use serde_json::Value;

use crate::isolation::IsolationError;
use crate::store::StoreError;

/// The class of an error; each has one wire code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A value of the request is wrong; the message names it and a good one.
    InvalidRequest,
    /// The path does not take this method.
    MethodNotAllowed,
    /// The request's body is larger than the engine reads.
    TooLarge,
    /// The credentials are missing or wrong.
    Unauthorized,
    /// The request comes from an origin or an address that may not send it.
    PermissionDenied,
    /// `fields` names a field that machines do not have.
    InvalidFields,
    /// No such machine, or it was destroyed.
    MachineNotFound,
    /// No such snapshot.
    SnapshotNotFound,
    /// The engine has no such template.
    TemplateNotFound,
    /// Anything else does not exist: a pool, a volume, a file, a process.
    NotFound,
    /// The request contradicts an earlier one.
    Conflict,
    /// The machine that this idempotency key made is gone.
    IdempotencyKeyExpired,
    /// Another change of the machine is under way.
    TransitionInProgress,
    /// The machine's state does not allow this change.
    TransitionConflict,
    /// The machine does not answer commands at the moment.
    MachineNotReady,
    /// A machine still uses the snapshot.
    SnapshotInUse,
    /// A machine still uses the volume.
    VolumeBusy,
    /// The pool has no ready machine, and the request accepts no other.
    WarmPoolUnavailable,
    /// The engine does not have this feature yet.
    NotImplemented,
    /// This computer cannot enforce or do what was asked.
    FeatureUnavailable,
    /// A command could not be started.
    ExecFailed,
    /// A command ran longer than allowed and was killed.
    ExecTimeout,
    /// An upload was refused.
    Upload(UploadReason),
    /// A file of a build context was refused; holds the phase of the build.
    ContextFile(&'static str),
    /// A template build failed; holds the phase of the build.
    Build(&'static str),
    /// The engine has no room: too many machines, or a full disk.
    CapacityExceeded,
    /// The engine is shutting down.
    ShuttingDown,
    /// The node of the cluster that has what was asked for does not answer.
    NodeUnreachable,
    /// No node of the cluster has room for the machine.
    NoCapacity,
    /// The cluster's database does not answer.
    DatabaseUnavailable,
    /// The key has used up what it may have; it may ask again after the seconds of `Retry-After`.
    RateLimited(u64),
    /// The engine or the computer failed; the engine's log has the cause.
    Internal,
}

impl Kind {
    /// The wire code. Source: PROTOCOL.md section 2.
    pub fn code(self) -> &'static str {
        match self {
            Kind::InvalidRequest => "invalid_request",
            Kind::TooLarge | Kind::MethodNotAllowed => "invalid_request",
            Kind::Unauthorized => "unauthorized",
            Kind::PermissionDenied => "permission_denied",
            Kind::InvalidFields => "invalid_fields",
            Kind::MachineNotFound => "machine_not_found",
            Kind::SnapshotNotFound => "snapshot_not_found",
            Kind::TemplateNotFound => "template_not_found",
            Kind::NotFound => "not_found",
            Kind::Conflict => "conflict",
            Kind::IdempotencyKeyExpired => "idempotency_key_expired",
            Kind::TransitionInProgress => "transition_in_progress",
            Kind::TransitionConflict => "transition_conflict",
            Kind::MachineNotReady => "machine_not_ready",
            Kind::SnapshotInUse => "snapshot_in_use",
            Kind::VolumeBusy => "volume_busy",
            Kind::WarmPoolUnavailable => "warm_pool_unavailable",
            Kind::NotImplemented => "not_implemented",
            Kind::FeatureUnavailable => "feature_unavailable",
            Kind::ExecFailed => "exec_failed",
            Kind::ExecTimeout => "exec_timeout",
            Kind::Upload(_) | Kind::ContextFile(_) => "file_upload_error",
            Kind::Build(_) => "build_error",
            Kind::CapacityExceeded => "capacity_exceeded",
            Kind::ShuttingDown => "no_eligible_runtime_host",
            Kind::NodeUnreachable => "node_unreachable",
            Kind::NoCapacity => "no_capacity",
            Kind::DatabaseUnavailable => "database_unavailable",
            Kind::RateLimited(_) => "rate_limit_exceeded",
            Kind::Internal => "internal_error",
        }
    }

    /// Whether the same request may work later.
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Kind::TransitionInProgress
                | Kind::MachineNotReady
                | Kind::WarmPoolUnavailable
                | Kind::CapacityExceeded
                | Kind::ShuttingDown
                | Kind::NodeUnreachable
                | Kind::NoCapacity
                | Kind::DatabaseUnavailable
                | Kind::RateLimited(_)
                | Kind::Internal
        )
    }
}

/// Why an upload was refused. Source: schema, `UploadFailureReason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // they are the names of the reasons
pub enum UploadReason {
    InvalidPath,
    InvalidSymlink,
    UnsupportedEntry,
    NoStagingSpace,
    InvalidPartChecksum,
    MissingParts,
    PartOutOfRange,
    PartSizeMismatch,
    SizeLimit,
    TargetConflict,
    Aborted,
    AlreadyCompleted,
    Expired,
    WholeChecksumMismatch,
}

impl UploadReason {
    /// Name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            UploadReason::InvalidPath => "directory_extract_invalid_path",
            UploadReason::InvalidSymlink => "directory_extract_invalid_symlink",
            UploadReason::UnsupportedEntry => "directory_extract_unsupported_entry",
            UploadReason::NoStagingSpace => "insufficient_staging_space",
            UploadReason::InvalidPartChecksum => "invalid_part_checksum",
            UploadReason::MissingParts => "missing_parts",
            UploadReason::PartOutOfRange => "part_out_of_range",
            UploadReason::PartSizeMismatch => "part_size_mismatch",
            UploadReason::SizeLimit => "size_limit_exceeded",
            UploadReason::TargetConflict => "target_conflict",
            UploadReason::Aborted => "upload_aborted",
            UploadReason::AlreadyCompleted => "upload_already_completed",
            UploadReason::Expired => "upload_expired",
            UploadReason::WholeChecksumMismatch => "whole_checksum_mismatch",
        }
    }
}

/// An error of a verb.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Its class.
    pub kind: Kind,
    /// What went wrong and what to do about it.
    pub message: String,
    /// Overrides [`Kind::is_retryable`].
    pub retryable: Option<bool>,
    /// What to do next.
    pub suggested_action: Option<Box<str>>,
    /// Anything more.
    pub details: Option<Box<Value>>,
}

/// What a verb answers.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with a message and nothing else.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retryable: None,
            suggested_action: None,
            details: None,
        }
    }

    /// A wrong field of a request: the message names it and shows a good value.
    pub fn invalid(field: &str, message: impl std::fmt::Display) -> Self {
        Self::new(Kind::InvalidRequest, format!("`{field}` {message}"))
            .with_details(serde_json::json!({ "field": field }))
    }

    /// No machine has this id.
    pub fn no_machine(id: &str) -> Self {
        Self::new(
            Kind::MachineNotFound,
            format!("there is no machine {id}: it never was, or it was destroyed"),
        )
    }

    /// A feature that is not built.
    pub fn not_implemented(feature: &str) -> Self {
        Self::new(
            Kind::NotImplemented,
            format!("the local engine does not have {feature} yet"),
        )
        .with_action("use hosted Nullspace for this call (NULLSPACE_API_URL)")
    }

    /// Adds what to do next.
    #[must_use]
    pub fn with_action(mut self, action: impl Into<String>) -> Self {
        self.suggested_action = Some(action.into().into());
        self
    }

    /// Adds details.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details.into());
        self
    }

    /// Says whether the same request may work later.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = Some(retryable);
        self
    }

    /// A fault that is not the caller's; the cause goes to the log only.
    pub fn internal(doing: &str, cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "{doing} failed");
        Self::new(
            Kind::Internal,
            format!("{doing} failed; the engine's log has the cause under this request id"),
        )
    }

    /// Isolation refused or failed while `doing`.
    pub fn isolation(doing: &str, error: IsolationError) -> Self {
        match error {
            IsolationError::Unprivileged(text) => {
                Self::new(Kind::FeatureUnavailable, text).with_action("start the engine as root")
            }
            IsolationError::Invalid(text) | IsolationError::Directory(text) => {
                Self::new(Kind::InvalidRequest, text)
            }
            IsolationError::Busy(text) => Self::new(Kind::VolumeBusy, text).retryable(true).with_action(
                "end the processes that use it, or let them leave its directories, and try again",
            ),
            IsolationError::Lost(text) => Self::new(Kind::Conflict, text)
                .with_action("remount the volume, which mounts it anew, or destroy the machine"),
            IsolationError::Exhausted(text) => Self::new(Kind::CapacityExceeded, text),
            IsolationError::Gone => {
                Self::new(Kind::MachineNotReady, "the machine ended meanwhile").retryable(false)
            }
            IsolationError::Failed(text) => Self::internal(doing, text),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Closed => Self::shutting_down(),
            other => Self::internal("reading or writing the engine's state", other),
        }
    }
}

impl Error {
    /// The engine is ending.
    pub fn shutting_down() -> Self {
        Self::new(
            Kind::ShuttingDown,
            "the engine is shutting down; start it again and repeat the call",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_schema_or_written_down_as_our_own() {
        let schema: Value = serde_json::from_str(include_str!("../../../../../spec/openapi.json")).unwrap();
        let listed = schema["components"]["schemas"]["ErrorResponseCode"]["enum"].clone();
        let protocol = include_str!("../../../../../spec/PROTOCOL.md");
        let own = protocol
            .lines()
            .find(|line| line.starts_with("| codes |"))
            .unwrap();
        for kind in [
            Kind::InvalidRequest,
            Kind::MethodNotAllowed,
            Kind::TooLarge,
            Kind::Unauthorized,
            Kind::PermissionDenied,
            Kind::InvalidFields,
            Kind::MachineNotFound,
            Kind::SnapshotNotFound,
            Kind::TemplateNotFound,
            Kind::NotFound,
            Kind::Conflict,
            Kind::IdempotencyKeyExpired,
            Kind::TransitionInProgress,
            Kind::TransitionConflict,
            Kind::MachineNotReady,
            Kind::SnapshotInUse,
            Kind::VolumeBusy,
            Kind::WarmPoolUnavailable,
            Kind::NotImplemented,
            Kind::FeatureUnavailable,
            Kind::ExecFailed,
            Kind::ExecTimeout,
            Kind::Upload(UploadReason::Expired),
            Kind::ContextFile("preflight"),
            Kind::Build("build_step"),
            Kind::CapacityExceeded,
            Kind::ShuttingDown,
            Kind::NodeUnreachable,
            Kind::NoCapacity,
            Kind::DatabaseUnavailable,
            Kind::RateLimited(1),
            Kind::Internal,
        ] {
            let code = kind.code();
            let is_listed = listed.as_array().unwrap().iter().any(|known| known == code);
            assert!(is_listed || own.contains(&format!("`{code}`")), "{code}");
        }
    }
}
