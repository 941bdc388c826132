//! Volumes of running machines: a volume lives on the node that made it, and is there only.

use std::sync::Arc;

use axum::body::{to_bytes, Body};
use axum::extract::{Path, Request, State};
use nullspace_wire::machine::VolumeMountRequest;

use super::{proxy, Cluster};
use crate::machine::{Error, Result};
use crate::server::reply::Answer;

/// Most bytes of a request that attaches a volume. A longer one is none.
const LIMIT: usize = 64 << 10;

/// `POST /v1/machines/{id}/volumes`
pub async fn attach(State(cluster): State<Arc<Cluster>>, Path(id): Path<String>, request: Request) -> Answer {
    let node = cluster.goes_to(&id).await?;
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, LIMIT)
        .await
        .map_err(|_| Error::invalid("the body", "is no JSON of less than 64 KiB"))?;
    // What is wrong with it otherwise, the node says.
    if let Ok(mount) = serde_json::from_slice::<VolumeMountRequest>(&bytes) {
        cluster.check_node_of_volume(&mount.reference, &node.tag).await?;
    }
    let request = Request::from_parts(parts, Body::from(bytes));
    Ok(proxy::forward(&cluster.client, &node, request).await?)
}

impl Cluster {
    /// Whether a volume, if there is one, is on the node that has the machine.
    async fn check_node_of_volume(&self, reference: &str, machine: &str) -> Result<()> {
        let volume = match self.nodes.of_id(reference) {
            Some(node) => Some(node),
            None => {
                let all = self.volumes().await?;
                let found = all.iter().find(|volume| volume.name == reference);
                found.and_then(|volume| self.nodes.of_id(&volume.id))
            }
        };
        match volume.filter(|node| node.tag != machine) {
            None => Ok(()),
            Some(node) => Err(Error::invalid(
                "ref",
                format_args!(
                    "is {reference:?}, a volume of node {}, and the machine is on another one: make the machine with the \
                     volume, which places it there",
                    node.name
                ),
            )),
        }
    }
}
