//! One idempotency key, one machine in the whole cluster: a row says which node makes it, and it is written before the node hears
//! of it. Whoever repeats the key is sent to that node, which knows what it did. Only a node that certainly made nothing, or that
//! was given up, loses the key to another one.

use sha2::{Digest, Sha256};

use tokio_postgres::GenericClient;

use super::db::Db;
use super::quotas::{self, Charge};
use crate::machine::ground::idempotency::{expired, Ticket};
use crate::machine::{secret, Error, Kind, Result};

/// How long keys are kept; as long as a single engine keeps them.
const KEPT: &str = "1 day";

/// A key with the node that has it.
#[derive(Debug, Clone)]
pub struct Claim {
    owner: String,
    key: String,
    /// Tag.
    pub node: String,
    attempt: i32,
    fingerprint: Vec<u8>,
    /// Nobody had it before.
    pub is_new: bool,
    /// A machine was made, and its maker was told.
    pub is_made: bool,
    /// It was entered for the quota of its owner.
    pub is_charged: bool,
}

impl Claim {
    /// For a create without a key: nobody repeats it.
    pub fn of_nobody(node: &str) -> Self {
        Self {
            owner: String::new(),
            key: secret("once"),
            node: node.to_owned(),
            attempt: 1,
            fingerprint: Vec::new(),
            is_new: true,
            is_made: false,
            is_charged: false,
        }
    }

    /// As its owner gave it, or as [`Claim::of_nobody`] made it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What the node is sent as idempotency key: another one for each user and each attempt, so that a node that lost the key and
    /// gets it again does not repeat an old answer.
    pub fn node_key(&self) -> String {
        let mut hash = Sha256::new();
        for part in [self.owner.as_str(), &self.key, &self.attempt.to_string()] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        hex::encode(hash.finalize())
    }
}

/// Takes a key for a node, or finds the one that has it. Whoever takes it pays: `charge` counts against the quota in the same
/// transaction, so that a repeat that comes at the same time neither pays again nor goes free.
pub async fn take(db: &Db, owner: &str, ticket: &Ticket, node: &str, charge: Charge) -> Result<Claim> {
    let mut connection = db.get().await?;
    let (key, fingerprint) = (ticket.key(), ticket.fingerprint());
    let claim = |node: &str, attempt, is_new, is_made| Claim {
        owner: owner.to_owned(),
        key: key.to_owned(),
        node: node.to_owned(),
        attempt,
        fingerprint: fingerprint.to_vec(),
        is_new,
        is_made,
        is_charged: false,
    };
    // Twice: the row that was in the way may be gone when it is read.
    for _ in 0..2 {
        let transaction = connection.transaction().await?;
        let taken = transaction
            .execute(
                "INSERT INTO claims (owner, key, fingerprint, node) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
                &[&owner, &key, &fingerprint, &node],
            )
            .await?;
        if taken == 1 {
            let is_charged = quotas::enter(&transaction, owner, key, charge).await?;
            transaction.commit().await?;
            return Ok(Claim {
                is_charged,
                ..claim(node, 1, true, false)
            });
        }
        transaction.commit().await?;
        let row = connection
            .query_opt(
                "SELECT node, attempt, fingerprint, machine, ended FROM claims WHERE owner = $1 AND key = $2",
                &[&owner, &key],
            )
            .await?;
        if let Some(row) = row {
            if row.get::<_, &[u8]>(2) != fingerprint {
                return Err(ticket.mismatch());
            }
            let machine: Option<&str> = row.get(3);
            if row.get(4) {
                return Err(expired(key, "machine", machine.unwrap_or_default()));
            }
            return Ok(claim(row.get(0), row.get(1), false, machine.is_some()));
        }
    }
    Err(Error::new(
        Kind::TransitionInProgress,
        "the idempotency key is just being given up",
    )
    .with_action("repeat the call in a moment"))
}

/// The node that has a key, if one has.
pub async fn holder(db: &Db, owner: &str, key: &str) -> Result<Option<String>> {
    let row = db
        .get()
        .await?
        .query_opt(
            "SELECT node FROM claims WHERE owner = $1 AND key = $2",
            &[&owner, &key],
        )
        .await?;
    Ok(row.map(|row| row.get(0)))
}

/// Gives a key to another node; `None`: somebody else moved it first, or its machine is made. `is_lost`: what its node made counts as
/// ended.
pub async fn give(db: &Db, claim: &Claim, node: &str, is_lost: bool) -> Result<Option<Claim>> {
    let moved = db
        .get()
        .await?
        .execute(
            "UPDATE claims SET node = $4, attempt = attempt + 1, machine = NULL \
             WHERE owner = $1 AND key = $2 AND attempt = $3 AND (machine IS NULL OR $5)",
            &[&claim.owner, &claim.key, &claim.attempt, &node, &is_lost],
        )
        .await?;
    Ok((moved == 1).then(|| Claim {
        node: node.to_owned(),
        attempt: claim.attempt + 1,
        is_made: false,
        is_charged: false,
        ..claim.clone()
    }))
}

/// Gives a key back after a create that failed for good, as an engine does: a repeat tries again.
pub async fn drop(db: &Db, claim: &Claim) -> Result<()> {
    db.get()
        .await?
        .execute(
            "DELETE FROM claims WHERE owner = $1 AND key = $2 AND attempt = $3 AND machine IS NULL",
            &[&claim.owner, &claim.key, &claim.attempt],
        )
        .await?;
    Ok(())
}

/// Notes that the machine is made, also when a request with the same key failed meanwhile and gave it back. `false`: the key was
/// given to another node meanwhile, so this machine is one too many.
pub async fn made(db: &Db, claim: &Claim, machine: &str) -> Result<bool> {
    let noted = db
        .get()
        .await?
        .execute(
            "INSERT INTO claims (owner, key, fingerprint, node, attempt, machine) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (owner, key) DO UPDATE SET machine = excluded.machine WHERE claims.attempt = excluded.attempt",
            &[&claim.owner, &claim.key, &claim.fingerprint, &claim.node, &claim.attempt, &machine],
        )
        .await?;
    Ok(noted == 1)
}

/// Notes that machines were ended: their keys make no others, whatever becomes of their node.
pub async fn ended(connection: &impl GenericClient, machines: &[String]) -> Result<()> {
    connection
        .execute(
            "UPDATE claims SET ended = true WHERE machine = ANY ($1)",
            &[&machines],
        )
        .await?;
    Ok(())
}

/// Forgets keys that are old enough.
pub async fn prune(db: &Db) -> Result<()> {
    let text = format!("DELETE FROM claims WHERE made_at < clock_timestamp() - interval '{KEPT}'");
    db.get().await?.execute(&text, &[]).await?;
    Ok(())
}
