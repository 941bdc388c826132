//! Lifecycle events: what happened to machines and snapshots, stored and sent to whoever listens.

use nullspace_wire::lifecycle::LifecycleEventInfo;
use nullspace_wire::JsonObject;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::broadcast;

use crate::machine::ground::{clock, ids, Error, Result};
use crate::machine::Engine;
use crate::store::events::{self, EventFilter, NewEvent};
use crate::store::{machines, webhooks_queue};

/// What was done. Wire names: PROTOCOL.md section 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A machine was made.
    Create,
    /// A machine was destroyed.
    Destroy,
    /// A lease was moved.
    TimeoutUpdated,
    /// A lease ended.
    TimeoutExpired,
    /// A machine was paused.
    Hibernate,
    /// A snapshot was taken.
    SnapshotCreated,
    /// A machine was resumed, or made from a snapshot.
    ResumeFromSnapshot,
    /// A machine was copied.
    Fork,
    /// The engine noticed something by itself.
    Reconcile,
}

impl Operation {
    /// All of them.
    pub const ALL: [Operation; 9] = [
        Operation::Create,
        Operation::Destroy,
        Operation::TimeoutUpdated,
        Operation::TimeoutExpired,
        Operation::Hibernate,
        Operation::SnapshotCreated,
        Operation::ResumeFromSnapshot,
        Operation::Fork,
        Operation::Reconcile,
    ];

    /// Wire name.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Create => "create",
            Operation::Destroy => "destroy",
            Operation::TimeoutUpdated => "timeout_updated",
            Operation::TimeoutExpired => "timeout_expired",
            Operation::Hibernate => "hibernate",
            Operation::SnapshotCreated => "snapshot_created",
            Operation::ResumeFromSnapshot => "resume_from_snapshot",
            Operation::Fork => "fork",
            Operation::Reconcile => "reconcile",
        }
    }
}

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// A request.
    User,
    /// A lease.
    System,
    /// The engine, looking after itself.
    Reconcile,
}

impl Actor {
    fn name(self) -> &'static str {
        match self {
            Actor::User => "user",
            Actor::System => "system",
            Actor::Reconcile => "reconcile",
        }
    }
}

/// An event in the making.
#[derive(Debug, Clone)]
pub struct Event(LifecycleEventInfo);

impl Event {
    /// A success, by a request.
    pub fn of(operation: Operation, machine_id: &str) -> Self {
        Self(LifecycleEventInfo {
            id: ids::event(),
            occurred_at: clock::now(),
            audience: "customer".into(),
            operation: operation.name().into(),
            status: "succeeded".into(),
            actor_kind: Actor::User.name().into(),
            metadata: JsonObject::new(),
            machine_id: Some(machine_id.into()),
            snapshot_id: None,
            source_machine_id: None,
            target_machine_id: None,
            reason: None,
            error_code: None,
            error_message: None,
        })
    }

    /// As it is told; `metadata`: that of its machine.
    pub fn told(mut self, metadata: JsonObject) -> LifecycleEventInfo {
        self.0.metadata = metadata;
        self.0
    }

    /// Who did it.
    #[must_use]
    pub fn by(mut self, actor: Actor) -> Self {
        self.0.actor_kind = actor.name().into();
        self
    }

    /// Why, in a word.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Self {
        self.0.reason = Some(reason.into());
        self
    }

    /// It failed.
    #[must_use]
    pub fn failed(mut self, code: &str, message: &str) -> Self {
        self.0.status = "failed".into();
        self.0.error_code = Some(code.into());
        self.0.error_message = Some(message.into());
        self
    }

    /// The snapshot it is about.
    #[must_use]
    pub fn snapshot(mut self, id: &str) -> Self {
        self.0.snapshot_id = Some(id.into());
        self
    }

    /// From which machine to which.
    #[must_use]
    pub fn between(mut self, source: &str, target: &str) -> Self {
        self.0.source_machine_id = Some(source.into());
        self.0.target_machine_id = Some(target.into());
        self
    }
}

/// An event and its place in the order of its engine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlacedEvent {
    /// Grows.
    pub seq: i64,
    /// As the API shows it.
    pub info: LifecycleEventInfo,
}

/// An event that is to be stored, and then told to whoever listens.
pub(in crate::machine) struct Noted {
    event: LifecycleEventInfo,
    listeners: broadcast::Sender<LifecycleEventInfo>,
}

impl Noted {
    /// Stores it and what webhooks are to be sent; says whether there is such. To be called in the transaction of what happened: an
    /// event that a listener may have seen is delivered too, whatever ends the engine.
    pub fn store(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        let event = &mut self.event;
        if let Some(machine) = &event.machine_id {
            event.metadata = metadata(connection, machine)?;
        }
        let row = NewEvent {
            id: event.id.clone(),
            occurred_at: clock::unix_micros(&event.occurred_at.0).unwrap_or_default(),
            operation: event.operation.clone(),
            status: event.status.clone(),
            machine_id: event.machine_id.clone(),
            snapshot_id: event.snapshot_id.clone(),
            source_machine_id: event.source_machine_id.clone(),
            target_machine_id: event.target_machine_id.clone(),
            record: serde_json::to_string(&event).unwrap_or_default(),
        };
        events::insert(connection, &row)?;
        webhooks_queue::enqueue(connection, &row, &event.occurred_at.0, ids::event)
    }

    /// Tells it. To be called where it was stored, in the order of storing: who comes back after the last event it heard has
    /// missed none.
    pub fn tell(self) {
        // Nobody may be listening.
        let _ = self.listeners.send(self.event);
    }
}

/// The metadata of a machine: events carry it, so that streams can ask for those of a project. One that is gone is
/// known by its last event.
fn metadata(connection: &Connection, machine: &str) -> rusqlite::Result<JsonObject> {
    let record = match machines::get(connection, machine)? {
        Some(record) => Some(record),
        None => {
            let last = EventFilter {
                machine_id: Some(machine.into()),
                limit: 1,
                ..Default::default()
            };
            events::list(connection, &last)?.pop()
        }
    };
    let record = record.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    Ok(match record.as_ref().map(|record| &record["metadata"]) {
        Some(Value::Object(metadata)) => metadata.clone(),
        _ => JsonObject::new(),
    })
}

impl Engine {
    /// Begins to record an event.
    pub(in crate::machine) fn note(&self, event: Event) -> Noted {
        let event = event.0;
        tracing::info!(
            machine = event.machine_id.as_deref().unwrap_or("-"),
            operation = %event.operation,
            status = %event.status,
            "lifecycle"
        );
        Noted {
            event,
            listeners: self.events.clone(),
        }
    }

    /// Stores an event and sends it on. A failure is logged: what happened has happened.
    pub(in crate::machine) async fn record_event(&self, event: Event) {
        let mut noted = self.note(event);
        let stored = self.store.call(move |c| {
            let stored = c.transaction().and_then(|transaction| {
                let is_queued = noted.store(&transaction)?;
                transaction.commit()?;
                Ok(is_queued)
            });
            noted.tell();
            stored
        });
        match stored.await {
            Ok(true) => self.deliveries.notify_one(),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "storing a lifecycle event failed"),
        }
    }

    /// Stored events.
    pub async fn list_events(&self, filter: EventFilter) -> Result<Vec<LifecycleEventInfo>> {
        let rows = self.store.call(move |c| events::list(c, &filter)).await?;
        rows.iter()
            .map(|row| serde_json::from_str(row).map_err(|e| Error::internal("reading an event", e)))
            .collect()
    }

    /// Events after a place in their order, with their places: for gateways.
    pub async fn events_after(&self, place: i64, limit: usize) -> Result<Vec<PlacedEvent>> {
        let rows = self.store.call(move |c| events::after(c, place, limit)).await?;
        rows.into_iter()
            .map(|(seq, record)| {
                let info =
                    serde_json::from_str(&record).map_err(|e| Error::internal("reading an event", e))?;
                Ok(PlacedEvent { seq, info })
            })
            .collect()
    }

    /// The place of the newest event.
    pub async fn last_event(&self) -> Result<i64> {
        Ok(self.store.call(|c| events::last(c)).await?)
    }

    /// Whether an event is stored.
    pub async fn has_event(&self, id: &str) -> Result<bool> {
        let id = id.to_owned();
        Ok(self.store.call(move |c| events::exists(c, &id)).await?)
    }

    /// Events from now on. A listener that falls behind by 1024 loses the oldest.
    pub fn subscribe_events(&self) -> tokio::sync::broadcast::Receiver<LifecycleEventInfo> {
        self.events.subscribe()
    }
}
