//! Warm pools of the cluster: a row each, of which every ready node holds a share as a pool of its own, under the same id.
//!
//! Shares are dealt out by one gateway at a time: a lock of the database is held while nodes are told, so that no node hears an
//! older share after a newer one. Each second that is the gateway which has the duty, because two that notice a silent node at
//! different moments would move shares to and fro; a gateway that was just asked to change a pool does it at once. What each node was told
//! is in the database, and told again after a while, so that whatever went wrong in between does not stay.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use futures_util::future::join_all;
use nullspace_wire::warm_pool::{
    CheckoutMode, CreateWarmPoolRequest, DegradedReason, ListWarmPoolsResponse, PoolCounts, PoolResources,
    PoolState, UpdateWarmPoolRequest, WarmPool,
};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_postgres::types::Json;
use tokio_postgres::{Row, Transaction};

use super::db::{self, Lock};
use super::nodes::{self, Node};
use super::Cluster;
use crate::machine::pools::terms::{PoolAction, Resolved, Terms};
use crate::machine::pools::{no_pool, PoolFilter};
use crate::machine::validate::{Checkout, Plan, PoolSearch};
use crate::machine::{pool_id, Error, Kind, Result};
use crate::node::client::Unanswered;
use crate::node::messages::State as NodeState;
use crate::server::body::Body;
use crate::server::node::{POOLS, TEMPLATE};
use crate::server::params::Params;
use crate::server::reply::{json, Answer};

/// How long a node may take to hear of its share.
const PATIENCE: Duration = Duration::from_secs(2);
/// A share is told again after this.
const AGAIN_SECONDS: f64 = 10.0;
/// How long a change of a pool waits for nodes before it is answered.
const CHANGE_PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks for a machine that became ready.
const LOOK: Duration = Duration::from_millis(50);
/// Looks in a row that found a ready machine which somebody else then took.
const LOOKS: usize = 50;
/// The nodes' API for one pool.
const NODE_POOLS: &str = "/v1/template-warm-pools";

/// What a gateway keeps for its dealing.
#[derive(Default)]
pub struct Dealer {
    /// Changes of pools here, and how many of them were dealt out.
    changes: AtomicU64,
    dealt: Mutex<u64>,
}

/// A pool as the database has it.
struct Stored {
    terms: Terms,
    resolved: Resolved,
}

impl Stored {
    fn read(row: &Row) -> Result<Self> {
        let (Json(terms), Json(resolved)): (Json<serde_json::Value>, Json<serde_json::Value>) =
            (row.get(0), row.get(1));
        let unreadable = |e| Error::internal("reading a warm pool", e);
        Ok(Self {
            terms: serde_json::from_value(terms).map_err(unreadable)?,
            resolved: serde_json::from_value(resolved).map_err(unreadable)?,
        })
    }
}

/// What a node was told.
struct ReportedShare {
    terms: Terms,
    refused: bool,
    is_old: bool,
}

/// `GET /v1/template-warm-pools`
pub async fn list(State(cluster): State<Arc<Cluster>>, params: Params) -> Answer {
    let filter = PoolFilter::of(&params)?;
    let items = cluster.list_pools(filter).await?;
    Ok(json(StatusCode::OK, &ListWarmPoolsResponse { items }))
}

/// `POST /v1/template-warm-pools`
pub async fn create(State(cluster): State<Arc<Cluster>>, body: Body<CreateWarmPoolRequest>) -> Answer {
    Ok(json(StatusCode::CREATED, &cluster.create_pool(body.value).await?))
}

/// `GET /v1/template-warm-pools/{id}`
pub async fn show(State(cluster): State<Arc<Cluster>>, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &cluster.show_pool(&id).await?))
}

/// `GET /v1/template-warm-pools/{id}/status`
pub async fn status(State(cluster): State<Arc<Cluster>>, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &cluster.show_pool(&id).await?.status))
}

/// `PATCH /v1/template-warm-pools/{id}`
pub async fn update(
    State(cluster): State<Arc<Cluster>>,
    Path(id): Path<String>,
    body: Body<UpdateWarmPoolRequest>,
) -> Answer {
    Ok(json(
        StatusCode::OK,
        &cluster.update_pool(&id, &body.value).await?,
    ))
}

/// `DELETE /v1/template-warm-pools/{id}`
pub async fn delete(State(cluster): State<Arc<Cluster>>, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &cluster.delete_pool(&id).await?))
}

/// `POST /v1/template-warm-pools/{id}/enable`
pub async fn enable(State(cluster): State<Arc<Cluster>>, Path(id): Path<String>) -> Answer {
    Ok(json(
        StatusCode::OK,
        &cluster.turn_pool(&id, PoolAction::Enable).await?,
    ))
}

/// `POST /v1/template-warm-pools/{id}/disable`
pub async fn disable(State(cluster): State<Arc<Cluster>>, Path(id): Path<String>) -> Answer {
    Ok(json(
        StatusCode::OK,
        &cluster.turn_pool(&id, PoolAction::Disable).await?,
    ))
}

/// `POST /v1/template-warm-pools/{id}/drain`
pub async fn drain(State(cluster): State<Arc<Cluster>>, Path(id): Path<String>) -> Answer {
    Ok(json(
        StatusCode::OK,
        &cluster.turn_pool(&id, PoolAction::Drain).await?,
    ))
}

/// `POST /v1/template-warm-pools/{id}/reconcile`
pub async fn reconcile(State(cluster): State<Arc<Cluster>>, Path(id): Path<String>) -> Answer {
    Ok(json(
        StatusCode::OK,
        &cluster.turn_pool(&id, PoolAction::Reconcile).await?,
    ))
}

impl Cluster {
    async fn create_pool(self: &Arc<Self>, body: CreateWarmPoolRequest) -> Result<WarmPool> {
        let terms = Terms::new(pool_id(), body)?;
        let resolved = self.resolve(&terms.build(), Some(&terms.resources)).await?;
        self.db
            .get()
            .await?
            .execute(
                "INSERT INTO pools (id, terms, resolved) VALUES ($1, $2, $3)",
                &[&terms.id, &Json(&terms), &Json(&resolved)],
            )
            .await?;
        // Nobody waits for it: a single engine answers before the first machine has started, too.
        self.deal_soon();
        let stored = Stored { terms, resolved };
        Ok(self.sum(stored, &[]))
    }

    /// Pools that match, newest first.
    async fn list_pools(&self, filter: PoolFilter) -> Result<Vec<WarmPool>> {
        let template = match &filter.template {
            Some(reference) => match self.resolve(reference, None).await {
                Ok(resolved) => Some(resolved.template_id),
                // A template that is not here has no pools.
                Err(error) if !error.kind.is_retryable() => return Ok(Vec::new()),
                Err(error) => return Err(error),
            },
            None => None,
        };
        let rows = self
            .db
            .get()
            .await?
            .query("SELECT terms, resolved FROM pools", &[])
            .await?;
        let reached = self.nodes.reached();
        let asked = join_all(reached.iter().map(|node| async move {
            let answer: std::result::Result<ListWarmPoolsResponse, _> = self
                .ask(node, Method::GET, NODE_POOLS, None::<&()>, PATIENCE)
                .await;
            answer.ok().map(|answer| answer.items)
        }))
        .await;
        let mut parts: HashMap<String, Vec<(String, WarmPool)>> = HashMap::new();
        for (node, pools) in reached.iter().zip(asked) {
            for pool in pools.into_iter().flatten() {
                let of = parts.entry(pool.id.clone()).or_default();
                of.push((node.tag.clone(), pool));
            }
        }
        let mut found = Vec::new();
        for row in &rows {
            let stored = Stored::read(row)?;
            if template
                .as_ref()
                .is_some_and(|id| stored.resolved.template_id != *id)
            {
                continue;
            }
            let parts = parts.remove(&stored.terms.id).unwrap_or_default();
            found.push(self.sum(stored, &parts));
        }
        found.retain(|pool| filter.holds(pool));
        found.sort_by(|a, b| (&b.created_at, &b.id).cmp(&(&a.created_at, &a.id)));
        found.truncate(filter.limit.unwrap_or(usize::MAX));
        Ok(found)
    }

    async fn show_pool(&self, id: &str) -> Result<WarmPool> {
        let stored = self.stored_pool(id).await?;
        let parts = self.parts_of(id, &self.nodes.reached()).await;
        Ok(self.sum(stored, &parts))
    }

    async fn update_pool(self: &Arc<Self>, id: &str, body: &UpdateWarmPoolRequest) -> Result<WarmPool> {
        // Nodes are asked outside of the transaction.
        let old = self.stored_pool(id).await?;
        let terms = old.terms.changed(body)?;
        let resolved = match terms.keeps_build_of(&old.terms) && body.resources.is_none() {
            true => old.resolved,
            false => self.resolve(&terms.build(), body.resources.as_ref()).await?,
        };
        self.change_pool(id, |stored| {
            let mut terms = stored.terms.changed(body)?;
            if terms.resources != stored.terms.resources || resolved != stored.resolved {
                terms.generation += 1;
            }
            *stored = Stored { terms, resolved };
            Ok(())
        })
        .await?;
        self.deal_for_a_moment().await;
        self.show_pool(id).await
    }

    async fn turn_pool(self: &Arc<Self>, id: &str, turn: PoolAction) -> Result<WarmPool> {
        if turn == PoolAction::Reconcile {
            self.stored_pool(id).await?;
            let mut connection = self.db.get().await?;
            let transaction = connection.transaction().await?;
            db::hold(&transaction, Lock::Shares).await?;
            transaction
                .execute("DELETE FROM pool_shares WHERE pool = $1", &[&id])
                .await?;
            transaction.commit().await?;
        } else {
            self.change_pool(id, |stored| {
                stored.terms.turn(turn);
                Ok(())
            })
            .await?;
        }
        self.deal_for_a_moment().await;
        self.show_pool(id).await
    }

    async fn delete_pool(self: &Arc<Self>, id: &str) -> Result<WarmPool> {
        let row = self
            .db
            .get()
            .await?
            .query_opt(
                "DELETE FROM pools WHERE id = $1 RETURNING terms, resolved",
                &[&id],
            )
            .await?;
        let mut stored = Stored::read(&row.ok_or_else(|| no_pool(id))?)?;
        stored.terms.state = PoolState::Deleted;
        // A node that does not hear it tells of the pool with its heartbeats, and is told again.
        let path = format!("{NODE_POOLS}/{id}");
        let parts = join_all(self.nodes.reached().into_iter().map(|node| {
            let path = path.clone();
            async move {
                let deleted: std::result::Result<WarmPool, _> = self
                    .ask(&node, Method::DELETE, &path, None::<&()>, PATIENCE)
                    .await;
                deleted.ok().map(|part| (node.tag.clone(), part))
            }
        }))
        .await;
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        let mut pool = self.sum(stored, &parts);
        pool.deleted_at = Some(crate::machine::now());
        Ok(pool)
    }

    async fn stored_pool(&self, id: &str) -> Result<Stored> {
        let row = self
            .db
            .get()
            .await?
            .query_opt("SELECT terms, resolved FROM pools WHERE id = $1", &[&id])
            .await?;
        Stored::read(&row.ok_or_else(|| no_pool(id))?)
    }

    async fn change_pool(&self, id: &str, change: impl FnOnce(&mut Stored) -> Result<()>) -> Result<()> {
        let mut connection = self.db.get().await?;
        let transaction = connection.transaction().await?;
        let row = transaction
            .query_opt(
                "SELECT terms, resolved FROM pools WHERE id = $1 FOR UPDATE",
                &[&id],
            )
            .await?;
        let mut stored = Stored::read(&row.ok_or_else(|| no_pool(id))?)?;
        change(&mut stored)?;
        transaction
            .execute(
                "UPDATE pools SET terms = $2, resolved = $3 WHERE id = $1",
                &[&id, &Json(&stored.terms), &Json(&stored.resolved)],
            )
            .await?;
        Ok(transaction.commit().await?)
    }

    /// What a reference to a template means, by the first node that knows.
    async fn resolve(&self, reference: &str, sizes: Option<&PoolResources>) -> Result<Resolved> {
        let path = {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("reference", reference);
            if let Some(sizes) = sizes {
                query.append_pair("resources", &serde_json::to_string(sizes).unwrap_or_default());
            }
            format!("{TEMPLATE}?{}", query.finish())
        };
        let mut refusal = None;
        for node in self.nodes.reached() {
            match self.ask(&node, Method::GET, &path, None::<&()>, PATIENCE).await {
                Ok(resolved) => return Ok(resolved),
                Err(error) => match error.told_as(&REFUSALS) {
                    Some(told) => refusal = Some(told),
                    None => {
                        tracing::warn!(node = %node.name, %error, "a node did not say what a template is")
                    }
                },
            }
        }
        Err(refusal.unwrap_or_else(|| self.no_room()))
    }

    /// What nodes say of their shares of a pool.
    async fn parts_of(&self, id: &str, nodes: &[Arc<Node>]) -> Vec<(String, WarmPool)> {
        let path = format!("{NODE_POOLS}/{id}");
        let asked = join_all(nodes.iter().map(|node| {
            let path = &path;
            async move {
                let answer: std::result::Result<WarmPool, _> =
                    self.ask(node, Method::GET, path, None::<&()>, PATIENCE).await;
                answer.ok().map(|part| (node.tag.clone(), part))
            }
        }))
        .await;
        asked.into_iter().flatten().collect()
    }

    /// The pool with the counts of all nodes.
    fn sum(&self, stored: Stored, parts: &[(String, WarmPool)]) -> WarmPool {
        let mut counts = PoolCounts {
            target: stored.terms.target(),
            ..PoolCounts::default()
        };
        for (_, part) in parts {
            let status = &part.status;
            counts.ready += status.ready;
            counts.warming += status.warming;
            counts.claimed += status.claimed;
            counts.draining += status.draining;
            counts.failed += status.failed;
            counts.expired += status.expired;
            counts.unavailable += status.unavailable;
        }
        // What was taken from a node that does not answer was taken.
        for node in self.nodes.all() {
            if parts.iter().all(|(tag, _)| *tag != node.tag) {
                let share = node.pools.get(&stored.terms.id);
                counts.claimed += share.map_or(0, |share| share.claimed);
            }
        }
        let has_takers = self
            .nodes
            .all()
            .iter()
            .any(|node| node.state() == NodeState::Ready);
        let degraded = match has_takers {
            true => parts
                .iter()
                .filter(|(_, part)| part.min_ready > 0)
                .find_map(|(_, part)| part.degraded_reason),
            false => Some(DegradedReason::NoEligibleHosts),
        };
        let reconciled = parts
            .iter()
            .filter_map(|(_, part)| part.last_reconciled_at.clone())
            .max();
        // A pool that follows a tag is moved on by the nodes.
        let resolved = match parts.first() {
            Some((_, part)) => Resolved {
                template_id: stored.resolved.template_id,
                name: part.resolved_template.clone(),
                build_id: part.resolved_template_build_id.clone(),
            },
            None => stored.resolved,
        };
        stored.terms.shown(resolved, counts, degraded, reconciled)
    }
}

/// What a node that looked at a template may say of it.
const REFUSALS: [Kind; 3] = [
    Kind::TemplateNotFound,
    Kind::InvalidRequest,
    Kind::FeatureUnavailable,
];

/// Dealing.
impl Cluster {
    /// Deals each second while it is on this gateway to do it, until the gateway ends. Apart from looking at nodes: telling one that
    /// does not answer takes longer than a second.
    pub(super) async fn keep_dealing(self: Arc<Self>) {
        while self.rests(nodes::LOOK).await {
            if let Err(error) = self.deal_on_duty().await {
                tracing::warn!(%error, "dealing out warm pools failed; trying again");
            }
        }
    }

    async fn deal_on_duty(self: &Arc<Self>) -> Result<()> {
        match self.has_duty("pools").await? {
            true => self.deal().await,
            false => Ok(()),
        }
    }

    /// Deals in the background.
    fn deal_soon(self: &Arc<Self>) -> tokio::task::JoinHandle<()> {
        let change = self.dealer.changes.fetch_add(1, Ordering::AcqRel) + 1;
        let cluster = self.clone();
        tokio::spawn(async move {
            let mut dealt = cluster.dealer.dealt.lock().await;
            // Many changes at once are dealt out together.
            if *dealt >= change {
                return;
            }
            let upto = cluster.dealer.changes.load(Ordering::Acquire);
            match cluster.deal().await {
                Ok(()) => *dealt = upto,
                Err(error) => {
                    tracing::warn!(%error, "dealing out warm pools failed; trying again within a second")
                }
            }
        })
    }

    /// Deals, and waits for it as long as a request may.
    async fn deal_for_a_moment(self: &Arc<Self>) {
        let dealing = self.deal_soon();
        // Too slow: it continues by itself.
        let _ = tokio::time::timeout(CHANGE_PATIENCE, dealing).await;
    }

    /// Tells each node its share of each pool, where that is not what it was told before.
    async fn deal(self: &Arc<Self>) -> Result<()> {
        let mut connection = self.db.get().await?;
        let transaction = connection.transaction().await?;
        db::hold(&transaction, Lock::Shares).await?;
        let nodes = self.nodes.reached();
        let tags: Vec<&str> = nodes.iter().map(|node| node.tag.as_str()).collect();
        // Whatever a node that went away was told, it is told anew when it is back. Only who holds the lock writes shares: nobody who
        // changes or deletes a pool waits for nodes.
        transaction
            .execute(
                "DELETE FROM pool_shares s WHERE node <> ALL ($1) OR NOT EXISTS (SELECT 1 FROM pools WHERE id = s.pool)",
                &[&tags],
            )
            .await?;
        let mut told = told_shares(&transaction).await?;
        let rows = transaction
            .query("SELECT terms, resolved FROM pools", &[])
            .await?;
        let pools = rows.iter().map(Stored::read).collect::<Result<Vec<_>>>()?;
        let mut tell = Vec::new();
        for pool in &pools {
            let shares = told.remove(&pool.terms.id).unwrap_or_default();
            let takers = takers(&nodes, &shares);
            let dealt = deal_out(pool.terms.min_ready, pool.terms.max_ready, takers.len());
            let dealt: HashMap<&str, (u32, u32)> = takers.into_iter().zip(dealt).collect();
            for node in &nodes {
                let told = shares.get(&node.tag);
                let (min_ready, max_ready) = dealt.get(node.tag.as_str()).copied().unwrap_or_default();
                let terms = Terms {
                    min_ready,
                    max_ready,
                    ..pool.terms.clone()
                };
                let is_known = told.is_some_and(|told| !told.is_old && (told.refused || told.terms == terms));
                if !is_known {
                    tell.push((node, terms));
                }
            }
        }
        let answers = join_all(tell.into_iter().map(|(node, terms)| async move {
            let path = format!("{POOLS}/{}", terms.id);
            let put: std::result::Result<WarmPool, _> =
                self.ask(node, Method::PUT, &path, Some(&terms), PATIENCE).await;
            (node, terms, put)
        }))
        .await;
        for (node, terms, put) in answers {
            let refused = match &put {
                Ok(_) => Some(false),
                Err(Unanswered::Refused(status, _)) if status.is_client_error() => Some(true),
                Err(_) => None,
            };
            if let Err(error) = put {
                self.bring_missing(node, &terms, &error);
                tracing::warn!(node = %node.name, pool = %terms.id, %error, "a node did not take its share of a warm pool");
            }
            let (id, tag) = (&terms.id, &node.tag);
            let written = match refused {
                Some(refused) => transaction.execute(
                    "INSERT INTO pool_shares (pool, node, terms, refused) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (pool, node) DO UPDATE SET terms = excluded.terms, refused = excluded.refused, told_at = clock_timestamp()",
                    &[id, tag, &Json(&terms), &refused],
                ).await,
                // Nobody knows what it heard.
                None => transaction
                    .execute("DELETE FROM pool_shares WHERE pool = $1 AND node = $2", &[id, tag])
                    .await,
            };
            written?;
        }
        transaction.commit().await?;
        drop(connection);
        let known: HashSet<&str> = pools.iter().map(|pool| pool.terms.id.as_str()).collect();
        self.end_deleted(&nodes, &known).await;
        Ok(())
    }

    /// Lets a node that has no such template bring it: when its share is told again, it takes it.
    fn bring_missing(self: &Arc<Self>, node: &Arc<Node>, terms: &Terms, error: &Unanswered) {
        let is_missing =
            matches!(error, Unanswered::Refused(_, told) if told.code == Kind::TemplateNotFound.code());
        if !is_missing {
            return;
        }
        let (cluster, node, reference) = (self.clone(), node.clone(), terms.build());
        // Files take longer than a share may.
        tokio::spawn(async move {
            if let Err(error) = cluster.bring_template(&node, &reference).await {
                tracing::warn!(node = %node.name, template = %reference, %error, "a node did not bring the template of a pool");
            }
        });
    }

    /// Deletes from nodes what the cluster does not know: the pool was deleted while they were away.
    async fn end_deleted(&self, nodes: &[Arc<Node>], known: &HashSet<&str>) {
        let stray = nodes.iter().flat_map(|node| {
            let ids = node.pools.keys().filter(|id| !known.contains(id.as_str()));
            ids.map(move |id| (node, format!("{NODE_POOLS}/{id}")))
        });
        join_all(stray.map(|(node, path)| async move {
            let deleted: std::result::Result<WarmPool, _> =
                self.ask(node, Method::DELETE, &path, None::<&()>, PATIENCE).await;
            // 404: its last heartbeat is older than that.
            if let Err(Unanswered::Unsent(error) | Unanswered::Broken(error)) = deleted {
                tracing::warn!(node = %node.name, %error, "a node did not delete a warm pool");
            }
        }))
        .await;
    }
}

async fn told_shares(
    transaction: &Transaction<'_>,
) -> Result<HashMap<String, BTreeMap<String, ReportedShare>>> {
    let rows = transaction
        .query(
            "SELECT pool, node, terms, refused, told_at < clock_timestamp() - make_interval(secs => $1) FROM pool_shares",
            &[&AGAIN_SECONDS],
        )
        .await?;
    let mut told: HashMap<String, BTreeMap<String, ReportedShare>> = HashMap::new();
    for row in rows {
        let Json(terms): Json<serde_json::Value> = row.get(2);
        let terms = serde_json::from_value(terms)
            .map_err(|e| Error::internal("reading a share of a warm pool", e))?;
        let share = ReportedShare {
            terms,
            refused: row.get(3),
            is_old: row.get(4),
        };
        told.entry(row.get(0)).or_default().insert(row.get(1), share);
    }
    Ok(told)
}

/// Nodes that hold shares. Those with larger ones come first, so that what does not divide evenly stays where it is, then those with more room.
fn takers<'a>(nodes: &'a [Arc<Node>], told: &BTreeMap<String, ReportedShare>) -> Vec<&'a str> {
    let mut takers: Vec<&Arc<Node>> = nodes
        .iter()
        .filter(|node| node.state() == NodeState::Ready)
        .filter(|node| {
            told.get(&node.tag)
                .is_none_or(|told| !told.refused || told.is_old)
        })
        .collect();
    takers.sort_by_key(|node| {
        let held = told
            .get(&node.tag)
            .map_or((0, 0), |told| (told.terms.min_ready, told.terms.max_ready));
        (Reverse(held), Reverse(node.free_memory_mb()), &node.tag)
    });
    takers.into_iter().map(|node| node.tag.as_str()).collect()
}

/// Least and most ready machines of each of some nodes.
fn deal_out(min: u32, max: u32, nodes: usize) -> Vec<(u32, u32)> {
    let count = u32::try_from(nodes).unwrap_or(u32::MAX).max(1);
    // The first nodes get what is left over of both, so no node's maximum is below its minimum.
    let part = |all: u32, place: u32| all / count + u32::from(place < all % count);
    (0..count)
        .take(nodes)
        .map(|place| (part(min, place), part(max, place)))
        .collect()
}

/// Looks for a node with a ready machine for one create.
pub struct Search {
    pool: Option<String>,
    wait: Duration,
    begun: Instant,
    found: VecDeque<Arc<Node>>,
    looks: usize,
}

impl Search {
    /// How the node is to look that is asked next; `None` = as on an engine of its own.
    pub fn how(&self, only_ready: bool) -> Option<PoolSearch> {
        self.pool.as_ref().map(|_| PoolSearch {
            only_ready,
            waited: self.waited(),
        })
    }

    fn waited(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The next node that may have one; `None` once there is none anywhere, and the wait is over.
    pub async fn next(&mut self, cluster: &Cluster) -> Option<Arc<Node>> {
        let pool = self.pool.clone()?;
        loop {
            if let Some(node) = self.found.pop_front() {
                return Some(node);
            }
            if self.looks >= LOOKS && self.waited() >= self.wait {
                return None;
            }
            if self.looks > 0 {
                tokio::time::sleep(LOOK).await;
            }
            self.looks += 1;
            let nodes: Vec<Arc<Node>> = takes(cluster).collect();
            let parts = cluster.parts_of(&pool, &nodes).await;
            let ready = parts.into_iter().filter(|(_, part)| part.status.ready > 0);
            self.found = ready.filter_map(|(tag, _)| cluster.nodes.by_tag(&tag)).collect();
            if self.found.is_empty() && self.waited() >= self.wait {
                return None;
            }
        }
    }
}

fn takes(cluster: &Cluster) -> impl Iterator<Item = Arc<Node>> {
    let all = cluster.nodes.all().into_iter();
    all.filter(|node| node.state() == NodeState::Ready && !node.link.is_refusing())
}

impl Cluster {
    /// Where a create finds a ready machine, and the nodes that know its pool.
    pub(super) async fn search(self: &Arc<Self>, plan: &Plan) -> Result<(Search, Vec<String>)> {
        let mut search = Search {
            pool: None,
            wait: Duration::ZERO,
            begun: Instant::now(),
            found: VecDeque::new(),
            looks: 0,
        };
        let Some(Checkout {
            id: Some(id),
            mode,
            wait,
            ..
        }) = &plan.checkout
        else {
            return Ok((search, Vec::new()));
        };
        let policy = self.stored_pool(id).await?.terms.checkout_policy;
        let mut knowing = self.told_nodes(id).await?;
        if knowing.is_empty() {
            self.deal_for_a_moment().await;
            knowing = self.told_nodes(id).await?;
        }
        if mode.unwrap_or(policy) != CheckoutMode::Bypass {
            let mut found: Vec<_> = takes(self)
                .filter(|node| node.pools.get(id).is_some_and(|share| share.ready > 0))
                .collect();
            // Not all creates begin with the same one.
            rand::seq::SliceRandom::shuffle(found.as_mut_slice(), &mut rand::rng());
            search.found = found.into();
            search.pool = Some(id.clone());
            search.wait = *wait;
        }
        Ok((search, knowing))
    }

    async fn told_nodes(&self, pool: &str) -> Result<Vec<String>> {
        let rows = self
            .db
            .get()
            .await?
            .query(
                "SELECT node FROM pool_shares WHERE pool = $1 AND NOT refused",
                &[&pool],
            )
            .await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_divide_evenly_goes_to_the_first() {
        assert_eq!(deal_out(6, 6, 3), [(2, 2), (2, 2), (2, 2)]);
        assert_eq!(deal_out(7, 9, 3), [(3, 3), (2, 3), (2, 3)]);
        assert_eq!(deal_out(1, 4, 3), [(1, 2), (0, 1), (0, 1)]);
        assert_eq!(deal_out(5, 5, 0), []);
    }

    proptest::proptest! {
        #[test]
        fn shares_sum_up_and_no_maximum_is_below_its_minimum(min in 0u32..50, more in 0u32..50, nodes in 1usize..9) {
            let dealt = deal_out(min, min + more, nodes);
            proptest::prop_assert_eq!(dealt.iter().map(|share| share.0).sum::<u32>(), min);
            proptest::prop_assert_eq!(dealt.iter().map(|share| share.1).sum::<u32>(), min + more);
            proptest::prop_assert!(dealt.iter().all(|(least, most)| least <= most));
            let spread = dealt.iter().map(|share| share.0).max().unwrap() - dealt.iter().map(|share| share.0).min().unwrap();
            proptest::prop_assert!(spread <= 1);
        }
    }
}
