//! What can go wrong, and how an answer of the server says it. Source: PROTOCOL.md section 2.

use std::any::Any;
use std::rc::Rc;

use super::value::Value;
use serde::Serialize;

/// The kinds, once: the classes of the package are generated of them.
macro_rules! kinds {
    ($($name:ident,)*) => {
        /// Picks the JavaScript class: `RateLimitError` of `RateLimit`, and `NullspaceError` of `Other`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        #[allow(missing_docs)] // they are the names of the classes
        pub enum Kind {
            $($name,)*
        }

        /// All of them.
        pub const ALL_KINDS: &[Kind] = &[$(Kind::$name,)*];
    };
}
kinds! {
    Other,
    Auth,
    PermissionDenied,
    NotFound,
    Conflict,
    QuotaExceeded,
    RateLimit,
    WarmPoolUnavailable,
    Timeout,
    Transport,
    InvalidRequest,
    InvalidResponse,
    NotImplemented,
    Build,
    Git,
    BatchWrite,
    FileUpload,
    UploadLimit,
    UploadChecksum,
    UploadConflict,
    UploadExpired,
    UploadPath,
    UploadState,
}

/// Anything the SDK fails with by itself. Boxed: results are moved a lot, errors are rare.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}", self.message)]
pub struct Error(Box<Details>);

impl std::ops::Deref for Error {
    type Target = Details;
    fn deref(&self) -> &Details {
        &self.0
    }
}

impl std::ops::DerefMut for Error {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

/// What the platform threw when a request failed: only the platform can look inside.
#[derive(Clone, Default)]
pub struct Cause(pub Option<Rc<dyn Any>>);

impl std::fmt::Debug for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() {
            "Cause(..)"
        } else {
            "Cause(none)"
        })
    }
}

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(left), Some(right)) => Rc::ptr_eq(left, right),
            (left, right) => left.is_none() && right.is_none(),
        }
    }
}

/// What an error knows.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Which class.
    pub kind: Kind,
    /// Stable name.
    pub code: String,
    /// What went wrong and what to do about it.
    pub message: String,
    /// HTTP status, when there was an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The server's name for the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Whether the same call may work later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggested_action: Option<String>,
    /// Anything more, verbatim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Detail of template builds and uploads, verbatim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<Value>,
    /// Seconds, as the server said; only for status 429.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<f64>,
    /// What the platform threw.
    #[serde(skip)]
    pub cause: Cause,
}

impl Error {
    /// An error with nothing but its name and message.
    pub fn new(kind: Kind, code: &str, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind,
            code: code.to_owned(),
            message: message.into(),
            status: None,
            request_id: None,
            retryable: None,
            suggested_action: None,
            details: None,
            error_detail: None,
            retry_after: None,
            cause: Cause::default(),
        }))
    }

    /// An error that a server named outside of an answer: in a frame of a socket.
    pub fn coded(code: &str, message: String) -> Self {
        let code = code.to_ascii_lowercase();
        Self::new(kind_of(&code, None), &code, message)
    }

    /// A wrong option.
    pub fn option(path: &str, what: &str) -> Self {
        Self::new(
            Kind::InvalidRequest,
            "invalid_request",
            format!("option `{path}` {what}"),
        )
    }

    /// Options that are wrong together.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidRequest, "invalid_request", message)
    }

    /// An answer that is not what the API promises.
    pub fn invalid_response(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidResponse, "invalid_response", message)
    }

    /// No whole answer.
    pub fn transport(operation: &str, reason: &str) -> Self {
        Self::new(
            Kind::Transport,
            "transport_error",
            format!("{operation} failed: {reason}"),
        )
    }

    /// An error answer that is none.
    fn malformed(status: u16, request_id: Option<&str>, what: &str) -> Self {
        let mut error = Self::invalid_response(format!("invalid error response: HTTP {status} with {what}"));
        error.0.status = Some(status);
        error.0.request_id = request_id.map(str::to_owned);
        error
    }

    /// Reads an answer with an error status. `json` reads a JSON text.
    pub fn from_answer(
        status: u16,
        body: &str,
        json: fn(&str) -> Option<Value>,
        header_request_id: Option<&str>,
        retry_after: Option<f64>,
    ) -> Self {
        let parsed = json(body);
        if parsed.as_ref().is_some_and(|value| value.as_object().is_none()) {
            return Self::malformed(status, header_request_id, "JSON that is no object");
        }
        let Some(outer) = parsed else {
            let message = if body.trim().is_empty() {
                format!("HTTP {status} without a body")
            } else if is_page(body) {
                format!("HTTP {status} with an HTML page, which is no answer of the API: is the base URL that of a Nullspace server?")
            } else {
                excerpt(body)
            };
            let mut error = Self::new(
                if status == 429 {
                    Kind::RateLimit
                } else {
                    Kind::Other
                },
                "unknown",
                message,
            );
            error.status = Some(status);
            error.request_id = header_request_id.map(str::to_owned);
            error.retry_after = if status == 429 { retry_after } else { None };
            return error;
        };
        let nested = outer.get("error").filter(|inner| inner.as_object().is_some());
        let text = |name: &str| {
            let inner = nested.and_then(|nested| nested.get(name)).and_then(Value::as_str);
            inner
                .or_else(|| outer.get(name).and_then(Value::as_str))
                .map(str::to_owned)
        };
        let code = text("code").map(|code| code.to_ascii_lowercase());
        let message = match (nested, outer.get("error")) {
            (Some(_), _) => text("message"),
            (None, Some(Value::Text(message))) => Some(message.clone()),
            _ => outer.get("message").and_then(Value::as_str).map(str::to_owned),
        };
        let error_detail = pick(nested, &outer, "error_detail")
            .filter(|value| !value.is_null())
            .cloned();
        if error_detail.as_ref().is_some_and(|detail| !is_detail(detail)) {
            return Self::malformed(status, header_request_id, "a malformed `error_detail`");
        }
        // A 429 whose code is missing at the top is a rate limit, whatever a nested code says.
        let bare_limit = status == 429 && outer.get("code").and_then(Value::as_str).is_none();
        let kind = match &code {
            _ if bare_limit => Kind::RateLimit,
            Some(code) => kind_of(code, error_detail.as_ref()),
            None => Kind::Other,
        };
        let code = match (kind, code) {
            (Kind::Auth, Some(code)) if ["unauthenticated", "missing_api_key"].contains(&code.as_str()) => {
                "unauthorized".to_owned()
            }
            (Kind::RateLimit, None) => "rate_limit_exceeded".to_owned(),
            (_, code) => code.unwrap_or_else(|| "unknown".to_owned()),
        };
        Self(Box::new(Details {
            kind,
            code,
            message: message.unwrap_or_else(|| format!("HTTP {status}")),
            status: Some(status),
            request_id: text("request_id").or_else(|| header_request_id.map(str::to_owned)),
            // Outer values are no fallback for this one.
            retryable: match nested {
                Some(nested) => nested.get("retryable").and_then(Value::as_bool),
                None => outer.get("retryable").and_then(Value::as_bool),
            },
            suggested_action: text("suggested_action"),
            details: pick(nested, &outer, "details")
                .filter(|value| !value.is_null())
                .cloned(),
            error_detail,
            retry_after: if status == 429 { retry_after } else { None },
            cause: Cause::default(),
        }))
    }
}

/// Whether it is what template builds (`phase`) or uploads (`reason`) add to an error.
fn is_detail(detail: &Value) -> bool {
    let is_text = |name: &str| detail.get(name).and_then(Value::as_str).is_some();
    let is_known = |reason: &str| find(&BY_UPLOAD_REASON, reason).is_some();
    let upload = detail.get("reason").and_then(Value::as_str).is_some_and(is_known);
    upload || (is_text("phase") && is_text("code"))
}

fn pick<'a>(nested: Option<&'a Value>, outer: &'a Value, name: &str) -> Option<&'a Value> {
    nested
        .and_then(|nested| nested.get(name))
        .filter(|value| !value.is_null())
        .or_else(|| outer.get(name))
}

/// Whether a body is a page for people: of a proxy, or of another server.
fn is_page(body: &str) -> bool {
    let begin = body
        .trim_start()
        .get(..14)
        .unwrap_or_default()
        .to_ascii_lowercase();
    begin.starts_with("<!doctype html") || begin.starts_with("<html")
}

/// A body that is shown to a person.
fn excerpt(body: &str) -> String {
    const LIMIT: usize = 500;
    match body.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}...", &body[..end]),
        None => body.to_owned(),
    }
}

/// Codes whose class no rule gives.
const BY_CODE: [(&str, Kind); 35] = [
    ("unauthorized", Kind::Auth),
    ("unauthenticated", Kind::Auth),
    ("missing_api_key", Kind::Auth),
    ("edge_token_missing", Kind::Auth),
    ("edge_token_expired", Kind::Auth),
    ("edge_token_invalid", Kind::Auth),
    ("edge_token_scope_mismatch", Kind::Auth),
    ("preview_grant_invalid", Kind::Auth),
    ("preview_grant_revoked", Kind::Auth),
    ("preview_proxy_token_missing", Kind::Auth),
    ("preview_proxy_token_expired", Kind::Auth),
    ("preview_proxy_token_invalid", Kind::Auth),
    ("preview_proxy_token_revoked", Kind::Auth),
    ("preview_proxy_token_scope_mismatch", Kind::Auth),
    ("forbidden", Kind::PermissionDenied),
    ("permission_denied", Kind::PermissionDenied),
    ("quota_exceeded", Kind::QuotaExceeded),
    ("capacity_exceeded", Kind::QuotaExceeded),
    ("volume_quota_exceeded", Kind::QuotaExceeded),
    ("conflict", Kind::Conflict),
    ("idempotency_key_expired", Kind::Conflict),
    ("machine_not_ready", Kind::Conflict),
    ("snapshot_in_use", Kind::Conflict),
    ("rebuild_required", Kind::Conflict),
    ("incompatible_snapshot", Kind::Conflict),
    ("volume_busy", Kind::Conflict),
    ("not_found", Kind::NotFound),
    ("file_upload_error", Kind::FileUpload),
    ("build_error", Kind::Build),
    ("rate_limit_exceeded", Kind::RateLimit),
    ("not_implemented", Kind::NotImplemented),
    // A class of its own here, one of the unnamed ones in the Python SDK.
    ("warm_pool_unavailable", Kind::WarmPoolUnavailable),
    // What the client finds by itself, servers find as well.
    ("invalid_request", Kind::InvalidRequest),
    ("invalid_response", Kind::InvalidResponse),
    ("transport_error", Kind::Transport),
];

/// Reasons of `file_upload_error`.
const BY_UPLOAD_REASON: [(&str, Kind); 14] = [
    ("insufficient_staging_space", Kind::UploadLimit),
    ("size_limit_exceeded", Kind::UploadLimit),
    ("invalid_part_checksum", Kind::UploadChecksum),
    ("whole_checksum_mismatch", Kind::UploadChecksum),
    ("target_conflict", Kind::UploadConflict),
    ("upload_expired", Kind::UploadExpired),
    ("directory_extract_invalid_path", Kind::UploadPath),
    ("directory_extract_invalid_symlink", Kind::UploadPath),
    ("directory_extract_unsupported_entry", Kind::UploadPath),
    ("missing_parts", Kind::UploadState),
    ("part_out_of_range", Kind::UploadState),
    ("part_size_mismatch", Kind::UploadState),
    ("upload_aborted", Kind::UploadState),
    ("upload_already_completed", Kind::UploadState),
];

fn find(table: &[(&str, Kind)], name: &str) -> Option<Kind> {
    table
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, kind)| *kind)
}

/// The class of a lower-case code.
pub fn kind_of(code: &str, error_detail: Option<&Value>) -> Kind {
    match find(&BY_CODE, code) {
        Some(Kind::FileUpload) => error_detail
            .and_then(|detail| detail.get("reason"))
            .and_then(Value::as_str)
            .and_then(|reason| find(&BY_UPLOAD_REASON, reason))
            .unwrap_or(Kind::FileUpload),
        Some(kind) => kind,
        None if code.ends_with("_permission_denied") => Kind::PermissionDenied,
        None if code.contains("quota") => Kind::QuotaExceeded,
        None if code.ends_with("_conflict") => Kind::Conflict,
        None if code.ends_with("_not_found") => Kind::NotFound,
        None => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str, request_id: Option<&str>, retry_after: Option<f64>) -> Error {
        let json = crate::core::value::parse;
        Error::from_answer(status, body, json, request_id, retry_after)
    }

    use nullspace_wire::error::KNOWN_CODES;

    /// Written out by hand from PROTOCOL.md, "Code to class": every code of the schema in its order.
    const EXPECTED: [(&str, Kind); 67] = {
        use Kind::*;
        [
            ("account_deleted", Other),
            ("account_hard_delete_active_resources", Other),
            ("account_not_found", NotFound),
            ("account_not_soft_deleted", Other),
            ("auth_failed", Other),
            ("auth_locked", Other),
            ("auth_proxy_error", Other),
            ("auth_proxy_unavailable", Other),
            ("build_error", Build),
            ("capacity_exceeded", QuotaExceeded),
            ("captcha_failed", Other),
            ("captcha_required", Other),
            ("captcha_unavailable", Other),
            ("database_error", Other),
            ("disposable_email", Other),
            ("email_action_rate_limited", Other),
            ("email_not_verified", Other),
            ("exec_failed", Other),
            ("exec_timeout", Other),
            ("feature_unavailable", Other),
            ("file_error", Other),
            ("file_upload_error", FileUpload),
            ("function_idempotency_mismatch", Other),
            ("function_invalid_config", Other),
            ("function_invalid_state", Other),
            ("function_name_conflict", Conflict),
            ("function_not_found", NotFound),
            ("function_run_not_found", NotFound),
            ("function_secret_name_conflict", Conflict),
            ("function_service_instance_not_found", NotFound),
            ("function_version_not_found", NotFound),
            ("incompatible_snapshot", Conflict),
            ("internal_error", Other),
            ("invalid_auth_redirect", Other),
            ("invalid_oauth_provider", Other),
            ("invalid_request", InvalidRequest),
            ("machine_not_found", NotFound),
            ("machine_not_ready", Conflict),
            ("not_found", NotFound),
            ("not_implemented", NotImplemented),
            ("no_eligible_runtime_host", Other),
            ("oauth_rate_limited", Other),
            ("operator_required", Other),
            ("QUOTA_EXCEEDED", QuotaExceeded),
            ("rate_limit_exceeded", RateLimit),
            ("rebuild_required", Conflict),
            ("same_host_required", Other),
            ("signup_rate_limited", Other),
            ("snapshot_in_use", Conflict),
            ("snapshot_not_found", NotFound),
            ("template_build_not_found", NotFound),
            ("template_name_claim_not_found", NotFound),
            ("template_not_found", NotFound),
            ("transition_conflict", Conflict),
            ("transition_in_progress", Other),
            ("unauthorized", Auth),
            ("volume_backend_capability_unsupported", Other),
            ("volume_backend_unavailable", Other),
            ("volume_beta_restriction", Other),
            ("volume_busy", Conflict),
            ("volume_invalid_mount_path", Other),
            ("volume_limit_exceeded", Other),
            ("volume_mount_credential_issue_failed", Other),
            ("volume_overlapping_mounts", Other),
            ("volume_quota_exceeded", QuotaExceeded),
            ("volume_read_only", Other),
            ("volume_stale_revision", Other),
        ]
    };

    #[test]
    fn every_code_of_the_schema_has_its_class() {
        assert_eq!(KNOWN_CODES.len(), 67);
        for (known, (code, kind)) in KNOWN_CODES.iter().zip(EXPECTED) {
            assert_eq!(*known, code);
            let error = answered(400, &format!(r#"{{"error":"x","code":"{code}"}}"#), None, None);
            assert_eq!((error.kind, error.code.clone()), (kind, code.to_lowercase()));
        }
    }

    #[test]
    fn codes_outside_the_schema_have_their_class() {
        for (code, kind) in [
            ("edge_token_expired", Kind::Auth),
            ("preview_grant_revoked", Kind::Auth),
            ("forbidden", Kind::PermissionDenied),
            ("volume_permission_denied", Kind::PermissionDenied),
            ("machine_quota_reached", Kind::QuotaExceeded),
            ("upload_conflict", Kind::Conflict),
            ("warm_pool_not_found", Kind::NotFound),
            ("warm_pool_unavailable", Kind::WarmPoolUnavailable),
            ("transition_recovery_required", Kind::Other),
            ("preview_grant_disabled", Kind::Other),
        ] {
            assert_eq!(kind_of(code, None), kind, "{code}");
        }
    }

    #[test]
    fn upload_details_choose_the_class_and_bad_details_replace_the_error() {
        let read = |detail: &str| {
            let body = format!(r#"{{"error":"m","code":"file_upload_error","error_detail":{detail}}}"#);
            answered(409, &body, None, None)
        };
        for (reason, kind) in [
            ("size_limit_exceeded", Kind::UploadLimit),
            ("whole_checksum_mismatch", Kind::UploadChecksum),
            ("target_conflict", Kind::UploadConflict),
            ("upload_expired", Kind::UploadExpired),
            ("directory_extract_invalid_symlink", Kind::UploadPath),
            ("part_out_of_range", Kind::UploadState),
        ] {
            assert_eq!(
                read(&format!(
                    r#"{{"reason":"{reason}","message":"m","retryable":false}}"#
                ))
                .kind,
                kind
            );
        }
        assert_eq!(read("null").kind, Kind::FileUpload);
        for bad in [r#"{"x":1}"#, r#"{"reason":"new"}"#, "7"] {
            assert_eq!(read(bad).code, "invalid_response", "{bad}");
        }
    }

    #[test]
    fn outer_texts_fill_in_for_nested_ones_that_are_missing_or_no_text() {
        let error = answered(
            409,
            r#"{"error":{"code":7},"code":"conflict","message":"m"}"#,
            None,
            None,
        );
        assert_eq!((error.kind, error.message.as_str()), (Kind::Conflict, "m"));
    }

    #[test]
    fn the_flat_form_is_read_whole() {
        let error = answered(
            404,
            r#"{"error":"gone","code":"machine_not_found","request_id":"req_1","retryable":false,"suggested_action":"look","details":{"a":1}}"#,
            Some("req_header"),
            None,
        );
        assert_eq!(error.kind, Kind::NotFound);
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("machine_not_found", "gone")
        );
        assert_eq!(error.request_id.as_deref(), Some("req_1"));
        assert_eq!(error.retryable, Some(false));
        assert_eq!(error.details, Some(Value::object(vec![("a", 1.into())])));
    }

    #[test]
    fn nested_values_win_and_outer_ones_fill_in_except_retryable() {
        let error = answered(
            409,
            r#"{"error":{"message":"busy","code":"TRANSITION_CONFLICT"},"code":"other","retryable":true,"suggested_action":"wait"}"#,
            Some("req_header"),
            None,
        );
        assert_eq!(error.kind, Kind::Conflict);
        assert_eq!(error.code, "transition_conflict");
        assert_eq!(error.retryable, None);
        assert_eq!(error.suggested_action.as_deref(), Some("wait"));
        assert_eq!(error.request_id.as_deref(), Some("req_header"));
    }

    #[test]
    fn a_body_that_is_no_object_is_the_message() {
        let error = answered(502, "Bad gateway", None, None);
        assert_eq!(
            (error.kind, error.code.as_str(), error.message.as_str()),
            (Kind::Other, "unknown", "Bad gateway")
        );
        for body in ["[1]", "\"text\"", "null"] {
            let error = answered(500, body, Some("rq"), None);
            assert_eq!(
                (error.kind, error.request_id.as_deref()),
                (Kind::InvalidResponse, Some("rq"))
            );
        }
        assert_eq!(answered(500, &"x".repeat(9000), None, None).message.len(), 503);
    }

    #[test]
    fn a_429_without_a_top_level_code_is_a_rate_limit() {
        assert_eq!(
            answered(429, r#"{"error":"slow"}"#, None, Some(2.0)).kind,
            Kind::RateLimit
        );
        let nested = answered(
            429,
            r#"{"error":{"message":"no","code":"quota_exceeded"}}"#,
            None,
            Some(2.0),
        );
        assert_eq!((nested.kind, nested.retry_after), (Kind::RateLimit, Some(2.0)));
        let quota = answered(429, r#"{"error":"no","code":"quota_exceeded"}"#, None, Some(2.0));
        assert_eq!(quota.kind, Kind::QuotaExceeded);
    }
}
