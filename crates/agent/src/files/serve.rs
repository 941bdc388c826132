//! One session: frames in, frames and descriptors out.

use std::fs::{self, File, Metadata};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{lchown, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::{fstatfs, memfd_create, FsWord, MemfdFlags, Mode, PROC_SUPER_MAGIC};
use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::umask;

use super::names::{self, Names};
use super::steps::Handles;
use super::text::{meant, shown};
use super::write::{self, New};
use super::{
    relocate, search, watch, EntryKind, Fault, Info, Op, Reply, Result, LARGEST_LIST, LARGEST_REPLY,
    LARGEST_REQUEST, OTHER_USERS,
};
use crate::trees::Removal;

/// Bytes of a file of `/proc` or `/sys` at most.
const LARGEST_PSEUDO_FILE: u64 = 4 << 20;

/// Answers requests until the other side closes. The calling process must be the user whose rights count.
pub fn serve(channel: UnixStream) {
    run(channel, Names::load());
}

/// The same for the files of a volume, which knows no users.
pub fn serve_volume(channel: UnixStream) {
    run(channel, Names::of_no_machine());
}

fn run(channel: UnixStream, names: Names) {
    // This process makes no files but those of requests.
    umask(Mode::from_raw_mode(0o022));
    let mut session = Session::new(channel, names);
    while let Ok(Some(op)) = session.receive() {
        let sent = match op {
            Op::Watch { path, recursive } => return watch::run(&mut session, &meant(&path), recursive),
            op => {
                let (reply, fd) = session
                    .run(op)
                    .unwrap_or_else(|fault| (Reply::Fault(fault), None));
                session.send(&reply, fd)
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Answers every request with why there is nothing to be had. The calling process may be anybody.
pub fn refuse(channel: UnixStream, why: &str) {
    let mut session = Session::new(channel, Names::of_no_machine());
    while let Ok(Some(_)) = session.receive() {
        let refusal = Reply::Fault(Fault::new(libc::EPERM, why));
        if session.send(&refusal, None).is_err() {
            return;
        }
    }
}

pub(super) struct Session {
    channel: UnixStream,
    pub(super) names: Names,
    /// Content that is being written; dropping one removes it.
    new: Vec<Option<New>>,
    handles: Handles,
}

type Outcome = Result<(Reply, Option<OwnedFd>)>;

fn plain(reply: Reply) -> Outcome {
    Ok((reply, None))
}

impl Session {
    fn new(channel: UnixStream, names: Names) -> Self {
        Self {
            channel,
            names,
            new: Vec::new(),
            handles: Handles::default(),
        }
    }

    fn run(&mut self, op: Op) -> Outcome {
        match op {
            Op::Home => plain(Reply::Text(names::home())),
            Op::Info { path } => plain(Reply::Info(self.info(&meant(&path))?)),
            Op::Exists { path } => match fs::symlink_metadata(meant(&path)) {
                Ok(_) => plain(Reply::Is(true)),
                Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
                    plain(Reply::Is(false))
                }
                Err(e) => Err(Fault::at(meant(&path), &e)),
            },
            Op::List { path, depth } => plain(Reply::List(self.list(&meant(&path), depth)?)),
            Op::MakeDirectory { path } => {
                write::make_directories(&meant(&path))?;
                plain(Reply::Done)
            }
            Op::Remove { path } => {
                remove(&meant(&path))?;
                plain(Reply::Done)
            }
            Op::Rename { from, to } => {
                let (from, to) = (meant(&from), meant(&to));
                let (from, to) = (&*from, &*to);
                write::check_allowed(from)?;
                write::check_allowed(to)?;
                match fs::rename(from, to) {
                    Ok(()) => {}
                    // Another file system: a volume, /dev/shm.
                    Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                        relocate::relocate(self, from, to)?;
                    }
                    Err(error) => {
                        // It does not say which of the two is meant.
                        let is_old = fs::symlink_metadata(from).is_err();
                        return Err(Fault::at(if is_old { from } else { to }, &error));
                    }
                }
                plain(Reply::Info(self.info(to)?))
            }
            Op::SetMode { path, mode } => {
                let path = meant(&path);
                write::check_allowed(&path)?;
                let permissions = fs::Permissions::from_mode(mode & 0o7777);
                fs::set_permissions(&path, permissions).map_err(|e| Fault::at(&path, &e))?;
                plain(Reply::Done)
            }
            Op::SetOwner { path, user, group } => {
                let path = meant(&path);
                write::check_allowed(&path)?;
                lchown(&path, Some(user), Some(group)).map_err(|error| match error.raw_os_error() {
                    Some(libc::EINVAL) => {
                        let path = shown(path.as_os_str());
                        Fault::new(
                            libc::EPERM,
                            format!("{path} cannot be given to {user}:{group} here. {OTHER_USERS}"),
                        )
                    }
                    _ => Fault::at(&path, &error),
                })?;
                plain(Reply::Done)
            }
            Op::Symlink { target, path } => {
                let path = meant(&path);
                write::check_allowed(&path)?;
                std::os::unix::fs::symlink(meant(&target), &path).map_err(|e| Fault::at(&path, &e))?;
                plain(Reply::Done)
            }
            Op::Read { path } => {
                let path = meant(&path);
                let (file, size) = open_to_read(&path)?;
                let metadata = file.metadata().map_err(|e| Fault::at(&path, &e))?;
                let mut info = self.describe(&path, &metadata);
                info.size = size;
                Ok((Reply::Info(info), Some(file.into())))
            }
            Op::Create { path } => {
                let new = New::begin(&meant(&path))?;
                let fd = new.descriptor()?;
                let reply = Reply::Created {
                    token: self.new.len() as u32,
                    exists: new.exists(),
                };
                self.new.push(Some(new));
                Ok((reply, Some(fd)))
            }
            Op::Commit { token, replace, mode } => {
                let path = self.take(token)?.commit(replace, mode)?;
                plain(Reply::Info(self.info(&path)?))
            }
            Op::Abort { token } => {
                drop(self.take(token)?);
                plain(Reply::Done)
            }
            Op::Find { path, pattern } => plain(Reply::Matches(search::find(self, &meant(&path), &pattern)?)),
            Op::Search { path, pattern } => {
                plain(Reply::Paths(search::search(self, &meant(&path), &pattern)?))
            }
            Op::Replace {
                files,
                pattern,
                replacement,
                dry_run,
            } => plain(Reply::Replaced(match dry_run {
                true => search::count_in(&files, &pattern)?,
                false => search::replace(&files, &pattern, &replacement)?,
            })),
            Op::Step(step) => plain(Reply::Stepped(self.handles.step(&self.names, step)?)),
            Op::Watch { .. } => Err(Fault::new(libc::EINVAL, "watching ends the session")),
        }
    }

    fn take(&mut self, token: u32) -> Result<New> {
        let slot = self.new.get_mut(token as usize).and_then(Option::take);
        slot.ok_or_else(|| Fault::new(libc::EBADF, "no such new content"))
    }

    fn info(&self, path: &Path) -> Result<Info> {
        let metadata = fs::symlink_metadata(path).map_err(|e| Fault::at(path, &e))?;
        Ok(self.describe(path, &metadata))
    }

    fn describe(&self, path: &Path, metadata: &Metadata) -> Info {
        let kind = metadata.file_type();
        let target = || fs::read_link(path).ok().map(shown);
        Info {
            name: path.file_name().map_or("/".into(), shown),
            path: shown(path),
            kind: match () {
                () if kind.is_dir() => EntryKind::Directory,
                () if kind.is_symlink() => EntryKind::Symlink,
                () if kind.is_file() => EntryKind::File,
                () => EntryKind::Other,
            },
            size: metadata.len(),
            mode: metadata.mode() & 0o7777,
            owner: self.names.user(metadata.uid()),
            group: self.names.group(metadata.gid()),
            modified_secs: metadata.mtime(),
            modified_nanos: metadata.mtime_nsec() as u32,
            symlink_target: kind.is_symlink().then(target).flatten(),
        }
    }

    fn list(&self, path: &Path, depth: u32) -> Result<Vec<Info>> {
        let mut found = Vec::new();
        let mut waiting = vec![(path.to_path_buf(), 0)];
        while let Some((directory, level)) = waiting.pop() {
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                // Below the directory that was asked for, what cannot be read or is gone by now is left out.
                Err(_) if level > 0 => continue,
                Err(error) => return Err(Fault::at(directory, &error)),
            };
            for entry in entries.flatten() {
                let path = entry.path();
                let Ok(info) = self.info(&path) else { continue };
                if info.kind == EntryKind::Directory && level < depth {
                    waiting.push((path, level + 1));
                }
                found.push(info);
                if found.len() > LARGEST_LIST {
                    let text = format!(
                        "more than {LARGEST_LIST} entries: list with less depth, or a directory below"
                    );
                    return Err(Fault::new(libc::EOVERFLOW, text));
                }
            }
            if self.is_abandoned() {
                return Err(Fault::new(libc::ECANCELED, "nobody waits for the list"));
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Whether the other side has gone: what takes long asks now and then.
    pub(super) fn is_abandoned(&self) -> bool {
        let mut waiting = [PollFd::new(&self.channel, PollFlags::RDHUP)];
        let is_ready = poll(&mut waiting, Some(&Timespec::default())).is_ok();
        is_ready && !waiting[0].revents().is_empty()
    }

    pub(super) fn channel(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// The next request; `None` at the end.
    fn receive(&mut self) -> io::Result<Option<Op>> {
        let mut len = [0; 4];
        match self.channel.read_exact(&mut len) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let len = u32::from_le_bytes(len) as usize;
        if len > LARGEST_REQUEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut frame = vec![0; len];
        self.channel.read_exact(&mut frame)?;
        postcard::from_bytes(&frame)
            .map(Some)
            .map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// Sends an answer, the descriptor with its first byte.
    pub(super) fn send(&mut self, reply: &Reply, fd: Option<OwnedFd>) -> io::Result<()> {
        let encode = |reply: &Reply| {
            postcard::to_allocvec(reply).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
        };
        let mut body = encode(reply)?;
        if body.len() > LARGEST_REPLY {
            let text = "the answer is too large: ask for less at once";
            body = encode(&Reply::Fault(Fault::new(libc::EOVERFLOW, text)))?;
        }
        let mut frame = (body.len() as u32).to_le_bytes().to_vec();
        frame.append(&mut body);
        let sent = match fd {
            Some(fd) => send_with(&self.channel, &frame, fd.as_fd())?,
            None => 0,
        };
        self.channel.write_all(&frame[sent..])
    }
}

/// Sends some bytes, at least one, with a descriptor.
fn send_with(channel: &UnixStream, bytes: &[u8], fd: BorrowedFd<'_>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let passed = [fd];
    control.push(SendAncillaryMessage::ScmRights(&passed));
    let bytes = [IoSlice::new(bytes)];
    Ok(sendmsg(channel, &bytes, &mut control, SendFlags::NOSIGNAL)?)
}

fn remove(path: &Path) -> Result<()> {
    write::check_allowed(path)?;
    remove_tree(path).map_err(|e| Fault::at(path, &e))
}

/// Removes a file, or a directory with all that is in it.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    Removal::default().run(path)
}

/// A regular file to read, and its size. What the kernel makes up on reading is read here, so that the engine reads
/// no file whose content depends on who reads it.
fn open_to_read(path: &Path) -> Result<(File, u64)> {
    let fault = |e: io::Error| Fault::at(path, &e);
    let file = open_without_waiting(path).map_err(fault)?;
    let metadata = file.metadata().map_err(fault)?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Err(Fault::at(path, &io::Error::from_raw_os_error(libc::EISDIR)));
    }
    if !kind.is_file() || kind.is_char_device() {
        return Err(Fault::new(
            libc::EINVAL,
            format!("{}: is no regular file", shown(path)),
        ));
    }
    if is_made_up(&file) {
        let mut copy = memory_file().map_err(fault)?;
        let size = io::copy(&mut file.take(LARGEST_PSEUDO_FILE), &mut copy).map_err(fault)?;
        copy.seek(SeekFrom::Start(0)).map_err(fault)?;
        return Ok((copy, size));
    }
    Ok((file, metadata.len()))
}

/// Opens a file of the machine to read. What was a file a moment ago may be a pipe now, and opening that would wait for
/// its writer for ever.
pub(super) fn open_without_waiting(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
}

/// Number of `/sys`. Source: statfs(2).
const SYSFS_MAGIC: FsWord = 0x6265_6572;

fn is_made_up(file: &File) -> bool {
    fstatfs(file).map_or(true, |found| {
        [PROC_SUPER_MAGIC, SYSFS_MAGIC].contains(&found.f_type)
    })
}

fn memory_file() -> io::Result<File> {
    Ok(memfd_create("", MemfdFlags::CLOEXEC)?.into())
}

/// `path`, or what is nearest above it and exists, without symlinks; and the parts that do not exist.
pub(super) fn nearest(path: &Path) -> (PathBuf, PathBuf) {
    let mut missing = PathBuf::new();
    let mut at = path;
    loop {
        if let Ok(real) = at.canonicalize() {
            return (real, missing);
        }
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else {
            return (PathBuf::from("/"), missing);
        };
        missing = if missing.as_os_str().is_empty() {
            name.into()
        } else {
            Path::new(name).join(missing)
        };
        at = parent;
    }
}
