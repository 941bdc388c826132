//! Opening a WebSocket: the key, what is tried again, and errors. Source: PROTOCOL.md sections 1 and 2.

use std::time::Duration;

use super::call::{Client, Failed, Failure, Outcome};
use crate::core::config::Key;
use crate::core::error::{Error, Kind};
use crate::transport::{Closed, Opening, Transport, Unopened};

/// Until a WebSocket is open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// Before the second and the third try.
const DELAYS: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(500)];

impl<T: Transport> Client<T> {
    /// Opens a socket. `path` begins with a slash and has its query.
    pub async fn open(&self, operation: &str, path: &str) -> Outcome<T, T::Socket> {
        let mut delays = DELAYS.into_iter();
        let mut asked_again = false;
        loop {
            let key = match self.key().await {
                Ok(key) => key,
                Err(Failed::Thrown(thrown)) => return Err(Failure::Thrown(thrown)),
                Err(Failed::Api(error)) => return Err(error.into()),
                // A key has no transport of its own.
                Err(Failed::Transport(error)) => {
                    return Err(Error::transport(operation, &error.reason).into())
                }
            };
            let opening = Opening {
                url: format!("{}{path}", self.settings().base_url),
                key: key.clone(),
                headers: self.settings().headers.clone(),
                timeout: OPEN_TIMEOUT,
            };
            let unopened = match self.transport().open(opening).await {
                Ok(socket) => return Ok(socket),
                Err(unopened) => unopened,
            };
            if matches!(unopened, Unopened::Refused { status: 401, .. })
                && self.settings().key == Key::Asked
                && !asked_again
            {
                asked_again = true;
                self.forget_key(&key);
                continue;
            }
            match (is_final(&unopened), delays.next()) {
                (false, Some(delay)) => self.transport().sleep(delay).await,
                _ => return Err(self.describe_unopened(operation, unopened).into()),
            }
        }
    }

    fn describe_unopened(&self, operation: &str, unopened: Unopened) -> Error {
        let (status, body, request_id) = match unopened {
            Unopened::Failed { reason } => {
                let mut failed = Error::transport(operation, &reason);
                failed.suggested_action = Some(self.nothing_answered());
                return failed;
            }
            Unopened::Unusable { reason } => return Error::option("WebSocket", &reason),
            Unopened::Refused {
                status,
                body,
                request_id,
            } => (status, body, request_id),
        };
        let mut error = Error::from_answer(status, &body, T::json, request_id.as_deref(), None);
        // A refusal without a code of the API's: by its status.
        if error.code == "unknown" || error.code == "invalid_response" {
            (error.kind, error.code) = match status {
                401 => (Kind::Auth, "unauthorized".to_owned()),
                403 => (Kind::Auth, "forbidden".to_owned()),
                429 => (Kind::RateLimit, "rate_limit_exceeded".to_owned()),
                501 => (Kind::NotImplemented, "not_implemented".to_owned()),
                400..=499 => (Kind::Other, "websocket_upgrade_error".to_owned()),
                _ => (Kind::Transport, "transport_error".to_owned()),
            };
        }
        error
    }
}

fn is_final(unopened: &Unopened) -> bool {
    match unopened {
        Unopened::Refused { status, .. } => (400..500).contains(status) || *status == 501,
        Unopened::Unusable { .. } => true,
        Unopened::Failed { .. } => false,
    }
}

/// The error of a socket that ended too early. `what` says what is lost with it.
pub(super) fn cut_off(operation: &str, closed: &Closed, what: &str) -> Error {
    if closed.overflow {
        return Error::new(
            Kind::Other,
            "stream_overflow",
            format!("{operation}: {}", closed.reason),
        );
    }
    Error::transport(operation, &format!("{}; {what}", closed.reason))
}
