//! A transport that replays an exchange, for tests: it fails on a request that was not expected and names it, and
//! its clock moves only when somebody waits.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use nullspace_wire::answers::Layout;
use serde_json::Value;

use crate::client::call::Outcome;
use crate::client::single::{Planned, SingleRequest};
use crate::core::error::Cause;
use crate::core::http;
use crate::core::value::parse;
use crate::transport::{
    Answer, Body, Closed, Decoder, Opening, Phase, Reply, Request, RequestEvent, ResponseEvent, Socket,
    Transport, TransportError, Unopened,
};

/// What the other side does with one request.
#[derive(Debug, Clone)]
pub enum Act {
    /// Answers.
    Reply {
        /// HTTP status.
        status: u16,
        /// Names in lower case, values.
        headers: Vec<(&'static str, String)>,
        /// Body.
        body: String,
    },
    /// Gives no whole answer.
    Fail(Phase),
    /// Never answers.
    Hang,
}

/// What the other side of a socket does, in order. After the last one the connection is cut.
#[derive(Debug, Clone)]
pub enum Side {
    /// Sends a frame: JSON text.
    Frame(String),
    /// Waits for a frame of this type.
    Awaits(&'static str),
    /// Closes in good order.
    Close,
    /// Never sends again, and never closes.
    Hang,
}

struct ExpectedSocket {
    path: String,
    opens: Result<Vec<Side>, Unopened>,
}

/// A socket of the script.
#[derive(Clone)]
pub struct ScriptSocket {
    sides: Rc<RefCell<VecDeque<Side>>>,
    sent: Rc<RefCell<VecDeque<Value>>>,
    state: Rc<RefCell<State>>,
}

struct Expected {
    method: &'static str,
    path: String,
    act: Act,
}

#[derive(Default)]
struct State {
    script: VecDeque<Expected>,
    sent: Vec<Request>,
    now: Duration,
    slept: Vec<Duration>,
    keys: VecDeque<Result<String, String>>,
    keys_asked: usize,
    uuids: u32,
    tasks: Vec<Pin<Box<dyn Future<Output = ()>>>>,
    sockets: VecDeque<ExpectedSocket>,
    opened: Vec<Opening>,
    frames: Vec<Value>,
}

/// The fake. Clones share the script.
#[derive(Clone, Default)]
pub struct Script(Rc<RefCell<State>>);

/// Where the fake server lives.
pub const BASE_URL: &str = "http://server";

impl Script {
    /// Nothing expected.
    pub fn new() -> Self {
        Self::default()
    }

    /// Expects a request next; `path` is all behind the base URL.
    pub fn expect(self, method: &'static str, path: &str, act: Act) -> Self {
        self.0.borrow_mut().script.push_back(Expected {
            method,
            path: path.to_owned(),
            act,
        });
        self
    }

    /// Expects a request and answers it.
    pub fn on(self, method: &'static str, path: &str, status: u16, body: &str) -> Self {
        self.expect(
            method,
            path,
            Act::Reply {
                status,
                headers: Vec::new(),
                body: body.to_owned(),
            },
        )
    }

    /// Expects a WebSocket next, apart from the order of requests.
    pub fn on_socket(self, path: &str, opens: Result<Vec<Side>, Unopened>) -> Self {
        self.0.borrow_mut().sockets.push_back(ExpectedSocket {
            path: path.to_owned(),
            opens,
        });
        self
    }

    /// Sockets opened so far, also those that were refused.
    pub fn opened(&self) -> Vec<Opening> {
        self.0.borrow().opened.clone()
    }

    /// Frames sent so far, over all sockets.
    pub fn frames(&self) -> Vec<Value> {
        self.0.borrow().frames.clone()
    }

    /// Adds a header to the answer expected last.
    pub fn with_header(self, name: &'static str, value: &str) -> Self {
        if let Some(Expected {
            act: Act::Reply { headers, .. },
            ..
        }) = self.0.borrow_mut().script.back_mut()
        {
            headers.push((name, value.to_owned()));
        }
        self
    }

    /// What the key function gives, in order.
    pub fn keys(self, keys: &[Result<&str, &str>]) -> Self {
        let owned = keys.iter().map(|k| k.map(str::to_owned).map_err(str::to_owned));
        self.0.borrow_mut().keys.extend(owned);
        self
    }

    /// Requests sent so far.
    pub fn sent(&self) -> Vec<Request> {
        self.0.borrow().sent.clone()
    }

    /// Waits so far, in milliseconds.
    pub fn slept(&self) -> Vec<u128> {
        self.0.borrow().slept.iter().map(Duration::as_millis).collect()
    }

    /// How often the key function was asked.
    pub fn keys_asked(&self) -> usize {
        self.0.borrow().keys_asked
    }

    /// Value of a header of a request.
    pub fn header(request: &Request, name: &str) -> Option<String> {
        request
            .headers
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v.to_owned())
    }

    /// Fails unless everything expected was asked for.
    pub fn finished(&self) {
        let left: Vec<String> = self
            .0
            .borrow()
            .script
            .iter()
            .map(|e| format!("{} {}", e.method, e.path))
            .collect();
        assert!(left.is_empty(), "never asked for: {left:?}");
        let state = self.0.borrow();
        let sockets: Vec<&str> = state.sockets.iter().map(|s| s.path.as_str()).collect();
        assert!(sockets.is_empty(), "never opened: {sockets:?}");
    }

    /// Runs a future to its end, and the tasks it spawned.
    ///
    /// # Panics
    /// When it waits for something that will not come (see [`Act::Hang`]).
    pub fn run<V>(&self, future: impl Future<Output = V>) -> V {
        let mut future = std::pin::pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        // Nothing but a key function makes a future wait here, and that only once.
        for _ in 0..100 {
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                self.run_tasks();
                return value;
            }
        }
        panic!("the future waits for an answer that will not come");
    }

    /// Sends a call of one request.
    pub fn send(&self, call: impl Into<Planned<Script>>) -> Outcome<Script, Value> {
        match call.into() {
            Ok(single) => self.run(single.send()),
            Err(failure) => Err(failure),
        }
    }

    /// Polls a future once and gives it up if it waits: what an abort does.
    pub fn poll<V>(&self, future: impl Future<Output = V>) -> Option<V> {
        let mut future = std::pin::pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    /// Runs what was spawned.
    pub fn run_tasks(&self) {
        loop {
            let Some(mut task) = self.0.borrow_mut().tasks.pop() else {
                return;
            };
            let mut context = Context::from_waker(Waker::noop());
            assert!(
                task.as_mut().poll(&mut context).is_ready(),
                "a task waits for an answer that will not come"
            );
        }
    }
}

impl From<SingleRequest<Script>> for Planned<Script> {
    fn from(single: SingleRequest<Script>) -> Self {
        Ok(single)
    }
}

impl Transport for Script {
    type Answer = Value;
    type Thrown = String;
    type Socket = ScriptSocket;

    async fn open(&self, opening: Opening) -> Result<ScriptSocket, Unopened> {
        let expected = self.0.borrow_mut().sockets.pop_front();
        let path = opening
            .url
            .strip_prefix(BASE_URL)
            .unwrap_or(&opening.url)
            .to_owned();
        let Some(expected) = expected else {
            panic!("unexpected socket: {path}")
        };
        assert_eq!(path, expected.path, "unexpected socket");
        self.0.borrow_mut().opened.push(opening);
        Ok(ScriptSocket {
            sides: Rc::new(RefCell::new(expected.opens?.into())),
            sent: Rc::default(),
            state: self.0.clone(),
        })
    }

    async fn send(&self, request: Request) -> Result<Reply<Value>, TransportError> {
        let expected = self.0.borrow_mut().script.pop_front();
        let path = request
            .url
            .strip_prefix(BASE_URL)
            .unwrap_or(&request.url)
            .to_owned();
        let asked = format!("{} {}", request.method, path);
        let Some(expected) = expected else {
            panic!("unexpected request: {asked} {:?}", request.body)
        };
        assert_eq!(
            asked,
            format!("{} {}", expected.method, expected.path),
            "unexpected request"
        );
        let decoder = request.decoder;
        self.0.borrow_mut().sent.push(request);
        match expected.act {
            Act::Hang => std::future::pending().await,
            Act::Fail(phase) => Err(failure(phase, "scripted")),
            Act::Reply {
                status,
                headers,
                body,
            } => {
                let header = |name: &str| headers.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone());
                let body = if (200..300).contains(&status) {
                    Body::Answer(decode(decoder, &body).map_err(|message| failure(Phase::Decode, &message))?)
                } else {
                    Body::Text(body)
                };
                Ok(Reply {
                    status,
                    request_id: header(http::REQUEST_ID),
                    retry_after: header(http::RETRY_AFTER),
                    dispatch_proof: header(http::DISPATCH_PROOF),
                    body,
                })
            }
        }
    }

    fn shape(&self, decoder: Decoder, frame: &Value) -> Result<Value, String> {
        decode(decoder, &frame.to_string())
    }

    fn json(text: &str) -> Option<crate::core::value::Value> {
        parse(text)
    }

    async fn sleep(&self, duration: Duration) {
        let mut state = self.0.borrow_mut();
        state.now += duration;
        state.slept.push(duration);
    }

    fn now_ms(&self) -> f64 {
        self.0.borrow().now.as_secs_f64() * 1000.0
    }

    fn uuid(&self) -> String {
        let mut state = self.0.borrow_mut();
        state.uuids += 1;
        format!("uuid-{}", state.uuids)
    }

    async fn ask_key(&self) -> Result<Option<String>, String> {
        // Answers on the second look, as functions that ask a server do: calls in between must wait.
        yield_once().await;
        let mut state = self.0.borrow_mut();
        state.keys_asked += 1;
        let key = state
            .keys
            .pop_front()
            .expect("the key function was asked once more than expected");
        key.map(Some)
    }

    fn on_request(&self, _: &RequestEvent<'_>) -> Result<(), String> {
        Ok(())
    }

    fn on_response(&self, _: &ResponseEvent<'_>) -> Result<(), String> {
        Ok(())
    }

    fn has_hooks(&self) -> bool {
        false
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.borrow_mut().tasks.push(Box::pin(task));
    }
}

fn cut() -> Closed {
    Closed {
        reason: "scripted cut".to_owned(),
        overflow: false,
        clean: false,
    }
}

impl Socket for ScriptSocket {
    type Frame = Value;

    async fn next(&self, limit: Option<Duration>) -> Result<Value, Closed> {
        loop {
            let side = self.sides.borrow().front().cloned();
            match side {
                None => return Err(cut()),
                Some(Side::Close) => return Err(Closed { clean: true, ..cut() }),
                Some(Side::Hang) => match limit {
                    Some(limit) => {
                        self.state.borrow_mut().now += limit;
                        return Err(Closed {
                            reason: "scripted silence".to_owned(),
                            overflow: false,
                            clean: false,
                        });
                    }
                    None => std::future::pending().await,
                },
                Some(Side::Frame(text)) => {
                    self.sides.borrow_mut().pop_front();
                    return Ok(serde_json::from_str(&text).expect("a scripted frame is JSON"));
                }
                Some(Side::Awaits(kind)) => {
                    let sent = self.sent.borrow_mut().pop_front();
                    let Some(sent) = sent else {
                        std::future::pending::<()>().await;
                        continue;
                    };
                    assert_eq!(sent["type"], kind, "unexpected frame");
                    self.sides.borrow_mut().pop_front();
                }
            }
        }
    }

    async fn send(&self, text: String) -> Result<(), Closed> {
        if self.sides.borrow().is_empty() {
            return Err(cut());
        }
        let frame: Value = serde_json::from_str(&text).expect("a frame is JSON");
        self.state.borrow_mut().frames.push(frame.clone());
        self.sent.borrow_mut().push_back(frame);
        Ok(())
    }

    fn close(&self, last: Option<String>) {
        if let Some(last) = last {
            let frame = serde_json::from_str(&last).expect("a frame is JSON");
            self.state.borrow_mut().frames.push(frame);
        }
        self.sides.borrow_mut().clear();
    }
}

fn failure(phase: Phase, message: &str) -> TransportError {
    TransportError {
        phase,
        timed_out: false,
        reason: message.to_owned(),
        cause: Cause::default(),
    }
}

async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Checks an answer against the wire types and gives it its JavaScript names, as the generated decoders do.
fn decode(decoder: Decoder, body: &str) -> Result<Value, String> {
    if decoder == Decoder::Nothing {
        return Ok(Value::Null);
    }
    let value: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    // A bare array, which old servers send, is one last page.
    let value = match decoder.layout() {
        Some(Layout::Page) if value.is_array() => serde_json::json!({ "items": value, "has_next": false }),
        _ => value,
    };
    decoder.again(&value)?;
    match decoder.layout() {
        Some(Layout::Items | Layout::ProjectedItems) => {
            Ok(renamed(value.get("items").cloned().unwrap_or(value)))
        }
        None if decoder != Decoder::Texts => Ok(value),
        _ => Ok(renamed(value)),
    }
}

fn renamed(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(renamed).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (camel(&name), renamed(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other,
    }
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut text = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        text.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        text.push_str(letters.as_str());
    }
    text
}

impl Answer for Value {
    fn text(&self, field: &str) -> Option<String> {
        self.get(field)?.as_str().map(str::to_owned)
    }

    fn flag(&self, field: &str) -> Option<bool> {
        self.get(field)?.as_bool()
    }

    fn number(&self, field: &str) -> Option<f64> {
        self.get(field)?.as_f64()
    }

    fn any(&self, field: &str) -> Option<Value> {
        self.get(field).cloned()
    }

    fn inner(&self, field: &str) -> Option<Value> {
        self.get(field).filter(|v| v.is_object() || v.is_array()).cloned()
    }

    fn each(&self, see: &mut dyn FnMut(&Value)) {
        self.as_array().into_iter().flatten().for_each(see);
    }
}
