//! Watching files over a WebSocket. Source: PROTOCOL.md section 5, "Watch".

use std::time::Duration;

use nullspace_wire::api;

use super::call::Outcome;
use super::files::{Both, FileOwner};
use super::socket::cut_off;
use crate::core::error::Error;
use crate::core::files::{WatchRequest, CHANGE};
use crate::core::frames;
use crate::core::value::json;
use crate::transport::{Answer, Socket, Transport};

const SOCKET: Both = [&api::WEBSOCKET_UPGRADE, &api::VOLUME_WEBSOCKET_UPGRADE];
/// Name in messages.
const OPERATION: &str = "watchFiles";
/// Until the first answer.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// A watch that is on. It ends with its owner.
pub struct Watch<T: Transport> {
    socket: T::Socket,
    id: String,
}

impl<T: Transport> FileOwner<T> {
    /// Watches a file or directory, from now on.
    pub async fn watch(&self, request: &WatchRequest) -> Outcome<T, Watch<T>> {
        let id = self.transport().uuid();
        let first = json!({
            "type": "file_watch", "id": &id, "path": &request.path, "user": request.user.as_deref(),
            "recursive": request.recursive, "timeout_secs": request.timeout,
        });
        let path = self.on(SOCKET, &[], None).path;
        let socket = self.client.open(OPERATION, &path).await?;
        let lost = |closed| cut_off(OPERATION, &closed, "the watch did not begin");
        socket.send(first.to_json()).await.map_err(lost)?;
        loop {
            let frame = socket.next(Some(FIRST_ANSWER)).await.map_err(lost)?;
            match frames::kind(&frame)?.as_str() {
                "file_watch_started" => return Ok(Watch { socket, id }),
                "error" => return Err(frames::failure(&frame, "watch_error").into()),
                // Of a newer server.
                _ => {}
            }
        }
    }
}

impl<T: Transport> Watch<T> {
    /// The next change, as the frame that tells it; `None` when its time is over or the machine ended.
    pub async fn next(&self) -> Outcome<T, Option<T::Answer>> {
        loop {
            let frame = match self.socket.next(None).await {
                Ok(frame) => frame,
                Err(closed) if closed.clean => return Ok(None),
                Err(closed) => {
                    let what = "changes may have been missed";
                    return Err(cut_off(OPERATION, &closed, what).into());
                }
            };
            let ours = frame.text("id").as_deref() == Some(self.id.as_str());
            match frames::kind(&frame)?.as_str() {
                "file_event" if ours => {
                    for field in CHANGE {
                        if frame.text(field).is_none() {
                            let what = format!("a frame `file_event` has no usable `{field}`");
                            return Err(Error::invalid_response(what).into());
                        }
                    }
                    return Ok(Some(frame));
                }
                "error" if ours => return Err(frames::failure(&frame, "watch_error").into()),
                _ => {}
            }
        }
    }

    /// Ends it.
    pub fn stop(&self) {
        self.socket.close(None);
    }
}
