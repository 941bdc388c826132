//! One warm pool: its settings, its ready machines, and who gets them.
//!
//! Ready machines are no machines of the user yet: lists do not show them, and they end with the engine.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use nullspace_wire::machine::MachineConfig;
use nullspace_wire::warm_pool::{
    CheckoutMode, DegradedReason, PoolCounts, PoolResources, PoolState, VersionPolicy, WarmPool,
};
use nullspace_wire::{JsonObject, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::clock;
use super::create::Origin;
use super::live::lock;
use super::refill::{self, Held, Wanted};
use super::templates::Template;
use crate::isolation::Running;

/// First wait after a failed start; doubles up to [`LONGEST_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// Settings of a pool, as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Settings {
    pub id: String,
    pub name: String,
    pub template_ref: String,
    pub template: Template,
    pub resources: PoolResources,
    pub min_ready: u32,
    pub max_ready: u32,
    pub idle_timeout_seconds: u64,
    pub stale_after_seconds: u64,
    pub checkout_policy: CheckoutMode,
    pub version_policy: VersionPolicy,
    pub track_tag: Option<String>,
    /// Grows when what the machines are made of changes.
    pub generation: u64,
    pub state: PoolState,
    pub labels: JsonObject,
    pub metadata: JsonObject,
    pub claimed: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub enabled_at: Option<Timestamp>,
    pub disabled_at: Option<Timestamp>,
    pub drain_requested_at: Option<Timestamp>,
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
            id: settings.id.clone(),
            settings: Mutex::new(settings),
            members: Mutex::default(),
            changed: Notify::new(),
            arrived: Notify::new(),
        })
    }

    /// Looks at the settings.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Settings) -> T) -> T {
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
        self.read(|s| s.checkout_policy)
    }

    /// Size of its machines.
    pub fn config(&self) -> MachineConfig {
        self.read(|s| config(&s.resources))
    }

    /// What keeps a machine of this pool from being what was asked for; the name of the option.
    pub(super) fn obstacle(&self, wanted: &Origin) -> Option<String> {
        self.read(|s| {
            let own = config(&s.resources);
            let same_files = s.template.layers == wanted.layers
                && s.template.whole_root == wanted.whole_root
                && s.template.start == wanted.start;
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
            let (state, generation) = self.read(|s| (s.state, s.generation));
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
        let is_wanted = self.read(|s| s.state == PoolState::Enabled && s.generation == generation);
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
            serves: settings.state == PoolState::Enabled && !closing,
            min: settings.min_ready as usize,
            max: settings.max_ready as usize,
            idle: Duration::from_secs(settings.idle_timeout_seconds),
            stale: Duration::from_secs(settings.stale_after_seconds),
        };
        let held: Vec<Held> = members
            .ready
            .iter()
            .map(|ready| Held {
                since: ready.since,
                is_current: ready.generation == settings.generation,
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
            generation: settings.generation,
        }
    }

    /// What answers show.
    pub fn info(&self) -> WarmPool {
        let settings = lock(&self.settings).clone();
        let members = lock(&self.members);
        let is_enabled = settings.state == PoolState::Enabled;
        WarmPool {
            status: PoolCounts {
                target: if is_enabled { settings.min_ready } else { 0 },
                ready: members.ready.len() as u32,
                warming: members.warming,
                claimed: settings.claimed,
                draining: members.draining,
                failed: members.failed,
                expired: members.expired,
                unavailable: members.unavailable,
            },
            degraded_reason: match settings.state {
                PoolState::Enabled => members.degraded,
                PoolState::Disabled => Some(DegradedReason::ControllerDisabled),
                PoolState::Draining => Some(DegradedReason::DrainActive),
                PoolState::Deleted => None,
            },
            last_reconciled_at: members.last_reconciled_at.clone(),
            id: settings.id,
            name: settings.name,
            resolved_template: match &settings.template.build_id {
                Some(build) => format!("{}:{build}", settings.template.full_name()),
                None => format!("nullspace/{}:latest", settings.template.name),
            },
            resolved_template_build_id: settings.template.build_id.clone(),
            template_ref: settings.template_ref,
            resources: settings.resources,
            min_ready: settings.min_ready,
            max_ready: settings.max_ready,
            idle_timeout_seconds: settings.idle_timeout_seconds,
            stale_after_seconds: settings.stale_after_seconds,
            checkout_policy: settings.checkout_policy,
            version_policy: settings.version_policy,
            track_tag: settings.track_tag,
            rollout_generation: settings.generation,
            rollout_status: JsonObject::new(),
            state: settings.state,
            labels: settings.labels,
            metadata: settings.metadata,
            created_at: settings.created_at,
            updated_at: settings.updated_at,
            enabled_at: settings.enabled_at,
            disabled_at: settings.disabled_at,
            drain_requested_at: settings.drain_requested_at,
            deleted_at: None,
        }
    }
}

fn config(resources: &PoolResources) -> MachineConfig {
    MachineConfig {
        vcpus: resources.vcpus,
        memory_mb: resources.memory_mb,
        disk_mb: resources.disk_mb,
    }
}
