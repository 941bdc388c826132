//! Machines whose node was given up: they are told of as it last told of them, ended, until somebody removes them. Their node may
//! be back by then, and know nothing of them.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use nullspace_wire::machine::{DestroyMachineResponse, MachineInfo, MachineStatus};

use super::nodes::{Node, LOST_MACHINE};
use super::{claims, lists, no_thing, proxy, Cluster};
use crate::machine::live::not_ready;
use crate::machine::{Error, Result};
use crate::node::messages::State as NodeState;
use crate::server::machines;
use crate::server::params::Params;
use crate::server::reply::{json, Answer};

/// `GET /v1/machines/{id}`
pub async fn show(
    State(cluster): State<Arc<Cluster>>,
    Path(id): Path<String>,
    params: Params,
    request: Request,
) -> Answer {
    if let Some(response) = cluster.of_its_node(&id, request).await? {
        return Ok(response);
    }
    let info = cluster
        .given_up(&id)
        .await?
        .ok_or_else(|| Error::no_machine(&id))?;
    machines::shown(&params, &info)
}

/// `DELETE /v1/machines/{id}`
pub async fn destroy(
    State(cluster): State<Arc<Cluster>>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    if let Some(response) = cluster.of_its_node(&id, request).await? {
        // Should its node be lost before it tells of this, the machine must not come back as one that was lost.
        if response.status().is_success() && cluster.nodes.has_database() {
            let _ = cluster.forget(&id).await;
        }
        return Ok(response);
    }
    match cluster.forget(&id).await? {
        false => Err(Error::no_machine(&id).into()),
        true => {
            let status = MachineStatus::Destroyed;
            Ok(json(StatusCode::OK, &DestroyMachineResponse { id, status }))
        }
    }
}

impl Cluster {
    /// The answer of the machine's node; `None` if the node is lost, or does not know the machine.
    async fn of_its_node(&self, id: &str, request: Request) -> Result<Option<Response>> {
        let node = self.nodes.of_id(id).ok_or_else(|| no_thing(id))?;
        if node.state() == NodeState::Lost {
            return Ok(None);
        }
        let response = proxy::forward(&self.client, &node, request).await?;
        // Asked only then, so that the database is not needed for machines that are there.
        let is_unknown = response.status() == StatusCode::NOT_FOUND;
        match is_unknown && matches!(self.given_up(id).await, Ok(Some(_))) {
            true => Ok(None),
            false => Ok(Some(response)),
        }
    }

    /// Removes what was told of a machine, which somebody ended; `false` if nothing was.
    async fn forget(&self, id: &str) -> Result<bool> {
        let connection = self.db.get().await?;
        claims::ended(&**connection, &[id.to_owned()]).await?;
        let forget = "DELETE FROM things WHERE id = $1 AND kind = 'machine'";
        Ok(connection.execute(forget, &[&id]).await? > 0)
    }

    /// A machine that was given up with its node.
    pub(super) async fn given_up(&self, id: &str) -> Result<Option<MachineInfo>> {
        let row = self
            .db
            .get()
            .await?
            .query_opt(
                "SELECT info FROM things WHERE id = $1 AND kind = 'machine' AND given_up",
                &[&id],
            )
            .await?;
        row.map(|row| lists::info(&row, 0)).transpose()
    }

    /// Why a call about something of a lost node is not answered.
    pub(super) async fn why_not(&self, id: &str, node: &Node) -> Error {
        match self.given_up(id).await {
            Ok(Some(info)) => {
                let text = info.error_message.unwrap_or_else(|| LOST_MACHINE.to_owned());
                not_ready(id, MachineStatus::Error, Some(text))
            }
            Ok(None) if id.starts_with("mch_") => Error::no_machine(id),
            Ok(None) => node.unreachable(),
            Err(error) => error,
        }
    }
}
