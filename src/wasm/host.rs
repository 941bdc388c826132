//! What the package's JavaScript gives to Rust: `pkg-template/lib/runtime.js`.

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen(raw_module = "./runtime.js")]
extern "C" {
    /// Makes an error object of the class that `fields.kind` names.
    #[wasm_bindgen(js_name = toError)]
    pub fn to_error(fields: &JsValue) -> JsValue;

    /// Rejects every call in flight: this instance is about to be replaced.
    pub fn crashed(message: &str);

    /// Whether the runtime has a transport of its own and the global `fetch` is still the original one.
    #[wasm_bindgen(js_name = hasExchange)]
    pub fn has_exchange() -> bool;

    /// Starts a request through the runtime's own transport. `head` is `METHOD\nURL\nname\nvalue\n...`; an empty
    /// `decoder` leaves the answer unread.
    pub fn exchange(head: &str, body: Option<&str>, decoder: &str, timeout_ms: f64) -> Exchange;

    /// Text of a 2xx answer -> checked value; throws text that names the place.
    #[wasm_bindgen(catch)]
    pub fn decode(decoder: &str, text: &JsValue) -> Result<JsValue, JsValue>;

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

    #[wasm_bindgen(js_name = abortController)]
    fn abort_controller() -> RawAbort;

    type RawAbort;
    #[wasm_bindgen(method, getter)]
    fn signal(this: &RawAbort) -> web_sys::AbortSignal;
    #[wasm_bindgen(method)]
    fn cancel(this: &RawAbort);

    /// A request under way.
    pub type Exchange;
    /// Resolves with an [`Outcome`]; never rejects.
    #[wasm_bindgen(method, getter)]
    pub fn promise(this: &Exchange) -> Promise;
    /// Ends it; nothing happens when it is over.
    #[wasm_bindgen(method)]
    pub fn cancel(this: &Exchange);

    /// How a request ended.
    pub type Outcome;
    /// HTTP status; absent when no whole answer came.
    #[wasm_bindgen(method, getter)]
    pub fn status(this: &Outcome) -> Option<u16>;
    /// The decoded answer of a 2xx status.
    #[wasm_bindgen(method, getter)]
    pub fn answer(this: &Outcome) -> JsValue;
    /// The body of any other status.
    #[wasm_bindgen(method, getter)]
    pub fn text(this: &Outcome) -> Option<String>;
    /// Header `x-request-id`.
    #[wasm_bindgen(method, getter, js_name = requestId)]
    pub fn request_id(this: &Outcome) -> Option<String>;
    /// Header `retry-after`.
    #[wasm_bindgen(method, getter, js_name = retryAfter)]
    pub fn retry_after(this: &Outcome) -> Option<String>;
    /// Header `x-nullspace-dispatch-proof`.
    #[wasm_bindgen(method, getter, js_name = dispatchProof)]
    pub fn dispatch_proof(this: &Outcome) -> Option<String>;
    /// How far a request without a whole answer got: `connect`, `write`, `read`, `protocol`, `decode`.
    #[wasm_bindgen(method, getter)]
    pub fn phase(this: &Outcome) -> Option<String>;
    /// Whether it was the time limit that ended it.
    #[wasm_bindgen(method, getter, js_name = timedOut)]
    pub fn timed_out(this: &Outcome) -> Option<bool>;
    /// What went wrong.
    #[wasm_bindgen(method, getter)]
    pub fn message(this: &Outcome) -> Option<String>;
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

/// A signal for a `fetch`, which it ends with its owner. Aborting what is over does nothing.
#[must_use]
pub struct AbortOnDrop(RawAbort);

impl AbortOnDrop {
    /// Not aborted.
    pub fn new() -> Self {
        Self(abort_controller())
    }

    /// What `fetch` listens to.
    pub fn signal(&self) -> web_sys::AbortSignal {
        self.0.signal()
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Ends a request with its owner: an aborted or timed out call leaves no open socket.
#[must_use]
pub struct CancelOnDrop(pub Exchange);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
