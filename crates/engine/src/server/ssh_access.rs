//! `/v1/machines/{id}/ssh-access`.

use std::sync::Arc;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Extension, Router};
use nullspace_wire::ssh::SshAccessRequest;

use super::body::Body;
use super::reply::{json, Answer};
use crate::machine::Engine;
use crate::ssh::Door;

/// Routes of this resource.
pub fn routes() -> Router<Arc<Engine>> {
    Router::new().route("/v1/machines/{id}/ssh-access", post(create))
}

async fn create(
    Extension(door): Extension<Arc<Door>>,
    Path(id): Path<String>,
    body: Body<SshAccessRequest>,
) -> Answer {
    Ok(json(StatusCode::OK, &door.admit(&id, body.value).await?))
}
