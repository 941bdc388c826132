//! `/v1/machines/{id}/git`. Source: PROTOCOL.md section 7.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::Router;
use nullspace_wire::git::{
    GitAddRequest, GitBranchRequest, GitCheckoutRequest, GitCloneRequest, GitCloneResponse, GitCommitRequest,
    GitCommitResponse, GitLog, GitOkResponse, GitSyncRequest, GitSyncResponse,
};

use super::body::Body;
use super::params::Params;
use super::reply::{json, Answer};
use super::Shared;
use crate::machine::Engine;

/// Where a repository is when nobody says.
const DEFAULT_PATH: &str = "/workspace";

/// Routes of this resource.
pub fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/v1/machines/{id}/git/clone", post(clone))
        .route("/v1/machines/{id}/git/status", get(status))
        .route("/v1/machines/{id}/git/log", get(log))
        .route("/v1/machines/{id}/git/branch", get(branches).post(branch))
        .route("/v1/machines/{id}/git/checkout", post(checkout))
        .route("/v1/machines/{id}/git/add", post(add))
        .route("/v1/machines/{id}/git/commit", post(commit))
        .route("/v1/machines/{id}/git/pull", post(pull))
        .route("/v1/machines/{id}/git/push", post(push))
}

fn repository(params: &Params) -> String {
    params.text("path").unwrap_or_else(|| DEFAULT_PATH.to_owned())
}

fn ok() -> Answer {
    Ok(json(StatusCode::OK, &GitOkResponse { ok: true }))
}

async fn clone(State(engine): Shared, Path(id): Path<String>, body: Body<GitCloneRequest>) -> Answer {
    let path = engine.git_clone(&id, body.value).await?;
    Ok(json(StatusCode::OK, &GitCloneResponse { path }))
}

async fn status(State(engine): Shared, Path(id): Path<String>, params: Params) -> Answer {
    Ok(json(
        StatusCode::OK,
        &engine.git_status(&id, &repository(&params)).await?,
    ))
}

async fn log(State(engine): Shared, Path(id): Path<String>, params: Params) -> Answer {
    let limit = params.parsed("limit", "10")?;
    let commits = engine.git_log(&id, &repository(&params), limit).await?;
    Ok(json(StatusCode::OK, &GitLog { commits }))
}

async fn branches(State(engine): Shared, Path(id): Path<String>, params: Params) -> Answer {
    Ok(json(
        StatusCode::OK,
        &engine.git_branches(&id, &repository(&params)).await?,
    ))
}

async fn branch(State(engine): Shared, Path(id): Path<String>, body: Body<GitBranchRequest>) -> Answer {
    engine.git_branch(&id, body.value).await?;
    ok()
}

async fn checkout(State(engine): Shared, Path(id): Path<String>, body: Body<GitCheckoutRequest>) -> Answer {
    engine.git_checkout(&id, body.value).await?;
    ok()
}

async fn add(State(engine): Shared, Path(id): Path<String>, body: Body<GitAddRequest>) -> Answer {
    engine.git_add(&id, body.value).await?;
    ok()
}

async fn commit(State(engine): Shared, Path(id): Path<String>, body: Body<GitCommitRequest>) -> Answer {
    let sha = engine.git_commit(&id, body.value).await?;
    Ok(json(StatusCode::OK, &GitCommitResponse { sha }))
}

async fn pull(State(engine): Shared, Path(id): Path<String>, body: Body<GitSyncRequest>) -> Answer {
    let summary = engine.git_pull(&id, body.value).await?;
    Ok(json(StatusCode::OK, &GitSyncResponse { summary }))
}

async fn push(State(engine): Shared, Path(id): Path<String>, body: Body<GitSyncRequest>) -> Answer {
    let summary = engine.git_push(&id, body.value).await?;
    Ok(json(StatusCode::OK, &GitSyncResponse { summary }))
}
