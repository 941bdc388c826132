//! Removal of directories that machines wrote into.
//!
//! A machine may have left directories in each other by the ten thousand, flags that keep files, and more files than a
//! caller has time for. So what is to go is moved into a [`Trash`], which is quick, and a thread empties that; what cannot
//! be removed stays there, where it stops nothing, and is tried again.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nullspace_agent::trees::{rename_by_force, Removal};
use rustix::process::setpriority_process;

/// How long to wait before what could not be removed is tried again.
const NEXT_TRY: Duration = Duration::from_secs(600);
/// How much machines come before the removal of what others left: the niceness of its thread.
const NICENESS: i32 = 10;

/// Removes a directory and all in it, and waits for that; one that is not there is no error.
pub fn directory(path: &Path) -> io::Result<()> {
    let removal = Removal {
        by_force: true,
        is_over: None,
    };
    match removal.run(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// A directory whose content is being removed. What an earlier engine left in it goes too.
pub struct Trash {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

struct Shared {
    directory: PathBuf,
    is_over: AtomicBool,
    /// Whether something came since the last look.
    more: Mutex<bool>,
    changed: Condvar,
}

impl Trash {
    /// Begins to empty a directory, which need not be there yet. It must be on the file system of what it takes.
    pub fn new(directory: PathBuf) -> Self {
        let shared = Arc::new(Shared {
            directory,
            is_over: AtomicBool::new(false),
            more: Mutex::new(true),
            changed: Condvar::new(),
        });
        let works = shared.clone();
        let worker = std::thread::Builder::new()
            .name("trash".to_owned())
            .spawn(move || works.run());
        if let Err(error) = &worker {
            tracing::warn!(%error, "what is removed takes room until the next start: no thread for it");
        }
        Self {
            shared,
            worker: worker.ok(),
        }
    }

    /// Takes a directory away from its place; its removal follows. One that is not there is no error.
    pub fn take(&self, path: &Path) -> io::Result<()> {
        match self.shared.take(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // From another file system, or there is no room for another name: then it takes as long as it takes.
            Err(_) => directory(path),
            Ok(()) => Ok(()),
        }
    }
}

impl Drop for Trash {
    /// The next start goes on where this one stops.
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.shared.notify();
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn notify(&self) {
        *self.more.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    fn take(&self, path: &Path) -> io::Result<()> {
        path.symlink_metadata()?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        rename_by_force(
            path,
            &self.directory.join(uuid::Uuid::new_v4().simple().to_string()),
        )?;
        self.notify();
        Ok(())
    }

    fn run(&self) {
        // Without a number: this thread.
        let _ = setpriority_process(None, NICENESS);
        let mut told = BTreeSet::new();
        while !self.is_over.load(Ordering::Acquire) {
            let mut more = self.more.lock().unwrap_or_else(PoisonError::into_inner);
            if !*more {
                // Also woken by time alone: what could not be removed may be removed now.
                let waited = self.changed.wait_timeout(more, NEXT_TRY);
                more = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            *more = false;
            drop(more);
            self.empty(&mut told);
        }
    }

    /// Removes what is there now. What cannot be removed is told once.
    fn empty(&self, told: &mut BTreeSet<OsString>) {
        let is_over = || self.is_over.load(Ordering::Acquire);
        let removal = Removal {
            by_force: true,
            is_over: Some(&is_over),
        };
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            if is_over() {
                return;
            }
            match removal.run(&entry.path()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
                Err(error) => {
                    if told.insert(entry.file_name()) {
                        let path = entry.path();
                        tracing::warn!(path = %path.display(), %error, "cannot be removed now; it is tried again");
                    }
                }
                Ok(()) => {
                    told.remove(&entry.file_name());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[track_caller]
    fn until(what: &str, condition: impl Fn() -> bool) {
        let begun = Instant::now();
        while !condition() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "not within 20 s: {what}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn entries(path: &Path) -> usize {
        fs::read_dir(path).map_or(0, Iterator::count)
    }

    #[test]
    fn what_is_taken_is_away_at_once_and_removed_soon() {
        let place = tempfile::tempdir().unwrap();
        let trash = Trash::new(place.path().join("trash"));
        fs::create_dir_all(place.path().join("one/below")).unwrap();
        fs::write(place.path().join("one/below/file"), "").unwrap();
        trash.take(&place.path().join("one")).unwrap();
        assert!(!place.path().join("one").exists());
        until("the trash is empty", || entries(&place.path().join("trash")) == 0);
        trash.take(&place.path().join("none")).unwrap();
    }

    #[test]
    fn a_removal_that_was_cut_short_goes_on_at_the_next_start() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("trash/left/below")).unwrap();
        fs::write(place.path().join("trash/file"), "").unwrap();
        let trash = Trash::new(place.path().join("trash"));
        until("the trash is empty", || entries(&place.path().join("trash")) == 0);
        drop(trash);
    }

    #[test]
    fn what_cannot_be_removed_keeps_nothing_else_from_it() {
        use rustix::mount::{mount, unmount, MountFlags, UnmountFlags};
        let place = tempfile::tempdir().unwrap();
        let held = place.path().join("trash/held/mounted");
        fs::create_dir_all(&held).unwrap();
        fs::create_dir_all(place.path().join("trash/other")).unwrap();
        if let Err(error) = mount("t", &held, "tmpfs", MountFlags::empty(), None) {
            eprintln!("skipped: nothing can be mounted here: {error}");
            return;
        }
        fs::write(held.join("file"), "of another file system").unwrap();
        let trash = Trash::new(place.path().join("trash"));
        until("the other one is removed", || {
            !place.path().join("trash/other").exists()
        });
        fs::create_dir(place.path().join("later")).unwrap();
        trash.take(&place.path().join("later")).unwrap();
        until("the later one is removed", || {
            entries(&place.path().join("trash")) == 1
        });
        let stays = fs::read_to_string(held.join("file"));
        unmount(&held, UnmountFlags::empty()).unwrap();
        assert_eq!(stays.unwrap(), "of another file system");
        drop(trash);
        let _next = Trash::new(place.path().join("trash"));
        until("the next start removes it", || {
            entries(&place.path().join("trash")) == 0
        });
    }
}
