//! The error envelope and its codes. Source: PROTOCOL.md section 2.

use serde::{Deserialize, Serialize};

use serde_json::Value;

/// The flat form, which servers send. Clients accept a nested one too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ErrorResponse {
    /// What went wrong and what to do about it.
    pub error: String,
    /// Stable name.
    pub code: String,
    /// Also in the header `x-request-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Whether the same request may work later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggested_action: Option<String>,
    /// Anything more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Detail of template builds and uploads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<Value>,
    /// `tb_...`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
}

/// The codes that the schema enumerates (`ErrorResponseCode`). Servers may send others.
pub const KNOWN_CODES: [&str; 67] = [
    "account_deleted",
    "account_hard_delete_active_resources",
    "account_not_found",
    "account_not_soft_deleted",
    "auth_failed",
    "auth_locked",
    "auth_proxy_error",
    "auth_proxy_unavailable",
    "build_error",
    "capacity_exceeded",
    "captcha_failed",
    "captcha_required",
    "captcha_unavailable",
    "database_error",
    "disposable_email",
    "email_action_rate_limited",
    "email_not_verified",
    "exec_failed",
    "exec_timeout",
    "feature_unavailable",
    "file_error",
    "file_upload_error",
    "function_idempotency_mismatch",
    "function_invalid_config",
    "function_invalid_state",
    "function_name_conflict",
    "function_not_found",
    "function_run_not_found",
    "function_secret_name_conflict",
    "function_service_instance_not_found",
    "function_version_not_found",
    "incompatible_snapshot",
    "internal_error",
    "invalid_auth_redirect",
    "invalid_oauth_provider",
    "invalid_request",
    "machine_not_found",
    "machine_not_ready",
    "not_found",
    "not_implemented",
    "no_eligible_runtime_host",
    "oauth_rate_limited",
    "operator_required",
    "QUOTA_EXCEEDED",
    "rate_limit_exceeded",
    "rebuild_required",
    "same_host_required",
    "signup_rate_limited",
    "snapshot_in_use",
    "snapshot_not_found",
    "template_build_not_found",
    "template_name_claim_not_found",
    "template_not_found",
    "transition_conflict",
    "transition_in_progress",
    "unauthorized",
    "volume_backend_capability_unsupported",
    "volume_backend_unavailable",
    "volume_beta_restriction",
    "volume_busy",
    "volume_invalid_mount_path",
    "volume_limit_exceeded",
    "volume_mount_credential_issue_failed",
    "volume_overlapping_mounts",
    "volume_quota_exceeded",
    "volume_read_only",
    "volume_stale_revision",
];
