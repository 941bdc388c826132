//! Cells that run by themselves: asked for, looked at later, cancelled. They are remembered for a day, and the last 100 of
//! a machine.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use nullspace_wire::code::{CodeOutputEvent, CodeRun, CodeRunCreateRequest, CodeRunListResponse, Execution};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::cell::{collect, run, Cell};
use super::find;
use crate::machine::ground::clock::{self, now, unix_micros};
use crate::machine::ground::sync::lock;
use crate::machine::ground::{ids, Error, Kind, Result};
use crate::machine::live::Machine;
use crate::machine::Engine;

/// Runs that are remembered.
const KEPT: usize = 100;
/// Runs that may wait or run.
const MOST_OPEN: usize = 64;
/// How long.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// Bytes of events that one run keeps; what comes after is left out.
const MOST_KEPT: usize = 4 << 20;
/// Events that may wait.
const WAITING_EVENTS: usize = 4;
const STATES: [&str; 5] = ["queued", "running", "succeeded", "failed", "cancelled"];

/// One run.
struct TrackedRun {
    info: CodeRun,
    unwanted: CancellationToken,
}

/// The runs of a machine, oldest first.
#[derive(Default)]
pub struct Runs(VecDeque<TrackedRun>);

fn is_over(run: &CodeRun) -> bool {
    !matches!(run.status.as_str(), "queued" | "running")
}

impl Runs {
    fn get(&mut self, id: &str) -> Option<&mut TrackedRun> {
        self.0.iter_mut().find(|run| run.info.id == id)
    }

    /// Forgets what is too old or too much.
    fn prune(&mut self) {
        let now = unix_micros(&now().0);
        self.0
            .retain(|run| !is_over(&run.info) || unix_micros(&run.info.expires_at.0) > now);
        while self.0.len() > KEPT {
            let Some(oldest) = self.0.iter().position(|run| is_over(&run.info)) else {
                return;
            };
            self.0.remove(oldest);
        }
    }
}

fn change(machine: &Machine, id: &str, change: impl FnOnce(&mut CodeRun)) {
    if let Some(known) = lock(&machine.code.runs).get(id) {
        change(&mut known.info);
    }
}

fn missing(machine: &Machine, id: &str) -> Error {
    Error::new(
        Kind::NotFound,
        format!(
            "machine {} has no code run {id}: it never was, or is forgotten",
            machine.id
        ),
    )
}

impl Engine {
    /// Asks for a cell, and lets it run.
    pub async fn create_code_run(
        self: &Arc<Self>,
        id: &str,
        request: CodeRunCreateRequest,
    ) -> Result<CodeRun> {
        let (machine, busy) = self.interpreter(id).await?;
        let context = find(&machine, &request.context_id)?;
        let cell = Cell::read(request.code, request.envs, request.timeout)?;
        let info = CodeRun {
            id: ids::run(),
            machine_id: machine.id.clone(),
            context_id: context.id.clone(),
            status: "queued".into(),
            timeout_secs: cell.timeout.as_secs(),
            created_at: now(),
            expires_at: clock::after(KEPT_FOR),
            started_at: None,
            completed_at: None,
            cancel_requested_at: None,
            execution: None,
            failure_reason: None,
        };
        let unwanted = CancellationToken::new();
        {
            let mut runs = lock(&machine.code.runs);
            runs.prune();
            if runs.0.iter().filter(|run| !is_over(&run.info)).count() >= MOST_OPEN {
                return Err(Error::new(
                    Kind::Conflict,
                    format!(
                        "machine {id} has {MOST_OPEN} code runs that have not ended, the most there can be"
                    ),
                )
                .with_action("wait for some, or cancel them"));
            }
            runs.0.push_back(TrackedRun {
                info: info.clone(),
                unwanted: unwanted.clone(),
            });
        }
        let (engine, run_id) = (self.clone(), info.id.clone());
        let (in_line, placed) = oneshot::channel();
        tokio::spawn(async move {
            let (sender, events) = mpsc::channel(WAITING_EVENTS);
            let began = || {
                change(&machine, &run_id, |run| {
                    run.status = "running".into();
                    run.started_at = Some(now());
                });
            };
            let running = async {
                run(
                    &engine,
                    &machine,
                    &context,
                    cell,
                    busy,
                    &sender,
                    unwanted.clone(),
                    began,
                )
                .await;
                drop(sender);
            };
            // The first look at the cell gives it its place in the line for the context.
            let told = async { in_line.send(()) };
            let ((), _, execution) = tokio::join!(biased; running, told, keep(events));
            let is_cancelled = unwanted.is_cancelled();
            change(&machine, &run_id, |run| {
                run.completed_at = Some(now());
                let failure = execution.error.as_ref();
                run.status = match failure {
                    _ if is_cancelled => "cancelled",
                    Some(_) => "failed",
                    None => "succeeded",
                }
                .into();
                run.failure_reason = failure.map(|error| format!("{}: {}", error.name, error.value));
                run.execution = Some(execution);
            });
        });
        // Runs that are asked for one after the other run in that order.
        let _ = placed.await;
        Ok(info)
    }

    /// Looks at a run.
    pub async fn code_run(self: &Arc<Self>, id: &str, run: &str) -> Result<CodeRun> {
        let (machine, _busy) = self.interpreter(id).await?;
        let found = lock(&machine.code.runs).get(run).map(|known| known.info.clone());
        found.ok_or_else(|| missing(&machine, run))
    }

    /// Stops a run. One that is over stays as it is.
    pub async fn cancel_code_run(self: &Arc<Self>, id: &str, run: &str) -> Result<CodeRun> {
        let (machine, _busy) = self.interpreter(id).await?;
        let mut runs = lock(&machine.code.runs);
        let known = runs.get(run).ok_or_else(|| missing(&machine, run))?;
        if !is_over(&known.info) {
            known.info.cancel_requested_at.get_or_insert_with(now);
            known.unwanted.cancel();
        }
        Ok(known.info.clone())
    }

    /// A page of runs, newest first.
    pub async fn list_code_runs(
        self: &Arc<Self>,
        id: &str,
        status: Option<String>,
        context: Option<String>,
        limit: usize,
        cursor: Option<String>,
    ) -> Result<CodeRunListResponse> {
        let (machine, _busy) = self.interpreter(id).await?;
        if let Some(status) = status.as_deref().filter(|status| !STATES.contains(status)) {
            return Err(Error::invalid(
                "status",
                format_args!("is {status:?}: give one of {}", STATES.join(", ")),
            ));
        }
        let mut runs = lock(&machine.code.runs);
        runs.prune();
        let wanted = |run: &&CodeRun| {
            status.as_ref().is_none_or(|status| run.status == *status)
                && context.as_ref().is_none_or(|context| run.context_id == *context)
        };
        let all: Vec<&CodeRun> = runs.0.iter().rev().map(|known| &known.info).collect();
        let (items, next_cursor) = page(all.into_iter(), wanted, |run| &run.id, limit, cursor)?;
        Ok(CodeRunListResponse {
            items: items.into_iter().cloned().collect(),
            next_cursor,
        })
    }
}

/// What of `all` comes after the cursor, which is the id of the last one that was told.
pub(super) fn page<'a, T>(
    all: impl Iterator<Item = &'a T>,
    wanted: impl Fn(&&'a T) -> bool,
    id: impl Fn(&T) -> &str,
    limit: usize,
    cursor: Option<String>,
) -> Result<(Vec<&'a T>, Option<String>)> {
    let mut all = all;
    if let Some(cursor) = cursor {
        if !all.any(|item| id(item) == cursor) {
            return Err(Error::invalid(
                "cursor",
                "leads nowhere any more: begin again without one",
            ));
        }
    }
    let mut found: Vec<&T> = all.filter(wanted).take(limit + 1).collect();
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|last| id(last).to_owned());
    Ok((found, next))
}

async fn keep(mut events: mpsc::Receiver<CodeOutputEvent>) -> Execution {
    let mut execution = Execution::default();
    let mut kept = 0;
    while let Some(event) = events.recv().await {
        let size = match &event {
            CodeOutputEvent::Stdout(output) | CodeOutputEvent::Stderr(output) => output.text.len(),
            other => serde_json::to_string(other).map_or(0, |text| text.len()),
        };
        let is_small = matches!(
            event,
            CodeOutputEvent::Error(_) | CodeOutputEvent::NumberOfExecutions { .. }
        );
        if is_small || kept + size <= MOST_KEPT {
            kept += size;
            collect(&mut execution, event);
        } else if kept <= MOST_KEPT {
            kept = MOST_KEPT + 1;
            execution.truncated = Some(true);
        }
    }
    execution
}
