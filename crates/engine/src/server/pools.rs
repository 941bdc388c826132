//! `/v1/template-warm-pools`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::Router;
use nullspace_wire::warm_pool::{CreateWarmPoolRequest, ListWarmPoolsResponse, UpdateWarmPoolRequest};
use serde_json::Value;

use super::body::Body;
use super::params::Params;
use super::reply::{json, Answer};
use super::Shared;
use crate::machine::pools::{PoolFilter, Turn};
use crate::machine::{Engine, Error};

const STATUSES: [&str; 5] = ["ready", "warming", "degraded", "draining", "unavailable"];

/// Routes of this resource.
pub fn routes() -> Router<Arc<Engine>> {
    let turn = |turn: Turn| {
        post(move |State(engine): Shared, Path(id): Path<String>| async move {
            Answer::Ok(json(StatusCode::OK, &engine.turn_pool(&id, turn).await?))
        })
    };
    Router::new()
        .route("/v1/template-warm-pools", get(list).post(create))
        .route(
            "/v1/template-warm-pools/{id}",
            get(show).patch(update).delete(delete),
        )
        .route("/v1/template-warm-pools/{id}/status", get(status))
        .route("/v1/template-warm-pools/{id}/enable", turn(Turn::Enable))
        .route("/v1/template-warm-pools/{id}/disable", turn(Turn::Disable))
        .route("/v1/template-warm-pools/{id}/drain", turn(Turn::Drain))
        .route("/v1/template-warm-pools/{id}/reconcile", turn(Turn::Reconcile))
}

async fn create(State(engine): Shared, body: Body<CreateWarmPoolRequest>) -> Answer {
    Ok(json(StatusCode::CREATED, &engine.create_pool(body.value).await?))
}

async fn list(State(engine): Shared, params: Params) -> Answer {
    let state = params.text("state").map(|text| {
        serde_json::from_value(Value::String(text.clone())).map_err(|_| {
            let text = format!("is {text:?}: give enabled, disabled, draining or deleted");
            Error::invalid("state", text)
        })
    });
    let status = params.text("status");
    if let Some(text) = status.as_deref().filter(|s| !STATUSES.contains(s)) {
        let text = format!("is {text:?}: give {}", STATUSES.join(", "));
        return Err(Error::invalid("status", text).into());
    }
    let filter = PoolFilter {
        template: params.text("template"),
        state: state.transpose()?,
        status,
        labels: params.all("label"),
        limit: params.parsed("limit", "100")?,
    };
    let items = engine.list_pools(filter).await?;
    Ok(json(StatusCode::OK, &ListWarmPoolsResponse { items }))
}

async fn show(State(engine): Shared, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &engine.pool(&id)?.info()))
}

async fn status(State(engine): Shared, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &engine.pool(&id)?.info().status))
}

async fn update(State(engine): Shared, Path(id): Path<String>, body: Body<UpdateWarmPoolRequest>) -> Answer {
    Ok(json(StatusCode::OK, &engine.update_pool(&id, body.value).await?))
}

async fn delete(State(engine): Shared, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &engine.delete_pool(&id).await?))
}
