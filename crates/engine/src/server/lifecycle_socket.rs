//! Lifecycle events as they happen, after those that the client missed. Source: PROTOCOL.md section 10.

use std::collections::HashSet;
use std::sync::Arc;

use nullspace_wire::lifecycle::LifecycleEventInfo;
use nullspace_wire::JsonObject;
use serde_json::{json, Value};
use tokio::sync::broadcast::error::RecvError;

use super::exec_socket::unexpected;
use super::lifecycle::{check_operation, check_status, one_of, Source};
use super::socket::{text, Gone, Socket};
use crate::machine::Error;
use crate::store::events::EventFilter;

/// Events replayed when the client does not say.
const DEFAULT_REPLAY: u64 = 100;
/// Most events replayed.
const MAX_REPLAY: u64 = 1000;

/// What a client wants to hear.
struct Subscription {
    filter: EventFilter,
    replays: bool,
    /// What the metadata of an event must hold.
    metadata: JsonObject,
    /// Repeated to the client.
    shown: Value,
}

/// Serves one socket; `machine` limits it to one machine.
pub async fn run<S: Source>(mut socket: Socket, source: Arc<S>, machine: Option<String>) {
    let closing = source.closing().clone();
    let is_closing = tokio::select! {
        _ = session(&mut socket, &*source, machine) => false,
        () = closing.cancelled() => true,
    };
    if is_closing {
        socket.close_going_away().await;
    } else {
        socket.close().await;
    }
}

async fn session(socket: &mut Socket, source: &impl Source, machine: Option<String>) -> Result<(), Gone> {
    let subscription = loop {
        let frame = socket.next().await?;
        match subscription(&frame, machine.as_deref()) {
            Ok(subscription) => break subscription,
            Err(error) => refuse(socket, &error).await?,
        }
    };
    // Listened to before the look back, so that nothing falls between the two.
    let mut live = match source.listen().await {
        Ok(live) => live,
        Err(error) => return refuse(socket, &error).await,
    };
    let answer = json!({
        "type": "subscribed", "subscription": subscription.shown, "reconnect_mode": "cursor_replay"
    });
    socket.send(&answer).await?;
    let mut replayed = HashSet::new();
    let mut look = subscription.replays.then(|| subscription.filter.clone());
    while let Some(filter) = look.take() {
        let past = match past(source, filter).await {
            Ok(past) => past,
            Err(error) => return refuse(socket, &error).await,
        };
        look = past.more;
        for event in past
            .events
            .into_iter()
            .filter(|e| holds(e, &subscription.metadata))
        {
            socket.send(&json!({ "type": "event", "event": event })).await?;
            replayed.insert(event.id);
        }
    }
    loop {
        tokio::select! {
            event = live.recv() => match event {
                Ok(event)
                    if matches(&subscription.filter, &event)
                        && holds(&event, &subscription.metadata)
                        && !replayed.remove(&event.id) =>
                {
                    socket.send(&json!({ "type": "event", "event": event })).await?;
                }
                Ok(_) => {}
                // Too slow: the client comes back and goes on after the last event it has.
                Err(RecvError::Lagged(_) | RecvError::Closed) => return Ok(()),
            },
            frame = socket.next() => {
                let error = unexpected(text(&frame?, "type"), "nothing after subscribe");
                refuse(socket, &error).await?;
            }
        }
    }
}

/// A part of what the client has not heard yet.
struct Past {
    /// In the order it happened.
    events: Vec<LifecycleEventInfo>,
    /// Where the next part is.
    more: Option<EventFilter>,
}

/// Everything after the event that the client names, whatever its limit, since leaving some out would make a hole
/// before what is live; otherwise the newest, up to the limit.
async fn past(source: &impl Source, filter: EventFilter) -> Result<Past, Error> {
    let knows = match &filter.after {
        Some(id) => source.has_event(id).await?,
        None => false,
    };
    if knows {
        let part = EventFilter {
            ascending: true,
            limit: MAX_REPLAY as usize,
            ..filter.clone()
        };
        let events = source.list_events(part).await?;
        let last = events.get(MAX_REPLAY as usize - 1).map(|last| last.id.clone());
        let more = last.map(|id| EventFilter {
            after: Some(id),
            ..filter
        });
        return Ok(Past { events, more });
    }
    // An event that was forgotten meanwhile is no place to go on from.
    let newest = EventFilter {
        after: None,
        ascending: false,
        ..filter
    };
    let mut events = source.list_events(newest).await?;
    events.reverse();
    Ok(Past { events, more: None })
}

/// The error frame of these sockets carries a message only.
async fn refuse(socket: &mut Socket, error: &Error) -> Result<(), Gone> {
    socket
        .send(&json!({ "type": "error", "message": error.message }))
        .await
}

fn subscription(frame: &Value, machine: Option<&str>) -> Result<Subscription, Error> {
    if text(frame, "type") != "subscribe" {
        return Err(unexpected(text(frame, "type"), "subscribe"));
    }
    let given = |field: &str| frame[field].as_str().map(str::to_owned);
    one_of("audience", given("audience"), &["customer"])?;
    let metadata = match &frame["metadata"] {
        Value::Null => JsonObject::new(),
        Value::Object(wanted) => wanted.clone(),
        _ => {
            let text = "is no JSON object: give one such as {\"project\": \"docs\"}";
            return Err(Error::invalid("metadata", text));
        }
    };
    let after = given("after_event_id");
    let limit = frame["replay_limit"]
        .as_u64()
        .unwrap_or(DEFAULT_REPLAY)
        .min(MAX_REPLAY);
    // A plain `subscribe` wants what happens from now on; a place to go on from asks for what came after it.
    let replays = !frame["live_only"].as_bool().unwrap_or(after.is_none());
    let mut shown = frame.as_object().cloned().unwrap_or_default();
    shown.remove("type");
    shown.retain(|_, value| !value.is_null());
    Ok(Subscription {
        filter: EventFilter {
            operation: check_operation(given("operation"))?,
            status: check_status(given("status"))?,
            machine_id: machine.map(str::to_owned).or_else(|| given("machine_id")),
            snapshot_id: given("snapshot_id"),
            after,
            limit: limit as usize,
            ..Default::default()
        },
        replays,
        metadata,
        shown: shown.into(),
    })
}

/// Each entry must be there with an equal value, as in the lists of machines.
fn holds(event: &LifecycleEventInfo, wanted: &JsonObject) -> bool {
    wanted
        .iter()
        .all(|(key, value)| event.metadata.get(key) == Some(value))
}

fn matches(filter: &EventFilter, event: &LifecycleEventInfo) -> bool {
    let wants = |wanted: &Option<String>, has: Option<&String>| wanted.is_none() || wanted.as_ref() == has;
    wants(&filter.operation, Some(&event.operation))
        && wants(&filter.status, Some(&event.status))
        && wants(&filter.machine_id, event.machine_id.as_ref())
        && wants(&filter.snapshot_id, event.snapshot_id.as_ref())
}
