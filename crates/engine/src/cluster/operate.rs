//! What operators do with nodes. They hold the database, so no gateway need be there.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::types::Json;

use super::db::Db;
use super::nodes::{state, Limits};
use super::place::MOST_CLOCK_OFF_MS;
use crate::machine::{Error, Kind, Result};
use crate::node::messages::{Capacity, State};

/// A node as lists show it.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// For people.
    pub name: String,
    /// First digits of its ids.
    pub tag: String,
    /// `ready`, `draining`, `unreachable`, `lost`.
    pub state: &'static str,
    /// Machines, those of pools too.
    pub machines: u32,
    /// MiB promised.
    pub memory_used_mb: u64,
    /// MiB for machines.
    pub memory_mb: u64,
    /// Since its last heartbeat.
    pub heard_seconds: Option<i64>,
    /// Where gateways reach it.
    pub url: String,
    /// Of the program.
    pub version: String,
    /// What is wrong with it.
    pub note: Option<String>,
    /// Whether it is heard of.
    #[serde(skip)]
    pub is_there: bool,
}

/// All nodes, by name.
pub async fn list(db: &Db) -> Result<Vec<Shown>> {
    let rows = db
        .get()
        .await?
        .query(
            "SELECT name, tag, url, version, lost, draining, clock_off_ms, capacity, \
             extract(epoch FROM clock_timestamp() - heard_at)::bigint FROM nodes ORDER BY name, tag",
            &[],
        )
        .await?;
    let limits = Limits::default();
    let shown = rows.iter().map(|row| {
        let heard: Option<i64> = row.get(8);
        let is_there = heard.is_some_and(|seconds| seconds <= limits.unreachable_after.as_secs() as i64);
        let silent = heard.map_or(Duration::MAX, |seconds| {
            Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
        });
        let always = Some(Duration::MAX);
        let state = state(row.get(4), row.get(5), silent, always, limits, State::Unreachable);
        let capacity = row.get::<_, Json<Capacity>>(7).0;
        let clock_off: i64 = row.get(6);
        Shown {
            name: row.get(0),
            tag: row.get(1),
            url: row.get(2),
            version: row.get(3),
            state: state.as_str(),
            machines: capacity.machines,
            memory_used_mb: capacity.memory_used_mb,
            memory_mb: capacity.memory_mb,
            heard_seconds: heard,
            note: (clock_off.unsigned_abs() > MOST_CLOCK_OFF_MS)
                .then(|| format!("its clock is {} s off: it gets no machines", clock_off / 1000)),
            is_there,
        }
    });
    Ok(shown.collect())
}

/// Places no more machines on a node. Gives its tag.
pub async fn drain(db: &Db, node: &str, within: Option<Duration>) -> Result<String> {
    let seconds = within.map(|within| within.as_secs_f64());
    let tag = find(db, node).await?;
    db.get()
        .await?
        .execute(
            "UPDATE nodes SET draining = true, drain_until = clock_timestamp() + make_interval(secs => $2) WHERE tag = $1",
            &[&tag, &seconds],
        )
        .await?;
    Ok(tag)
}

/// Places machines on it again.
pub async fn resume(db: &Db, node: &str) -> Result<()> {
    let tag = find(db, node).await?;
    db.get()
        .await?
        .execute(
            "UPDATE nodes SET draining = false, drain_until = NULL WHERE tag = $1",
            &[&tag],
        )
        .await?;
    Ok(())
}

/// Removes a node that is not heard of any more, and what it had.
pub async fn forget(db: &Db, node: &str) -> Result<()> {
    let tag = find(db, node).await?;
    let is_there = list(db)
        .await?
        .iter()
        .any(|node| node.tag == tag && node.is_there);
    if is_there {
        let text = format!("node {node} is there: drain it, and forget it when its process has ended");
        return Err(Error::new(Kind::Conflict, text));
    }
    let mut connection = db.get().await?;
    let transaction = connection.transaction().await?;
    transaction
        .execute("DELETE FROM things WHERE node = $1", &[&tag])
        .await?;
    transaction
        .execute("DELETE FROM nodes WHERE tag = $1", &[&tag])
        .await?;
    Ok(transaction.commit().await?)
}

/// The tag of a node that is named by its name or its tag.
async fn find(db: &Db, node: &str) -> Result<String> {
    let rows = db
        .get()
        .await?
        .query("SELECT tag FROM nodes WHERE tag = $1 OR name = $1", &[&node])
        .await?;
    match rows.as_slice() {
        [row] => Ok(row.get(0)),
        [] => Err(Error::new(
            Kind::NotFound,
            format!("there is no node {node:?}: `node list` shows all"),
        )),
        _ => Err(Error::new(
            Kind::Conflict,
            format!("several nodes are called {node:?}: give the tag of one"),
        )),
    }
}
