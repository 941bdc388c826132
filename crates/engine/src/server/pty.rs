//! `/v1/machines/{id}/pty`: open terminals.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::Router;
use nullspace_wire::exec::ResizeRequest;

use super::body::Body;
use super::reply::{json, nothing, Answer};
use super::Shared;
use crate::machine::terminals::{size, Which};
use crate::machine::Engine;

/// Routes of this resource.
pub fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/v1/machines/{id}/pty", get(list))
        .route("/v1/machines/{id}/pty/{sid}", get(show).delete(kill))
        .route("/v1/machines/{id}/pty/{sid}/resize", post(resize))
}

async fn list(State(engine): Shared, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &engine.list_terminals(&id).await?))
}

async fn show(State(engine): Shared, Path((id, session)): Path<(String, String)>) -> Answer {
    let info = engine.terminal(&id, &Which::Session(session)).await?;
    Ok(json(StatusCode::OK, &info))
}

async fn kill(State(engine): Shared, Path((id, session)): Path<(String, String)>) -> Answer {
    engine.kill_terminal(&id, &Which::Session(session)).await?;
    Ok(nothing())
}

async fn resize(
    State(engine): Shared,
    Path((id, session)): Path<(String, String)>,
    body: Body<ResizeRequest>,
) -> Answer {
    let size = size(u64::from(body.value.cols), u64::from(body.value.rows))?;
    engine
        .resize_terminal(&id, &Which::Session(session), size)
        .await?;
    Ok(nothing())
}
