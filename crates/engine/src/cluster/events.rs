//! Lifecycle events of the cluster. Nodes keep their own; gateways read them into the database, in the order of each node, and
//! everybody is told from there: each event once, whichever gateway, and whatever became of its node.
//!
//! A list first reads what the nodes have by then, so that who has just made a machine finds its event. While somebody listens to a
//! gateway it reads five times a second, else one gateway reads for all each second. What is added is told to all gateways at once.
//!
//! A node that is given up has said its last: that its machines ended is written down then, and what it did until it is back is told
//! by nobody. So no event of a machine comes after its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use futures_util::future::join_all;
use nullspace_wire::lifecycle::LifecycleEventInfo;
use tokio::sync::{broadcast, Mutex, Notify};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Transaction};
use tokio_util::sync::CancellationToken;

use super::db::{self, Lock};
use super::nodes::{self, Node};
use super::{news, no_thing, webhooks, Cluster};
use crate::machine::{unix_micros, Error, Result, EVENT_BACKLOG};
use crate::node::client::Unanswered;
use crate::node::messages::EventPage;
use crate::server::lifecycle::Source;
use crate::server::node::{AFTER, EVENTS, LIMIT};
use crate::store::events::{EventFilter, KEPT_EVENTS};

/// How long a node may take to tell its events: who asks for a list waits for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks at the nodes while somebody listens.
const LIVE: Duration = Duration::from_millis(200);
/// Most events of an answer of a node.
const PAGE: usize = 1000;

/// Events as they come, for those who listen to this gateway.
pub struct Tail {
    listeners: broadcast::Sender<LifecycleEventInfo>,
    /// The last that listeners were told; `None` while there are none.
    told: Mutex<Option<i64>>,
    /// There may be something to tell.
    wake: Notify,
}

impl Tail {
    pub(super) fn new() -> Self {
        Self {
            listeners: broadcast::Sender::new(EVENT_BACKLOG),
            told: Mutex::new(None),
            wake: Notify::new(),
        }
    }
}

/// Adds events, and what webhooks are to be sent; the caller holds the lock.
pub async fn add(transaction: &Transaction<'_>, events: &[LifecycleEventInfo]) -> Result<()> {
    fn column<'a, T>(events: &'a [LifecycleEventInfo], of: impl Fn(&'a LifecycleEventInfo) -> T) -> Vec<T> {
        events.iter().map(of).collect()
    }
    let records = events
        .iter()
        .map(serde_json::to_string)
        .collect::<serde_json::Result<Vec<String>>>();
    let records = records.map_err(|e| Error::internal("writing an event", e))?;
    let added = transaction
        .query(
            "INSERT INTO events (id, occurred_at, operation, status, machine_id, snapshot_id, source_machine_id, target_machine_id, record) \
             SELECT id, at, operation, status, machine, snapshot, source, target, record FROM unnest($1::text[], $2::bigint[], $3::text[], \
             $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[]) WITH ORDINALITY \
             AS e (id, at, operation, status, machine, snapshot, source, target, record, place) ORDER BY place \
             ON CONFLICT (id) DO NOTHING RETURNING id",
            &[
                &column(events, |e| e.id.as_str()),
                &column(events, |e| unix_micros(&e.occurred_at.0).unwrap_or_default()),
                &column(events, |e| e.operation.as_str()),
                &column(events, |e| e.status.as_str()),
                &column(events, |e| e.machine_id.as_deref()),
                &column(events, |e| e.snapshot_id.as_deref()),
                &column(events, |e| e.source_machine_id.as_deref()),
                &column(events, |e| e.target_machine_id.as_deref()),
                &records,
            ],
        )
        .await?;
    let added: Vec<String> = added.iter().map(|row| row.get(0)).collect();
    if added.is_empty() {
        return Ok(());
    }
    news::tell(transaction, news::EVENTS, "").await?;
    webhooks::enqueue(transaction, &added).await
}

/// What a node did until now is told by nobody: it is back after it was given up.
pub async fn skip(transaction: &Transaction<'_>, tag: &str, last: i64) -> Result<()> {
    transaction
        .execute(
            "INSERT INTO event_cursors (node, seq) VALUES ($1, $2) ON CONFLICT (node) DO UPDATE SET seq = excluded.seq",
            &[&tag, &last],
        )
        .await?;
    Ok(())
}

fn read(rows: &[Row], column: usize) -> Result<Vec<LifecycleEventInfo>> {
    rows.iter()
        .map(|row| serde_json::from_str(row.get(column)).map_err(|e| Error::internal("reading an event", e)))
        .collect()
}

impl Cluster {
    /// Reads events until the gateway ends.
    pub(super) async fn keep_reading(self: Arc<Self>) {
        let pace = || match self.tail.listeners.receiver_count() {
            0 => nodes::LOOK,
            _ => LIVE,
        };
        while self.rests(pace()).await {
            if let Err(error) = self.look_for_events().await {
                tracing::warn!(%error, "reading events failed; trying again");
            }
        }
    }

    async fn look_for_events(&self) -> Result<()> {
        let is_heard = self.tail.listeners.receiver_count() > 0;
        match is_heard || self.has_duty("events").await? {
            true => self.pull(&self.nodes.reached()).await,
            false => Ok(()),
        }
    }

    /// There may be something to tell.
    pub(super) fn wake_tail(&self) {
        self.tail.wake.notify_one();
    }

    /// Tells listeners what is new until the gateway ends.
    pub(super) async fn keep_telling(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(nodes::LOOK) => {}
                () = self.tail.wake.notified() => {}
                () = self.closing.cancelled() => return,
            }
            let mut told = self.tail.told.lock().await;
            if self.tail.listeners.receiver_count() == 0 {
                *told = None;
                continue;
            }
            if let Err(error) = self.tell(&mut told).await {
                tracing::warn!(%error, "reading events failed; trying again");
            }
        }
    }

    /// Tells listeners what is new.
    async fn tell(&self, told: &mut Option<i64>) -> Result<()> {
        let connection = self.db.get().await?;
        let last = match *told {
            Some(last) => last,
            None => {
                let row = connection.query_one("SELECT coalesce(max(seq), 0) FROM events", &[]);
                *told = Some(row.await?.get(0));
                return Ok(());
            }
        };
        let rows = connection
            .query(
                "SELECT seq, record FROM events WHERE seq > $1 ORDER BY seq",
                &[&last],
            )
            .await?;
        for event in read(&rows, 1)? {
            // Nobody may be listening any more.
            let _ = self.tail.listeners.send(event);
        }
        *told = rows.last().map(|row| row.get(0)).or(Some(last));
        Ok(())
    }

    /// Reads what nodes have by now. One that does not answer is read later.
    pub(super) async fn pull(&self, nodes: &[Arc<Node>]) -> Result<()> {
        let rows = self
            .db
            .get()
            .await?
            .query("SELECT node, seq FROM event_cursors", &[])
            .await?;
        let cursors: HashMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let pulled = join_all(
            nodes
                .iter()
                .map(|node| self.pull_one(node, cursors.get(&node.tag).copied().unwrap_or_default())),
        )
        .await;
        pulled.into_iter().collect()
    }

    async fn pull_one(&self, node: &Node, mut after: i64) -> Result<()> {
        loop {
            let path = format!("{EVENTS}?{AFTER}={after}&{LIMIT}={PAGE}");
            let asked: std::result::Result<EventPage, Unanswered> =
                self.ask(node, Method::GET, &path, None::<&()>, PATIENCE).await;
            let page = match asked {
                Ok(page) => page,
                Err(error) => {
                    tracing::debug!(node = %node.name, %error, "a node does not tell its events");
                    return Ok(());
                }
            };
            let Some(last) = page.events.last().map(|placed| placed.seq) else {
                return Ok(());
            };
            let is_whole = page.events.len() < PAGE;
            self.take(node, page, last).await?;
            if is_whole {
                return Ok(());
            }
            after = last;
        }
    }

    /// Adds what another gateway has not added meanwhile.
    async fn take(&self, node: &Node, page: EventPage, last: i64) -> Result<()> {
        let mut connection = self.db.get().await?;
        let transaction = connection.transaction().await?;
        db::hold(&transaction, Lock::Events).await?;
        let row = transaction
            .query_opt(
                "SELECT lost, (SELECT seq FROM event_cursors WHERE node = tag) FROM nodes WHERE tag = $1",
                &[&node.tag],
            )
            .await?;
        // Given up, or forgotten, since it was asked.
        let Some(row) = row.filter(|row| !row.get::<_, bool>(0)) else {
            return Ok(());
        };
        let cursor = row.get::<_, Option<i64>>(1).unwrap_or_default();
        let new = page.events.into_iter().filter(|placed| placed.seq > cursor);
        let new: Vec<LifecycleEventInfo> = new.map(|placed| placed.info).collect();
        if !new.is_empty() {
            add(&transaction, &new).await?;
            skip(&transaction, &node.tag, last).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Forgets the oldest events, as an engine does.
    pub(super) async fn prune_events(&self) -> Result<()> {
        self.db
            .get()
            .await?
            .execute(
                "DELETE FROM events WHERE seq <= (SELECT max(seq) FROM events) - $1",
                &[&KEPT_EVENTS],
            )
            .await?;
        Ok(())
    }
}

impl Source for Cluster {
    fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    async fn list_events(&self, filter: EventFilter) -> Result<Vec<LifecycleEventInfo>> {
        let about = [&filter.machine_id, &filter.snapshot_id];
        let node = about.iter().find_map(|id| self.nodes.of_id(id.as_ref()?));
        let nodes = match node {
            Some(node) => vec![node],
            None => self.nodes.all(),
        };
        let reached: Vec<Arc<Node>> = nodes.into_iter().filter(|node| node.is_reached()).collect();
        self.pull(&reached).await?;
        let mut conditions = vec!["true".to_owned()];
        let mut values: Vec<Box<dyn ToSql + Sync + Send>> = Vec::new();
        let texts = [
            ("operation", filter.operation),
            ("status", filter.status),
            ("machine_id", filter.machine_id),
            ("snapshot_id", filter.snapshot_id),
            ("source_machine_id", filter.source_machine_id),
            ("target_machine_id", filter.target_machine_id),
        ];
        for (column, value) in texts {
            if let Some(value) = value {
                values.push(Box::new(value));
                conditions.push(format!("{column} = ${}", values.len()));
            }
        }
        for (condition, value) in [("occurred_at >=", filter.from), ("occurred_at <=", filter.to)] {
            if let Some(value) = value {
                values.push(Box::new(value));
                conditions.push(format!("{condition} ${}", values.len()));
            }
        }
        if let Some(id) = filter.after {
            values.push(Box::new(id));
            // An unknown id is no condition.
            conditions.push(format!(
                "seq > coalesce((SELECT seq FROM events WHERE id = ${}), 0)",
                values.len()
            ));
        }
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        values.push(Box::new(number(filter.limit)));
        values.push(Box::new(number(filter.offset)));
        let sql = format!(
            "SELECT record FROM events WHERE {} ORDER BY seq {} LIMIT ${} OFFSET ${}",
            conditions.join(" AND "),
            if filter.ascending { "ASC" } else { "DESC" },
            values.len() - 1,
            values.len(),
        );
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value as _).collect();
        let rows = self.db.get().await?.query(&sql, &values).await?;
        read(&rows, 0)
    }

    async fn has_event(&self, id: &str) -> Result<bool> {
        let row = self
            .db
            .get()
            .await?
            .query_one("SELECT EXISTS (SELECT 1 FROM events WHERE id = $1)", &[&id])
            .await?;
        Ok(row.get(0))
    }

    async fn listen(&self) -> Result<broadcast::Receiver<LifecycleEventInfo>> {
        self.pull(&self.nodes.reached()).await?;
        let mut told = self.tail.told.lock().await;
        // What happened before is told to the others, and not to the new one.
        self.tell(&mut told).await?;
        Ok(self.tail.listeners.subscribe())
    }

    async fn check_machine(&self, id: &str) -> Result<()> {
        let node = self.nodes.of_id(id).ok_or_else(|| no_thing(id))?;
        let path = format!("/v1/machines/{id}");
        let asked: std::result::Result<serde_json::Value, Unanswered> =
            self.ask(&node, Method::GET, &path, None::<&()>, PATIENCE).await;
        match asked {
            Err(Unanswered::Refused(status, _))
                if status.as_u16() == 404 && self.given_up(id).await?.is_none() =>
            {
                Err(Error::no_machine(id))
            }
            // Its events are here, whether or not its node is.
            _ => Ok(()),
        }
    }
}
