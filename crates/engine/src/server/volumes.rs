//! `/v1/volumes` and the volumes of a machine. Files of volumes are in [`super::files`].

use axum::extract::{Path, State};
use axum::http::StatusCode;
use nullspace_wire::api;
use nullspace_wire::machine::VolumeMountRequest;
use nullspace_wire::volume::{CreateVolumeRequest, VolumeInfo};
use serde_json::Value;

use super::body::Body;
use super::params::{project, Params};
use super::reply::{json, nothing, Answer};
use super::routes::Routes;
use super::Shared;

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new()
        .on(&api::LIST_VOLUMES, list)
        .on(&api::CREATE_VOLUME, create)
        .on(&api::GET_VOLUME_BY_NAME, by_name)
        .on(&api::GET_VOLUME, show)
        .on(&api::DELETE_VOLUME, destroy)
        .on(&api::LIST_VOLUME_ATTACHMENTS, attachments)
        .on(&api::LIST_MACHINE_VOLUME_ATTACHMENTS, of_machine)
        .on(&api::ATTACH_MACHINE_VOLUME, attach)
        .on(&api::DETACH_MACHINE_VOLUME, detach)
        .on(&api::GET_MACHINE_VOLUME_HEALTH, health)
        .on(&api::REMOUNT_MACHINE_VOLUME, remount)
}

async fn create(State(engine): Shared, body: Body<CreateVolumeRequest>) -> Answer {
    Ok(json(
        StatusCode::OK,
        &engine.create_volume(&body.value.name).await?,
    ))
}

async fn list(State(engine): Shared, params: Params) -> Answer {
    listed(&params, engine.list_volumes().await?)
}

/// Volumes with the fields that were asked for.
pub fn listed(params: &Params, all: Vec<VolumeInfo>) -> Answer {
    Ok(match params.fields::<VolumeInfo>()? {
        Some(fields) => {
            let rows: Vec<Value> = all.iter().map(|volume| project(volume, &fields)).collect();
            json(StatusCode::OK, &rows)
        }
        None => json(StatusCode::OK, &all),
    })
}

async fn show(State(engine): Shared, Path(id): Path<String>, params: Params) -> Answer {
    let volume = engine.volume(&id).await?;
    shown(&params, &engine.describe_volume(volume).await?)
}

async fn by_name(State(engine): Shared, Path(name): Path<String>, params: Params) -> Answer {
    let volume = engine.volume_by_name(&name).await?;
    shown(&params, &engine.describe_volume(volume).await?)
}

/// A volume with the fields that were asked for.
pub fn shown(params: &Params, info: &VolumeInfo) -> Answer {
    Ok(match params.fields::<VolumeInfo>()? {
        Some(fields) => json(StatusCode::OK, &project(info, &fields)),
        None => json(StatusCode::OK, info),
    })
}

async fn destroy(State(engine): Shared, Path(id): Path<String>) -> Answer {
    engine.delete_volume(&id).await?;
    Ok(nothing())
}

async fn attachments(State(engine): Shared, Path(id): Path<String>) -> Answer {
    let volume = engine.volume(&id).await?;
    Ok(json(StatusCode::OK, &engine.attachments_of(&volume.id)))
}

async fn of_machine(State(engine): Shared, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &engine.machine_volumes(&id).await?))
}

async fn attach(State(engine): Shared, Path(id): Path<String>, body: Body<VolumeMountRequest>) -> Answer {
    Ok(json(
        StatusCode::CREATED,
        &engine.attach_volume(&id, body.value).await?,
    ))
}

async fn detach(State(engine): Shared, Path((id, attachment)): Path<(String, String)>) -> Answer {
    Ok(json(
        StatusCode::OK,
        &engine.detach_volume(&id, &attachment).await?,
    ))
}

async fn health(State(engine): Shared, Path((id, attachment)): Path<(String, String)>) -> Answer {
    Ok(json(
        StatusCode::OK,
        &engine.volume_health(&id, &attachment).await?,
    ))
}

async fn remount(State(engine): Shared, Path((id, attachment)): Path<(String, String)>) -> Answer {
    Ok(json(
        StatusCode::OK,
        &engine.remount_volume(&id, &attachment).await?,
    ))
}
