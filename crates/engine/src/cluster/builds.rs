//! Builds of templates, for when the node that built is gone: what became of each, and the end of its log, are in the database. While
//! the node answers, it is asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::vec;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use nullspace_wire::template::{BuildLogEntry, BuildStatus, BuildStatusSnapshot};

use super::nodes::{self, Node, LOST_BUILD};
use super::{proxy, Cluster, PATIENCE};
use crate::machine::builds::interrupt;
use crate::machine::{Error, Result};
use crate::node::client::Unanswered;
use crate::node::messages::State as NodeState;
use crate::server::builds::log_from;
use crate::server::node::{BUILDS, LIMIT};
use crate::server::params::Params;
use crate::server::reply::{events, json, Answer, Events};

/// Builds that are kept.
const KEPT: i64 = 500;
/// Those of a node that are looked at: more are not begun between two looks.
const LOOKED_AT: usize = 100;

/// `GET /v1/templates/builds/{build_id}`
pub async fn status(
    State(cluster): State<Arc<Cluster>>,
    Path(id): Path<String>,
    params: Params,
    request: Request,
) -> Answer {
    let offset = params.parsed("offset", "0")?.unwrap_or(0);
    Ok(match cluster.find_build(&id, request).await? {
        Found::There(response) => response,
        Found::Kept(snapshot) => json(StatusCode::OK, &from(*snapshot, offset)),
    })
}

/// `GET /v1/templates/builds/{build_id}/logs`
pub async fn logs(
    State(cluster): State<Arc<Cluster>>,
    Path(id): Path<String>,
    params: Params,
    request: Request,
) -> Answer {
    let offset = log_from(&params)?;
    Ok(match cluster.find_build(&id, request).await? {
        Found::There(response) => response,
        Found::Kept(snapshot) => events(Log(from(*snapshot, offset).entries.into_iter())),
    })
}

/// Where a build is.
enum Found {
    /// On a node, which answered.
    There(Response),
    /// In the database.
    Kept(Box<BuildStatusSnapshot>),
}

/// A log that is over.
struct Log(vec::IntoIter<BuildLogEntry>);

impl Events for Log {
    type Event = BuildLogEntry;

    async fn next(&mut self) -> Option<BuildLogEntry> {
        self.0.next()
    }
}

/// With the log from an offset.
fn from(mut snapshot: BuildStatusSnapshot, offset: u64) -> BuildStatusSnapshot {
    snapshot.entries.retain(|entry| entry.offset >= offset);
    snapshot.next_offset = snapshot.entries.last().map_or(offset, |entry| entry.offset + 1);
    snapshot
}

fn is_over(status: BuildStatus) -> bool {
    !matches!(status, BuildStatus::Waiting | BuildStatus::Building)
}

fn is_found(answer: &Result<Response>) -> bool {
    matches!(answer, Ok(response) if response.status() != StatusCode::NOT_FOUND)
}

impl Cluster {
    /// Asks the home of templates, then the node that built, then the database.
    async fn find_build(&self, id: &str, request: Request) -> Result<Found> {
        let (parts, _) = request.into_parts();
        let ask = async |node: &Arc<Node>| {
            let request = Request::from_parts(parts.clone(), Body::empty());
            proxy::forward(&self.client, node, request).await
        };
        let (home, answer) = match self.template_home().await {
            Ok(home) => (Some(home.tag.clone()), ask(&home).await),
            Err(error) => (None, Err(error)),
        };
        if is_found(&answer) {
            return answer.map(Found::There);
        }
        let Some((tag, mut snapshot)) = self.kept_build(id).await? else {
            return answer.map(Found::There);
        };
        let node = self.nodes.by_tag(&tag);
        let is_home = home.as_ref() == Some(&tag);
        if is_home && answer.is_ok() {
            // It knows best: the template was deleted.
            self.forget_build(id).await?;
            return answer.map(Found::There);
        }
        if let Some(node) = node.as_ref().filter(|node| !is_home && node.is_reached()) {
            let answer = ask(node).await;
            if is_found(&answer) {
                return answer.map(Found::There);
            }
        }
        if is_over(snapshot.build.status) {
            return Ok(Found::Kept(Box::new(snapshot)));
        }
        match node {
            Some(node) if node.state() != NodeState::Lost => Err(node.unreachable()),
            _ => {
                let place = snapshot.entries.last().map_or(0, |entry| entry.offset + 1);
                let last = interrupt(&mut snapshot.build, place, LOST_BUILD);
                snapshot.entries.push(last);
                Ok(Found::Kept(Box::new(snapshot)))
            }
        }
    }

    async fn kept_build(&self, id: &str) -> Result<Option<(String, BuildStatusSnapshot)>> {
        let connection = self.db.get().await?;
        let row = connection
            .query_opt("SELECT node, snapshot FROM template_builds WHERE id = $1", &[&id])
            .await?;
        let Some(row) = row else { return Ok(None) };
        let snapshot = serde_json::from_str(row.get(1));
        let snapshot = snapshot.map_err(|e| Error::internal("reading a template build", e))?;
        Ok(Some((row.get(0), snapshot)))
    }

    async fn forget_build(&self, id: &str) -> Result<()> {
        let connection = self.db.get().await?;
        connection
            .execute("DELETE FROM template_builds WHERE id = $1", &[&id])
            .await?;
        Ok(())
    }

    /// Keeps what nodes build until the gateway ends.
    pub(super) async fn keep_builds(self: Arc<Self>) {
        while self.rests(nodes::LOOK).await {
            if let Err(error) = self.copy_builds().await {
                tracing::warn!(%error, "keeping builds of templates failed; trying again");
            }
        }
    }

    async fn copy_builds(&self) -> Result<()> {
        if !self.has_duty("builds").await? {
            return Ok(());
        }
        let Some(home) = self.known_home().await?.filter(|home| home.is_reached()) else {
            return Ok(());
        };
        let path = format!("{BUILDS}?{LIMIT}={LOOKED_AT}");
        let asked: std::result::Result<Vec<(String, String)>, Unanswered> =
            self.ask(&home, Method::GET, &path, None::<&()>, PATIENCE).await;
        let listed = match asked {
            Ok(listed) => listed,
            Err(error) => {
                // It may be of the version before.
                tracing::debug!(node = %home.name, %error, "a node does not tell its builds");
                return Ok(());
            }
        };
        let ids: Vec<&str> = listed.iter().map(|(id, _)| id.as_str()).collect();
        let connection = self.db.get().await?;
        let rows = connection
            .query(
                "SELECT id, status FROM template_builds WHERE id = ANY ($1)",
                &[&ids],
            )
            .await?;
        drop(connection);
        let known: HashMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        // Oldest first, so that the oldest kept are those that go.
        for (id, status) in listed.iter().rev() {
            if known.get(id) != Some(status) {
                self.copy_build(&home, id, status).await?;
            }
        }
        Ok(())
    }

    async fn copy_build(&self, node: &Node, id: &str, status: &str) -> Result<()> {
        let path = format!("{BUILDS}/{id}");
        let asked: std::result::Result<BuildStatusSnapshot, Unanswered> =
            self.ask(node, Method::GET, &path, None::<&()>, PATIENCE).await;
        let snapshot = match asked {
            Ok(snapshot) => snapshot,
            Err(error) => {
                tracing::warn!(node = %node.name, build = %id, %error, "a build was not kept; trying again");
                return Ok(());
            }
        };
        let snapshot =
            serde_json::to_string(&snapshot).map_err(|e| Error::internal("writing a template build", e))?;
        let connection = self.db.get().await?;
        connection
            .execute(
                "INSERT INTO template_builds (id, node, status, snapshot) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE \
                 SET node = excluded.node, status = excluded.status, snapshot = excluded.snapshot, told_at = clock_timestamp()",
                &[&id, &node.tag, &status, &snapshot],
            )
            .await?;
        connection
            .execute(
                "DELETE FROM template_builds WHERE id IN (SELECT id FROM template_builds ORDER BY told_at DESC OFFSET $1)",
                &[&KEPT],
            )
            .await?;
        Ok(())
    }
}
