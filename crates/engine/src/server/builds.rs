//! `/v1/templates/build`, `/v1/templates/builds` and `/v1/templates/blobs`: how templates are made.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use futures_util::StreamExt;
use nullspace_wire::api;
use nullspace_wire::template::{
    BuildLogEntry, BuildLogKind, CancelBuildRequest, CreateTemplateRequest, PreflightRequest,
    PromoteBuildRequest, RetryBuildRequest,
};

use super::body::Body;
use super::params::Params;
use super::reply::{events, json, nothing, Answer, Events};
use super::routes::Routes;
use super::Shared;
use crate::machine::builds::log::Follow;
use crate::machine::{Engine, Error, Kind};

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new()
        .on(&api::CREATE_TEMPLATE, create)
        .on(&api::BUILD_TEMPLATE, build)
        .on(&api::START_TEMPLATE_BUILD, start)
        .on(&api::GET_TEMPLATE_BUILD_STATUS, status)
        .on(&api::STREAM_TEMPLATE_BUILD_LOGS, logs)
        .on(&api::CANCEL_TEMPLATE_BUILD, cancel)
        .on(&api::RETRY_TEMPLATE_BUILD, retry)
        .on(&api::PROMOTE_TEMPLATE_BUILD, promote)
        .on(&api::VALIDATE_TEMPLATE_BUILD, validate)
        .on(&api::PLAN_TEMPLATE_BUILD, plan)
        .on(&api::PREFLIGHT_TEMPLATE_BLOBS, preflight)
        .on(&api::UPLOAD_TEMPLATE_BLOB, upload)
}

/// A build that goes with its caller: one who goes away before its end cancels it.
struct Attached {
    engine: Arc<Engine>,
    build: String,
    log: Follow,
    is_over: bool,
}

impl Attached {
    async fn begin(engine: Arc<Engine>, request: CreateTemplateRequest) -> Result<Self, Error> {
        let build = engine.start_build(request).await?;
        Ok(Self {
            log: engine.follow_new(&build),
            build: build.id.clone(),
            engine,
            is_over: false,
        })
    }
}

impl Events for Attached {
    type Event = BuildLogEntry;

    async fn next(&mut self) -> Option<BuildLogEntry> {
        let entry = self.log.next().await;
        self.is_over = entry.is_none();
        entry
    }
}

impl Events for Follow {
    type Event = BuildLogEntry;

    async fn next(&mut self) -> Option<BuildLogEntry> {
        Follow::next(self).await
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let (engine, build) = (self.engine.clone(), self.build.clone());
        tokio::spawn(async move {
            let reason = "its caller went away".to_owned();
            let _ = engine.cancel_build(&build, Some(reason)).await;
        });
    }
}

/// Builds, and answers the log as it comes.
async fn build(State(engine): Shared, body: Body<CreateTemplateRequest>) -> Answer {
    let attached = Attached::begin(engine, body.value).await?;
    Ok(events(attached))
}

/// Builds, and answers when it is over.
async fn create(State(engine): Shared, body: Body<CreateTemplateRequest>) -> Answer {
    let mut attached = Attached::begin(engine, body.value).await?;
    let mut last = None;
    while let Some(entry) = attached.log.next().await {
        last = Some(entry);
    }
    attached.is_over = true;
    let last = last.ok_or_else(|| Error::internal("building a template", "the build said nothing"))?;
    match (last.kind, last.result, last.error_detail) {
        (BuildLogKind::End, Some(info), _) => Ok(json(StatusCode::CREATED, &info)),
        (_, _, Some(detail)) => Err(Error::new(Kind::Build("build_step"), detail.message.clone())
            .retryable(detail.retryable)
            .with_action(detail.suggested_action.clone())
            .with_details(serde_json::to_value(&detail).unwrap_or_default())
            .into()),
        _ => Err(Error::new(Kind::Build("build_step"), last.message)
            .retryable(true)
            .into()),
    }
}

async fn start(State(engine): Shared, body: Body<CreateTemplateRequest>) -> Answer {
    let build = engine.start_build(body.value).await?;
    Ok(json(StatusCode::ACCEPTED, &build.shown()))
}

async fn status(State(engine): Shared, Path(id): Path<String>, params: Params) -> Answer {
    let offset = params.parsed("offset", "0")?.unwrap_or(0);
    Ok(json(StatusCode::OK, &engine.build_status(&id, offset).await?))
}

/// Where a log is read from.
pub fn log_from(params: &Params) -> Result<u64, Error> {
    match params.parsed("cursor", "0")? {
        Some(cursor) => Ok(cursor),
        None => Ok(params.parsed("offset", "0")?.unwrap_or(0)),
    }
}

async fn logs(State(engine): Shared, Path(id): Path<String>, params: Params) -> Answer {
    let from = log_from(&params)?;
    // As Python spells it too.
    let follow = match params.text("follow").as_deref() {
        None | Some("false" | "False" | "0") => false,
        Some("true" | "True" | "1") => true,
        Some(other) => {
            return Err(Error::invalid("follow", format_args!("is {other:?}: give true or false")).into());
        }
    };
    let log = engine.follow_build(&id, from, follow).await?;
    Ok(events(log))
}

async fn cancel(State(engine): Shared, Path(id): Path<String>, body: Body<CancelBuildRequest>) -> Answer {
    let snapshot = engine.cancel_build(&id, body.value.reason).await?;
    Ok(json(StatusCode::OK, &snapshot))
}

async fn retry(State(engine): Shared, Path(id): Path<String>, body: Body<RetryBuildRequest>) -> Answer {
    let build = engine.retry_build(&id, body.value).await?;
    Ok(json(StatusCode::ACCEPTED, &build.shown()))
}

async fn promote(State(engine): Shared, Path(id): Path<String>, body: Body<PromoteBuildRequest>) -> Answer {
    let mut tags = body.value.tags.unwrap_or_default();
    tags.extend(body.value.tag);
    if tags.is_empty() {
        return Err(Error::invalid("tag", "is missing: give one such as \"stable\"").into());
    }
    Ok(json(StatusCode::OK, &engine.promote_build(&id, tags).await?))
}

async fn validate(State(engine): Shared, body: Body<CreateTemplateRequest>) -> Answer {
    Ok(json(StatusCode::OK, &engine.validate_build(body.value).await?))
}

async fn plan(State(engine): Shared, body: Body<CreateTemplateRequest>) -> Answer {
    Ok(json(StatusCode::OK, &engine.plan_build(body.value).await?))
}

async fn preflight(State(engine): Shared, body: Body<PreflightRequest>) -> Answer {
    Ok(json(StatusCode::OK, &engine.preflight_blobs(body.value).await?))
}

/// Bytes as they come, so that a large file costs no memory.
async fn upload(State(engine): Shared, Path(id): Path<String>, request: Request) -> Answer {
    let mut upload = engine.begin_blob(&id).await?;
    let mut bytes = request.into_body().into_data_stream();
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk.map_err(|_| Error::new(Kind::InvalidRequest, "the body ended early"))?;
        upload = engine.write_blob(upload, chunk).await?;
    }
    engine.finish_blob(upload).await?;
    Ok(nothing())
}
