//! What all WebSockets share: JSON frames, pings, the end.
//!
//! The server pings every 15 s and closes after two pings without an answer. Source: PROTOCOL.md section 4.

use std::future::Future;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::access::SUBPROTOCOL;
use super::faults::{self, Cut};
use crate::machine::Error;

/// Between two pings.
const PING_EVERY: Duration = Duration::from_secs(15);
/// Pings that may go unanswered.
const PATIENCE: u32 = 2;
/// A frame that the client does not take for so long ends the socket, as missed pongs do.
const SEND_PATIENCE: Duration = Duration::from_secs(45);
/// Most bytes of a frame from a client. Clients refuse more than this too. Source: PROTOCOL.md section 1.
const FRAME_LIMIT: usize = 1 << 20;

/// Close code of an engine that ends.
const GOING_AWAY: u16 = 1001;
/// Close code of a socket that did its work.
const NORMAL: u16 = 1000;

/// The client is gone.
#[derive(Debug)]
pub struct Gone;

/// A WebSocket of JSON frames.
pub struct Socket {
    inner: WebSocket,
    pings: Interval,
    unanswered: u32,
    /// A fault that was asked for.
    cut: Option<Cut>,
}

/// Answers an upgrade and runs `session` on the socket.
pub fn open<F>(upgrade: WebSocketUpgrade, session: impl FnOnce(Socket) -> F + Send + 'static) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let cut = faults::cut();
    upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(FRAME_LIMIT)
        .max_frame_size(FRAME_LIMIT)
        .on_upgrade(move |inner| {
            let mut pings = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
            pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
            session(Socket {
                inner,
                pings,
                unanswered: 0,
                cut,
            })
        })
}

impl Socket {
    /// The next frame. What is no JSON object comes as `null`, which no kind of frame is. Cancel-safe.
    pub async fn next(&mut self) -> Result<Value, Gone> {
        loop {
            tokio::select! {
                message = self.inner.recv() => {
                    let message = message.ok_or(Gone)?.map_err(|_| Gone)?;
                    self.unanswered = 0;
                    match message {
                        Message::Text(text) => return Ok(serde_json::from_str(&text).unwrap_or_default()),
                        Message::Binary(bytes) => return Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
                        Message::Close(_) => return Err(Gone),
                        Message::Ping(_) | Message::Pong(_) => {}
                    }
                }
                _ = self.pings.tick() => {
                    if self.unanswered >= PATIENCE {
                        return Err(Gone);
                    }
                    self.unanswered += 1;
                    self.put(Message::Ping(Vec::new().into())).await?;
                }
            }
        }
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: &impl Serialize) -> Result<(), Gone> {
        let text = serde_json::to_string(frame).map_err(|_| Gone)?;
        self.put(Message::Text(text.into())).await
    }

    /// Sends an error frame for the request `id`.
    pub async fn refuse(&mut self, id: &str, error: &Error) -> Result<(), Gone> {
        let code = error.kind.code();
        self.send(&serde_json::json!({ "type": "error", "id": id, "message": error.message, "code": code }))
            .await
    }

    /// Ends the socket after its work.
    pub async fn close(self) {
        self.close_with(NORMAL, "").await;
    }

    /// Ends the socket because the engine ends.
    pub async fn close_going_away(self) {
        self.close_with(GOING_AWAY, "the engine is shutting down").await;
    }

    async fn close_with(mut self, code: u16, reason: &'static str) {
        let reason = reason.into();
        let _ = self.put(Message::Close(Some(CloseFrame { code, reason }))).await;
        // Leave the client the time to take the last frames and to answer the close.
        let answered = async { while let Some(Ok(_)) = self.inner.recv().await {} };
        let _ = tokio::time::timeout(Duration::from_secs(1), answered).await;
    }

    async fn put(&mut self, message: Message) -> Result<(), Gone> {
        if self.cut.as_mut().is_some_and(Cut::is_due) {
            return Err(Gone);
        }
        match tokio::time::timeout(SEND_PATIENCE, self.inner.send(message)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }
}

/// Text of a field of a frame.
pub fn text<'a>(frame: &'a Value, field: &str) -> &'a str {
    frame[field].as_str().unwrap_or_default()
}
