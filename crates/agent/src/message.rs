//! What engine and agent say to each other. The engine believes nothing of what it is told: sizes are bounded by the
//! channel, descriptors are looked at before they are used.

use serde::{Deserialize, Serialize};

/// What the agent is for: the first message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Task {
    /// To be PID 1 of a machine. Descriptors: its lock file, and its user namespace (root only).
    Machine(Box<Setup>),
    /// To work on the files of a volume. Descriptors: the session, served by [`crate::files::serve_volume`], and the user
    /// namespace whose ids the volume has (root only).
    Volume(Volume),
}

/// A volume whose files are worked on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Volume {
    /// Its directory on the host.
    pub source: String,
    /// Seccomp programs, as in [`Setup`].
    pub filters: Vec<Vec<u8>>,
}

/// Everything that has to be known before the machine can run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Setup {
    /// Host name inside.
    pub hostname: String,
    /// An empty directory of the host: a tmpfs on it holds the mount points while the tree is put together.
    pub stage: String,
    /// Directories of the host that make up `/`, nearest first.
    pub root_lowers: Vec<String>,
    /// Directories of the host that make up `/usr`, nearest first; empty when `/` holds it.
    pub usr_lowers: Vec<String>,
    /// Directory of the host with `ur wr uu wu`: what the machine writes to `/` and `/usr`, and overlay's own.
    pub upper: String,
    /// Block device whose ext4 file system holds `upper` instead: a disk of limited size.
    pub image: Option<String>,
    /// First host id of the machine's block (root). `None`: the agent already lives in a user namespace that maps one
    /// id, layers belong to that id, and `/usr` is read-only.
    pub id_base: Option<u32>,
    /// Ids of a machine without a block: 1, or what its user namespace maps.
    pub ids: u32,
    /// Processes and threads, where the kernel's count of the user namespace has to hold them: of a machine without a block of
    /// ids, on Linux 5.14 or later, without the control group for it.
    pub processes: Option<u32>,
    /// More directories of the host to mount.
    pub mounts: Vec<MountPoint>,
    /// Seccomp programs: `sock_filter` arrays as bytes.
    pub filters: Vec<Vec<u8>>,
    /// One more, whose calls wait for the agent: sockets that it counts.
    pub counted: Vec<u8>,
    /// Bytes of `/dev/shm`.
    pub shm_bytes: u64,
    /// What programs are told they have.
    pub sizes: Sizes,
}

/// What a machine has of the computer, as far as that is enforced.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Sizes {
    /// Bytes.
    pub memory: Option<u64>,
    /// How many.
    pub processors: Option<u32>,
}

/// A directory of the host inside a machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MountPoint {
    /// On the host.
    pub source: String,
    /// Directory below it that is mounted; empty for all of it.
    pub subpath: String,
    /// Absolute, inside.
    pub target: String,
    /// Refuse writes.
    pub read_only: bool,
}

impl Sizes {
    /// Microseconds in which a machine gets its share of the processors.
    pub const PERIOD: u64 = 100_000;

    /// What the share is with so many processors.
    #[must_use]
    pub fn quota(processors: u32) -> u64 {
        u64::from(processors) * Self::PERIOD
    }
}

/// Engine to agent, once the machine runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Order {
    /// Start a process; answered by [`Report::Started`] or [`Report::Refused`] with this id.
    Exec(u64, Exec),
    /// Send a signal to the process group of a pid.
    Signal(u64, u32, i32),
    /// End a process and everything that it started, whatever group or session that moved to.
    End(u64, u32),
    /// Set the size of a terminal.
    Resize(u64, u32, u16, u16),
    /// Connect to a TCP port on the machine's loopback; answered by [`Report::Descriptor`]: a socket that may still be
    /// connecting. `true`: on `::1` instead of 127.0.0.1.
    Dial(u64, u16, bool),
    /// A session of file operations as a user (root when absent); answered by [`Report::Descriptor`]: a socket served
    /// by [`crate::files::serve`].
    Files(u64, Option<String>),
    /// Stop (`true`) or continue every process by signal: for engines without a freezer.
    Halt(u64, bool),
}

/// A process to start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `NAME=value`.
    pub envs: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// User name or number; root when absent.
    pub user: Option<String>,
    /// Keep standard input open.
    pub stdin: bool,
    /// Run in a terminal of so many columns and rows.
    pub pty: Option<(u16, u16)>,
}

/// Agent to engine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Report {
    /// The machine stands, or the volume is open. Descriptors of a machine: TCP and UDP listeners.
    Ready,
    /// It does not: the step that failed.
    Failed(String),
    /// A process runs. Descriptors: stdout, stderr and, when asked for, stdin; for a terminal only its master.
    Started(u64, u32),
    /// An order was not carried out.
    Refused(u64, Refusal),
    /// An order was carried out.
    Done(u64),
    /// One descriptor.
    Descriptor(u64),
    /// A process that was started ended: pid, exit code (128 + n for signal n).
    Exited(u32, i32),
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The caller asked for something that is not there.
    Invalid(String),
    /// The working directory cannot be entered.
    Directory(String),
    /// No room for another process or descriptor.
    Exhausted(String),
    /// Anything else.
    Failed(String),
}
