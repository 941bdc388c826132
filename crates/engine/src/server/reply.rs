//! Answers and errors as responses.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::body::Body;
use axum::http::{header, HeaderValue, Response as HttpResponse, StatusCode};
use axum::response::{IntoResponse, Response};
use nullspace_wire::error::ErrorResponse;
use serde::Serialize;
use serde_json::Value;

use crate::machine::ground::error::UploadReason;
use crate::machine::{Error, Kind};

/// An error of a verb on its way out. [`super::access::guard`] writes its body, since only that knows the request id.
#[derive(Debug, Clone)]
pub struct Failure(pub Error);

/// What handlers answer.
pub type Answer = std::result::Result<Response, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status(self.0.kind);
        if let Kind::RateLimited(seconds) = self.0.kind {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The HTTP status of an error. Source: PROTOCOL.md section 2, "Natural pairing".
pub fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::InvalidRequest | Kind::InvalidFields | Kind::FeatureUnavailable => StatusCode::BAD_REQUEST,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Kind::Unauthorized => StatusCode::UNAUTHORIZED,
        Kind::PermissionDenied => StatusCode::FORBIDDEN,
        Kind::MachineNotFound | Kind::SnapshotNotFound | Kind::TemplateNotFound | Kind::NotFound => {
            StatusCode::NOT_FOUND
        }
        Kind::Conflict
        | Kind::IdempotencyKeyExpired
        | Kind::TransitionInProgress
        | Kind::TransitionConflict
        | Kind::MachineNotReady
        | Kind::SnapshotInUse
        | Kind::VolumeBusy
        | Kind::WarmPoolUnavailable => StatusCode::CONFLICT,
        Kind::Upload(reason) => match reason {
            UploadReason::Expired => StatusCode::GONE,
            UploadReason::SizeLimit => StatusCode::PAYLOAD_TOO_LARGE,
            UploadReason::NoStagingSpace => StatusCode::INSUFFICIENT_STORAGE,
            UploadReason::TargetConflict
            | UploadReason::Aborted
            | UploadReason::AlreadyCompleted
            | UploadReason::MissingParts => StatusCode::CONFLICT,
            _ => StatusCode::BAD_REQUEST,
        },
        Kind::ContextFile(_) | Kind::Build(_) => StatusCode::BAD_REQUEST,
        Kind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        Kind::ExecFailed => StatusCode::BAD_GATEWAY,
        Kind::ExecTimeout => StatusCode::GATEWAY_TIMEOUT,
        Kind::CapacityExceeded
        | Kind::ShuttingDown
        | Kind::NodeUnreachable
        | Kind::NoCapacity
        | Kind::DatabaseUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The envelope of an error, flat.
pub fn envelope(error: &Error, request_id: &str) -> ErrorResponse {
    ErrorResponse {
        error: error.message.clone(),
        code: error.kind.code().into(),
        request_id: Some(request_id.into()),
        retryable: Some(error.retryable.unwrap_or_else(|| error.kind.is_retryable())),
        suggested_action: error.suggested_action.as_deref().map(str::to_owned),
        details: error.details.as_deref().cloned(),
        error_detail: upload_detail(error).or_else(|| build_detail(error)),
        build_id: None,
    }
}

/// What uploads add to an error. Source: schema, `UploadFailureDetail`.
fn upload_detail(error: &Error) -> Option<Value> {
    let Kind::Upload(reason) = error.kind else {
        return None;
    };
    let mut detail = serde_json::json!({
        "reason": reason.name(),
        "message": error.message,
        "retryable": error.retryable.unwrap_or(false),
    });
    for name in ["upload_id", "path", "part_number"] {
        let known = error.details.as_deref().map(|details| &details[name]);
        if let Some(value) = known.filter(|value| !value.is_null()) {
            detail[name] = value.clone();
        }
    }
    Some(detail)
}

/// What builds of templates add to an error. Source: schema, `TemplateFailureDetail`.
fn build_detail(error: &Error) -> Option<Value> {
    let (Kind::ContextFile(phase) | Kind::Build(phase)) = error.kind else {
        return None;
    };
    let details = error.details.as_deref();
    if let Some(whole) = details.filter(|details| details["phase"].is_string()) {
        return Some(whole.clone());
    }
    let mut all = details.cloned().unwrap_or_else(|| serde_json::json!({}));
    if all["reason"].is_null() {
        all["reason"] = error.kind.code().into();
    }
    Some(serde_json::json!({
        "code": error.kind.code(),
        "message": error.message,
        "phase": phase,
        "retryable": error.retryable.unwrap_or(false),
        "suggested_action": error.suggested_action.as_deref().unwrap_or("mend what the message says and try again"),
        "details": all,
    }))
}

/// A stream that says nothing for so long says that it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What is answered value by value.
pub trait Events: Send + 'static {
    /// A value.
    type Event: Serialize + Send;

    /// The next one; `None` at the end. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Option<Self::Event>> + Send;
}

/// Values as server-sent events, as they come. A client that goes away drops `source`.
pub fn events(source: impl Events) -> Response {
    let lines = futures_util::stream::unfold(source, |mut source| async move {
        let line = match tokio::time::timeout(KEEP_ALIVE, source.next()).await {
            // Every field of an event can be written.
            Ok(event) => format!("data: {}\n\n", serde_json::to_string(&event?).unwrap_or_default()),
            Err(_) => ": still running\n\n".into(),
        };
        Some((Ok::<_, Infallible>(line), source))
    });
    let mut response = Response::new(Body::from_stream(lines));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A value as JSON.
pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => json_text(status, text),
        Err(error) => Failure(Error::internal("writing an answer", error)).into_response(),
    }
}

/// JSON that is text already.
pub fn json_text(status: StatusCode, text: String) -> Response {
    let mut response = HttpResponse::new(Body::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// 204.
pub fn nothing() -> Response {
    StatusCode::NO_CONTENT.into_response()
}
