//! The transport of browsers, workers and the edge, and of callers who gave a `fetch` of their own.
//!
//! gloo-net builds requests and reads answers; its `send` is not used: a rejection that is no `Error` (an abort with
//! a text as its reason) panics in it.

use gloo_net::http::{Headers, RequestBuilder, Response};
use js_sys::{Function, JsString, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::host::{self, AbortOnDrop, Timer};
use super::race::{race, First};
use crate::core::options::shown;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = fetch, catch)]
    fn global_fetch(request: &web_sys::Request) -> Result<Promise, JsValue>;
}

/// An error body beyond this many UTF-16 units is cut: it is shown to a person.
const ERROR_BODY_LIMIT: u32 = 1 << 20;

/// One request, already checked: method, URL and headers are valid.
pub struct Outgoing<'a> {
    /// Upper case.
    pub method: &'a str,
    /// Absolute.
    pub url: &'a str,
    /// Names and values.
    pub headers: &'a [(String, String)],
    /// JSON text.
    pub body: Option<&'a str>,
    /// Name of the decoder; empty leaves the answer unread.
    pub decoder: &'a str,
    /// For the whole exchange.
    pub timeout_ms: f64,
}

/// What came back.
pub enum Fetched {
    /// 2xx, decoded.
    Answer {
        status: u16,
        headers: Headers,
        answer: JsValue,
    },
    /// Any other status, with its body's text.
    Refused {
        status: u16,
        headers: Headers,
        text: String,
    },
    /// No whole answer, or one that is not what it should be.
    Failed {
        phase: &'static str,
        timed_out: bool,
        message: String,
        cause: Option<JsValue>,
    },
}

/// Sends a request through `custom`, or the global `fetch`.
pub async fn send(custom: Option<&Function>, outgoing: &Outgoing<'_>) -> Fetched {
    let guard = AbortOnDrop::new();
    let timer = Timer::new(outgoing.timeout_ms);
    match race(exchange(custom, outgoing, &guard.signal()), timer.wait()).await {
        First::A(fetched) => fetched,
        First::B(()) => Fetched::Failed {
            phase: "read",
            timed_out: true,
            message: format!("no whole answer within {} s", shown(outgoing.timeout_ms / 1000.0)),
            cause: None,
        },
    }
}

async fn exchange(
    custom: Option<&Function>,
    outgoing: &Outgoing<'_>,
    signal: &web_sys::AbortSignal,
) -> Fetched {
    let started = match custom {
        Some(fetch) => call_custom(fetch, outgoing, signal),
        None => call_global(outgoing, signal),
    };
    let promise = match started {
        Ok(promise) => promise,
        Err(cause) => return failed("connect", &text_of(&cause), cause),
    };
    let raw = match JsFuture::from(promise).await {
        Ok(raw) => raw,
        Err(cause) => return failed(phase_of(&cause), &text_of(&cause), cause),
    };
    if !Reflect::get(&raw, &"status".into()).is_ok_and(|status| status.as_f64().is_some()) {
        return failed(
            "protocol",
            "`fetch` resolved with something that is no Response",
            raw,
        );
    }
    // Unchecked: a Response of another realm or of a polyfill works as well.
    let response = Response::from(raw.clone().unchecked_into::<web_sys::Response>());
    let (status, headers) = (response.status(), response.headers());
    if status == 0 {
        return failed(
            "protocol",
            "the server answered with a redirect, which API calls do not follow",
            raw,
        );
    }
    let good = (200..300).contains(&status);
    if good && outgoing.decoder.is_empty() {
        return Fetched::Answer {
            status,
            headers,
            answer: JsValue::UNDEFINED,
        };
    }
    // The text stays a JavaScript value: only errors need it here.
    let text = match raw
        .unchecked_into::<web_sys::Response>()
        .text()
        .map(JsFuture::from)
    {
        Ok(text) => text.await,
        Err(cause) => Err(cause),
    };
    let text = match text {
        Ok(text) => text,
        Err(cause) => return failed("read", &text_of(&cause), cause),
    };
    if !good {
        let text: JsString = text.unchecked_into();
        return Fetched::Refused {
            status,
            headers,
            text: text.slice(0, ERROR_BODY_LIMIT).into(),
        };
    }
    match host::decode(outgoing.decoder, &text) {
        Ok(answer) => Fetched::Answer {
            status,
            headers,
            answer,
        },
        Err(reason) => Fetched::Failed {
            phase: "decode",
            timed_out: false,
            message: reason.as_string().unwrap_or_default(),
            cause: None,
        },
    }
}

fn headers_of(outgoing: &Outgoing<'_>) -> Headers {
    let headers = Headers::new();
    for (name, value) in outgoing.headers {
        headers.append(name, value);
    }
    headers
}

fn call_global(outgoing: &Outgoing<'_>, signal: &web_sys::AbortSignal) -> Result<Promise, JsValue> {
    let builder = RequestBuilder::new(outgoing.url)
        .method(outgoing.method.parse().unwrap_or_default())
        .headers(headers_of(outgoing))
        .redirect(web_sys::RequestRedirect::Manual)
        .abort_signal(Some(signal));
    let request = match outgoing.body {
        Some(body) => builder.body(body),
        None => builder.build(),
    };
    let request = request.map_err(|error| JsError::new(&error.to_string()))?;
    global_fetch(&web_sys::Request::from(request))
}

/// Mocks and wrappers look at the URL's text, and a `Request` of this realm is nothing to a `fetch` of npm's undici:
/// a given function gets `(url, init)`.
fn call_custom(
    fetch: &Function,
    outgoing: &Outgoing<'_>,
    signal: &web_sys::AbortSignal,
) -> Result<Promise, JsValue> {
    let headers = js_sys::Object::new();
    for (name, value) in outgoing.headers {
        Reflect::set(&headers, &name.into(), &value.into())?;
    }
    let init = js_sys::Object::new();
    Reflect::set(&init, &"method".into(), &outgoing.method.into())?;
    Reflect::set(&init, &"headers".into(), &headers)?;
    Reflect::set(&init, &"redirect".into(), &"manual".into())?;
    Reflect::set(&init, &"signal".into(), signal)?;
    if let Some(body) = outgoing.body {
        Reflect::set(&init, &"body".into(), &body.into())?;
    }
    let promise = fetch.call2(&JsValue::UNDEFINED, &outgoing.url.into(), &init)?;
    Ok(Promise::resolve(&promise))
}

fn failed(phase: &'static str, message: &str, cause: JsValue) -> Fetched {
    Fetched::Failed {
        phase,
        timed_out: false,
        message: message.to_owned(),
        cause: Some(cause),
    }
}

/// `fetch` does not say how far it got, except in Node, where the cause has a code. "Not connected" is assumed
/// otherwise: a create is repeated for half a minute after a lost answer, but not when nobody listens.
fn phase_of(cause: &JsValue) -> &'static str {
    let code = Reflect::get(cause, &"cause".into())
        .and_then(|cause| Reflect::get(&cause, &"code".into()))
        .ok()
        .and_then(|code| code.as_string());
    match code.as_deref() {
        Some(
            "ECONNRESET" | "EPIPE" | "UND_ERR_SOCKET" | "UND_ERR_HEADERS_TIMEOUT" | "UND_ERR_BODY_TIMEOUT",
        ) => "read",
        Some(code) if code.starts_with("HPE_") => "protocol",
        _ => "connect",
    }
}

/// The message of whatever was thrown, with that of its cause: "fetch failed" alone helps nobody.
pub fn text_of(value: &JsValue) -> String {
    let property = |value: &JsValue, name: &str| {
        Reflect::get(value, &name.into())
            .ok()
            .filter(|found| !found.is_undefined())
    };
    let message = property(value, "message")
        .and_then(|text| text.as_string())
        .or_else(|| value.as_string());
    let cause = property(value, "cause")
        .and_then(|cause| property(&cause, "message"))
        .and_then(|text| text.as_string());
    match (message, cause) {
        (Some(message), Some(cause)) => format!("{message}: {cause}"),
        (Some(message), None) => message,
        _ => "something that is no error was thrown".to_owned(),
    }
}
