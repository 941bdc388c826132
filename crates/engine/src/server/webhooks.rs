//! `/v1/lifecycle/webhooks`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use nullspace_wire::api;
use nullspace_wire::webhook::{CreateLifecycleWebhookRequest, UpdateLifecycleWebhookRequest};

use super::body::Body;
use super::params::Params;
use super::reply::{json, nothing, Answer};
use super::routes::Routes;
use super::Shared;
use crate::machine::Error;

/// Source: schema, `list_lifecycle_webhook_deliveries`.
const DEFAULT_LIMIT: usize = 50;
/// Most deliveries a page.
const MAX_LIMIT: usize = 1000;

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new()
        .on(&api::LIST_LIFECYCLE_WEBHOOKS, list)
        .on(&api::CREATE_LIFECYCLE_WEBHOOK, create)
        .on(&api::GET_LIFECYCLE_WEBHOOK, show)
        .on(&api::UPDATE_LIFECYCLE_WEBHOOK, update)
        .on(&api::DELETE_LIFECYCLE_WEBHOOK, delete)
        .on(&api::LIST_LIFECYCLE_WEBHOOK_DELIVERIES, deliveries)
        .on(&api::GET_LIFECYCLE_WEBHOOK_DELIVERY, delivery)
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

/// Offset and limit of a page.
pub fn page_of(params: &Params) -> Result<(usize, usize), Error> {
    let offset = params.parsed("offset", "0")?.unwrap_or(0);
    let limit = params.parsed("limit", "50")?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        let text = format!("is {limit}: give 1 to {MAX_LIMIT}, such as 50");
        return Err(Error::invalid("limit", text));
    }
    Ok((offset, limit))
}

async fn deliveries(State(engine): Shared, Path(id): Path<String>, params: Params) -> Answer {
    let (offset, limit) = page_of(&params)?;
    Ok(json(
        StatusCode::OK,
        &engine.list_deliveries(&id, offset, limit).await?,
    ))
}

async fn delivery(State(engine): Shared, Path((id, delivery)): Path<(String, String)>) -> Answer {
    Ok(json(StatusCode::OK, &engine.delivery(&id, &delivery).await?))
}
