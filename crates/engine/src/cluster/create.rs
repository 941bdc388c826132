//! Makes machines: checks the body as an engine does, chooses a node, and sees to it that one key makes one machine.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{header, HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine as _;
use nullspace_wire::error::ErrorResponse;
use nullspace_wire::machine::{
    CreateMachineRequest, CreateMachineResponse, MachineInfo, MachineStatus, VolumeMountRequest,
};
use nullspace_wire::volume::CreateVolumeRequest;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_postgres::types::Json;

use super::claims::{self, Claim};
use super::nodes::{Node, LOOK};
use super::place::{choose, Need, STALE};
use super::pools::Search;
use super::proxy::{self, Passed};
use super::quotas::{self, Charge};
use super::{Cluster, PATIENCE};
use crate::machine::ground::idempotency::{Makes, Ticket};
use crate::machine::validate::names::name_of;
use crate::machine::validate::{self, Plan, PoolSearch, Source};
use crate::machine::{secret, unix_micros, Error, Kind, Result};
use crate::node::client::{error_of, Unanswered};
use crate::node::messages::State as NodeState;
use crate::server::access::{Holder, RequestId};
use crate::server::body::Body as JsonBody;
use crate::server::machines::idempotency_key;
use crate::server::node::POOL_SEARCH;
use crate::server::reply::{json_text, status as status_of, Answer, Failure};

/// Nodes that are tried for a machine: the others are full, too, if that many are.
const TRIES: usize = 4;
/// Headers that go on to the node.
const PASSED_ON: [&str; 2] = ["traceparent", "tracestate"];

/// Where a machine can be made.
struct Wanted {
    need: Need,
    /// Only there: its volumes are.
    only: Option<String>,
    /// There if it fits: it has the snapshot, or knows the pool.
    first: HashSet<String>,
    /// What the node must have, or bring from one that has it.
    files: Files,
}

/// What machines are made of.
enum Files {
    Template(String),
    Snapshot(String),
}

/// `POST /v1/machines`
pub async fn machine(
    State(cluster): State<Arc<Cluster>>,
    Extension(holder): Extension<Holder>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
    body: JsonBody<CreateMachineRequest>,
) -> Answer {
    let ticket = Ticket::new(Makes::Machine, "create", idempotency_key(&headers)?, &body.raw)?;
    let plan = validate::check(body.value, &body.raw)?;
    let (search, knowing) = cluster.search(&plan).await?;
    let mut wanted = cluster.wanted(&plan).await?;
    wanted.first.extend(knowing);
    let call = Call {
        cluster: cluster.clone(),
        holder,
        id,
        headers,
        body: body.raw.to_string(),
        name: name_of(&plan.metadata).map(str::to_owned),
        wanted,
        is_charged: AtomicBool::new(false),
    };
    // A create that was begun runs to its end, whether or not its client stays: what it made is written down.
    let made = tokio::spawn(async move {
        let key = ticket
            .as_ref()
            .map_or_else(|| secret("once"), |ticket| ticket.key().to_owned());
        let made = match ticket {
            Some(ticket) => call.once(&ticket, search).await,
            None => call.freely(&key, search).await,
        };
        let outcome = made.as_ref().map(Response::status).map_err(|error| error.kind);
        call.settle(&key, outcome).await;
        made
    });
    Ok(made
        .await
        .unwrap_or_else(|error| Err(Error::internal("a create", error)))?)
}

/// `POST /v1/volumes`
pub async fn volume(
    State(cluster): State<Arc<Cluster>>,
    Extension(id): Extension<RequestId>,
    body: JsonBody<CreateVolumeRequest>,
) -> Answer {
    let held = cluster.hold_volume_name(&body.value.name).await?;
    let node = choose(&cluster.nodes.fitting(Need::default()), &mut rand::rng()).cloned();
    let passed = match node {
        Some(node) => {
            let request = request("/v1/volumes", &HeaderMap::new(), &id, None, body.raw.to_string());
            proxy::forward(&cluster.client, &node, request).await
        }
        None => Err(cluster.no_room()),
    };
    cluster.release(held).await;
    Ok(passed?)
}

/// `POST /v1/machines/{id}/fork`: beside its parent. It is written down as one that was made.
pub async fn fork(
    State(cluster): State<Arc<Cluster>>,
    Extension(holder): Extension<Holder>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let node = cluster.node_of(&id)?;
    let charged = cluster
        .charge_fork(&holder, &node, &id, idempotency_key(request.headers())?)
        .await?;
    let response = proxy::forward(&cluster.client, &node, request).await?;
    if response.status() != StatusCode::CREATED {
        if let Some(claim) = charged.filter(|_| is_final(response.status())) {
            // Nothing was made: a repeat pays anew.
            claims::drop(&cluster.db, &claim).await?;
            quotas::leave(&cluster.db, &holder.0, claim.key()).await;
        }
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let (status, bytes) = proxy::read(Response::from_parts(parts.clone(), body)).await?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if let Ok(Value::Object(made)) = serde_json::from_str(&text) {
        if let Some(id) = made.get("id").and_then(Value::as_str) {
            cluster.note_owner(&node, id, &holder).await;
        }
    }
    if let Some(claim) = charged {
        quotas::leave(&cluster.db, &holder.0, claim.key()).await;
    }
    Ok(json_text(status, text))
}

/// A create on its way.
struct Call {
    cluster: Arc<Cluster>,
    holder: Holder,
    id: RequestId,
    headers: HeaderMap,
    body: String,
    name: Option<String>,
    wanted: Wanted,
    /// It was entered for the quota of its key.
    is_charged: AtomicBool,
}

/// How a try on a node ended.
enum Tried {
    /// It is over: a machine, or an error that another node would give, too.
    Over(Response, Option<Box<CreateMachineResponse>>),
    /// The node made nothing, and has no room.
    Full(Response),
    /// The node made nothing: it was asked for a machine that is ready, and has none.
    NoneReady,
    /// The node did not see it.
    Unsent,
    /// The node may have made it.
    Unknown,
}

impl Call {
    /// With an idempotency key.
    async fn once(&self, ticket: &Ticket, mut search: Search) -> Result<Response> {
        let cluster = &self.cluster;
        let mut tried = HashSet::new();
        let (mut next, mut how) = match self.next(&mut search, &tried).await {
            // A repeat needs no room: its machine has it already.
            Err(full) if full.kind == Kind::NoCapacity => (self.holder_of(ticket).await?.ok_or(full)?, None),
            found => found?,
        };
        let mut claim = self.take(ticket, &next).await?;
        let mut refusal = None;
        let mut tries = 0;
        while tries < TRIES {
            let node = match cluster.nodes.by_tag(&claim.node) {
                Some(node) if node.state() != NodeState::Lost => node,
                // Given up, or forgotten: whatever it made counts as ended.
                _ => {
                    (next, how) = self.next(&mut search, &tried).await?;
                    claim = self.move_on(ticket, &claim, &next, true).await?;
                    tries += 1;
                    continue;
                }
            };
            if !is_search(how) {
                tries += 1;
            }
            match self.named(&node, &claim, how).await? {
                Tried::Over(response, Some(made)) => {
                    if self.is_dead(&node, &claim, &made.machine.id).await {
                        (next, how) = self.next(&mut search, &tried).await?;
                        claim = self.move_on(ticket, &claim, &next, false).await?;
                        tries += 1;
                        continue;
                    }
                    self.note(&node, &made).await;
                    // Without the database the machine counts all the same: a repeat asks its node.
                    if let Ok(false) = claims::made(&cluster.db, &claim, &made.machine.id).await {
                        cluster.end(&node, &made.machine.id).await;
                        claim = self.take(ticket, &node).await?;
                        tries += 1;
                        continue;
                    }
                    return Ok(response);
                }
                Tried::Over(response, None) => {
                    if !claim.is_made && is_final(response.status()) {
                        let _ = claims::drop(&cluster.db, &claim).await;
                    }
                    return Ok(response);
                }
                Tried::Full(response) => refusal = Some(response),
                Tried::NoneReady => {}
                // A repeat may have been sent there by another gateway; whoever wrote the claim finds out when it moves it.
                Tried::Unsent if claim.is_new => {}
                Tried::Unsent | Tried::Unknown => return Err(node.unreachable()),
            }
            if !is_search(how) {
                tried.insert(node.tag.clone());
            }
            let moved = async {
                (next, how) = self.next(&mut search, &tried).await?;
                self.move_on(ticket, &claim, &next, false).await
            };
            claim = match moved.await {
                Ok(claim) => claim,
                Err(error) => return refusal.ok_or(error),
            };
        }
        refusal.ok_or_else(|| cluster.no_room())
    }

    /// Whether a repeat was answered with a machine that ended with its node's process before its maker ever heard of it.
    async fn is_dead(&self, node: &Node, claim: &Claim, id: &str) -> bool {
        if claim.is_new || claim.is_made {
            return false;
        }
        let is_dead =
            matches!(self.cluster.told(node, id).await, Ok(info) if info.status == MachineStatus::Error);
        if is_dead {
            self.cluster.end(node, id).await;
        }
        is_dead
    }

    /// Without one.
    async fn freely(&self, key: &str, mut search: Search) -> Result<Response> {
        if self.cluster.keys.has_quota(&self.holder) {
            let charge = Charge::of(self.wanted.need);
            let is_charged = quotas::enter_once(&self.cluster.db, &self.holder.0, key, charge).await?;
            self.is_charged.store(is_charged, Ordering::Relaxed);
        }
        let mut tried = HashSet::new();
        let mut refusal = None;
        let mut tries = 0;
        while tries < TRIES {
            let (node, how) = match self.next(&mut search, &tried).await {
                Ok(next) => next,
                Err(error) => return refusal.ok_or(error),
            };
            if !is_search(how) {
                tried.insert(node.tag.clone());
                tries += 1;
            }
            // The key is one of ours, so that the node knows a repeat of ours, and nobody else's.
            let claim = Claim::of_nobody(&node.tag);
            match self.named(&node, &claim, how).await? {
                Tried::Over(response, made) => {
                    if let Some(made) = made {
                        self.note(&node, &made).await;
                    }
                    return Ok(response);
                }
                Tried::Full(response) => refusal = Some(response),
                Tried::Unsent | Tried::NoneReady => {}
                Tried::Unknown => return Err(node.unreachable()),
            }
        }
        refusal.ok_or_else(|| self.cluster.no_room())
    }

    /// The node that has a key already.
    async fn holder_of(&self, ticket: &Ticket) -> Result<Option<Arc<Node>>> {
        let tag = claims::holder(&self.cluster.db, &self.holder.0, ticket.key()).await?;
        Ok(tag.and_then(|tag| self.cluster.nodes.by_tag(&tag)))
    }

    async fn take(&self, ticket: &Ticket, node: &Node) -> Result<Claim> {
        let charge = Charge::of(self.wanted.need);
        let claim = claims::take(&self.cluster.db, &self.holder.0, ticket, &node.tag, charge).await?;
        self.is_charged.fetch_or(claim.is_charged, Ordering::Relaxed);
        Ok(claim)
    }

    /// What was entered for the quota goes once the machine is written down or certainly not there.
    async fn settle(&self, key: &str, outcome: std::result::Result<StatusCode, Kind>) {
        let is_charged = self.is_charged.load(Ordering::Relaxed);
        let is_over = match outcome {
            // It may be another request with the key that entered it.
            Ok(StatusCode::CREATED) => is_charged || self.cluster.keys.has_quota(&self.holder),
            Err(Kind::NodeUnreachable) => false,
            _ => is_charged,
        };
        if is_over {
            quotas::leave(&self.cluster.db, &self.holder.0, key).await;
        }
    }

    /// Tries a node while nobody else makes a machine of the name.
    async fn named(&self, node: &Arc<Node>, claim: &Claim, how: Option<PoolSearch>) -> Result<Tried> {
        let held = match &self.name {
            Some(name) if !claim.is_made => {
                let own = (!claim.is_new).then_some(node.tag.as_str());
                match self.cluster.hold_machine_name(name, &claim.node_key(), own).await {
                    Ok(held) => Some(held),
                    Err(error) => {
                        // Nothing was made, so the key is free again.
                        if claim.is_new {
                            let _ = claims::drop(&self.cluster.db, claim).await;
                        }
                        return Err(error);
                    }
                }
            }
            _ => None,
        };
        let tried = self.try_on(node, claim, how).await;
        if let Some(held) = held {
            self.cluster.release(held).await;
        }
        tried
    }

    async fn try_on(&self, node: &Arc<Node>, claim: &Claim, how: Option<PoolSearch>) -> Result<Tried> {
        // One that was made is known of already.
        if !claim.is_made && !is_search(how) {
            node.link.place(self.wanted.need.memory_mb);
        }
        let brought = match &self.wanted.files {
            Files::Template(reference) => self.cluster.bring_template(node, reference).await,
            Files::Snapshot(id) => self.cluster.bring_snapshot(node, id).await,
        };
        let brought = match brought {
            // Its disk is full, and others' may not be.
            Err(error) if claim.is_new && error.kind == Kind::CapacityExceeded => {
                return Ok(Tried::Full(Failure(error).into_response()));
            }
            // The node may have a copy still, of one that was deleted.
            Err(error) if claim.is_new && status_of(error.kind) == StatusCode::NOT_FOUND => {
                return Ok(Tried::Over(Failure(error).into_response(), None));
            }
            brought => brought,
        };
        let mut request = request(
            "/v1/machines",
            &self.headers,
            &self.id,
            Some(&claim.node_key()),
            self.body.clone(),
        );
        if let Some(how) = how.and_then(|how| HeaderValue::from_str(&how.to_string()).ok()) {
            request.headers_mut().insert(POOL_SEARCH, how);
        }
        let response = match proxy::pass(&self.cluster.client, node, request).await {
            Passed::Answered(response) => response,
            Passed::Unsent => return Ok(Tried::Unsent),
            Passed::Broken => return Ok(Tried::Unknown),
        };
        // Headers such as `Retry-After` stay.
        let (mut parts, body) = response.into_parts();
        let (status, bytes) = match proxy::read(Response::from_parts(parts.clone(), body)).await {
            Ok(read) => read,
            Err(_) => return Ok(Tried::Unknown),
        };
        parts.headers.remove(header::CONTENT_LENGTH);
        let made = (status == StatusCode::CREATED)
            .then(|| serde_json::from_slice(&bytes))
            .transpose();
        let made = made.map_err(|e| Error::internal("reading the answer of a node", e))?;
        if is_search(how) && !status.is_success() && is_empty(&error_of(&bytes, status)) {
            return Ok(Tried::NoneReady);
        }
        let code = (!status.is_success()).then(|| error_of(&bytes, status).code);
        let is_one_of = |kinds: [Kind; 2]| kinds.iter().any(|kind| code.as_deref() == Some(kind.code()));
        // The node may have done without: it had the files, or made the machine long ago. If not, this is why.
        if let (Err(error), true) = (
            brought,
            is_one_of([Kind::SnapshotNotFound, Kind::TemplateNotFound]),
        ) {
            return match status_of(error.kind) {
                StatusCode::NOT_FOUND => Ok(Tried::Over(Failure(error).into_response(), None)),
                _ => Err(error),
            };
        }
        let is_full = status == StatusCode::SERVICE_UNAVAILABLE
            && is_one_of([Kind::CapacityExceeded, Kind::ShuttingDown]);
        let response = Response::from_parts(parts, Body::from(bytes));
        Ok(match is_full {
            true => Tried::Full(response),
            false => Tried::Over(response, made),
        })
    }

    /// The next node to try: one that has a ready machine, if there is such.
    async fn next(
        &self,
        search: &mut Search,
        tried: &HashSet<String>,
    ) -> Result<(Arc<Node>, Option<PoolSearch>)> {
        let found = match tried.is_empty() {
            true => search.next(&self.cluster).await,
            false => None,
        };
        let how = search.how(found.is_some());
        let node = match found {
            Some(node) => node,
            None => self.room(tried).await?,
        };
        Ok((node, how))
    }

    /// A node with room. Machines may have ended of which this gateway has not heard yet: where one could have room, it waits for that.
    async fn room(&self, tried: &HashSet<String>) -> Result<Arc<Node>> {
        let deadline = Instant::now() + STALE;
        loop {
            match self.cluster.place(&self.wanted, tried) {
                Err(full)
                    if full.kind == Kind::NoCapacity
                        && tried.is_empty()
                        && Instant::now() < deadline
                        && self.cluster.nodes.has_suiting(self.wanted.need) =>
                {
                    tokio::time::sleep(LOOK / 4).await;
                }
                placed => return placed,
            }
        }
    }

    /// Gives the key to another node, or follows who did.
    async fn move_on(&self, ticket: &Ticket, claim: &Claim, next: &Node, is_lost: bool) -> Result<Claim> {
        match claims::give(&self.cluster.db, claim, &next.tag, is_lost).await? {
            Some(moved) => Ok(moved),
            None => self.take(ticket, next).await,
        }
    }

    /// Writes a machine down before its maker hears of it: it is listed even if its node is never heard of again.
    async fn note(&self, node: &Node, made: &CreateMachineResponse) {
        self.cluster.note_machine(node, made, &self.holder).await;
    }
}

/// Whether a node is only to give a machine that is ready.
fn is_search(how: Option<PoolSearch>) -> bool {
    how.is_some_and(|how| how.only_ready)
}

/// Whether an error says that a pool has no ready machine, and not that none of it can be what was asked for.
fn is_empty(error: &ErrorResponse) -> bool {
    let reason = error.details.as_ref().and_then(|details| details.get("reason"));
    error.code == Kind::WarmPoolUnavailable.code() && reason.is_some_and(|reason| reason == "empty")
}

/// Whether an error says that nothing was made, and nothing will be.
fn is_final(status: StatusCode) -> bool {
    status.is_client_error()
}

/// A request of a gateway to a node.
fn request(path: &str, headers: &HeaderMap, id: &RequestId, key: Option<&str>, body: String) -> Request {
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse().unwrap_or_default();
    request.extensions_mut().insert(id.clone());
    let to = request.headers_mut();
    to.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for name in PASSED_ON {
        if let Some(value) = headers.get(name) {
            to.insert(name, value.clone());
        }
    }
    if let Some(key) = key.and_then(|key| HeaderValue::from_str(key).ok()) {
        to.insert("idempotency-key", key);
    }
    request
}

impl Cluster {
    /// Where a machine of this plan can be made.
    async fn wanted(&self, plan: &Plan) -> Result<Wanted> {
        let mut first = HashSet::new();
        let (files, need) = match &plan.source {
            Source::Template {
                vcpus,
                memory_mb,
                disk_mb,
                template,
                ..
            } => {
                let need = Need {
                    vcpus: vcpus.unwrap_or(1),
                    memory_mb: memory_mb.unwrap_or_else(|| validate::default_memory_mb(template)),
                    disk_mb: disk_mb.unwrap_or(0),
                };
                (Files::Template(template.clone()), need)
            }
            Source::Snapshot(id) => {
                first.extend(self.homes(id).await?);
                (Files::Snapshot(id.clone()), Need::default())
            }
        };
        let only = match &plan.volumes {
            Some(mounts) => Some(self.node_of_volumes(mounts).await?),
            None => None,
        };
        Ok(Wanted {
            need,
            only,
            first,
            files,
        })
    }

    /// The one node that has all volumes of a create: they live where they were made.
    async fn node_of_volumes(&self, mounts: &[VolumeMountRequest]) -> Result<String> {
        let all = self.volumes().await?;
        let mut found: Option<(String, String)> = None;
        for mount in mounts {
            let volume = all
                .iter()
                .find(|v| v.id == mount.reference || v.name == mount.reference);
            let volume = volume.ok_or_else(|| Error::no_volume(&mount.reference))?;
            let tag = self
                .nodes
                .of_id(&volume.id)
                .map(|node| node.tag.clone())
                .unwrap_or_default();
            match &found {
                Some((other, name)) if *other != tag => {
                    return Err(Error::invalid(
                        "volumes",
                        format_args!(
                            "has {name:?} and {:?}, which are on different nodes of the cluster: a machine can use volumes of one node",
                            volume.name
                        ),
                    ));
                }
                _ => found = Some((tag, volume.name.clone())),
            }
        }
        Ok(found.map(|(tag, _)| tag).unwrap_or_default())
    }

    /// Nodes that have a snapshot.
    async fn homes(&self, snapshot: &str) -> Result<Vec<String>> {
        let holders = self.holders(snapshot).await?;
        let mut homes: Vec<String> = holders.iter().map(|node| node.tag.clone()).collect();
        // It may be younger than the last heartbeat.
        homes.extend(self.nodes.of_id(snapshot).map(|node| node.tag.clone()));
        Ok(homes)
    }

    fn place(&self, wanted: &Wanted, tried: &HashSet<String>) -> Result<Arc<Node>> {
        if let Some(only) = &wanted.only {
            let node = self.nodes.by_tag(only).ok_or_else(|| self.no_room())?;
            return match node.is_reached() && !tried.contains(only) {
                true => Ok(node),
                false => Err(node.unreachable()),
            };
        }
        let mut fitting = self.nodes.fitting(wanted.need);
        fitting.retain(|node| !tried.contains(&node.tag));
        let first: Vec<_> = fitting
            .iter()
            .filter(|node| wanted.first.contains(&node.tag))
            .cloned()
            .collect();
        let among = if first.is_empty() { &fitting } else { &first };
        choose(among, &mut rand::rng())
            .cloned()
            .ok_or_else(|| self.no_room())
    }

    /// Why no node takes a machine.
    pub(super) fn no_room(&self) -> Error {
        let nodes = self.nodes.all();
        let ready = nodes
            .iter()
            .filter(|node| node.state() == NodeState::Ready)
            .count();
        let text = match (nodes.len(), ready) {
            (0, _) => "the cluster has no nodes yet".to_owned(),
            (all, 0) => format!("none of the cluster's {all} nodes is ready"),
            (_, ready) => format!("none of the {ready} nodes that are ready has room for the machine"),
        };
        Error::new(Kind::NoCapacity, text)
            .with_action("ask for less memory, destroy machines that nobody needs, or add a node; repeat the call in a moment")
    }

    /// Writes a new machine down. What fails here comes with the node's next heartbeat.
    async fn note_machine(&self, node: &Node, made: &CreateMachineResponse, holder: &Holder) {
        let noted = async {
            let info = Json(&made.machine);
            let seq = unix_micros(&made.machine.created_at.0).unwrap_or_default();
            self.db
                .get()
                .await?
                .execute(
                    "INSERT INTO things (id, node, kind, seq, info, owner, told) VALUES ($1, $2, 'machine', $3, $4, $5, false) \
                     ON CONFLICT (id, node) DO UPDATE SET owner = excluded.owner",
                    &[&made.machine.id, &node.tag, &seq, &info, &&*holder.0],
                )
                .await?;
            Ok::<_, Error>(())
        };
        if let Err(error) = noted.await {
            tracing::warn!(machine = %made.machine.id, %error, "a new machine was not written down; the next heartbeat tells of it");
        }
    }

    /// Enters a fork for the quota of its key, once for each idempotency key. Its size is that of its parent.
    async fn charge_fork(
        &self,
        holder: &Holder,
        node: &Node,
        parent: &str,
        key: Option<&str>,
    ) -> Result<Option<Claim>> {
        if !self.keys.has_quota(holder) {
            return Ok(None);
        }
        let size = self
            .db
            .get()
            .await?
            .query_opt("SELECT vcpus, memory_mb FROM living WHERE id = $1", &[&parent])
            .await?;
        let need = size.map_or_else(Need::default, |row| Need {
            vcpus: u32::try_from(row.get::<_, i64>(0)).unwrap_or_default(),
            memory_mb: u32::try_from(row.get::<_, i64>(1)).unwrap_or_default(),
            disk_mb: 0,
        });
        let claim = match key {
            // A digest: keys of other operations do not meet it, and it is never too long.
            Some(key) => {
                let digest = Sha256::digest(format!("{parent} {key}"));
                let key = format!("fork-{}", URL_SAFE_NO_PAD.encode(digest));
                let ticket = Ticket::new(Makes::Machine, "fork", Some(&key), &Value::Null)?;
                match ticket {
                    Some(ticket) => {
                        claims::take(&self.db, &holder.0, &ticket, &node.tag, Charge::of(need)).await?
                    }
                    None => return Ok(None),
                }
            }
            None => {
                let mut claim = Claim::of_nobody(&node.tag);
                claim.is_charged =
                    quotas::enter_once(&self.db, &holder.0, claim.key(), Charge::of(need)).await?;
                claim
            }
        };
        Ok(claim.is_charged.then_some(claim))
    }

    /// The same for a fork, of which the answer tells little.
    async fn note_owner(&self, node: &Node, id: &str, holder: &Holder) {
        if let Ok(machine) = self.told(node, id).await {
            let made = CreateMachineResponse {
                machine,
                traffic_access_token: None,
            };
            self.note_machine(node, &made, holder).await;
        }
    }

    /// A machine as its node tells of it.
    async fn told(&self, node: &Node, id: &str) -> std::result::Result<MachineInfo, Unanswered> {
        let path = format!("/v1/machines/{id}");
        self.ask(node, Method::GET, &path, None::<&()>, PATIENCE).await
    }

    /// Ends a machine that nobody has.
    async fn end(&self, node: &Node, id: &str) {
        let path = format!("/v1/machines/{id}");
        let ended: std::result::Result<Value, _> =
            self.ask(node, Method::DELETE, &path, None::<&()>, PATIENCE).await;
        if let Err(error) = ended {
            tracing::warn!(machine = %id, %error, "a machine that nobody has was not ended; its lease ends it");
        }
    }
}
