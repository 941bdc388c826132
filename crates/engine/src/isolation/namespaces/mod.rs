//! Machines out of Linux namespaces, an overlay file system and control groups.
//!
//! - [`spawner`]: the one thread that clones machines
//! - [`base`], [`layers`], [`disk`]: what a machine's files are made of; [`copy`]: copies of them; [`carry`]: the same to another
//!   computer; [`merge`]: many layers into one
//! - [`cgroup`]: limits, freezing, killing
//! - [`filter`]: the system call filter; [`features`]: what all this needs of the kernel
//! - [`control`]: the conversation with the agent
//! - [`volumes`]: directories that outlive machines, in them; [`volume_files`]: their files, without a machine
//! - [`machine`]: one machine
//!
//! As root every machine has a block of 65536 ids of its own; its root is nobody outside. An unprivileged engine does
//! the same in a user namespace of its own, with one id or those of its user, a read-only `/usr` and no disk limits.
//!
//! What this computer cannot enforce is in the capabilities. The rule about sizes that are asked for all the same is that
//! of the rooms above: here a machine starts, and its warnings say what does not hold.

mod base;
mod carry;
mod cgroup;
mod control;
mod copy;
mod disk;
mod features;
mod filter;
mod layers;
mod machine;
mod merge;
#[cfg(test)]
mod sample;
mod spawner;
mod streams;
mod volume_files;
mod volumes;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

pub use base::NAMES;
pub use carry::{pack, unpack};

use super::ids::{self, IDS};
use super::remove::Trash;
use super::{
    Backend, Capabilities, Fill, Gap, IsolationError, Layer, Limit, Result, RootFiles, Running, StartSpec,
    VolumeFiles,
};
use cgroup::Groups;
use spawner::Spawner;

/// First host id of the first machine: above what distributions and other container engines give out, and below 2^31.
const FIRST_ID: u32 = 0x7000_0000;
/// Machines at once, by ids.
const BLOCKS: u32 = 4_095;
/// First host id of those that work on files of volumes: the block behind those of machines.
const VOLUMES_ID: u32 = FIRST_ID + BLOCKS * IDS;

/// How to open the backend.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory that belongs to this engine alone.
    pub state_dir: PathBuf,
    /// Directory of this user where engines share what `base` is made of; without it each makes its own.
    pub base_cache: Option<PathBuf>,
    /// Ranges that no machine reaches whatever its policy, besides this computer's own addresses.
    pub refused: Vec<ipnet::IpNet>,
    /// Start machines even where what they ask for cannot be enforced, with a warning.
    pub best_effort: bool,
    /// Layers are on the disk before anybody hears of them.
    pub durable: bool,
    /// Name servers that machines' queries go to; `None` = those of this computer.
    pub resolvers: Option<Vec<SocketAddr>>,
}

/// The backend.
pub struct Namespaces {
    shared: Arc<Shared>,
}

/// What machines need of their backend.
struct Shared {
    options: Options,
    /// What `base` is made of.
    base: PathBuf,
    /// `/usr` of `base`: this computer's, or a copy where that cannot be mounted for other ids.
    usr: PathBuf,
    root: bool,
    capabilities: Capabilities,
    /// Whether the number of processes is that of the user namespace, not of a control group.
    counts_processes: bool,
    trash: Arc<Trash>,
    spawner: Spawner,
    groups: Groups,
    filters: Vec<Vec<u8>>,
    counted: Vec<u8>,
    /// What the connections of all machines share.
    connections: Arc<super::relay::Pool>,
    blocks: Mutex<BTreeSet<u32>>,
    /// The ids that files of volumes have, made when the first session wants them.
    volume_ids: tokio::sync::OnceCell<OwnedFd>,
    /// Starts at once: more only lengthen each other.
    starts: tokio::sync::Semaphore,
}

impl Namespaces {
    /// Finds out what this computer can do, and makes what every machine shares. Fails where no machine can be isolated.
    pub async fn open(options: Options) -> Result<Self> {
        tokio::task::spawn_blocking(move || Self::open_blocking(options))
            .await
            .map_err(|error| IsolationError::Failed(error.to_string()))?
    }

    fn open_blocking(options: Options) -> Result<Self> {
        let root = ids::is_computers_root();
        for name in ["machines", "layers"] {
            private_dir(&options.state_dir.join(name))?;
        }
        let trash = Arc::new(Trash::new(options.state_dir.join("trash")));
        let shared_base = options
            .base_cache
            .as_deref()
            .and_then(|cache| base::shared(cache, root));
        let base = match shared_base {
            Some(folder) => folder,
            None => {
                let own = options.state_dir.join("base");
                base::ensure(&own, root, &trash).map_err(failed("make the base template"))?;
                own
            }
        };
        let usr = base::usr(&base);
        let groups = Groups::open(&options.state_dir);
        let spawner =
            Spawner::start((!root).then(ids::of_users_machine)).map_err(failed("start the spawner"))?;
        let capabilities = capabilities(root, &groups, &options);
        let shared = Shared {
            filters: filter::programs().map_err(IsolationError::Failed)?,
            counted: filter::counted().map_err(IsolationError::Failed)?,
            connections: super::relay::Pool::of_descriptors(super::descriptors::limit()),
            base,
            usr,
            root,
            counts_processes: !root && !groups.limits(Limit::Pids) && features::counts_processes(),
            capabilities,
            trash,
            spawner,
            groups,
            blocks: Mutex::default(),
            volume_ids: tokio::sync::OnceCell::new(),
            starts: tokio::sync::Semaphore::new(
                2 * std::thread::available_parallelism().map_or(2, usize::from),
            ),
            options,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Starts and ends a machine: the proof that this computer can isolate one.
    pub async fn probe(&self) -> Result<()> {
        let machine = self
            .start(StartSpec {
                id: "mch_probe".to_owned(),
                layers: Vec::new(),
                whole_root: false,
                vcpus: 1,
                memory_mb: 64,
                disk_mb: None,
                egress: super::EgressRules::deny_all(),
                secrets: super::Secrets::default(),
                mounts: Vec::new(),
            })
            .await?;
        machine.stop().await
    }
}

#[async_trait]
impl Backend for Namespaces {
    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    async fn start(&self, spec: StartSpec) -> Result<Arc<dyn Running>> {
        let _turn = self
            .shared
            .starts
            .acquire()
            .await
            .map_err(|_| IsolationError::Gone)?;
        machine::start(self.shared.clone(), spec).await
    }

    async fn recover(&self) -> Result<()> {
        let shared = self.shared.clone();
        blocking(move || {
            shared.groups.end_all();
            let machines = shared.options.state_dir.join("machines");
            for entry in fs::read_dir(&machines)
                .map_err(failed("read the machines"))?
                .flatten()
            {
                machine::await_end(&entry.path());
                // Of no use any more, and no reason not to start.
                if let Err(error) = shared.trash.take(&entry.path()) {
                    let path = entry.path();
                    tracing::warn!(path = %path.display(), %error, "what a machine left cannot be removed");
                }
            }
            layers::remove_half_made(&shared.options.state_dir.join("layers"), &shared.trash)
        })
        .await
    }

    async fn import_layer(&self, name: &str, source: RootFiles) -> Result<Layer> {
        let (shared, name) = (self.shared.clone(), name.to_owned());
        blocking(move || {
            let layer = layers::import(&shared.layer(&name), &name, source, &shared.trash)?;
            shared.settle().map(|()| layer)
        })
        .await
    }

    async fn make_layer(&self, name: &str, fill: Fill) -> Result<Layer> {
        let (shared, name) = (self.shared.clone(), name.to_owned());
        blocking(move || {
            // On the disk before it has its name: who finds the name takes it for whole, also after a power cut.
            let settled = |folder: &Path| fill(folder).and_then(|()| shared.settle());
            let layer = layers::make(&shared.layer(&name), &name, &shared.trash, settled)?;
            shared.settle_names().map(|()| layer)
        })
        .await
    }

    fn layer_folder(&self, name: &str) -> Option<PathBuf> {
        Some(self.shared.layer(name))
    }

    async fn layer_names(&self) -> Result<Vec<String>> {
        let shared = self.shared.clone();
        blocking(move || layers::names(&shared.options.state_dir.join("layers"))).await
    }

    async fn merge_layers(&self, name: &str, layers: &[String]) -> Result<Option<Layer>> {
        let (shared, name) = (self.shared.clone(), name.to_owned());
        let folders: Vec<PathBuf> = layers.iter().map(|layer| self.shared.layer(layer)).collect();
        blocking(move || {
            let merged = layers::merge(&shared.layer(&name), &name, &folders, &shared.trash)?;
            if merged.is_some() {
                shared.settle()?;
            }
            Ok(merged)
        })
        .await
    }

    async fn remove_layer(&self, name: &str) -> Result<()> {
        let (layer, trash) = (self.shared.layer(name), self.shared.trash.clone());
        blocking(move || trash.take(&layer).map_err(failed("remove a layer"))).await
    }

    async fn volume_files(&self, directory: &Path, over: CancellationToken) -> Result<VolumeFiles> {
        let _turn = self
            .shared
            .starts
            .acquire()
            .await
            .map_err(|_| IsolationError::Gone)?;
        volume_files::open(&self.shared, directory, over).await
    }
}

impl Shared {
    fn machine(&self, id: &str) -> PathBuf {
        self.options.state_dir.join("machines").join(id)
    }

    fn layer(&self, name: &str) -> PathBuf {
        self.options.state_dir.join("layers").join(name)
    }

    /// Waits until the files of all layers are on the disk: who is told of one may cut the power.
    fn settle(&self) -> Result<()> {
        self.sync_layers(|layers| Ok(rustix::fs::syncfs(layers)?))
    }

    /// The same for the names of layers whose files are there.
    fn settle_names(&self) -> Result<()> {
        self.sync_layers(fs::File::sync_all)
    }

    fn sync_layers(&self, sync: impl FnOnce(&fs::File) -> std::io::Result<()>) -> Result<()> {
        if !self.options.durable {
            return Ok(());
        }
        let synced = fs::File::open(self.options.state_dir.join("layers")).and_then(|layers| sync(&layers));
        synced.map_err(failed("write a layer to the disk"))
    }

    fn take_block(self: &Arc<Self>) -> Result<Option<Block>> {
        if !self.root {
            return Ok(None);
        }
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let number = (0..BLOCKS)
            .find(|number| !blocks.contains(number))
            .ok_or_else(|| {
                IsolationError::Exhausted(format!("no more than {BLOCKS} machines can run at once"))
            })?;
        blocks.insert(number);
        Ok(Some(Block {
            number,
            shared: self.clone(),
        }))
    }
}

/// The host ids of one machine, given back when dropped.
struct Block {
    number: u32,
    shared: Arc<Shared>,
}

impl Block {
    fn base(&self) -> u32 {
        FIRST_ID + self.number * IDS
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.shared
            .blocks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.number);
    }
}

fn capabilities(root: bool, groups: &Groups, options: &Options) -> Capabilities {
    let disk = if root {
        disk::available(&options.state_dir)
    } else {
        Err(disk::Missing {
            reason: "only root may attach disk images",
            mend: "start the engine as root",
        })
    };
    let mut gaps = groups.gaps();
    if !root && features::counts_processes() {
        gaps.retain(|gap| gap.limit != Limit::Pids);
    }
    gaps.extend(disk.as_ref().err().map(|missing| Gap {
        limit: Limit::Disk,
        reason: missing.reason.to_owned(),
        mend: missing.mend.to_owned(),
    }));
    let mut notes = Gap::sentences(&gaps);
    notes.extend(groups.uncounted());
    let users = root || ids::of_users_machine() > 1;
    if !users {
        notes.push("Machines have no other users than root: this user has no ids for them. Install newuidmap (Debian: uidmap), with 65536 ids for this user in /etc/subuid and /etc/subgid.".to_owned());
    }
    if !root {
        notes.push(
            "The engine runs unprivileged: /usr is read-only in machines. Start it as root to change that."
                .to_owned(),
        );
    }
    Capabilities {
        backend: format!("namespaces ({})", if root { "root" } else { "unprivileged" }),
        features: features::all(root, groups, disk.is_ok()),
        gaps,
        best_effort: options.best_effort,
        users,
        notes,
    }
}

/// A directory that only its owner may list.
fn private_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed("make a directory of the state"))
}

/// Names the step of an I/O error.
fn failed(step: &'static str) -> impl Fn(std::io::Error) -> IsolationError {
    move |error| IsolationError::Failed(format!("could not {step}: {error}"))
}

/// Runs work that blocks on a thread for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| IsolationError::Failed(error.to_string()))?
}
