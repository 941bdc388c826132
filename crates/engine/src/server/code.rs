//! `/v1/machines/{id}/code`: the code interpreter.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use nullspace_wire::api;
use nullspace_wire::code::{
    CodeExecuteRequest, CodeOutputEvent, CodeRunCreateRequest, CreateCodeContextRequest,
};
use serde_json::json as value;

use super::body::Body;
use super::params::Params;
use super::reply::{events, json, nothing, Answer, Events};
use super::routes::Routes;
use super::{files, Shared};
use crate::machine::code::artifacts::Filter;
use crate::machine::code::cell::Running;
use crate::machine::files::Owner;
use crate::machine::Error;

/// Items of a page when the client does not say, and at most.
const PAGE: (usize, usize) = (50, 200);

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new()
        .on(&api::EXECUTE_CODE, execute)
        .on(&api::LIST_CODE_CONTEXTS, contexts)
        .on(&api::CREATE_CODE_CONTEXT, create_context)
        .on(&api::DELETE_CODE_CONTEXT, remove_context)
        .on(&api::RESTART_CODE_CONTEXT, restart_context)
        .on(&api::INTERRUPT_CODE_CONTEXT, interrupt_context)
        .on(&api::LIST_CODE_RUNS, runs)
        .on(&api::CREATE_CODE_RUN, create_run)
        .on(&api::GET_CODE_RUN, run)
        .on(&api::CANCEL_CODE_RUN, cancel_run)
        .on(&api::LIST_CODE_ARTIFACTS, artifacts)
        .on(&api::GET_CODE_ARTIFACT, artifact)
        .on(&api::DELETE_CODE_ARTIFACT, delete_artifact)
        .on(&api::DOWNLOAD_CODE_ARTIFACT, download)
        .on(&api::PREVIEW_CODE_ARTIFACT, download)
}

/// The events of a cell as they come. A client that goes away stops the cell.
async fn execute(State(engine): Shared, Path(id): Path<String>, body: Body<CodeExecuteRequest>) -> Answer {
    let running = engine.execute_code(&id, body.value).await?;
    Ok(events(running))
}

impl Events for Running {
    type Event = CodeOutputEvent;

    async fn next(&mut self) -> Option<CodeOutputEvent> {
        self.events.recv().await
    }
}

async fn contexts(State(engine): Shared, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &engine.list_code_contexts(&id).await?))
}

async fn create_context(
    State(engine): Shared,
    Path(id): Path<String>,
    body: Body<CreateCodeContextRequest>,
) -> Answer {
    let made = engine.create_code_context(&id, body.value).await?;
    Ok(json(StatusCode::CREATED, &made))
}

async fn remove_context(State(engine): Shared, Path((id, context)): Path<(String, String)>) -> Answer {
    engine.remove_code_context(&id, &context).await?;
    Ok(nothing())
}

async fn restart_context(State(engine): Shared, Path((id, context)): Path<(String, String)>) -> Answer {
    engine.restart_code_context(&id, &context).await?;
    Ok(json(StatusCode::OK, &value!({ "status": "restarted" })))
}

async fn interrupt_context(State(engine): Shared, Path((id, context)): Path<(String, String)>) -> Answer {
    engine.interrupt_code_context(&id, &context).await?;
    Ok(json(StatusCode::OK, &value!({ "status": "interrupted" })))
}

async fn create_run(
    State(engine): Shared,
    Path(id): Path<String>,
    body: Body<CodeRunCreateRequest>,
) -> Answer {
    let made = engine.create_code_run(&id, body.value).await?;
    Ok(json(StatusCode::ACCEPTED, &made))
}

async fn run(State(engine): Shared, Path((id, run)): Path<(String, String)>) -> Answer {
    Ok(json(StatusCode::OK, &engine.code_run(&id, &run).await?))
}

async fn cancel_run(State(engine): Shared, Path((id, run)): Path<(String, String)>) -> Answer {
    Ok(json(StatusCode::OK, &engine.cancel_code_run(&id, &run).await?))
}

fn limit(params: &Params) -> Result<usize, Error> {
    let (usual, most) = PAGE;
    match params.parsed("limit", "50")?.unwrap_or(usual) {
        limit if (1..=most).contains(&limit) => Ok(limit),
        limit => Err(Error::invalid(
            "limit",
            format_args!("is {limit}: give 1 to {most}, such as {usual}"),
        )),
    }
}

async fn runs(State(engine): Shared, Path(id): Path<String>, params: Params) -> Answer {
    let (status, context, cursor) = (
        params.text("status"),
        params.text("context_id"),
        params.text("cursor"),
    );
    let page = engine
        .list_code_runs(&id, status, context, limit(&params)?, cursor)
        .await?;
    Ok(json(StatusCode::OK, &page))
}

async fn artifacts(State(engine): Shared, Path(id): Path<String>, params: Params) -> Answer {
    let filter = Filter {
        context: params.text("context_id"),
        execution_count: params.parsed("execution_count", "3")?,
        kind: params.text("kind"),
    };
    let page = engine
        .list_artifacts(&id, filter, limit(&params)?, params.text("cursor"))
        .await?;
    Ok(json(StatusCode::OK, &page))
}

async fn artifact(State(engine): Shared, Path((id, artifact)): Path<(String, String)>) -> Answer {
    Ok(json(StatusCode::OK, &engine.artifact(&id, &artifact).await?))
}

async fn delete_artifact(State(engine): Shared, Path((id, artifact)): Path<(String, String)>) -> Answer {
    engine.delete_artifact(&id, &artifact).await?;
    Ok(nothing())
}

/// The bytes. They are the machine's, so no browser may take them for a page of the engine.
async fn download(
    State(engine): Shared,
    Path((id, artifact)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let path = engine.artifact_path(&id, &artifact).await?;
    files::send(&engine, &Owner::Machine(id), None, &path, false, &headers).await
}
