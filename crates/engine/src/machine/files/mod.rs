//! Files of machines and of volumes: which path is meant, whose rights count, and what a failure means to the caller. The
//! machine itself, or a process that has nothing but the volume, does the work, in a session of [`crate::isolation::files`].

pub mod archive;
mod unpack;
pub mod uploads;
pub mod volumes;

use std::fmt;
use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use nullspace_wire::files::{FileInfo, ReplaceResult, SearchMatch};
use nullspace_wire::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::isolation::files::{
    EntryKind, Event, Fault, FileError, Files, Info, NewFile, Op, TEMPORARY, TEMPORARY_END,
};
use crate::isolation::Running;
use crate::machine::commands::exec::default_user;
use crate::machine::ground::status::Rules;
use crate::machine::ground::{Error, Kind, Result};
use crate::machine::live::{Busy, Machine};
use crate::machine::validate::clean;
use crate::machine::Engine;

/// Limit of one operation; streaming of content has none of its own.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where relative paths start when nothing else is said. Source: PROTOCOL.md section 5, "Paths".
const DEFAULT_DIRECTORY: &str = "/workspace";

/// Whose files: a machine's or a volume's, by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// `mch_...`
    Machine(String),
    /// `vol_...`
    Volume(String),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Machine(id) => write!(f, "machine {id}"),
            Owner::Volume(id) => write!(f, "volume {id}"),
        }
    }
}

/// File operations of one request as one user. Dropping it ends them; what was not committed is gone.
pub struct FileSession {
    files: Files,
    whose: Whose,
    hold: Hold,
}

/// What errors are told of.
struct Whose {
    owner: Owner,
    /// Cancelled when there is nothing to work on any more.
    gone: CancellationToken,
}

/// What is kept while a session lives, or while a file is read that it opened.
pub enum Hold {
    /// The machine counts as busy.
    Machine {
        /// Where it works.
        machine: Arc<Machine>,
        /// As whom; nobody = root.
        user: Option<String>,
        #[allow(missing_docs)] // see above
        busy: Busy,
    },
    /// Nothing: an open file does not keep a volume.
    Volume,
}

impl Engine {
    /// Begins file operations. `user` is trimmed; nothing = who runs the commands of a machine. A volume knows no users.
    pub async fn files_of(self: &Arc<Self>, owner: &Owner, user: Option<String>) -> Result<FileSession> {
        match owner {
            Owner::Machine(id) => self.files(id, user).await,
            Owner::Volume(id) => {
                if user.is_some() {
                    let what = "is for files of machines: a volume has no users, leave it out";
                    return Err(Error::invalid("user", what));
                }
                let (channel, gone) = self.open_volume(id).await?;
                let owner = owner.clone();
                Ok(FileSession {
                    files: Files::new(channel).map_err(failure)?,
                    whose: Whose { owner, gone },
                    hold: Hold::Volume,
                })
            }
        }
    }

    /// Begins file operations in a machine. `user` is trimmed; nothing = who runs its commands.
    pub async fn files(self: &Arc<Self>, id: &str, user: Option<String>) -> Result<FileSession> {
        let (machine, busy) = self.ready(id).await?;
        let user = user.map(|u| u.trim().to_owned()).filter(|u| !u.is_empty());
        let user = user.or_else(|| default_user(&machine));
        // A machine that is being frozen is waited for and then refused.
        let _gate = machine.gate.read().await;
        if !machine.status().can_exec() || machine.gone.is_cancelled() {
            return Err(machine.not_ready());
        }
        let channel = machine.running()?.files(user.as_deref()).await;
        let channel = channel.map_err(|error| Error::isolation("opening files", error))?;
        let files = Files::new(channel).map_err(failure)?;
        drop(_gate);
        let whose = Whose {
            owner: Owner::Machine(id.to_owned()),
            gone: machine.gone.clone(),
        };
        Ok(FileSession {
            files,
            whose,
            hold: Hold::Machine { machine, user, busy },
        })
    }
}

/// Makes the working directory of a machine that has just started, so that every command can use it.
pub(super) async fn make_working_directory(running: &Arc<dyn Running>, cwd: &str) -> Result<()> {
    let channel = running.files(None).await;
    let channel = channel.map_err(|error| Error::isolation("opening files", error))?;
    let mut files = Files::new(channel).map_err(failure)?;
    let make = Op::MakeDirectory { path: cwd.into() };
    match patiently("machine", files.ask(make)).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind == Kind::MachineNotReady => Err(error),
        Err(error) => Err(Error::invalid(
            "cwd",
            format_args!("cannot be the working directory: {}", error.message),
        )),
    }
}

impl FileSession {
    /// Whose files it works on.
    pub fn owner(&self) -> &Owner {
        &self.whose.owner
    }

    /// Cancelled when there is nothing to work on any more.
    pub fn gone(&self) -> &CancellationToken {
        &self.whose.gone
    }

    /// The absolute path that a request means. In a machine, relative ones start at its working directory, else at the home
    /// of the user, else at `/workspace`; in a volume there are none.
    pub async fn path(&mut self, field: &str, given: &str) -> Result<String> {
        if given.is_empty() || given.contains('\0') {
            return Err(Error::invalid(
                field,
                format_args!("is {given:?}: give a path such as \"{}\"", self.good_path()),
            ));
        }
        if given.starts_with('/') {
            if matches!(self.hold, Hold::Volume) && leaves_root(given) {
                let what = format_args!("is {given:?}, which leads out of the volume");
                return Err(Error::invalid(field, what));
            }
            return Ok(clean(given));
        }
        let Hold::Machine { machine, user, .. } = &self.hold else {
            let what =
                format_args!("is {given:?}: give a path from the root of the volume, such as \"/a.txt\"");
            return Err(Error::invalid(field, what));
        };
        let mut start = machine.read(|r| r.cwd.clone());
        if start == DEFAULT_DIRECTORY && user.is_some() {
            start = self.whose.within(self.files.home()).await?;
        }
        Ok(clean(&format!("{start}/{given}")))
    }

    /// A path for messages.
    fn good_path(&self) -> &'static str {
        match self.hold {
            Hold::Machine { .. } => "/workspace/a.txt",
            Hold::Volume => "/a.txt",
        }
    }

    /// Looks at a path.
    pub async fn info(&mut self, path: String) -> Result<FileInfo> {
        self.whose.within(self.files.info(path)).await.map(shown)
    }

    /// Whether something is there.
    pub async fn exists(&mut self, path: String) -> Result<bool> {
        self.whose.within(self.files.exists(path)).await
    }

    /// Entries of a directory; `depth` 0 = only its own.
    pub async fn list(&mut self, path: String, depth: u32) -> Result<Vec<FileInfo>> {
        Ok(self.entries(path, depth).await?.into_iter().map(shown).collect())
    }

    /// The same, as the session tells them.
    pub async fn entries(&mut self, path: String, depth: u32) -> Result<Vec<Info>> {
        self.whose.within(self.files.list(path, depth)).await
    }

    /// Makes a directory and those above it.
    pub async fn make_directory(&mut self, path: String) -> Result<()> {
        self.whose
            .within(self.files.ask(Op::MakeDirectory { path }))
            .await
            .map(drop)
    }

    /// Removes a file, or a directory with all in it.
    pub async fn remove(&mut self, path: String) -> Result<()> {
        self.whose
            .within(self.files.ask(Op::Remove { path }))
            .await
            .map(drop)
    }

    /// Renames.
    pub async fn rename(&mut self, from: String, to: String) -> Result<FileInfo> {
        self.whose.within(self.files.rename(from, to)).await.map(shown)
    }

    /// Sets permission bits, octal text.
    pub async fn set_permissions(&mut self, path: String, permissions: &str) -> Result<()> {
        let mode = permission_bits("permissions", permissions)?;
        self.whose
            .within(self.files.ask(Op::SetMode { path, mode }))
            .await
            .map(drop)
    }

    /// Lines that hold a text.
    pub async fn find(&mut self, path: String, pattern: String) -> Result<Vec<SearchMatch>> {
        let found = self.whose.within(self.files.find(path, pattern)).await?;
        let shown = found.into_iter().map(|m| SearchMatch {
            file: m.file,
            line: m.line,
            content: m.content,
        });
        Ok(shown.collect())
    }

    /// Paths whose name matches.
    pub async fn search(&mut self, path: String, pattern: String) -> Result<Vec<String>> {
        self.whose.within(self.files.search(path, pattern)).await
    }

    /// Replaces a text in files.
    pub async fn replace(
        &mut self,
        files: Vec<String>,
        pattern: String,
        replacement: String,
        dry_run: bool,
    ) -> Result<ReplaceResult> {
        let replaced = self.files.replace(files, pattern, replacement, dry_run);
        let counts = self.whose.within(replaced).await?;
        let modified = counts.iter().filter(|count| **count > 0).count() as u64;
        Ok(ReplaceResult {
            dry_run: matches!(self.hold, Hold::Volume).then_some(dry_run),
            replacements: counts.iter().sum(),
            files_modified: modified,
            files_skipped: counts.len() as u64 - modified,
            binary_files_skipped: 0,
        })
    }

    /// Opens a file to read. What the last value holds is kept while that lives.
    pub async fn read(mut self, path: String) -> Result<(Info, std::fs::File, Hold)> {
        let (info, file) = self.open(path).await?;
        Ok((info, file, self.hold))
    }

    /// Opens a file to read, one of several.
    pub async fn open(&mut self, path: String) -> Result<(Info, std::fs::File)> {
        self.whose.within(self.files.read(path)).await
    }

    /// Begins new content of a file, which appears with [`commit_as`](Self::commit_as) only.
    pub async fn create(&mut self, path: String) -> Result<NewFile> {
        self.whose.within(self.files.create(path)).await
    }

    /// Puts new content in place; `replace`: also when something is there. Without `mode` the file keeps the permissions
    /// that it has.
    pub async fn commit_as(&mut self, token: u32, replace: bool, mode: Option<u32>) -> Result<FileInfo> {
        self.whose
            .within(self.files.commit(token, replace, mode))
            .await
            .map(shown)
    }

    /// Makes a symlink.
    pub async fn symlink(&mut self, target: String, path: String) -> Result<()> {
        let made = self.files.ask(Op::Symlink { target, path });
        self.whose.within(made).await.map(drop)
    }

    /// Writes a whole file.
    pub async fn write(&mut self, path: String, content: Vec<u8>, mode: Option<u32>) -> Result<FileInfo> {
        let NewFile { token, mut file, .. } = self.create(path).await?;
        let written = tokio::task::spawn_blocking(move || file.write_all(&content)).await;
        written
            .map_err(|error| Error::internal("writing a file", error))?
            .map_err(|error| failure(FileError::Broken(error)))?;
        self.commit_as(token, true, mode).await
    }

    /// Where shells start.
    pub fn directory(&self) -> String {
        match &self.hold {
            Hold::Machine { machine, .. } => machine.read(|record| record.cwd.clone()),
            Hold::Volume => "/".into(),
        }
    }

    /// The session itself, for those who work on files piece by piece: errors with their numbers, no limit of time.
    pub fn pieces(&mut self) -> &mut Files {
        &mut self.files
    }

    /// Begins to watch.
    pub async fn watch(&mut self, path: String, recursive: bool) -> Result<()> {
        self.whose.within(self.files.watch(path, recursive)).await
    }

    /// The next change of a watch. Not cancel-safe.
    pub async fn next_event(&mut self) -> Result<Event> {
        let event = self.files.next_event().await;
        event.map_err(|error| self.whose.told(failure(error)))
    }
}

impl Whose {
    async fn within<T>(&self, work: impl Future<Output = std::result::Result<T, FileError>>) -> Result<T> {
        let what = match self.owner {
            Owner::Machine(_) => "machine",
            Owner::Volume(_) => "volume",
        };
        patiently(what, work).await.map_err(|error| self.told(error))
    }

    /// A session of a volume that was deleted meanwhile ends in the middle of anything.
    fn told(&self, error: Error) -> Error {
        match &self.owner {
            Owner::Volume(id) if self.gone.is_cancelled() => Error::no_volume(id),
            _ => error,
        }
    }
}

/// Waits for work in a machine, for as long as files of machines may take.
pub(super) async fn within<T>(work: impl Future<Output = std::result::Result<T, FileError>>) -> Result<T> {
    patiently("machine", work).await
}

async fn patiently<T>(
    what: &str,
    work: impl Future<Output = std::result::Result<T, FileError>>,
) -> Result<T> {
    let done = tokio::time::timeout(PATIENCE, work).await.map_err(|_| {
        Error::new(
            Kind::MachineNotReady,
            format!("the {what} did not answer within {} s", PATIENCE.as_secs()),
        )
    })?;
    done.map_err(failure)
}

/// What a failed operation means to the caller.
pub fn failure(error: FileError) -> Error {
    match error {
        FileError::Fault(Fault { errno, text }) => Error::new(kind(errno), text),
        // Writing the content, on a full disk or beyond a limit.
        FileError::Broken(error)
            if kind(error.raw_os_error().unwrap_or_default()) == Kind::CapacityExceeded =>
        {
            Error::new(Kind::CapacityExceeded, "the disk is full").retryable(false)
        }
        // The other end went away under the request.
        FileError::Broken(error) if is_over(error.kind()) => {
            tracing::warn!(%error, "a session of files ended early");
            Error::new(
                Kind::MachineNotReady,
                "the machine ended while its files were worked on",
            )
            .retryable(false)
        }
        FileError::Broken(error) => Error::internal("working on files", error),
    }
}

fn is_over(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionReset | UnexpectedEof)
}

fn kind(errno: i32) -> Kind {
    match errno {
        libc::ENOENT => Kind::NotFound,
        libc::EACCES | libc::EPERM | libc::EROFS => Kind::PermissionDenied,
        libc::EEXIST | libc::ENOTEMPTY | libc::EBUSY | libc::ETXTBSY => Kind::Conflict,
        libc::ENOSPC | libc::EDQUOT => Kind::CapacityExceeded,
        libc::EFBIG | libc::EOVERFLOW | libc::E2BIG => Kind::TooLarge,
        libc::EIO => Kind::Internal,
        _ => Kind::InvalidRequest,
    }
}

/// Permission bits as a request writes them.
pub fn permission_bits(field: &str, octal: &str) -> Result<u32> {
    let is_octal =
        (1..=5).contains(&octal.len()) && octal.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let bits = u32::from_str_radix(octal, 8).ok();
    bits.filter(|bits| is_octal && *bits <= 0o7777).ok_or_else(|| {
        let text = format!("is {octal:?}: give octal digits such as \"0644\"");
        Error::invalid(field, text)
    })
}

/// A file whose content is still coming: it appears under its name when it is whole.
pub fn is_unfinished(name: &str) -> bool {
    name.starts_with(TEMPORARY) && name.ends_with(TEMPORARY_END)
}

/// Whether `..` steps out of `/` on the way.
fn leaves_root(path: &str) -> bool {
    let mut depth = 0_usize;
    path.split('/').any(|part| {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
        false
    })
}

/// An entry in the words of the API.
pub fn shown(info: Info) -> FileInfo {
    let modified = jiff::Timestamp::new(info.modified_secs, info.modified_nanos as i32).ok();
    FileInfo {
        is_dir: info.kind == EntryKind::Directory,
        kind: match info.kind {
            EntryKind::File => "file",
            EntryKind::Directory => "dir",
            EntryKind::Symlink => "symlink",
            EntryKind::Other => "other",
        }
        .into(),
        mode: Some(format!("{:04o}", info.mode)),
        permissions: Some(letters(info.mode)),
        modified_time: modified.map(|m| Timestamp(m.to_string())),
        name: info.name,
        path: info.path,
        size: info.size,
        owner: Some(info.owner),
        group: Some(info.group),
        symlink_target: info.symlink_target,
    }
}

/// Permission bits as `ls` shows them, without the kind of the entry.
pub fn letters(mode: u32) -> String {
    let mut letters: Vec<u8> = (0..9)
        .map(|at| {
            if mode & (0o400 >> at) != 0 {
                b"rwx"[at % 3]
            } else {
                b'-'
            }
        })
        .collect();
    for (bit, at, set) in [(0o4000, 2, b's'), (0o2000, 5, b's'), (0o1000, 8, b't')] {
        if mode & bit != 0 {
            letters[at] = if letters[at] == b'x' {
                set
            } else {
                set.to_ascii_uppercase()
            };
        }
    }
    letters.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_shown_as_ls_does() {
        for (mode, text) in [
            (0o644, "rw-r--r--"),
            (0o4755, "rwsr-xr-x"),
            (0o2640, "rw-r-S---"),
            (0o1777, "rwxrwxrwt"),
        ] {
            assert_eq!(letters(mode), text);
        }
    }

    #[test]
    fn a_path_may_step_up_as_far_as_the_root() {
        for good in ["/", "/a/../b", "/a/./..", "/a/b/../.."] {
            assert!(!leaves_root(good), "{good}");
        }
        for bad in ["/..", "/a/../../b", "/./../a"] {
            assert!(leaves_root(bad), "{bad}");
        }
    }
}
