//! Pauses a machine where it stands, and lets it go on.
//!
//! A pause freezes the processes; memory stays where it is. So it is instant, and it ends with the engine: a restarted
//! engine reports a machine that was paused as `error`.

use std::sync::Arc;
use std::time::Duration;

use nullspace_wire::machine::{MachineInfo, MachineStatus, SnapshotInfo};

use super::snapshot::Snapshot;
use crate::machine::ground::status::Rules;
use crate::machine::ground::{clock, Error, Kind, Result};
use crate::machine::live::Machine;
use crate::machine::monitoring::events::{Actor, Event, Operation};
use crate::machine::Engine;
use crate::store::documents;

impl Engine {
    /// Pauses a machine. Its id then is an alias of the snapshot that this answers.
    pub async fn pause(self: &Arc<Self>, id: &str) -> Result<SnapshotInfo> {
        let (engine, id) = (self.clone(), id.to_owned());
        self.run_to_end(async move {
            let machine = engine.live_machine(&id).await?;
            let _turn = machine.try_turn()?;
            engine.pause_now(&machine, Actor::User).await
        })
        .await
    }

    /// Pauses a machine whose turn the caller holds.
    pub(super) async fn pause_now(&self, machine: &Arc<Machine>, actor: Actor) -> Result<SnapshotInfo> {
        let (status, ephemeral) = machine.read(|r| (r.status, r.lease.ephemeral));
        if status == MachineStatus::Paused {
            return Err(Error::new(
                Kind::TransitionConflict,
                format!("machine {} is paused already", machine.id),
            ));
        }
        if !status.can_pause() || machine.gone.is_cancelled() {
            return Err(machine.not_ready());
        }
        if ephemeral {
            return Err(Error::new(
                Kind::TransitionConflict,
                format!("machine {} is ephemeral: it cannot be paused", machine.id),
            )
            .with_action("make it without `ephemeral`"));
        }
        let _gate = machine.gate.write().await;
        let running = machine.running()?;
        // Memory is what the pause keeps; a computer that cannot count it still can freeze.
        let size_bytes = running.usage().await.map_or(0, |usage| usage.memory_bytes);
        let frozen = running.freeze().await;
        frozen.map_err(|e| Error::isolation("pausing the machine", e))?;
        let snapshot = machine.read(|record| Snapshot::of_pause(record, self.ids.snapshot(), size_bytes));
        let (id, json, subject) = (snapshot.id.clone(), snapshot.to_json(), machine.id.clone());
        let stored = machine
            .update_with(
                &self.store,
                |record| {
                    record.status = MachineStatus::Paused;
                    record.snapshot_id = Some(snapshot.id.clone());
                    record.timeout_at = None;
                },
                move |c| documents::put(c, documents::Kind::Snapshot, &id, &subject, &json),
            )
            .await;
        if let Err(error) = stored {
            // Not noted, so not paused.
            machine.set(|record| {
                record.status = MachineStatus::Running;
                record.snapshot_id = None;
            });
            let _ = running.thaw().await;
            return Err(error);
        }
        machine.set_paused(true);
        machine.changed.notify_one();
        let event = Event::of(Operation::Hibernate, &machine.id)
            .by(actor)
            .snapshot(&snapshot.id);
        self.record_event(event).await;
        Ok(snapshot.info())
    }

    /// Lets a paused machine go on under its own id, with its lease started anew. A running one is answered as it is.
    pub async fn resume(self: &Arc<Self>, id: &str) -> Result<MachineInfo> {
        let (engine, id) = (self.clone(), id.to_owned());
        self.run_to_end(async move { engine.resume_now(&id).await }).await
    }

    async fn resume_now(&self, id: &str) -> Result<MachineInfo> {
        let machine = self.live_machine(id).await?;
        // Waits instead of refusing: two that connect to a paused machine both get it.
        let _turn = machine.turn().await;
        let status = machine.status();
        if status == MachineStatus::Running && !machine.gone.is_cancelled() {
            return Ok(machine.info());
        }
        if !status.can_resume() || machine.gone.is_cancelled() {
            return Err(machine.not_ready());
        }
        let _gate = machine.gate.write().await;
        let thawed = machine.running()?.thaw().await;
        thawed.map_err(|e| Error::isolation("resuming the machine", e))?;
        machine.set_paused(false);
        let pause = machine.read(|r| r.snapshot_id.clone());
        let removed = pause.clone();
        machine
            .update_with(
                &self.store,
                |record| {
                    record.status = MachineStatus::Running;
                    record.snapshot_id = None;
                    record.timeout_at = Some(clock::after(Duration::from_millis(record.lease.timeout_ms)));
                },
                move |c| match removed {
                    Some(pause) => documents::delete(c, documents::Kind::Snapshot, &pause).map(|_| ()),
                    None => Ok(()),
                },
            )
            .await?;
        machine.changed.notify_one();
        let mut event = Event::of(Operation::ResumeFromSnapshot, id);
        if let Some(pause) = &pause {
            event = event.snapshot(pause);
        }
        self.record_event(event).await;
        Ok(machine.info())
    }
}
