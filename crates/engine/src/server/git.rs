//! `/v1/machines/{id}/git`. Source: PROTOCOL.md section 7.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use nullspace_wire::api;
use nullspace_wire::git::{
    GitAddRequest, GitBranchRequest, GitCheckoutRequest, GitCloneRequest, GitCloneResponse, GitCommitRequest,
    GitCommitResponse, GitLog, GitOkResponse, GitSyncRequest, GitSyncResponse,
};

use super::body::Body;
use super::params::Params;
use super::reply::{json, Answer};
use super::routes::Routes;
use super::Shared;

/// Where a repository is when nobody says.
const DEFAULT_PATH: &str = "/workspace";

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new()
        .on(&api::GIT_CLONE, clone)
        .on(&api::GIT_STATUS, status)
        .on(&api::GIT_LOG, log)
        .on(&api::GIT_BRANCH_LIST, branches)
        .on(&api::GIT_BRANCH, branch)
        .on(&api::GIT_CHECKOUT, checkout)
        .on(&api::GIT_ADD, add)
        .on(&api::GIT_COMMIT, commit)
        .on(&api::GIT_PULL, pull)
        .on(&api::GIT_PUSH, push)
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
