//! Preview ports of a machine: addresses, signed URLs, grants, readiness.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::Extension;
use nullspace_wire::api;
use nullspace_wire::network::{GetHostRequest, GetHostResponse};
use nullspace_wire::preview::{
    CreatePreviewProxyTargetRequest, CreateSignedPreviewUrlRequest, ListPreviewGrantsResponse,
    PreviewProxyTargetResponse, PreviewReadinessRequest, PreviewReadinessResponse, PreviewUrlResponse,
    RevokePreviewGrantResponse,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::body::Body;
use super::lifecycle::one_of;
use super::params::Params;
use super::preview_hosts::Domain;
use super::preview_proxy::{dial, expose, Reached, EDGE_TOKEN, TRANSPORT_MARK};
use super::reply::{json, Answer};
use super::routes::Routes;
use super::Shared;
use crate::machine::live::Machine;
use crate::machine::network::previews::{check_port, Grant, Mode, Transport};
use crate::machine::{now, Engine, Error};

/// The domain of previews, where they have names.
type Names = Option<Extension<Domain>>;

const BOTH: [Transport; 2] = [Transport::Http, Transport::WebSocket];
/// Longest wait for a service.
const MAX_WAIT_SECS: f64 = nullspace_wire::limits::PREVIEW_WAIT_SECS.max as f64;
/// Bytes of an answer that are looked at.
const STATUS_LINE: usize = 64;

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new()
        .on(&api::GET_HOST, host)
        .on(&api::GET_PREVIEW_URL, preview_url)
        .on(&api::CREATE_SIGNED_PREVIEW_URL, signed)
        .on(&api::CREATE_PREVIEW_PROXY_TARGET, proxy_target)
        .on(&api::CHECK_PREVIEW_READINESS, readiness)
        .on(&api::LIST_PREVIEW_URLS, list)
        .on(&api::REVOKE_PREVIEW_URL, revoke)
}

fn port(text: &str) -> Result<u16, Error> {
    let number = text.parse();
    check_port(
        number.map_err(|_| Error::invalid("port", format_args!("is {text:?}: give one such as 8080")))?,
    )
}

/// There is no URL with a token unless one is asked for, and none at all where a port is reached by its address.
async fn host(
    State(engine): Shared,
    domain: Names,
    Path(id): Path<String>,
    body: Body<GetHostRequest>,
) -> Answer {
    let port = check_port(body.value.port)?;
    let machine = engine.machine_of_port(&id).await?;
    let reached = expose(&engine, &machine, port, domain.as_deref()).await?;
    let answer = GetHostResponse {
        url: reached.has_name.then(|| reached.url()),
        websocket_url: reached.has_name.then(|| reached.websocket_url()),
        host: reached.host,
        access_token_expires_at: None,
        access_token_transport: None,
    };
    Ok(json(StatusCode::OK, &answer))
}

async fn urls(
    engine: &Arc<Engine>,
    domain: Names,
    id: &str,
    port: u16,
    seconds: Option<u64>,
) -> Result<PreviewUrlResponse, Error> {
    let machine = engine.machine_of_port(id).await?;
    let grant = engine
        .grant_preview(id, port, Mode::Direct, &BOTH, seconds)
        .await?;
    let reached = expose(engine, &machine, port, domain.as_deref()).await?;
    let url = |base: String, token: &Option<String>| {
        let token = token.as_deref().unwrap_or_default();
        format!("{base}/?{EDGE_TOKEN}={token}")
    };
    Ok(PreviewUrlResponse {
        url: url(reached.url(), &grant.http_token),
        websocket_url: url(reached.websocket_url(), &grant.websocket_token),
        access_token_expires_at: grant.info.expires_at.clone(),
        access_token_transport: "query".into(),
        grant: grant.info,
    })
}

async fn preview_url(
    State(engine): Shared,
    domain: Names,
    Path((id, number)): Path<(String, String)>,
) -> Answer {
    Ok(json(
        StatusCode::OK,
        &urls(&engine, domain, &id, port(&number)?, None).await?,
    ))
}

async fn signed(
    State(engine): Shared,
    domain: Names,
    Path((id, number)): Path<(String, String)>,
    body: Body<CreateSignedPreviewUrlRequest>,
) -> Answer {
    let seconds = body.value.expires_in_seconds;
    Ok(json(
        StatusCode::OK,
        &urls(&engine, domain, &id, port(&number)?, seconds).await?,
    ))
}

async fn proxy_target(
    State(engine): Shared,
    domain: Names,
    Path((id, number)): Path<(String, String)>,
    body: Body<CreatePreviewProxyTargetRequest>,
) -> Answer {
    let (port, wanted) = (port(&number)?, body.value);
    one_of("token_transport", wanted.token_transport, &["header"])?;
    let transports = match wanted.transports {
        None => BOTH.to_vec(),
        Some(names) => transports(&names)?,
    };
    let machine = engine.machine_of_port(&id).await?;
    let seconds = wanted.expires_in_seconds;
    let grant = engine
        .grant_preview(&id, port, Mode::Proxy, &transports, seconds)
        .await?;
    let reached = expose(&engine, &machine, port, domain.as_deref()).await?;
    Ok(json(
        StatusCode::OK,
        &target(&machine, grant, &reached, wanted.include_traffic_token_hint),
    ))
}

fn target(
    machine: &Machine,
    grant: Grant,
    reached: &Reached,
    hint: Option<bool>,
) -> PreviewProxyTargetResponse {
    let url = |base: String| format!("{base}/?{TRANSPORT_MARK}=header");
    let warning = "the address is on this computer's loopback: the proxy must run here too";
    let is_private = machine.read(|r| r.traffic_access_token.is_some());
    let hints = hint.unwrap_or(true);
    PreviewProxyTargetResponse {
        machine_id: machine.id.clone(),
        port: grant.info.port,
        token_header_name: "x-nullspace-preview-proxy-token".into(),
        expires_at: grant.info.expires_at.clone(),
        token_transport: "header".into(),
        required_forwarded_headers: ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]
            .map(Into::into)
            .to_vec(),
        warnings: (!reached.has_name)
            .then(|| warning.to_owned())
            .into_iter()
            .collect(),
        http_url: grant.http_token.is_some().then(|| url(reached.url())),
        websocket_url: grant
            .websocket_token
            .is_some()
            .then(|| url(reached.websocket_url())),
        http_token: grant.http_token,
        websocket_token: grant.websocket_token,
        traffic_access_required: hints.then_some(is_private),
        traffic_access_header_name: (hints && is_private).then(|| "x-nullspace-traffic-access-token".into()),
        grant: grant.info,
    }
}

fn transports(names: &[String]) -> Result<Vec<Transport>, Error> {
    let wrong = || Error::invalid("transports", "is wrong: give [\"http\"], [\"websocket\"] or both");
    let known = |name: &String| match name.as_str() {
        "http" => Ok(Transport::Http),
        "websocket" => Ok(Transport::WebSocket),
        _ => Err(wrong()),
    };
    let found = names.iter().map(known).collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() {
        return Err(wrong());
    }
    Ok(found)
}

async fn list(State(engine): Shared, Path(id): Path<String>, params: Params) -> Answer {
    let items = engine.list_previews(&id, params.parsed("port", "8080")?).await?;
    Ok(json(StatusCode::OK, &ListPreviewGrantsResponse { items }))
}

async fn revoke(State(engine): Shared, Path((id, grant_id)): Path<(String, String)>) -> Answer {
    let grant = engine.revoke_preview(&id, &grant_id).await?;
    Ok(json(
        StatusCode::OK,
        &RevokePreviewGrantResponse { success: true, grant },
    ))
}

/// Looks until the service answers or the time is over: both are an answer, not an error.
async fn readiness(
    State(engine): Shared,
    Path((id, number)): Path<(String, String)>,
    body: Body<PreviewReadinessRequest>,
) -> Answer {
    let (port, wanted) = (port(&number)?, body.value);
    let kind = one_of("kind", wanted.kind, &["tcp", "http"])?.unwrap_or_else(|| "tcp".into());
    let path = wanted.path.unwrap_or_else(|| "/".into());
    if !path.starts_with('/') || path.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(
            Error::invalid("path", format_args!("is {path:?}: give one such as \"/healthz\"")).into(),
        );
    }
    let seconds = wanted.timeout_secs.unwrap_or(30.0);
    if !(0.0..=MAX_WAIT_SECS).contains(&seconds) {
        return Err(Error::invalid(
            "timeout_secs",
            format_args!("is {seconds}: give 0 to 3600, such as 30"),
        )
        .into());
    }
    let interval = Duration::from_millis(wanted.interval_ms.unwrap_or(500).clamp(10, 60_000));
    let begun = Instant::now();
    let until = begun + Duration::from_secs_f64(seconds);
    let (machine, _busy) = engine.ready(&id).await?;
    let (mut attempts, mut is_ready) = (0, false);
    loop {
        attempts += 1;
        let look = answers(&machine, port, (kind == "http").then_some(path.as_str()));
        is_ready |= tokio::time::timeout(until.max(begun + interval) - Instant::now(), look)
            .await
            .unwrap_or(false);
        if is_ready || Instant::now() + interval > until || machine.gone.is_cancelled() {
            break;
        }
        tokio::time::sleep(interval).await;
    }
    let text = |text: &str| (!is_ready).then(|| text.to_owned());
    let answer = PreviewReadinessResponse {
        ready: is_ready,
        route_ready: true,
        service_ready: is_ready,
        machine_id: id,
        port,
        checked_at: now(),
        elapsed_ms: begun.elapsed().as_millis() as u64,
        attempts,
        path: (kind == "http").then_some(path),
        kind,
        code: text("preview_service_unavailable"),
        error: text("nothing inside the machine answers on this port"),
        suggested_action: text("start the service on localhost or 0.0.0.0 and ask again"),
    };
    Ok(json(StatusCode::OK, &answer))
}

/// Whether the port accepts, and with a path whether it answers with any status below 500.
async fn answers(machine: &Machine, port: u16, path: Option<&str>) -> bool {
    let Ok(mut stream) = dial(machine, port).await else {
        return false;
    };
    let Some(path) = path else {
        return true;
    };
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
    let mut head = Vec::new();
    if stream.write_all(request.as_bytes()).await.is_err() {
        return false;
    }
    let mut limited = (&mut stream).take(STATUS_LINE as u64);
    let _ = limited.read_to_end(&mut head).await;
    let text = String::from_utf8_lossy(&head);
    let status = text
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5)?.parse::<u16>().ok());
    status.is_some_and(|status| status < 500)
}
