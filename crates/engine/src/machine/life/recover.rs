//! What a new engine does with the state of an earlier one.
//!
//! No machine outlives its engine: a clean end stops them, and otherwise their first process ends when it loses the
//! engine. So every machine that was alive is dead now, and is reported so instead of being forgotten.

use nullspace_wire::machine::MachineStatus;

use super::snapshot::Snapshot;
use crate::machine::ground::{Error, Result};
use crate::machine::monitoring::events::{Actor, Event, Operation};
use crate::machine::records::record::Record;
use crate::machine::Engine;
use crate::store::documents::{self, Kind as Document};
use crate::store::{events, machines};

/// States of machines that have processes.
const ALIVE: [&str; 3] = ["creating", "running", "paused"];

impl Engine {
    pub(in crate::machine) async fn recover(&self) -> Result<()> {
        let recovered = self.backend.recover().await;
        recovered.map_err(|e| Error::isolation("ending what an earlier engine left", e))?;
        if let Err(error) = self.trash.take(&self.store.directory().join("logs")) {
            tracing::warn!(%error, "output of an earlier engine's commands cannot be removed");
        }
        let rows = self.store.call(|c| {
            events::prune(c)?;
            machines::in_states(c, &ALIVE)
        });
        let mut dead = Vec::new();
        let mut unanswered = Vec::new();
        for row in rows.await? {
            let mut record: Record =
                serde_json::from_str(&row.record).map_err(|e| Error::internal("reading a machine", e))?;
            if record.unanswered {
                // Its maker holds the idempotency key and no id: the repeat makes the one machine of that key.
                unanswered.push(record.id);
                continue;
            }
            record.status = MachineStatus::Error;
            record.error_message = Some("the machine ended with the engine that ran it".into());
            record.timeout_at = None;
            record.snapshot_id = None;
            dead.push(record);
        }
        let updates: Vec<(String, String)> = dead.iter().map(|r| (r.id.clone(), r.to_json())).collect();
        let written = self.store.call(move |c| {
            let transaction = c.transaction()?;
            for (id, json) in &updates {
                machines::update(&transaction, id, "error", json)?;
            }
            for id in &unanswered {
                machines::delete(&transaction, id)?;
            }
            machines::prune(&transaction)?;
            // The snapshot of a pause stood for processes that are gone.
            for row in documents::list(&transaction, Document::Snapshot, None)? {
                match serde_json::from_str::<Snapshot>(&row) {
                    Ok(snapshot) if snapshot.is_pause => {
                        documents::delete(&transaction, Document::Snapshot, &snapshot.id)?;
                    }
                    _ => {}
                }
            }
            transaction.commit()
        });
        written.await?;
        if !dead.is_empty() {
            tracing::warn!(
                machines = dead.len(),
                "machines ended with an earlier engine; they are listed as `error`"
            );
        }
        for record in dead {
            let event = Event::of(Operation::Reconcile, &record.id)
                .by(Actor::Reconcile)
                .because("engine_restarted");
            self.record_event(event).await;
        }
        self.recover_volumes().await?;
        self.recover_builds().await?;
        self.trim_cache().await?;
        self.collect_layers().await;
        Ok(())
    }
}
