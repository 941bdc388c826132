//! What the client needs from the outside: one exchange, waiting, randomness, and what the caller gave as functions.
//! It knows no retry and no schema.

mod socket;

pub use crate::core::answer::{Answer, Phase, TransportError};
pub use nullspace_wire::answers::Answer as Decoder;
pub use socket::{Closed, Opening, Socket, Unopened};

use std::time::Duration;

use serde::Serialize;

use crate::core::value::Value;

/// Sends requests and waits.
#[allow(async_fn_in_trait)] // called generically; futures need not be `Send` on wasm
pub trait Transport: Clone + 'static {
    /// A decoded answer.
    type Answer: Answer;
    /// What a caller's function may throw; it passes through untouched.
    type Thrown: 'static;
    /// An open WebSocket.
    type Socket: Socket<Frame = Self::Answer>;

    /// Resolves with any HTTP status; fails only when no (whole, decodable) answer came.
    async fn send(&self, request: Request) -> Result<Reply<Self::Answer>, TransportError>;
    /// Opens a WebSocket.
    async fn open(&self, opening: Opening) -> Result<Self::Socket, Unopened>;
    /// Checks a frame of a socket and gives it its JavaScript names, as answers have them; or says what is wrong.
    fn shape(&self, decoder: Decoder, frame: &Self::Answer) -> Result<Self::Answer, String>;
    /// The value of a JSON text; `None` when it is no JSON.
    fn json(text: &str) -> Option<Value>;
    /// Waits.
    async fn sleep(&self, time: Duration);
    /// A random UUID, version 4.
    fn uuid(&self) -> String;
    /// Milliseconds of a monotonic clock; only differences mean something.
    fn now_ms(&self) -> f64;
    /// Asks the caller's function for the API key; `None` is what it gives when it gives no text.
    async fn ask_key(&self) -> Result<Option<String>, Self::Thrown>;
    /// Tells the caller's hook of a request.
    fn on_request(&self, event: &RequestEvent<'_>) -> Result<(), Self::Thrown>;
    /// Begins a span of the caller's tracer, if there is one. `template`: the path with `{name}`s; empty when it is not known.
    fn begin_span(&self, _method: &str, _template: &str, _url: &dyn Fn() -> String) -> Option<u32> {
        None
    }
    /// Ends it, as its last request ended.
    fn end_span(&self, _span: u32) {}
    /// Tells the caller's hook of its end.
    fn on_response(&self, event: &ResponseEvent<'_>) -> Result<(), Self::Thrown>;
    /// Whether anybody listens to the hooks.
    fn has_hooks(&self) -> bool;
    /// Lets work run to its end by itself, also when the call that began it was given up.
    fn spawn(&self, task: impl std::future::Future<Output = ()> + 'static);
}

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST`, `PATCH`, `DELETE`.
    pub method: &'static str,
    /// Absolute.
    pub url: String,
    /// Of the API and of the caller.
    pub headers: Headers,
    /// JSON text.
    pub body: Option<String>,
    /// Bytes to send instead; their type is in the headers.
    pub content: Option<Content>,
    /// How a 2xx answer is read.
    pub decoder: Decoder,
    /// For the whole exchange; when bytes are sent or given back as they are, for silence.
    pub timeout: Duration,
    /// Of [`Transport::begin_span`].
    pub span: Option<u32>,
}

/// Headers, valid ones: a text of `\nname\nvalue` for each, as they cross into JavaScript.
#[derive(Debug, Clone)]
pub struct Headers(String);

impl Default for Headers {
    fn default() -> Self {
        // Enough for those that most requests have.
        Self(String::with_capacity(160))
    }
}

impl Headers {
    /// Adds one. `value`: its parts.
    pub fn push(&mut self, name: &str, value: &[&str]) {
        self.0.push('\n');
        self.0.push_str(name);
        self.0.push('\n');
        for part in value {
            self.0.push_str(part);
        }
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut lines = self.0.split('\n').skip(1);
        std::iter::from_fn(move || Some((lines.next()?, lines.next()?)))
    }

    /// The text.
    pub fn as_text(&self) -> &str {
        &self.0
    }
}

/// Names bytes that the transport holds: they never come in here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content(pub u32);

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Reply<A> {
    /// HTTP status.
    pub status: u16,
    /// Header `x-request-id`.
    pub request_id: Option<String>,
    /// Header `retry-after`.
    pub retry_after: Option<String>,
    /// Header `x-nullspace-dispatch-proof`.
    pub dispatch_proof: Option<String>,
    /// 2xx: decoded. Anything else: text.
    pub body: Body<A>,
}

/// What an answer holds.
#[derive(Debug, Clone)]
pub enum Body<A> {
    /// Of a 2xx status.
    Answer(A),
    /// Of any other status.
    Text(String),
}

/// What `onRequest` sees.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestEvent<'a> {
    /// Name of the call.
    pub operation: &'static str,
    /// Upper case.
    pub method: &'static str,
    /// Absolute.
    pub url: &'a str,
    /// Lower-case names; secrets are redacted.
    pub headers: Value,
    /// Counts from 1.
    pub attempt: u32,
}

/// What `onResponse` sees.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResponseEvent<'a> {
    /// Name of the call.
    pub operation: &'static str,
    /// Upper case.
    pub method: &'static str,
    /// Absolute.
    pub url: &'a str,
    /// Counts from 1.
    pub attempt: u32,
    /// HTTP status; absent when no whole answer came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The server's name for the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
    /// From the first byte sent to the last one read.
    pub duration_ms: f64,
    /// Why no whole answer came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
}
