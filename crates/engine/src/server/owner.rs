//! Whose files a request is about: paths of files are the same below a machine and below a volume.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use super::reply::Failure;
use crate::machine::files::Owner;
use crate::machine::{Error, Kind};

impl<S: Send + Sync> FromRequestParts<S> for Owner {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|error| Error::new(Kind::InvalidRequest, error.to_string()))?;
        let id = params.iter().find(|(name, _)| *name == "id");
        let id = id.map(|(_, id)| id.to_owned()).unwrap_or_default();
        Ok(match parts.uri.path().starts_with("/v1/volumes/") {
            true => Owner::Volume(id),
            false => Owner::Machine(id),
        })
    }
}
