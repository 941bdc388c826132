//! What an engine has, for the gateways of its cluster: everything that a user can name, and how much room is left.

use std::sync::Arc;

use nullspace_wire::machine::MachineInfo;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::machine::files::volumes;
use crate::machine::ground::{clock, Error, Kind, Result};
use crate::machine::life::snapshot::Snapshot;
use crate::machine::records::list::ListRequest;
use crate::machine::records::record::Record;
use crate::machine::Engine;
use crate::store::documents::{self, Kind as Document};
use crate::store::machines;

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // they say it all
pub enum Thing {
    Machine,
    Snapshot,
    Volume,
}

impl Thing {
    /// As the cluster's database spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Thing::Machine => "machine",
            Thing::Snapshot => "snapshot",
            Thing::Volume => "volume",
        }
    }
}

/// A thing as it is stored.
#[derive(Debug, Clone)]
pub struct Content {
    /// What it is.
    pub thing: Thing,
    /// Its id.
    pub id: String,
    /// Place in the order of creation: Unix microseconds, or the next free number.
    pub seq: i64,
    /// JSON; changes when the thing does.
    pub stored: String,
}

/// How much of the computer is promised to machines.
#[derive(Debug, Clone, Copy, Default)]
pub struct Promised {
    /// Machines, those of pools too.
    pub machines: u32,
    /// Processors.
    pub vcpus: u32,
    /// MiB.
    pub memory_mb: u64,
}

impl Engine {
    /// Everything that users can name.
    pub async fn contents(&self) -> Result<Vec<Content>> {
        let read = self.store.call(|c| {
            let machines = machines::all(c)?;
            let snapshots = documents::list(c, Document::Snapshot, None)?;
            let volumes = documents::list(c, Document::Volume, None)?;
            Ok((machines, snapshots, volumes))
        });
        let (machines, snapshots, volumes) = read.await?;
        let mut all: Vec<Content> = machines
            .into_iter()
            .map(|row| Content {
                thing: Thing::Machine,
                id: row.id,
                seq: row.seq,
                stored: row.record,
            })
            .collect();
        let made_at = |moment: &str| clock::unix_micros(moment).unwrap_or_default();
        for stored in snapshots {
            let snapshot = Snapshot::from_json(&stored)?;
            all.push(Content {
                thing: Thing::Snapshot,
                seq: made_at(&snapshot.created_at.0),
                id: snapshot.id,
                stored,
            });
        }
        for stored in volumes {
            let volume = volumes::read(&stored)?;
            all.push(Content {
                thing: Thing::Volume,
                seq: made_at(&volume.created_at.0),
                id: volume.id,
                stored,
            });
        }
        Ok(all)
    }

    /// A thing as the API shows it; `None` if it is gone meanwhile.
    pub async fn shown(&self, content: &Content) -> Option<Value> {
        match content.thing {
            Thing::Machine => {
                let live = self.find_live(&content.id).map(|machine| machine.info());
                let info = live.or_else(|| Some(record(&content.stored).ok()?.info(None)));
                serde_json::to_value(info?).ok()
            }
            Thing::Snapshot => serde_json::to_value(Snapshot::from_json(&content.stored).ok()?.info()).ok(),
            Thing::Volume => {
                let volume = volumes::read(&content.stored).ok()?;
                serde_json::to_value(self.describe_volume(volume).await.ok()?).ok()
            }
        }
    }

    /// The newest machines with their places in the order of creation: at most `limit` of those made before `before`.
    pub async fn list_placed(
        &self,
        request: ListRequest,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<(i64, MachineInfo)>> {
        let mut filter = self.machine_filter(&request, before)?;
        filter.limit = limit;
        let rows = self.store.call(move |c| machines::list(c, &filter)).await?;
        let show = |row: &machines::MachineRow| match self.find_live(&row.id) {
            Some(machine) => Ok((row.seq, machine.info())),
            None => Ok((row.seq, record(&row.record)?.info(None))),
        };
        rows.iter().map(show).collect()
    }

    /// What is promised to the machines that live, and to those that pools hold ready.
    pub fn promised(&self) -> Promised {
        let mut sum = Promised::default();
        let mut add = |vcpus: u32, memory_mb: u32, machines: u32| {
            sum.machines += machines;
            sum.vcpus = sum.vcpus.saturating_add(vcpus.saturating_mul(machines));
            sum.memory_mb += u64::from(memory_mb) * u64::from(machines);
        };
        for machine in self.all_live() {
            machine.read(|record| add(record.config.vcpus, record.config.memory_mb, 1));
        }
        for pool in self.all_pools() {
            let counts = pool.info().status;
            pool.read(|s| {
                add(
                    s.terms.resources.vcpus,
                    s.terms.resources.memory_mb,
                    counts.ready + counts.warming,
                )
            });
        }
        sum
    }

    /// MiB free on the disk of the state.
    pub fn disk_free_mb(&self) -> u64 {
        let found = rustix::fs::statvfs(self.store.directory());
        found.map_or(0, |found| (found.f_bavail * found.f_frsize) >> 20)
    }

    /// Ends every machine for good: the cluster gave them up while this node was away. Those of pools stay, which nobody had.
    pub async fn give_up_machines(self: &Arc<Self>) -> Result<()> {
        let ids: Vec<String> = self
            .contents()
            .await?
            .into_iter()
            .filter(|c| c.thing == Thing::Machine)
            .map(|c| c.id)
            .collect();
        let ends = ids.into_iter().map(|id| async move {
            match self.destroy(&id).await {
                Err(error) if error.kind != Kind::MachineNotFound => Err(error),
                _ => Ok(()),
            }
        });
        futures_util::future::try_join_all(ends).await.map(|_| ())
    }
}

fn record(stored: &str) -> Result<Record> {
    serde_json::from_str(stored).map_err(|e| Error::internal("reading a machine", e))
}
