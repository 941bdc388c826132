//! What `fetch` takes and gives, where it is the transport: browsers, workers, the edge, a caller's own. The bytes move in
//! `pkg-template/lib/fetch-http.js`, which also awaits the promise: gloo-net's `send` panics when it is rejected with
//! something that is no `Error`, such as the reason of an abort, and its `RequestBuilder` makes every request twice.

use gloo_net::http::{Headers, Request, Response};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, RequestInit, RequestRedirect};

use crate::core::http;

/// A request. `headers` holds names and values in turn.
#[wasm_bindgen(js_name = fetchRequest)]
pub fn request(
    method: &str,
    url: &str,
    headers: Vec<String>,
    body: &JsValue,
    signal: &AbortSignal,
) -> Result<web_sys::Request, JsValue> {
    let fields = Headers::new();
    for pair in headers.chunks_exact(2) {
        fields.set(&pair[0], &pair[1]);
    }
    let init = RequestInit::new();
    init.set_method(method);
    init.set_headers(&fields.into_raw());
    init.set_redirect(RequestRedirect::Manual);
    init.set_signal(Some(signal));
    if !body.is_undefined() {
        init.set_body(body);
    }
    let request = Request::from(web_sys::Request::new_with_str_and_init(url, &init)?);
    Ok(request.into())
}

/// What is told of an answer before its body.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dispatch_proof: Option<String>,
}

/// The head of an answer. A `Response` of another realm or of a polyfill works as well.
#[wasm_bindgen(js_name = fetchHead)]
pub fn head(response: web_sys::Response) -> JsValue {
    let response = Response::from(response);
    let headers = response.headers();
    super::throw::to_js(&Head {
        status: response.status(),
        request_id: headers.get(http::REQUEST_ID),
        retry_after: headers.get(http::RETRY_AFTER),
        dispatch_proof: headers.get(http::DISPATCH_PROOF),
    })
}
