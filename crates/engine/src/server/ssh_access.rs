//! `/v1/machines/{id}/ssh-access`.

use std::sync::Arc;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::Extension;
use nullspace_wire::api;
use nullspace_wire::ssh::SshAccessRequest;

use super::body::Body;
use super::reply::{json, Answer};
use super::routes::Routes;
use crate::ssh::SshListener;

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new().on(&api::CREATE_SSH_ACCESS, create)
}

async fn create(
    Extension(ssh): Extension<Arc<SshListener>>,
    Path(id): Path<String>,
    body: Body<SshAccessRequest>,
) -> Answer {
    Ok(json(StatusCode::OK, &ssh.admit(&id, body.value).await?))
}
