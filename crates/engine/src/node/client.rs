//! HTTP between the parts of a cluster.

use std::time::Duration;

use axum::body::Body;
use axum::http::{header, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use nullspace_wire::error::ErrorResponse;
use serde::de::DeserializeOwned;
use serde::Serialize;

use crate::machine::{Error, Kind};
use crate::tls;

/// How long a connection may take: the parts of a cluster are near each other.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// A connection that nobody needs any more is kept so long.
const IDLE: Duration = Duration::from_secs(60);
/// How long a computer that is gone is waited for on an idle connection.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// What the kernel may hold of an answer that its reader does not take. It would hold tens of megabytes, and who sends it is to wait
/// when nobody reads.
const UNREAD: usize = 256 << 10;
/// Most bytes of an answer that is read whole.
const ANSWER_LIMIT: usize = 64 << 20;

/// Asks nodes and gateways.
#[derive(Clone)]
pub struct Client(legacy::Client<HttpsConnector<HttpConnector>, Body>);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// Nothing was sent: there was no connection.
    #[error("could not connect: {0}")]
    Unsent(String),
    /// What was sent may have been read.
    #[error("{0}")]
    Broken(String),
    /// An error as answer.
    #[error("{}", .1.error)]
    Refused(StatusCode, Box<ErrorResponse>),
}

impl Unanswered {
    /// As an error of the API: what the other side said, or that it does not answer.
    pub fn into_error(self, who: &str) -> Error {
        const KINDS: [Kind; 6] = [
            Kind::SnapshotNotFound,
            Kind::SnapshotInUse,
            Kind::TemplateNotFound,
            Kind::NotFound,
            Kind::CapacityExceeded,
            Kind::NodeUnreachable,
        ];
        if let Some(error) = self.told_as(&KINDS) {
            return error;
        }
        match self {
            Self::Refused(_, told) => Error::internal("asking a node", format!("{who}: {}", told.error)),
            Self::Unsent(cause) | Self::Broken(cause) => {
                tracing::warn!(%who, %cause, "a node does not answer");
                Error::new(
                    Kind::NodeUnreachable,
                    format!("{who} does not answer at the moment"),
                )
                .with_action("repeat the call in a moment")
            }
        }
    }

    /// What the other side said, if it is one of some errors.
    pub fn told_as(&self, kinds: &[Kind]) -> Option<Error> {
        let Self::Refused(_, told) = self else {
            return None;
        };
        let kind = kinds.iter().find(|kind| kind.code() == told.code)?;
        let error = Error::new(*kind, told.error.clone());
        Some(match &told.suggested_action {
            Some(action) => error.with_action(action.clone()),
            None => error,
        })
    }
}

impl Client {
    /// Over TLS to addresses of https, whose certificates the computer's authorities (or those of `SSL_CERT_FILE`), or those of
    /// `--cluster-ca`, signed.
    pub fn new() -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_PATIENCE));
        http.set_keepalive(Some(KEEPALIVE));
        http.set_recv_buffer_size(Some(UNREAD));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls::client())
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self(client)
    }

    /// Sends a request and gives the answer once its head is there. The caller says how long that may take.
    pub async fn send(&self, request: Request<Body>) -> Result<axum::http::Response<Incoming>, Unanswered> {
        self.0.request(request).await.map_err(|error| {
            // The cause says more than "client error (Connect)".
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                text = inner.to_string();
                cause = inner.source();
            }
            match error.is_connect() {
                true => Unanswered::Unsent(text),
                false => Unanswered::Broken(text),
            }
        })
    }

    /// Sends JSON with a key and reads the answer whole.
    pub async fn ask<T: Serialize, A: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        key: &str,
        body: Option<&T>,
        patience: Duration,
    ) -> Result<A, Unanswered> {
        let broken = |error: &dyn std::fmt::Display| Unanswered::Broken(error.to_string());
        let uri: Uri = url
            .parse()
            .map_err(|e| Unanswered::Unsent(format!("{url} is no URL: {e}")))?;
        let bytes = match body {
            Some(body) => serde_json::to_vec(body).map_err(|e| broken(&e))?,
            None => Vec::new(),
        };
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::AUTHORIZATION, format!("Bearer {key}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(bytes))
            .map_err(|e| broken(&e))?;
        let read = async {
            let response = self.send(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect();
            let bytes = body.await.map_err(|e| broken(&e))?.to_bytes();
            if !status.is_success() {
                return Err(Unanswered::Refused(status, Box::new(error_of(&bytes, status))));
            }
            let bytes: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
            serde_json::from_slice(bytes).map_err(|e| broken(&e))
        };
        tokio::time::timeout(patience, read).await.unwrap_or_else(|_| {
            Err(Unanswered::Broken(format!(
                "no answer within {} s",
                patience.as_secs()
            )))
        })
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

/// The error of an answer, whatever sent it.
pub fn error_of(bytes: &[u8], status: StatusCode) -> ErrorResponse {
    serde_json::from_slice(bytes).unwrap_or_else(|_| ErrorResponse {
        error: format!("status {}", status.as_u16()),
        code: "internal_error".into(),
        request_id: None,
        retryable: None,
        suggested_action: None,
        details: None,
        error_detail: None,
        build_id: None,
    })
}
