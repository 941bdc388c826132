//! One call: the key, the hooks, what is sent again, and errors. Source: PROTOCOL.md sections 1 and 2.

use std::cell::Cell;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use nullspace_wire::api::Route;

use super::key::AskedKey;
use crate::core::config::{Key, Settings};
use crate::core::error::{Error, Kind};
use crate::core::retry::CreateFailure;
use crate::core::value::{put, Object, Value};
use crate::core::{http, retry};
use crate::surface::Request;
use crate::transport::{
    self, Body, Content, Decoder, Headers, Phase, Reply, RequestEvent, ResponseEvent, Transport,
    TransportError,
};

/// HTTP time of calls without a longer one.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a call failed.
#[derive(Debug)]
pub enum Failure<X> {
    /// The SDK says so.
    Error(Error),
    /// A function of the caller threw this.
    Thrown(X),
}

impl<X> From<Error> for Failure<X> {
    fn from(error: Error) -> Self {
        Failure::Error(error)
    }
}

/// A call under way.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Outcome<T, <T as Transport>::Answer>> + 'a>>;

/// A result of a call.
pub type Outcome<T, V> = Result<V, Failure<<T as Transport>::Thrown>>;

/// What is sent, before key and headers.
#[derive(Debug, Clone)]
pub struct Call {
    /// Verb, and the name in messages and hooks.
    pub route: &'static Route,
    /// With its query, beginning with a slash; of a signed call the whole address.
    pub path: String,
    /// The address itself is the right to it: neither the key nor the caller's headers go along.
    pub signed: bool,
    /// JSON text.
    pub body: Option<String>,
    /// Bytes to send instead, and their media type.
    pub content: Option<(Content, String)>,
    /// `x-nullspace-part-sha256`.
    pub part_digest: Option<String>,
    /// How the answer is read.
    pub decoder: Decoder,
    /// For the whole exchange.
    pub timeout: Duration,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// `X-Nullspace-Dispatch-Proof`.
    pub proof: Option<String>,
    /// While it is sent: the span of a caller's tracer.
    span: Option<u32>,
}

impl Call {
    /// The call of a request.
    pub fn of(request: &Request, timeout: Duration) -> Self {
        Self {
            body: request.has_body.then(|| request.body.to_json()),
            decoder: request.answer,
            idempotency_key: request.idempotency_key.clone(),
            ..Self::new(request.route, request.path(), timeout)
        }
    }

    /// A call without a body.
    pub fn new(route: &'static Route, path: String, timeout: Duration) -> Self {
        Self {
            route,
            path,
            signed: false,
            body: None,
            content: None,
            part_digest: None,
            decoder: route.answer,
            timeout,
            idempotency_key: None,
            proof: None,
            span: None,
        }
    }

    /// Name in messages and hooks.
    pub fn operation(&self) -> &'static str {
        self.route.name
    }
}

/// Why one try of a call failed: a create decides by it whether to try again.
pub(crate) enum Failed<X> {
    Api(Error),
    Transport(TransportError),
    Thrown(X),
}

/// A call in a span, which ends with it however it ends. Without a tracer it is the call as it was.
struct Traced<'a, T: Transport> {
    transport: &'a T,
    given: &'a Call,
    spanned: Option<Call>,
}

impl<T: Transport> Deref for Traced<'_, T> {
    type Target = Call;

    fn deref(&self) -> &Call {
        self.spanned.as_ref().unwrap_or(self.given)
    }
}

impl<T: Transport> Drop for Traced<'_, T> {
    fn drop(&mut self) {
        if let Some(span) = self.span {
            self.transport.end_span(span);
        }
    }
}

/// Settings and a transport. Cheap to clone: clones share the key.
#[derive(Clone)]
pub struct Client<T> {
    inner: Rc<Inner<T>>,
    /// Cleans up for a call that was given up: hooks of the caller, which may be what failed, stay out.
    quiet: bool,
}

struct Inner<T> {
    settings: Settings,
    transport: T,
    /// What the caller's function answered.
    key: AskedKey,
}

impl<T: Transport> Client<T> {
    /// Nothing is sent.
    pub fn new(settings: Settings, transport: T) -> Self {
        Self {
            inner: Rc::new(Inner {
                settings,
                transport,
                key: AskedKey::default(),
            }),
            quiet: false,
        }
    }

    /// The same client without the caller's hooks.
    pub(super) fn quiet(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            quiet: true,
        }
    }

    /// The transport.
    pub fn transport(&self) -> &T {
        &self.inner.transport
    }

    /// HTTP time: that of the call, else the client's, else the operation's own.
    pub fn timeout(&self, call: Option<Duration>, default: Duration) -> Duration {
        call.or(self.inner.settings.request_timeout).unwrap_or(default)
    }

    /// Whether the API is reached over TLS.
    pub fn is_secure(&self) -> bool {
        self.inner
            .settings
            .base_url
            .get(..6)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
    }

    /// Whether the client itself was given a time.
    pub fn has_timeout(&self) -> bool {
        self.inner.settings.request_timeout.is_some()
    }

    /// What a call fails with.
    pub(super) fn failure(&self, failed: Failed<T::Thrown>, call: &Call) -> Failure<T::Thrown> {
        match failed {
            Failed::Api(error) => Failure::Error(error),
            Failed::Transport(error) => Failure::Error(self.describe(call, &error)),
            Failed::Thrown(thrown) => Failure::Thrown(thrown),
        }
    }

    /// The error of a call without a usable answer.
    pub(super) fn describe(&self, call: &Call, error: &TransportError) -> Error {
        if error.phase == Phase::Decode {
            return Error::invalid_response(format!("{}: {}", call.operation(), error.reason));
        }
        let mut failed = Error::transport(call.operation(), &error.reason);
        if error.phase == Phase::Connect {
            failed.suggested_action = Some(self.nothing_answered());
        }
        failed.cause = error.cause.clone();
        failed
    }

    /// What to do when no connection can be made.
    pub(super) fn nothing_answered(&self) -> String {
        let Settings {
            base_url,
            base_url_from,
            ..
        } = &self.inner.settings;
        format!(
            "nothing answered at {base_url} ({base_url_from}): start the local engine with `npx nullspace engine`, or give the URL of \
             your server; in a page, the server must admit its origin"
        )
    }

    /// Sends a call, again where the protocol says so. The answer's status is 2xx. Boxed: every caller's own state
    /// machine stays small that way.
    pub fn call<'a>(&'a self, call: &'a Call) -> Pending<'a, T> {
        Box::pin(async move { Ok(self.call_counted(call, &Cell::new(0)).await?.answer) })
    }

    /// The same, telling how many requests went out even when the call is given up.
    pub(super) async fn call_counted(&self, call: &Call, sent: &Cell<u32>) -> Outcome<T, Sent<T::Answer>> {
        let call = self.traced(call);
        self.try_once(&call, sent)
            .await
            .map_err(|failed| self.failure(failed, &call))
    }

    /// Sends a call that makes something, the same again until its answer is certain. `sent` counts requests.
    pub(super) async fn call_until_certain(
        &self,
        call: &Call,
        sent: &Cell<u32>,
    ) -> Outcome<T, Sent<T::Answer>> {
        let traced = self.traced(call);
        let call = &*traced;
        let mut tried = 0;
        loop {
            tried += 1;
            let failed = match self.try_once(call, sent).await {
                Ok(answered) => return Ok(answered),
                Err(failed) => failed,
            };
            let delay = match &failed {
                Failed::Api(error) => retry::after_failed_create(tried, CreateFailure::Api(error)),
                Failed::Transport(error) => {
                    retry::after_failed_create(tried, CreateFailure::Transport(error))
                }
                Failed::Thrown(_) => None,
            };
            match delay {
                Some(delay) => self.inner.transport.sleep(delay).await,
                None => return Err(self.failure(failed, call)),
            }
        }
    }

    /// The call in a span, when there is a tracer. What cleans up has none.
    fn traced<'a>(&'a self, given: &'a Call) -> Traced<'a, T> {
        let transport = &self.inner.transport;
        let span = match self.quiet {
            true => None,
            false => transport.begin_span(given.route.verb.as_str(), given.route.path, &|| {
                self.address(given)
            }),
        };
        let spanned = span.map(|_| Call {
            span,
            ..given.clone()
        });
        Traced {
            transport,
            given,
            spanned,
        }
    }

    fn address(&self, call: &Call) -> String {
        let base = match call.signed {
            true => "",
            false => self.inner.settings.base_url.as_str(),
        };
        [base, &call.path].concat()
    }

    /// One try, that is: until the key is right and the rate limit lets it through. `sent` counts requests.
    pub(crate) async fn try_once(
        &self,
        call: &Call,
        sent: &Cell<u32>,
    ) -> Result<Sent<T::Answer>, Failed<T::Thrown>> {
        let mut limited = 0;
        let mut asked_again = false;
        loop {
            let key = self.key().await?;
            let reply = self.exchange(call, &key, sent).await?;
            let text = match reply.body {
                Body::Answer(answer) => {
                    return Ok(Sent {
                        answer,
                        dispatch_proof: reply.dispatch_proof,
                    })
                }
                Body::Text(text) => text,
            };
            if reply.status == 401 && self.inner.settings.key == Key::Asked && !asked_again {
                asked_again = true;
                self.inner.key.forget(&key);
                continue;
            }
            let retry_after = retry::retry_after_seconds(reply.retry_after.as_deref(), T::json);
            if reply.status == 429 {
                limited += 1;
                if let Some(delay) = retry::after_rate_limit(limited, retry_after) {
                    self.inner.transport.sleep(delay).await;
                    continue;
                }
            }
            return Err(Failed::Api(Error::from_answer(
                reply.status,
                &text,
                T::json,
                reply.request_id.as_deref(),
                Some(retry_after),
            )));
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The server refused it: the next call asks for another one.
    pub(super) fn forget_key(&self, key: &str) {
        self.inner.key.forget(key);
    }

    pub(super) async fn key(&self) -> Result<String, Failed<T::Thrown>> {
        if let Key::Fixed(key) = &self.inner.settings.key {
            return Ok(key.clone());
        }
        let Some(turn) = self.inner.key.turn().await else {
            // Somebody else asked meanwhile.
            return self.inner.key.held().ok_or_else(|| unusable("gave nothing"));
        };
        let given = self.inner.transport.ask_key().await.map_err(Failed::Thrown)?;
        let key = given.ok_or_else(|| unusable("gave no string"))?.trim().to_owned();
        if key.is_empty() {
            return Err(unusable("gave an empty string"));
        }
        http::check_header("apiKey", "authorization", &key).map_err(Failed::Api)?;
        turn.done(&key);
        Ok(key)
    }

    async fn exchange(
        &self,
        call: &Call,
        key: &str,
        sent: &Cell<u32>,
    ) -> Result<Reply<T::Answer>, Failed<T::Thrown>> {
        let transport = &self.inner.transport;
        let request = self.request(call, key);
        // What hooks see of the address, when there are some.
        let shown = (transport.has_hooks() && !self.quiet).then(|| {
            let end = request.url.find('?').filter(|_| call.signed);
            request.url[..end.unwrap_or(request.url.len())].to_owned()
        });
        let attempt = sent.get() + 1;
        let mut started = 0.0;
        if let Some(url) = &shown {
            let mut headers = Object::new();
            for (name, value) in request.headers.iter() {
                let shown = http::shown_header(name, value);
                put(&mut headers, &name.to_ascii_lowercase(), shown.into());
            }
            let event = RequestEvent {
                operation: call.operation(),
                method: call.route.verb.as_str(),
                url,
                headers: Value::Object(headers),
                attempt,
            };
            transport.on_request(&event).map_err(Failed::Thrown)?;
            started = transport.now_ms();
        }
        // Counted when it really goes out: a hook that throws before has prevented it.
        sent.set(attempt);
        let result = transport.send(request).await;
        if let Some(url) = &shown {
            let (status, request_id, error) = match &result {
                Ok(reply) => (Some(reply.status), reply.request_id.as_deref(), None),
                Err(error) => (None, None, Some(error.reason.as_str())),
            };
            let event = ResponseEvent {
                operation: call.operation(),
                method: call.route.verb.as_str(),
                url,
                attempt,
                status,
                request_id,
                duration_ms: transport.now_ms() - started,
                error,
            };
            transport.on_response(&event).map_err(Failed::Thrown)?;
        }
        result.map_err(Failed::Transport)
    }

    pub(super) fn request(&self, call: &Call, key: &str) -> transport::Request {
        let mut headers = Headers::default();
        if !call.signed {
            headers.push("Authorization", &["Bearer ", key]);
        }
        headers.push("Accept", &["application/json"]);
        if call.body.is_some() {
            headers.push("Content-Type", &["application/json"]);
        }
        if let Some((_, kind)) = &call.content {
            headers.push("Content-Type", &[kind]);
        }
        for (name, value) in [
            ("X-Nullspace-Part-Sha256", &call.part_digest),
            ("Idempotency-Key", &call.idempotency_key),
            ("X-Nullspace-Dispatch-Proof", &call.proof),
        ] {
            if let Some(value) = value {
                headers.push(name, &[value]);
            }
        }
        let own: &[_] = match call.signed {
            true => &[],
            false => &self.inner.settings.headers,
        };
        for (name, value) in own {
            headers.push(name, &[value]);
        }
        transport::Request {
            method: call.route.verb.as_str(),
            url: self.address(call),
            headers,
            body: call.body.clone(),
            content: call.content.as_ref().map(|(content, _)| *content),
            decoder: call.decoder,
            timeout: call.timeout,
            span: call.span,
        }
    }
}

fn unusable<X>(what: &str) -> Failed<X> {
    Failed::Api(Error::new(
        Kind::Auth,
        "unauthorized",
        format!("the function `apiKey` {what}"),
    ))
}

/// A successful answer.
#[derive(Debug, Clone)]
pub struct Sent<A> {
    /// Decoded.
    pub answer: A,
    /// What later calls on the handle repeat.
    pub dispatch_proof: Option<String>,
}
