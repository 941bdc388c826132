//! `/v1/snapshots` and the snapshots of a machine.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};

use nullspace_wire::api;
use nullspace_wire::machine::CreateSnapshotRequest;

use super::body::Body;
use super::machines::idempotency_key;
use super::params::Params;
use super::reply::{json, json_text, nothing, Answer};
use super::routes::Routes;
use super::Shared;

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new()
        .on(&api::CREATE_SNAPSHOT, create)
        .on(&api::LIST_SNAPSHOTS, list)
        .on(&api::GET_SNAPSHOT, show)
        .on(&api::DELETE_SNAPSHOT, delete)
}

async fn create(
    State(engine): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body<CreateSnapshotRequest>,
) -> Answer {
    let key = idempotency_key(&headers)?;
    let made = engine.create_snapshot(&id, key, body.value, &body.raw).await?;
    Ok(json_text(StatusCode::CREATED, made))
}

async fn list(State(engine): Shared, params: Params) -> Answer {
    let metadata = params.object("metadata")?;
    let snapshots = engine
        .list_snapshots(params.text("machine_id"), &metadata)
        .await?;
    Ok(json(StatusCode::OK, &snapshots))
}

async fn show(State(engine): Shared, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &engine.snapshot(&id).await?.info()))
}

async fn delete(State(engine): Shared, Path(id): Path<String>) -> Answer {
    engine.delete_snapshot(&id).await?;
    Ok(nothing())
}
