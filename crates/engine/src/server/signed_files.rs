//! Addresses of single files that need no key: `POST .../files/download-url` and `upload-url`.
//!
//! The address carries what it allows (whose file, path, user, reading or writing, until when) and a MAC of that. Its key
//! comes from the API key, so that a restarted engine with the same key takes it too. It stands in the query, which is
//! never logged. Source: PROTOCOL.md section 14.

use std::sync::Arc;

use axum::body::Body as Bytes;
use axum::extract::{Extension, Request, State};
use axum::http::{header, HeaderMap, Method, StatusCode, Uri};
use axum::routing::get;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use nullspace_wire::api;
use nullspace_wire::files::{DownloadUrlRequest, DownloadUrlResponse, PathRequest, UploadUrlResponse};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::access::Scheme;
use super::body::Body;
use super::files;
use super::reply::{json, Answer};
use super::routes::Routes;
use super::Shared;
use crate::machine::files::Owner;
use crate::machine::{Engine, Error, Kind};

/// Where the addresses of files of machines lead; those of volumes have a path in the API.
pub const PATH: &str = "/v1/signed-file";
/// How long an address holds, seconds.
const LIFETIME: u64 = 3600;

/// What an address allows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    owner: Owner,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    write: bool,
    /// A directory is read, as an archive.
    #[serde(default)]
    tar: bool,
    /// Seconds since 1970.
    expires: u64,
}

/// Makes and checks tokens.
#[derive(Clone)]
pub struct Signer(Hmac<Sha256>);

impl Signer {
    /// `key`: the API key.
    pub fn new(key: &str) -> Self {
        let secret = Sha256::new()
            .chain_update("nullspace signed file\0")
            .chain_update(key)
            .finalize();
        Self(Hmac::new(&hmac_key(&secret)))
    }

    fn sign(&self, grant: &Grant) -> Result<String, Error> {
        let payload =
            serde_json::to_vec(grant).map_err(|error| Error::internal("signing an address", error))?;
        let mac = self.0.clone().chain_update(&payload).finalize().into_bytes();
        Ok(format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(payload),
            URL_SAFE_NO_PAD.encode(mac)
        ))
    }

    /// What the token of a request allows, if it is one of ours and still holds.
    pub fn check(&self, request: &Request) -> Result<Grant, Error> {
        let refused = |why: &str| Err(refusal(why));
        let query = request.uri().query().unwrap_or_default();
        let wanted = match volume_of(request.uri().path()) {
            Some(_) => "grant",
            None => "token",
        };
        let token = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted);
        let parts = token.as_ref().and_then(|(_, token)| token.split_once('.'));
        let decoded = parts.and_then(|(payload, mac)| {
            Some((
                URL_SAFE_NO_PAD.decode(payload).ok()?,
                URL_SAFE_NO_PAD.decode(mac).ok()?,
            ))
        });
        let Some((payload, mac)) = decoded else {
            return refused(NO_TOKEN);
        };
        if self.0.clone().chain_update(&payload).verify_slice(&mac).is_err() {
            return refused("was not made by this engine, or with another key");
        }
        let Ok(grant) = serde_json::from_slice::<Grant>(&payload) else {
            return refused(NO_TOKEN);
        };
        let is_here = match (&grant.owner, volume_of(request.uri().path())) {
            (Owner::Machine(_), None) => true,
            (Owner::Volume(id), Some(here)) => id == here,
            _ => false,
        };
        if !is_here {
            return refused("is for another path");
        }
        if grant.expires < now() {
            return refused("has expired");
        }
        // HEAD tells of a file what GET does.
        let is_read = [Method::GET, Method::HEAD].contains(request.method());
        if grant.write == is_read {
            return refused(if grant.write {
                "is for writing"
            } else {
                "is for reading"
            });
        }
        Ok(grant)
    }
}

/// A digest as the block of HMAC: longer than the digest, filled with zeros (RFC 2104).
fn hmac_key(secret: &[u8]) -> hmac::digest::Key<Hmac<Sha256>> {
    let mut key = hmac::digest::Key::<Hmac<Sha256>>::default();
    key[..secret.len()].copy_from_slice(secret);
    key
}

fn now() -> u64 {
    u64::try_from(crate::machine::unix_seconds()).unwrap_or(0)
}

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new()
        .on(&api::DOWNLOAD_URL, download_url)
        .on(&api::UPLOAD_URL, upload_url)
        .on(&api::VOLUME_DOWNLOAD_URL, download_url)
        .on(&api::VOLUME_UPLOAD_URL, upload_url)
        .on(&api::DOWNLOAD_VOLUME_FILE_DIRECT, download)
        .on(&api::UPLOAD_VOLUME_FILE_DIRECT, upload)
        .on(&api::UPLOAD_VOLUME_FILE_MULTIPART_DIRECT, upload)
        .outside(PATH, get(download).put(upload).post(upload))
}

/// The volume whose signed addresses lead to a path.
fn volume_of(path: &str) -> Option<&str> {
    let id = path.strip_prefix("/v1/volumes/")?.strip_suffix("/file")?;
    // Not a volume by its name, `/v1/volumes/by-name/file`, which needs the key.
    (id != "by-name" && !id.contains('/')).then_some(id)
}

/// Why an address of a file that has no token, or none that can be read, is refused.
pub const NO_TOKEN: &str = "has no valid token";

/// An address of a file that opens nothing.
pub fn refusal(why: &str) -> Error {
    Error::new(Kind::Unauthorized, format!("this address of a file {why}"))
        .with_action("make a new one with files.downloadUrl or files.uploadUrl")
}

/// Whose file an address leads to, as far as it says: a gateway passes it to that node, which checks the rest.
pub fn whose(uri: &Uri) -> Option<String> {
    let (_, token) = form_urlencoded::parse(uri.query()?.as_bytes()).find(|(name, _)| name == "token")?;
    let (payload, _) = token.split_once('.')?;
    let grant: Grant = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    Some(match grant.owner {
        Owner::Machine(id) | Owner::Volume(id) => id,
    })
}

/// Whether a request needs no key but a token.
pub fn is_signed(method: &Method, path: &str) -> bool {
    let is_of_file = [Method::GET, Method::HEAD, Method::PUT, Method::POST].contains(method);
    is_of_file && (path == PATH || volume_of(path).is_some())
}

async fn download_url(
    State(engine): Shared,
    Extension(signer): Extension<Signer>,
    Extension(scheme): Extension<Scheme>,
    owner: Owner,
    headers: HeaderMap,
    body: Body<DownloadUrlRequest>,
) -> Answer {
    let DownloadUrlRequest {
        path,
        user,
        archive_format,
    } = body.value;
    let tar = files::wants_archive(archive_format.as_deref())?;
    let wanted = Grant {
        owner,
        path,
        user,
        write: false,
        tar,
        expires: 0,
    };
    let (url, _) = address(&engine, &signer, scheme, &headers, wanted).await?;
    Ok(json(StatusCode::OK, &DownloadUrlResponse { url }))
}

async fn upload_url(
    State(engine): Shared,
    Extension(signer): Extension<Signer>,
    Extension(scheme): Extension<Scheme>,
    owner: Owner,
    headers: HeaderMap,
    body: Body<PathRequest>,
) -> Answer {
    let PathRequest { path, user } = body.value;
    let tells_token = matches!(owner, Owner::Machine(_));
    let wanted = Grant {
        owner,
        path,
        user,
        write: true,
        tar: false,
        expires: 0,
    };
    let (url, token) = address(&engine, &signer, scheme, &headers, wanted).await?;
    let token = tells_token.then_some(token);
    Ok(json(StatusCode::OK, &UploadUrlResponse { url, token }))
}

/// The address of a grant, whose path is as it was asked for, from now on; and its token.
async fn address(
    engine: &Arc<Engine>,
    signer: &Signer,
    Scheme(scheme): Scheme,
    headers: &HeaderMap,
    mut grant: Grant,
) -> Result<(String, String), Error> {
    // Whose it is and the user are looked at now, the file when the address is used.
    let mut session = engine.files_of(&grant.owner, grant.user.clone()).await?;
    grant.path = session.path("path", &grant.path).await?;
    grant.expires = now() + LIFETIME;
    let token = signer.sign(&grant)?;
    // As the caller reached us: the guard has looked at it.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.ok_or_else(|| Error::new(Kind::InvalidRequest, "the request has no `Host`"))?;
    let place = match &grant.owner {
        Owner::Machine(_) => format!("{PATH}?token="),
        Owner::Volume(id) => format!("/v1/volumes/{id}/file?grant="),
    };
    Ok((format!("{scheme}://{host}{place}{token}"), token))
}

async fn download(State(engine): Shared, Extension(grant): Extension<Grant>, headers: HeaderMap) -> Answer {
    files::send(
        &engine,
        &grant.owner,
        grant.user,
        &grant.path,
        grant.tar,
        &headers,
    )
    .await
}

async fn upload(
    State(engine): Shared,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let Grant {
        owner, path, user, ..
    } = grant;
    files::receive(&engine, &owner, user, &path, &headers, body, None).await
}
