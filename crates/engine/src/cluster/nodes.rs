//! Nodes as a gateway knows them: who they are, what they can hold, and whether they are there.
//!
//! Heartbeats go to any gateway, which writes them down; all gateways read them every second. How long a node has been silent is
//! told by the database's clock, and only silence that this gateway could have heard counts: after an outage of the database, or
//! of the gateway, nobody is given up for heartbeats that nobody could write.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use nullspace_wire::JsonObject;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_postgres::types::Json;

use super::db::{self, Db, Lock};
use super::events;
use crate::machine::monitoring::events::{Actor, Event, Operation};
use crate::machine::{Error, Kind, Result};
use crate::node::messages::{node_key, tag_of, Capacity, PoolShare, State};
use crate::webhooks::reach::port;

/// When a silent node counts as gone.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// No machine is placed there, and calls are refused.
    pub unreachable_after: Duration,
    /// Its machines count as ended.
    pub lost_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unreachable_after: Duration::from_secs(10),
            lost_after: Duration::from_secs(60),
        }
    }
}

/// What a gateway keeps of a node between two looks at the database.
pub struct Link {
    state: watch::Sender<State>,
    /// MiB of machines that were placed since the last heartbeat, and its number.
    placed_mb: AtomicU64,
    beats: AtomicI64,
    /// A connection failed since the last heartbeat.
    refusing: AtomicBool,
}

impl Link {
    fn new() -> Self {
        Self {
            state: watch::Sender::new(State::Unreachable),
            placed_mb: AtomicU64::new(0),
            beats: AtomicI64::new(-1),
            refusing: AtomicBool::new(false),
        }
    }

    fn heard(&self, beats: i64) {
        if self.beats.swap(beats, Ordering::AcqRel) != beats {
            self.placed_mb.store(0, Ordering::Release);
            self.refusing.store(false, Ordering::Release);
        }
    }

    /// A machine is on its way there.
    pub fn place(&self, memory_mb: u32) {
        self.placed_mb.fetch_add(u64::from(memory_mb), Ordering::AcqRel);
    }

    /// MiB on their way.
    pub fn placed_mb(&self) -> u64 {
        self.placed_mb.load(Ordering::Acquire)
    }

    /// It took no connection.
    pub fn refuse(&self) {
        self.refusing.store(true, Ordering::Release);
    }

    /// Whether it took none since it was last heard of.
    pub fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::Acquire)
    }

    /// Resolves once the node is in one of some states.
    pub async fn until(&self, is_it: impl Fn(State) -> bool) {
        let mut states = self.state.subscribe();
        // The sender lives as long as `self`.
        let _ = states.wait_for(|state| is_it(*state)).await;
    }
}

/// A node.
pub struct Node {
    /// UUID.
    pub id: String,
    /// First digits of its ids.
    pub tag: String,
    /// For people.
    pub name: String,
    /// Where it is reached.
    pub url: String,
    /// What gateways show to it.
    pub key: String,
    /// Of the program.
    pub version: String,
    /// Whether it was told to drain.
    pub draining: bool,
    /// How much its clock is ahead of the database's.
    pub clock_off_ms: i64,
    /// What it can hold.
    pub capacity: Capacity,
    /// Shares of warm pools.
    pub pools: BTreeMap<String, PoolShare>,
    /// Of its computer.
    pub addresses: Vec<IpAddr>,
    /// Seconds since its last heartbeat.
    pub silent: Duration,
    /// What the gateway keeps of it.
    pub link: Arc<Link>,
}

impl AsRef<Node> for Node {
    fn as_ref(&self) -> &Node {
        self
    }
}

impl Node {
    /// Whether it is there.
    pub fn state(&self) -> State {
        *self.link.state.borrow()
    }

    /// Whether calls are sent to it.
    pub fn is_reached(&self) -> bool {
        matches!(self.state(), State::Ready | State::Draining)
    }

    /// Why a call to it is not answered.
    pub fn unreachable(&self) -> Error {
        Error::new(
            Kind::NodeUnreachable,
            format!(
                "node {} of the cluster, which has this, does not answer at the moment",
                self.name
            ),
        )
        .with_action("repeat the call in a moment, with the same idempotency key if it has one")
    }
}

/// The state of a node: `silent` since its last heartbeat, of which whoever asks could have heard for `trusted`.
pub(super) fn state(
    lost: bool,
    draining: bool,
    silent: Duration,
    trusted: Option<Duration>,
    limits: Limits,
    was: State,
) -> State {
    if lost {
        return State::Lost;
    }
    let Some(trusted) = trusted else {
        // The database is away: whatever was true stays true, and calls find out by themselves.
        return was;
    };
    if silent.min(trusted) > limits.unreachable_after {
        return State::Unreachable;
    }
    match draining {
        true => State::Draining,
        false => State::Ready,
    }
}

/// All nodes.
pub struct Nodes {
    token: String,
    limits: Limits,
    map: RwLock<BTreeMap<String, Arc<Node>>>,
    turn: tokio::sync::Mutex<()>,
    /// Since when this gateway has looked at the database without a gap; `None` while it cannot.
    trusted_since: RwLock<Option<Instant>>,
}

/// Between two looks at the database.
pub const LOOK: Duration = Duration::from_secs(1);
/// A look that came later than this had a gap before it: the gateway was stopped, or the database away.
const GAP: Duration = Duration::from_secs(5);

impl Nodes {
    /// None yet.
    pub fn new(token: &str, limits: Limits) -> Self {
        Self {
            token: token.to_owned(),
            limits,
            map: RwLock::default(),
            turn: tokio::sync::Mutex::default(),
            trusted_since: RwLock::new(None),
        }
    }

    /// All, by tag.
    pub fn all(&self) -> Vec<Arc<Node>> {
        self.map
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// One by its tag.
    pub fn by_tag(&self, tag: &str) -> Option<Arc<Node>> {
        self.map
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(tag)
            .cloned()
    }

    /// The node that an id is of.
    pub fn of_id(&self, id: &str) -> Option<Arc<Node>> {
        self.by_tag(tag_of(id)?)
    }

    /// Those that answer.
    pub fn reached(&self) -> Vec<Arc<Node>> {
        self.all().into_iter().filter(|node| node.is_reached()).collect()
    }

    /// Whether the database answered when it was looked at last.
    pub fn has_database(&self) -> bool {
        self.trusted().is_some()
    }

    /// How long heartbeats would have been heard, had there been some.
    fn trusted(&self) -> Option<Duration> {
        let since = self.trusted_since.read().unwrap_or_else(PoisonError::into_inner);
        since.map(|since| since.elapsed())
    }

    /// Reads the nodes; without the database they stay as they were. `last`: when that was last tried.
    pub async fn refresh(&self, db: &Db, last: Instant) -> Result<()> {
        // One after the other: an older look must not hide what a newer one saw.
        let _turn = self.turn.lock().await;
        let rows = async {
            let connection = db.get().await?;
            let rows = connection
                .query(
                    "SELECT id, tag, name, url, version, lost, draining, clock_off_ms, capacity, pools, beats, \
                     (extract(epoch FROM clock_timestamp() - coalesce(heard_at, joined_at)) * 1000)::bigint, addresses FROM nodes",
                    &[],
                )
                .await?;
            Ok::<_, Error>(rows)
        };
        let rows = rows.await;
        {
            let mut since = self.trusted_since.write().unwrap_or_else(PoisonError::into_inner);
            match (&rows, *since) {
                (Err(_), _) => *since = None,
                (Ok(_), None) => *since = Some(Instant::now()),
                (Ok(_), Some(_)) if last.elapsed() > GAP => *since = Some(Instant::now()),
                (Ok(_), Some(_)) => {}
            }
        }
        let rows = rows?;
        let trusted = self.trusted();
        let old = self.map.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut read = BTreeMap::new();
        for row in rows {
            let (id, tag): (String, String) = (row.get(0), row.get(1));
            let link = old
                .get(&tag)
                .map_or_else(|| Arc::new(Link::new()), |node| node.link.clone());
            link.heard(row.get(10));
            let silent = Duration::from_millis(u64::try_from(row.get::<_, i64>(11)).unwrap_or_default());
            let draining: bool = row.get(6);
            let is_new = !old.contains_key(&tag);
            let was = if is_new {
                State::Ready
            } else {
                *link.state.borrow()
            };
            let state = state(row.get(5), draining, silent, trusted, self.limits, was);
            link.state
                .send_if_modified(|known| std::mem::replace(known, state) != state);
            let node = Node {
                key: node_key(&self.token, &id),
                id,
                name: row.get(2),
                url: row.get(3),
                version: row.get(4),
                draining,
                clock_off_ms: row.get(7),
                capacity: row
                    .get::<_, Option<Json<Capacity>>>(8)
                    .map_or_else(Capacity::default, |json| json.0),
                pools: row.get::<_, Json<BTreeMap<String, PoolShare>>>(9).0,
                addresses: row.get::<_, Json<Vec<IpAddr>>>(12).0,
                silent,
                link,
                tag: tag.clone(),
            };
            read.insert(tag, Arc::new(node));
        }
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    /// Gives up nodes that have been silent too long: their machines count as ended, for good. Gives the tags of those that were.
    pub async fn give_up_lost(&self, db: &Db) -> Result<Vec<String>> {
        let Some(trusted) = self.trusted().filter(|trusted| *trusted > self.limits.lost_after) else {
            return Ok(Vec::new());
        };
        let mut given_up = Vec::new();
        for node in self.all() {
            let is_silent = node.silent.min(trusted) > self.limits.lost_after && node.state() != State::Lost;
            if is_silent && give_up(db, &node.tag, Some(self.limits.lost_after)).await? {
                given_up.push(node.tag.clone());
            }
        }
        Ok(given_up)
    }

    /// Addresses of the nodes, which no machine reaches.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let of = |node: &Arc<Node>| {
            let uri: axum::http::Uri = node.url.parse().ok()?;
            uri.host()?.trim_matches(['[', ']']).parse::<IpAddr>().ok()
        };
        let nodes = self.all();
        let told = nodes.iter().flat_map(|node| node.addresses.iter().copied());
        let advertised = nodes.iter().filter_map(of);
        told.chain(advertised).filter(|ip| !ip.is_loopback()).collect()
    }

    /// Ports that nodes serve on.
    pub fn ports(&self) -> Vec<u16> {
        let nodes = self.all();
        let urls = nodes.iter().filter_map(|node| node.url.parse().ok());
        urls.map(|uri| port(&uri)).collect()
    }
}

/// What is said of a machine whose node was given up.
pub const LOST_MACHINE: &str = "its node was lost: the cluster did not hear of it for too long";

/// What is said of a build whose node was given up.
pub const LOST_BUILD: &str = "the node that ran the build was lost";

/// Gives a node up: its machines count as ended. Whether it was this call that did it: another gateway, or a heartbeat since
/// `silent_for`, may have come first.
pub async fn give_up(db: &Db, tag: &str, silent_for: Option<Duration>) -> Result<bool> {
    let mut connection = db.get().await?;
    let transaction = connection.transaction().await?;
    // Before the row of the node: whoever adds its events locks in this order.
    db::hold(&transaction, Lock::Events).await?;
    let seconds = silent_for.map_or(0.0, |silent| silent.as_secs_f64());
    let lost = transaction
        .execute(
            "UPDATE nodes SET lost = true, epoch = epoch + 1 WHERE tag = $1 AND NOT lost \
             AND coalesce(heard_at, joined_at) <= clock_timestamp() - make_interval(secs => $2)",
            &[&tag, &seconds],
        )
        .await?;
    if lost == 0 {
        return Ok(false);
    }
    let rows = transaction
        .query(
            "SELECT id, info->'metadata' FROM things WHERE node = $1 AND kind = 'machine' AND NOT given_up \
             AND info->>'status' <> 'error' AND NOT EXISTS \
             (SELECT 1 FROM events e WHERE e.machine_id = things.id AND e.operation = 'destroy') ORDER BY seq",
            &[&tag],
        )
        .await?;
    let ended = rows.iter().map(|row| {
        let metadata = row.get::<_, Option<Json<JsonObject>>>(1);
        Event::of(Operation::Reconcile, row.get(0))
            .by(Actor::Reconcile)
            .because("node_lost")
            .failed("node_lost", LOST_MACHINE)
            .told(metadata.map(|json| json.0).unwrap_or_default())
    });
    events::add(&transaction, &ended.collect::<Vec<_>>()).await?;
    let error = serde_json::json!({ "status": "error", "error_message": LOST_MACHINE });
    transaction
        .execute(
            "UPDATE things SET given_up = true, \
             info = CASE WHEN info->>'status' = 'error' THEN info ELSE info - 'remaining_ms' || $2 END \
             WHERE node = $1 AND kind = 'machine'",
            &[&tag, &Json(error)],
        )
        .await?;
    // Its keys begin anew, here or elsewhere: what they made counts as ended.
    transaction
        .execute(
            "UPDATE claims SET attempt = attempt + 1, machine = NULL WHERE node = $1 AND NOT ended",
            &[&tag],
        )
        .await?;
    transaction.commit().await?;
    tracing::warn!(%tag, "a node is lost: its machines count as ended");
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_silence_that_could_have_been_heard_counts() {
        let limits = Limits::default();
        let secs = Duration::from_secs;
        let ask = |lost, draining, silent, trusted: Option<u64>| {
            state(
                lost,
                draining,
                secs(silent),
                trusted.map(secs),
                limits,
                State::Draining,
            )
        };
        assert_eq!(ask(false, false, 1, Some(100)), State::Ready);
        assert_eq!(ask(false, true, 1, Some(100)), State::Draining);
        assert_eq!(ask(false, false, 11, Some(100)), State::Unreachable);
        assert_eq!(ask(false, true, 11, Some(100)), State::Unreachable);
        // The database was away for a minute, and is back for a second.
        assert_eq!(ask(false, false, 61, Some(1)), State::Ready);
        // It is away: what was true stays true.
        assert_eq!(ask(false, false, 61, None), State::Draining);
        assert_eq!(ask(true, false, 1, None), State::Lost);
    }

    #[test]
    fn what_is_on_its_way_counts_until_the_next_heartbeat() {
        let link = Link::new();
        link.heard(1);
        link.place(512);
        link.refuse();
        link.heard(1);
        assert_eq!((link.placed_mb(), link.is_refusing()), (512, true));
        link.heard(2);
        assert_eq!((link.placed_mb(), link.is_refusing()), (0, false));
    }
}
