//! Lifecycle events: of everything, of a machine, of a snapshot.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use nullspace_wire::api;
use nullspace_wire::lifecycle::LifecycleEventListResponse;

use super::params::Params;
use super::reply::{json, Answer};
use super::routes::Routes;
use super::Shared;
use crate::machine::events::Operation;
use crate::machine::{unix_micros, Engine, Error};
use crate::store::events::EventFilter;

/// Source: schema, `list_lifecycle_events`.
const DEFAULT_LIMIT: usize = 50;
/// Most events a page.
const MAX_LIMIT: usize = 1000;
const STATUSES: [&str; 3] = ["requested", "succeeded", "failed"];

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new()
        .on(&api::LIST_LIFECYCLE_EVENTS, all)
        .on(&api::LIST_MACHINE_LIFECYCLE_EVENTS, of_machine)
        .on(&api::LIST_SNAPSHOT_LIFECYCLE_EVENTS, of_snapshot)
}

async fn all(State(engine): Shared, params: Params) -> Answer {
    let filter = EventFilter {
        machine_id: params.text("machine_id"),
        snapshot_id: params.text("snapshot_id"),
        source_machine_id: params.text("source_machine_id"),
        target_machine_id: params.text("target_machine_id"),
        ..common(&params)?
    };
    page(&engine, filter).await
}

async fn of_machine(State(engine): Shared, Path(id): Path<String>, params: Params) -> Answer {
    let filter = EventFilter {
        machine_id: Some(id),
        ..common(&params)?
    };
    page(&engine, filter).await
}

async fn of_snapshot(State(engine): Shared, Path(id): Path<String>, params: Params) -> Answer {
    let filter = EventFilter {
        snapshot_id: Some(id),
        ..common(&params)?
    };
    page(&engine, filter).await
}

/// A name that must be one of a few.
pub fn one_of(field: &str, text: Option<String>, known: &[&str]) -> Result<Option<String>, Error> {
    match text {
        Some(text) if !known.contains(&text.as_str()) => Err(Error::invalid(
            field,
            format_args!("is {text:?}: give {}", known.join(", ")),
        )),
        other => Ok(other),
    }
}

/// The operations by name.
pub fn check_operation(text: Option<String>) -> Result<Option<String>, Error> {
    one_of("operation", text, &Operation::ALL.map(Operation::name))
}

/// The states by name.
pub fn check_status(text: Option<String>) -> Result<Option<String>, Error> {
    one_of("status", text, &STATUSES)
}

fn common(params: &Params) -> Result<EventFilter, Error> {
    let time = |name: &str| {
        params
            .text(name)
            .map(|text| {
                unix_micros(&text).ok_or_else(|| {
                    Error::invalid(
                        name,
                        format_args!("is {text:?}: give a moment such as \"2026-01-02T03:04:05Z\""),
                    )
                })
            })
            .transpose()
    };
    one_of("audience", params.text("audience"), &["customer"])?;
    let order = one_of("order", params.text("order"), &["asc", "desc"])?;
    let limit = params.parsed("limit", "50")?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Error::invalid(
            "limit",
            format_args!("is {limit}: give 1 to {MAX_LIMIT}, such as 50"),
        ));
    }
    Ok(EventFilter {
        operation: check_operation(params.text("operation"))?,
        status: check_status(params.text("status"))?,
        from: time("from")?,
        to: time("to")?,
        ascending: order.as_deref() == Some("asc"),
        offset: params.parsed("offset", "0")?.unwrap_or(0),
        limit,
        ..Default::default()
    })
}

async fn page(engine: &Engine, filter: EventFilter) -> Answer {
    let (offset, limit) = (filter.offset, filter.limit);
    // One more than asked tells whether more follow.
    let more = EventFilter {
        limit: limit + 1,
        ..filter
    };
    let mut events = engine.list_events(more).await?;
    let has_more = events.len() > limit;
    events.truncate(limit);
    let answer = LifecycleEventListResponse {
        events,
        offset: offset as u64,
        limit: limit as u64,
        has_more,
    };
    Ok(json(StatusCode::OK, &answer))
}
