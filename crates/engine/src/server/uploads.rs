//! `/v1/machines/{id}/uploads`, and the same of volumes. Source: PROTOCOL.md section 5.

use axum::body::{to_bytes, Body as Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use nullspace_wire::api;
use nullspace_wire::upload::{CompleteUploadRequest, CreateUploadRequest};

use super::body::Body;
use super::reply::{json, json_text, nothing, Answer};
use super::routes::Routes;
use super::Shared;
use crate::machine::files::Owner;
use crate::machine::{Error, Kind};

/// More than any part has.
const LARGEST_PART: usize = 32 << 20;

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new()
        .on(&api::CREATE_UPLOAD_SESSION, create)
        .on(&api::GET_UPLOAD_SESSION, show)
        .on(&api::ABORT_UPLOAD_SESSION, abort)
        .on(&api::UPLOAD_SESSION_PART, part)
        .on(&api::COMPLETE_UPLOAD_SESSION, complete)
        .on(&api::CREATE_VOLUME_UPLOAD_SESSION, create)
        .on(&api::GET_VOLUME_UPLOAD_SESSION, show)
        .on(&api::ABORT_VOLUME_UPLOAD_SESSION, abort)
        .on(&api::UPLOAD_VOLUME_SESSION_PART, part)
        .on(&api::COMPLETE_VOLUME_UPLOAD_SESSION, complete)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

async fn create(
    State(engine): Shared,
    owner: Owner,
    headers: HeaderMap,
    body: Body<CreateUploadRequest>,
) -> Answer {
    let key = header(&headers, "idempotency-key");
    Ok(json_text(
        StatusCode::OK,
        engine.create_upload(&owner, key, body.value).await?,
    ))
}

async fn show(State(engine): Shared, owner: Owner, Path((_, upload)): Path<(String, String)>) -> Answer {
    Ok(json(StatusCode::OK, &engine.get_upload(&owner, &upload)?))
}

async fn abort(State(engine): Shared, owner: Owner, Path((_, upload)): Path<(String, String)>) -> Answer {
    engine.abort_upload(&owner, &upload).await?;
    Ok(nothing())
}

async fn part(
    State(engine): Shared,
    owner: Owner,
    Path((_, upload, number)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let number = number
        .parse()
        .map_err(|_| Error::invalid("part_number", "is no number: parts count from 0"))?;
    let bytes = to_bytes(body, LARGEST_PART).await.map_err(|_| {
        Error::new(
            Kind::InvalidRequest,
            "the part ended early, or is larger than any part",
        )
    })?;
    let checksum = header(&headers, "x-nullspace-part-sha256");
    let session = engine.put_part(&owner, &upload, number, checksum, bytes).await?;
    Ok(json(StatusCode::OK, &session))
}

async fn complete(
    State(engine): Shared,
    owner: Owner,
    Path((_, upload)): Path<(String, String)>,
    body: Body<CompleteUploadRequest>,
) -> Answer {
    let done = engine
        .complete_upload(&owner, &upload, body.value.whole_checksum_sha256)
        .await?;
    Ok(json(StatusCode::OK, &done))
}
