//! Who may ask, checked before anything else of a request is read.
//!
//! 1. `Host` must name this engine: a page that points a name of its own at 127.0.0.1 (DNS rebinding) is refused.
//! 2. `Origin`, when there is one, must be allowed: pages are not let in by default.
//! 3. `Authorization: Bearer` must carry the key, compared in constant time. Browsers cannot set headers on WebSockets:
//!    there the key may come as the subprotocol `nullspace.bearer.<base64url of the key>` beside `nullspace.v1`.
//!
//! Every answer gets `x-request-id`, and one line in the log without query, headers or body.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use base64::Engine as _;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio_rustls::TlsAcceptor;
use tracing::Instrument;

use super::connections::Visitor;
use super::preview_hosts::Domain;
use super::reply::{envelope, json, status, Failure};
use super::signed_files::{self, Signer};
use crate::machine::{Error, Kind};
use crate::metrics::METRICS;

/// Subprotocol of all WebSockets, for clients that must offer one.
pub const SUBPROTOCOL: &str = "nullspace.v1";
/// Prefix of the subprotocol that carries the key.
pub const BEARER_SUBPROTOCOL: &str = "nullspace.bearer.";
/// Names a request in answers.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ALLOWED_METHODS: &str = "GET, POST, PUT, PATCH, DELETE";
const ALLOWED_HEADERS: &str = "authorization, content-type, idempotency-key, traceparent, tracestate, \
                               x-nullspace-dispatch-proof, x-nullspace-part-sha256, \
                               x-nullspace-traffic-access-token";
const EXPOSED_HEADERS: &str = "x-request-id, retry-after, x-nullspace-dispatch-proof";
/// Seconds for which a browser may remember a preflight.
const PREFLIGHT_SECONDS: &str = "600";

/// Names a request, in its extensions.
#[derive(Clone)]
pub struct RequestId(pub String);

/// `http` or `https`, as whoever asked reached us, in the extensions of a request.
#[derive(Clone, Copy)]
pub struct Scheme(pub &'static str);

/// How a gateway tells a node of the [`Scheme`].
pub const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Digest of a key, so that comparing takes the same time for every length.
pub type KeyDigest = [u8; 32];

/// The digest of a key.
pub fn digest(key: &[u8]) -> KeyDigest {
    Sha256::digest(key).into()
}

/// Whose key a request showed, in its extensions. An engine has one key and no names.
#[derive(Debug, Clone, Default)]
pub struct Holder(pub Arc<str>);

/// The keys that are good.
pub trait Keys: Send + Sync {
    /// Whose key this is.
    fn holder(&self, key: &KeyDigest) -> Option<Holder>;
}

/// The key of an engine.
struct OneKey(KeyDigest);

impl Keys for OneKey {
    fn holder(&self, key: &KeyDigest) -> Option<Holder> {
        bool::from(key.ct_eq(&self.0)).then(Holder::default)
    }
}

/// What is let in.
pub struct Access {
    keys: Arc<dyn Keys>,
    port: u16,
    /// `name` or `name:port`, besides loopback.
    hosts: Vec<String>,
    origins: Vec<String>,
    /// Addresses in `Host` are taken whatever they are: only names can be rebound.
    any_address: bool,
    /// A gateway of the cluster asks, for whoever asked it: it checked the `Host`, and named the request.
    is_node: bool,
    /// Checks addresses of files that need no key; a gateway leaves that to the node.
    signer: Option<Signer>,
    /// Ports of machines have names below it.
    preview_domain: Option<Domain>,
    tls: Option<TlsAcceptor>,
}

impl Access {
    /// Lets in who has `key` and reaches this engine by a loopback name or address and the port of `listen`.
    pub fn new(key: &str, listen: SocketAddr) -> Self {
        let keys = Arc::new(OneKey(digest(key.as_bytes())));
        Self {
            signer: Some(Signer::new(key)),
            ..Self::with_keys(keys, listen)
        }
    }

    /// Lets in who has one of several keys.
    pub fn with_keys(keys: Arc<dyn Keys>, listen: SocketAddr) -> Self {
        Self {
            keys,
            port: listen.port(),
            hosts: Vec::new(),
            origins: Vec::new(),
            any_address: !listen.ip().is_loopback(),
            is_node: false,
            signer: None,
            preview_domain: None,
            tls: None,
        }
    }

    /// Of an engine that gateways of a cluster ask.
    #[must_use]
    pub fn of_node(mut self) -> Self {
        self.is_node = true;
        self
    }

    /// Serves over TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<TlsAcceptor>) -> Self {
        self.tls = tls;
        self
    }

    /// What is shown to whoever connects.
    pub fn tls(&self) -> Option<TlsAcceptor> {
        self.tls.clone()
    }

    /// Whether gateways ask.
    pub fn is_node(&self) -> bool {
        self.is_node
    }

    /// Ports of machines have names below this domain.
    #[must_use]
    pub fn with_preview_domain(mut self, domain: Option<Domain>) -> Self {
        self.preview_domain = domain;
        self
    }

    /// Where ports of machines have names.
    pub fn preview_domain(&self) -> Option<Domain> {
        self.preview_domain.clone()
    }

    /// Whether a key is good.
    pub fn is_key(&self, key: &KeyDigest) -> bool {
        self.keys.holder(key).is_some()
    }

    /// Makes addresses of files that need no key.
    pub fn signer(&self) -> Option<Signer> {
        self.signer.clone()
    }

    /// Takes these `Host` values too: `name`, or `name:port` when the port differs.
    #[must_use]
    pub fn with_hosts(mut self, hosts: impl IntoIterator<Item = String>) -> Self {
        self.hosts
            .extend(hosts.into_iter().map(|h| h.to_ascii_lowercase()));
        self
    }

    /// Takes requests of pages of these origins (`scheme://host[:port]`).
    #[must_use]
    pub fn with_origins(mut self, origins: impl IntoIterator<Item = String>) -> Self {
        self.origins
            .extend(origins.into_iter().map(|o| o.to_ascii_lowercase()));
        self
    }

    /// Origins whose pages are let in.
    pub fn origins(&self) -> Vec<String> {
        self.origins.clone()
    }

    fn knows_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        if self.hosts.contains(&host) {
            return true;
        }
        let (name, port) = split_host(&host);
        if port != Some(self.port) {
            return false;
        }
        match bare(name).parse::<IpAddr>() {
            Ok(address) => address.is_loopback() || self.any_address,
            Err(_) => name == "localhost" || self.hosts.iter().any(|h| h == name),
        }
    }

    fn check_host(&self, request: &Request) -> Result<(), Error> {
        let names = hosts(request)?;
        if self.is_node || !names.is_empty() && names.iter().all(|name| self.knows_host(name)) {
            return Ok(());
        }
        let shown = names.first().copied().unwrap_or("(none)");
        Err(Error::new(
            Kind::PermissionDenied,
            format!("requests for host {shown:?} are refused (DNS rebinding): use the address that the engine printed"),
        )
        .with_action("start the engine with --allow-host NAME if it is reached by another name"))
    }

    /// The id that a gateway gave the request, so that its log and that of the node name it alike.
    fn given_id(&self, headers: &HeaderMap) -> Option<String> {
        let id = headers.get(REQUEST_ID).filter(|_| self.is_node)?.to_str().ok()?;
        let is_ours = id.starts_with("req_")
            && id.len() == 36
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        is_ours.then(|| id.to_owned())
    }

    fn scheme(&self, headers: &HeaderMap) -> Scheme {
        let told = headers.get(FORWARDED_PROTO).filter(|_| self.is_node);
        let is_https = told.map_or(self.tls.is_some(), |told| told == "https");
        Scheme(if is_https { "https" } else { "http" })
    }

    /// The `Origin` of the request if there is one and it is allowed.
    fn check_origin(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, Error> {
        let mut allowed = None;
        for origin in headers.get_all(header::ORIGIN).iter().filter(|_| !self.is_node) {
            let text = origin.to_str().unwrap_or_default().to_ascii_lowercase();
            if !self.origins.contains(&text) {
                return Err(Error::new(
                    Kind::PermissionDenied,
                    format!("pages of origin {text:?} may not use this engine"),
                )
                .with_action("start the engine with --allow-origin and that origin"));
            }
            allowed = Some(origin.clone());
        }
        Ok(allowed)
    }

    fn check_key(&self, request: &Request) -> Result<Holder, Error> {
        let headers = request.headers();
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
            let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then(|| key.trim().as_bytes().to_vec())
        });
        let given = bearer.or_else(|| subprotocol_key(headers));
        let Some(given) = given else {
            let message = "no API key: send `Authorization: Bearer KEY` with the key that the engine printed";
            return Err(Error::new(Kind::Unauthorized, message).with_action("set NULLSPACE_API_KEY"));
        };
        self.keys.holder(&digest(&given)).ok_or_else(|| {
            Error::new(Kind::Unauthorized, "the API key is not the one of this engine")
                .with_action("set NULLSPACE_API_KEY to the key that the engine printed")
        })
    }
}

/// The names of the engine that a request gives, in its address and in `Host`. Two `Host` headers are refused, as RFC 9112
/// asks: a proxy in between may go by the other one.
pub fn hosts(request: &Request) -> Result<Vec<&str>, Error> {
    let headers: Vec<&str> = request
        .headers()
        .get_all(header::HOST)
        .iter()
        .map(|host| host.to_str().unwrap_or_default())
        .collect();
    if headers.len() > 1 {
        let text = "the request has more than one `Host` header: send one";
        return Err(Error::new(Kind::InvalidRequest, text));
    }
    let authority = request.uri().authority().map(|a| a.as_str());
    Ok(authority.into_iter().chain(headers).collect())
}

/// Name and port of a `Host`; without one it is 80, and `None` for what is no port.
pub fn split_host(host: &str) -> (&str, Option<u16>) {
    // The last colon starts the port, unless it belongs to a bare or bracketed IPv6 address.
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
        _ => (host, Some(80)),
    }
}

fn bare(name: &str) -> &str {
    name.trim_start_matches('[').trim_end_matches(']')
}

/// Whether a `Host` means this computer's loopback at this port.
pub fn is_loopback_host(host: &str, port: u16) -> bool {
    let host = host.to_ascii_lowercase();
    let (name, given) = split_host(&host);
    let is_loopback = bare(name)
        .parse::<IpAddr>()
        .map_or(name == "localhost", |address| address.is_loopback());
    given == Some(port) && is_loopback
}

/// The key among the subprotocols of a WebSocket upgrade.
fn subprotocol_key(headers: &HeaderMap) -> Option<Vec<u8>> {
    let is_upgrade = headers
        .get(header::UPGRADE)?
        .as_bytes()
        .eq_ignore_ascii_case(b"websocket");
    let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    offers
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(|offer| offer.trim().strip_prefix(BEARER_SUBPROTOCOL))
        .filter(|_| is_upgrade)
        .find_map(|text| {
            URL_SAFE_NO_PAD
                .decode(text)
                .or_else(|_| URL_SAFE.decode(text))
                .ok()
        })
}

/// Lets a request in or refuses it, and completes the answer.
pub async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let request_id = access
        .given_id(request.headers())
        .unwrap_or_else(|| format!("req_{}", uuid::Uuid::new_v4().simple()));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!("request", id = %request_id);
    let mut request = request;
    request.extensions_mut().insert(RequestId(request_id.clone()));
    let scheme = access.scheme(request.headers());
    request.extensions_mut().insert(scheme);
    let begun = Instant::now();
    let create = is_create(&method, &path).then(|| METRICS.create());
    let response = async {
        let (allowed_origin, mut response) = admit(&access, request, next).await;
        if let Some(Failure(error)) = response.extensions_mut().remove::<Failure>() {
            let headers = std::mem::take(response.headers_mut());
            response = json(status(error.kind), &envelope(&error, &request_id));
            response.headers_mut().extend(headers);
        }
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            headers.insert(REQUEST_ID, value);
        }
        if let Some(origin) = allowed_origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(EXPOSED_HEADERS),
            );
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        let (status, millis) = (response.status().as_u16(), begun.elapsed().as_millis() as u64);
        METRICS.answered(status, begun.elapsed());
        if let Some(create) = create {
            create.ended(status);
        }
        tracing::info!(%method, %path, status, millis, "answered");
        response
    };
    response.instrument(span).await
}

/// Whether a request makes a machine.
fn is_create(method: &Method, path: &str) -> bool {
    let of_machine = path.strip_prefix("/v1/machines");
    *method == Method::POST
        && of_machine.is_some_and(|rest| {
            rest.is_empty()
                || rest
                    .strip_suffix("/fork")
                    .is_some_and(|id| id.rfind('/') == Some(0))
        })
}

async fn admit(access: &Access, mut request: Request, next: Next) -> (Option<HeaderValue>, Response) {
    if let Err(error) = access.check_host(&request) {
        return (None, Failure(error).into_response());
    }
    let origin = match access.check_origin(request.headers()) {
        Ok(origin) => origin,
        Err(error) => return (None, Failure(error).into_response()),
    };
    let asks_first = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && origin.is_some();
    if asks_first {
        return (origin, preflight(request.headers()));
    }
    let admitted = match request.uri().path() {
        "/healthz" => Ok(()),
        path if signed_files::is_signed(request.method(), path) => match &access.signer {
            Some(signer) => signer.check(&request).map(|grant| {
                request.extensions_mut().insert(grant);
            }),
            None => Ok(()),
        },
        _ => access.check_key(&request).map(|holder| {
            request.extensions_mut().insert(holder);
        }),
    };
    if let Err(error) = admitted {
        return (origin, Failure(error).into_response());
    }
    if let Some(visitor) = request.extensions().get::<Visitor>() {
        if request.uri().path() != "/healthz" {
            visitor.admit();
        }
    }
    (origin, next.run(request).await)
}

/// Answers a browser that asks before it sends.
fn preflight(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    let fixed = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // A public page that reaches into a private network asks for this too (Private Network Access).
    if asked.contains_key("access-control-request-private-network") {
        headers.insert(
            "access-control-allow-private-network",
            HeaderValue::from_static("true"),
        );
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(listen: &str) -> Access {
        Access::new("key", listen.parse().unwrap())
    }

    #[test]
    fn only_loopback_names_with_the_own_port_are_this_engine() {
        let access = access("127.0.0.1:3000");
        for host in [
            "localhost:3000",
            "LOCALHOST:3000",
            "127.0.0.1:3000",
            "127.8.8.8:3000",
            "[::1]:3000",
        ] {
            assert!(access.knows_host(host), "{host}");
        }
        let foreign = [
            "localhost",
            "localhost:3001",
            "127.0.0.1",
            "evil.example:3000",
            "localhost.evil.example:3000",
            "10.0.0.1:3000",
            "[::2]:3000",
            "",
            ":3000",
            "localhost:x",
            "127.0.0.1.evil.example:3000",
            "[::1]",
        ];
        for host in foreign {
            assert!(!access.knows_host(host), "{host}");
        }
    }

    #[test]
    fn creates_and_forks_make_machines() {
        for (method, path, makes) in [
            (Method::POST, "/v1/machines", true),
            (Method::POST, "/v1/machines/mch_1/fork", true),
            (Method::GET, "/v1/machines", false),
            (Method::POST, "/v1/machines/mch_1/exec", false),
            (Method::POST, "/v1/machines/mch_1/x/fork", false),
            (Method::POST, "/v1/machines-x/fork", false),
        ] {
            assert_eq!(is_create(&method, path), makes, "{method} {path}");
        }
    }

    #[test]
    fn other_names_are_taken_when_allowed() {
        let access = access("0.0.0.0:3000").with_hosts(["Build.Local".to_owned(), "proxy:443".to_owned()]);
        for host in ["build.local:3000", "proxy:443", "192.168.1.2:3000"] {
            assert!(access.knows_host(host), "{host}");
        }
        assert!(!access.knows_host("other.local:3000"));
    }

    #[test]
    fn a_key_comes_as_subprotocol_only_on_an_upgrade() {
        let mut headers = HeaderMap::new();
        let offer = "nullspace.v1, nullspace.bearer.a2V5";
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offer));
        assert_eq!(subprotocol_key(&headers), None);
        headers.insert(header::UPGRADE, HeaderValue::from_static("WebSocket"));
        assert_eq!(subprotocol_key(&headers).as_deref(), Some(b"key".as_slice()));
    }
}
