//! Changes below a directory, by inotify.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::serve::Session;
use super::{Event, EventKind, Fault, Reply, Result};

/// Directories of one watch at most.
const MOST_DIRECTORIES: usize = 8192;
const MASK: u32 = libc::IN_CREATE
    | libc::IN_MODIFY
    | libc::IN_DELETE
    | libc::IN_DELETE_SELF
    | libc::IN_MOVED_FROM
    | libc::IN_MOVED_TO
    | libc::IN_MOVE_SELF
    | libc::IN_ATTRIB
    | libc::IN_EXCL_UNLINK;

/// Reports until the other side closes or the watched path is gone.
pub(super) fn run(session: &mut Session, path: &str, recursive: bool) {
    let root = PathBuf::from(path);
    let mut watch = match Watch::begin(root, recursive) {
        Ok(watch) => watch,
        Err(fault) => return drop(session.send(&Reply::Fault(fault), None)),
    };
    if session.send(&Reply::Done, None).is_err() {
        return;
    }
    while let Ok(true) = wait(session, &watch.inotify) {
        let events = match watch.read() {
            Ok(events) => events,
            Err(error) => vec![Reply::Fault(Fault::at(&watch.root, &error))],
        };
        for event in events {
            let is_last = matches!(event, Reply::Fault(_));
            if session.send(&event, None).is_err() || is_last {
                return;
            }
        }
    }
}

/// Waits for changes; `false` = the other side has closed.
fn wait(session: &Session, inotify: &OwnedFd) -> io::Result<bool> {
    let entry = |fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let mut entries = [entry(inotify.as_raw_fd()), entry(session.channel())];
    loop {
        // SAFETY: two entries, which live longer than the call.
        if unsafe { libc::poll(entries.as_mut_ptr(), 2, -1) } > 0 {
            // A watched session takes no more requests, so that anything to read is its end.
            return Ok(entries[1].revents == 0);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

struct Watch {
    inotify: OwnedFd,
    root: PathBuf,
    recursive: bool,
    /// Directories by watch number.
    paths: HashMap<i32, PathBuf>,
}

impl Watch {
    fn begin(root: PathBuf, recursive: bool) -> Result<Self> {
        // SAFETY: the descriptor is new and owned by nothing else.
        let inotify = unsafe {
            let fd = libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK);
            if fd < 0 {
                return Err(Fault::at(&root, &io::Error::last_os_error()));
            }
            OwnedFd::from_raw_fd(fd)
        };
        let mut watch = Self {
            inotify,
            root: root.clone(),
            recursive,
            paths: HashMap::new(),
        };
        watch.add(&root)?;
        if recursive {
            watch.add_below(&root, &mut |_| {})?;
        }
        Ok(watch)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        if self.paths.len() >= MOST_DIRECTORIES {
            let text =
                format!("more than {MOST_DIRECTORIES} directories: watch one with fewer, or not recursively");
            return Err(Fault::new(libc::ENOSPC, text));
        }
        let text = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Fault::new(libc::EINVAL, "a path with a NUL character"))?;
        // SAFETY: the path is a C string.
        let number = unsafe { libc::inotify_add_watch(self.inotify.as_raw_fd(), text.as_ptr(), MASK) };
        if number < 0 {
            return Err(Fault::at(path, &io::Error::last_os_error()));
        }
        self.paths.insert(number, path.to_path_buf());
        Ok(())
    }

    /// Watches all directories below one, and tells of everything that is there.
    fn add_below(&mut self, directory: &Path, tell: &mut dyn FnMut(&Path)) -> Result<()> {
        let mut waiting = vec![directory.to_path_buf()];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                tell(&path);
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    match self.add(&path) {
                        Err(fault) if fault.errno == libc::ENOSPC => return Err(fault),
                        // Gone again, or not to be read: then there is nothing to report from it either.
                        Err(_) => {}
                        Ok(()) => waiting.push(path),
                    }
                }
            }
        }
        Ok(())
    }

    /// Forgets a directory that was moved away, with all below it: its old path would be wrong.
    fn forget(&mut self, directory: &Path) {
        let inotify = self.inotify.as_raw_fd();
        self.paths.retain(|number, path| {
            let is_below = path.starts_with(directory);
            if is_below {
                // SAFETY: plain numbers.
                unsafe { libc::inotify_rm_watch(inotify, *number) };
            }
            !is_below
        });
    }

    fn event(&self, kind: EventKind, path: &Path) -> Event {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        let name = if below.as_os_str().is_empty() {
            Path::new(path.file_name().unwrap_or_default())
        } else {
            below
        };
        Event {
            kind,
            name: name.to_string_lossy().into_owned(),
            path: path.to_string_lossy().into_owned(),
        }
    }

    /// What has happened since the last time. Repetitions in a row are told once.
    fn read(&mut self) -> io::Result<Vec<Reply>> {
        let mut buffer = [0u8; 64 << 10];
        // SAFETY: pointer and length are those of `buffer`.
        let len = unsafe { libc::read(self.inotify.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        let len = match usize::try_from(len) {
            Ok(len) => len,
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return Err(io::Error::last_os_error()),
        };
        let mut rest = &buffer[..len];
        let mut told = Vec::new();
        while rest.len() >= size_of::<libc::inotify_event>() {
            // SAFETY: there are enough bytes, and any bytes are such an event.
            let event: libc::inotify_event =
                unsafe { rest.as_ptr().cast::<libc::inotify_event>().read_unaligned() };
            let end = size_of::<libc::inotify_event>() + event.len as usize;
            let name = &rest[size_of::<libc::inotify_event>()..end];
            let name = name.split(|b| *b == 0).next().unwrap_or_default();
            self.take(&event, std::ffi::OsStr::from_bytes(name), &mut told);
            rest = &rest[end..];
        }
        told.dedup();
        Ok(told)
    }

    fn take(&mut self, event: &libc::inotify_event, name: &std::ffi::OsStr, told: &mut Vec<Reply>) {
        let is = |flag: u32| event.mask & flag != 0;
        if is(libc::IN_Q_OVERFLOW) {
            told.push(Reply::Event(self.event(EventKind::Resync, &self.root)));
            return;
        }
        let Some(directory) = self.paths.get(&event.wd).cloned() else {
            return;
        };
        if is(libc::IN_IGNORED) {
            self.paths.remove(&event.wd);
            return;
        }
        let is_self = is(libc::IN_DELETE_SELF | libc::IN_MOVE_SELF);
        if is_self {
            // A directory below is told of by the one above it.
            if directory == self.root {
                let kind = if is(libc::IN_MOVE_SELF) {
                    EventKind::Rename
                } else {
                    EventKind::Remove
                };
                told.push(Reply::Event(self.event(kind, &directory)));
                let text = format!("{}: the watched path is gone", directory.display());
                told.push(Reply::Fault(Fault::new(libc::ENOENT, text)));
            }
            return;
        }
        let path = if name.is_empty() {
            directory
        } else {
            directory.join(name)
        };
        let kind = match () {
            () if is(libc::IN_CREATE | libc::IN_MOVED_TO) => EventKind::Create,
            () if is(libc::IN_MOVED_FROM) => EventKind::Rename,
            () if is(libc::IN_DELETE) => EventKind::Remove,
            () if is(libc::IN_MODIFY) => EventKind::Write,
            () => EventKind::Attributes,
        };
        told.push(Reply::Event(self.event(kind, &path)));
        if !(self.recursive && is(libc::IN_ISDIR)) {
            return;
        }
        if kind == EventKind::Rename {
            self.forget(&path);
        }
        if kind == EventKind::Create {
            // What was made in it before it was watched is told of now, perhaps twice: better than not at all.
            let mut found = Vec::new();
            let added = self
                .add(&path)
                .and_then(|()| self.add_below(&path, &mut |p| found.push(p.to_path_buf())));
            told.extend(
                found
                    .iter()
                    .map(|p| Reply::Event(self.event(EventKind::Create, p))),
            );
            if let Err(fault) = added.map_err(|f| (f.errno == libc::ENOSPC).then_some(f)) {
                told.extend(fault.map(Reply::Fault));
            }
        }
    }
}
