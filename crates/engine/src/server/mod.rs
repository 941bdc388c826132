//! The HTTP API over [`crate::machine::Engine`]: routes by resource. Decides nothing.
//!
//! - [`routes`]: the API's table of operations as a router
//! - [`access`]: who may ask: `Host`, `Origin`, the key; request ids
//! - [`connections`]: how many wait, and for how long
//! - [`body`], [`params`], [`owner`], [`reply`]: requests into values, answers and errors into responses
//! - [`machines`], [`exec`], [`files`], [`pty`], [`snapshots`], [`pools`], [`previews`], [`templates`], [`builds`],
//!   [`volumes`], [`lifecycle`], [`webhooks`], [`code`], [`ssh_access`]: the resources; [`preview_proxy`]: the way to a port of a machine;
//!   [`preview_hosts`]: names of ports
//! - [`sockets`]: upgrades to WebSockets; [`socket`]: what they share; [`exec_socket`], [`files_socket`], [`pty_socket`],
//!   [`lifecycle_socket`], [`monitor_socket`]: the channels
//! - [`scrape`]: what Prometheus reads
//! - [`node`]: what the gateways of a cluster ask
//! - [`faults`]: what goes wrong because a test asked for it

pub mod access;
pub mod batch;
pub mod body;
pub mod builds;
pub mod code;
pub mod connections;
pub mod exec;
pub mod exec_socket;
pub mod faults;
pub mod files;
pub mod files_socket;
pub mod git;
pub mod lifecycle;
pub mod lifecycle_socket;
pub mod machines;
pub mod monitor_socket;
pub mod node;
mod owner;
pub mod params;
pub mod pools;
pub mod preview_hosts;
pub mod preview_proxy;
pub mod previews;
pub mod pty;
pub mod pty_socket;
pub mod reply;
pub mod routes;
pub mod scrape;
pub mod signed_files;
pub mod snapshots;
pub mod socket;
pub mod sockets;
pub mod ssh_access;
pub mod templates;
pub mod uploads;
pub mod volumes;
pub mod webhooks;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware;
use axum::response::Response;
use axum::Router;
use nullspace_wire::api;
use tokio::net::TcpListener;

use crate::machine::{Engine, Error, Kind};
use crate::ssh::SshListener;
use crate::webhooks::Webhooks;
use access::Access;
use faults::Faults;
use reply::{json, Failure};
use routes::Routes;

/// What every handler gets.
pub type Shared = State<Arc<Engine>>;

/// All routes.
pub fn router(
    engine: Arc<Engine>,
    webhooks: Arc<Webhooks>,
    access: Access,
    faults: Option<Arc<Faults>>,
    ssh: Arc<SshListener>,
) -> Router {
    let routes = Routes::new()
        .on(&api::HEALTH_CHECK, health)
        .merge(machines::routes())
        .merge(exec::routes())
        .merge(code::routes())
        .merge(files::routes())
        .merge(batch::routes())
        .merge(git::routes())
        .merge(uploads::routes())
        .merge(signed_files::routes())
        .merge(pty::routes())
        .merge(sockets::routes())
        .merge(snapshots::routes())
        .merge(pools::routes())
        .merge(previews::routes())
        .merge(templates::routes())
        .merge(builds::routes())
        .merge(volumes::routes())
        .merge(lifecycle::routes())
        .merge(webhooks::routes())
        .merge(ssh_access::routes());
    let mut routes = routes.into_router();
    if access.is_node() {
        routes = routes.merge(node::routes());
    }
    let routes = routes
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .with_state(engine.clone());
    let routes = match faults {
        Some(faults) => faults::add(routes, faults),
        None => routes,
    };
    let access = Arc::new(access);
    let routes = match access.signer() {
        Some(signer) => routes.layer(axum::Extension(signer)),
        None => routes,
    };
    routes
        .layer(axum::Extension(ssh))
        .layer(axum::Extension(webhooks))
        .layer(middleware::from_fn_with_state(access.clone(), access::guard))
        .layer(middleware::from_fn_with_state(
            (engine, access),
            preview_hosts::lead,
        ))
}

/// Serves until the engine begins to end; requests that are under way then are finished.
pub async fn serve(
    listener: TcpListener,
    engine: Arc<Engine>,
    webhooks: Arc<Webhooks>,
    access: Access,
    faults: Option<Arc<Faults>>,
) -> std::io::Result<()> {
    let closing = engine.closing().clone();
    let has_faults = faults.is_some();
    engine.let_pages_in(access.origins());
    webhooks.reach().serves_on(listener.local_addr()?.port());
    let tls = access.tls();
    let ssh = SshListener::new(engine.clone(), listener.local_addr()?.ip());
    ssh.reopen().await;
    let router = router(engine, webhooks, access, faults, ssh);
    let closed = async move { closing.cancelled().await };
    if has_faults {
        let service = router.into_make_service_with_connect_info::<faults::ClientConnection>();
        return axum::serve(faults::Cuttable(listener), service)
            .with_graceful_shutdown(closed)
            .await;
    }
    connections::serve_over(listener, tls, router, closed).await;
    Ok(())
}

/// The process lives.
pub(crate) async fn health() -> Response {
    json(StatusCode::OK, &serde_json::json!({ "status": "ok" }))
}

/// A path that no route has.
pub(crate) async fn unknown_path(uri: Uri) -> Failure {
    Failure(Error::new(
        Kind::NotFound,
        format!(
            "the API has no path {}; see the paths of spec/openapi.json",
            uri.path()
        ),
    ))
}

/// A method that a path does not have.
pub(crate) async fn unknown_method(method: Method, uri: Uri) -> Failure {
    Failure(Error::new(
        Kind::MethodNotAllowed,
        format!("{} does not take {method}; see spec/openapi.json", uri.path()),
    ))
}
