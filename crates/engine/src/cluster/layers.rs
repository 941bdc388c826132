//! Snapshots on several nodes: a node that has none brings one from a node that has, and so does the look after them until
//! there are as many copies as were asked for.
//!
//! A copy has the id of the snapshot, so ids lead only to where it was taken; who has it is in `things`.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use futures_util::future::join_all;
use nullspace_wire::machine::SnapshotInfo;
use tokio_postgres::types::Json;

use super::nodes::Node;
use super::{no_thing, proxy, Cluster, PATIENCE};
use crate::machine::{unix_micros, Kind, Result};
use crate::node::carry::SNAPSHOTS;
use crate::node::client::Unanswered;
use crate::node::messages::{Bring, Source, State as NodeState};
use crate::server::reply::{json, nothing, Answer};

/// How long bringing a snapshot or a template may take: some have many gigabytes.
pub const LONG: Duration = Duration::from_secs(30 * 60);
/// Between two looks for what has too few copies.
pub const LOOK: Duration = Duration::from_secs(2);
/// Copies that a gateway has made at once.
const AT_ONCE: i64 = 4;
/// MiB that a node has free at least that gets copies.
const ROOM_MB: u64 = 2048;
/// How long it is known that a snapshot was deleted: longer than any node that comes back was away.
const KEPT: &str = "30 days";

/// `GET /v1/snapshots/{id}`
pub async fn show(State(cluster): State<Arc<Cluster>>, Path(id): Path<String>) -> Answer {
    let path = format!("/v1/snapshots/{id}");
    let mut unanswered = None;
    // Where it was taken needs no database.
    let own = cluster.nodes.of_id(&id);
    let own = own.ok_or_else(|| no_thing(&id))?;
    let mut asked = HashSet::new();
    for node in std::iter::once(own).chain(cluster.holders(&id).await.unwrap_or_default()) {
        if !asked.insert(node.tag.clone()) {
            continue;
        }
        if !node.is_reached() {
            unanswered = Some(node);
            continue;
        }
        let told: std::result::Result<SnapshotInfo, _> = cluster
            .ask(&node, Method::GET, &path, None::<&()>, PATIENCE)
            .await;
        match told {
            Ok(info) => return Ok(json(StatusCode::OK, &info)),
            Err(Unanswered::Refused(status, _)) if status == StatusCode::NOT_FOUND => {}
            Err(error) => {
                tracing::warn!(node = %node.name, %error, "a node does not show a snapshot");
                unanswered = Some(node);
            }
        }
    }
    Err(match unanswered {
        Some(node) if !cluster.is_deleted(&id).await? => node.unreachable(),
        _ => no_thing(&id),
    }
    .into())
}

/// `DELETE /v1/snapshots/{id}`: wherever it is, now or when its node is back.
pub async fn delete(State(cluster): State<Arc<Cluster>>, Path(id): Path<String>, request: Request) -> Answer {
    let own = cluster.nodes.of_id(&id).ok_or_else(|| no_thing(&id))?;
    let holders = cluster.holders(&id).await?;
    let mut is_known = !holders.is_empty();
    if own.is_reached() {
        // The one that knows whether something needs it.
        if let Ok(response) = proxy::forward(&cluster.client, &own, request).await {
            let status = response.status();
            if !status.is_success() && status != StatusCode::NOT_FOUND {
                return Ok(response);
            }
            is_known |= status.is_success();
            if !is_known {
                return Ok(response);
            }
        }
    }
    if !is_known {
        return Err(match cluster.is_deleted(&id).await? {
            true => no_thing(&id),
            false => own.unreachable(),
        }
        .into());
    }
    let others = holders.iter().filter(|node| node.tag != own.tag);
    join_all(others.map(|node| cluster.delete_copy(node, &id))).await;
    cluster.note_deleted(&id).await?;
    Ok(nothing())
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

impl Cluster {
    /// A node as one from which another brings something.
    pub fn source(node: &Node) -> Bring {
        Bring {
            from: Source {
                url: node.url.clone(),
                key: node.key.clone(),
            },
        }
    }

    /// Nodes that told of a copy of a snapshot, whether or not they answer now.
    pub async fn holders(&self, id: &str) -> Result<Vec<Arc<Node>>> {
        let rows = self
            .db
            .get()
            .await?
            .query(
                "SELECT node FROM things WHERE kind = 'snapshot' AND id = $1",
                &[&id],
            )
            .await?;
        let nodes = rows.iter().filter_map(|row| self.nodes.by_tag(row.get(0)));
        Ok(nodes.collect())
    }

    /// Sees to it that a node has a snapshot before a machine is made of it there.
    pub async fn bring_snapshot(&self, node: &Node, id: &str) -> Result<()> {
        let mut holders = self.holders(id).await?;
        // It may be younger than the last heartbeat.
        let own = self.nodes.of_id(id);
        if let Some(own) = own.filter(|own| own.is_reached()) {
            holders.push(own);
        }
        if holders.iter().any(|holder| holder.tag == node.tag) {
            return Ok(());
        }
        let mut why = None;
        for holder in &holders {
            if !holder.is_reached() {
                why = why.or_else(|| Some(holder.unreachable()));
                continue;
            }
            match self.copy_snapshot(holder, node, id).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind == Kind::SnapshotNotFound => {}
                Err(error) => why = Some(error),
            }
        }
        match why {
            Some(error) if !self.is_deleted(id).await? => Err(error),
            _ => Err(no_thing(id)),
        }
    }

    async fn is_deleted(&self, id: &str) -> Result<bool> {
        let connection = self.db.get().await?;
        let row = connection
            .query_opt("SELECT 1 FROM deleted_snapshots WHERE id = $1", &[&id])
            .await?;
        Ok(row.is_some())
    }

    async fn copy_snapshot(&self, from: &Node, to: &Node, id: &str) -> Result<()> {
        let path = format!("{SNAPSHOTS}/{id}/pull");
        let asked: std::result::Result<SnapshotInfo, _> = self
            .ask(to, Method::POST, &path, Some(&Self::source(from)), LONG)
            .await;
        let info = asked.map_err(|error| error.into_error(&format!("node {}", to.name)))?;
        // At once: until the node's next heartbeat nobody else would know, and the other one may be gone by then.
        let seq = unix_micros(&info.created_at.0).unwrap_or_default();
        self.db
            .get()
            .await?
            .execute(
                "INSERT INTO things (id, node, kind, seq, info) VALUES ($1, $2, 'snapshot', $3, $4) ON CONFLICT DO NOTHING",
                &[&id, &to.tag, &seq, &Json(&info)],
            )
            .await?;
        Ok(())
    }

    async fn delete_copy(&self, node: &Node, id: &str) {
        if !node.is_reached() {
            return;
        }
        let path = format!("/v1/snapshots/{id}");
        let asked: std::result::Result<(), _> =
            self.ask(node, Method::DELETE, &path, None::<&()>, PATIENCE).await;
        match asked {
            Ok(()) => {}
            Err(Unanswered::Refused(status, _)) if status == StatusCode::NOT_FOUND => {}
            Err(error) => {
                tracing::warn!(node = %node.name, snapshot = %id, %error, "a copy was not deleted; trying again")
            }
        }
    }

    async fn note_deleted(&self, id: &str) -> Result<()> {
        let mut connection = self.db.get().await?;
        let transaction = connection.transaction().await?;
        transaction
            .execute(
                "INSERT INTO deleted_snapshots (id) VALUES ($1) ON CONFLICT DO NOTHING",
                &[&id],
            )
            .await?;
        transaction
            .execute("DELETE FROM things WHERE kind = 'snapshot' AND id = $1", &[&id])
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Deletes copies that came back with their nodes, or were on their way when the snapshot was deleted.
    async fn delete_again(&self) -> Result<()> {
        let connection = self.db.get().await?;
        let rows = connection
            .query(
                "SELECT t.id, t.node FROM things t JOIN deleted_snapshots d USING (id) WHERE t.kind = 'snapshot'",
                &[],
            )
            .await?;
        for row in &rows {
            let (id, tag): (String, String) = (row.get(0), row.get(1));
            if let Some(node) = self.nodes.by_tag(&tag).filter(|node| node.is_reached()) {
                self.delete_copy(&node, &id).await;
            }
        }
        let text =
            format!("DELETE FROM deleted_snapshots WHERE deleted_at < clock_timestamp() - interval '{KEPT}'");
        connection.execute(&text, &[]).await?;
        Ok(())
    }

    /// Has snapshots copied that fewer nodes hold than were asked for. Those of nodes that drain count as none, so that nothing goes
    /// with them. `refused`: those that a node does not give away, such as pauses.
    async fn copy_snapshots(&self, refused: &mut HashSet<String>) -> Result<()> {
        let nodes = self.nodes.all();
        let tags = |is_it: &dyn Fn(&Node) -> bool| -> Vec<String> {
            let some = nodes.iter().filter(|node| is_it(node));
            some.map(|node| node.tag.clone()).collect()
        };
        // One that does not answer for a moment still has what it has.
        let staying = tags(&|node| matches!(node.state(), NodeState::Ready | NodeState::Unreachable));
        let ready = tags(&|node| node.state() == NodeState::Ready);
        let reached = tags(&Node::is_reached);
        let wanted = i64::try_from(self.copies.min(staying.len())).unwrap_or(i64::MAX);
        let skipped: Vec<&String> = refused.iter().collect();
        let rows = self
            .db
            .get()
            .await?
            .query(
                "SELECT id, array_agg(node) FROM things WHERE kind = 'snapshot' AND id <> ALL ($4) \
                 AND id NOT IN (SELECT id FROM deleted_snapshots) GROUP BY id \
                 HAVING count(*) FILTER (WHERE node = ANY ($1)) < $2 AND bool_or(node = ANY ($3)) LIMIT $5",
                &[&staying, &wanted, &reached, &skipped, &AT_ONCE],
            )
            .await?;
        let copies = rows.iter().map(|row| {
            let (id, holders): (String, Vec<String>) = (row.get(0), row.get(1));
            let free = ready.iter().filter(|tag| !holders.contains(tag));
            // All gateways choose the same one.
            let to = free
                .filter_map(|tag| self.nodes.by_tag(tag))
                .filter(|node| node.capacity.disk_free_mb >= ROOM_MB)
                .max_by_key(|node| hash(&(&id, &node.tag)));
            let from = holders
                .iter()
                .filter_map(|tag| self.nodes.by_tag(tag))
                .find(|node| node.is_reached());
            async move {
                let copied = match (from, to) {
                    (Some(from), Some(to)) => self.copy_snapshot(&from, &to, &id).await,
                    _ => Ok(()),
                };
                (id, copied)
            }
        });
        for (id, copied) in join_all(copies).await {
            match copied {
                Ok(()) => {}
                Err(error) if error.kind == Kind::SnapshotInUse => {
                    refused.insert(id);
                }
                Err(error) => {
                    tracing::warn!(snapshot = %id, %error, "a snapshot was not copied; trying again")
                }
            }
        }
        Ok(())
    }

    /// Looks after copies until the gateway ends.
    pub async fn look_after_copies(self: Arc<Self>) {
        let mut refused = HashSet::new();
        while self.rests(LOOK).await {
            let cared = async {
                self.delete_again().await?;
                self.copy_snapshots(&mut refused).await?;
                self.copy_templates().await
            };
            let cared = tokio::select! {
                cared = cared => cared,
                () = self.closing.cancelled() => return,
            };
            if let Err(error) = cared {
                tracing::warn!(%error, "looking after copies failed; trying again");
            }
        }
    }

    /// Whether a draining node has what no other one has, and some node could take it.
    pub async fn holds_the_last(&self, tag: &str) -> Result<bool> {
        let ready: Vec<String> = self
            .nodes
            .all()
            .iter()
            .filter(|node| node.state() == NodeState::Ready && node.tag != tag)
            .map(|node| node.tag.clone())
            .collect();
        if ready.is_empty() {
            return Ok(false);
        }
        let row = self
            .db
            .get()
            .await?
            .query_one(
                "SELECT EXISTS (SELECT 1 FROM things t WHERE t.kind = 'snapshot' AND t.node = $1 \
                 AND NOT EXISTS (SELECT 1 FROM things o WHERE o.id = t.id AND o.node = ANY ($2)) \
                 AND t.id NOT IN (SELECT id FROM deleted_snapshots)) \
                 OR EXISTS (SELECT 1 FROM template_nodes WHERE node = $1 AND is_home)",
                &[&tag, &ready],
            )
            .await?;
        Ok(row.get(0))
    }
}
