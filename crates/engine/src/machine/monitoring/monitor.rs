//! Looks at all machines again and again for whoever watches: one look an interval, however many watch.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nullspace_wire::exec::ProcessInfo;
use nullspace_wire::machine::{MachineInfo, MachineMetrics, MachineStatus};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::machine::ground::sync::lock;
use crate::machine::ground::Result;
use crate::machine::records::list::{ListRequest, MAX_LIMIT};
use crate::machine::Engine;

/// What all machines were like at one moment.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Look {
    /// The newest machines, at most as many as a page of the list holds.
    pub machines: Vec<MachineInfo>,
    /// Of those that run.
    pub metrics: Vec<(String, MachineMetrics)>,
    /// Of those that run.
    pub processes: Vec<(String, Vec<ProcessInfo>)>,
}

/// Looks as they are taken; `None` before the first. Who is slow sees the newest and skips the others.
pub type Looks = watch::Receiver<Option<Arc<Look>>>;

/// The intervals that are watched.
#[derive(Default)]
pub struct Samplers(Mutex<HashMap<Duration, watch::Sender<Option<Arc<Look>>>>>);

/// What is looked at: an engine, or a cluster of them.
pub trait Watched: Send + Sync + 'static {
    /// Cancelled when it ends.
    fn closing(&self) -> &CancellationToken;
    /// Kept for it.
    fn samplers(&self) -> &Samplers;
    /// Runs what looks.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
    /// Looks once.
    fn look(&self) -> impl Future<Output = Result<Look>> + Send;
}

/// Watches all machines. Watchers of one interval share its looks; the last one to leave ends them.
pub fn watch<W: Watched>(watched: &Arc<W>, every: Duration) -> Looks {
    let mut samplers = lock(&watched.samplers().0);
    if let Some(sampler) = samplers.get(&every) {
        return sampler.subscribe();
    }
    let (sender, looks) = watch::channel(None);
    samplers.insert(every, sender);
    watched.spawn(sample(watched.clone(), every));
    looks
}

async fn sample<W: Watched>(watched: Arc<W>, every: Duration) {
    let closing = watched.closing().clone();
    let mut ticks = tokio::time::interval(every);
    // A look that takes longer than the interval must not be followed by a burst.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = closing.cancelled() => return drop(lock(&watched.samplers().0).remove(&every)),
        }
        let look = watched.look().await;
        let mut samplers = lock(&watched.samplers().0);
        // Under the lock: nobody can join between the question and the end.
        match samplers.get(&every) {
            Some(sampler) if sampler.receiver_count() > 0 => {
                if let Ok(look) = look {
                    sampler.send_replace(Some(Arc::new(look)));
                }
            }
            _ => {
                samplers.remove(&every);
                return;
            }
        }
    }
}

impl Watched for Engine {
    fn closing(&self) -> &CancellationToken {
        self.closing()
    }

    fn samplers(&self) -> &Samplers {
        &self.samplers
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    async fn look(&self) -> Result<Look> {
        let all = ListRequest {
            limit: Some(MAX_LIMIT),
            ..Default::default()
        };
        let mut look = Look {
            machines: self.list(all).await?.items,
            ..Default::default()
        };
        for machine in &look.machines {
            // Not through the verbs that callers use: being watched neither wakes a machine nor keeps it alive.
            let Some(live) = self.find_live(&machine.id) else {
                continue;
            };
            // One that is paused, or ended meanwhile, has nothing to tell.
            if machine.status == MachineStatus::Running {
                if let Some(metrics) = self.metrics(&machine.id).await.ok().and_then(|mut m| m.pop()) {
                    look.metrics.push((machine.id.clone(), metrics));
                    look.processes.push((machine.id.clone(), live.processes.list()));
                }
            }
        }
        Ok(look)
    }
}
