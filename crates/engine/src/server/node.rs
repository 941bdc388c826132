//! `/node/v1`: what only gateways and other nodes of a cluster ask. There is no such path on an engine of its own.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::Router;
use std::sync::Arc;

use super::body::Body as JsonBody;
use super::params::Params;
use super::reply::{json, nothing, Answer};
use super::Shared;
use crate::machine::monitoring::monitor::{Look, Watched};
use crate::machine::pools::terms::Terms;
use crate::machine::records::list::{ListRequest, MAX_LIMIT};
use crate::machine::{Engine, Error};
use crate::node::carry::{self, LAYERS, SNAPSHOTS, TEMPLATES};
use crate::node::messages::{Bring, BringTemplate, EventPage, MachinePage, PlacedMachine};

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
/// Ids and states of the newest builds of templates; below it each, with the end of its log.
pub const BUILDS: &str = "/node/v1/builds";
/// A look at what runs.
pub const LOOK: &str = "/node/v1/look";
/// Header of a create: see [`PoolSearch`](crate::machine::validate::PoolSearch).
pub const POOL_SEARCH: &str = "nullspace-pool-search";

/// Routes of this resource.
pub fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route(MACHINES, get(machines))
        .route(&format!("{POOLS}/{{id}}"), put(put_pool))
        .route(TEMPLATE, get(resolved))
        .route(EVENTS, get(events))
        .route(&format!("{SNAPSHOTS}/{{id}}"), get(snapshot))
        .route(&format!("{SNAPSHOTS}/{{id}}/pull"), post(pull_snapshot))
        .route(&format!("{LAYERS}/{{name}}"), get(layer))
        .route(TEMPLATES, get(template).post(bring_template))
        .route(&format!("{TEMPLATES}/all"), get(templates))
        .route(&format!("{TEMPLATES}/copy"), post(copy_templates))
        .route(BUILDS, get(builds))
        .route(&format!("{BUILDS}/{{id}}"), get(build))
        .route(LOOK, get(look))
}

async fn put_pool(State(engine): Shared, Path(id): Path<String>, body: JsonBody<Terms>) -> Answer {
    let terms = Terms { id, ..body.value };
    Ok(json(StatusCode::OK, &engine.put_pool(terms).await?))
}

async fn look(State(engine): Shared) -> Answer {
    // Lists have the machines, also those of nodes that do not answer.
    let look = Look {
        machines: Vec::new(),
        ..engine.look().await?
    };
    Ok(json(StatusCode::OK, &look))
}

async fn events(State(engine): Shared, params: Params) -> Answer {
    let after = params.parsed(AFTER, "0")?.unwrap_or_default();
    let limit = params.parsed(LIMIT, "1000")?.unwrap_or(MAX_LIMIT);
    let events = engine.events_after(after, limit).await?;
    Ok(json(StatusCode::OK, &EventPage { events }))
}

async fn builds(State(engine): Shared, params: Params) -> Answer {
    let limit = params.parsed(LIMIT, "100")?.unwrap_or(MAX_LIMIT);
    Ok(json(StatusCode::OK, &engine.newest_builds(limit).await?))
}

async fn build(State(engine): Shared, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &engine.build_to_keep(&id).await?))
}

async fn resolved(State(engine): Shared, params: Params) -> Answer {
    let reference = params.text("reference").unwrap_or_default();
    let sizes = params.text("resources").map(|text| serde_json::from_str(&text));
    let wrong = |error| Error::invalid("resources", format_args!("cannot be read: {error}"));
    let sizes = sizes.transpose().map_err(wrong)?;
    let resolved = engine.resolve_pool(&reference, sizes.as_ref()).await?;
    Ok(json(StatusCode::OK, &resolved))
}

async fn snapshot(State(engine): Shared, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &engine.snapshot_to_carry(&id).await?))
}

async fn pull_snapshot(State(engine): Shared, Path(id): Path<String>, body: JsonBody<Bring>) -> Answer {
    let bringing = engine.clone();
    let brought = engine.run_to_end(async move { carry::snapshot(&bringing, &id, &body.value.from).await });
    Ok(json(StatusCode::OK, &brought.await?.info()))
}

/// What another node needs to make machines of a template; `null` if it has all of it.
async fn template(State(engine): Shared, params: Params) -> Answer {
    let reference = params.text("reference").unwrap_or_default();
    let wanted = engine.template_to_carry(&reference).await?;
    Ok(json(StatusCode::OK, &wanted))
}

async fn templates(State(engine): Shared) -> Answer {
    Ok(json(StatusCode::OK, &engine.templates_to_carry().await?))
}

async fn bring_template(State(engine): Shared, body: JsonBody<BringTemplate>) -> Answer {
    let (bringing, asked) = (engine.clone(), body.value);
    let brought =
        engine.run_to_end(async move { carry::template(&bringing, asked.wanted, &asked.from).await });
    brought.await?;
    Ok(nothing())
}

async fn copy_templates(State(engine): Shared, body: JsonBody<Bring>) -> Answer {
    let bringing = engine.clone();
    let brought = engine.run_to_end(async move { carry::templates(&bringing, &body.value.from).await });
    brought.await?;
    Ok(nothing())
}

async fn layer(State(engine): Shared, Path(name): Path<String>) -> Answer {
    let pieces = carry::packed(&engine, &name).await?;
    Ok(Response::new(Body::from_stream(pieces)))
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
