//! One warm pool: its settings, its ready machines, and who gets them.
//!
//! Ready machines are no machines of the user yet: lists do not show them, and they end with the engine.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use nullspace_wire::machine::MachineConfig;
use nullspace_wire::warm_pool::{CheckoutMode, DegradedReason, PoolCounts, PoolState, WarmPool};
use nullspace_wire::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::refill::{self, ReadyMachine, Wanted};
use super::terms::{Resolved, Terms};
use crate::isolation::Running;
use crate::machine::commands::start_command::StartCommand;
use crate::machine::ground::clock;
use crate::machine::ground::sync::lock;
use crate::machine::templates::Template;

/// First wait after a failed start; doubles up to [`LONGEST_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// Settings of a pool, as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::machine) struct Settings {
    #[serde(flatten)]
    pub terms: Terms,
    pub template: Template,
    pub claimed: u32,
}

impl Settings {
    /// Gives other terms to it. Machines that are not what they ask for are replaced.
    pub fn change(&mut self, terms: Terms, template: Template) {
        let is_other = terms.resources != self.terms.resources || template != self.template;
        let generation = self.terms.generation + u64::from(is_other);
        self.terms = Terms { generation, ..terms };
        self.template = template;
    }
}

/// The machine that somebody wants from a pool.
pub(in crate::machine) struct Wish<'a> {
    pub config: &'a MachineConfig,
    pub layers: &'a [String],
    pub whole_root: bool,
    pub start: Option<&'a StartCommand>,
}

/// A started machine that nobody has yet.
#[derive(Clone)]
pub struct Ready {
    /// `mch_...`, which it keeps.
    pub id: String,
    /// The machine.
    pub running: Arc<dyn Running>,
    /// Its size.
    pub config: MachineConfig,
    generation: u64,
    since: Instant,
}

/// What the controller shall do now.
pub(super) struct Step {
    /// Machines to start.
    pub start: usize,
    /// Machines to end.
    pub stop: Vec<Ready>,
    /// When to look again even if nothing changes.
    pub wake: Option<Instant>,
    /// Of machines started now.
    pub generation: u64,
}

/// A pool in memory.
pub struct Pool {
    /// `twp_...`
    pub id: String,
    settings: Mutex<Settings>,
    members: Mutex<Members>,
    /// Wakes the controller.
    pub changed: Notify,
    /// Wakes who waits for a ready machine.
    arrived: Notify,
}

#[derive(Default)]
struct Members {
    ready: VecDeque<Ready>,
    warming: u32,
    draining: u32,
    failed: u32,
    expired: u32,
    unavailable: u32,
    failures_in_a_row: u32,
    retry_at: Option<Instant>,
    degraded: Option<DegradedReason>,
    last_reconciled_at: Option<Timestamp>,
}

impl Pool {
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            id: settings.terms.id.clone(),
            settings: Mutex::new(settings),
            members: Mutex::default(),
            changed: Notify::new(),
            arrived: Notify::new(),
        })
    }

    /// Looks at the settings.
    pub(in crate::machine) fn read<T>(&self, look: impl FnOnce(&Settings) -> T) -> T {
        look(&lock(&self.settings))
    }

    /// Changes the settings, in memory.
    pub(super) fn set<T>(&self, change: impl FnOnce(&mut Settings) -> T) -> T {
        let changed = change(&mut lock(&self.settings));
        self.changed.notify_one();
        self.arrived.notify_waiters();
        changed
    }

    /// What a create without a mode does.
    pub fn checkout_policy(&self) -> CheckoutMode {
        self.read(|s| s.terms.checkout_policy)
    }

    /// Size of its machines.
    pub fn config(&self) -> MachineConfig {
        self.read(|s| s.terms.config())
    }

    /// What keeps a machine of this pool from being what was asked for; the name of the option.
    pub(in crate::machine) fn obstacle(&self, wanted: &Wish) -> Option<String> {
        self.read(|s| {
            let own = s.terms.config();
            let same_files = s.template.layers == wanted.layers
                && s.template.whole_root == wanted.whole_root
                && s.template.start.as_ref() == wanted.start;
            let differs = [
                ("template", !same_files),
                ("vcpus", own.vcpus != wanted.config.vcpus),
                ("memory_mb", own.memory_mb != wanted.config.memory_mb),
                ("disk_mb", own.disk_mb != wanted.config.disk_mb),
            ];
            differs
                .iter()
                .find(|(_, differs)| *differs)
                .map(|(name, _)| (*name).to_owned())
        })
    }

    /// Takes the machine that has been ready longest; waits for one if there is none. `None` after the wait, or at
    /// once from a pool that does not serve.
    pub async fn take(&self, wait: Duration) -> Option<Ready> {
        let until = Instant::now() + wait;
        loop {
            // Registered before the look, so that an arrival between the two is not missed.
            let mut arrived = std::pin::pin!(self.arrived.notified());
            arrived.as_mut().enable();
            let (state, generation) = self.read(|s| (s.terms.state, s.terms.generation));
            if state != PoolState::Enabled {
                return None;
            }
            if let Some(ready) = self.pop(generation) {
                return Some(ready);
            }
            if wait.is_zero() {
                return None;
            }
            tokio::time::timeout_at(until, arrived).await.ok()?;
        }
    }

    fn pop(&self, generation: u64) -> Option<Ready> {
        let mut members = lock(&self.members);
        while let Some(ready) = members.ready.pop_front() {
            // Older ones and dead ones end when they are dropped here.
            if ready.generation != generation {
                continue;
            }
            if ready.running.ended().now_or_never().is_some() {
                members.unavailable += 1;
                continue;
            }
            drop(members);
            self.set(|s| s.claimed = s.claimed.saturating_add(1));
            return Some(ready);
        }
        None
    }

    /// A start succeeded. `Err` gives the machine back when the pool does not want it any more.
    pub(super) fn arrive(
        &self,
        id: String,
        running: Arc<dyn Running>,
        generation: u64,
    ) -> Result<(), Arc<dyn Running>> {
        let is_wanted =
            self.read(|s| s.terms.state == PoolState::Enabled && s.terms.generation == generation);
        let mut members = lock(&self.members);
        members.warming -= 1;
        if !is_wanted {
            drop(members);
            self.changed.notify_one();
            return Err(running);
        }
        members.failures_in_a_row = 0;
        members.retry_at = None;
        members.degraded = None;
        members.ready.push_back(Ready {
            id,
            running,
            config: self.config(),
            generation,
            since: clock::instant(),
        });
        drop(members);
        self.changed.notify_one();
        self.arrived.notify_waiters();
        Ok(())
    }

    /// A start failed.
    pub(super) fn fail(&self, why: DegradedReason) {
        let mut members = lock(&self.members);
        members.warming -= 1;
        members.failed += 1;
        let wait = FIRST_BACKOFF * 2u32.saturating_pow(members.failures_in_a_row.min(16));
        members.failures_in_a_row += 1;
        members.retry_at = Some(clock::instant() + wait.min(LONGEST_BACKOFF));
        members.degraded = Some(why);
        drop(members);
        self.changed.notify_one();
    }

    /// A ready machine died.
    pub(super) fn lose(&self, id: &str) {
        let mut members = lock(&self.members);
        let before = members.ready.len();
        members.ready.retain(|ready| ready.id != id);
        let lost = (before - members.ready.len()) as u32;
        members.unavailable += lost;
        drop(members);
        if lost > 0 {
            self.changed.notify_one();
        }
    }

    /// A machine that was given up is gone.
    pub(super) fn drained(&self) {
        lock(&self.members).draining -= 1;
        self.changed.notify_one();
    }

    /// Whether the next checkout finds a machine.
    pub(super) fn has_ready(&self) -> bool {
        !lock(&self.members).ready.is_empty()
    }

    /// Whether nothing of the pool is left.
    pub(super) fn is_empty(&self) -> bool {
        let members = lock(&self.members);
        members.ready.is_empty() && members.warming == 0 && members.draining == 0
    }

    /// Decides what to do now and counts it as begun.
    pub(super) fn step(&self, now: Instant, at: Timestamp, closing: bool) -> Step {
        let settings = lock(&self.settings).clone();
        let mut members = lock(&self.members);
        members.last_reconciled_at = Some(at);
        let wanted = Wanted {
            serves: settings.terms.state == PoolState::Enabled && !closing,
            min: settings.terms.min_ready as usize,
            max: settings.terms.max_ready as usize,
            idle: Duration::from_secs(settings.terms.idle_timeout_seconds),
            stale: Duration::from_secs(settings.terms.stale_after_seconds),
        };
        let held: Vec<ReadyMachine> = members
            .ready
            .iter()
            .map(|ready| ReadyMachine {
                since: ready.since,
                is_current: ready.generation == settings.terms.generation,
            })
            .collect();
        let plan = refill::plan(now, &held, members.warming as usize, members.retry_at, &wanted);
        let mut stop = Vec::new();
        // From the back, so that the places before stay what they are.
        for place in plan.stop.into_iter().rev() {
            stop.extend(members.ready.remove(place));
        }
        members.draining += stop.len() as u32;
        members.warming += plan.start as u32;
        if wanted.serves {
            members.expired += stop.len() as u32;
        }
        Step {
            start: plan.start,
            stop,
            wake: plan.wake,
            generation: settings.terms.generation,
        }
    }

    /// What answers show.
    pub fn info(&self) -> WarmPool {
        let settings = lock(&self.settings).clone();
        let members = lock(&self.members);
        let counts = PoolCounts {
            target: settings.terms.target(),
            ready: members.ready.len() as u32,
            warming: members.warming,
            claimed: settings.claimed,
            draining: members.draining,
            failed: members.failed,
            expired: members.expired,
            unavailable: members.unavailable,
        };
        let resolved = Resolved::of(&settings.template);
        settings.terms.shown(
            resolved,
            counts,
            members.degraded,
            members.last_reconciled_at.clone(),
        )
    }
}
