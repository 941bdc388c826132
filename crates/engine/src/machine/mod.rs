//! What happens to machines: one file a verb, and what they share.
//!
//! - [`Engine`]: owns everything; `create`, `destroy`, `pause` (and resume), `fork`, `snapshot`, `exec`,
//!   `terminals`, `shells`, `list`,
//!   `egress`, `pools` add their verbs to it
//! - [`record`], [`status`], [`live`]: a machine as stored, its rules, and as held in memory
//! - [`validate`]: the rules of a create body
//! - [`secrets`]: what a machine uses and never sees
//! - [`lease`]: how long machines live
//! - [`code`]: the code interpreter
//! - [`volumes`]: directories that outlive machines
//! - [`files`], [`uploads`] (`unpack`), [`archive`]: files of machines and of volumes
//! - [`previews`]: who may reach the ports of a machine
//! - [`templates`]: what machines start from; [`builds`] makes them; [`start_command`]: what runs in them then
//! - [`pool`]: one warm pool; `refill` decides what it needs
//! - [`idempotency`]: one key, one machine
//! - [`names`]: no two living machines share one
//! - `room`: what is kept free of the disk
//! - [`contents`]: all that an engine has, for the gateways of a cluster; [`carried`]: what goes to another node, or
//!   comes from one; [`mirrors`]: copies of its templates
//! - [`events`]: what happened
//! - [`monitor`]: all machines, looked at again and again
//! - [`webhooks`]: who is told of it; `webhooks_sender` tells them, `webhooks_reach` says where they may be
//! - [`error`]: why a verb refused
//!
//! Knows nothing of HTTP.

pub mod archive;
pub mod builds;
pub mod carried;
pub mod clock;
pub mod code;
pub mod contents;
mod create;
mod destroy;
pub mod egress;
pub mod error;
pub mod events;
pub mod exec;
pub mod files;
mod fork;
pub mod git;
pub mod idempotency;
mod ids;
pub mod layers;
pub mod lease;
pub mod list;
pub mod live;
pub mod metrics;
pub mod mirrors;
pub mod monitor;
pub mod names;
pub mod output;
mod pause;
pub mod pool;
pub mod pool_terms;
pub mod pools;
pub mod previews;
pub mod processes;
pub mod readings;
mod record;
mod recover;
mod refill;
mod room;
pub mod secrets;
pub mod shells;
mod shutdown;
mod sizes;
pub mod snapshot;
pub mod start_command;
pub mod status;
pub mod templates;
pub mod terminals;
mod unpack;
pub mod uploads;
pub mod validate;
pub mod volumes;
pub mod webhooks;
pub mod webhooks_reach;
pub mod webhooks_sender;

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use nullspace_wire::lifecycle::LifecycleEventInfo;
use nullspace_wire::machine::MachineStatus;
use tokio::sync::{broadcast, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use clock::{now, unix_micros, unix_seconds};
pub use error::{Error, Kind, Result};
pub use ids::{pool as pool_id, secret, Ids};

use crate::images::{self, Images, Room};
use crate::isolation::remove::Trash;
use crate::isolation::Backend;
use crate::store::{machines, Store};
use live::{lock, Machine};
use pool::Pool;

/// Events that a slow listener may lag behind.
pub const EVENT_BACKLOG: usize = 1024;

/// The engine: all machines of one state directory.
pub struct Engine {
    ids: Ids,
    store: Store,
    backend: Arc<dyn Backend>,
    live: Mutex<HashMap<String, Arc<Machine>>>,
    pools: Mutex<HashMap<String, Arc<Pool>>>,
    keys: idempotency::InFlight,
    layers: layers::Layers,
    images: Images,
    /// Starts that may run at once.
    starts: Semaphore,
    /// Work that the end of the engine waits for.
    tasks: TaskTracker,
    /// Cancelled when the engine begins to end.
    closing: CancellationToken,
    events: broadcast::Sender<LifecycleEventInfo>,
    sender: webhooks_sender::Sender,
    reach: Arc<webhooks_reach::Reach>,
    samplers: monitor::Samplers,
    uploads: uploads::Uploads,
    builds: builds::Builds,
    /// Read while a machine or a session of files begins to use volumes, written while one is deleted.
    volumes: tokio::sync::RwLock<()>,
    /// Origins whose pages may use the API, and so the ports of machines.
    pages: OnceLock<Vec<String>>,
    /// Where previews and SSH listen, if somebody said so.
    ports: OnceLock<previews::Ports>,
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
        engine.start_sender().await?;
        engine.load_pools().await?;
        Ok(engine)
    }

    fn new(store: Store, backend: Arc<dyn Backend>, ids: Ids) -> Self {
        // More starts at once than this only lengthen each other.
        let starts = 2 * std::thread::available_parallelism().map_or(2, usize::from);
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
            keys: idempotency::InFlight::default(),
            layers: layers::Layers::default(),
            images,
            starts: Semaphore::new(starts),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            events: broadcast::Sender::new(EVENT_BACKLOG),
            sender: webhooks_sender::Sender::default(),
            reach: Arc::default(),
            samplers: monitor::Samplers::default(),
            uploads: uploads::Uploads::default(),
            builds: builds::Builds::default(),
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
        let record: record::Record =
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
