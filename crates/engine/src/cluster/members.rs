//! What nodes say to a gateway: that they join, and that they are there.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{Request, State as Given};
use axum::http::{header, HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::Router;
use rand::RngExt;
use serde::de::DeserializeOwned;
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio_postgres::types::Json;
use tokio_postgres::Transaction;

use super::events;
use super::place::MOST_CLOCK_OFF_MS;
use super::{claims, Cluster};
use crate::machine::{Error, Kind, Result};
use crate::node::messages::{
    Heartbeat, Inventory, Join, Joined, Orders, HEARTBEAT, JOIN, PROTOCOL, TAG_DIGITS,
};
use crate::server::access::digest;
use crate::server::reply::{envelope, json, status};

/// A node whose last heartbeat is younger is alive.
const ALIVE_SECONDS: f64 = 10.0;
/// Most bytes of a message: the inventory of 100 000 machines.
const MESSAGE_LIMIT: usize = 256 << 20;
/// Tries to find a tag that nobody has.
const TAG_TRIES: usize = 64;

/// Paths of nodes. They show the join token, not a user's key.
pub fn routes(cluster: Arc<Cluster>) -> Router {
    Router::new()
        .route(JOIN, post(join))
        .route(HEARTBEAT, post(heartbeat))
        .with_state(cluster)
}

async fn join(Given(cluster): Given<Arc<Cluster>>, request: Request) -> Response {
    answer(async { cluster.join(&cluster.read(request).await?).await }.await)
}

async fn heartbeat(Given(cluster): Given<Arc<Cluster>>, request: Request) -> Response {
    answer(async { cluster.heartbeat(cluster.read(request).await?).await }.await)
}

fn answer<T: serde::Serialize>(answer: Result<T>) -> Response {
    match answer {
        Ok(value) => json(StatusCode::OK, &value),
        Err(error) => {
            let request_id = format!("req_{}", uuid::Uuid::new_v4().simple());
            json(status(error.kind), &envelope(&error, &request_id)).into_response()
        }
    }
}

/// Gateways are upgraded first: they take the nodes of the version before.
fn check_protocol(theirs: u32) -> Result<()> {
    let oldest = PROTOCOL.saturating_sub(1).max(1);
    if (oldest..=PROTOCOL).contains(&theirs) {
        return Ok(());
    }
    let what = match theirs > PROTOCOL {
        true => "the node is newer than this gateway: upgrade the gateways first",
        false => "the node is too old for this gateway: upgrade it",
    };
    let text = format!("{what} (the node speaks version {theirs}, the gateway {oldest} to {PROTOCOL})");
    Err(Error::new(Kind::Conflict, text))
}

fn refused(text: impl Into<String>) -> Error {
    Error::new(Kind::PermissionDenied, text)
}

impl Cluster {
    /// Reads a message of a node, once it has shown the token and its version.
    async fn read<T: DeserializeOwned>(&self, request: Request) -> Result<T> {
        #[derive(Deserialize)]
        struct Version {
            protocol: u32,
        }
        self.check_token(request.headers())?;
        let wrong = |error: &dyn std::fmt::Display| {
            Error::new(
                Kind::InvalidRequest,
                format!("this is no message of a node: {error}"),
            )
        };
        let bytes = to_bytes(request.into_body(), MESSAGE_LIMIT)
            .await
            .map_err(|e| wrong(&e))?;
        let version: Version = serde_json::from_slice(&bytes).map_err(|e| wrong(&e))?;
        check_protocol(version.protocol)?;
        serde_json::from_slice(&bytes).map_err(|e| wrong(&e))
    }

    /// Lets in who has the token of this cluster.
    fn check_token(&self, headers: &HeaderMap) -> Result<()> {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let given = digest(given.unwrap_or_default().as_bytes());
        match bool::from(given.ct_eq(&digest(self.token.as_bytes()))) {
            true => Ok(()),
            false => Err(Error::new(
                Kind::Unauthorized,
                "the join token is not the one of this cluster: give the node the --join-token that its gateways have",
            )),
        }
    }

    async fn join(&self, join: &Join) -> Result<Joined> {
        if !(join.url.starts_with("http://") || join.url.starts_with("https://")) {
            return Err(Error::invalid(
                "url",
                "is no URL: give the node --advertise http://ADDRESS:PORT",
            ));
        }
        let mut connection = self.db.get().await?;
        let transaction = connection.transaction().await?;
        let clock_off = clock_off(&transaction, join.clock_ms).await?;
        if clock_off.unsigned_abs() > MOST_CLOCK_OFF_MS {
            return Err(refused(format!(
                "the clock of the node is {} s {}: set it right, which chrony or systemd-timesyncd does",
                clock_off.unsigned_abs() / 1000,
                if clock_off > 0 { "ahead" } else { "behind" }
            )));
        }
        let known = transaction
            .query_opt(
                "SELECT tag, url, instance, coalesce(extract(epoch FROM clock_timestamp() - heard_at) < $2::float8, false) \
                 FROM nodes WHERE id = $1 FOR UPDATE",
                &[&join.node, &ALIVE_SECONDS],
            )
            .await?;
        let tag = match known {
            Some(row) => {
                let (tag, url, instance): (String, String, String) = (row.get(0), row.get(1), row.get(2));
                if join.tag.as_ref().is_some_and(|claimed| *claimed != tag) {
                    return Err(refused(
                        "the node's tag is not the one that this cluster gave it: give it a new --state",
                    ));
                }
                // The same address cannot be served twice, so there it is the same node, started anew.
                let is_alive: bool = row.get(3);
                if is_alive && instance != join.instance && url != join.url {
                    return Err(refused(format!(
                        "this node is alive at {url}: was its state directory copied? Give this one a new --state"
                    )));
                }
                transaction
                    .execute(
                        // A drain ends with the process that was drained.
                        "UPDATE nodes SET url = $2, instance = $3, name = $4, version = $5, \
                         draining = draining AND instance = $3 WHERE id = $1",
                        &[&join.node, &join.url, &join.instance, &join.name, &join.version],
                    )
                    .await?;
                tag
            }
            None => self.enter(&transaction, join).await?,
        };
        transaction.commit().await?;
        tracing::info!(node = %join.name, %tag, url = %join.url, "a node joined");
        Ok(Joined { tag })
    }

    /// A node that is not known yet, with the tag it has, or one that nobody has.
    async fn enter(&self, transaction: &Transaction<'_>, join: &Join) -> Result<String> {
        let tries = if join.tag.is_some() { 1 } else { TAG_TRIES };
        for _ in 0..tries {
            let tag = join.tag.clone().unwrap_or_else(|| {
                let number: u16 = rand::rng().random();
                format!("{number:0width$x}", width = TAG_DIGITS)
            });
            let entered = transaction
                .execute(
                    "INSERT INTO nodes (id, tag, name, url, instance, version) VALUES ($1, $2, $3, $4, $5, $6) \
                     ON CONFLICT DO NOTHING",
                    &[&join.node, &tag, &join.name, &join.url, &join.instance, &join.version],
                )
                .await?;
            if entered == 1 {
                // Its tag may have been that of a node that was forgotten.
                events::skip(transaction, &tag, 0).await?;
                return Ok(tag);
            }
        }
        Err(refused(match join.tag {
            Some(_) => "another node of this cluster has this node's tag: give it a new --state",
            None => {
                "this cluster has no tag left for another node: forget nodes that are gone (`node forget`)"
            }
        }))
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<Orders> {
        let mut connection = self.db.get().await?;
        let transaction = connection.transaction().await?;
        let clock_off = clock_off(&transaction, heartbeat.clock_ms).await?;
        let row = transaction
            .query_opt(
                "UPDATE nodes SET heard_at = clock_timestamp(), beats = beats + 1, clock_off_ms = $3, capacity = $4, pools = $5, \
                 addresses = $6, draining = draining OR $7 \
                 WHERE id = $1 AND instance = $2 RETURNING tag, epoch, lost, draining, \
                 (extract(epoch FROM drain_until - clock_timestamp()) * 1000)::bigint",
                &[
                    &heartbeat.node,
                    &heartbeat.instance,
                    &clock_off,
                    &Json(heartbeat.capacity),
                    &Json(&heartbeat.pools),
                    &Json(&heartbeat.addresses),
                    &heartbeat.leaving,
                ],
            )
            .await?;
        let Some(row) = row else {
            let known = transaction
                .query_opt("SELECT 1 FROM nodes WHERE id = $1", &[&heartbeat.node])
                .await?;
            return Err(refused(match known {
                Some(_) => "another process has joined as this node: end one of them",
                None => "this cluster does not know the node: it was forgotten, so give it a new --state",
            }));
        };
        let (tag, epoch, lost): (String, i64, bool) = (row.get(0), row.get(1), row.get(2));
        let gives_up = heartbeat.epoch < epoch;
        if !gives_up {
            if lost {
                transaction
                    .execute("UPDATE nodes SET lost = false WHERE id = $1", &[&heartbeat.node])
                    .await?;
                events::skip(&transaction, &tag, heartbeat.events).await?;
                tracing::info!(%tag, "a node that was lost is back, without the machines it had");
            }
            take_inventory(&transaction, &tag, heartbeat.inventory).await?;
        }
        transaction.commit().await?;
        drop(connection);
        let draining: bool = row.get(3);
        let holds_the_last = draining && self.holds_the_last(&tag).await?;
        Ok(Orders {
            epoch,
            give_up: gives_up,
            drain: draining,
            holds_the_last,
            drain_within_ms: row
                .get::<_, Option<i64>>(4)
                .map(|left| u64::try_from(left).unwrap_or_default()),
            whole_inventory: gives_up || lost,
            refused: self.own_addresses(),
        })
    }

    /// The cluster's own parts.
    pub(super) fn own_addresses(&self) -> Vec<IpAddr> {
        let mut all = self.nodes.addresses();
        all.extend(self.addresses.all());
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// How far a clock is ahead of the database's, in milliseconds.
async fn clock_off(transaction: &Transaction<'_>, clock_ms: i64) -> Result<i64> {
    let row = transaction
        .query_one(
            "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
            &[],
        )
        .await?;
    Ok(clock_ms.saturating_sub(row.get::<_, i64>(0)))
}

/// Writes down what a node has. What was given up stays what it was made then.
async fn take_inventory(transaction: &Transaction<'_>, tag: &str, inventory: Inventory) -> Result<()> {
    let ids: Vec<&str> = inventory.entries.iter().map(|e| e.id.as_str()).collect();
    if inventory.whole {
        transaction
            .execute(
                "DELETE FROM things WHERE node = $1 AND NOT given_up AND id <> ALL ($2)",
                &[&tag, &ids],
            )
            .await?;
    } else if !inventory.gone.is_empty() {
        transaction
            .execute(
                "DELETE FROM things WHERE node = $1 AND NOT given_up AND id = ANY ($2)",
                &[&tag, &inventory.gone],
            )
            .await?;
    }
    if !inventory.gone.is_empty() {
        claims::ended(transaction, &inventory.gone).await?;
    }
    if ids.is_empty() {
        return Ok(());
    }
    let kinds: Vec<&str> = inventory.entries.iter().map(|e| e.kind.as_str()).collect();
    let places: Vec<i64> = inventory.entries.iter().map(|e| e.seq).collect();
    let infos: Vec<Json<&serde_json::Value>> = inventory.entries.iter().map(|e| Json(&e.info)).collect();
    transaction
        .execute(
            "INSERT INTO things (node, id, kind, seq, info) \
             SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::jsonb[]) \
             ON CONFLICT (id, node) DO UPDATE SET seq = excluded.seq, info = excluded.info, told = true WHERE NOT things.given_up",
            &[&tag, &ids, &kinds, &places, &infos],
        )
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_of_another_version_is_told_which_side_to_upgrade() {
        check_protocol(PROTOCOL).unwrap();
        let newer = check_protocol(PROTOCOL + 1).unwrap_err().message;
        assert!(newer.contains("upgrade the gateways first"), "{newer}");
        let older = check_protocol(0).unwrap_err().message;
        assert!(older.contains("upgrade it"), "{older}");
    }
}
