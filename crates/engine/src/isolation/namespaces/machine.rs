//! One machine: made, used, ended. Whatever ends it, nothing of it stays.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use nullspace_agent::message::{Exec, MountPoint, Order, Setup, Sizes, Task};
use nullspace_agent::trees::Chain;
use tokio::io::unix::AsyncFd;
use tokio::io::Interest;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::cgroup::{Group, MAX_PROCESSES};
use super::control::{Answer, Control};
use super::disk::{self, Disk};
use super::volumes::{self, Inside, Mounted};
use super::{blocking, failed, layers, streams, Block, Shared};
use crate::isolation::ids;
use crate::isolation::meter::Meter;
use crate::isolation::relay::{Relay, RelayOptions};
use crate::isolation::remove::Trash;
use crate::isolation::{
    EgressRules, ExecSpec, Exit, Gap, IsolationError, Layer, Limit, Mount, Process, PtySize, Result, Running,
    StartSpec, Usage,
};

/// Share of the memory that `/dev/shm` and `/run` may take each.
const SHM_SHARE: u64 = 2;
/// How long a machine may outlive its engine; it is killed at once.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// A running machine.
pub struct Machine {
    shared: Arc<Shared>,
    id: String,
    folder: PathBuf,
    warnings: Vec<String>,
    control: Control,
    relay: Relay,
    group: Arc<Group>,
    /// PID 1 and first id of the block, of an engine that runs as root.
    inside: Option<(i32, u32)>,
    /// Volumes, by where they were mounted.
    mounts: Mutex<BTreeMap<String, Mounted>>,
    /// Whether its disk is an image.
    limited: bool,
    /// Held until the machine was stopped: the number of a loop device is given to others once it is free.
    disk: Mutex<Option<Disk>>,
    killer: Arc<Killer>,
    /// Held while the freezer is used.
    frozen: tokio::sync::Mutex<bool>,
    /// Counts what it wrote, where no image does.
    meter: Meter,
}

/// Ends a machine, and tells when all of it is gone.
struct Killer {
    pidfd: Arc<OwnedFd>,
    group: Arc<Group>,
    gone: CancellationToken,
    failure: Mutex<Option<String>>,
}

/// Starts a machine. Dropped half-way, or after a failure, nothing is left: the parts clean up after themselves.
pub async fn start(shared: Arc<Shared>, spec: StartSpec) -> Result<Arc<dyn Running>> {
    let limited = spec.disk_mb.filter(|_| shared.capabilities.enforces(Limit::Disk));
    let warnings = warnings(&shared, spec.disk_mb);
    let folder = shared.machine(&spec.id);
    let (folder, group, disk) = {
        let (shared, spec) = (shared.clone(), spec.clone());
        blocking(move || {
            for mount in &spec.mounts {
                volumes::prepare(mount)?;
            }
            let folder = prepare(folder, &shared.trash)?;
            let group = shared
                .groups
                .make(&spec.id, spec.memory_mb, spec.vcpus)
                .map_err(failed("limit the machine"))?;
            let disk = match limited {
                Some(mb) => Some(disk::make(&folder.0.join("disk.img"), mb)?),
                None => None,
            };
            Ok((folder, group, disk))
        })
        .await?
    };
    let block = shared.take_block()?;
    let lock = lock_file(&folder.0)?;
    let id_map = match &block {
        Some(block) => Some(
            shared
                .spawner
                .user_namespace(block.base(), ids::IDS)
                .await
                .map_err(failed("make a user namespace"))?,
        ),
        None => None,
    };
    let setup = set_up(&shared, &spec, disk.as_ref(), block.as_ref().map(Block::base))?;
    let (engine_end, agent_end) =
        nullspace_agent::channel::pair().map_err(failed("make a control socket"))?;
    let child = shared
        .spawner
        .machine(agent_end)
        .await
        .map_err(failed("clone a machine"))?;
    let group = Arc::new(group);
    let pid = child.pid;
    let inside = block.as_ref().map(|block| (pid as i32, block.base()));
    let killer = Arc::new(Killer {
        pidfd: Arc::new(child.into_pidfd()),
        group: group.clone(),
        gone: CancellationToken::new(),
        failure: Mutex::default(),
    });
    // From here on the end of the machine, whatever its cause, removes what it had.
    let mut ending = Ending(Some(killer.clone()));
    watch(killer.clone(), folder, block)?;
    group
        .attach(pid)
        .map_err(failed("put the machine into its control groups"))?;

    let mut descriptors = vec![lock.as_fd()];
    descriptors.extend(id_map.as_ref().map(AsFd::as_fd));
    let task = Task::Machine(Box::new(setup));
    let (control, tcp, udp) = Control::begin(engine_end, &task, &descriptors).await?;
    let mut options = RelayOptions {
        pool: shared.connections.clone(),
        secrets: spec.secrets.clone(),
        extra_refused: shared.options.refused.clone(),
        ..RelayOptions::default()
    };
    if let Some(resolvers) = &shared.options.resolvers {
        options.resolvers.clone_from(resolvers);
    }
    let relay = Relay::start(tcp.into(), udp.into(), spec.egress, options)
        .map_err(failed("start the egress relay"))?;
    // Before anybody's program runs in it.
    let mounts = match inside {
        Some((pid, id_base)) if !spec.mounts.is_empty() => {
            let (pidfd, mounts) = (killer.pidfd.clone(), spec.mounts.clone());
            blocking(move || volumes_of(&Inside { pid, pidfd, id_base }, &mounts)).await?
        }
        _ => BTreeMap::new(),
    };
    ending.0 = None;
    let folder = shared.machine(&spec.id);
    Ok(Arc::new(Machine {
        shared,
        id: spec.id,
        folder,
        warnings,
        control,
        relay,
        group,
        inside,
        mounts: Mutex::new(mounts),
        limited: disk.is_some(),
        disk: Mutex::new(disk),
        killer,
        frozen: tokio::sync::Mutex::new(false),
        meter: Meter::default(),
    }))
}

/// What does not hold for a machine with a disk of so many MiB.
fn warnings(shared: &Shared, disk_mb: Option<u32>) -> Vec<String> {
    let mut gaps = shared.capabilities.gaps.clone();
    let mut warnings = Vec::new();
    if disk_mb.is_none() {
        gaps.retain(|gap| gap.limit != Limit::Disk);
        let mend = match shared.capabilities.enforces(Limit::Disk) {
            true => ": give disk_mb for one",
            false => "",
        };
        warnings.push(format!(
            "this machine has no disk limit of its own, and can fill the engine's disk{mend}"
        ));
    }
    warnings.extend(Gap::sentences(&gaps));
    warnings.extend(shared.groups.uncounted());
    warnings
}

/// The volumes that a machine began with.
fn volumes_of(inside: &Inside, mounts: &[Mount]) -> Result<BTreeMap<String, Mounted>> {
    let mut found: BTreeMap<String, Mounted> = BTreeMap::new();
    for mount in mounts {
        let mounted = inside.mounted_at(&mount.target)?;
        if let Some((other, _)) = found.iter().find(|(_, other)| other.is_same(&mounted)) {
            return Err(IsolationError::Invalid(format!(
                "{other} and {} are one directory in this machine, and it holds one volume",
                mount.target
            )));
        }
        found.insert(mount.target.clone(), mounted);
    }
    Ok(found)
}

/// The directory of a machine, taken away when dropped.
struct Folder(PathBuf, Arc<Trash>);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = self.1.take(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "the directory of a machine cannot be removed");
        }
    }
}

/// Kills a machine whose start fails or is given up.
struct Ending(Option<Arc<Killer>>);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(killer) = &self.0 {
            killer.kill();
        }
    }
}

impl Killer {
    fn kill(&self) {
        // A machine frozen by a version 1 freezer does not hear the signal.
        let _ = self.group.freeze(false);
        let _ = rustix::process::pidfd_send_signal(&*self.pidfd, rustix::process::Signal::KILL);
        // After the signal: nothing in the machine runs any more but to its end.
        self.group.hurry();
    }
}

/// Makes the directory of a machine. One that is there already belongs to another machine and stays as it is.
fn prepare(folder: PathBuf, trash: &Arc<Trash>) -> Result<Folder> {
    fs::DirBuilder::new()
        .mode(0o711)
        .create(&folder)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                IsolationError::Invalid("a machine of this id is there already".to_owned())
            }
            _ => failed("make the directory of a machine")(error),
        })?;
    let folder = Folder(folder, trash.clone());
    let upper = folder.0.join("u");
    for path in [
        folder.0.join("stage"),
        upper.clone(),
        upper.join("wr"),
        upper.join("wu"),
        upper.join("ur"),
        upper.join("uu"),
    ] {
        fs::create_dir(&path).map_err(failed("make the directory of a machine"))?;
        // It becomes the mode of `/` and `/usr` inside.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .map_err(failed("make the directory of a machine"))?;
    }
    Ok(folder)
}

/// A file that is locked as long as PID 1 of the machine lives: the agent holds the same open file.
fn lock_file(folder: &Path) -> Result<OwnedFd> {
    let file = fs::File::create(folder.join("lock")).map_err(failed("make a lock file"))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|error| failed("lock a machine")(error.into()))?;
    Ok(file.into())
}

/// Waits until PID 1 of a machine of an earlier engine is gone: it holds the lock. Without control groups nothing else
/// tells, and its processes would write into what is being removed.
pub fn await_end(folder: &Path) {
    let Ok(file) = fs::File::open(folder.join("lock")) else {
        return;
    };
    let start = Instant::now();
    while rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        if start.elapsed() > END_PATIENCE {
            tracing::warn!(folder = %folder.display(), "a machine of an earlier engine does not end");
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn set_up(shared: &Shared, spec: &StartSpec, disk: Option<&Disk>, id_base: Option<u32>) -> Result<Setup> {
    let folder = shared.machine(&spec.id);
    let text = |path: PathBuf| {
        path.into_os_string()
            .into_string()
            .map_err(|_| IsolationError::Failed("the state directory's name is no UTF-8".to_owned()))
    };
    let mut root_lowers = Vec::new();
    let mut usr_lowers = Vec::new();
    for name in &spec.layers {
        let layer = shared.layer(name);
        if !layer.is_dir() {
            return Err(IsolationError::Invalid(format!("the layer {name} is gone")));
        }
        root_lowers.push(text(layer.join("root"))?);
        // Unprivileged, /usr is the computer's own and cannot be changed: no layer has one that counts.
        if id_base.is_some() && !spec.whole_root && layer.join("usr").is_dir() {
            usr_lowers.push(text(layer.join("usr"))?);
        }
    }
    if !spec.whole_root {
        root_lowers.push(text(shared.base.join("root"))?);
        usr_lowers.push(text(shared.usr.clone())?);
    }
    Ok(Setup {
        hostname: spec.id.replace('_', "-"),
        stage: text(folder.join("stage"))?,
        root_lowers,
        usr_lowers,
        upper: text(folder.join("u"))?,
        image: disk.map(|disk| text(disk.device.clone())).transpose()?,
        id_base,
        ids: ids::of_users_machine(),
        processes: shared.counts_processes.then_some(MAX_PROCESSES),
        mounts: spec
            .mounts
            .iter()
            .map(|mount| {
                Ok(MountPoint {
                    source: text(mount.source.clone())?,
                    subpath: mount.subpath.clone().unwrap_or_default(),
                    target: mount.target.clone(),
                    read_only: mount.read_only,
                })
            })
            .collect::<Result<_>>()?,
        filters: shared.filters.clone(),
        counted: shared.counted.clone(),
        shm_bytes: (u64::from(spec.memory_mb) << 20) / SHM_SHARE,
        sizes: Sizes {
            memory: shared
                .capabilities
                .enforces(Limit::Memory)
                .then(|| u64::from(spec.memory_mb) << 20),
            processors: shared.capabilities.enforces(Limit::Cpu).then_some(spec.vcpus),
        },
    })
}

/// Waits for the end of the machine and removes what it had.
fn watch(killer: Arc<Killer>, folder: Folder, block: Option<Block>) -> Result<()> {
    // SAFETY: the value owns its descriptor and always answers with the same one.
    let pidfd = unsafe { AsyncFd::register_with_interest(killer.pidfd.clone(), Interest::READABLE) }
        .map_err(|error| failed("watch a machine")(error.into()))?;
    tokio::spawn(async move {
        // Readable means ended; there is nothing to read.
        let _ = pidfd.readable().await;
        let reaped = rustix::process::waitid(
            rustix::process::WaitId::PidFd(pidfd.get_ref().as_fd()),
            rustix::process::WaitIdOptions::EXITED,
        );
        let work = killer.clone();
        let _ = tokio::task::spawn_blocking(move || {
            work.group.remove();
            drop(folder);
            drop(block);
        })
        .await;
        if let Err(error) = reaped {
            *killer.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        }
        killer.gone.cancel();
    });
    Ok(())
}

impl Machine {
    fn upper(&self) -> Result<(PathBuf, Option<OwnedFd>)> {
        if !self.limited {
            return Ok((self.folder.join("u"), None));
        }
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let view = disk::view(&disk.as_ref().ok_or(IsolationError::Gone)?.device)?;
        let path = format!("/proc/{}/fd/{}/u", std::process::id(), view.as_raw_fd());
        Ok((path.into(), Some(view)))
    }

    fn mounts(&self) -> MutexGuard<'_, BTreeMap<String, Mounted>> {
        self.mounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine as its volumes are changed.
    fn inside(&self) -> Result<Inside> {
        let (pid, id_base) = self.inside.ok_or_else(|| {
            IsolationError::Unprivileged(
                "this engine runs unprivileged, and such an engine cannot change the volumes of a machine that runs"
                    .to_owned(),
            )
        })?;
        Ok(Inside {
            pid,
            pidfd: self.killer.pidfd.clone(),
            id_base,
        })
    }

    async fn dial_on(&self, port: u16, is_v6: bool) -> Result<tokio::net::TcpStream> {
        match self.control.order(|id| Order::Dial(id, port, is_v6)).await? {
            Answer::Descriptor(socket) => streams::connection(socket).await,
            _ => Err(IsolationError::Failed(
                "the machine's agent answered something else".to_owned(),
            )),
        }
    }

    async fn set_frozen(&self, frozen: bool) -> Result<()> {
        if !self.group.can_freeze() {
            return self.control.order(|id| Order::Halt(id, frozen)).await.map(drop);
        }
        let group = self.group.clone();
        blocking(move || group.freeze(frozen).map_err(failed("freeze the machine"))).await
    }

    async fn done(&self, order: impl FnOnce(u64) -> Order) -> Result<()> {
        self.control.order(order).await.map(drop)
    }
}

#[async_trait]
impl Running for Machine {
    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    async fn exec(&self, spec: ExecSpec) -> Result<Process> {
        let exec = Exec {
            argv: spec.argv,
            envs: spec
                .envs
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            cwd: spec.cwd,
            user: spec.user,
            stdin: spec.stdin,
            pty: spec.pty.map(|size| (size.cols, size.rows)),
        };
        let kills = self.group.memory_kills();
        let terminal = exec.pty.is_some();
        let with_input = exec.stdin;
        let Answer::Started(pid, descriptors, end) = self.control.order(|id| Order::Exec(id, exec)).await?
        else {
            return Err(IsolationError::Failed(
                "the machine's agent answered something else".to_owned(),
            ));
        };
        let mut descriptors = descriptors.into_iter();
        let mut next = || {
            descriptors
                .next()
                .ok_or_else(|| IsolationError::Failed("the machine's agent handed out too little".to_owned()))
        };
        let (stdout, stderr, stdin) = if terminal {
            let (output, input) = streams::terminal(next()?)?;
            (
                output,
                Box::new(tokio::io::empty()) as crate::isolation::Output,
                Some(input),
            )
        } else {
            let (stdout, stderr) = (streams::output(next()?)?, streams::output(next()?)?);
            let stdin = if with_input {
                Some(streams::input(next()?)?)
            } else {
                None
            };
            (stdout, stderr, stdin)
        };
        let (sender, exit) = oneshot::channel();
        let group = self.group.clone();
        tokio::spawn(async move {
            // The end of the machine drops the sender: whoever waits learns that it ended first.
            if let Ok(code) = end.await {
                let out_of_memory = code == 128 + libc::SIGKILL && group.memory_kills() > kills;
                let _ = sender.send(Exit { code, out_of_memory });
            }
        });
        Ok(Process {
            pid,
            stdout,
            stderr,
            stdin,
            exit,
        })
    }

    async fn signal(&self, pid: u32, signal: i32) -> Result<()> {
        self.done(|id| Order::Signal(id, pid, signal)).await
    }

    async fn end(&self, pid: u32) -> Result<()> {
        self.done(|id| Order::End(id, pid)).await
    }

    async fn resize(&self, pid: u32, size: PtySize) -> Result<()> {
        self.done(|id| Order::Resize(id, pid, size.cols, size.rows)).await
    }

    async fn freeze(&self) -> Result<()> {
        let mut frozen = self.frozen.lock().await;
        self.set_frozen(true).await?;
        *frozen = true;
        Ok(())
    }

    async fn thaw(&self) -> Result<()> {
        let mut frozen = self.frozen.lock().await;
        self.set_frozen(false).await?;
        *frozen = false;
        Ok(())
    }

    async fn snapshot(&self, name: &str) -> Result<Layer> {
        let frozen = self.frozen.lock().await;
        if !*frozen {
            self.set_frozen(true).await?;
        }
        let copied = match self.upper() {
            Err(error) => Err(error),
            Ok((upper, view)) => {
                let (layer, name) = (self.shared.layer(name), name.to_owned());
                let shared = self.shared.clone();
                blocking(move || {
                    let copied = layers::copy_upper(&upper, &layer, &name, &shared.trash);
                    drop(view);
                    copied
                })
                .await
            }
        };
        if !*frozen {
            self.set_frozen(false).await?;
        }
        let copied = copied?;
        // The machine goes on meanwhile.
        let shared = self.shared.clone();
        blocking(move || shared.settle()).await?;
        Ok(copied)
    }

    async fn set_egress(&self, rules: EgressRules) -> Result<()> {
        self.relay.set_rules(rules);
        Ok(())
    }

    async fn files(&self, user: Option<&str>) -> Result<std::os::unix::net::UnixStream> {
        let user = user.map(str::to_owned);
        match self.control.order(|id| Order::Files(id, user)).await? {
            Answer::Descriptor(socket) => streams::session(socket),
            _ => Err(IsolationError::Failed(
                "the machine's agent answered something else".to_owned(),
            )),
        }
    }

    async fn dial(&self, port: u16) -> Result<tokio::net::TcpStream> {
        match self.dial_on(port, false).await {
            // A server that bound to `localhost` may listen on ::1 alone: that is where the name leads first.
            Err(refused @ IsolationError::Invalid(_)) => self.dial_on(port, true).await.map_err(|_| refused),
            dialled => dialled,
        }
    }

    async fn mount(&self, mount: &Mount) -> Result<()> {
        let (inside, target, mount) = (self.inside()?, mount.target.clone(), mount.clone());
        let mounted = blocking(move || {
            volumes::prepare(&mount)?;
            inside.mount(&mount)
        });
        let mounted = mounted.await?;
        self.mounts().insert(target, mounted);
        Ok(())
    }

    async fn unmount(&self, mount: &Mount, by_force: bool) -> Result<()> {
        let inside = self.inside()?;
        let mounted = self.mounts().get(&mount.target).cloned();
        let mounted = mounted.ok_or_else(volumes::lost)?;
        blocking(move || inside.unmount(&mounted, by_force)).await?;
        self.mounts().remove(&mount.target);
        Ok(())
    }

    async fn is_mounted(&self, mount: &Mount) -> Result<Option<bool>> {
        if self.inside.is_none() {
            return Ok(None);
        }
        let inside = self.inside()?;
        let Some(mounted) = self.mounts().get(&mount.target).cloned() else {
            return Ok(Some(false));
        };
        blocking(move || inside.is_mounted(&mounted).map(Some)).await
    }

    async fn usage(&self) -> Result<Usage> {
        let group = self.group.clone();
        let (upper, view) = self.upper()?;
        let limited = self.limited;
        let network = self.relay.usage();
        let (mut usage, top) = blocking(move || {
            let (memory_bytes, cpu) = group.usage();
            let step = "look at the machine's disk";
            let files = rustix::fs::statvfs(&upper).map_err(|error| failed(step)(error.into()))?;
            let total = files.f_blocks * files.f_frsize;
            let top = if limited {
                None
            } else {
                Some(Chain::open(&upper).map_err(failed(step))?)
            };
            drop(view);
            let usage = Usage {
                cpu,
                memory_bytes,
                disk_bytes: total - files.f_bfree * files.f_frsize,
                disk_total_bytes: total,
                network_rx_bytes: network.rx_bytes,
                network_tx_bytes: network.tx_bytes,
            };
            Ok((usage, top))
        })
        .await?;
        if let Some(top) = top {
            usage.disk_bytes = self.meter.read(top).await.extent.disk_bytes;
        }
        Ok(usage)
    }

    async fn stop(&self) -> Result<()> {
        let killer = self.killer.clone();
        blocking(move || {
            killer.kill();
            Ok(())
        })
        .await?;
        self.killer.gone.cancelled().await;
        drop(self.disk.lock().unwrap_or_else(PoisonError::into_inner).take());
        let failure = self
            .killer
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match failure {
            None => Ok(()),
            Some(text) => Err(IsolationError::Failed(format!(
                "the end of machine {} could not be seen: {text}",
                self.id
            ))),
        }
    }

    async fn ended(&self) {
        self.killer.gone.cancelled().await;
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.killer.kill();
    }
}
