//! Changes of a file or below a directory, by inotify.
//!
//! A watch follows its path, not the inode that was there when it began: editors, and the engine's own writes, save by
//! renaming a new file over the old one. The path is looked at whenever its inode is told to change and, for what is not
//! told (a directory above it was renamed), once in a while.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::{retry_on_intr, Errno};

use super::serve::Session;
use super::text::shown;
use super::{Event, EventKind, Fault, Reply, Result};

/// Directories of one watch at most.
const MOST_DIRECTORIES: usize = 8192;
/// Names remembered at most, so that a file renamed over another one is told as a change of it. Beyond them it is told
/// as a new one.
const MOST_NAMES: usize = 100_000;
/// How often a path is looked at without a reason, and while nothing is there.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_WHILE_GONE: Duration = Duration::from_millis(50);
/// How long a directory may be gone before its watch ends. A file may be gone as long as its directory is there.
const GONE: Duration = Duration::from_secs(1);
const MASK: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::EXCL_UNLINK);

/// Reports until the other side closes or the watched path is gone.
pub(super) fn run(session: &mut Session, path: &Path, recursive: bool) {
    let root = PathBuf::from(path);
    let mut watch = match Watch::begin(root, recursive) {
        Ok(watch) => watch,
        Err(fault) => return drop(session.send(&Reply::Fault(fault), None)),
    };
    if session.send(&Reply::Done, None).is_err() {
        return;
    }
    while let Ok(ready) = wait(session, &watch.inotify, watch.patience()) {
        let events = match ready {
            Ready::Closed => return,
            Ready::Changes => watch.read(),
            Ready::Nothing => Ok(watch.look(None)),
        };
        let events = events.unwrap_or_else(|error| vec![Reply::Fault(Fault::at(&watch.root, &error))]);
        for event in events {
            let is_last = matches!(event, Reply::Fault(_));
            if session.send(&event, None).is_err() || is_last {
                return;
            }
        }
    }
}

/// What waiting came to.
enum Ready {
    /// There are changes to read.
    Changes,
    /// The time is over.
    Nothing,
    /// The other side has closed.
    Closed,
}

fn wait(session: &Session, inotify: &OwnedFd, patience: Duration) -> io::Result<Ready> {
    let patience = Timespec {
        tv_sec: patience.as_secs() as i64,
        tv_nsec: patience.subsec_nanos().into(),
    };
    let mut entries = [
        PollFd::new(inotify, PollFlags::IN),
        PollFd::from_borrowed_fd(session.channel(), PollFlags::IN),
    ];
    match retry_on_intr(|| poll(&mut entries, Some(&patience)))? {
        0 => Ok(Ready::Nothing),
        // A watched session takes no more requests, so that anything to read is its end.
        _ if !entries[1].revents().is_empty() => Ok(Ready::Closed),
        _ => Ok(Ready::Changes),
    }
}

struct Watch {
    inotify: Rc<OwnedFd>,
    root: PathBuf,
    recursive: bool,
    /// Watch number of what is at the path; `None` while nothing is.
    at: Option<i32>,
    /// Whether a directory is, or was, at the path.
    is_directory: bool,
    gone_since: Instant,
    /// What is watched, by watch number.
    watched: HashMap<i32, Watched>,
    /// How many names all directories have together.
    names: usize,
}

struct Watched {
    path: PathBuf,
    /// What is in a directory, as far as it is known.
    names: HashSet<OsString>,
}

impl Watch {
    fn begin(root: PathBuf, recursive: bool) -> Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|error| Fault::at(&root, &error.into()))?;
        let mut watch = Self {
            inotify: Rc::new(inotify),
            root,
            recursive,
            at: None,
            is_directory: false,
            gone_since: Instant::now(),
            watched: HashMap::new(),
            names: 0,
        };
        watch.begin_at_root(&mut |_| {})?;
        Ok(watch)
    }

    /// Watches what is at the path now, and tells of what is in it.
    fn begin_at_root(&mut self, tell: &mut dyn FnMut(&Path)) -> Result<()> {
        let root = self.root.clone();
        let number = self.add(&root)?;
        self.at = Some(number);
        self.is_directory = root.is_dir();
        if self.is_directory {
            self.add_content(number, &root, tell)?;
        }
        Ok(())
    }

    /// How long to wait for changes before the path is looked at.
    fn patience(&self) -> Duration {
        match self.at {
            Some(_) => LOOK,
            None => LOOK_WHILE_GONE,
        }
    }

    /// The watch number of an inode stays the same, and no other one gets it.
    fn number(&self, path: &Path) -> io::Result<i32> {
        Ok(inotify::add_watch(&self.inotify, path, MASK)?)
    }

    fn add(&mut self, path: &Path) -> Result<i32> {
        if self.watched.len() >= MOST_DIRECTORIES {
            let text =
                format!("more than {MOST_DIRECTORIES} directories: watch one with fewer, or not recursively");
            return Err(Fault::new(libc::ENOSPC, text));
        }
        let number = self.number(path).map_err(|e| Fault::at(path, &e))?;
        let watched = Watched {
            path: path.to_path_buf(),
            names: HashSet::new(),
        };
        if let Some(old) = self.watched.insert(number, watched) {
            self.names -= old.names.len();
        }
        Ok(number)
    }

    /// Notes what is in a watched directory and tells of it; if asked for, all directories below are watched too.
    fn add_content(&mut self, number: i32, directory: &Path, tell: &mut dyn FnMut(&Path)) -> Result<()> {
        let mut waiting = vec![(number, directory.to_path_buf())];
        while let Some((number, directory)) = waiting.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                self.note(number, &entry.file_name());
                tell(&path);
                if self.recursive && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    match self.add(&path) {
                        Err(fault) if fault.errno == libc::ENOSPC => return Err(fault),
                        // Gone again, or not to be read: then there is nothing to report from it either.
                        Err(_) => {}
                        Ok(number) => waiting.push((number, path)),
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes a name in a directory; whether it was known.
    fn note(&mut self, number: i32, name: &OsStr) -> bool {
        let Some(watched) = self.watched.get_mut(&number) else {
            return false;
        };
        if watched.names.contains(name) {
            return true;
        }
        if self.names < MOST_NAMES {
            self.names += 1;
            watched.names.insert(name.to_owned());
        }
        false
    }

    fn forget_name(&mut self, number: i32, name: &OsStr) {
        if self
            .watched
            .get_mut(&number)
            .is_some_and(|watched| watched.names.remove(name))
        {
            self.names -= 1;
        }
    }

    /// Forgets a directory that was moved away, with all below it: its old path would be wrong.
    fn forget(&mut self, directory: &Path) {
        let mut forgotten = 0;
        self.watched.retain(|number, watched| {
            let is_below = watched.path.starts_with(directory);
            if is_below {
                forgotten += watched.names.len();
                let _ = inotify::remove_watch(&self.inotify, *number);
            }
            !is_below
        });
        self.names -= forgotten;
    }

    /// Looks at the path: is what is there still what is watched? `gone`: how its end was told, if it was.
    fn look(&mut self, gone: Option<EventKind>) -> Vec<Reply> {
        let root = self.root.clone();
        let now = self.number(&root);
        if self.at.is_some() && now.as_ref().ok() == self.at.as_ref() {
            return Vec::new();
        }
        let was_there = self.at.take().is_some();
        self.forget(&root);
        match now {
            // Nothing was watched at that number, or it was forgotten just now: watched anew.
            Ok(_) => self.follow(was_there),
            Err(_) if was_there => {
                self.gone_since = Instant::now();
                vec![Reply::Event(self.event(gone.unwrap_or(EventKind::Remove), &root))]
            }
            Err(error) => self.wait_for_return(&error),
        }
    }

    /// Something else is at the path now.
    fn follow(&mut self, was_there: bool) -> Vec<Reply> {
        let (root, was_directory) = (self.root.clone(), self.is_directory);
        let mut found = Vec::new();
        if let Err(fault) = self.begin_at_root(&mut |path| found.push(path.to_path_buf())) {
            if fault.errno != libc::ENOENT {
                return vec![Reply::Fault(fault)];
            }
            self.gone_since = Instant::now();
            return Vec::new();
        }
        let kind = match was_there {
            false => EventKind::Create,
            true if was_directory || self.is_directory => EventKind::Resync,
            true => EventKind::Write,
        };
        let mut told = vec![Reply::Event(self.event(kind, &root))];
        if kind == EventKind::Create {
            told.extend(found.iter().map(|path| Reply::Event(self.event(kind, path))));
        }
        told
    }

    /// Nothing is at the path, as before.
    fn wait_for_return(&self, error: &io::Error) -> Vec<Reply> {
        let may_return = match self.is_directory {
            true => self.gone_since.elapsed() < GONE,
            false => self.root.parent().is_some_and(Path::is_dir),
        };
        let is_gone = matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR));
        if !is_gone {
            return vec![Reply::Fault(Fault::at(&self.root, error))];
        }
        if may_return {
            return Vec::new();
        }
        let text = format!("{}: the watched path is gone", shown(&self.root));
        vec![Reply::Fault(Fault::new(libc::ENOENT, text))]
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
            name: shown(name),
            path: shown(path),
        }
    }

    /// What has happened since the last time. Repetitions in a row are told once.
    fn read(&mut self) -> io::Result<Vec<Reply>> {
        let mut buffer = [MaybeUninit::uninit(); 64 << 10];
        let mut reader = Reader::new(self.inotify.clone(), &mut buffer);
        let mut told = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => self.take(&event, &mut told),
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
            if reader.is_buffer_empty() {
                break;
            }
        }
        told.dedup();
        Ok(told)
    }

    fn take(&mut self, event: &inotify::Event<'_>, told: &mut Vec<Reply>) {
        let (number, flags) = (event.wd(), event.events());
        let name = event.file_name().map_or(&[][..], |name| name.to_bytes());
        let name = OsStr::from_bytes(name);
        let is = |flag: ReadFlags| flags.intersects(flag);
        if is(ReadFlags::QUEUE_OVERFLOW) {
            told.push(Reply::Event(self.event(EventKind::Resync, &self.root)));
            // Directories that were made meanwhile are not watched yet.
            let root = self.root.clone();
            self.forget(&root);
            self.at = None;
            self.gone_since = Instant::now();
            let begun = self.begin_at_root(&mut |_| {});
            told.extend(
                begun
                    .err()
                    .filter(|fault| fault.errno != libc::ENOENT)
                    .map(Reply::Fault),
            );
            return;
        }
        let Some(directory) = self.watched.get(&number).map(|watched| watched.path.clone()) else {
            return;
        };
        let is_root = self.at == Some(number);
        if is_root && name.is_empty() {
            // Also a changed count of links says that another file may be at the path.
            let gone = if is(ReadFlags::MOVE_SELF) {
                EventKind::Rename
            } else {
                EventKind::Remove
            };
            if is(ReadFlags::IGNORED) {
                self.at = None;
                self.forget(&directory);
                self.gone_since = Instant::now();
                told.push(Reply::Event(self.event(gone, &directory)));
            }
            told.extend(self.look(Some(gone)));
            if self.at != Some(number) {
                return;
            }
        }
        if is(ReadFlags::IGNORED) {
            if let Some(old) = self.watched.remove(&number) {
                self.names -= old.names.len();
            }
            return;
        }
        if is(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF) {
            return; // a directory below is told of by the one above it
        }
        let path = if name.is_empty() {
            directory
        } else {
            directory.join(name)
        };
        let is_overwritten = match () {
            () if is(ReadFlags::CREATE | ReadFlags::MOVED_TO) => {
                self.note(number, name) && is(ReadFlags::MOVED_TO) && !is(ReadFlags::ISDIR)
            }
            () if is(ReadFlags::MOVED_FROM | ReadFlags::DELETE) => {
                self.forget_name(number, name);
                false
            }
            () => false,
        };
        let kind = match () {
            () if is_overwritten => EventKind::Write,
            () if is(ReadFlags::CREATE | ReadFlags::MOVED_TO) => EventKind::Create,
            () if is(ReadFlags::MOVED_FROM) => EventKind::Rename,
            () if is(ReadFlags::DELETE) => EventKind::Remove,
            () if is(ReadFlags::MODIFY) => EventKind::Write,
            () => EventKind::Attributes,
        };
        told.push(Reply::Event(self.event(kind, &path)));
        if !(self.recursive && is(ReadFlags::ISDIR)) {
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
                .and_then(|number| self.add_content(number, &path, &mut |p| found.push(p.to_path_buf())));
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
