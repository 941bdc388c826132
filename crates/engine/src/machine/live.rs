//! A machine that has processes, as the engine holds it in memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nullspace_wire::machine::{MachineInfo, MachineStatus};
use tokio::sync::{Notify, RwLock};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::isolation::{Running, Secrets};
use crate::machine::code::Code;
use crate::machine::commands::processes::Processes;
use crate::machine::commands::terminals::Terminals;
use crate::machine::ground::status::{self, Rules};
use crate::machine::ground::sync::lock;
use crate::machine::ground::{clock, Error, Kind, Result};
use crate::machine::life::lease::{Deadline, Why};
use crate::machine::monitoring::metrics::Sampler;
use crate::machine::network::previews::Previews;
use crate::machine::records::record::Record;
use crate::store::{machines, Sent, Store};

/// A machine that is being made, runs or is paused.
pub struct Machine {
    /// `mch_...`
    pub id: String,
    record: Mutex<Record>,
    running: Mutex<Option<Arc<dyn Running>>>,
    /// For its gateway, and for those of its forks.
    pub secrets: Secrets,
    /// Held by whoever changes the machine's state: one at a time.
    turn: tokio::sync::Mutex<()>,
    /// Shared by starts of processes, exclusive while the machine is frozen or thawed, so that no start is sent to a
    /// machine that cannot answer.
    pub gate: RwLock<()>,
    times: Mutex<Times>,
    /// Requests and sockets that keep the machine from being idle.
    busy: AtomicUsize,
    /// Wakes the supervisor after a change of the lease.
    pub changed: Notify,
    /// Cancelled once the machine is destroyed or dead.
    pub gone: CancellationToken,
    /// Commands.
    pub processes: Processes,
    /// Terminals.
    pub terminals: Terminals,
    /// Contexts and runs of the code interpreter.
    pub code: Code,
    /// Ports that are reached from outside.
    pub previews: Previews,
    /// Processor use between two looks.
    pub sampler: Sampler,
}

/// Moments on the monotonic clock, from which deadlines are counted.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// Start of the lease.
    leased: Instant,
    /// Last activity.
    active: Instant,
    /// Start of the pause.
    paused: Option<Instant>,
}

/// Keeps a machine from being idle; its end counts as activity too.
pub struct Busy(Arc<Machine>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.touch();
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_one();
    }
}

impl Machine {
    /// Takes a machine that is being made into memory.
    pub fn new(record: Record, secrets: Secrets, logs: std::path::PathBuf) -> Arc<Self> {
        let now = clock::instant();
        Arc::new(Self {
            id: record.id.clone(),
            record: Mutex::new(record),
            running: Mutex::new(None),
            secrets,
            turn: tokio::sync::Mutex::new(()),
            gate: RwLock::new(()),
            times: Mutex::new(Times {
                leased: now,
                active: now,
                paused: None,
            }),
            busy: AtomicUsize::new(0),
            changed: Notify::new(),
            gone: CancellationToken::new(),
            processes: Processes::new(logs),
            terminals: Terminals::default(),
            code: Code::default(),
            previews: Previews::default(),
            sampler: Sampler::new(),
        })
    }

    /// Waits for the turn to change the machine's state.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Takes the turn, or says that another change is under way.
    pub fn try_turn(&self) -> Result<tokio::sync::MutexGuard<'_, ()>> {
        if self.gone.is_cancelled() {
            return Err(self.not_ready());
        }
        self.turn.try_lock().map_err(|_| {
            Error::new(
                Kind::TransitionInProgress,
                format!("another change of machine {} is under way", self.id),
            )
            .with_action("repeat the call in a moment")
        })
    }

    /// Looks at the record.
    pub fn read<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&lock(&self.record))
    }

    /// Where the machine is in its life.
    pub fn status(&self) -> MachineStatus {
        self.read(|r| r.status)
    }

    /// Changes the record and stores it. Changes are stored in the order in which they were made.
    pub async fn update(&self, store: &Store, change: impl FnOnce(&mut Record)) -> Result<()> {
        self.update_with(store, change, |_| Ok(())).await
    }

    /// Changes the record and stores it together with what `also` writes, or neither.
    pub async fn update_with(
        &self,
        store: &Store,
        change: impl FnOnce(&mut Record),
        also: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<()> {
        let sent = self.change(change, |record| {
            let (id, status, json) = (record.id.clone(), status::name(record.status), record.to_json());
            store.send(move |connection| {
                let transaction = connection.transaction()?;
                machines::update(&transaction, &id, status, &json)?;
                also(&transaction)?;
                transaction.commit()
            })
        });
        Ok(sent.done().await?)
    }

    /// Changes the record and sends it to be stored. Under the lock: a later change cannot overtake this one.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut Record),
        send: impl FnOnce(&Record) -> Sent<T>,
    ) -> Sent<T> {
        let mut record = lock(&self.record);
        change(&mut record);
        send(&record)
    }

    /// Changes the record in memory only.
    pub fn set(&self, change: impl FnOnce(&mut Record)) {
        change(&mut lock(&self.record));
    }

    /// The started machine.
    pub fn running(&self) -> Result<Arc<dyn Running>> {
        lock(&self.running).clone().ok_or_else(|| self.not_ready())
    }

    /// Puts the started machine in, or takes it out.
    pub fn set_running(&self, running: Option<Arc<dyn Running>>) -> Option<Arc<dyn Running>> {
        std::mem::replace(&mut *lock(&self.running), running)
    }

    /// Why the machine does not answer commands.
    pub fn not_ready(&self) -> Error {
        let (status, message) = self.read(|r| (r.status, r.error_message.clone()));
        not_ready(&self.id, status, message)
    }

    /// What `GET` shows.
    pub fn info(&self) -> MachineInfo {
        let remaining = self.remaining().map(|left| left.as_millis() as u64);
        self.read(|record| record.info(remaining))
    }

    /// Notes activity.
    pub fn touch(&self) {
        lock(&self.times).active = clock::instant();
        self.set(|record| record.last_active_at = Some(clock::now()));
    }

    /// Notes activity and keeps the machine from being idle meanwhile.
    pub fn busy(self: &Arc<Self>) -> Busy {
        self.touch();
        self.busy.fetch_add(1, Ordering::AcqRel);
        Busy(self.clone())
    }

    /// Starts the lease anew, counted from now.
    pub fn renew(&self) {
        lock(&self.times).leased = clock::instant();
    }

    /// Notes the begin or the end of a pause. At its end the lease and the idle time start anew.
    pub fn set_paused(&self, is_paused: bool) {
        let now = clock::instant();
        let mut times = lock(&self.times);
        if is_paused {
            times.paused = Some(now);
        } else {
            *times = Times {
                leased: now,
                active: now,
                paused: None,
            };
        }
    }

    /// What is left of the lease; `None` while it does not run.
    pub fn remaining(&self) -> Option<Duration> {
        let (status, length) = self.read(|r| (r.status, Duration::from_millis(r.lease.timeout_ms)));
        if !status.can_exec() {
            return None;
        }
        Some(length.saturating_sub(clock::instant().saturating_duration_since(lock(&self.times).leased)))
    }

    /// The next moment at which the lease asks for something.
    pub fn deadline(&self) -> Option<Deadline> {
        let times = *lock(&self.times);
        let is_busy = self.busy.load(Ordering::Acquire) > 0;
        self.read(|record| {
            let after = |from: Instant, ms: u64, why| Deadline {
                at: from + Duration::from_millis(ms),
                why,
            };
            match record.status {
                MachineStatus::Running => {
                    let lease = after(times.leased, record.lease.timeout_ms, Why::Timeout);
                    let idle = record
                        .lease
                        .inactivity_timeout_ms
                        .filter(|_| !is_busy)
                        .map(|ms| after(times.active, ms, Why::Idle));
                    Some(idle.filter(|idle| idle.at < lease.at).unwrap_or(lease))
                }
                MachineStatus::Paused => {
                    let limit = record.lease.auto_delete_after_ms?;
                    Some(after(times.paused?, limit, Why::AutoDelete))
                }
                _ => None,
            }
        })
    }
}

/// Why a machine in this state does not answer commands.
pub fn not_ready(id: &str, status: MachineStatus, error_message: Option<String>) -> Error {
    let (why, action, retryable) = match status {
        MachineStatus::Paused => ("is paused".to_owned(), "resume it first (connect does)", false),
        MachineStatus::Creating => (
            "is still being made".to_owned(),
            "repeat the call in a moment",
            true,
        ),
        MachineStatus::Error => {
            let text = error_message.unwrap_or_else(|| "it ended".into());
            (format!("is dead: {text}"), "make another machine", false)
        }
        MachineStatus::Running => ("is changing".to_owned(), "repeat the call in a moment", true),
        MachineStatus::Destroyed => return Error::no_machine(id),
    };
    Error::new(Kind::MachineNotReady, format!("machine {id} {why}"))
        .with_action(action)
        .retryable(retryable)
}
