//! `/v1/template-warm-pools`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use nullspace_wire::api;
use nullspace_wire::warm_pool::{CreateWarmPoolRequest, ListWarmPoolsResponse, UpdateWarmPoolRequest};
use serde_json::Value;

use super::body::Body;
use super::params::Params;
use super::reply::{json, Answer};
use super::routes::Routes;
use super::Shared;
use crate::machine::pools::{PoolAction, PoolFilter};
use crate::machine::Error;

const STATUSES: [&str; 5] = ["ready", "warming", "degraded", "draining", "unavailable"];

/// Routes of this resource.
pub fn routes() -> Routes {
    let turn = |turn: PoolAction| {
        move |State(engine): Shared, Path(id): Path<String>| async move {
            Answer::Ok(json(StatusCode::OK, &engine.turn_pool(&id, turn).await?))
        }
    };
    Routes::new()
        .on(&api::LIST_TEMPLATE_WARM_POOLS, list)
        .on(&api::CREATE_TEMPLATE_WARM_POOL, create)
        .on(&api::GET_TEMPLATE_WARM_POOL, show)
        .on(&api::UPDATE_TEMPLATE_WARM_POOL, update)
        .on(&api::DELETE_TEMPLATE_WARM_POOL, delete)
        .on(&api::GET_TEMPLATE_WARM_POOL_STATUS, status)
        .on(&api::ENABLE_TEMPLATE_WARM_POOL, turn(PoolAction::Enable))
        .on(&api::DISABLE_TEMPLATE_WARM_POOL, turn(PoolAction::Disable))
        .on(&api::DRAIN_TEMPLATE_WARM_POOL, turn(PoolAction::Drain))
        .on(&api::RECONCILE_TEMPLATE_WARM_POOL, turn(PoolAction::Reconcile))
}

async fn create(State(engine): Shared, body: Body<CreateWarmPoolRequest>) -> Answer {
    Ok(json(StatusCode::CREATED, &engine.create_pool(body.value).await?))
}

impl PoolFilter {
    /// What a query asks for.
    pub fn of(params: &Params) -> Result<Self, Error> {
        let state = params.text("state").map(|text| {
            serde_json::from_value(Value::String(text.clone())).map_err(|_| {
                let text = format!("is {text:?}: give enabled, disabled, draining or deleted");
                Error::invalid("state", text)
            })
        });
        let status = params.text("status");
        if let Some(text) = status.as_deref().filter(|s| !STATUSES.contains(s)) {
            let text = format!("is {text:?}: give {}", STATUSES.join(", "));
            return Err(Error::invalid("status", text));
        }
        Ok(Self {
            template: params.text("template"),
            state: state.transpose()?,
            status,
            labels: params.all("label"),
            limit: params.parsed("limit", "100")?,
        })
    }
}

async fn list(State(engine): Shared, params: Params) -> Answer {
    let items = engine.list_pools(PoolFilter::of(&params)?).await?;
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
