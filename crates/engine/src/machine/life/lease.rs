//! How long machines live: the lease, the idle limit, the limit of a pause, and death.
//!
//! One task a machine waits for the next of them on the monotonic clock, so that neither a changed wall clock nor a
//! slow answer moves a deadline.

use std::sync::Arc;
use std::time::Duration;

use nullspace_wire::machine::{MachineStatus, SetTimeoutResponse, TimeoutAction};
use tokio::time::Instant;

use crate::machine::ground::status::Rules;
use crate::machine::ground::{clock, Error, Result};
use crate::machine::live::Machine;
use crate::machine::monitoring::events::{Actor, Event, Operation};
use crate::machine::{validate, Engine};

/// A moment at which something happens to a machine unless it is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// When.
    pub at: Instant,
    /// What passed.
    pub why: Why,
}

/// What passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The lease.
    Timeout,
    /// The idle limit.
    Idle,
    /// The limit of a pause.
    AutoDelete,
}

impl Why {
    fn reason(self) -> &'static str {
        match self {
            Why::Timeout => "timeout",
            Why::Idle => "inactivity",
            Why::AutoDelete => "auto_delete",
        }
    }
}

impl Engine {
    /// Starts the task that watches over a machine until it is gone.
    pub(super) fn supervise(self: &Arc<Self>, machine: Arc<Machine>) {
        let engine = self.clone();
        self.tasks.spawn(async move {
            let Ok(running) = machine.running() else {
                return;
            };
            loop {
                let deadline = machine.deadline();
                let wait = async {
                    match deadline {
                        Some(deadline) => clock::sleep_until(deadline.at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = machine.gone.cancelled() => return,
                    () = running.ended() => return engine.bury(&machine).await,
                    () = machine.changed.notified() => {}
                    () = wait => {
                        // Activity moves the idle deadline without waking this task: look again.
                        if let Some(due) = machine.deadline().filter(|d| d.at <= clock::instant()) {
                            engine.expire(&machine, due.why).await;
                        }
                    }
                }
            }
        });
    }

    async fn expire(self: &Arc<Self>, machine: &Arc<Machine>, why: Why) {
        let turn = machine.turn().await;
        // A change that held the turn may have moved the deadline.
        let is_due = machine
            .deadline()
            .is_some_and(|d| d.why == why && d.at <= clock::instant());
        if !is_due || machine.gone.is_cancelled() {
            return;
        }
        let event = Event::of(Operation::TimeoutExpired, &machine.id)
            .by(Actor::System)
            .because(why.reason());
        self.record_event(event).await;
        let pauses =
            why != Why::AutoDelete && machine.read(|r| r.lease.timeout_action) == TimeoutAction::Hibernate;
        if pauses {
            match self.pause_now(machine, Actor::System).await {
                Ok(_) => return,
                // A machine that cannot be paused must not outlive its lease.
                Err(error) => tracing::warn!(machine = %machine.id, %error, "pausing at the timeout failed"),
            }
        }
        drop(turn);
        if let Err(error) = self
            .destroy_as(&machine.id, Actor::System, Some(why.reason()))
            .await
        {
            tracing::warn!(machine = %machine.id, %error, "destroying at the timeout failed");
        }
    }

    /// A machine ended that nobody asked to: it stays in lists as `error` until it is deleted.
    async fn bury(self: &Arc<Self>, machine: &Arc<Machine>) {
        let _turn = machine.turn().await;
        if machine.gone.is_cancelled() {
            return;
        }
        machine.gone.cancel();
        let message = "the machine's first process ended without being asked to, so everything in it is gone";
        tracing::warn!(machine = %machine.id, "{message}");
        let buried = machine
            .update(&self.store, |record| {
                record.status = MachineStatus::Error;
                record.error_message = Some(message.into());
                record.timeout_at = None;
                record.snapshot_id = None;
            })
            .await;
        if let Err(error) = buried {
            tracing::error!(machine = %machine.id, %error, "noting the end of a machine failed");
        }
        self.forget(machine).await;
        let event = Event::of(Operation::Reconcile, &machine.id)
            .by(Actor::Reconcile)
            .because("machine_ended")
            .failed("machine_ended", message);
        self.record_event(event).await;
        self.collect_layers().await;
    }

    /// Moves the end of the lease to `timeout_ms` from now.
    pub async fn set_timeout(
        &self,
        id: &str,
        timeout_ms: u64,
        action: Option<TimeoutAction>,
    ) -> Result<SetTimeoutResponse> {
        let timeout_ms = validate::timeout_ms(timeout_ms)?;
        let machine = self.live_machine(id).await?;
        let _turn = machine.turn().await;
        let (status, ephemeral, auto_resume) =
            machine.read(|r| (r.status, r.lease.ephemeral, r.lease.auto_resume));
        if !status.has_lease() || machine.gone.is_cancelled() {
            return Err(machine.not_ready());
        }
        if auto_resume && action == Some(TimeoutAction::Destroy) {
            return Err(Error::invalid(
                "timeout_action",
                "cannot become \"destroy\" for a machine with auto_resume: leave it out, or make another machine",
            ));
        }
        if ephemeral && action == Some(TimeoutAction::Hibernate) {
            return Err(Error::invalid(
                "timeout_action",
                "cannot become \"hibernate\" for an ephemeral machine: leave it out",
            ));
        }
        machine.renew();
        machine
            .update(&self.store, |record| {
                record.lease.timeout_ms = timeout_ms;
                record.lease.timeout_action = action.unwrap_or(record.lease.timeout_action);
                record.timeout_at = record
                    .status
                    .can_exec()
                    .then(|| clock::after(Duration::from_millis(timeout_ms)));
            })
            .await?;
        machine.changed.notify_one();
        self.record_event(Event::of(Operation::TimeoutUpdated, id)).await;
        let remaining_ms = machine.remaining().map(|left| left.as_millis() as u64);
        Ok(machine.read(|record| SetTimeoutResponse {
            timeout_ms,
            timeout_action: record.lease.timeout_action,
            timeout_at: record.timeout_at.clone(),
            remaining_ms,
        }))
    }
}
