//! Forms of files: `POST .../files/batch-write`, and the part `file` of an upload. Source: PROTOCOL.md section 5.

use axum::body::Body as Bytes;
use axum::extract::{Path, State};
use axum::http::{header, HeaderMap, StatusCode};
use multer::Multipart;
use nullspace_wire::api;
use nullspace_wire::files::{BatchWriteResponse, BatchWriteResult};
use serde::Deserialize;

use super::files::{store, wanted_mode};
use super::reply::{json, Answer};
use super::routes::Routes;
use super::Shared;
use crate::machine::files::FileSession;
use crate::machine::{Error, Kind};

/// Most files of one batch.
const MOST_FILES: usize = 10_000;
/// Most bytes of a manifest: 8 MiB.
const LARGEST_MANIFEST: usize = 8 << 20;

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new().on(&api::BATCH_WRITE_FILES, write)
}

#[derive(Deserialize)]
struct Manifest {
    files: Vec<Entry>,
    #[serde(default)]
    user: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    path: String,
    field: String,
    /// Permission bits, octal.
    #[serde(default)]
    mode: Option<String>,
}

/// The boundary of a form; `None` when the body is none.
pub fn boundary(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    multer::parse_boundary(kind).ok()
}

fn broken(error: multer::Error) -> Error {
    Error::new(Kind::InvalidRequest, format!("the form cannot be read: {error}"))
}

/// Writes the part `file` to a path.
pub async fn file_part(
    files: &mut FileSession,
    path: String,
    boundary: &str,
    body: Bytes,
    mode: Option<u32>,
) -> Result<(), Error> {
    let mut form = Multipart::new(body.into_data_stream(), boundary);
    while let Some(part) = form.next_field().await.map_err(broken)? {
        if part.name() == Some("file") {
            store(files, path, part, mode).await?;
            return Ok(());
        }
    }
    Err(Error::new(Kind::InvalidRequest, "the form has no part `file`"))
}

/// Every file is on its own: one that cannot be written does not stop the others.
async fn write(State(engine): Shared, Path(id): Path<String>, headers: HeaderMap, body: Bytes) -> Answer {
    let boundary = boundary(&headers).ok_or_else(|| {
        Error::new(
            Kind::InvalidRequest,
            "the body is no form: send multipart/form-data with a part `manifest` and the files",
        )
    })?;
    let mut form = Multipart::new(body.into_data_stream(), boundary);
    let manifest = match form.next_field().await.map_err(broken)? {
        Some(part) if part.name() == Some("manifest") => read_manifest(part).await?,
        _ => {
            return Err(Error::new(
                Kind::InvalidRequest,
                "the first part of the form is not `manifest`",
            )
            .into())
        }
    };
    let mut results: Vec<Option<BatchWriteResult>> = manifest.files.iter().map(|_| None).collect();
    let mut session = engine.files(&id, manifest.user.clone()).await?;
    while let Some(part) = form.next_field().await.map_err(broken)? {
        let name = part.name().unwrap_or_default();
        let Some(index) = manifest.files.iter().position(|entry| entry.field == name) else {
            return Err(Error::new(
                Kind::InvalidRequest,
                format!("the manifest does not name the part {name:?}"),
            )
            .into());
        };
        let Entry { path, mode, .. } = &manifest.files[index];
        let written = match (wanted_mode(mode.as_deref()), session.path("path", path).await) {
            (Ok(mode), Ok(full)) => store(&mut session, full, part, mode).await,
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        results[index] = Some(match written {
            Ok(info) => BatchWriteResult {
                status: "success".to_owned(),
                path: path.clone(),
                info: Some(info),
                error: None,
            },
            Err(error) => {
                // What was begun is removed with the session.
                session = engine.files(&id, manifest.user.clone()).await?;
                failed(path, error.message)
            }
        });
    }
    let missing = |entry: &Entry| failed(&entry.path, format!("the form has no part {:?}", entry.field));
    let results = manifest
        .files
        .iter()
        .zip(results)
        .map(|(entry, result)| result.unwrap_or_else(|| missing(entry)))
        .collect();
    Ok(json(StatusCode::OK, &BatchWriteResponse { results }))
}

fn failed(path: &str, why: String) -> BatchWriteResult {
    BatchWriteResult {
        status: "error".to_owned(),
        path: path.to_owned(),
        info: None,
        error: Some(why),
    }
}

async fn read_manifest(mut part: multer::Field<'_>) -> Result<Manifest, Error> {
    let mut text = Vec::new();
    while let Some(chunk) = part.chunk().await.map_err(broken)? {
        if text.len() + chunk.len() > LARGEST_MANIFEST {
            return Err(Error::new(Kind::TooLarge, "the manifest is larger than 8 MiB"));
        }
        text.extend_from_slice(&chunk);
    }
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| {
        Error::new(
            Kind::InvalidRequest,
            format!("the manifest cannot be read: {error}"),
        )
    })?;
    if manifest.files.len() > MOST_FILES {
        let text = format!("a batch takes at most {MOST_FILES} files");
        return Err(Error::new(Kind::InvalidRequest, text));
    }
    Ok(manifest)
}
