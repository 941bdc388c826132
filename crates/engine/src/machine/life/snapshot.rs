//! Snapshots: immutable copies of a machine's files that new machines start from.
//!
//! A snapshot of a running machine copies files, not the memory of its processes. The snapshot of a pause stands for
//! the frozen machine and is copied only when something is made from it.

use std::sync::Arc;

use nullspace_wire::machine::{CreateSnapshotRequest, MachineConfig, SnapshotInfo};
use nullspace_wire::network::NetworkEgressPolicy;
use nullspace_wire::{Envs, JsonObject, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use crate::isolation::Layer;
use crate::machine::commands::exec::DefaultUser;
use crate::machine::files::volumes::Attachment;
use crate::machine::ground::idempotency::{Makes, Ticket};
use crate::machine::ground::json::canonical;
use crate::machine::ground::status::Rules;
use crate::machine::ground::{clock, Error, Kind, Result};
use crate::machine::live::Machine;
use crate::machine::monitoring::events::{Event, Operation};
use crate::machine::records::record::Record;
use crate::machine::templates::layers::Pin;
use crate::machine::validate::names;
use crate::machine::Engine;
use crate::store::documents::{self, Kind as Document};

/// Layers from which on they are merged: each makes looking a missing file up slower.
const LONG_CHAIN: usize = 20;
/// Most layers of a machine: the kernel takes 500, `base` included.
const LONGEST_CHAIN: usize = 490;

/// A snapshot as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    /// `snap_...`
    pub id: String,
    /// Where it was taken.
    pub machine_id: String,
    /// Bytes it adds: of files, or of memory for a pause.
    pub size_bytes: u64,
    /// When.
    pub created_at: Timestamp,
    /// The files; empty for a pause.
    pub layers: Vec<String>,
    /// Whether the layers replace `base`.
    pub whole_root: bool,
    /// Stands for a paused machine.
    pub is_pause: bool,
    /// As of the machine.
    pub template: String,
    /// As of the machine.
    pub config: MachineConfig,
    /// As of the machine.
    pub envs: Envs,
    /// As of the machine.
    pub cwd: String,
    /// As of the machine.
    pub egress: NetworkEgressPolicy,
    /// As of the machine.
    pub internet_access: bool,
    /// As of the machine.
    #[serde(default)]
    pub user: Option<DefaultUser>,
    /// As of the machine: mounted again in machines that start from it.
    #[serde(default)]
    pub volumes: Vec<Attachment>,
    /// As given.
    #[serde(default)]
    pub metadata: JsonObject,
}

impl Snapshot {
    fn of(record: &Record, id: String, layer: &Layer) -> Self {
        let mut layers = vec![layer.name.clone()];
        layers.extend(record.layers.iter().cloned());
        Self {
            id,
            machine_id: record.id.clone(),
            size_bytes: layer.size_bytes,
            created_at: clock::now(),
            layers,
            whole_root: record.whole_root,
            is_pause: false,
            template: record.template.clone(),
            config: record.config.clone(),
            envs: record.envs_of_copies(),
            cwd: record.cwd.clone(),
            egress: record.egress.clone(),
            internet_access: record.internet_access,
            user: record.user.clone(),
            volumes: record.volumes.clone(),
            metadata: JsonObject::new(),
        }
    }

    /// The snapshot that a pause is.
    pub(super) fn of_pause(record: &Record, id: String, size_bytes: u64) -> Self {
        let none = Layer {
            name: String::new(),
            size_bytes,
        };
        Self {
            is_pause: true,
            layers: Vec::new(),
            ..Self::of(record, id, &none)
        }
    }

    /// What answers show. Beside what was given, the metadata says what a snapshot of this engine holds.
    pub fn info(&self) -> SnapshotInfo {
        let mut metadata = JsonObject::from_iter([
            (
                "kind".to_owned(),
                json!(if self.is_pause { "pause" } else { "snapshot" }),
            ),
            ("process_memory".to_owned(), json!(self.is_pause)),
        ]);
        metadata.extend(self.metadata.clone());
        SnapshotInfo {
            id: self.id.clone(),
            machine_id: self.machine_id.clone(),
            size_bytes: self.size_bytes,
            created_at: self.created_at.clone(),
            metadata: Some(metadata),
        }
    }

    pub(in crate::machine) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(in crate::machine) fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|e| Error::internal("reading a snapshot", e))
    }
}

/// No snapshot has this id.
pub fn no_snapshot(id: &str) -> Error {
    Error::new(
        Kind::SnapshotNotFound,
        format!("there is no snapshot {id}: it never was, it was deleted, or its machine was resumed"),
    )
}

/// Whether a snapshot has these entries in its metadata.
pub fn has_metadata(info: &SnapshotInfo, wanted: &JsonObject) -> bool {
    let own = |key| info.metadata.as_ref().and_then(|metadata| metadata.get(key));
    wanted
        .iter()
        .all(|(key, value)| own(key).is_some_and(|own| canonical(own) == canonical(value)))
}

impl Engine {
    /// Takes a snapshot and answers JSON of a [`SnapshotInfo`]. `raw` is the body as it came.
    pub async fn create_snapshot(
        self: &Arc<Self>,
        id: &str,
        key: Option<&str>,
        body: CreateSnapshotRequest,
        raw: &Value,
    ) -> Result<String> {
        names::check(body.metadata.as_ref())?;
        let ticket = Ticket::new(Makes::Snapshot, format!("snapshot {id}"), key, raw)?;
        let metadata = body.metadata.unwrap_or_default();
        let (engine, id) = (self.clone(), id.to_owned());
        self.run_to_end(async move {
            let work = engine.create_snapshot_now(&id, metadata, ticket.clone());
            engine.once(ticket.as_ref(), work).await
        })
        .await
    }

    async fn create_snapshot_now(
        &self,
        id: &str,
        metadata: JsonObject,
        ticket: Option<Ticket>,
    ) -> Result<String> {
        let machine = self.live_machine(id).await?;
        let _turn = machine.try_turn()?;
        let (copy, _pin) = self.copy_files(&machine).await?;
        let snapshot = Snapshot { metadata, ..copy };
        let body =
            serde_json::to_string(&snapshot.info()).map_err(|e| Error::internal("writing an answer", e))?;
        let (json, kept, snapshot_id, subject) = (
            snapshot.to_json(),
            body.clone(),
            snapshot.id.clone(),
            machine.id.clone(),
        );
        let stored = self.store.call(move |c| {
            let transaction = c.transaction()?;
            documents::put(&transaction, Document::Snapshot, &snapshot_id, &subject, &json)?;
            if let Some(ticket) = ticket {
                ticket.keep(&transaction, &kept)?;
            }
            transaction.commit()
        });
        stored.await?;
        self.record_event(Event::of(Operation::SnapshotCreated, id).snapshot(&snapshot.id))
            .await;
        Ok(body)
    }

    /// Copies the files of a machine whose turn the caller holds. The new layer stays as long as the pin, and then as
    /// long as somebody uses it.
    pub(super) async fn copy_files(&self, machine: &Arc<Machine>) -> Result<(Snapshot, Pin)> {
        if !machine.status().can_copy() || machine.gone.is_cancelled() {
            return Err(machine.not_ready());
        }
        self.refuse_without_room().await?;
        // Commands that start meanwhile would wait in a frozen machine; they wait here instead.
        let _gate = machine.gate.write().await;
        let (name, pin) = self.new_layer().await?;
        let copied = machine.running()?.snapshot(&name).await;
        let layer = copied.map_err(|e| Error::isolation("copying the machine's files", e))?;
        let snapshot = machine.read(|record| Snapshot::of(record, self.ids.snapshot(), &layer));
        self.flatten(snapshot, pin).await
    }

    /// Gives a snapshot of many layers one instead. Layers that cannot be merged stay as they are, up to what a machine
    /// can be made of.
    async fn flatten(&self, snapshot: Snapshot, pin: Pin) -> Result<(Snapshot, Pin)> {
        Ok(match self.merge_long_chain(&snapshot.layers).await? {
            Some((layers, merged_pin)) => (Snapshot { layers, ..snapshot }, merged_pin),
            None => (snapshot, pin),
        })
    }

    /// One layer in the place of many, and what keeps it. `None` leaves them as they are. The caller keeps those.
    pub(in crate::machine) async fn merge_long_chain(
        &self,
        layers: &[String],
    ) -> Result<Option<(Vec<String>, Pin)>> {
        if layers.len() <= LONG_CHAIN {
            return Ok(None);
        }
        let (name, pin) = self.new_layer().await?;
        let merged = self.backend.merge_layers(&name, layers).await;
        match merged.map_err(|e| Error::isolation("merging the machine's layers", e))? {
            Some(layer) => Ok(Some((vec![layer.name], pin))),
            None if layers.len() > LONGEST_CHAIN => Err(Error::new(
                Kind::CapacityExceeded,
                format!(
                    "the machine's files are {} snapshots deep, and directories that were renamed keep them from being merged",
                    layers.len()
                ),
            )
            .retryable(false)
            .with_action("copy the files into a new machine and go on there")),
            None => Ok(None),
        }
    }

    /// One snapshot.
    pub async fn snapshot(&self, id: &str) -> Result<Snapshot> {
        let wanted = id.to_owned();
        let row = self
            .store
            .call(move |c| documents::get(c, Document::Snapshot, &wanted));
        Snapshot::from_json(&row.await?.ok_or_else(|| no_snapshot(id))?)
    }

    /// A snapshot with files, which stay as long as the pin. The snapshot of a pause is copied now; the machine stays
    /// paused.
    pub(in crate::machine) async fn usable_snapshot(&self, id: &str) -> Result<(Snapshot, Pin)> {
        let collector = self.layers.collector().await;
        let snapshot = self.snapshot(id).await?;
        if !snapshot.is_pause {
            let pin = self.layers.pin(&snapshot.layers);
            return Ok((snapshot, pin));
        }
        drop(collector);
        let machine = self.live_machine(&snapshot.machine_id).await?;
        let _turn = machine.turn().await;
        if machine.read(|r| r.snapshot_id.as_deref() != Some(id)) {
            return Err(no_snapshot(id));
        }
        let (copy, pin) = self.copy_files(&machine).await?;
        let copy = Snapshot {
            id: snapshot.id,
            ..copy
        };
        Ok((copy, pin))
    }

    /// Snapshots, newest first. `metadata` keeps those that have all of its keys with equal values.
    pub async fn list_snapshots(
        &self,
        machine_id: Option<String>,
        metadata: &JsonObject,
    ) -> Result<Vec<SnapshotInfo>> {
        let rows = self
            .store
            .call(move |c| documents::list(c, Document::Snapshot, machine_id.as_deref()));
        let mut found = Vec::new();
        for row in rows.await? {
            let info = Snapshot::from_json(&row)?.info();
            if has_metadata(&info, metadata) {
                found.push(info);
            }
        }
        Ok(found)
    }

    /// Deletes a snapshot. Its files stay while a machine or another snapshot uses them.
    pub async fn delete_snapshot(&self, id: &str) -> Result<()> {
        let snapshot = self.snapshot(id).await?;
        if snapshot.is_pause {
            return Err(Error::new(
                Kind::SnapshotInUse,
                format!("snapshot {id} is the pause of machine {}", snapshot.machine_id),
            )
            .with_action("resume or destroy the machine instead"));
        }
        let wanted = id.to_owned();
        let deleted = self
            .store
            .call(move |c| documents::delete(c, Document::Snapshot, &wanted));
        if !deleted.await? {
            return Err(no_snapshot(id));
        }
        self.collect_layers().await;
        Ok(())
    }
}
