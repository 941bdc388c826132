//! `/v1/lifecycle/webhooks`.

use std::sync::Arc;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::Extension;
use nullspace_wire::api;
use nullspace_wire::webhook::{CreateLifecycleWebhookRequest, UpdateLifecycleWebhookRequest};

use super::body::Body;
use super::params::Params;
use super::reply::{json, nothing, Answer};
use super::routes::Routes;
use crate::machine::Error;
use crate::webhooks::Webhooks;

/// Source: schema, `list_lifecycle_webhook_deliveries`.
const DEFAULT_LIMIT: usize = 50;
/// Most deliveries a page.
const MAX_LIMIT: usize = 1000;

type HeldWebhooks = Extension<Arc<Webhooks>>;

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

async fn create(Extension(webhooks): HeldWebhooks, body: Body<CreateLifecycleWebhookRequest>) -> Answer {
    Ok(json(StatusCode::CREATED, &webhooks.create(body.value).await?))
}

async fn list(Extension(webhooks): HeldWebhooks) -> Answer {
    Ok(json(StatusCode::OK, &webhooks.list().await?))
}

async fn show(Extension(webhooks): HeldWebhooks, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &webhooks.get(&id).await?))
}

async fn update(
    Extension(webhooks): HeldWebhooks,
    Path(id): Path<String>,
    body: Body<UpdateLifecycleWebhookRequest>,
) -> Answer {
    Ok(json(StatusCode::OK, &webhooks.update(&id, body.value).await?))
}

async fn delete(Extension(webhooks): HeldWebhooks, Path(id): Path<String>) -> Answer {
    webhooks.delete(&id).await?;
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

async fn deliveries(Extension(webhooks): HeldWebhooks, Path(id): Path<String>, params: Params) -> Answer {
    let (offset, limit) = page_of(&params)?;
    Ok(json(
        StatusCode::OK,
        &webhooks.list_deliveries(&id, offset, limit).await?,
    ))
}

async fn delivery(Extension(webhooks): HeldWebhooks, Path((id, delivery)): Path<(String, String)>) -> Answer {
    Ok(json(StatusCode::OK, &webhooks.delivery(&id, &delivery).await?))
}
