//! `/node/v1`: what only gateways and other nodes of a cluster ask. There is no such path on an engine of its own.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::Router;
use std::sync::Arc;

use super::body::Body;
use super::params::Params;
use super::reply::{json, Answer};
use super::Shared;
use crate::machine::list::{ListRequest, MAX_LIMIT};
use crate::machine::pool_terms::Terms;
use crate::machine::Engine;
use crate::node::messages::{EventPage, MachinePage, PlacedMachine};

/// A page of machines with their places in the order of creation.
pub const MACHINES: &str = "/node/v1/machines";
/// Only machines made before this place.
pub const BEFORE: &str = "before";

/// At most so many.
pub const LIMIT: &str = "limit";

/// `PUT` of the node's share of a warm pool under its id.
pub const POOLS: &str = "/node/v1/pools";
/// What a reference to a template means.
pub const TEMPLATE: &str = "/node/v1/template";
/// Lifecycle events in their order.
pub const EVENTS: &str = "/node/v1/events";
/// Only events after this place.
pub const AFTER: &str = "after_seq";
/// Header of a create: see [`PoolSearch`](crate::machine::validate::PoolSearch).
pub const POOL_SEARCH: &str = "nullspace-pool-search";

/// Routes of this resource.
pub fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route(MACHINES, get(machines))
        .route(&format!("{POOLS}/{{id}}"), put(put_pool))
        .route(TEMPLATE, get(template))
        .route(EVENTS, get(events))
}

async fn put_pool(State(engine): Shared, Path(id): Path<String>, body: Body<Terms>) -> Answer {
    let terms = Terms { id, ..body.value };
    Ok(json(StatusCode::OK, &engine.put_pool(terms).await?))
}

async fn events(State(engine): Shared, params: Params) -> Answer {
    let after = params.parsed(AFTER, "0")?.unwrap_or_default();
    let limit = params.parsed(LIMIT, "1000")?.unwrap_or(MAX_LIMIT);
    let events = engine.events_after(after, limit).await?;
    Ok(json(StatusCode::OK, &EventPage { events }))
}

async fn template(State(engine): Shared, params: Params) -> Answer {
    let reference = params.text("reference").unwrap_or_default();
    let disk_mb = params.parsed("disk_mb", "1024")?;
    let resolved = engine.resolve_pool(&reference, disk_mb).await?;
    Ok(json(StatusCode::OK, &resolved))
}

async fn machines(State(engine): Shared, params: Params) -> Answer {
    let request = ListRequest {
        limit: None,
        ..ListRequest::of(&params)?
    };
    let before = params.parsed(BEFORE, "1790000000000000")?;
    // One more than a page may have: gateways look whether another one follows.
    let limit = params.parsed(LIMIT, "101")?.unwrap_or(MAX_LIMIT);
    let placed = engine.list_placed(request, before, limit).await?;
    let items = placed
        .into_iter()
        .map(|(seq, info)| PlacedMachine { seq, info })
        .collect();
    Ok(json(StatusCode::OK, &MachinePage { items }))
}
