//! The gateway of a machine to services that want a secret: `http://127.0.0.1:15001/NAME/host/path` inside becomes
//! `https://host/path` outside, with the header that carries the secret.
//!
//! The machine speaks plain HTTP to itself, so nothing of TLS has to be broken open, and no certificate has to be
//! believed. What leaves is under the rules and limits of the machine, as a connection to that name would be.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddrV4};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::{header, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tower_service::Service;

use super::share::Place;
use super::tcp::{read, write_all, CHUNK};
use super::{dns, refused, Entered, Shared};
use crate::hops::end_hop;
use crate::isolation::secrets::{gateway, Secret};

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(30);
/// How long a connection outside is kept for the next request.
const IDLE: Duration = Duration::from_secs(15);
/// Addresses of a name that are tried.
const MOST_ADDRESSES: usize = 4;

type Body = Either<Incoming, Full<Bytes>>;

/// Answers the requests of one connection of the machine, until it ends.
pub(super) async fn serve(inside: &TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let (ours, theirs) = tokio::io::duplex(CHUNK);
    let (mut answers, mut requests) = tokio::io::split(ours);
    let client = client(shared);
    let service = hyper::service::service_fn(|request| {
        let client = &client;
        async move {
            let answer = answer(request, client, shared).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|refusal| refusal.answer()))
        }
    });
    let http = async {
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(theirs), service)
            .await;
        served.map_err(io::Error::other)
    };
    let coming = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = read(inside, &mut buffer, &shared.sent).await?;
            if read == 0 {
                requests.shutdown().await?;
                return std::future::pending().await;
            }
            shared.sent.count(read);
            requests.write_all(&buffer[..read]).await?;
        }
    };
    let going = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = answers.read(&mut buffer).await?;
            if read == 0 {
                return Ok(rustix::net::shutdown(inside, rustix::net::Shutdown::Write)?);
            }
            shared.received.bucket.take_all(read).await;
            write_all(inside, &buffer[..read]).await?;
            shared.received.count(read);
        }
    };
    tokio::select! {
        ended = async { tokio::try_join!(http, going) } => ended.map(drop),
        failed = coming => failed,
    }
}

/// Why the gateway answers by itself.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    text: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self {
            status,
            code,
            text: text.into(),
        }
    }

    fn answer(self) -> Response<Body> {
        let error = serde_json::json!({ "error": { "code": self.code, "message": self.text } });
        let mut answer = Response::new(Either::Right(Full::new(Bytes::from(error.to_string()))));
        *answer.status_mut() = self.status;
        let json = HeaderValue::from_static("application/json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        answer
    }
}

async fn answer(
    mut request: Request<Incoming>,
    client: &HttpsClient,
    shared: &Shared,
) -> Result<Response<Body>, Refusal> {
    // Servers send back what they got with it.
    if [Method::TRACE, Method::CONNECT].contains(request.method()) {
        let text = "this method is not passed on";
        return Err(Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            text,
        ));
    }
    let Target {
        secret,
        host,
        port,
        uri,
    } = target_of(request.uri(), shared)?;
    let site = site(&host, port);
    let headers = request.headers_mut();
    end_hop(headers);
    headers.remove(header::EXPECT);
    headers.insert(&secret.header, secret.value.clone());
    let host_header = HeaderValue::from_str(&site);
    headers.insert(
        header::HOST,
        host_header.map_err(|_| no_host(&site, &secret.name))?,
    );
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    let mut answer = client
        .request(request)
        .await
        .map_err(|error| failed(&error, &site))?;

    let headers = answer.headers_mut();
    end_hop(headers);
    // A redirect within the hosts of the secret goes through here again; any other is followed without it.
    if let Some(place) = headers
        .get(header::LOCATION)
        .and_then(|value| back(value, secret, &host, port))
    {
        headers.insert(header::LOCATION, place);
    }
    let tells = |value: &HeaderValue| contains(value.as_bytes(), secret.value.as_bytes());
    let telling: Vec<_> = headers
        .iter()
        .filter(|(_, value)| tells(value))
        .map(|(name, _)| name.clone())
        .collect();
    for name in telling {
        headers.remove(name);
    }
    Ok(answer.map(Either::Left))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// `host`, or `host:port`.
fn site(host: &str, port: u16) -> String {
    match port {
        443 => host.to_owned(),
        _ => format!("{host}:{port}"),
    }
}

/// What a path at the gateway leads to.
struct Target<'a> {
    secret: &'a Secret,
    host: String,
    port: u16,
    uri: Uri,
}

fn no_host(site: &str, name: &str) -> Refusal {
    let text = format!("{site} is none of the hosts of {name}");
    Refusal::new(StatusCode::FORBIDDEN, "host_not_allowed", text)
}

fn target_of<'a>(uri: &Uri, shared: &'a Shared) -> Result<Target<'a>, Refusal> {
    let path = uri.path_and_query().map_or("/", |both| both.as_str());
    let rest = path.strip_prefix('/').unwrap_or(path);
    let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let Some(secret) = shared.options.secrets.get(name) else {
        let text = "this machine has no such secret: the path is /NAME/host/path, with a name of `network.secrets`; a machine of a \
                    snapshot has those that its own create gave";
        return Err(Refusal::new(StatusCode::NOT_FOUND, "secret_not_found", text));
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (host, port) = match authority.split_once(':') {
        None => (authority, Some(443)),
        Some((host, port)) => (host, port.parse().ok()),
    };
    let host = host.to_ascii_lowercase();
    let port = port
        .filter(|port| secret.hosts.iter().any(|own| own.0 == host && own.1 == *port))
        .ok_or_else(|| no_host(authority, name))?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    let uri = format!("https://{}{slash}{path}", site(&host, port)).parse();
    let uri =
        uri.map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "invalid_request", "the path is none"))?;
    Ok(Target {
        secret,
        host,
        port,
        uri,
    })
}

/// Where a redirect of `host` leads at the gateway, when it is to a host of the secret.
fn back(location: &HeaderValue, secret: &Secret, host: &str, port: u16) -> Option<HeaderValue> {
    let text = location.to_str().ok()?;
    let (site, rest) = if text.starts_with('/') && !text.starts_with("//") {
        (site(host, port), text.to_owned())
    } else {
        let uri: Uri = text.parse().ok()?;
        let (to, port) = (uri.host()?.to_ascii_lowercase(), uri.port_u16().unwrap_or(443));
        let is_own =
            uri.scheme_str() == Some("https") && secret.hosts.iter().any(|own| own.0 == to && own.1 == port);
        if !is_own {
            return None;
        }
        (
            self::site(&to, port),
            uri.path_and_query().map_or("/".to_owned(), ToString::to_string),
        )
    };
    HeaderValue::from_str(&format!("{}/{}/{site}{rest}", gateway(), secret.name)).ok()
}

/// Says what the connection could not do; nothing in it can hold the secret, which is only sent on one that stands.
fn failed(error: &hyper_util::client::legacy::Error, site: &str) -> Refusal {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
    match kind {
        Some(io::ErrorKind::PermissionDenied) => {
            let text = format!("the machine's network policy does not allow {site}");
            Refusal::new(StatusCode::FORBIDDEN, "egress_denied", text)
        }
        Some(io::ErrorKind::QuotaExceeded) => {
            let text = "the machine has as many connections as it may";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "capacity_exceeded", text)
        }
        Some(io::ErrorKind::TimedOut) => {
            let text = format!("{site} did not accept in time");
            Refusal::new(StatusCode::GATEWAY_TIMEOUT, "timeout", text)
        }
        _ => {
            let text = format!("asking {site} failed: {cause}");
            Refusal::new(StatusCode::BAD_GATEWAY, "request_failed", text)
        }
    }
}

type HttpsClient = Client<HttpsConnector<Connector>, Incoming>;

/// What one connection of the machine reaches the world by; its connections are kept as long as that is there.
fn client(shared: &Arc<Shared>) -> HttpsClient {
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(certificates().clone())
        .https_only()
        .enable_http1()
        .wrap_connector(Connector(shared.clone()));
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(1)
        .build(connector)
}

/// The certificates of the system, read once.
fn certificates() -> &'static rustls::ClientConfig {
    static CONFIG: OnceLock<rustls::ClientConfig> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let with = rustls::ClientConfig::builder().with_native_roots();
        let with = with.unwrap_or_else(|error| {
            tracing::warn!(%error, "no certificates found: gateways of machines reach nothing without ca-certificates");
            rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty())
        });
        with.with_no_client_auth()
    })
}

/// Connects under the rules of the machine.
#[derive(Clone)]
struct Connector(Arc<Shared>);

impl Service<Uri> for Connector {
    type Response = TokioIo<Outside>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default();
            connect(&shared, host, uri.port_u16().unwrap_or(443))
                .await
                .map(TokioIo::new)
        })
    }
}

async fn connect(shared: &Arc<Shared>, host: &str, port: u16) -> io::Result<Outside> {
    let addresses = dns::resolve(host, shared).await?;
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses.into_iter().take(MOST_ADDRESSES) {
        match dial(shared, host, SocketAddrV4::new(address, port)).await {
            Ok(outside) => return Ok(outside),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

async fn dial(shared: &Arc<Shared>, host: &str, to: SocketAddrV4) -> io::Result<Outside> {
    let place = shared.share.take().ok_or(io::ErrorKind::QuotaExceeded)?;
    if refused::is_refused(IpAddr::from(*to.ip()), &shared.options.extra_refused) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let entered = shared
        .enter_named(to, host)
        .ok_or(io::ErrorKind::PermissionDenied)?;
    let dialed = tokio::time::timeout(shared.options.connect_timeout, TcpStream::connect(to));
    let stream = dialed.await.map_err(|_| io::ErrorKind::TimedOut)??;
    // A second descriptor of the same connection, by which new rules reset it at once.
    let second = TcpStream::from_std(std::net::TcpStream::from(rustix::io::dup(&stream)?))?;
    if stream.local_addr()?.ip() == stream.peer_addr()?.ip() || !entered.add(&Arc::new(second)) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    stream.set_nodelay(true)?;
    let cut = Box::pin(entered.cut.clone().cancelled_owned());
    Ok(Outside {
        stream,
        cut,
        _entered: entered,
        _place: place,
    })
}

/// A connection to a service, which ends when the rules or the machine do.
struct Outside {
    stream: TcpStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _entered: Entered,
    _place: Place,
}

impl Connection for Outside {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Outside {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Outside {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
