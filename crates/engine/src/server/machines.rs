//! `/v1/machines`: machines, their leases, their network policy, their use.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use nullspace_wire::api;
use nullspace_wire::machine::{
    CreateMachineRequest, DestroyMachineResponse, ListMachinesResponse, MachineInfo, MachineStatus,
    SetTimeoutRequest,
};
use nullspace_wire::network::{UpdateEgressRequest, UpdateEgressResponse};
use serde_json::{json as value, Value};

use super::body::Body;
use super::node::POOL_SEARCH;
use super::params::{project, Params};
use super::reply::{json, json_text, Answer};
use super::routes::Routes;
use super::Shared;
use crate::machine::records::list::ListRequest;
use crate::machine::{validate, Error};

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new()
        .on(&api::LIST_MACHINES, list)
        .on(&api::CREATE_MACHINE, create)
        .on(&api::GET_MACHINE, show)
        .on(&api::DESTROY_MACHINE, destroy)
        .on(&api::SET_TIMEOUT, set_timeout)
        .on(&api::UPDATE_MACHINE_EGRESS, update_egress)
        .on(&api::GET_METRICS, metrics)
        .on(&api::HIBERNATE_MACHINE, hibernate)
        .on(&api::RESUME_MACHINE, resume)
        .on(&api::FORK_MACHINE, fork)
}

/// The `Idempotency-Key` of a request. Clients of the API send one; people with curl need not.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    headers
        .get("idempotency-key")
        .map(|value| {
            value
                .to_str()
                .map_err(|_| Error::invalid("Idempotency-Key", "is no ASCII text: give a UUID"))
        })
        .transpose()
}

async fn create(State(engine): Shared, headers: HeaderMap, body: Body<CreateMachineRequest>) -> Answer {
    let key = idempotency_key(&headers)?;
    let search = headers
        .get(POOL_SEARCH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let made = engine.create(key, body.value, &body.raw, search).await?;
    Ok(json_text(StatusCode::CREATED, made))
}

impl ListRequest {
    /// What a query asks for.
    pub fn of(params: &Params) -> Result<Self, Error> {
        Ok(Self {
            state: params.text("state"),
            template: params.text("template"),
            metadata: params.object("metadata")?,
            limit: params.parsed("limit", "100")?,
            next_token: params.text("next_token"),
        })
    }
}

async fn list(State(engine): Shared, params: Params) -> Answer {
    page(&params, engine.list(ListRequest::of(&params)?).await?)
}

/// A page with the fields that were asked for.
pub fn page(params: &Params, page: ListMachinesResponse) -> Answer {
    let Some(fields) = params.fields::<MachineInfo>()? else {
        return Ok(json(StatusCode::OK, &page));
    };
    let items: Vec<Value> = page.items.iter().map(|item| project(item, &fields)).collect();
    let mut answer = value!({ "items": items, "has_next": page.has_next });
    if let Some(token) = page.next_token {
        answer["next_token"] = token.into();
    }
    Ok(json(StatusCode::OK, &answer))
}

async fn show(State(engine): Shared, Path(id): Path<String>, params: Params) -> Answer {
    shown(&params, &engine.get(&id).await?)
}

/// A machine with the fields that were asked for.
pub fn shown(params: &Params, info: &MachineInfo) -> Answer {
    Ok(match params.fields::<MachineInfo>()? {
        Some(fields) => json(StatusCode::OK, &project(info, &fields)),
        None => json(StatusCode::OK, info),
    })
}

async fn destroy(State(engine): Shared, Path(id): Path<String>) -> Answer {
    engine.destroy(&id).await?;
    let status = MachineStatus::Destroyed;
    Ok(json(StatusCode::OK, &DestroyMachineResponse { id, status }))
}

async fn set_timeout(State(engine): Shared, Path(id): Path<String>, body: Body<SetTimeoutRequest>) -> Answer {
    let request = body.value;
    let lease = engine
        .set_timeout(&id, request.timeout_ms, request.timeout_action)
        .await?;
    Ok(json(StatusCode::OK, &lease))
}

async fn update_egress(
    State(engine): Shared,
    Path(machine_id): Path<String>,
    body: Body<UpdateEgressRequest>,
) -> Answer {
    validate::check_policy_keys("egress", &body.raw["egress"])?;
    let egress = engine.update_egress(&machine_id, body.value.egress).await?;
    Ok(json(StatusCode::OK, &UpdateEgressResponse { machine_id, egress }))
}

async fn metrics(State(engine): Shared, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &engine.metrics(&id).await?))
}

async fn hibernate(State(engine): Shared, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &engine.pause(&id).await?))
}

async fn resume(State(engine): Shared, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &engine.resume(&id).await?))
}

async fn fork(State(engine): Shared, Path(id): Path<String>, headers: HeaderMap) -> Answer {
    let key = idempotency_key(&headers)?;
    Ok(json_text(StatusCode::CREATED, engine.fork(&id, key).await?))
}
