//! `/v1/templates`: what machines can start from. Builds are not here yet.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{json as value, Value};

use nullspace_wire::api;

use super::params::{project, Params};
use super::reply::{json, Answer};
use super::routes::Routes;
use super::Shared;
use crate::machine::templates::Template;

const FIELDS: [&str; 10] = [
    "id",
    "name",
    "description",
    "builtin",
    "canonical_ref",
    "namespace_slug",
    "visibility",
    "tags",
    "default_tag",
    "runtime_defaults",
];

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new()
        .on(&api::LIST_TEMPLATES, list)
        .on(&api::GET_TEMPLATE, show)
        .on(&api::GET_TEMPLATE_BY_REF, show)
}

fn info(template: &Template) -> Value {
    let namespace = if template.is_builtin() {
        "nullspace"
    } else {
        "local"
    };
    // Names of variables only, never values. Source: schema, TemplateRuntimeDefaults.
    let keys: Vec<&String> = template.default_envs.keys().collect();
    value!({
        "id": template.id,
        "name": template.name,
        "description": if template.is_builtin() { "This computer's /usr, read-only, with a generated /etc" } else { "" },
        "builtin": template.is_builtin(),
        "canonical_ref": format!("{namespace}/{}:latest", template.name),
        "namespace_slug": namespace,
        "visibility": "private",
        "tags": ["latest"],
        "default_tag": "latest",
        "runtime_defaults": { "default_env_keys": keys, "default_workdir": template.default_workdir },
    })
}

async fn list(State(engine): Shared, params: Params) -> Answer {
    let fields = params.fields(&FIELDS)?;
    let all: Vec<Value> = engine.templates().await?.iter().map(info).collect();
    let shown: Vec<Value> = match &fields {
        Some(fields) => all.iter().map(|template| project(template, fields)).collect(),
        None => all,
    };
    Ok(json(StatusCode::OK, &shown))
}

async fn show(State(engine): Shared, Path(reference): Path<String>, params: Params) -> Answer {
    let fields = params.fields(&FIELDS)?;
    let template = info(&engine.template(&reference).await?);
    Ok(match fields {
        Some(fields) => json(StatusCode::OK, &project(&template, &fields)),
        None => json(StatusCode::OK, &template),
    })
}
