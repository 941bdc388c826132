//! One idempotency key, one piece of work, one answer.
//!
//! The answer is stored in the same transaction as the work it belongs to, so that a crash keeps both or neither. A
//! repeat waits for the first request if that is still under way. Failures are not kept: a repeat tries again. An answer
//! that describes what was destroyed since is not given again: its reader would take it for a machine that runs.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::json::canonical;
use super::sync::lock;
use super::{clock, Error, Kind, Result};
use crate::machine::Engine;
use crate::store::documents::{self, Kind as Document};
use crate::store::{keys, machines};

/// Longest key in bytes.
const MAX_KEY: usize = 255;

/// What the work of a key makes.
#[derive(Debug, Clone, Copy)]
pub enum Makes {
    /// A machine.
    Machine,
    /// A snapshot.
    Snapshot,
    /// An upload.
    Upload,
}

/// A key together with what it was given for.
#[derive(Debug, Clone)]
pub struct Ticket {
    makes: Makes,
    scope: String,
    key: String,
    fingerprint: Vec<u8>,
}

impl Ticket {
    /// Checks the key. `scope` is the operation (and its machine): keys of different operations do not meet. `body`
    /// counts by meaning, not by the order of its keys.
    pub fn new(
        makes: Makes,
        scope: impl Into<String>,
        key: Option<&str>,
        body: &serde_json::Value,
    ) -> Result<Option<Self>> {
        let Some(key) = key else {
            return Ok(None);
        };
        if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::invalid(
                "Idempotency-Key",
                format_args!(
                    "is no usable key: give 1 to {MAX_KEY} visible ASCII characters, such as a UUID"
                ),
            ));
        }
        Ok(Some(Self {
            makes,
            scope: scope.into(),
            key: key.into(),
            fingerprint: Sha256::digest(canonical(body)).to_vec(),
        }))
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Digest of the body it was given for.
    pub fn fingerprint(&self) -> &[u8] {
        &self.fingerprint
    }

    /// The key was given for another body.
    pub fn mismatch(&self) -> Error {
        mismatch(&self.key)
    }

    /// Keeps the answer. To be called in the transaction of the work.
    pub fn keep(&self, connection: &rusqlite::Connection, body: &str) -> rusqlite::Result<()> {
        keys::put(
            connection,
            &self.scope,
            &self.key,
            &self.fingerprint,
            body,
            clock::unix_seconds(),
        )
    }
}

/// Keys whose work is under way.
#[derive(Debug, Default)]
pub struct InFlight(Mutex<HashMap<(String, String), Entry>>);

#[derive(Debug, Clone)]
struct Entry {
    fingerprint: Vec<u8>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// Removes the entry when the last of those who share a key is done.
struct Share<'a> {
    all: &'a InFlight,
    place: (String, String),
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut all = lock(&self.all.0);
        // This share and the table: nobody else waits.
        if Arc::strong_count(&self.turn) <= 2 {
            all.remove(&self.place);
        }
    }
}

fn mismatch(key: &str) -> Error {
    Error::new(
        Kind::Conflict,
        format!("the idempotency key {key:?} was already used with another request body"),
    )
    .with_action("repeat the first body unchanged to get its answer, or use a new key for a new request")
}

impl Engine {
    /// Does the work of a key once and answers every request that carries the key with the same body (JSON). `work`
    /// must keep its answer with [`Ticket::keep`]. Without a ticket the work is simply done.
    pub(in crate::machine) async fn once<F>(&self, ticket: Option<&Ticket>, work: F) -> Result<String>
    where
        F: Future<Output = Result<String>>,
    {
        let Some(ticket) = ticket else {
            return work.await;
        };
        let place = (ticket.scope.clone(), ticket.key.clone());
        let entry = lock(&self.keys.0)
            .entry(place.clone())
            .or_insert_with(|| Entry {
                fingerprint: ticket.fingerprint.clone(),
                turn: Arc::default(),
            })
            .clone();
        let share = Share {
            all: &self.keys,
            place,
            turn: entry.turn,
        };
        if entry.fingerprint != ticket.fingerprint {
            return Err(mismatch(&ticket.key));
        }
        let _turn = share.turn.lock().await;
        let (scope, key) = (ticket.scope.clone(), ticket.key.clone());
        let kept = self
            .store
            .call(move |c| keys::get(c, &scope, &key, clock::unix_seconds()));
        match kept.await? {
            Some(kept) if kept.fingerprint == ticket.fingerprint => {
                self.refuse_if_gone(ticket, &kept.body).await?;
                Ok(kept.body)
            }
            Some(_) => Err(mismatch(&ticket.key)),
            None => work.await,
        }
    }

    /// Refuses to repeat an answer about something that is not there any more.
    async fn refuse_if_gone(&self, ticket: &Ticket, body: &str) -> Result<()> {
        #[derive(Deserialize)]
        struct Made {
            id: String,
        }
        #[derive(Deserialize)]
        struct Begun {
            session: Session,
        }
        #[derive(Deserialize)]
        struct Session {
            upload_id: String,
        }
        let unread = |error| Error::internal("reading a kept answer", error);
        let (what, id, is_there) = match ticket.makes {
            Makes::Machine => {
                let Made { id } = serde_json::from_str(body).map_err(unread)?;
                let wanted = id.clone();
                let row = self.store.call(move |c| machines::get(c, &wanted)).await?;
                ("machine", id, row.is_some())
            }
            Makes::Snapshot => {
                let Made { id } = serde_json::from_str(body).map_err(unread)?;
                let wanted = id.clone();
                let row = self
                    .store
                    .call(move |c| documents::get(c, Document::Snapshot, &wanted));
                ("snapshot", id, row.await?.is_some())
            }
            Makes::Upload => {
                let begun: Begun = serde_json::from_str(body).map_err(unread)?;
                let id = begun.session.upload_id;
                let is_there = self.has_upload(&id);
                ("upload", id, is_there)
            }
        };
        if is_there {
            return Ok(());
        }
        Err(expired(&ticket.key, what, &id))
    }
}

/// What a key made is gone.
pub fn expired(key: &str, what: &str, id: &str) -> Error {
    Error::new(
        Kind::IdempotencyKeyExpired,
        format!(
            "the idempotency key {key:?} made {what} {id}, which is gone: a key makes one thing, and is kept for a day"
        ),
    )
    .with_action("use a new key to make another one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_order_of_keys_makes_no_other_request() {
        let ticket = |body| {
            Ticket::new(Makes::Machine, "create", Some("k"), &body)
                .unwrap()
                .unwrap()
        };
        assert_eq!(
            ticket(json!({ "a": 1, "b": 2 })).fingerprint,
            ticket(json!({ "b": 2, "a": 1 })).fingerprint
        );
        assert_ne!(
            ticket(json!({ "a": 1 })).fingerprint,
            ticket(json!({ "a": 2 })).fingerprint
        );
    }

    #[test]
    fn unusable_keys_are_refused() {
        for key in ["", "two words", &"x".repeat(256), "ü"] {
            let error = Ticket::new(Makes::Machine, "create", Some(key), &json!({})).unwrap_err();
            assert!(error.message.contains("Idempotency-Key"), "{}", error.message);
        }
        assert!(Ticket::new(Makes::Machine, "create", None, &json!({}))
            .unwrap()
            .is_none());
    }
}
