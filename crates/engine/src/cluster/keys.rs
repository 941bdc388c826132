//! Keys of users: named, stored as digests, each with a quota. Gateways keep them in memory, so that calls are let in while the
//! database is away.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use tokio_postgres::types::Json;

use super::db::Db;
use super::quotas::Quota;
use crate::machine::{secret, Error, Kind, Result};
use crate::server::access::{digest, Holder, KeyDigest, Keys};

/// Longest name.
const NAME_LIMIT: usize = 64;

/// The keys that are good.
#[derive(Default)]
pub struct Keyring(RwLock<Good>);

#[derive(Default)]
struct Good {
    holders: HashMap<KeyDigest, Holder>,
    /// Names of those that may use no more than so much.
    limited: HashSet<Arc<str>>,
}

impl Keys for Keyring {
    fn holder(&self, key: &KeyDigest) -> Option<Holder> {
        let good = self.0.read().unwrap_or_else(PoisonError::into_inner);
        good.holders.get(key).cloned()
    }
}

impl Keyring {
    /// Reads them anew.
    pub async fn refresh(&self, db: &Db) -> Result<()> {
        let rows = db
            .get()
            .await?
            .query(
                "SELECT name, digest, quota <> '{}' FROM keys WHERE revoked_at IS NULL",
                &[],
            )
            .await?;
        let mut read = Good::default();
        for row in rows {
            let Ok(digest) = row.get::<_, &[u8]>(1).try_into() else {
                continue;
            };
            let name: Arc<str> = row.get::<_, &str>(0).into();
            if row.get(2) {
                read.limited.insert(name.clone());
            }
            read.holders.insert(digest, Holder(name));
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    /// Whether creates of a key are counted.
    pub fn has_quota(&self, holder: &Holder) -> bool {
        let good = self.0.read().unwrap_or_else(PoisonError::into_inner);
        good.limited.contains(&holder.0)
    }
}

/// A key as lists show it.
pub struct Listed {
    /// Of the key.
    pub name: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; `None` = it is good.
    pub revoked_at: Option<String>,
    /// Machines that were made with it and live.
    pub machines: i64,
    /// What it may use.
    pub quota: Quota,
}

/// Makes a key, or takes a given one, and gives it: it is shown this once.
pub async fn add(db: &Db, name: &str, given: Option<&str>) -> Result<String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > NAME_LIMIT || !name.bytes().all(is_plain) {
        return Err(Error::invalid(
            "NAME",
            format_args!("is {name:?}: give letters, digits, '-', '_' or '.', such as \"web-backend\""),
        ));
    }
    if given.is_some_and(|key| key.len() < 20 || !key.bytes().all(|b| b.is_ascii_graphic())) {
        return Err(Error::invalid(
            "key",
            "is easy to guess: give 20 visible ASCII characters or more, or leave it out",
        ));
    }
    let key = given.map_or_else(|| secret("nsk"), str::to_owned);
    let stored: &[u8] = &digest(key.as_bytes());
    let added = db
        .get()
        .await?
        .execute(
            "INSERT INTO keys (name, digest) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            &[&name, &stored],
        )
        .await?;
    match added {
        0 => Err(Error::new(
            Kind::Conflict,
            format!("there is a key {name:?} already, or this very key under another name: revoke it, or give another name"),
        )),
        _ => Ok(key),
    }
}

/// All keys, oldest first.
pub async fn list(db: &Db) -> Result<Vec<Listed>> {
    let rows = db
        .get()
        .await?
        .query(
            "SELECT name, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), \
             to_char(revoked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), \
             (SELECT count(*) FROM living WHERE owner = name), quota \
             FROM keys ORDER BY created_at, name",
            &[],
        )
        .await?;
    let read = rows.iter().map(|row| Listed {
        name: row.get(0),
        created_at: row.get(1),
        revoked_at: row.get(2),
        machines: row.get(3),
        quota: row.get::<_, Json<Quota>>(4).0,
    });
    Ok(read.collect())
}

/// Makes a key good for nothing. Machines that were made with it go on.
pub async fn revoke(db: &Db, name: &str) -> Result<()> {
    let revoked = db
        .get()
        .await?
        .execute(
            "UPDATE keys SET revoked_at = clock_timestamp() WHERE name = $1 AND revoked_at IS NULL",
            &[&name],
        )
        .await?;
    match revoked {
        0 => Err(Error::new(
            Kind::NotFound,
            format!("there is no good key {name:?}: `keys list` shows all"),
        )),
        _ => Ok(()),
    }
}
