//! Makes and runs isolated machines. Knows nothing of HTTP, leases, pools or the store.
//!
//! - [`Backend`] starts machines and ends what an earlier engine left behind
//! - [`Running`] is one started machine
//! - [`namespaces`] makes real ones; [`relay`] is their only way out
//! - [`files`]: files of a started machine
//! - [`descriptors`]: how many the engine may have; [`ids`]: which ids machines may have
//! - [`Secrets`]: what a machine uses and never sees
//! - [`meter`], [`remove`]: how much machines wrote, and its removal
//!
//! Nothing that a machine says is trusted: sizes are bounded, descriptors are checked.

pub mod descriptors;
mod egress;
pub mod files;
pub mod ids;
pub mod meter;
pub mod namespaces;
pub mod relay;
pub mod remove;
mod secrets;

pub use egress::{DomainRule, EgressRules, NameRules, RateLimit, Said, Verdict};
pub use secrets::{gateway, Secret, Secrets};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// Why isolation could not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum IsolationError {
    /// The engine has no right to do this on this computer.
    #[error("{0}")]
    Unprivileged(String),
    /// The caller asked for something impossible: no such user, executable, pid.
    #[error("{0}")]
    Invalid(String),
    /// The working directory that a process was to start in cannot be entered.
    #[error("{0}")]
    Directory(String),
    /// Something that is in use cannot be taken away.
    #[error("{0}")]
    Busy(String),
    /// What is to be taken away is not where it was put.
    #[error("{0}")]
    Lost(String),
    /// The machine has no room for another process.
    #[error("{0}")]
    Exhausted(String),
    /// The machine ended while it was asked.
    #[error("the machine ended")]
    Gone,
    /// Anything else; the text is for the log.
    #[error("{0}")]
    Failed(String),
}

/// What isolation answers.
pub type Result<T> = std::result::Result<T, IsolationError>;

/// What this computer can enforce, found by trying.
#[derive(Debug, Clone, Default)]
pub struct Capabilities {
    /// Name of the backend and how it runs, such as `namespaces (root)`.
    pub backend: String,
    /// What it cannot enforce, in the order in which a person can mend it.
    pub gaps: Vec<Gap>,
    /// Whether machines start where a size that was asked for cannot be enforced, with a warning.
    pub best_effort: bool,
    /// Commands as other users than root.
    pub users: bool,
    /// What a person should know: one sentence each, with a way to change it where there is one.
    pub notes: Vec<String>,
    /// What the promises need of the kernel.
    pub features: Vec<Feature>,
}

impl Capabilities {
    /// Why a limit does not hold; `None` = it does.
    pub fn gap(&self, limit: Limit) -> Option<&Gap> {
        self.gaps.iter().find(|gap| gap.limit == limit)
    }

    /// Whether a limit holds.
    pub fn enforces(&self, limit: Limit) -> bool {
        self.gap(limit).is_none()
    }
}

/// A limit of machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Memory.
    Memory,
    /// Processor time.
    Cpu,
    /// The number of processes.
    Pids,
    /// Disk.
    Disk,
}

impl Limit {
    /// What the API calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory_mb",
            Self::Cpu => "vcpus",
            Self::Pids => "the number of processes",
            Self::Disk => "disk_mb",
        }
    }
}

/// A limit that this computer cannot enforce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Which one.
    pub limit: Limit,
    /// Why not: a clause.
    pub reason: String,
    /// What a person does about it: a clause that begins with a verb.
    pub mend: String,
}

impl Gap {
    /// A sentence for each reason, with all limits that it takes away.
    pub fn sentences(gaps: &[Self]) -> Vec<String> {
        let mut sentences: Vec<String> = Vec::new();
        for (place, gap) in gaps.iter().enumerate() {
            let is_same = |other: &&Self| (&other.reason, &other.mend) == (&gap.reason, &gap.mend);
            if gaps[..place].iter().any(|other| is_same(&other)) {
                continue;
            }
            let names: Vec<&str> = gaps.iter().filter(is_same).map(|gap| gap.limit.name()).collect();
            let names = match names.as_slice() {
                [one] => format!("{one} is"),
                [rest @ .., last] => format!("{} and {last} are", rest.join(", ")),
                [] => continue,
            };
            sentences.push(format!(
                "{names} not enforced: {}. To mend it, {}.",
                gap.reason, gap.mend
            ));
        }
        sentences
    }
}

/// Something of the kernel that a promise needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Its name, with the version that brought it where that is late.
    pub name: &'static str,
    /// What does not hold without it.
    pub promise: &'static str,
    /// Whether this computer has it.
    pub is_there: bool,
    /// Whether no machine starts without it.
    pub is_vital: bool,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct StartSpec {
    /// `mch_...`; also the host name inside, with `_` made `-`.
    pub id: String,
    /// Layers above `base`, nearest first: names that [`Running::snapshot`] or [`Backend::import_layer`] made.
    pub layers: Vec<String>,
    /// Whether the layers hold a whole root file system, so that `base` and the computer's `/usr` stay out.
    pub whole_root: bool,
    /// Processors, enforced as a share of time.
    pub vcpus: u32,
    /// MiB of memory.
    pub memory_mb: u32,
    /// MiB of disk; `None` = no limit of its own.
    pub disk_mb: Option<u32>,
    /// What the machine may reach.
    pub egress: EgressRules,
    /// What its gateway adds to requests.
    pub secrets: Secrets,
    /// Host directories to mount.
    pub mounts: Vec<Mount>,
}

/// A directory of the engine (a volume) inside a machine.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Directory on the host, owned by the engine. Machines write into it: no name in it is to be trusted.
    pub source: PathBuf,
    /// Directory below it that is mounted, made if it is missing; `None` = all of it.
    pub subpath: Option<String>,
    /// Absolute path inside.
    pub target: String,
    /// Refuse writes.
    pub read_only: bool,
}

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct ExecSpec {
    /// Program and its arguments. The program is looked up in `PATH` of `envs`.
    pub argv: Vec<String>,
    /// The whole environment.
    pub envs: BTreeMap<String, String>,
    /// Working directory; must exist.
    pub cwd: String,
    /// User name or number inside; `None` = root.
    pub user: Option<String>,
    /// Whether to keep standard input open for [`Process::stdin`]; otherwise it is empty.
    pub stdin: bool,
    /// Run in a new terminal of this size: `stdin` and `stdout` are then the two sides of it, `stderr` is empty.
    pub pty: Option<PtySize>,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PtySize {
    /// Characters a line.
    pub cols: u16,
    /// Lines.
    pub rows: u16,
}

/// A byte stream out of a machine.
pub type Output = Box<dyn AsyncRead + Send + Unpin>;
/// A byte stream into a machine.
pub type Input = Box<dyn AsyncWrite + Send + Unpin>;

/// A started process, leader of a process group of its own. Dropping it neither ends nor forgets the process.
pub struct Process {
    /// Id inside the machine.
    pub pid: u32,
    /// Standard output. Ends at the last writer, which may outlive the process.
    pub stdout: Output,
    /// Standard error.
    pub stderr: Output,
    /// Standard input, when asked for.
    pub stdin: Option<Input>,
    /// Resolves when the process itself has ended; an error means that the machine ended first.
    pub exit: tokio::sync::oneshot::Receiver<Exit>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; 128 + n for signal n.
    pub code: i32,
    /// The memory limit of the machine ended it.
    pub out_of_memory: bool,
}

/// What a machine uses at the moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Processor time since the start.
    pub cpu: Duration,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes written to its disk.
    pub disk_bytes: u64,
    /// Bytes of disk it could use.
    pub disk_total_bytes: u64,
    /// Bytes received through the relay.
    pub network_rx_bytes: u64,
    /// Bytes sent through the relay.
    pub network_tx_bytes: u64,
}

/// An immutable set of files that machines can start from.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Name, to be put in front of the layers of its machine.
    pub name: String,
    /// Bytes it holds.
    pub size_bytes: u64,
}

/// Puts the files of a layer into the folder that it is given: `root` in it becomes the machine's `/`.
pub type Fill = Box<dyn FnOnce(&Path) -> Result<()> + Send>;

/// A root file system that somebody brought.
pub enum RootFiles {
    /// A directory of this computer, which is copied.
    Directory(PathBuf),
    /// Anything else: puts it into the folder that it is given, which becomes the machine's `/`.
    Packed(Fill),
}

/// Files of a volume, worked on by a process that sees nothing else.
pub struct VolumeFiles {
    /// A session of file operations. Closing it ends the process.
    pub channel: std::os::unix::net::UnixStream,
    /// Resolves, whichever way, when the process is gone.
    pub ended: tokio::sync::oneshot::Receiver<()>,
}

/// Starts machines.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// What this computer can enforce.
    fn capabilities(&self) -> &Capabilities;

    /// Starts a machine and waits until it answers. On an error, or when the future is dropped, nothing is left. Starts
    /// wait here where more of them at once would only lengthen each other.
    async fn start(&self, spec: StartSpec) -> Result<Arc<dyn Running>>;

    /// Ends all that an earlier engine process left in the state directory: processes, mounts, control groups,
    /// directories. Called once, before the first start.
    async fn recover(&self) -> Result<()>;

    /// Makes a layer named `name` of a root file system.
    async fn import_layer(&self, name: &str, source: RootFiles) -> Result<Layer>;

    /// Makes a layer named `name` of what `fill` puts into it, whole or not at all. Ids of its files are those that they
    /// have in a machine.
    async fn make_layer(&self, name: &str, fill: Fill) -> Result<Layer> {
        let _ = (name, fill);
        Err(IsolationError::Failed("this backend makes no layers".into()))
    }

    /// Where the files of a layer are, or would be. Nothing in it may be changed.
    fn layer_folder(&self, name: &str) -> Option<PathBuf> {
        let _ = name;
        None
    }

    /// Names of all layers that are whole.
    async fn layer_names(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Makes one layer of several, nearest first, that machines can start from instead. `None` = these cannot be
    /// merged; nothing is left then.
    async fn merge_layers(&self, name: &str, layers: &[String]) -> Result<Option<Layer>>;

    /// Removes a layer that no machine uses. Removing one that is not there is no error.
    async fn remove_layer(&self, name: &str) -> Result<()>;

    /// A session of file operations on a volume, whose directory is `/` in it. `over`: ends it at once when cancelled.
    async fn volume_files(&self, directory: &std::path::Path, over: CancellationToken)
        -> Result<VolumeFiles>;
}

/// A started machine. Dropping the last reference ends it in the background.
#[async_trait]
pub trait Running: Send + Sync + 'static {
    /// What this host does not enforce for it.
    fn warnings(&self) -> &[String];

    /// Starts a process.
    async fn exec(&self, spec: ExecSpec) -> Result<Process>;

    /// Sends a signal to the process group of `pid`. A pid that has ended, or was never started by
    /// [`exec`](Running::exec), is [`IsolationError::Invalid`].
    async fn signal(&self, pid: u32, signal: i32) -> Result<()>;

    /// Ends `pid` and every process that it started, whatever session or group those moved to. Its end is told when
    /// all of them are gone. The errors are those of [`signal`](Running::signal).
    async fn end(&self, pid: u32) -> Result<()>;

    /// Changes the size of the terminal of `pid`.
    async fn resize(&self, pid: u32, size: PtySize) -> Result<()>;

    /// Stops every process where it stands.
    async fn freeze(&self) -> Result<()>;

    /// Lets them go on.
    async fn thaw(&self) -> Result<()>;

    /// Copies what the machine wrote into an immutable layer named `name`. Freezes it meanwhile if it runs.
    async fn snapshot(&self, name: &str) -> Result<Layer>;

    /// Replaces the egress rules at once and cuts connections that they deny.
    async fn set_egress(&self, rules: EgressRules) -> Result<()>;

    /// Connects to a TCP port on the machine's loopback interface: on 127.0.0.1, else on `::1`.
    async fn dial(&self, port: u16) -> Result<tokio::net::TcpStream>;

    /// A session of file operations as `user` (name or number inside; `None` = root): the answered socket's other end
    /// is served by [`nullspace_agent::files::serve`] in a process inside the machine that has become the user.
    /// An unknown user is [`IsolationError::Invalid`]. Closing the socket ends the process.
    async fn files(&self, user: Option<&str>) -> Result<std::os::unix::net::UnixStream> {
        let _ = user;
        Err(IsolationError::Failed("this backend has no files".into()))
    }

    /// Mounts a volume while the machine runs.
    async fn mount(&self, mount: &Mount) -> Result<()>;

    /// Takes a volume away, wherever the machine has moved the directory that it is mounted on.
    /// [`IsolationError::Busy`] while a process uses it, unless `by_force`; [`IsolationError::Lost`] when it is not
    /// mounted any more.
    async fn unmount(&self, mount: &Mount, by_force: bool) -> Result<()>;

    /// Whether a volume is where it should be; `None` = this backend cannot see it.
    async fn is_mounted(&self, mount: &Mount) -> Result<Option<bool>>;

    /// What it uses.
    async fn usage(&self) -> Result<Usage>;

    /// Ends every process and removes all that the machine had on the host. Idempotent; resolves when all is gone.
    async fn stop(&self) -> Result<()>;

    /// Resolves when the machine has ended, by [`stop`](Running::stop) or by itself.
    async fn ended(&self);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_share_a_reason_share_a_sentence() {
        let gap = |limit, reason: &str| Gap {
            limit,
            reason: reason.into(),
            mend: "run the engine as root".into(),
        };
        let gaps = [
            gap(Limit::Memory, "no group"),
            gap(Limit::Disk, "no loop device"),
            gap(Limit::Cpu, "no group"),
            gap(Limit::Pids, "no group"),
        ];
        assert_eq!(
            Gap::sentences(&gaps),
            [
                "memory_mb, vcpus and the number of processes are not enforced: no group. To mend it, run the engine as root.",
                "disk_mb is not enforced: no loop device. To mend it, run the engine as root.",
            ]
        );
        assert!(Gap::sentences(&[]).is_empty());
    }
}
