//! What survives a restart: one SQLite file in the state directory.
//!
//! - [`machines`]: machines and the list query
//! - [`keys`]: answers kept for idempotency keys
//! - [`documents`]: snapshots, warm pools and templates, few and small
//! - [`templates`]: names, tags and claims of templates; [`builds`]: their builds, logs, cache and files
//! - [`events`]: lifecycle events
//! - [`webhooks`]: lifecycle webhooks; [`webhooks_queue`]: their deliveries
//!
//! The store knows ids, states and filters; what else a row holds is JSON text that the room above writes and reads.

pub mod builds;
pub mod documents;
pub mod events;
pub mod keys;
pub mod machines;
pub mod templates;
pub mod webhooks;
pub mod webhooks_queue;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another engine process holds the directory.
    #[error(
        "{} is in use by another nullspace-engine{holder}: stop it, or give this one its own directory with --state",
        directory.display()
    )]
    Locked {
        /// The state directory.
        directory: PathBuf,
        /// ` (pid N)` when the holder wrote its number.
        holder: String,
    },
    /// The directory cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// What was opened.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// SQLite failed.
    #[error("the state database failed: {0}")]
    Database(#[from] rusqlite::Error),
    /// The file was made by a newer engine.
    #[error("the state database has version {found}, this engine knows {known}: use a newer engine or another --state")]
    Newer {
        /// Version of the file.
        found: u32,
        /// Version of this engine.
        known: u32,
    },
    /// The store was closed while it was asked.
    #[error("the state database is closed")]
    Closed,
}

/// What the store answers.
pub type Result<T> = std::result::Result<T, StoreError>;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// An open state directory. One thread owns the connection; jobs run in the order they were sent.
pub struct Store {
    jobs: mpsc::Sender<Job>,
    directory: PathBuf,
    is_durable: bool,
    /// Holds the lock until the store is dropped.
    _lock: File,
}

/// A job that was sent. It runs whether or not this is awaited.
#[must_use]
pub struct Sent<T>(oneshot::Receiver<rusqlite::Result<T>>);

impl<T> Sent<T> {
    /// Waits for the job.
    pub async fn done(self) -> Result<T> {
        Ok(self.0.await.map_err(|_| StoreError::Closed)??)
    }
}

/// Version of the database that this engine writes.
const VERSION: u32 = 3;
/// Each step brings the file from its index to the next version (`PRAGMA user_version`).
const MIGRATIONS: [&str; VERSION as usize] = [
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
];

impl Store {
    /// Opens (and makes) the state directory, takes its lock and brings the database to this version.
    pub fn open(directory: &Path) -> Result<Self> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::File { path, source }
        };
        make_private_directory(directory).map_err(failed(directory))?;
        let lock = take_lock(directory)?;
        let file = directory.join("state.sqlite");
        // Made first, so that SQLite never creates it with wider rights: it holds traffic tokens and environments.
        private()
            .create(true)
            .append(true)
            .open(&file)
            .map_err(failed(&file))?;
        let mut connection = Connection::open(&file)?;
        prepare(&mut connection)?;
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                while let Ok(job) = queue.recv() {
                    job(&mut connection);
                }
            })
            .map_err(failed(&file))?;
        Ok(Self {
            jobs,
            directory: directory.to_owned(),
            is_durable: true,
            _lock: lock,
        })
    }

    /// Waits for no disk: an end of the engine still loses nothing, a power cut the last moments, but not the file.
    #[must_use]
    pub fn fast(mut self) -> Self {
        self.is_durable = false;
        // Nobody waits for it: the jobs behind it do.
        let _ = self.send(|connection| connection.pragma_update(None, "synchronous", "NORMAL"));
        self
    }

    /// Whether what is stored outlives a power cut.
    pub fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// The state directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Sends a job. The order of sending is the order of running, so a caller that must not be overtaken sends
    /// while it holds its lock and waits after giving it back.
    pub fn send<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Sent<T> {
        let (answer, receiver) = oneshot::channel();
        // A closed queue drops the job and with it `answer`: the waiter learns `Closed`.
        let _ = self.jobs.send(Box::new(move |connection| {
            let _ = answer.send(job(connection));
        }));
        Sent(receiver)
    }

    /// Sends a job and waits for it.
    pub async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.send(job).done().await
    }
}

fn private() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Makes the state directory. One that was there may be open to others to look at, since what it holds is closed one by
/// one; but who may write to it could put something else in the place of that.
fn make_private_directory(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let mode = std::fs::metadata(directory)?.permissions().mode();
    if mode & 0o022 == 0 {
        return Ok(());
    }
    if mode & 0o1000 != 0 {
        let text = "everybody may write to it: give a directory of its own with --state";
        return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, text));
    }
    std::fs::set_permissions(directory, PermissionsExt::from_mode(mode & 0o7755))
}

/// How long another holder of a directory is waited for.
const LOCK_PATIENCE: Duration = Duration::from_millis(400);

fn take_lock(directory: &Path) -> Result<File> {
    let path = directory.join("engine.lock");
    let failed = |source| StoreError::File {
        path: path.clone(),
        source,
    };
    let mut file = private()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    // A program that the last holder was just starting has a copy of the descriptor, for a moment.
    let begun = Instant::now();
    let locked = loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(LOCK_PATIENCE / 20);
            }
            tried => break tried,
        }
    };
    match locked {
        Ok(()) => {
            file.set_len(0).map_err(failed)?;
            file.rewind().map_err(failed)?;
            write!(file, "{}", std::process::id()).map_err(failed)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = (&mut file).take(16).read_to_string(&mut text);
            let holder = text.parse::<u32>().map(|pid| format!(" (pid {pid})"));
            Err(StoreError::Locked {
                directory: directory.to_owned(),
                holder: holder.unwrap_or_default(),
            })
        }
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn prepare(connection: &mut Connection) -> Result<()> {
    // WAL with FULL: what is committed is on the disk. See `fast`.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > VERSION {
        return Err(StoreError::Newer {
            found,
            known: VERSION,
        });
    }
    for (version, step) in (1..).zip(MIGRATIONS).skip(found as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

/// An open, empty database in memory, for the tests of this room.
#[cfg(test)]
pub(crate) fn in_memory() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    prepare(&mut connection).unwrap();
    connection
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_engine_on_the_same_directory_is_told_who_holds_it() {
        let directory = tempfile::tempdir().unwrap();
        let first = Store::open(directory.path()).unwrap();
        let error = Store::open(directory.path()).err().unwrap().to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        assert!(error.contains("--state"), "{error}");
        drop(first);
        Store::open(directory.path()).unwrap();
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_closed_to_them_or_refused() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let set = |mode| std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(mode)).unwrap();
        for (mode, left) in [(0o777, 0o755), (0o775, 0o755), (0o755, 0o755), (0o700, 0o700)] {
            set(mode);
            drop(Store::open(directory.path()).unwrap());
            let found = std::fs::metadata(directory.path()).unwrap().permissions().mode();
            assert_eq!(found & 0o7777, left, "{mode:o}");
        }
        set(0o1777);
        let error = Store::open(directory.path()).err().unwrap().to_string();
        assert!(error.contains("--state"), "{error}");
    }

    #[test]
    fn a_database_of_a_newer_engine_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        drop(Store::open(directory.path()).unwrap());
        let file = Connection::open(directory.path().join("state.sqlite")).unwrap();
        file.pragma_update(None, "user_version", 99).unwrap();
        drop(file);
        assert!(matches!(
            Store::open(directory.path()),
            Err(StoreError::Newer { found: 99, .. })
        ));
    }

    #[test]
    fn only_the_owner_can_read_the_state() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("state");
        let _store = Store::open(&directory).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join("state.sqlite")), 0o600);
    }
}
