//! What `fetch` takes, where the global one is the transport: browsers, workers, the edge. The bytes move in
//! `pkg-template/lib/fetch-http.js`, which also awaits the promise: gloo-net's `send` panics when it is rejected with
//! something that is no `Error`, such as the reason of an abort, and its `RequestBuilder` makes every request twice.

use gloo_net::http::Headers;
use wasm_bindgen::prelude::*;
use web_sys::{RequestInit, RequestRedirect};

use crate::transport::Request;

/// A request, but for bytes, which are told to `fetch` as its signal is. Fails with what the runtime says of the URL.
pub fn request(request: &Request) -> Result<web_sys::Request, JsValue> {
    let headers = Headers::new();
    for (name, value) in request.headers.iter() {
        headers.set(name, value);
    }
    let init = RequestInit::new();
    init.set_method(request.method);
    init.set_headers(&headers.into_raw());
    init.set_redirect(RequestRedirect::Manual);
    if let Some(body) = &request.body {
        init.set_body(&body.into());
    }
    web_sys::Request::new_with_str_and_init(&request.url, &init)
}
