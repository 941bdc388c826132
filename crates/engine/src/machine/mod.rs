//! What happens to machines, in rooms by subject.
//!
//! [`Engine`] owns everything, [`live::Machine`] what one machine has in memory. Each room adds its verbs to the engine:
//!
//! - [`life`]: from create to end, with pauses, copies and leases
//! - [`commands`]: what runs in a machine; [`code`]: the code interpreter
//! - [`files`]: files of machines and of volumes
//! - [`network`]: what a machine reaches, and who reaches its ports
//! - [`templates`]: what machines start from; [`builds`] makes them; [`pools`] keeps started machines ready
//! - [`records`]: machines as stored and listed; [`monitoring`]: what happens to them, and what they use
//! - [`gateways`]: what the gateways of a cluster ask for
//! - [`validate`]: the rules of a create body
//! - [`ground`]: what all of them stand on
//!
//! Imports point one way: `gateways -> life -> pools, monitoring -> records -> builds, code -> files, templates -> commands -> validate -> network -> ground`.
//! Every room may name [`Engine`] and what is in [`live`], and calls other rooms through them: verbs know each other, types
//! only those below.
//!
//! Speaks no HTTP.

pub mod builds;
pub mod code;
pub mod commands;
pub mod files;
pub mod gateways;
pub mod ground;
pub mod life;
pub mod live;
pub mod monitoring;
pub mod network;
pub mod pools;
pub mod records;
pub mod templates;
pub mod validate;

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use nullspace_wire::lifecycle::LifecycleEventInfo;
use nullspace_wire::machine::MachineStatus;
use tokio::sync::{broadcast, Notify};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use ground::clock::{now, unix_micros, unix_seconds};
pub use ground::ids::{pool as pool_id, secret, Ids};
pub use ground::{Error, Kind, Result};

use crate::images::{self, Images, Room};
use crate::isolation::remove::Trash;
use crate::isolation::Backend;
use crate::store::{machines, Store};
use builds::Builds;
use files::uploads::Uploads;
use files::volumes;
use ground::idempotency::InFlight;
use ground::room;
use ground::sync::lock;
use live::Machine;
use monitoring::monitor::Samplers;
use network::previews::Ports;
use pools::pool::Pool;
use records::record::Record;
use templates::layers::Layers;

/// Events that a slow listener may lag behind.
pub const EVENT_BACKLOG: usize = 1024;

/// The engine: all machines of one state directory.
pub struct Engine {
    ids: Ids,
    store: Store,
    backend: Arc<dyn Backend>,
    live: Mutex<HashMap<String, Arc<Machine>>>,
    pools: Mutex<HashMap<String, Arc<Pool>>>,
    keys: InFlight,
    layers: Layers,
    images: Images,
    /// Work that the end of the engine waits for.
    tasks: TaskTracker,
    /// Cancelled when the engine begins to end.
    closing: CancellationToken,
    events: broadcast::Sender<LifecycleEventInfo>,
    /// Told when there may be something for webhooks.
    deliveries: Notify,
    samplers: Samplers,
    uploads: Uploads,
    builds: Builds,
    /// Read while a machine or a session of files begins to use volumes, written while one is deleted.
    volumes: tokio::sync::RwLock<()>,
    /// Origins whose pages may use the API, and so the ports of machines.
    pages: OnceLock<Vec<String>>,
    /// Where previews and SSH listen, if somebody said so.
    ports: OnceLock<Ports>,
    meters: volumes::Meters,
    volume_uses: volumes::Uses,
    /// Files of volumes that are deleted.
    trash: Arc<Trash>,
}

impl Engine {
    /// An engine that only works on what is stored: it starts no machine and fills no pool.
    pub fn offline(store: Store, backend: Arc<dyn Backend>) -> Arc<Self> {
        Arc::new(Self::new(store, backend, Ids::default()))
    }

    /// Opens an engine over a store: ends what an earlier run left, notes which machines died with it, and lets the
    /// warm pools fill.
    pub async fn open(store: Store, backend: Arc<dyn Backend>, ids: Ids) -> Result<Arc<Self>> {
        let engine = Arc::new(Self::new(store, backend, ids));
        engine.recover().await?;
        engine.load_pools().await?;
        Ok(engine)
    }

    fn new(store: Store, backend: Arc<dyn Backend>, ids: Ids) -> Self {
        let trash = Arc::new(Trash::new(store.directory().join("trash")));
        let directory = store.directory().to_owned();
        let room: Room = Arc::new(move || room::look(&directory).map_err(|error| error.message));
        let images = Images::new(backend.clone(), room, images::Options::default());
        Self {
            ids,
            store,
            backend,
            live: Mutex::default(),
            pools: Mutex::default(),
            keys: InFlight::default(),
            layers: Layers::default(),
            images,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            events: broadcast::Sender::new(EVENT_BACKLOG),
            deliveries: Notify::new(),
            samplers: Samplers::default(),
            uploads: Uploads::default(),
            builds: Builds::default(),
            volumes: tokio::sync::RwLock::default(),
            pages: OnceLock::new(),
            ports: OnceLock::new(),
            meters: volumes::Meters::default(),
            volume_uses: volumes::Uses::default(),
            trash,
        }
    }

    /// Where all that survives a restart is kept.
    pub fn directory(&self) -> &std::path::Path {
        self.store.directory()
    }

    /// What is stored.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Work that the end of the engine waits for.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Told when deliveries of webhooks were queued, or may be sent again.
    pub(crate) fn deliveries(&self) -> &Notify {
        &self.deliveries
    }

    /// Cancelled when the engine begins to end.
    pub fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    fn refuse_when_closing(&self) -> Result<()> {
        if self.closing.is_cancelled() {
            return Err(Error::shutting_down());
        }
        Ok(())
    }

    /// Runs work to its end whether or not the caller stays: a request that was begun must not stop half-way when
    /// its client goes away.
    pub(crate) async fn run_to_end<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        use tracing::Instrument;
        let task = self.tasks.spawn(work.in_current_span());
        task.await
            .unwrap_or_else(|error| Err(Error::internal("the request", error)))
    }

    fn log_directory(&self, id: &str) -> PathBuf {
        self.store.directory().join("logs").join(id)
    }

    fn remove_live(&self, id: &str) {
        lock(&self.live).remove(id);
    }

    fn find_live(&self, id: &str) -> Option<Arc<Machine>> {
        lock(&self.live).get(id).cloned()
    }

    fn all_live(&self) -> Vec<Arc<Machine>> {
        lock(&self.live).values().cloned().collect()
    }

    /// A machine that is in memory; otherwise says whether it is dead or never was.
    async fn live_machine(&self, id: &str) -> Result<Arc<Machine>> {
        if let Some(machine) = self.find_live(id) {
            return Ok(machine);
        }
        let wanted = id.to_owned();
        let row = self.store.call(move |c| machines::get(c, &wanted)).await?;
        let Some(row) = row else {
            return Err(Error::no_machine(id));
        };
        let record: Record =
            serde_json::from_str(&row).map_err(|e| Error::internal("reading a machine", e))?;
        // A row that is not in memory is dead, or on its way out.
        let status = if record.status == MachineStatus::Error {
            record.status
        } else {
            MachineStatus::Destroyed
        };
        Err(live::not_ready(id, status, record.error_message))
    }
}
