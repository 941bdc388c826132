//! The upgrades to WebSockets: which channel of which machine or volume, checked before the upgrade is answered, so that a
//! refusal is an ordinary error with a status.

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Path, State};

use nullspace_wire::api;

use super::params::Params;
use super::reply::Answer;
use super::routes::Routes;
use super::{exec_socket, files_socket, lifecycle_socket, monitor_socket, pty_socket, socket, Shared};
use crate::machine::files::Owner;
use crate::machine::{Error, Kind};

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new()
        .on(&api::WEBSOCKET_UPGRADE, machine)
        .on(&api::VOLUME_WEBSOCKET_UPGRADE, volume)
        .on(&api::MACHINE_LIFECYCLE_WEBSOCKET_UPGRADE, machine_lifecycle)
        .on(&api::LIFECYCLE_WEBSOCKET_UPGRADE, lifecycle)
        .on(&api::MONITOR_WEBSOCKET_UPGRADE, monitor)
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

async fn machine_lifecycle(State(engine): Shared, Path(id): Path<String>, asked: Upgrade) -> Answer {
    let asked = upgrade(asked)?;
    engine.get(&id).await?;
    Ok(socket::open(asked, move |socket| {
        lifecycle_socket::run(socket, engine, Some(id))
    }))
}

async fn lifecycle(State(engine): Shared, asked: Upgrade) -> Answer {
    let asked = upgrade(asked)?;
    Ok(socket::open(asked, move |socket| {
        lifecycle_socket::run(socket, engine, None)
    }))
}

async fn monitor(State(engine): Shared, asked: Upgrade) -> Answer {
    let asked = upgrade(asked)?;
    Ok(socket::open(asked, move |socket| {
        monitor_socket::run(socket, engine)
    }))
}
