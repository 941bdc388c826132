//! `/node/v1`: what only gateways and other nodes of a cluster ask. There is no such path on an engine of its own.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::Router;
use std::sync::Arc;

use super::params::Params;
use super::reply::{json, Answer};
use super::Shared;
use crate::machine::list::{ListRequest, MAX_LIMIT};
use crate::machine::Engine;
use crate::node::messages::{MachinePage, PlacedMachine};

/// A page of machines with their places in the order of creation.
pub const MACHINES: &str = "/node/v1/machines";
/// Only machines made before this place.
pub const BEFORE: &str = "before";

/// At most so many.
pub const LIMIT: &str = "limit";

/// Routes of this resource.
pub fn routes() -> Router<Arc<Engine>> {
    Router::new().route(MACHINES, get(machines))
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
