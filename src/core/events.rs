//! Streams of lifecycle events as options. Source: PROTOCOL.md section 10.

use std::time::Duration;

use nullspace_wire::lifecycle::{OPERATIONS, STATUSES};

use super::error::Error;
use super::options::{Fields, MAX_INTEGER};
use super::shown::options;
use super::value::{json, Value};

fn filter(fields: &Fields<'_>, query: &mut Vec<(&'static str, String)>) -> Result<(), Error> {
    if let Some(operation) = fields.choice("operation", OPERATIONS)? {
        query.push(("operation", operation.to_owned()));
    }
    if let Some(status) = fields.choice("status", STATUSES)? {
        query.push(("status", status.to_owned()));
    }
    Ok(())
}

/// What a stream of events is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// First frame of the socket, without `type`.
    pub filter: Vec<(&'static str, String)>,
    /// Only what happens from now on.
    pub live_only: bool,
    /// Leave out what a server assumes of a plain `subscribe`.
    pub plain: bool,
    /// Go on behind this event.
    pub after_event_id: Option<String>,
    /// Most events of the past.
    pub replay_limit: u64,
    /// The stream ends when nothing came for so long.
    pub idle_timeout: Option<Duration>,
    /// Only events with this metadata.
    pub metadata: Option<Value>,
}

/// Events that a server replays at most when a stream comes back that had none before.
const MAX_REPLAY: u64 = 1000;

impl Stream {
    /// The first frame of the first socket.
    pub fn subscribe(&self) -> String {
        match self.plain {
            // It means what happens from now on.
            true => self.frame(None).to_json(),
            false => self.rest(self.live_only, self.after_event_id.as_deref(), self.replay_limit),
        }
    }

    /// The first frame of a later one, which goes on behind the event `cursor`. Without one nothing was given yet: a live
    /// stream had no event before it either, so that all that there are by now are its own.
    pub fn go_on(&self, cursor: Option<&str>) -> String {
        let limit = match self.live_only && cursor.is_none() {
            true => MAX_REPLAY,
            false => self.replay_limit,
        };
        self.rest(false, cursor.or(self.after_event_id.as_deref()), limit)
    }

    /// The query of a list of the newest event that such a stream would have told.
    pub fn newest(&self) -> Vec<(&'static str, String)> {
        let mut query = self.filter.clone();
        query.extend([("order", "desc".to_owned()), ("limit", "1".to_owned())]);
        query
    }

    fn rest(&self, live_only: bool, after: Option<&str>, limit: u64) -> String {
        let mut frame = self.frame(after);
        frame.put("live_only", live_only.into());
        frame.put("replay_limit", limit.into());
        frame.put_given("metadata", self.metadata.clone());
        frame.to_json()
    }

    fn frame(&self, after: Option<&str>) -> Value {
        let mut frame = json!({ "type": "subscribe" });
        for (name, value) in &self.filter {
            frame.put(name, value.as_str().into());
        }
        frame.put_given("after_event_id", after);
        frame
    }
}

options! {
    /// Options of {@link Lifecycle.subscribe}.
    pub const SUBSCRIPTION = LifecycleSubscribeOptions: "ClientOptions" {
        /// Only events of this machine. @default all
        machineId: "string";
        /// Only events of this snapshot. @default all
        snapshotId: "string";
        /// Only events of this operation, such as `create`. @default all
        operation: "LifecycleEvent['operation']";
        /// Only events with this outcome. @default all
        status: "'requested' | 'succeeded' | 'failed'";
        /// Gets every event; one that answers with a promise is waited for. What it throws ends the subscription. @default none: walk along
        onEvent: "(event: LifecycleEvent) => unknown";
        /// Gets what ended the subscription. @default `done` rejects with it
        onError: "(error: unknown) => unknown";
    }

    /// Options of {@link Lifecycle.streamEvents}.
    pub const SCOPE = LifecycleStreamOptions: "MachineEventStreamOptions", "ClientOptions" {
        /// Only events of this machine. @default all
        machineId: "string";
        /// Only events of this snapshot. @default all
        snapshotId: "string";
    }

    /// Options of a stream of the events of one machine.
    pub const STREAM = MachineEventStreamOptions: "CallOptions" {
        /// Only events of this operation, such as `create`. @default all
        operation: "LifecycleEvent['operation']";
        /// Only events with this outcome. @default all
        status: "'requested' | 'succeeded' | 'failed'";
        /// Nothing of the past. Contradicts `afterEventId`. @default false
        liveOnly: "boolean";
        /// Continue after this event, as after a restart of the program. @default none
        afterEventId: "string";
        /// Most events of the past, without `afterEventId`; at least 0. @default 100
        replayLimit: "number";
        /// Seconds: ends the stream when no event came for this time. @default never
        idleTimeout: "number";
        /// Only events whose metadata has at least these entries; the local engine's events have that of their machine. @default all
        metadata: "Record<string, unknown>";
    }
}

/// Reads the options of `subscribe`: what happens from now on.
pub fn subscription(fields: &Fields<'_>) -> Result<Stream, Error> {
    for name in ["onEvent", "onError"] {
        super::config::function(fields, name)?;
    }
    Ok(Stream {
        live_only: true,
        plain: true,
        ..stream(fields)?
    })
}

/// Reads the options of `streamEvents`. `machineId` and `snapshotId` where the caller let them in.
pub fn stream(fields: &Fields<'_>) -> Result<Stream, Error> {
    let mut query = Vec::new();
    filter(fields, &mut query)?;
    for (name, wire) in [("machineId", "machine_id"), ("snapshotId", "snapshot_id")] {
        if let Some(id) = fields.filled(name)? {
            query.push((wire, id.trim().to_owned()));
        }
    }
    let live_only = fields.flag("liveOnly")?.unwrap_or(false);
    let after_event_id = fields.filled("afterEventId")?.map(str::to_owned);
    if live_only && after_event_id.is_some() {
        return Err(fields.wrong("afterEventId", "contradicts `liveOnly: true`: give one of them"));
    }
    Ok(Stream {
        filter: query,
        live_only,
        plain: false,
        after_event_id,
        replay_limit: fields.integer("replayLimit", 0, MAX_INTEGER)?.unwrap_or(100),
        idle_timeout: fields.seconds("idleTimeout")?,
        metadata: fields.json_object("metadata")?.cloned(),
    })
}
