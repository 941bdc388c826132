//! What the package's JavaScript gives to Rust: `pkg-template/lib/runtime.js`.

use js_sys::{Function, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::AbortSignal;

#[wasm_bindgen(raw_module = "./runtime.js")]
extern "C" {
    /// Makes an error object of the class that `fields.kind` names.
    #[wasm_bindgen(js_name = toError)]
    pub fn to_error(fields: &JsValue) -> JsValue;

    /// Rejects every call in flight: this instance is about to be replaced.
    pub fn crashed(message: &str);

    /// Makes a handle of what an answer is about. `client` describes its client.
    pub fn handle(
        class: &str,
        answer: &JsValue,
        client: &JsValue,
        timeout_ms: Option<f64>,
        proof: Option<&str>,
    ) -> JsValue;

    /// Makes the handle of a command in the background; `heard` is an `HeardCommand`, or undefined.
    pub fn command(machine: &JsValue, pid: u32, heard: &JsValue) -> JsValue;

    /// Id of a handle of this package; nothing for anything else.
    #[wasm_bindgen(js_name = handleId)]
    pub fn handle_id(value: &JsValue) -> Option<String>;

    /// Whether requests go through the global `fetch` as the runtime has it.
    pub fn fetches() -> bool;

    /// Sends a request: through the runtime's own transport where there is one, or through `fetch`, which is the caller's if it is given.
    /// `head` is `DECODER\nMETHOD\nURL\nname\nvalue\n...`; an empty decoder leaves the answer unread. `request` is all of it but the
    /// decoder where [`fetches`] says so. `later` is given an [`Outcome`], unless the exchange is cancelled.
    pub fn exchange(
        fetch: Option<&Function>,
        head: &str,
        request: Option<&web_sys::Request>,
        body: Option<&str>,
        content: Option<u32>,
        timeout_ms: f64,
        span: Option<u32>,
        later: u32,
    ) -> Exchange;

    /// A request under way.
    pub type Exchange;
    /// Ends it: it is not answered any more.
    #[wasm_bindgen(method)]
    pub fn cancel(this: &Exchange);

    /// Calls `act` when the signal aborts.
    #[wasm_bindgen(catch)]
    pub fn heed(signal: &AbortSignal, act: &Function) -> Result<(), JsValue>;

    /// Ends that.
    pub fn forget(signal: &AbortSignal, act: &Function);

    /// The promise of a call.
    pub fn pending(place: u32) -> Promise;

    /// Settles it.
    pub fn settle(place: u32, good: bool, value: &JsValue);

    /// Keeps bytes to be sent, and names them; 0 for what is none. `size` becomes known with [`content_size`].
    #[wasm_bindgen(js_name = holdContent)]
    pub fn hold_content(value: &JsValue) -> u32;

    /// Keeps a multipart body: the parts in order, the manifest first.
    #[wasm_bindgen(js_name = holdMultipart)]
    pub fn hold_multipart(manifest: &str, parts: &JsValue, boundary: &str) -> u32;

    /// Forgets them; what the source of a stream threw.
    #[wasm_bindgen(js_name = releaseContent)]
    pub fn release_content(content: u32) -> JsValue;

    /// A parsed frame -> checked value; throws text that names the place.
    #[wasm_bindgen(catch)]
    pub fn shape(decoder: &str, frame: &JsValue) -> Result<JsValue, JsValue>;

    /// Starts opening a WebSocket. `headers` is `name\nvalue\n...`; `own` is the caller's constructor or `undefined`.
    #[wasm_bindgen(js_name = webSocket)]
    pub fn web_socket(
        url: &str,
        key: &str,
        headers: &str,
        timeout_ms: f64,
        own: &JsValue,
        span: Option<u32>,
    ) -> Connecting;

    /// Ends a span of the caller's tracer.
    #[wasm_bindgen(js_name = endSpan)]
    pub fn end_span(span: u32);

    /// A WebSocket that is being opened, and then the hold on it.
    pub type Connecting;
    /// Resolves with an [`Opened`]; never rejects.
    #[wasm_bindgen(method, getter)]
    pub fn promise(this: &Connecting) -> Promise;
    /// Ends it, open or not.
    #[wasm_bindgen(method)]
    pub fn cancel(this: &Connecting);

    /// What became of it.
    pub type Opened;
    /// The socket, when it is open.
    #[wasm_bindgen(method, getter)]
    pub fn socket(this: &Opened) -> Option<RawSocket>;
    /// HTTP status of a refusal that the runtime tells.
    #[wasm_bindgen(method, getter)]
    pub fn status(this: &Opened) -> Option<u16>;
    /// Its body.
    #[wasm_bindgen(method, getter)]
    pub fn body(this: &Opened) -> Option<String>;
    /// Its header `x-request-id`.
    #[wasm_bindgen(method, getter, js_name = requestId)]
    pub fn request_id(this: &Opened) -> Option<String>;
    /// What went wrong.
    #[wasm_bindgen(method, getter)]
    pub fn message(this: &Opened) -> Option<String>;
    /// Whether the runtime has no WebSocket that could be used.
    #[wasm_bindgen(method, getter)]
    pub fn unusable(this: &Opened) -> Option<bool>;

    /// An open socket: `socket.js`.
    #[derive(Clone)]
    pub type RawSocket;
    /// Resolves with a [`Next`]; never rejects.
    #[wasm_bindgen(method)]
    pub fn next(this: &RawSocket, limit_ms: f64) -> Promise;
    /// Resolves with `undefined`, or with why it was not sent.
    #[wasm_bindgen(method)]
    pub fn send(this: &RawSocket, text: &str) -> Promise;
    /// Closes it, with a last frame.
    #[wasm_bindgen(method)]
    pub fn close(this: &RawSocket, last: Option<&str>);

    /// A frame, or the end.
    pub type Next;
    /// Parsed.
    #[wasm_bindgen(method, getter)]
    pub fn frame(this: &Next) -> JsValue;
    /// Why there is no frame.
    #[wasm_bindgen(method, getter)]
    pub fn closed(this: &Next) -> Option<String>;
    /// Whether the reader was too slow.
    #[wasm_bindgen(method, getter)]
    pub fn overflow(this: &Next) -> Option<bool>;
    /// Whether the server ended it in good order.
    #[wasm_bindgen(method, getter)]
    pub fn clean(this: &Next) -> Option<bool>;

    /// Bytes that a terminal printed: from base64, else from text. Throws on what is neither.
    #[wasm_bindgen(catch, js_name = terminalBytes)]
    pub fn terminal_bytes(base64: &JsValue, text: &JsValue) -> Result<JsValue, JsValue>;

    /// Base64 of an `ArrayBuffer` or a view of one; nothing for anything else.
    pub fn base64(bytes: &JsValue) -> Option<String>;

    /// A value of the environment; none where there is no environment.
    pub fn env(name: &str) -> Option<String>;

    /// A file's text, when there are files and this one can be read.
    #[wasm_bindgen(js_name = readText)]
    pub fn read_text(path: &str) -> Option<String>;

    /// The user's home directory.
    pub fn home() -> Option<String>;

    /// A random UUID, version 4.
    pub fn uuid() -> String;

    /// Milliseconds of a clock that does not jump.
    pub fn now() -> f64;

    fn timer(milliseconds: f64) -> RawTimer;

    type RawTimer;
    #[wasm_bindgen(method, getter)]
    fn promise(this: &RawTimer) -> Promise;
    #[wasm_bindgen(method)]
    fn cancel(this: &RawTimer);

    /// How a request ended.
    pub type Outcome;
    /// HTTP status; absent when no whole answer came.
    #[wasm_bindgen(method, getter)]
    pub fn status(this: &Outcome) -> Option<u16>;
    /// What `fetch` gave, when it was `fetch`: it has the headers.
    #[wasm_bindgen(method, getter)]
    pub fn response(this: &Outcome) -> Option<web_sys::Response>;
    /// The decoded body of a 2xx status.
    #[wasm_bindgen(method, getter)]
    pub fn answer(this: &Outcome) -> JsValue;
    /// Header `x-nullspace-dispatch-proof`.
    #[wasm_bindgen(method, getter, js_name = dispatchProof)]
    pub fn dispatch_proof(this: &Outcome) -> Option<String>;
    /// The body of any other status.
    #[wasm_bindgen(method, getter)]
    pub fn text(this: &Outcome) -> Option<String>;
    /// Header `x-request-id`.
    #[wasm_bindgen(method, getter, js_name = requestId)]
    pub fn request_id(this: &Outcome) -> Option<String>;
    /// Header `retry-after`.
    #[wasm_bindgen(method, getter, js_name = retryAfter)]
    pub fn retry_after(this: &Outcome) -> Option<String>;
    /// How far a request without a whole answer got: `connect`, `write`, `read`, `protocol`, `decode`.
    #[wasm_bindgen(method, getter)]
    pub fn phase(this: &Outcome) -> Option<String>;
    /// Whether it was the time limit that ended it.
    #[wasm_bindgen(method, getter, js_name = timedOut)]
    pub fn timed_out(this: &Outcome) -> Option<bool>;
    /// What went wrong.
    #[wasm_bindgen(method, getter)]
    pub fn message(this: &Outcome) -> Option<String>;
    /// What was thrown, when something was.
    #[wasm_bindgen(method, getter)]
    pub fn cause(this: &Outcome) -> JsValue;
}

/// A wait that ends with its owner: a timer that nobody awaits would keep a Node process alive.
#[must_use]
pub struct Timer(RawTimer);

impl Timer {
    /// Starts one. Delays beyond 24 days never end.
    pub fn new(milliseconds: f64) -> Self {
        Self(timer(milliseconds))
    }

    /// Resolves when the time is over.
    pub async fn wait(&self) {
        // The promise never rejects.
        let _ = JsFuture::from(self.0.promise()).await;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
