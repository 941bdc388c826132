//! Ends a machine for good.

use std::sync::Arc;

use nullspace_wire::machine::MachineStatus;

use crate::machine::ground::{Error, Result};
use crate::machine::live::Machine;
use crate::machine::monitoring::events::{Actor, Event, Operation};
use crate::machine::Engine;
use crate::store::{documents, machines};

impl Engine {
    /// Destroys a machine and waits until all of it is gone. A destroyed machine is not found any more.
    pub async fn destroy(self: &Arc<Self>, id: &str) -> Result<()> {
        let (engine, id) = (self.clone(), id.to_owned());
        self.run_to_end(async move { engine.destroy_as(&id, Actor::User, None).await })
            .await
    }

    pub(super) async fn destroy_as(
        self: &Arc<Self>,
        id: &str,
        actor: Actor,
        reason: Option<&str>,
    ) -> Result<()> {
        if let Some(machine) = self.find_live(id) {
            let _turn = machine.turn().await;
            // Meanwhile somebody else may have destroyed it (then its row is gone), or it died (then its row is not).
            if !machine.gone.is_cancelled() {
                machine.gone.cancel();
                machine.set(|record| record.status = MachineStatus::Destroyed);
            }
            self.delete_rows(id, machine.read(|r| r.snapshot_id.clone()))
                .await?;
            self.forget(&machine).await;
        } else {
            self.delete_rows(id, None).await?;
        }
        let mut event = Event::of(Operation::Destroy, id).by(actor);
        if let Some(reason) = reason {
            event = event.because(reason);
        }
        self.record_event(event).await;
        self.collect_layers().await;
        Ok(())
    }

    /// Removes the row of a machine and of the snapshot that its pause is.
    async fn delete_rows(&self, id: &str, pause: Option<String>) -> Result<()> {
        let machine = id.to_owned();
        let deleted = self.store.call(move |c| {
            let transaction = c.transaction()?;
            let was_there = machines::delete(&transaction, &machine)?;
            if let Some(pause) = pause {
                documents::delete(&transaction, documents::Kind::Snapshot, &pause)?;
            }
            transaction.commit()?;
            Ok(was_there)
        });
        if deleted.await? {
            Ok(())
        } else {
            Err(Error::no_machine(id))
        }
    }

    /// Takes a machine that is gone out of memory and removes what it had.
    pub(in crate::machine) async fn forget(&self, machine: &Arc<Machine>) {
        self.remove_live(&machine.id);
        machine.processes.close();
        if let Some(running) = machine.set_running(None) {
            if let Err(error) = running.stop().await {
                // What is left is ended by `recover` of the next start.
                tracing::error!(machine = %machine.id, %error, "ending a machine failed");
            }
        }
    }
}
