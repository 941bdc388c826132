//! The upgrades to WebSockets: which channel of which machine or volume, checked before the upgrade is answered, so that a
//! refusal is an ordinary error with a status.

use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Path, State};

use nullspace_wire::api;

use super::lifecycle::Source;
use super::params::Params;
use super::reply::Answer;
use super::routes::Routes;
use super::{exec_socket, files_socket, lifecycle_socket, monitor_socket, pty_socket, socket, Shared};
use crate::machine::files::Owner;
use crate::machine::monitoring::monitor::Watched;
use crate::machine::{Error, Kind};

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new()
        .on(&api::WEBSOCKET_UPGRADE, machine)
        .on(&api::VOLUME_WEBSOCKET_UPGRADE, volume)
        .merge(shared())
}

/// Those that a gateway has too.
pub fn shared<S: Source + Watched>() -> Routes<Arc<S>> {
    Routes::new()
        .on(&api::MONITOR_WEBSOCKET_UPGRADE, monitor::<S>)
        .on(&api::MACHINE_LIFECYCLE_WEBSOCKET_UPGRADE, machine_lifecycle::<S>)
        .on(&api::LIFECYCLE_WEBSOCKET_UPGRADE, lifecycle::<S>)
}

type Upgrade = std::result::Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

fn upgrade(upgrade: Upgrade) -> Result<WebSocketUpgrade, Error> {
    upgrade.map_err(|_| Error::new(Kind::InvalidRequest, "this path takes WebSocket upgrades only"))
}

async fn machine(State(engine): Shared, Path(id): Path<String>, params: Params, asked: Upgrade) -> Answer {
    let asked = upgrade(asked)?;
    // A machine that is not there, or is dead, is told with its status instead of a closed socket.
    engine.get(&id).await?;
    match params.text("channel").as_deref() {
        Some("exec") => Ok(socket::open(asked, move |socket| {
            exec_socket::run(socket, engine, id)
        })),
        Some("pty") => Ok(socket::open(asked, move |socket| {
            pty_socket::run(socket, engine, id)
        })),
        Some(other) => {
            let text = format!("is {other:?}: give exec or pty");
            Err(Error::invalid("channel", text).into())
        }
        None => Ok(socket::open(asked, move |socket| {
            files_socket::run(socket, engine, Owner::Machine(id))
        })),
    }
}

async fn volume(State(engine): Shared, Path(id): Path<String>, asked: Upgrade) -> Answer {
    let asked = upgrade(asked)?;
    engine.volume(&id).await?;
    Ok(socket::open(asked, move |socket| {
        files_socket::run(socket, engine, Owner::Volume(id))
    }))
}

async fn machine_lifecycle<S: Source>(
    State(source): State<Arc<S>>,
    Path(id): Path<String>,
    asked: Upgrade,
) -> Answer {
    let asked = upgrade(asked)?;
    source.check_machine(&id).await?;
    Ok(socket::open(asked, move |socket| {
        lifecycle_socket::run(socket, source, Some(id))
    }))
}

async fn lifecycle<S: Source>(State(source): State<Arc<S>>, asked: Upgrade) -> Answer {
    let asked = upgrade(asked)?;
    Ok(socket::open(asked, move |socket| {
        lifecycle_socket::run(socket, source, None)
    }))
}

async fn monitor<W: Watched>(State(watched): State<Arc<W>>, asked: Upgrade) -> Answer {
    let asked = upgrade(asked)?;
    Ok(socket::open(asked, move |socket| {
        monitor_socket::run(socket, watched)
    }))
}
