//! All machines as they change: several subscriptions a socket. Source: PROTOCOL.md section 10.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::FutureExt;
use nullspace_wire::machine::MachineInfo;
use serde_json::{json, Value};

use super::exec_socket::unexpected;
use super::socket::{text, Gone, Socket};
use crate::machine::monitoring::monitor::{watch, Look, Looks, Watched};
use crate::machine::Error;

/// Between two looks when the client does not say, milliseconds.
const DEFAULT_INTERVAL: u64 = 1000;
/// Shortest and longest, milliseconds.
const INTERVALS: std::ops::RangeInclusive<u64> = 100..=3_600_000;
/// Most subscriptions of a socket.
const MOST: usize = 16;
/// Bytes of machines in a snapshot: clients refuse frames of 1 MiB. Further machines follow as updates.
const SNAPSHOT_LIMIT: usize = 900 << 10;

struct Subscription {
    id: String,
    includes_processes: bool,
    /// Resolves with the next look, and the receiver for the one after.
    next: BoxFuture<'static, Option<(Arc<Look>, Looks)>>,
    /// Machines as they were told last; `None` before the snapshot.
    told: Option<HashMap<String, MachineInfo>>,
}

/// Serves one socket.
pub async fn run<W: Watched>(mut socket: Socket, watched: Arc<W>) {
    let closing = watched.closing().clone();
    let is_closing = tokio::select! {
        _ = session(&mut socket, &watched) => false,
        () = closing.cancelled() => true,
    };
    if is_closing {
        socket.close_going_away().await;
    } else {
        socket.close().await;
    }
}

async fn session<W: Watched>(socket: &mut Socket, watched: &Arc<W>) -> Result<(), Gone> {
    let mut subscriptions: Vec<Subscription> = Vec::new();
    loop {
        tokio::select! {
            frame = socket.next() => {
                let frame = frame?;
                let id = text(&frame, "id").to_owned();
                let taken = match text(&frame, "type") {
                    "monitor_subscribe" => subscribe(watched, &mut subscriptions, &frame),
                    "monitor_unsubscribe" => {
                        subscriptions.retain(|s| s.id != id);
                        Ok(())
                    }
                    other => Err(unexpected(other, "monitor_subscribe or monitor_unsubscribe")),
                };
                if let Err(error) = taken {
                    let refusal = json!({ "type": "monitor_error", "id": id, "message": error.message });
                    socket.send(&refusal).await?;
                }
            }
            (index, look) = any(&mut subscriptions) => {
                // The engine ends, and with it this socket.
                let (look, looks) = look.ok_or(Gone)?;
                let subscription = &mut subscriptions[index];
                subscription.next = after(looks);
                tell(socket, subscription, &look).await?;
            }
        }
    }
}

fn subscribe<W: Watched>(watched: &Arc<W>, all: &mut Vec<Subscription>, frame: &Value) -> Result<(), Error> {
    let id = text(frame, "id");
    if id.is_empty() {
        return Err(Error::invalid(
            "id",
            "is missing: give a name of your choice, such as \"monitor_1\"",
        ));
    }
    if all.iter().any(|s| s.id == id) {
        let text = format!("is {id:?}, which is taken on this socket: give another, or unsubscribe it first");
        return Err(Error::invalid("id", text));
    }
    if all.len() >= MOST {
        let text = format!("is one too many: a socket takes {MOST} subscriptions");
        return Err(Error::invalid("id", text));
    }
    let interval = match &frame["interval_ms"] {
        Value::Null => DEFAULT_INTERVAL,
        given => match given.as_u64().filter(|ms| INTERVALS.contains(ms)) {
            Some(interval) => interval,
            None => {
                let text = format!(
                    "is {given}: give {} to {}, such as 1000",
                    INTERVALS.start(),
                    INTERVALS.end()
                );
                return Err(Error::invalid("interval_ms", text));
            }
        },
    };
    let includes_processes = match &frame["include_processes"] {
        Value::Null => false,
        Value::Bool(given) => *given,
        _ => {
            return Err(Error::invalid(
                "include_processes",
                "is wrong: give true or false",
            ))
        }
    };
    let mut looks = watch(watched, Duration::from_millis(interval));
    // What was seen before somebody joined is new to them.
    looks.mark_changed();
    all.push(Subscription {
        id: id.to_owned(),
        includes_processes,
        next: after(looks),
        told: None,
    });
    Ok(())
}

/// The next look.
fn after(mut looks: Looks) -> BoxFuture<'static, Option<(Arc<Look>, Looks)>> {
    async move {
        loop {
            looks.changed().await.ok()?;
            let look = looks.borrow_and_update().clone();
            if let Some(look) = look {
                return Some((look, looks));
            }
        }
    }
    .boxed()
}

/// The first subscription with a look. Cancel-safe: a look stays where it is until it is taken.
async fn any(all: &mut [Subscription]) -> (usize, Option<(Arc<Look>, Looks)>) {
    poll_fn(|context| {
        for (index, subscription) in all.iter_mut().enumerate() {
            if let Poll::Ready(look) = Pin::new(&mut subscription.next).poll_unpin(context) {
                return Poll::Ready((index, look));
            }
        }
        Poll::Pending
    })
    .await
}

async fn tell(socket: &mut Socket, subscription: &mut Subscription, look: &Look) -> Result<(), Gone> {
    let id = &subscription.id;
    let is_first = subscription.told.is_none();
    let told = subscription.told.get_or_insert_default();
    if is_first {
        let (mut machines, mut size) = (Vec::new(), 0);
        for machine in &look.machines {
            let text = serde_json::to_string(machine).map_err(|_| Gone)?;
            size += text.len() + 1;
            if size > SNAPSHOT_LIMIT {
                break;
            }
            machines.push(machine);
            told.insert(machine.id.clone(), lasting(machine));
        }
        socket
            .send(&json!({ "type": "monitor_snapshot", "id": id, "machines": machines }))
            .await?;
    }
    for machine in &look.machines {
        let now = lasting(machine);
        if told.get(&machine.id) != Some(&now) {
            let frame = json!({
                "type": "monitor_update", "id": id, "machine_id": machine.id, "machine": machine, "removed": false
            });
            socket.send(&frame).await?;
            told.insert(machine.id.clone(), now);
        }
    }
    let gone: Vec<String> = told
        .keys()
        .filter(|id| !look.machines.iter().any(|m| m.id == **id))
        .cloned()
        .collect();
    for machine in gone {
        told.remove(&machine);
        let frame = json!({ "type": "monitor_update", "id": id, "machine_id": machine, "machine": null, "removed": true });
        socket.send(&frame).await?;
    }
    for (machine, metrics) in &look.metrics {
        let frame = json!({ "type": "monitor_metrics", "id": id, "machine_id": machine, "metrics": metrics });
        socket.send(&frame).await?;
    }
    if subscription.includes_processes {
        for (machine, processes) in &look.processes {
            let frame = json!({ "type": "monitor_processes", "id": id, "machine_id": machine, "processes": processes });
            socket.send(&frame).await?;
        }
    }
    Ok(())
}

/// A machine without what changes at every look.
fn lasting(machine: &MachineInfo) -> MachineInfo {
    MachineInfo {
        remaining_ms: None,
        ..machine.clone()
    }
}
