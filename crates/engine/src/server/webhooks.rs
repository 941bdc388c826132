//! `/v1/lifecycle/webhooks`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::Router;
use nullspace_wire::webhook::{CreateLifecycleWebhookRequest, UpdateLifecycleWebhookRequest};

use super::body::Body;
use super::params::Params;
use super::reply::{json, nothing, Answer};
use super::Shared;
use crate::machine::{Engine, Error};

/// Source: schema, `list_lifecycle_webhook_deliveries`.
const DEFAULT_LIMIT: usize = 50;
/// Most deliveries a page.
const MAX_LIMIT: usize = 1000;

/// Routes of this resource.
pub fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/v1/lifecycle/webhooks", get(list).post(create))
        .route(
            "/v1/lifecycle/webhooks/{id}",
            get(show).patch(update).delete(delete),
        )
        .route("/v1/lifecycle/webhooks/{id}/deliveries", get(deliveries))
        .route(
            "/v1/lifecycle/webhooks/{id}/deliveries/{delivery_id}",
            get(delivery),
        )
}

async fn create(State(engine): Shared, body: Body<CreateLifecycleWebhookRequest>) -> Answer {
    Ok(json(
        StatusCode::CREATED,
        &engine.create_webhook(body.value).await?,
    ))
}

async fn list(State(engine): Shared) -> Answer {
    Ok(json(StatusCode::OK, &engine.list_webhooks().await?))
}

async fn show(State(engine): Shared, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &engine.webhook(&id).await?))
}

async fn update(
    State(engine): Shared,
    Path(id): Path<String>,
    body: Body<UpdateLifecycleWebhookRequest>,
) -> Answer {
    Ok(json(
        StatusCode::OK,
        &engine.update_webhook(&id, body.value).await?,
    ))
}

async fn delete(State(engine): Shared, Path(id): Path<String>) -> Answer {
    engine.delete_webhook(&id).await?;
    Ok(nothing())
}

async fn deliveries(State(engine): Shared, Path(id): Path<String>, params: Params) -> Answer {
    let offset = params.parsed("offset", "0")?.unwrap_or(0);
    let limit = params.parsed("limit", "50")?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        let text = format!("is {limit}: give 1 to {MAX_LIMIT}, such as 50");
        return Err(Error::invalid("limit", text).into());
    }
    Ok(json(
        StatusCode::OK,
        &engine.list_deliveries(&id, offset, limit).await?,
    ))
}

async fn delivery(State(engine): Shared, Path((id, delivery)): Path<(String, String)>) -> Answer {
    Ok(json(StatusCode::OK, &engine.delivery(&id, &delivery).await?))
}
