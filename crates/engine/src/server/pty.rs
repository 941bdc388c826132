//! `/v1/machines/{id}/pty`: open terminals.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use nullspace_wire::api;
use nullspace_wire::exec::ResizeRequest;

use super::body::Body;
use super::reply::{json, nothing, Answer};
use super::routes::Routes;
use super::Shared;
use crate::machine::commands::terminals::{size, Which};

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new()
        .on(&api::LIST_PTY_SESSIONS, list)
        .on(&api::GET_PTY_SESSION, show)
        .on(&api::KILL_PTY_SESSION, kill)
        .on(&api::RESIZE_PTY_SESSION, resize)
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
