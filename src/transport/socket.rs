//! What the client needs of a WebSocket.

use std::time::Duration;

use super::Answer;

/// A WebSocket to open.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Absolute, `http` or `https`: the transport makes `ws` and `wss` of it.
    pub url: String,
    /// The API key: a header where the runtime allows one, else a subprotocol (PROTOCOL.md section 14).
    pub key: String,
    /// What the caller adds to every request; left out where the runtime allows no headers.
    pub headers: Vec<(String, String)>,
    /// Until it is open.
    pub timeout: Duration,
}

/// Why a WebSocket did not open.
#[derive(Debug, Clone, PartialEq)]
pub enum Unopened {
    /// The server answered with an HTTP status. Browsers keep that to themselves.
    Refused {
        /// HTTP status.
        status: u16,
        /// Text.
        body: String,
        /// Header `x-request-id`.
        request_id: Option<String>,
    },
    /// No answer, or none that the runtime tells.
    Failed {
        /// In words.
        reason: String,
    },
    /// The runtime has no WebSocket, or the caller's does not work: no use in trying again.
    Unusable {
        /// In words.
        reason: String,
    },
}

/// Why an open WebSocket gave no frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    /// In words.
    pub reason: String,
    /// It was closed from this side: the reader was too slow for a socket that cannot wait.
    pub overflow: bool,
    /// The server ended it in good order: nothing was lost.
    pub clean: bool,
}

/// An open WebSocket of JSON frames. It closes with its last clone.
#[allow(async_fn_in_trait)] // called generically; futures need not be `Send` on wasm
pub trait Socket: Clone + 'static {
    /// A frame, parsed; names are as on the wire.
    type Frame: Answer;

    /// The next frame, in order, within `limit`. After the end it says the same again.
    async fn next(&self, limit: Option<Duration>) -> Result<Self::Frame, Closed>;
    /// Sends a frame; waits while too much is on its way.
    async fn send(&self, text: String) -> Result<(), Closed>;
    /// Closes it, with a last frame if one is given; what has not been read is dropped.
    fn close(&self, last: Option<String>);
}
