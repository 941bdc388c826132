//! The transport of JavaScript: the runtime's own where there is one, else `fetch`; and the caller's functions.

use std::rc::Rc;
use std::time::Duration;

use gloo_net::http::Response;
use js_sys::{Array, Function, Promise, Reflect};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::host::{self, Timer};
use super::later::Later;
use super::socket::{self, JsSocket};
use super::{convert, fetch};
use crate::core::config::Environment;
use crate::core::error::Cause;
use crate::core::http;
use crate::core::value::Value;
use crate::transport::{
    Answer, Body, Opening, Phase, Reply, Request, RequestEvent, ResponseEvent, Transport, TransportError,
    Unopened,
};

/// What the runtime knows: environment and files in Node, Deno and Bun.
pub struct Host;

impl Environment for Host {
    fn env(&self, name: &str) -> Option<String> {
        host::env(name)
    }
    fn read(&self, path: &str) -> Option<String> {
        host::read_text(path)
    }
    fn home(&self) -> Option<String> {
        host::home()
    }
    fn json(text: &str) -> Option<Value> {
        convert::json(text)
    }
}

/// Functions of the caller. Clones share them.
#[derive(Clone)]
pub struct JsTransport {
    inner: Rc<Inner>,
}

struct Inner {
    /// The options that describe the client, for the handles that it gives.
    options: JsValue,
    fetch: Option<Function>,
    web_socket: Option<Function>,
    api_key: Option<Function>,
    on_request: Option<Function>,
    on_response: Option<Function>,
    start_span: Option<Function>,
}

impl JsTransport {
    /// `find` gives an option of the call, else of its client.
    pub fn new(options: JsValue, find: impl Fn(&str) -> Result<JsValue, JsValue>) -> Result<Self, JsValue> {
        let function = |name: &str| Ok::<_, JsValue>(find(name)?.dyn_into::<Function>().ok());
        Ok(Self {
            inner: Rc::new(Inner {
                options,
                fetch: function("fetch")?,
                web_socket: function("WebSocket")?,
                api_key: function("apiKey")?,
                on_request: function("onRequest")?,
                on_response: function("onResponse")?,
                start_span: function("startSpan")?,
            }),
        })
    }

    /// What describes the client: a handle holds it.
    pub fn options(&self) -> JsValue {
        self.inner.options.clone()
    }

    /// What a request ended with.
    fn reply(&self, outcome: &host::Outcome) -> Result<Reply<JsAnswer>, TransportError> {
        if let Some(phase) = outcome.phase() {
            let cause = outcome.cause();
            return Err(TransportError {
                phase: phase_named(&phase),
                timed_out: outcome.timed_out().unwrap_or(false),
                reason: outcome.message().unwrap_or_default(),
                cause: Cause(match cause.is_undefined() {
                    true => None,
                    false => Some(Rc::new(cause)),
                }),
            });
        }
        let body = match outcome.text() {
            Some(text) => Body::Text(text),
            None => Body::Answer(JsAnswer(outcome.answer())),
        };
        let headers = outcome
            .response()
            .map(|response| Response::from(response).headers());
        let header = |name: &str, own: fn(&host::Outcome) -> Option<String>| match &headers {
            Some(headers) => headers.get(name),
            None => own(outcome),
        };
        // What nobody asks for of a good answer is not read.
        let tells = self.has_hooks() || matches!(body, Body::Text(_));
        let asked = |name, own| tells.then(|| header(name, own)).flatten();
        Ok(Reply {
            status: if tells { outcome.status().unwrap_or(0) } else { 200 },
            request_id: asked(http::REQUEST_ID, host::Outcome::request_id),
            retry_after: asked(http::RETRY_AFTER, host::Outcome::retry_after),
            dispatch_proof: header(http::DISPATCH_PROOF, host::Outcome::dispatch_proof),
            body,
        })
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// `DECODER\nMETHOD\nURL\nname\nvalue\n...`: one text crosses faster than many.
fn head(request: &Request, headers: &str) -> String {
    let (decoder, method, url) = (request.decoder.name(), request.method, request.url.as_str());
    [decoder, "\n", method, "\n", url, headers].concat()
}

/// A request that the runtime refuses to make.
fn unsendable(thrown: JsValue) -> TransportError {
    let message = Reflect::get(&thrown, &"message".into()).unwrap_or_default();
    TransportError {
        phase: Phase::Connect,
        timed_out: false,
        reason: message.as_string().unwrap_or_default(),
        cause: Cause(Some(Rc::new(thrown))),
    }
}

fn phase_named(name: &str) -> Phase {
    match name {
        "connect" => Phase::Connect,
        "write" => Phase::Write,
        "protocol" => Phase::Protocol,
        "decode" => Phase::Decode,
        _ => Phase::Read,
    }
}

/// A request under way. It ends with its owner: an aborted call leaves none.
struct Sending(host::Exchange);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Transport for JsTransport {
    type Answer = JsAnswer;
    type Thrown = JsValue;
    type Socket = JsSocket;

    async fn send(&self, request: Request) -> Result<Reply<JsAnswer>, TransportError> {
        let made = match self.inner.fetch.is_none() && host::fetches() {
            true => Some(fetch::request(&request).map_err(unsendable)?),
            false => None,
        };
        let (headers, body) = match made {
            Some(_) => ("", None),
            None => (request.headers.as_text(), request.body.as_deref()),
        };
        let later = Later::new();
        let _sending = Sending(host::exchange(
            self.inner.fetch.as_ref(),
            &head(&request, headers),
            made.as_ref(),
            body,
            request.content.map(|content| content.0),
            milliseconds(request.timeout),
            request.span,
            later.number(),
        ));
        self.reply(later.await.unchecked_ref())
    }

    async fn open(&self, opening: Opening) -> Result<JsSocket, Unopened> {
        let own = self
            .inner
            .web_socket
            .clone()
            .map_or(JsValue::UNDEFINED, JsValue::from);
        // It has no place in the table of operations: the path says what it is.
        let span = self.begin_span("GET", "", &|| opening.url.clone());
        socket::open(&own, &opening, span).await
    }

    fn shape(&self, decoder: crate::transport::Decoder, frame: &JsAnswer) -> Result<JsAnswer, String> {
        match host::shape(decoder.name(), &frame.0) {
            Ok(shaped) => Ok(JsAnswer(shaped)),
            Err(thrown) => Err(thrown.as_string().unwrap_or_default()),
        }
    }

    fn json(text: &str) -> Option<Value> {
        convert::json(text)
    }

    async fn sleep(&self, time: Duration) {
        Timer::new(time.as_secs_f64() * 1000.0).wait().await;
    }

    fn uuid(&self) -> String {
        host::uuid()
    }

    fn now_ms(&self) -> f64 {
        host::now()
    }

    async fn ask_key(&self) -> Result<Option<String>, JsValue> {
        let Some(function) = &self.inner.api_key else {
            return Ok(None);
        };
        let given = function.call0(&JsValue::UNDEFINED)?;
        Ok(JsFuture::from(Promise::resolve(&given)).await?.as_string())
    }

    fn on_request(&self, event: &RequestEvent<'_>) -> Result<(), JsValue> {
        tell(self.inner.on_request.as_ref(), event)
    }

    fn on_response(&self, event: &ResponseEvent<'_>) -> Result<(), JsValue> {
        tell(self.inner.on_response.as_ref(), event)
    }

    fn begin_span(&self, method: &str, template: &str, url: &dyn Fn() -> String) -> Option<u32> {
        let start = self.inner.start_span.as_ref()?;
        let [method, template, url] = [method, template, &url()].map(JsValue::from);
        let call = JsValue::from(super::call::running());
        let given = start.call4(&JsValue::UNDEFINED, &method, &template, &url, &call);
        given.ok()?.as_f64().map(|number| number as u32)
    }

    fn end_span(&self, span: u32) {
        host::end_span(span);
    }

    fn has_hooks(&self) -> bool {
        self.inner.on_request.is_some() || self.inner.on_response.is_some()
    }

    fn spawn(&self, task: impl std::future::Future<Output = ()> + 'static) {
        wasm_bindgen_futures::spawn_local(task);
    }
}

fn tell(hook: Option<&Function>, event: &impl Serialize) -> Result<(), JsValue> {
    if let Some(hook) = hook {
        hook.call1(&JsValue::UNDEFINED, &super::throw::to_js(event))?;
    }
    Ok(())
}

/// A decoded answer.
#[derive(Clone)]
pub struct JsAnswer(pub JsValue);

impl JsAnswer {
    fn field(&self, name: &str) -> JsValue {
        Reflect::get(&self.0, &name.into()).unwrap_or(JsValue::UNDEFINED)
    }
}

impl Answer for JsAnswer {
    fn text(&self, field: &str) -> Option<String> {
        self.field(field).as_string()
    }
    fn flag(&self, field: &str) -> Option<bool> {
        self.field(field).as_bool()
    }
    fn number(&self, field: &str) -> Option<f64> {
        self.field(field).as_f64()
    }
    fn any(&self, field: &str) -> Option<Self> {
        Some(self.field(field))
            .filter(|value| !value.is_undefined())
            .map(JsAnswer)
    }
    fn inner(&self, field: &str) -> Option<Self> {
        Some(self.field(field))
            .filter(|value| value.is_object())
            .map(JsAnswer)
    }
    fn each(&self, see: &mut dyn FnMut(&Self)) {
        if let Some(list) = self.0.dyn_ref::<Array>() {
            list.iter().for_each(|item| see(&JsAnswer(item)));
        }
    }
}
