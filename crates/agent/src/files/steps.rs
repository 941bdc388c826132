//! Single steps, as programs take them with system calls, for clients that work on files piece by piece (SFTP). Unlike the
//! other operations they make no directory above a path, replace no file as a whole, and keep files open in between.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, ReadDir};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, RenameFlags, Timespec, Timestamps, Uid, CWD};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::names::Names;
use super::text::{meant, shown};
use super::write::{check_allowed, follow};
use super::{Fault, Result};

/// Files and directories that a session may have open at once.
pub const MOST_HANDLES: usize = 256;
/// Bytes of one `ReadAt` at most; more asked for are not given.
pub const LARGEST_PIECE: u32 = 255 << 10;
/// Entries of one `Next` at most: they fit a packet of SFTP, however long their names are.
pub const MOST_ENTRIES: usize = 64;

/// What to do. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// Opens a regular file. Answered with `Handle`.
    Open {
        /// File; symlinks are followed.
        path: String,
        /// What for.
        how: How,
        /// Permission bits of a new file, less the mask.
        mode: u32,
    },
    /// Opens a directory. Answered with `Handle`.
    OpenDirectory {
        /// Directory.
        path: String,
    },
    /// Closes what is open. Answered with `Done`.
    Close {
        /// From `Handle`.
        handle: u64,
    },
    /// Reads. Answered with `Bytes`, which are none at the end of the file only.
    ReadAt {
        /// From `Handle`.
        handle: u64,
        /// Where.
        offset: u64,
        /// How many at most.
        length: u32,
    },
    /// Writes. Answered with `Done`.
    WriteAt {
        /// From `Handle`.
        handle: u64,
        /// Where; a file that was opened to append is written at its end.
        offset: u64,
        /// What.
        bytes: ByteBuf,
    },
    /// Waits until the disk has the file. Answered with `Done`.
    Sync {
        /// From `Handle`.
        handle: u64,
    },
    /// The next entries of a directory. Answered with `Entries`, which are none at the end only.
    Next {
        /// From `Handle`.
        handle: u64,
    },
    /// Looks at something. Answered with `Look`.
    Look {
        /// At what.
        at: Spot,
    },
    /// Changes what is said here and nothing else. Answered with `Done`.
    Change {
        /// Of what.
        at: Spot,
        /// Its length.
        size: Option<u64>,
        /// Permission bits, twelve.
        mode: Option<u32>,
        /// Of the last access and of the last change, seconds since 1970.
        times: Option<(i64, i64)>,
        /// User and group.
        owner: Option<(u32, u32)>,
    },
    /// Makes one directory. Answered with `Done`.
    MakeDirectory {
        /// Directory.
        path: String,
        /// Permission bits, less the mask.
        mode: u32,
    },
    /// Removes what is no directory. Answered with `Done`.
    RemoveFile {
        /// File.
        path: String,
    },
    /// Removes an empty directory. Answered with `Done`.
    RemoveDirectory {
        /// Directory.
        path: String,
    },
    /// Renames within a file system; what is there already is not replaced. Answered with `Done`.
    RenameToNew {
        /// Old path.
        from: String,
        /// New path.
        to: String,
    },
    /// Gives a file another name. Answered with `Done`.
    Link {
        /// File.
        from: String,
        /// Its other name.
        to: String,
    },
    /// The path without symlinks; its last part may not be there yet. Answered with `Path`.
    Resolve {
        /// Path.
        path: String,
    },
    /// Room of a file system. Answered with `Space`.
    Space {
        /// Something on it.
        path: String,
    },
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct How {
    /// To read.
    pub read: bool,
    /// To write.
    pub write: bool,
    /// To write at its end.
    pub append: bool,
    /// Made when it is not there.
    pub create: bool,
    /// With `create`: an error when it is there.
    pub is_new: bool,
    /// Emptied.
    pub truncate: bool,
}

/// What is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Spot {
    /// Where a path leads.
    Path(String),
    /// What has the path; a symlink itself.
    Link(String),
    /// What is open.
    Handle(u64),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Stepped {
    /// It is done.
    Done,
    /// Names what is open now.
    Handle(u64),
    /// Content.
    Bytes(ByteBuf),
    /// Entries of a directory.
    Entries(Vec<Entry>),
    /// What something is.
    Look(Look),
    /// A path.
    Path(String),
    /// Room.
    Space(Space),
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// A symlink itself.
    pub look: Look,
}

/// What something is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Kind and permissions.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// Names that it has.
    pub links: u64,
    /// Number of the owner.
    pub user: u32,
    /// And of the group.
    pub group: u32,
    /// Name of the owner, or number.
    pub user_name: String,
    /// Name of the group, or number.
    pub group_name: String,
    /// Last access, seconds since 1970.
    pub accessed: i64,
    /// Last change of the content, seconds since 1970.
    pub modified: i64,
}

/// Room of a file system, in the words of statvfs(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "statvfs(3) says it")]
pub struct Space {
    pub block_size: u64,
    pub fragment_size: u64,
    pub blocks: u64,
    pub blocks_free: u64,
    pub blocks_available: u64,
    pub files: u64,
    pub files_free: u64,
    pub files_available: u64,
    pub id: u64,
    pub flags: u64,
    pub longest_name: u64,
}

/// What a session has open.
#[derive(Default)]
pub(super) struct Handles {
    open: HashMap<u64, Open>,
    /// Numbers are not used twice: one that was closed stays wrong.
    next: u64,
}

struct Open {
    path: PathBuf,
    what: What,
}

enum What {
    File(File),
    Directory(ReadDir),
}

impl Open {
    fn fault(&self, error: &io::Error) -> Fault {
        Fault::at(&self.path, error)
    }

    fn file(&self) -> Result<&File> {
        match &self.what {
            What::File(file) => Ok(file),
            What::Directory(_) => Err(self.fault(&io::Error::from_raw_os_error(libc::EISDIR))),
        }
    }
}

fn done(path: &Path, result: io::Result<()>) -> Result<Stepped> {
    result.map_err(|e| Fault::at(path, &e))?;
    Ok(Stepped::Done)
}

impl Handles {
    pub(super) fn step(&mut self, names: &Names, step: Step) -> Result<Stepped> {
        match step {
            Step::Open { path, how, mode } => {
                let path = meant(&path);
                self.check_room(&path)?;
                let file = open(&path, how, mode)?;
                Ok(self.keep(&path, What::File(file)))
            }
            Step::OpenDirectory { path } => {
                let path = meant(&path);
                self.check_room(&path)?;
                let entries = fs::read_dir(&path).map_err(|e| Fault::at(&path, &e))?;
                Ok(self.keep(&path, What::Directory(entries)))
            }
            Step::Close { handle } => match self.open.remove(&handle) {
                Some(_) => Ok(Stepped::Done),
                None => Err(unknown()),
            },
            Step::ReadAt {
                handle,
                offset,
                length,
            } => {
                let open = self.find(handle)?;
                let mut bytes = vec![0; length.min(LARGEST_PIECE) as usize];
                let read = read_full(open.file()?, &mut bytes, offset).map_err(|e| open.fault(&e))?;
                bytes.truncate(read);
                Ok(Stepped::Bytes(bytes.into()))
            }
            Step::WriteAt {
                handle,
                offset,
                bytes,
            } => {
                let open = self.find(handle)?;
                let written = open.file()?.write_all_at(&bytes, offset);
                written.map_err(|e| open.fault(&e))?;
                Ok(Stepped::Done)
            }
            Step::Sync { handle } => {
                let open = self.find(handle)?;
                open.file()?.sync_all().map_err(|e| open.fault(&e))?;
                Ok(Stepped::Done)
            }
            Step::Next { handle } => self.entries(names, handle),
            Step::Look { at } => {
                let (path, found) = match &at {
                    Spot::Path(path) => (meant(path), fs::metadata(meant(path))),
                    Spot::Link(path) => (meant(path), fs::symlink_metadata(meant(path))),
                    Spot::Handle(handle) => {
                        let open = self.find(*handle)?;
                        (open.path.as_path().into(), open.file()?.metadata())
                    }
                };
                let metadata = found.map_err(|e| Fault::at(path, &e))?;
                Ok(Stepped::Look(look(names, &metadata)))
            }
            Step::Change {
                at,
                size,
                mode,
                times,
                owner,
            } => self.change(&at, size, mode, times, owner),
            Step::MakeDirectory { path, mode } => {
                let path = meant(&path);
                check_allowed(&path)?;
                done(&path, DirBuilder::new().mode(mode & 0o7777).create(&path))
            }
            Step::RemoveFile { path } => {
                let path = meant(&path);
                check_allowed(&path)?;
                done(&path, fs::remove_file(&path))
            }
            Step::RemoveDirectory { path } => {
                let path = meant(&path);
                check_allowed(&path)?;
                done(&path, fs::remove_dir(&path))
            }
            Step::RenameToNew { from, to } => {
                let (from, to) = (meant(&from), meant(&to));
                check_allowed(&from)?;
                check_allowed(&to)?;
                rename_to_new(&from, &to)
            }
            Step::Link { from, to } => {
                let (from, to) = (meant(&from), meant(&to));
                check_allowed(&from)?;
                check_allowed(&to)?;
                done(&to, fs::hard_link(&from, &to))
            }
            Step::Resolve { path } => {
                let path = meant(&path);
                let real = resolve(&path).map_err(|e| Fault::at(&path, &e))?;
                Ok(Stepped::Path(shown(real)))
            }
            Step::Space { path } => space(&meant(&path)),
        }
    }

    /// Asked before anything is opened: what has no room must make or empty no file.
    fn check_room(&self, path: &Path) -> Result<()> {
        if self.open.len() < MOST_HANDLES {
            return Ok(());
        }
        let text = format!(
            "{}: {MOST_HANDLES} files are open already: close some",
            shown(path)
        );
        Err(Fault::new(libc::EMFILE, text))
    }

    fn keep(&mut self, path: &Path, what: What) -> Stepped {
        let handle = self.next;
        self.next += 1;
        let path = path.into();
        self.open.insert(handle, Open { path, what });
        Stepped::Handle(handle)
    }

    fn find(&self, handle: u64) -> Result<&Open> {
        self.open.get(&handle).ok_or_else(unknown)
    }

    fn entries(&mut self, names: &Names, handle: u64) -> Result<Stepped> {
        let open = self.open.get_mut(&handle).ok_or_else(unknown)?;
        let What::Directory(entries) = &mut open.what else {
            let error = io::Error::from_raw_os_error(libc::ENOTDIR);
            return Err(Fault::at(&open.path, &error));
        };
        let mut found = Vec::new();
        while found.len() < MOST_ENTRIES {
            let Some(entry) = entries.next() else { break };
            let entry = entry.map_err(|e| Fault::at(&open.path, &e))?;
            // What is gone by now is left out.
            let Ok(metadata) = entry.metadata() else { continue };
            found.push(Entry {
                name: shown(entry.file_name()),
                look: look(names, &metadata),
            });
        }
        Ok(Stepped::Entries(found))
    }

    fn change(
        &self,
        at: &Spot,
        size: Option<u64>,
        mode: Option<u32>,
        times: Option<(i64, i64)>,
        owner: Option<(u32, u32)>,
    ) -> Result<Stepped> {
        let times = times.map(|(access, modification)| Timestamps {
            last_access: seconds(access),
            last_modification: seconds(modification),
        });
        let owner =
            owner.map(|(user, group)| (Uid::from_raw_unchecked(user), Gid::from_raw_unchecked(group)));
        let mode = mode.map(|mode| Mode::from_raw_mode(mode & 0o7777));
        let (path, flags) = match at {
            Spot::Path(path) => (meant(path), AtFlags::empty()),
            Spot::Link(path) => (meant(path), AtFlags::SYMLINK_NOFOLLOW),
            Spot::Handle(handle) => {
                let open = self.find(*handle)?;
                let file = open.file()?;
                let changed = || {
                    size.map_or(Ok(()), |size| file.set_len(size))?;
                    // The owner first: the kernel takes away bits that lend the rights of the one before.
                    owner.map_or(Ok(()), |(user, group)| {
                        rustix::fs::fchown(file, Some(user), Some(group))
                    })?;
                    mode.map_or(Ok(()), |mode| rustix::fs::fchmod(file, mode))?;
                    times.map_or(Ok(()), |times| rustix::fs::futimens(file, &times))?;
                    Ok(())
                };
                changed().map_err(|e: io::Error| open.fault(&e))?;
                return Ok(Stepped::Done);
            }
        };
        let path = &*path;
        check_allowed(path)?;
        let changed = || {
            if let Some(size) = size {
                let flags =
                    libc::O_NONBLOCK | libc::O_NOCTTY | if flags.is_empty() { 0 } else { libc::O_NOFOLLOW };
                OpenOptions::new()
                    .write(true)
                    .custom_flags(flags)
                    .open(path)?
                    .set_len(size)?;
            }
            if let Some((user, group)) = owner {
                rustix::fs::chownat(CWD, path, Some(user), Some(group), flags)?;
            }
            if let Some(mode) = mode {
                rustix::fs::chmodat(CWD, path, mode, flags)?;
            }
            if let Some(times) = times {
                rustix::fs::utimensat(CWD, path, &times, flags)?;
            }
            Ok(())
        };
        done(path, changed())
    }
}

fn unknown() -> Fault {
    Fault::new(libc::EBADF, "no such handle: it was never open, or it was closed")
}

/// Opens a regular file. Whether it is one is known once it is open, so nothing is emptied and no pipe waited for before.
fn open(path: &Path, how: How, mode: u32) -> Result<File> {
    let fault = |e: io::Error| Fault::at(path, &e);
    let is_written = how.write || how.append;
    if is_written {
        check_allowed(&follow(path)?)?;
    }
    let mut options = OpenOptions::new();
    options
        .read(how.read || !is_written)
        .write(is_written)
        .append(how.append)
        .mode(mode & 0o7777)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    if how.create && is_written {
        options.create(!how.is_new).create_new(how.is_new);
    }
    let file = options.open(path).map_err(fault)?;
    let kind = file.metadata().map_err(fault)?.file_type();
    if kind.is_dir() {
        return Err(fault(io::Error::from_raw_os_error(libc::EISDIR)));
    }
    if !kind.is_file() {
        return Err(Fault::new(
            libc::EINVAL,
            format!("{}: is no regular file", shown(path)),
        ));
    }
    if how.truncate && is_written {
        file.set_len(0).map_err(fault)?;
    }
    Ok(file)
}

/// As much as there is: less than asked for is what clients take for the end.
fn read_full(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if filled == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(filled)
}

fn resolve(path: &Path) -> io::Result<PathBuf> {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            Ok(parent.canonicalize()?.join(name))
        }
        (found, ..) => found,
    }
}

fn rename_to_new(from: &Path, to: &Path) -> Result<Stepped> {
    let renamed = match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot see to it; a directory that would go into itself is refused again.
        Err(Errno::INVAL) if fs::symlink_metadata(to).is_err() => fs::rename(from, to),
        renamed => renamed.map_err(io::Error::from),
    };
    // It does not say which of the two is meant.
    let is_old = fs::symlink_metadata(from).is_err();
    done(if is_old { from } else { to }, renamed)
}

fn look(names: &Names, metadata: &Metadata) -> Look {
    Look {
        mode: metadata.mode(),
        size: metadata.len(),
        links: metadata.nlink(),
        user: metadata.uid(),
        group: metadata.gid(),
        user_name: names.user(metadata.uid()),
        group_name: names.group(metadata.gid()),
        accessed: metadata.atime(),
        modified: metadata.mtime(),
    }
}

fn seconds(seconds: i64) -> Timespec {
    Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    }
}

fn space(path: &Path) -> Result<Stepped> {
    let found = rustix::fs::statvfs(path).map_err(|e| Fault::at(path, &e.into()))?;
    Ok(Stepped::Space(Space {
        block_size: found.f_bsize,
        fragment_size: found.f_frsize,
        blocks: found.f_blocks,
        blocks_free: found.f_bfree,
        blocks_available: found.f_bavail,
        files: found.f_files,
        files_free: found.f_ffree,
        files_available: found.f_favail,
        id: found.f_fsid,
        flags: found.f_flag.bits(),
        longest_name: found.f_namemax,
    }))
}
