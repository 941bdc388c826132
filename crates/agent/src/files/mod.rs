//! Files of a machine, worked on from inside it: its own symlinks, permissions and mounts decide. Files of a volume too, in a
//! process whose root is the volume.
//!
//! The engine holds one end of a stream socket; a process inside the machine, which has become the wanted user, calls
//! [`serve`] on the other. Requests are answered in order. Bytes of files do not pass through: descriptors do.
//!
//! - `serve`: the session and the plain operations
//! - `write`: new content, whole or not at all
//! - `steps`: files open between requests, for clients that work on them piece by piece
//! - `relocate`: renaming to another file system
//! - `search`: by name, by content, replace; `pattern`: what a name is matched against
//! - `watch`: changes as they happen
//! - `text`: paths as text and back, whatever bytes they have
//! - `names`: users and groups of the machine

mod names;
mod pattern;
mod relocate;
mod search;
mod serve;
mod steps;
mod text;
mod watch;
mod write;

pub use serve::{refuse, serve, serve_volume};
pub use steps::{Entry, How, Look, Space, Spot, Step, Stepped, LARGEST_PIECE, MOST_HANDLES};
pub use text::is_exact;

use serde::{Deserialize, Serialize};

/// Bytes of a request at most; the longest is text to put in place of other text.
pub const LARGEST_REQUEST: usize = 20 << 20;
/// Bytes of an answer at most.
pub const LARGEST_REPLY: usize = 48 << 20;
/// Entries of a list at most; more are `EOVERFLOW`.
pub const LARGEST_LIST: usize = 50_000;
/// Matches of a search at most; more are left out.
pub const MOST_MATCHES: usize = 10_000;
/// Where the product keeps its own files; nothing is written there for a request.
pub const RESERVED: &str = "/workspace/.nullspace";

/// How the name of what is not whole yet begins, beside the place where it will be.
pub const TEMPORARY: &str = ".nullspace-";
/// And how it ends.
pub const TEMPORARY_END: &str = ".tmp";

/// What to do. Paths are absolute; here and in answers bytes that are no UTF-8 are written as `text` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Home directory of the user. Answered with `Text`.
    Home,
    /// Looks at a path; a symlink is looked at itself. Answered with `Info`.
    Info {
        /// What to look at.
        path: String,
    },
    /// Answered with `Is`; a symlink that leads nowhere exists.
    Exists {
        /// What to look for.
        path: String,
    },
    /// Entries of a directory by path. Symlinks are not followed below `path`. Answered with `List`.
    List {
        /// Directory.
        path: String,
        /// 0 = its own entries, 1 = also those of its directories, and so on.
        depth: u32,
    },
    /// Makes a directory and those above it. One that is there already is no error. Answered with `Done`.
    MakeDirectory {
        /// Directory.
        path: String,
    },
    /// Removes a file, or a directory with all that is in it. Answered with `Done`.
    Remove {
        /// What to remove.
        path: String,
    },
    /// Renames, or moves to another file system; a file in the way is replaced. Answered with `Info`.
    Rename {
        /// Old path.
        from: String,
        /// New path.
        to: String,
    },
    /// Sets permission bits. Answered with `Done`.
    SetMode {
        /// Of what.
        path: String,
        /// Lowest twelve bits.
        mode: u32,
    },
    /// Gives it to a user and a group, by number; of a symlink the link itself. Answered with `Done`.
    SetOwner {
        /// What.
        path: String,
        /// User.
        user: u32,
        /// Group.
        group: u32,
    },
    /// Makes a symlink. Answered with `Done`.
    Symlink {
        /// What it says, verbatim.
        target: String,
        /// Where it is.
        path: String,
    },
    /// Opens a regular file. Answered with `Info` and a descriptor for reading.
    Read {
        /// File.
        path: String,
    },
    /// Begins new content of a file, making directories above it. Answered with `Created` and a descriptor for writing.
    /// What is neither committed nor aborted when the session ends is removed.
    Create {
        /// File; symlinks are followed.
        path: String,
    },
    /// Puts new content in place at once. Answered with `Info`.
    Commit {
        /// From `Created`.
        token: u32,
        /// Whether an existing file is replaced; otherwise it is `EEXIST`.
        replace: bool,
        /// Permission bits; `None` = those of the replaced file, else 0644 less the mask.
        mode: Option<u32>,
    },
    /// Forgets new content. Answered with `Done`.
    Abort {
        /// From `Created`.
        token: u32,
    },
    /// Lines that hold a text. Answered with `Matches`.
    Find {
        /// File, or directory with all that is in it.
        path: String,
        /// Text, literally.
        pattern: String,
    },
    /// Paths whose name matches. Answered with `Paths`.
    Search {
        /// Directory.
        path: String,
        /// Shell pattern with `*`, `?`, `[a-z]` and `{a,b}`: of names, or with a `/` of paths below `path`, where `**` is
        /// any depth. One that no path can match is `EINVAL`.
        pattern: String,
    },
    /// Replaces a text in files. Answered with `Replaced`.
    Replace {
        /// Files.
        files: Vec<String>,
        /// Text, literally.
        pattern: String,
        /// What to put there.
        replacement: String,
        /// Only count.
        dry_run: bool,
    },
    /// Reports changes until the session ends. Answered with `Done`, then `Event`s; it is the last request.
    Watch {
        /// Directory or file.
        path: String,
        /// Also all directories below.
        recursive: bool,
    },
    /// Answered with `Stepped`.
    Step(Step),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// It is done.
    Done,
    /// Yes or no.
    Is(bool),
    /// A text.
    Text(String),
    /// One entry.
    Info(Info),
    /// Entries.
    List(Vec<Info>),
    /// New content was begun.
    Created {
        /// For `Commit` and `Abort`.
        token: u32,
        /// Whether a file is there already.
        exists: bool,
    },
    /// Lines.
    Matches(Vec<Match>),
    /// Paths.
    Paths(Vec<String>),
    /// How often it was replaced in each file, in the order of the request.
    Replaced(Vec<u64>),
    /// Something changed.
    Event(Event),
    /// A step was taken.
    Stepped(Stepped),
    /// It failed.
    Fault(Fault),
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// Last part of the path.
    pub name: String,
    /// Absolute.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes.
    pub size: u64,
    /// Permission bits, twelve.
    pub mode: u32,
    /// User name, or number.
    pub owner: String,
    /// Group name, or number.
    pub group: String,
    /// Last change of the content, seconds since 1970.
    pub modified_secs: i64,
    /// And nanoseconds.
    pub modified_nanos: u32,
    /// What a symlink says.
    pub symlink_target: Option<String>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symlink.
    Symlink,
    /// Device, pipe, socket.
    Other,
}

/// A line that holds a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Match {
    /// Path.
    pub file: String,
    /// Counted from 1.
    pub line: u64,
    /// The line without its end, at most 4 KiB of it.
    pub content: String,
}

/// A change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Path below the watched directory; of a watched file its name.
    pub name: String,
    /// Absolute path.
    pub path: String,
}

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// It is new here, by creation or by renaming.
    Create,
    /// Its content changed.
    Write,
    /// It is gone.
    Remove,
    /// It has another name now.
    Rename,
    /// Its permissions or times changed.
    Attributes,
    /// Changes were lost; look again.
    Resync,
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Linux error number.
    pub errno: i32,
    /// For people: what failed, with the path.
    pub text: String,
}

/// Why there may be none but root.
pub const OTHER_USERS: &str =
    "Machines have other users than root when the engine runs as root, or has ids for them (newuidmap, of \
                               Debian's package uidmap)";

impl Fault {
    pub(crate) fn new(errno: i32, text: impl Into<String>) -> Self {
        Self {
            errno,
            text: text.into(),
        }
    }

    /// An error at a path.
    pub(crate) fn at(path: impl AsRef<std::path::Path>, error: &std::io::Error) -> Self {
        let path = text::shown(path.as_ref());
        // "(os error 2)" says nothing to a person.
        let why = error.to_string();
        let why = why.split(" (os error").next().unwrap_or_default();
        Self {
            errno: error.raw_os_error().unwrap_or(libc::EIO),
            text: format!("{path}: {why}"),
        }
    }
}

type Result<T> = std::result::Result<T, Fault>;
