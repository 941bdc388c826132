//! What the machines of a key may use in all. PostgreSQL counts, so that all gateways count together: whoever begins a create holds
//! the row of its key, adds up what lives and what is on its way, and enters its own. Keys without a quota pay nothing for it.

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Json;
use tokio_postgres::Transaction;

use super::db::Db;
use super::place::Need;
use crate::machine::{Error, Kind, Result};

/// A create takes less: it counts so long if its gateway ended without a word.
const CREATE_PATIENCE: &str = "15 minutes";
/// When to try again after machines were too many: nobody knows when one ends.
const TRY_AGAIN_SECONDS: u64 = 10;
/// Seconds in which `creates_per_minute` are counted.
const WINDOW_SECONDS: f64 = 60.0;

/// What a key may use; `None` = as much as there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Args)]
pub struct Quota {
    /// Most machines that live at once, paused ones too.
    #[arg(long, value_name = "N")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machines: Option<u32>,
    /// Most processors of all machines together.
    #[arg(long, value_name = "N")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u32>,
    /// Most MiB of memory of all machines together.
    #[arg(long, value_name = "MIB")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u32>,
    /// Most creates and forks that are begun in a minute.
    #[arg(long, value_name = "N")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creates_per_minute: Option<u32>,
}

impl std::fmt::Display for Quota {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = [
            ("machines", self.machines),
            ("vcpus", self.vcpus),
            ("memory-mb", self.memory_mb),
            ("creates-per-minute", self.creates_per_minute),
        ];
        let said: Vec<String> = all
            .iter()
            .filter_map(|(name, limit)| limit.map(|limit| format!("{name}={limit}")))
            .collect();
        f.write_str(if said.is_empty() { "-" } else { "" })?;
        f.write_str(&said.join(" "))
    }
}

/// What the machines of a key use.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    machines: i64,
    vcpus: i64,
    memory_mb: i64,
    /// In this minute.
    creates: i64,
    /// Until the minute is over.
    seconds_left: u64,
}

/// What a create adds.
#[derive(Debug, Clone, Copy)]
pub struct Charge {
    need: Need,
}

impl Charge {
    /// Of a machine with this size; what is not known counts once the machine is there.
    pub fn of(need: Need) -> Self {
        Self { need }
    }
}

/// Refuses what is over the quota of a key.
fn check(owner: &str, quota: Quota, used: Used, need: Need) -> Result<()> {
    let over = |name: &str, limit: u32, used: i64, asked: u32, seconds: u64, action: &'static str| {
        let text =
            format!("the quota {name} of the key {owner:?} is {limit}: {used} in use, {asked} asked for");
        Err(Error::new(Kind::RateLimited(seconds), text).with_action(action))
    };
    let sums = [
        ("machines", quota.machines, used.machines, 1),
        ("vcpus", quota.vcpus, used.vcpus, need.vcpus),
        ("memory_mb", quota.memory_mb, used.memory_mb, need.memory_mb),
    ];
    for (name, limit, used, asked) in sums {
        let Some(limit) = limit.filter(|limit| used + i64::from(asked) > i64::from(*limit)) else {
            continue;
        };
        let action =
            "destroy machines that nobody needs, or let the operator raise it with `gateway keys limit`";
        return over(name, limit, used, asked, TRY_AGAIN_SECONDS, action);
    }
    match quota.creates_per_minute {
        Some(limit) if used.creates >= i64::from(limit) => over(
            "creates_per_minute",
            limit,
            used.creates,
            1,
            used.seconds_left.max(1),
            "repeat the call after the time of Retry-After",
        ),
        _ => Ok(()),
    }
}

/// Enters a create, or refuses it; `false`: the key has no quota. It counts once the transaction is committed.
pub async fn enter(transaction: &Transaction<'_>, owner: &str, key: &str, charge: Charge) -> Result<bool> {
    let row = transaction
        .query_opt(
            "SELECT quota FROM keys WHERE name = $1 AND quota <> '{}' FOR UPDATE",
            &[&owner],
        )
        .await?;
    let Some(row) = row else {
        return Ok(false);
    };
    let quota = row.get::<_, Json<Quota>>(0).0;
    let row = transaction
        .query_one(
            "SELECT count(*), coalesce(sum(vcpus), 0)::bigint, coalesce(sum(memory_mb), 0)::bigint FROM ( \
             SELECT vcpus, memory_mb FROM living WHERE owner = $1 UNION ALL \
             SELECT vcpus, memory_mb FROM creating WHERE owner = $1 AND until > clock_timestamp()) AS used",
            &[&owner],
        )
        .await?;
    let mut used = Used {
        machines: row.get(0),
        vcpus: row.get(1),
        memory_mb: row.get(2),
        ..Used::default()
    };
    let window = transaction
        .query_opt(
            "SELECT count, ceil($2::float8 - extract(epoch FROM clock_timestamp() - since))::bigint FROM creates \
             WHERE owner = $1 AND since > clock_timestamp() - make_interval(secs => $2)",
            &[&owner, &WINDOW_SECONDS],
        )
        .await?;
    if let Some(window) = &window {
        used.creates = window.get(0);
        used.seconds_left = u64::try_from(window.get::<_, i64>(1)).unwrap_or_default();
    }
    check(owner, quota, used, charge.need)?;
    let count = match window {
        Some(_) => "UPDATE creates SET count = count + 1 WHERE owner = $1",
        None => {
            "INSERT INTO creates VALUES ($1, clock_timestamp(), 1) \
             ON CONFLICT (owner) DO UPDATE SET since = excluded.since, count = 1"
        }
    };
    transaction.execute(count, &[&owner]).await?;
    let entry = format!(
        "INSERT INTO creating VALUES ($1, $2, $3, $4, clock_timestamp() + interval '{CREATE_PATIENCE}') \
         ON CONFLICT (owner, key) DO UPDATE SET until = excluded.until"
    );
    let (vcpus, memory_mb) = (i64::from(charge.need.vcpus), i64::from(charge.need.memory_mb));
    transaction
        .execute(&entry, &[&owner, &key, &vcpus, &memory_mb])
        .await?;
    Ok(true)
}

/// The same for a create that nobody repeats.
pub async fn enter_once(db: &Db, owner: &str, key: &str, charge: Charge) -> Result<bool> {
    let mut connection = db.get().await?;
    let transaction = connection.transaction().await?;
    let is_entered = enter(&transaction, owner, key, charge).await?;
    transaction.commit().await?;
    Ok(is_entered)
}

/// A create is over: its machine is written down, or there is none.
pub async fn leave(db: &Db, owner: &str, key: &str) {
    let left = async {
        db.get()
            .await?
            .execute(
                "DELETE FROM creating WHERE owner = $1 AND key = $2",
                &[&owner, &key],
            )
            .await?;
        Ok::<_, Error>(())
    };
    if let Err(error) = left.await {
        tracing::warn!(owner, %error, "a create counts against its quota for a while longer");
    }
}

/// Gives a key another quota.
pub async fn limit(db: &Db, name: &str, quota: Quota) -> Result<()> {
    let changed = db
        .get()
        .await?
        .execute(
            "UPDATE keys SET quota = $2 WHERE name = $1 AND revoked_at IS NULL",
            &[&name, &Json(quota)],
        )
        .await?;
    match changed {
        0 => Err(Error::new(
            Kind::NotFound,
            format!("there is no good key {name:?}: `keys list` shows all"),
        )),
        _ => Ok(()),
    }
}

/// Forgets what was entered by gateways that ended, and machines that no node ever told of.
pub async fn prune(db: &Db) -> Result<()> {
    let untold = "DELETE FROM things WHERE NOT told AND NOT given_up \
                  AND seq < (extract(epoch FROM clock_timestamp() - interval '1 day') * 1000000)::bigint";
    let connection = db.get().await?;
    connection
        .execute("DELETE FROM creating WHERE until < clock_timestamp()", &[])
        .await?;
    connection.execute(untold, &[]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_quota_is_refused_by_its_name_with_what_is_used() {
        let quota = Quota {
            machines: Some(3),
            vcpus: Some(4),
            memory_mb: Some(2048),
            creates_per_minute: Some(5),
        };
        let need = Need {
            vcpus: 2,
            memory_mb: 1024,
            disk_mb: 0,
        };
        let used = |machines, vcpus, memory_mb, creates| Used {
            machines,
            vcpus,
            memory_mb,
            creates,
            seconds_left: 17,
        };
        check("web", quota, used(2, 2, 1024, 4), need).unwrap();
        let refused = |used| check("web", quota, used, need).unwrap_err();
        for (error, text) in [
            (
                refused(used(3, 0, 0, 0)),
                "machines of the key \"web\" is 3: 3 in use, 1 asked for",
            ),
            (
                refused(used(0, 3, 0, 0)),
                "vcpus of the key \"web\" is 4: 3 in use, 2 asked for",
            ),
            (
                refused(used(0, 0, 1025, 0)),
                "memory_mb of the key \"web\" is 2048: 1025 in use, 1024 asked for",
            ),
        ] {
            assert!(error.message.ends_with(text), "{}", error.message);
            assert_eq!(error.kind, Kind::RateLimited(TRY_AGAIN_SECONDS));
        }
        let error = refused(used(0, 0, 0, 5));
        assert_eq!(error.kind, Kind::RateLimited(17));
        check(
            "web",
            Quota::default(),
            used(1 << 40, 1 << 40, 1 << 40, 1 << 40),
            need,
        )
        .unwrap();
    }

    #[test]
    fn a_quota_reads_as_its_options() {
        let quota = Quota {
            machines: Some(10),
            creates_per_minute: Some(60),
            ..Quota::default()
        };
        assert_eq!(quota.to_string(), "machines=10 creates-per-minute=60");
        assert_eq!(Quota::default().to_string(), "-");
    }
}
