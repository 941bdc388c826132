//! Addresses of single files that need no key: `POST .../files/download-url` and `upload-url`.
//!
//! The address carries what it allows (machine, path, user, reading or writing, until when) and a MAC of that. Its key
//! comes from the API key, so that a restarted engine with the same key takes it too. It stands in the query, which is
//! never logged. Source: PROTOCOL.md section 14.

use std::sync::Arc;

use axum::body::Body as Bytes;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{header, HeaderMap, Method, StatusCode};
use axum::routing::get;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use nullspace_wire::api;
use nullspace_wire::files::{DownloadUrlResponse, PathRequest, UploadUrlResponse};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::body::Body;
use super::files;
use super::reply::{json, Answer};
use super::routes::Routes;
use super::Shared;
use crate::machine::{Engine, Error, Kind};

/// Where the addresses lead.
pub const PATH: &str = "/v1/signed-file";
/// How long an address holds, seconds.
const LIFETIME: u64 = 3600;

/// What an address allows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    machine: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    write: bool,
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
        let refused = |why: &str| {
            Err(
                Error::new(Kind::Unauthorized, format!("this address of a file {why}"))
                    .with_action("make a new one with files.downloadUrl or files.uploadUrl"),
            )
        };
        let query = request.uri().query().unwrap_or_default();
        let token = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token");
        let parts = token.as_ref().and_then(|(_, token)| token.split_once('.'));
        let decoded = parts.and_then(|(payload, mac)| {
            Some((
                URL_SAFE_NO_PAD.decode(payload).ok()?,
                URL_SAFE_NO_PAD.decode(mac).ok()?,
            ))
        });
        let Some((payload, mac)) = decoded else {
            return refused("has no valid token");
        };
        if self.0.clone().chain_update(&payload).verify_slice(&mac).is_err() {
            return refused("was not made by this engine, or with another key");
        }
        let Ok(grant) = serde_json::from_slice::<Grant>(&payload) else {
            return refused("has no valid token");
        };
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
        .outside(PATH, get(download).put(upload).post(upload))
}

async fn download_url(
    State(engine): Shared,
    Extension(signer): Extension<Signer>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body<PathRequest>,
) -> Answer {
    let (url, _) = address(&engine, &signer, id, &headers, body.value, false).await?;
    Ok(json(StatusCode::OK, &DownloadUrlResponse { url }))
}

async fn upload_url(
    State(engine): Shared,
    Extension(signer): Extension<Signer>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body<PathRequest>,
) -> Answer {
    let (url, token) = address(&engine, &signer, id, &headers, body.value, true).await?;
    Ok(json(StatusCode::OK, &UploadUrlResponse { url, token }))
}

async fn address(
    engine: &Arc<Engine>,
    signer: &Signer,
    machine: String,
    headers: &HeaderMap,
    request: PathRequest,
    write: bool,
) -> Result<(String, String), Error> {
    // The machine and the user are looked at now, the file when the address is used.
    let mut session = engine.files(&machine, request.user.clone()).await?;
    let grant = Grant {
        path: session.path("path", &request.path).await?,
        machine,
        user: request.user,
        write,
        expires: now() + LIFETIME,
    };
    let token = signer.sign(&grant)?;
    // As the caller reached us: the guard has looked at it.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.ok_or_else(|| Error::new(Kind::InvalidRequest, "the request has no `Host`"))?;
    Ok((format!("http://{host}{PATH}?token={token}"), token))
}

async fn download(State(engine): Shared, Extension(grant): Extension<Grant>, headers: HeaderMap) -> Answer {
    files::send(&engine, &grant.machine, grant.user, &grant.path, &headers).await
}

async fn upload(
    State(engine): Shared,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let Grant {
        machine, path, user, ..
    } = grant;
    files::receive(&engine, &machine, user, &path, &headers, body, None).await
}
