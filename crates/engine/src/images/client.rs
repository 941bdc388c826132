//! Requests to registries: where they may go, who is shown to them, and how often they are tried.
//!
//! `oci-client` would do much of it, with forty crates more, one of them under a licence that is not on the list; it reads
//! manifests of any size, and sends passwords without encryption where a registry names such an address.

use std::sync::Mutex;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::{AUTHORIZATION, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

use super::auth::Login;
use super::error::{Error, Kind, Result};
use super::reference::{is_loopback, Reference};
use super::{Options, Progress};

/// Who is told how it goes.
pub(super) type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// Times that a request is sent, and waits between them.
const TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait that a registry can ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Until the head of an answer is there.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// Until the next piece of a body is there.
const PIECE_PATIENCE: Duration = Duration::from_secs(60);
/// Registries send blobs from elsewhere; more redirects than this are a circle.
const MOST_REDIRECTS: usize = 5;
/// Most bytes of an answer that is no blob.
pub(super) const LARGEST_ANSWER: usize = 1 << 20;

/// Sends requests.
pub(super) struct Client {
    http: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    pub options: Options,
}

/// A failure, and how long the server asks to wait.
pub(super) struct Failed {
    error: Error,
    after: Option<Duration>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, after: None }
    }
}

/// How often something is tried still.
pub(super) struct Tries<'a> {
    what: &'a str,
    tell: OnProgress<'a>,
    wait: Duration,
    left: u32,
}

impl Tries<'_> {
    /// Waits for another try after a failure that may pass; otherwise, and after the last try, it is the answer.
    pub async fn again(&mut self, failed: Failed) -> Result<()> {
        let Failed { error, after } = failed;
        if !error.kind.is_retryable() {
            return Err(error);
        }
        if self.left == 0 {
            return Err(Error::new(error.kind, format!("{error} ({TRIES} tries)")));
        }
        (self.tell)(Progress::Retrying {
            what: self.what.to_owned(),
            why: error.message,
        });
        tokio::time::sleep(after.unwrap_or(self.wait).min(LONGEST_WAIT)).await;
        self.wait *= 2;
        self.left -= 1;
        Ok(())
    }
}

impl Client {
    pub fn new(options: Options) -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT_PATIENCE));
        let builder = hyper_rustls::HttpsConnectorBuilder::new();
        let connector = match builder.with_native_roots() {
            Ok(builder) => builder.https_or_http().enable_http1().wrap_connector(connector),
            Err(error) => {
                tracing::debug!(%error, "no certificates found: registries are reached with ca-certificates installed only");
                let config = rustls::ClientConfig::builder()
                    .with_root_certificates(rustls::RootCertStore::empty())
                    .with_no_client_auth();
                let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(config);
                builder.https_or_http().enable_http1().wrap_connector(connector)
            }
        };
        Self {
            http: HttpClient::builder(TokioExecutor::new()).build(connector),
            options,
        }
    }

    /// Counts the tries of a request.
    pub fn tries<'a>(&'a self, what: &'a str, tell: OnProgress<'a>) -> Tries<'a> {
        Tries {
            what,
            tell,
            wait: self.options.first_wait.unwrap_or(FIRST_WAIT),
            left: TRIES - 1,
        }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> std::result::Result<Response<Incoming>, Failed> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let is_allowed = match request.uri().scheme_str() {
            Some("https") => true,
            Some("http") => request.uri().authority().is_some_and(|a| is_loopback(a.as_str())),
            _ => false,
        };
        if !is_allowed {
            let text =
                format!("{host} is to be asked without encryption, which is done on this computer only");
            return Err(Error::refused(text).into());
        }
        let unreachable =
            |why: String| Error::new(Kind::Unreachable, format!("{host} cannot be reached: {why}"));
        match timeout(HEAD_PATIENCE, self.http.request(request)).await {
            Err(_) => Err(unreachable(format!("no answer within {} s", HEAD_PATIENCE.as_secs())).into()),
            Ok(Err(error)) => {
                let untrusted = tls_fault(&error).and_then(|fault| untrusted(&host, fault));
                Err(untrusted
                    .unwrap_or_else(|| unreachable(root_cause(&error)))
                    .into())
            }
            Ok(Ok(response)) => Ok(response),
        }
    }

    /// Sends a POST and reads its answer, which is small.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: &'static str,
    ) -> std::result::Result<Bytes, Failed> {
        let mut request = Request::builder().method(Method::POST).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body)).map_err(|_| {
            Error::new(
                Kind::Invalid,
                "the credentials hold characters that no header takes",
            )
        })?;
        let response = self.send(request).await?;
        let status = response.status();
        let after = retry_after(response.headers());
        let answer = whole(response, LARGEST_ANSWER).await?;
        if status.is_success() {
            return Ok(answer);
        }
        // The name of the error is the server's own word; the rest of the answer may repeat what was sent.
        let name = serde_json::from_slice::<serde_json::Value>(&answer).ok();
        let name = name.as_ref().and_then(|answer| answer["__type"].as_str());
        let name = name.map(|name| name.rsplit('#').next().unwrap_or_default());
        let name = name.filter(|name| name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric()));
        let said = name.map_or(String::new(), |name| format!(" ({name})"));
        let error = match status {
            StatusCode::TOO_MANY_REQUESTS => Error::new(Kind::RateLimited, format!("AWS was asked too often{said}")),
            status if status.is_server_error() => {
                Error::new(Kind::Unreachable, format!("AWS answered {}{said}", status.as_u16()))
            }
            status => Error::new(
                Kind::Unauthorized,
                format!(
                    "AWS gives no password for these credentials: it answered {}{said}; check access_key_id, \
                     secret_access_key, session_token and region, and that ecr:GetAuthorizationToken is allowed",
                    status.as_u16()
                ),
            ),
        };
        Err(Failed { error, after })
    }
}

/// What TLS says of a connection that there is not.
fn tls_fault<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(fault) = error.downcast_ref() {
            return Some(fault);
        }
        // An error of I/O has another one in it, which is not its source.
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        cause = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// Why a server is not believed to be the one that was meant, if that is it.
fn untrusted(host: &str, fault: &rustls::Error) -> Option<Error> {
    use rustls::CertificateError::UnknownIssuer;
    use rustls::Error::{InvalidCertificate, InvalidMessage};
    let text = match fault {
        InvalidCertificate(UnknownIssuer) => format!(
            "{host} shows a certificate of an authority that this computer does not trust: add the authority to those of \
             the system, or start the engine with SSL_CERT_FILE=authority.pem SSL_CERT_DIR=/etc/ssl/certs"
        ),
        InvalidCertificate(fault) => format!("{host} shows a certificate that does not hold: {fault}"),
        InvalidMessage(_) => format!(
            "{host} does not speak TLS: registries are spoken to without it on this computer only, as `localhost`"
        ),
        _ => return None,
    };
    Some(Error::new(Kind::Untrusted, text))
}

/// What a connection failed of, without the chain of who says so.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// The next piece of a body; `None` at its end.
pub(super) async fn piece(body: &mut Incoming) -> std::result::Result<Option<Bytes>, Failed> {
    let cut = |why: String| {
        Failed::from(Error::new(
            Kind::Unreachable,
            format!("the answer was cut off: {why}"),
        ))
    };
    loop {
        let frame = match timeout(PIECE_PATIENCE, body.frame()).await {
            Err(_) => return Err(cut(format!("nothing came for {} s", PIECE_PATIENCE.as_secs()))),
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => return Err(cut(root_cause(&error))),
            Ok(Some(Ok(frame))) => frame,
        };
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

async fn whole(response: Response<Incoming>, most: usize) -> std::result::Result<Bytes, Failed> {
    let mut body = response.into_body();
    let mut all = Vec::new();
    while let Some(data) = piece(&mut body).await? {
        if all.len() + data.len() > most {
            return Err(Error::refused(format!("the registry's answer is over {most} bytes")).into());
        }
        all.extend_from_slice(&data);
    }
    Ok(all.into())
}

/// One repository of a registry, while something is pulled from it.
pub(super) struct Repository<'a> {
    client: &'a Client,
    reference: &'a Reference,
    login: Option<Login>,
    /// Header that the registry takes; found out when it asks.
    authorization: Mutex<Option<String>>,
    tell: OnProgress<'a>,
}

impl<'a> Repository<'a> {
    pub fn new(
        client: &'a Client,
        reference: &'a Reference,
        login: Option<Login>,
        tell: OnProgress<'a>,
    ) -> Self {
        Self {
            client,
            reference,
            login,
            authorization: Mutex::default(),
            tell,
        }
    }

    /// Reads something small.
    pub async fn document(&self, path: &str, accept: &str, most: usize) -> Result<Bytes> {
        let mut tries = self.tries();
        loop {
            let answer = match self.get(path, &[("accept", accept)]).await {
                Ok(response) => whole(response, most).await,
                Err(failed) => Err(failed),
            };
            match answer {
                Ok(bytes) => return Ok(bytes),
                Err(failed) => tries.again(failed).await?,
            }
        }
    }

    /// Counts the tries of a request.
    pub fn tries(&self) -> Tries<'_> {
        self.client.tries(self.reference.registry(), self.tell)
    }

    /// Asks for a path below the repository; logs in when the registry wants that.
    pub async fn get(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> std::result::Result<Response<Incoming>, Failed> {
        let url = format!("{}/{path}", self.reference.address());
        let mut has_asked = false;
        loop {
            let authorization = self.known();
            let response = self.follow(&url, headers, authorization).await?;
            if response.status() != StatusCode::UNAUTHORIZED || has_asked {
                return self.check(response);
            }
            // A token may also have run out meanwhile.
            has_asked = true;
            let challenges: Vec<String> = response
                .headers()
                .get_all(WWW_AUTHENTICATE)
                .iter()
                .filter_map(|value| value.to_str().ok().map(str::to_owned))
                .collect();
            let header = self.log_in(&challenges).await?;
            *self
                .authorization
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(header);
        }
    }

    fn known(&self) -> Option<String> {
        let known = self.authorization.lock();
        known.unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Sends a GET, also to where the registry sends it on. Nobody but the registry is shown the authorization.
    async fn follow(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        authorization: Option<String>,
    ) -> std::result::Result<Response<Incoming>, Failed> {
        let odd = || Error::refused("the registry redirects to an address that is none");
        let first: Uri = url.parse().map_err(|_| odd())?;
        let mut at = first.clone();
        for _ in 0..=MOST_REDIRECTS {
            let mut request = Request::get(at.clone()).header("user-agent", AGENT);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if let Some(authorization) = authorization.as_ref().filter(|_| is_same_server(&first, &at)) {
                request = request.header(AUTHORIZATION, authorization);
            }
            let request = request.body(Full::default()).map_err(|_| {
                Error::new(
                    Kind::Invalid,
                    "the credentials hold characters that no header takes",
                )
            })?;
            let response = self.client.send(request).await?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let location = response
                .headers()
                .get(LOCATION)
                .and_then(|value| value.to_str().ok());
            let location = location.ok_or_else(odd)?;
            at = match location.strip_prefix('/') {
                Some(path) if !path.starts_with('/') => {
                    let (scheme, host) = (
                        at.scheme_str().unwrap_or("https"),
                        at.authority().ok_or_else(odd)?,
                    );
                    format!("{scheme}://{host}{location}")
                        .parse()
                        .map_err(|_| odd())?
                }
                _ => location.parse().map_err(|_| odd())?,
            };
            let is_secure = |uri: &Uri| uri.scheme_str() == Some("https");
            if is_secure(&first) && !is_secure(&at) {
                let text = "the registry redirects to an address without encryption, which is not followed";
                return Err(Error::refused(text).into());
            }
        }
        Err(Error::refused(format!("the registry redirects more than {MOST_REDIRECTS} times")).into())
    }

    fn check(&self, response: Response<Incoming>) -> std::result::Result<Response<Incoming>, Failed> {
        let (registry, status) = (self.reference.registry(), response.status());
        let error = match status {
            status if status.is_success() => return Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.unauthorized(status),
            StatusCode::NOT_FOUND => Error::new(
                Kind::NotFound,
                format!("{registry} has no {}: check its name and tag", self.reference),
            ),
            StatusCode::TOO_MANY_REQUESTS => Error::new(
                Kind::RateLimited,
                format!(
                    "{registry} answered 429: it was asked too often; wait, or log in for a higher limit"
                ),
            ),
            status if status.is_server_error() => Error::new(
                Kind::Unreachable,
                format!("{registry} answered {} for {}", status.as_u16(), self.reference),
            ),
            status => Error::refused(format!(
                "{registry} answered {} for {}",
                status.as_u16(),
                self.reference
            )),
        };
        Err(Failed {
            error,
            after: retry_after(response.headers()),
        })
    }

    fn unauthorized(&self, status: StatusCode) -> Error {
        let (registry, status) = (self.reference.registry(), status.as_u16());
        let text = match &self.login {
            None => format!(
                "{registry} answered {status} for {}: it is not public, or not there; give username and password",
                self.reference
            ),
            Some(_) => format!(
                "{registry} answered {status} for {}: check username and password, and that they may pull it",
                self.reference
            ),
        };
        Error::new(Kind::Unauthorized, text)
    }

    /// The header that answers a challenge. Source: distribution specification, "Token Authentication".
    async fn log_in(&self, challenges: &[String]) -> std::result::Result<String, Failed> {
        let mut wants_basic = false;
        for text in challenges {
            let Ok(parsed) = http_auth::parse_challenges(text) else {
                continue;
            };
            for challenge in parsed {
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    wants_basic = true;
                }
                if !challenge.scheme.eq_ignore_ascii_case("bearer") {
                    continue;
                }
                let parameter = |wanted: &str| {
                    let found = challenge
                        .params
                        .iter()
                        .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
                    found.map(|(_, value)| value.to_unescaped())
                };
                if let Some(realm) = parameter("realm") {
                    let token = self.token(&realm, parameter("service").as_deref()).await?;
                    return Ok(format!("Bearer {token}"));
                }
            }
        }
        match &self.login {
            Some(login) if wants_basic => Ok(login.header()),
            _ => Err(self.unauthorized(StatusCode::UNAUTHORIZED).into()),
        }
    }

    async fn token(&self, realm: &str, service: Option<&str>) -> std::result::Result<String, Failed> {
        #[derive(serde::Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let url = {
            // Not across an await: it cannot be sent to another thread.
            let mut query = form_urlencoded::Serializer::new(String::new());
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            query.append_pair(
                "scope",
                &format!("repository:{}:pull", self.reference.repository()),
            );
            let joint = if realm.contains('?') { '&' } else { '?' };
            format!("{realm}{joint}{}", query.finish())
        };
        let login = self.login.as_ref().map(Login::header);
        let response = self.follow(&url, &[], login).await?;
        let response = self.check(response)?;
        let answer: Option<Answer> = serde_json::from_slice(&whole(response, LARGEST_ANSWER).await?).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        let token = token.filter(|token| !token.is_empty() && token.chars().all(|c| c.is_ascii_graphic()));
        let odd = || {
            Error::new(
                Kind::Unreachable,
                "the registry's token server answered without a token",
            )
        };
        Ok(token.ok_or_else(odd)?)
    }
}

const AGENT: &str = concat!("nullspace-engine/", env!("CARGO_PKG_VERSION"));

fn is_same_server(a: &Uri, b: &Uri) -> bool {
    a.scheme() == b.scheme() && a.authority() == b.authority()
}
