//! A registry on loopback that does as it is told, also wrong.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{header, HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use axum::Router;
use nullspace_engine::images::Platform;
use serde_json::{json, Value};
use sha2::{Digest, Sha256};

pub const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// What happens to a request instead of what should.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Another status.
    Status(u16),
    /// 429, with so many seconds to wait.
    RetryAfter(u64),
    /// The connection ends after so many bytes.
    Cut(usize),
    /// All from the begin, whatever part is wanted.
    NoRange,
    /// Other bytes.
    Lie(Vec<u8>),
    /// A redirect.
    Redirect(String),
    /// Nothing, ever.
    Silence,
}

/// Who is let in.
#[derive(Clone, Debug, PartialEq)]
pub enum RegistryAccess {
    Open,
    /// With a token, which its token server gives to who logs in so.
    Token {
        username: String,
        password: String,
    },
    /// With a token that anybody gets.
    PublicToken,
    /// With a name and a password.
    Basic {
        username: String,
        password: String,
    },
    /// With a token from elsewhere.
    Realm(String),
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub authorization: Option<String>,
    pub range: Option<String>,
    pub headers: HeaderMap,
}

#[derive(Default)]
struct Inner {
    things: HashMap<String, (String, Bytes)>,
    seen: Vec<Seen>,
    faults: Vec<(String, VecDeque<Fault>)>,
    door: Option<RegistryAccess>,
}

/// The registry.
pub struct Registry {
    pub address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// The token that everybody gets who gets one.
pub const TOKEN: &str = "t0ken-of-the-registry";

pub fn basic(username: &str, password: &str) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
    format!("Basic {text}")
}

impl Registry {
    pub async fn start() -> Self {
        Self::on(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap()).await
    }

    pub async fn on(listener: impl Listener<Addr = SocketAddr>) -> Self {
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Mutex::new(Inner::default()));
        let app = Router::new()
            .fallback(answer)
            .with_state((inner.clone(), address));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            inner,
            server,
        }
    }

    /// Adds a blob: its descriptor.
    pub fn blob(&self, media_type: &str, bytes: impl Into<Vec<u8>>) -> Value {
        let bytes = bytes.into();
        let (name, size) = (digest(&bytes), bytes.len());
        self.put(
            &format!("/v2/app/blobs/{name}"),
            "application/octet-stream",
            bytes,
        );
        json!({ "mediaType": media_type, "digest": name, "size": size })
    }

    /// Adds a manifest under its digest, and a tag if there is one: its descriptor.
    pub fn manifest(&self, tag: Option<&str>, media_type: &str, document: &Value) -> Value {
        let bytes = serde_json::to_vec(document).unwrap();
        let name = digest(&bytes);
        for version in [Some(name.as_str()), tag].into_iter().flatten() {
            self.put(&format!("/v2/app/manifests/{version}"), media_type, bytes.clone());
        }
        json!({ "mediaType": media_type, "digest": name, "size": bytes.len() })
    }

    /// Publishes an image: layers are media type, archive as it is sent, and archive without compression.
    pub fn publish(&self, tag: &str, layers: &[(&str, Vec<u8>, Vec<u8>)], run: Value) -> Value {
        let diff_ids: Vec<String> = layers.iter().map(|(_, _, plain)| digest(plain)).collect();
        let platform = Platform::host();
        let config = json!({
            "os": platform.os, "architecture": platform.architecture, "config": run,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = self.blob(CONFIG, serde_json::to_vec(&config).unwrap());
        let layers: Vec<Value> = layers
            .iter()
            .map(|(kind, sent, _)| self.blob(kind, sent.clone()))
            .collect();
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        self.manifest(Some(tag), MANIFEST, &manifest)
    }

    pub fn put(&self, path: &str, media_type: &str, bytes: Vec<u8>) {
        let mut inner = self.inner.lock().unwrap();
        inner
            .things
            .insert(path.to_owned(), (media_type.to_owned(), bytes.into()));
    }

    /// Lets the next requests to paths that contain `part` fail so.
    pub fn fail(&self, part: &str, faults: impl IntoIterator<Item = Fault>) {
        let mut inner = self.inner.lock().unwrap();
        inner.faults.push((part.to_owned(), faults.into_iter().collect()));
    }

    pub fn close_door(&self, door: RegistryAccess) {
        self.inner.lock().unwrap().door = Some(door);
    }

    /// Requests so far, to paths that contain `part`.
    pub fn seen(&self, part: &str) -> Vec<Seen> {
        let inner = self.inner.lock().unwrap();
        inner
            .seen
            .iter()
            .filter(|seen| seen.path.contains(part))
            .cloned()
            .collect()
    }

    pub fn name(&self, tag: &str) -> String {
        format!("{}/app:{tag}", self.address)
    }
}

async fn answer(
    State((inner, address)): State<(Arc<Mutex<Inner>>, SocketAddr)>,
    request: Request,
) -> Response {
    let path = request.uri().path_and_query().unwrap().to_string();
    let headers = request.headers().clone();
    drop(request);
    let header = |name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let authorization = header(header::AUTHORIZATION);
    let range = header(header::RANGE);
    let (door, fault, thing) = {
        let mut inner = inner.lock().unwrap();
        inner.seen.push(Seen {
            path: path.clone(),
            authorization: authorization.clone(),
            range: range.clone(),
            headers: headers.clone(),
        });
        let faults = inner
            .faults
            .iter_mut()
            .filter(|(part, _)| path.contains(part.as_str()));
        let fault = faults.filter_map(|(_, faults)| faults.pop_front()).next();
        (
            inner.door.clone().unwrap_or(RegistryAccess::Open),
            fault,
            inner.things.get(&path).cloned(),
        )
    };
    if path.starts_with("/token") {
        return match (&door, &fault) {
            (_, Some(Fault::Status(status))) => StatusCode::from_u16(*status).unwrap().into_response(),
            (RegistryAccess::PublicToken, _) => json!({ "token": TOKEN }).to_string().into_response(),
            (RegistryAccess::Token { username, password }, _)
                if authorization == Some(basic(username, password)) =>
            {
                json!({ "access_token": TOKEN }).to_string().into_response()
            }
            _ => StatusCode::UNAUTHORIZED.into_response(),
        };
    }
    if path.starts_with("/v2/") {
        let (wanted, challenge) = match &door {
            RegistryAccess::Open => (authorization.clone(), String::new()),
            RegistryAccess::Basic { username, password } => (Some(basic(username, password)), "Basic realm=\"x\"".into()),
            RegistryAccess::Realm(realm) => (Some(String::new()), format!("Bearer realm=\"{realm}\",service=\"s\"")),
            RegistryAccess::Token { .. } | RegistryAccess::PublicToken => (
                Some(format!("Bearer {TOKEN}")),
                format!("Bearer realm=\"http://{address}/token\",service=\"the registry\",scope=\"repository:app:pull\""),
            ),
        };
        if authorization != wanted {
            return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response();
        }
    }
    let (media_type, mut bytes) = match thing {
        Some(thing) => thing,
        None => return StatusCode::NOT_FOUND.into_response(),
    };
    let (mut cut, mut range) = (None, range);
    match fault {
        None => {}
        Some(Fault::NoRange) => range = None,
        Some(Fault::Status(status)) => return StatusCode::from_u16(status).unwrap().into_response(),
        Some(Fault::RetryAfter(seconds)) => {
            return (
                StatusCode::TOO_MANY_REQUESTS,
                [(header::RETRY_AFTER, seconds.to_string())],
            )
                .into_response()
        }
        Some(Fault::Redirect(to)) => {
            return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()
        }
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::Lie(other)) => bytes = other.into(),
        Some(Fault::Cut(after)) => cut = Some(after),
    }
    let total = bytes.len();
    let begin = range.and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse::<usize>()
            .ok()
    });
    let mut response = Response::builder().header(header::CONTENT_TYPE, media_type);
    if let Some(begin) = begin {
        bytes = bytes.slice(begin..);
        response = response.status(StatusCode::PARTIAL_CONTENT).header(
            header::CONTENT_RANGE,
            format!("bytes {begin}-{}/{total}", total - 1),
        );
    }
    response = response.header(header::CONTENT_LENGTH, bytes.len());
    let body = match cut {
        None => Body::from(bytes),
        Some(after) => {
            let some = Ok(bytes.slice(..after.min(bytes.len())));
            // Its end is no end: the client is to have read what came by then.
            let end = async {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                Err(std::io::Error::other("cut"))
            };
            use futures_util::stream::{once, StreamExt};
            Body::from_stream(once(async { some }).chain(once(end)))
        }
    };
    response.body(body).unwrap()
}
