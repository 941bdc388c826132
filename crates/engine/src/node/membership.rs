//! Joins a cluster, and tells it again and again that the node is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::{Client, Unanswered};
use super::identity::Identity;
use super::inventory::Told;
use super::messages::{
    node_key, Capacity, Heartbeat, Join, Joined, Orders, PoolShare, HEARTBEAT, HEARTBEAT_SECONDS, JOIN,
    PROTOCOL,
};
use crate::isolation::relay::{outer_addresses, refuse_cluster};
use crate::machine::{self, Engine};

/// How long a gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries to join.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// Between two looks at whether a draining node is empty.
const INTERVAL: Duration = Duration::from_secs(HEARTBEAT_SECONDS);

/// What a node is told on the command line.
#[derive(Debug, Clone)]
pub struct Options {
    /// Any of these gateways will do.
    pub gateways: Vec<String>,
    /// Shared by all parts of the cluster.
    pub token: String,
    /// Where gateways reach the node.
    pub url: String,
    /// What people call it.
    pub name: String,
    /// MiB for machines; `None` = what the computer has.
    pub memory_mb: Option<u64>,
    /// The node ends its machines after so long without a gateway. `None` = never.
    pub end_when_isolated: Option<Duration>,
}

/// A node that has joined.
pub struct Membership {
    options: Options,
    identity: Identity,
    instance: String,
    directory: PathBuf,
    client: Client,
    told: Told,
    /// The gateway that answered last.
    gateway: usize,
    /// Cancelled when the node wants to be drained.
    leaving: CancellationToken,
}

impl Membership {
    /// Joins, waiting for a gateway as long as it takes: a node without a tag can make nothing that anybody would find. One that
    /// was a node before starts without them.
    pub async fn join(options: Options, directory: &Path) -> Result<Self, String> {
        let identity = Identity::of(directory)?;
        let mut membership = Self {
            options,
            identity,
            instance: uuid::Uuid::new_v4().to_string(),
            directory: directory.to_owned(),
            client: Client::new(),
            told: Told::nothing(),
            gateway: 0,
            leaving: CancellationToken::new(),
        };
        let mut is_said = false;
        loop {
            let join = Join {
                protocol: PROTOCOL,
                version: env!("CARGO_PKG_VERSION").into(),
                node: membership.identity.node.clone(),
                instance: membership.instance.clone(),
                tag: membership.identity.tag.clone(),
                name: membership.options.name.clone(),
                url: membership.options.url.clone(),
                clock_ms: now_ms(),
            };
            match membership.ask::<_, Joined>(JOIN, &join).await {
                Ok(joined) => {
                    membership.identity.tag = Some(joined.tag);
                    membership.identity.keep(directory)?;
                    return Ok(membership);
                }
                // Nobody is to start a second time by hand because a gateway was slow; but a wrong token stays wrong.
                Err(Unanswered::Refused(status, error)) if !is_passing(status) => {
                    return Err(format!("the cluster refused this node: {}", error.error));
                }
                Err(error) => {
                    if membership.identity.tag.is_some() {
                        tracing::warn!(%error, "no gateway answers: starting as the node this was");
                        return Ok(membership);
                    }
                    if !is_said {
                        tracing::warn!(%error, "no gateway answers: waiting for one");
                    }
                    is_said = true;
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        }
    }

    /// First digits of the ids that the node makes.
    pub fn tag(&self) -> &str {
        self.identity.tag.as_deref().unwrap_or_default()
    }

    /// Name or address under which others reach the node.
    pub fn host(&self) -> Option<String> {
        let uri: axum::http::Uri = self.options.url.parse().ok()?;
        Some(uri.host()?.trim_matches(['[', ']']).to_owned())
    }

    /// What gateways and other nodes show to this one.
    pub fn key(&self) -> String {
        node_key(&self.options.token, &self.identity.node)
    }

    /// To be cancelled when the node shall be drained.
    pub fn leaving(&self) -> CancellationToken {
        self.leaving.clone()
    }

    /// Tells the cluster that the node is there, until it is drained and its last machine has ended.
    pub async fn run(mut self, engine: Arc<Engine>) {
        let mut heard = Instant::now();
        let mut deadline = None;
        loop {
            let is_leaving = self.leaving.is_cancelled();
            match self.beat(&engine).await {
                Ok(orders) => {
                    heard = Instant::now();
                    refuse_cluster(orders.refused);
                    if orders.give_up {
                        self.give_up(&engine, orders.epoch).await;
                        // The next heartbeat says so at once: until then the node gets no machines.
                        continue;
                    }
                    match (orders.drain, orders.drain_within_ms) {
                        (true, within) => {
                            deadline = within.map(|ms| Instant::now() + Duration::from_millis(ms));
                            let is_over = deadline.is_some_and(|at| at <= Instant::now());
                            let is_empty = engine.promised().machines == 0 && !orders.holds_the_last;
                            if is_empty || is_over {
                                tracing::info!("drained: the node ends");
                                return;
                            }
                        }
                        (false, _) => deadline = None,
                    }
                }
                Err(Unanswered::Refused(status, error)) if !is_passing(status) => {
                    // Another process took this node's place, or the cluster changed its token. What runs goes on.
                    tracing::error!(error = %error.error, "the cluster refuses this node's heartbeat");
                }
                Err(error) => {
                    tracing::warn!(%error, "no gateway takes this node's heartbeat");
                    let is_isolated = |limit: Duration| heard.elapsed() > limit;
                    if self.options.end_when_isolated.is_some_and(is_isolated) {
                        tracing::warn!("no gateway for longer than --end-when-isolated: ending all machines");
                        let _ = engine.give_up_machines().await;
                        heard = Instant::now();
                    }
                    if deadline.is_some_and(|at| at <= Instant::now()) {
                        return;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                // The cluster hears of it at once.
                () = self.leaving.cancelled(), if !is_leaving => {}
            }
        }
    }

    async fn beat(&mut self, engine: &Arc<Engine>) -> Result<Orders, Unanswered> {
        let telling = self.told.tell(engine).await;
        let mut telling = telling.map_err(|error| Unanswered::Unsent(error.message))?;
        let events = engine.last_event().await;
        let heartbeat = Heartbeat {
            events: events.map_err(|error| Unanswered::Unsent(error.message))?,
            protocol: PROTOCOL,
            node: self.identity.node.clone(),
            instance: self.instance.clone(),
            epoch: self.identity.epoch,
            clock_ms: now_ms(),
            leaving: self.leaving.is_cancelled(),
            capacity: self.capacity(engine),
            pools: pools(engine),
            addresses: outer_addresses(),
            inventory: std::mem::take(&mut telling.inventory),
        };
        let orders: Orders = self.ask(HEARTBEAT, &heartbeat).await?;
        self.told.take(telling, orders.whole_inventory);
        Ok(orders)
    }

    /// Ends what lives, and only then says so.
    async fn give_up(&mut self, engine: &Arc<Engine>, epoch: i64) {
        tracing::warn!("the cluster gave this node up while it was away: ending all machines");
        if let Err(error) = engine.give_up_machines().await {
            tracing::error!(%error, "ending the machines failed; trying again");
            tokio::time::sleep(INTERVAL).await;
            return;
        }
        self.identity.epoch = epoch;
        if let Err(error) = self.identity.keep(&self.directory) {
            tracing::error!("{error}");
        }
    }

    fn capacity(&self, engine: &Engine) -> Capacity {
        let promised = engine.promised();
        Capacity {
            vcpus: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
            memory_mb: self.options.memory_mb.unwrap_or_else(memory_mb),
            disk_free_mb: engine.disk_free_mb(),
            vcpus_used: promised.vcpus,
            memory_used_mb: promised.memory_mb,
            machines: promised.machines,
        }
    }

    /// Asks the gateway that answered last, then the others.
    async fn ask<T: serde::Serialize, A: serde::de::DeserializeOwned>(
        &mut self,
        path: &str,
        message: &T,
    ) -> Result<A, Unanswered> {
        let count = self.options.gateways.len();
        let mut last = Unanswered::Unsent("no gateway is named".into());
        for turn in 0..count {
            let which = (self.gateway + turn) % count;
            let url = format!("{}{path}", self.options.gateways[which]);
            let asked = self
                .client
                .ask(Method::POST, &url, &self.options.token, Some(message), PATIENCE);
            match asked.await {
                Ok(answer) => {
                    self.gateway = which;
                    return Ok(answer);
                }
                Err(Unanswered::Refused(status, error)) if !is_passing(status) => {
                    return Err(Unanswered::Refused(status, error));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Whether a refusal may be another one in a moment.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::NOT_FOUND
}

fn pools(engine: &Engine) -> BTreeMap<String, PoolShare> {
    let counts = engine.pool_counts().into_iter();
    counts
        .map(|(id, counts)| {
            let share = PoolShare {
                ready: counts.ready,
                warming: counts.warming,
                claimed: counts.claimed,
            };
            (id, share)
        })
        .collect()
}

fn now_ms() -> i64 {
    machine::unix_micros(&machine::now().0).unwrap_or_default() / 1000
}

/// MiB of memory of this computer.
fn memory_mb() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}
