//! `/v1/templates`: what machines can start from, by id and by reference. The reference is one segment of the path, percent-encoded.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use nullspace_wire::api;
use nullspace_wire::template::{
    AssignTagsRequest, RenameTemplateRequest, ReserveNameRequest, TemplateInfo, UpdateVisibilityRequest,
};
use serde_json::Value;

use super::body::Body;
use super::params::{project, Params};
use super::reply::{json, nothing, Answer};
use super::routes::Routes;
use super::Shared;
use crate::machine::builds::names::namespace;
use crate::machine::builds::BuildFilter;
use crate::machine::Result;

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new()
        .on(&api::LIST_TEMPLATES, list)
        .on(&api::GET_TEMPLATE, show)
        .on(&api::GET_TEMPLATE_BY_REF, show)
        .on(&api::DELETE_TEMPLATE, delete)
        .on(&api::DELETE_TEMPLATE_BY_REF, delete)
        .on(&api::LIST_TEMPLATE_TAGS, tags)
        .on(&api::LIST_TEMPLATE_TAGS_BY_REF, tags)
        .on(&api::ASSIGN_TEMPLATE_TAGS, assign_tags)
        .on(&api::ASSIGN_TEMPLATE_TAGS_BY_REF, assign_tags)
        .on(&api::REMOVE_TEMPLATE_TAG, remove_tag)
        .on(&api::REMOVE_TEMPLATE_TAG_BY_REF, remove_tag)
        .on(&api::LIST_TEMPLATE_ALIASES, aliases)
        .on(&api::LIST_TEMPLATE_ALIASES_BY_REF, aliases)
        .on(&api::REMOVE_TEMPLATE_ALIAS, remove_alias)
        .on(&api::REMOVE_TEMPLATE_ALIAS_BY_REF, remove_alias)
        .on(&api::RENAME_TEMPLATE, rename)
        .on(&api::RENAME_TEMPLATE_BY_REF, rename)
        .on(&api::UPDATE_TEMPLATE_VISIBILITY, set_visibility)
        .on(&api::UPDATE_TEMPLATE_VISIBILITY_BY_REF, set_visibility)
        .on(&api::LIST_TEMPLATE_BUILDS, builds)
        .on(&api::LIST_TEMPLATE_BUILDS_BY_REF, builds)
        .on(&api::RESERVE_TEMPLATE_NAME, claim)
        .on(&api::RELEASE_TEMPLATE_NAME_CLAIM, release)
        .on(&api::GET_TEMPLATE_NAMESPACE, show_namespace)
}

fn shown(info: &TemplateInfo, params: &Params) -> Result<Response> {
    Ok(match params.fields::<TemplateInfo>()? {
        Some(fields) => json(StatusCode::OK, &project(info, &fields)),
        None => json(StatusCode::OK, info),
    })
}

async fn list(State(engine): Shared, params: Params) -> Answer {
    let fields = params.fields::<TemplateInfo>()?;
    let all = engine.template_infos().await?;
    Ok(match &fields {
        Some(fields) => {
            let rows: Vec<Value> = all.iter().map(|template| project(template, fields)).collect();
            json(StatusCode::OK, &rows)
        }
        None => json(StatusCode::OK, &all),
    })
}

async fn show(State(engine): Shared, Path(reference): Path<String>, params: Params) -> Answer {
    Ok(shown(&engine.template_info(&reference).await?, &params)?)
}

async fn delete(State(engine): Shared, Path(reference): Path<String>) -> Answer {
    engine.delete_template(&reference).await?;
    Ok(nothing())
}

async fn tags(State(engine): Shared, Path(reference): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &engine.template_tags(&reference).await?))
}

async fn assign_tags(
    State(engine): Shared,
    Path(reference): Path<String>,
    body: Body<AssignTagsRequest>,
) -> Answer {
    let info = engine.assign_tags(&reference, body.value.tags).await?;
    Ok(json(StatusCode::OK, &info))
}

async fn remove_tag(State(engine): Shared, Path((reference, tag)): Path<(String, String)>) -> Answer {
    engine.remove_tag(&reference, &tag).await?;
    Ok(nothing())
}

async fn aliases(State(engine): Shared, Path(reference): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &engine.template_aliases(&reference).await?))
}

async fn remove_alias(State(engine): Shared, Path((reference, alias)): Path<(String, String)>) -> Answer {
    engine.remove_alias(&reference, &alias).await?;
    Ok(nothing())
}

async fn rename(
    State(engine): Shared,
    Path(reference): Path<String>,
    body: Body<RenameTemplateRequest>,
) -> Answer {
    let info = engine.rename_template(&reference, &body.value.new_name).await?;
    Ok(json(StatusCode::OK, &info))
}

async fn set_visibility(
    State(engine): Shared,
    Path(reference): Path<String>,
    body: Body<UpdateVisibilityRequest>,
) -> Answer {
    let info = engine.set_visibility(&reference, body.value.visibility).await?;
    Ok(json(StatusCode::OK, &info))
}

async fn builds(State(engine): Shared, Path(reference): Path<String>, params: Params) -> Answer {
    let filter = BuildFilter {
        status: params.text("status"),
        backend: params.text("backend"),
        source_type: params.text("source_type"),
        limit: params.parsed("limit", "50")?,
        cursor: params.text("cursor"),
    };
    Ok(json(
        StatusCode::OK,
        &engine.list_builds(&reference, filter).await?,
    ))
}

async fn claim(State(engine): Shared, body: Body<ReserveNameRequest>) -> Answer {
    let claim = engine.claim_name(&body.value.template_ref).await?;
    Ok(json(StatusCode::CREATED, &claim))
}

async fn release(State(engine): Shared, Path(token): Path<String>) -> Answer {
    engine.release_claim(&token).await?;
    Ok(nothing())
}

async fn show_namespace(Path(slug): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &namespace(&slug)?))
}
