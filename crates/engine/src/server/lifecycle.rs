//! Lifecycle events: of everything, of a machine, of a snapshot.

use std::future::Future;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use nullspace_wire::api;
use nullspace_wire::lifecycle::{LifecycleEventInfo, LifecycleEventListResponse};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::params::Params;
use super::reply::{json, Answer};
use super::routes::Routes;
use crate::machine::monitoring::events::Operation;
use crate::machine::{unix_micros, Engine, Error, Result};
use crate::store::events::EventFilter;

/// Source: schema, `list_lifecycle_events`.
const DEFAULT_LIMIT: usize = 50;
/// Most events a page.
const MAX_LIMIT: usize = 1000;
const STATUSES: [&str; 3] = ["requested", "succeeded", "failed"];

/// Where events are listed and heard: an engine, or a cluster of them.
pub trait Source: Send + Sync + 'static {
    /// Cancelled when it ends.
    fn closing(&self) -> &CancellationToken;
    /// Events that match.
    fn list_events(
        &self,
        filter: EventFilter,
    ) -> impl Future<Output = Result<Vec<LifecycleEventInfo>>> + Send;
    /// Whether an event is known.
    fn has_event(&self, id: &str) -> impl Future<Output = Result<bool>> + Send;
    /// Events from now on.
    fn listen(&self) -> impl Future<Output = Result<broadcast::Receiver<LifecycleEventInfo>>> + Send;
    /// Refuses a machine that is not there.
    fn check_machine(&self, id: &str) -> impl Future<Output = Result<()>> + Send;
}

impl Source for Engine {
    fn closing(&self) -> &CancellationToken {
        self.closing()
    }

    async fn list_events(&self, filter: EventFilter) -> Result<Vec<LifecycleEventInfo>> {
        self.list_events(filter).await
    }

    async fn has_event(&self, id: &str) -> Result<bool> {
        self.has_event(id).await
    }

    async fn listen(&self) -> Result<broadcast::Receiver<LifecycleEventInfo>> {
        Ok(self.subscribe_events())
    }

    async fn check_machine(&self, id: &str) -> Result<()> {
        self.get(id).await.map(drop)
    }
}

/// Routes of this resource.
pub fn routes<S: Source>() -> Routes<Arc<S>> {
    Routes::new()
        .on(&api::LIST_LIFECYCLE_EVENTS, all::<S>)
        .on(&api::LIST_MACHINE_LIFECYCLE_EVENTS, of_machine::<S>)
        .on(&api::LIST_SNAPSHOT_LIFECYCLE_EVENTS, of_snapshot::<S>)
}

async fn all<S: Source>(State(source): State<Arc<S>>, params: Params) -> Answer {
    let filter = EventFilter {
        machine_id: params.text("machine_id"),
        snapshot_id: params.text("snapshot_id"),
        source_machine_id: params.text("source_machine_id"),
        target_machine_id: params.text("target_machine_id"),
        ..common(&params)?
    };
    page(&*source, filter).await
}

async fn of_machine<S: Source>(
    State(source): State<Arc<S>>,
    Path(id): Path<String>,
    params: Params,
) -> Answer {
    let filter = EventFilter {
        machine_id: Some(id),
        ..common(&params)?
    };
    page(&*source, filter).await
}

async fn of_snapshot<S: Source>(
    State(source): State<Arc<S>>,
    Path(id): Path<String>,
    params: Params,
) -> Answer {
    let filter = EventFilter {
        snapshot_id: Some(id),
        ..common(&params)?
    };
    page(&*source, filter).await
}

/// A name that must be one of a few.
pub fn one_of(field: &str, text: Option<String>, known: &[&str]) -> Result<Option<String>> {
    match text {
        Some(text) if !known.contains(&text.as_str()) => Err(Error::invalid(
            field,
            format_args!("is {text:?}: give {}", known.join(", ")),
        )),
        other => Ok(other),
    }
}

/// The operations by name.
pub fn check_operation(text: Option<String>) -> Result<Option<String>> {
    one_of("operation", text, &Operation::ALL.map(Operation::name))
}

/// The states by name.
pub fn check_status(text: Option<String>) -> Result<Option<String>> {
    one_of("status", text, &STATUSES)
}

fn common(params: &Params) -> Result<EventFilter> {
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

async fn page(source: &impl Source, filter: EventFilter) -> Answer {
    let (offset, limit) = (filter.offset, filter.limit);
    // One more than asked tells whether more follow.
    let more = EventFilter {
        limit: limit + 1,
        ..filter
    };
    let mut events = source.list_events(more).await?;
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
