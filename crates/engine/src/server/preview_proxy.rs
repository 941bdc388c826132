//! The way from outside to a port of a machine: an HTTP listener of its own on loopback for each port that is asked
//! for, or a name of its own on the port of the API, so that each is an origin of its own in a browser.
//!
//! Requests, answers and WebSockets are streamed through; nothing is held in memory. A machine whose
//! `allow_public_traffic` is false wants its traffic token on every request; a token of a signed URL, a cookie or a proxy
//! must be good if it is there. Without a token no page gets through but those of the machine's own ports and those that
//! the engine lets in (`--allow-origin`): browsers let any page send requests to loopback.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Response as HttpResponse, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::Router;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;

use super::access::{hosts, is_loopback_host};
use super::connections::{self, Visitor};
use super::preview_hosts::{Domain, Place};
use super::reply::{envelope, json, status};
use crate::hops;
use crate::machine::live::{Busy, Machine};
use crate::machine::network::previews::{Grant, Mode, Refusal, Transport};
use crate::machine::{Engine, Error, Kind};

/// Query parameter of signed URLs.
pub const EDGE_TOKEN: &str = "edge_token";
/// Query parameter that marks the URLs of a proxy.
pub const TRANSPORT_MARK: &str = "__ns_preview_transport";
const PROXY_TOKEN: HeaderName = HeaderName::from_static("x-nullspace-preview-proxy-token");
/// Begins the names of our cookies. Browsers send them to every port of an address, so also to other machines.
const COOKIE_PREFIX: &str = "__ns_preview_";
const TRAFFIC_TOKEN: HeaderName = HeaderName::from_static("x-nullspace-traffic-access-token");
/// Seconds after which a client may ask a paused machine again. Source: PROTOCOL.md section 3.
const PAUSED_RETRY: &str = "5";
/// How long a service may take to accept.
const DIAL_PATIENCE: Duration = Duration::from_secs(10);

/// Where a listener or a name leads.
struct Target {
    engine: Arc<Engine>,
    machine: Arc<Machine>,
    port: u16,
    way: Way,
}

/// How a port is reached.
enum Way {
    /// By a listener of its own, at this address.
    Address(SocketAddr),
    /// By a name below this domain.
    Name(Domain),
}

/// Where a port is reached.
pub struct Reached {
    /// `name` or `address:port`.
    pub host: String,
    is_secure: bool,
    /// It has a name, which can be reached from elsewhere.
    pub has_name: bool,
}

impl Reached {
    /// Address for HTTP requests, without a path.
    pub fn url(&self) -> String {
        format!(
            "{}://{}",
            if self.is_secure { "https" } else { "http" },
            self.host
        )
    }

    /// Address for WebSockets, without a path.
    pub fn websocket_url(&self) -> String {
        format!("{}://{}", if self.is_secure { "wss" } else { "ws" }, self.host)
    }
}

/// Makes a port reachable, if it is not yet, and says where: by name where there is a domain.
pub async fn expose(
    engine: &Arc<Engine>,
    machine: &Arc<Machine>,
    port: u16,
    domain: Option<&Domain>,
) -> Result<Reached, Error> {
    if let Some(domain) = domain {
        machine.previews.open_name(port);
        let machine = machine.id.clone();
        return Ok(Reached {
            host: domain.host(&Place { machine, port }),
            is_secure: domain.is_secure(),
            has_name: true,
        });
    }
    let address = own_address(engine, machine, port).await?;
    Ok(Reached {
        host: address.to_string(),
        is_secure: false,
        has_name: false,
    })
}

/// Leads a request for the name of a port to the machine.
pub async fn lead(engine: Arc<Engine>, domain: Domain, place: Place, request: Request) -> Response {
    let machine = match engine.machine_of_port(&place.machine).await {
        Ok(machine) => machine,
        Err(error) => return json(status(error.kind), &envelope(&error, "preview")),
    };
    // As with addresses: what nobody asked for is not reached from outside.
    if !machine.previews.has_name(place.port) {
        let text = format!("port {} of machine {} is not open", place.port, place.machine);
        return refuse(StatusCode::NOT_FOUND, "not_found", &text);
    }
    let target = Target {
        engine,
        machine,
        port: place.port,
        way: Way::Name(domain),
    };
    relay(&target, request).await.unwrap_or_else(|refused| refused)
}

/// The address of a port's own listener, which is opened if there is none.
async fn own_address(engine: &Arc<Engine>, machine: &Arc<Machine>, port: u16) -> Result<SocketAddr, Error> {
    if let Some(address) = machine.previews.address(port) {
        return Ok(address);
    }
    let listener = listen(engine).await?;
    // Seen from outside a container it is on loopback, too.
    let bound = listener
        .local_addr()
        .map_err(|e| Error::internal("opening a preview port", e))?;
    let own = SocketAddr::from((Ipv4Addr::LOCALHOST, bound.port()));
    let address = machine.previews.set_address(port, own);
    if address != own {
        // Another request opened one meanwhile; this listener goes.
        return Ok(address);
    }
    let target = Arc::new(Target {
        engine: engine.clone(),
        machine: machine.clone(),
        port,
        way: Way::Address(address),
    });
    let router = Router::new().fallback(forward).with_state(target);
    let (gone, closing) = (machine.gone.clone(), engine.closing().clone());
    tokio::spawn(async move {
        // Not waited for: answers of a machine that is gone have no end.
        tokio::select! {
            () = connections::serve(listener, router, std::future::pending()) => {}
            () = gone.cancelled() => {}
            () = closing.cancelled() => {}
        }
    });
    Ok(address)
}

/// A port that nobody has yet.
async fn listen(engine: &Engine) -> Result<TcpListener, Error> {
    let Some(ports) = engine.ports().previews else {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        return bound.map_err(|e| Error::internal("opening a preview port", e));
    };
    for port in ports.clone() {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await {
            return Ok(listener);
        }
    }
    let text = format!(
        "all ports for previews are in use, {} to {}",
        ports.start(),
        ports.end()
    );
    Err(Error::new(Kind::CapacityExceeded, text)
        .with_action("kill machines with previews, or start the engine with a longer --preview-ports"))
}

impl Target {
    /// Whether browsers come over TLS.
    fn is_secure(&self) -> bool {
        matches!(&self.way, Way::Name(domain) if domain.is_secure())
    }
}

async fn forward(State(target): State<Arc<Target>>, request: Request) -> Response {
    match relay(&target, request).await {
        Ok(response) => response,
        Err(refused) => refused,
    }
}

async fn relay(target: &Target, mut request: Request) -> Result<Response, Response> {
    let wrong = |text: &str| refuse(StatusCode::BAD_REQUEST, "invalid_request", text);
    let names = hosts(&request).map_err(|error| wrong(&error.message))?;
    let foreign = names.iter().find(|name| match &target.way {
        Way::Address(address) => !is_loopback_host(name, address.port()),
        // The name led here.
        Way::Name(_) => false,
    });
    let host = match (foreign, names.last(), &target.way) {
        (None, Some(host), _) => (*host).to_owned(),
        (foreign, _, Way::Address(address)) => {
            let text = format!(
                "previews of this engine are reached at {address}, not at {:?}",
                foreign.copied().unwrap_or_default()
            );
            return Err(refuse(StatusCode::FORBIDDEN, "permission_denied", &text));
        }
        (_, _, Way::Name(_)) => return Err(wrong("the request names no host")),
    };
    let is_upgrade = request.headers().contains_key(header::UPGRADE);
    let transport = if is_upgrade {
        Transport::WebSocket
    } else {
        Transport::Http
    };
    let has_traffic_token =
        check_traffic_token(&target.machine, request.headers()).map_err(|refused| *refused)?;
    let admitted = admit(target, transport, &request).map_err(|refused| *refused)?;
    if !has_traffic_token && !admitted.has_token {
        check_origin(target, request.headers()).map_err(|refused| *refused)?;
    }
    if let Some(visitor) = request.extensions().get::<Visitor>() {
        visitor.admit();
    }

    let (_, busy) = target
        .engine
        .ready(&target.machine.id)
        .await
        .map_err(|e| not_ready(target, &e))?;
    let stream = dial(&target.machine, target.port).await.map_err(|_| {
        let text = format!(
            "nothing listens on port {} of machine {}",
            target.port, target.machine.id
        );
        refuse(StatusCode::BAD_GATEWAY, "preview_service_unavailable", &text)
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(bad_service)?;
    tokio::spawn(connection.with_upgrades());

    rewrite(target, &host, &mut request);
    let outer = is_upgrade.then(|| hyper::upgrade::on(&mut request));
    let upload = target.machine.busy();
    let request = request.map(|body| while_it_passes(body, upload));
    let mut response: HttpResponse<hyper::body::Incoming> =
        sender.send_request(request).await.map_err(bad_service)?;
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(outer)) = (response.status(), outer) {
        let inner = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            // Held until both sides are done: an open socket keeps the machine from being idle.
            let _busy = busy;
            if let (Ok(outer), Ok(inner)) = (outer.await, inner.await) {
                let (mut outer, mut inner) = (TokioIo::new(outer), TokioIo::new(inner));
                let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
            }
        });
        return Ok(finished(target, response.map(Body::new), admitted.session));
    }
    let response = response.map(|body| while_it_passes(Body::new(body), busy));
    Ok(finished(target, response, admitted.session))
}

/// A body that keeps the machine from being idle until all of it has passed.
fn while_it_passes(body: Body, busy: Busy) -> Body {
    Body::new(body.map_frame(move |frame| {
        let _ = &busy;
        frame
    }))
}

/// An answer of the service, as whoever asked shall see it.
fn finished(target: &Target, mut response: Response, session: Option<Grant>) -> Response {
    hops::pass_response(&mut response);
    let headers = response.headers_mut();
    // Only we give out our cookies, whatever port of the address they are for.
    let cookies: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
    headers.remove(header::SET_COOKIE);
    for cookie in cookies {
        if !cookie
            .as_bytes()
            .trim_ascii_start()
            .starts_with(COOKIE_PREFIX.as_bytes())
        {
            headers.append(header::SET_COOKIE, cookie);
        }
    }
    if let Some(cookie) = session.and_then(|grant| set_cookie(target, &grant)) {
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}

/// Connects to a port of a machine.
pub async fn dial(machine: &Machine, port: u16) -> Result<tokio::net::TcpStream, Error> {
    let running = machine.running()?;
    match tokio::time::timeout(DIAL_PATIENCE, running.dial(port)).await {
        Ok(dialled) => dialled.map_err(|e| Error::isolation("connecting to a port of the machine", e)),
        Err(_) => Err(Error::new(
            Kind::MachineNotReady,
            "the port did not accept in time",
        )),
    }
}

/// A machine without public traffic is opened by its token only. Whether it was sent.
fn check_traffic_token(machine: &Machine, headers: &HeaderMap) -> Result<bool, Box<Response>> {
    let Some(wanted) = machine.read(|r| r.traffic_access_token.clone()) else {
        return Ok(false);
    };
    let given = headers
        .get(&TRAFFIC_TOKEN)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    if bool::from(given.ct_eq(wanted.as_bytes())) {
        return Ok(true);
    }
    let text =
        format!("this machine takes no public traffic: send its traffic access token in {TRAFFIC_TOKEN}");
    Err(Box::new(refuse(
        StatusCode::UNAUTHORIZED,
        "edge_token_missing",
        &text,
    )))
}

/// Keeps pages out that nobody let in. A cookie does not open the port to them: browsers send it for pages of every port
/// of the address.
fn check_origin(target: &Target, headers: &HeaderMap) -> Result<(), Box<Response>> {
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let is_own = match &target.way {
            Way::Address(_) => origin.strip_prefix("http://").is_some_and(|host| {
                let previews = &target.machine.previews;
                previews.is_address(|address| is_loopback_host(host, address.port()))
            }),
            Way::Name(domain) => {
                let place = domain.place_of_origin(&origin);
                place.is_some_and(|place| place.machine == target.machine.id)
            }
        };
        if !is_own && !target.engine.lets_in(&origin) {
            let text = format!(
                "pages of origin {origin:?} may not use this port without a token: give them a signed preview URL, or \
                 start the engine with --allow-origin and that origin"
            );
            return Err(Box::new(refuse(
                StatusCode::FORBIDDEN,
                "permission_denied",
                &text,
            )));
        }
    }
    Ok(())
}

/// How a request was let in.
struct Admitted {
    /// By a token in its URL or headers, which no page knows unless it was told.
    has_token: bool,
    /// The grant that came by URL, to go on with a cookie.
    session: Option<Grant>,
}

/// Checks whatever token a request carries.
fn admit(target: &Target, transport: Transport, request: &Request) -> Result<Admitted, Box<Response>> {
    let previews = &target.machine.previews;
    let marked = query_value(request.uri(), TRANSPORT_MARK).is_some();
    let admit = |mode, token: &str, kind| {
        let admitted = previews.admit(target.port, mode, transport, token);
        admitted.map_err(|why| Box::new(refuse_token(kind, why)))
    };
    if let Some(token) = request.headers().get(&PROXY_TOKEN) {
        let token = token.to_str().unwrap_or_default();
        admit(Mode::Proxy, token, "preview_proxy_token")?;
        return Ok(Admitted {
            has_token: true,
            session: None,
        });
    }
    if marked {
        let text = format!("this URL is for a proxy, which must send its token in {PROXY_TOKEN}");
        return Err(Box::new(refuse(
            StatusCode::UNAUTHORIZED,
            "preview_proxy_token_missing",
            &text,
        )));
    }
    if let Some(token) = query_value(request.uri(), EDGE_TOKEN) {
        return Ok(Admitted {
            session: Some(admit(Mode::Direct, &token, "edge_token")?),
            has_token: true,
        });
    }
    // A cookie goes on with HTTP, never with WebSockets. Source: PROTOCOL.md section 3.
    if transport == Transport::Http {
        if let Some(cookie) = cookie(target, request.headers()) {
            admit(Mode::Direct, &cookie, "edge_token")?;
        }
    }
    Ok(Admitted {
        has_token: false,
        session: None,
    })
}

/// Makes the request what the service inside shall see: without our tokens, with the `Host` that was asked for.
fn rewrite(target: &Target, host: &str, request: &mut Request) {
    let mut path = request.uri().path().to_owned();
    let query = without_tokens(request.uri().query().unwrap_or_default());
    if !query.is_empty() {
        path = format!("{path}?{query}");
    }
    if let Ok(uri) = path.parse::<Uri>() {
        *request.uri_mut() = uri;
    }
    let mask = target.machine.read(|r| r.mask_request_host.clone());
    let inside = mask.map_or_else(
        || host.to_owned(),
        |mask| mask.replace("${PORT}", &target.port.to_string()),
    );
    let headers = request.headers_mut();
    hops::pass_request(headers);
    headers.remove(&PROXY_TOKEN);
    headers.remove(&TRAFFIC_TOKEN);
    // Where a browser came from is the URL with the token, for all that the page loads.
    if let Some(referer) = headers.remove(header::REFERER) {
        let text = referer.to_str().unwrap_or_default();
        let (page, query) = text.split_once('?').unwrap_or((text, ""));
        let query = without_tokens(query);
        let text = if query.is_empty() {
            page.to_owned()
        } else {
            format!("{page}?{query}")
        };
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(header::REFERER, value);
        }
    }
    let others: Vec<String> = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .map(|pair| pair.trim().to_owned())
        .filter(|pair| !pair.is_empty() && !pair.starts_with(COOKIE_PREFIX))
        .collect();
    headers.remove(header::COOKIE);
    if let Ok(value) = HeaderValue::from_str(&others.join("; ")) {
        if !others.is_empty() {
            headers.insert(header::COOKIE, value);
        }
    }
    let is_secure = target.is_secure();
    let forwarded = [
        Some(("x-forwarded-host", host)),
        Some(("x-forwarded-proto", if is_secure { "https" } else { "http" })),
        // Where a name is asked from, what is in front of us knows.
        matches!(target.way, Way::Address(_)).then_some(("x-forwarded-for", "127.0.0.1")),
    ];
    for (name, value) in forwarded.into_iter().flatten() {
        if let (false, Ok(value)) = (headers.contains_key(name), HeaderValue::from_str(value)) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if let Ok(value) = HeaderValue::from_str(&inside) {
        headers.insert(header::HOST, value);
    }
}

/// A query without the parameters that are ours, however their names are spelt.
fn without_tokens(query: &str) -> String {
    let others = query.split('&').filter(|pair| {
        let name = form_urlencoded::parse(pair.as_bytes()).next();
        let is_ours = |(name, _): (Cow<str>, _)| name == EDGE_TOKEN || name == TRANSPORT_MARK;
        !pair.is_empty() && !name.is_some_and(is_ours)
    });
    others.collect::<Vec<_>>().join("&")
}

/// Browsers share cookies between the ports of an address: the name says which port it is for.
fn cookie_name(target: &Target) -> String {
    format!("{COOKIE_PREFIX}{}_{}", target.machine.id, target.port)
}

fn cookie(target: &Target, headers: &HeaderMap) -> Option<String> {
    let name = cookie_name(target);
    let values = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|text| text.split(';')).find_map(|pair| {
        pair.trim()
            .strip_prefix(&name)?
            .strip_prefix('=')
            .map(str::to_owned)
    })
}

fn set_cookie(target: &Target, grant: &Grant) -> Option<HeaderValue> {
    let (name, value) = (cookie_name(target), &grant.cookie);
    let secure = if target.is_secure() { "; Secure" } else { "" };
    HeaderValue::from_str(&format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}")).ok()
}

fn query_value(uri: &Uri, name: &str) -> Option<String> {
    let query = uri.query()?;
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

fn bad_service(_: hyper::Error) -> Response {
    refuse(
        StatusCode::BAD_GATEWAY,
        "preview_service_unavailable",
        "the service broke off or speaks no HTTP/1.1",
    )
}

fn refuse_token(kind: &str, why: Refusal) -> Response {
    let (suffix, text) = match why {
        Refusal::Invalid => ("invalid", "the token of this preview is unknown"),
        Refusal::Expired => (
            "expired",
            "the token of this preview has expired: ask for another URL",
        ),
        Refusal::Scope => (
            "scope_mismatch",
            "the token is for the other transport: HTTP and WebSocket have one each",
        ),
        // Both spellings are known to clients; the one of the grant says more.
        Refusal::Revoked if kind == "edge_token" => {
            return refuse(
                StatusCode::UNAUTHORIZED,
                "preview_grant_revoked",
                "this preview was taken back",
            );
        }
        Refusal::Revoked => ("revoked", "the token of this preview was taken back"),
    };
    refuse(StatusCode::UNAUTHORIZED, &format!("{kind}_{suffix}"), text)
}

/// A paused machine that nothing wakes, or one that is dead.
fn not_ready(target: &Target, error: &Error) -> Response {
    if target.machine.read(|r| r.snapshot_id.is_some()) {
        let text =
            "the machine is paused and traffic does not wake it: resume it, or make it with auto_resume";
        let mut response = refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "machine_paused_auto_resume_disabled",
            text,
        );
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static(PAUSED_RETRY));
        return response;
    }
    json(status(error.kind), &envelope(error, "preview"))
}

fn refuse(status: StatusCode, code: &str, text: &str) -> Response {
    let retryable = status.is_server_error();
    let action = if retryable {
        "try again once the service runs"
    } else {
        "ask the API for a preview URL"
    };
    let body = serde_json::json!({ "error": text, "code": code, "retryable": retryable, "suggested_action": action });
    json(status, &body).into_response()
}
