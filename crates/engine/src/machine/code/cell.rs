//! One cell: its place in the queue, its time, its events.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use nullspace_wire::code::{CodeExecuteRequest, CodeOutputEvent, Execution, ExecutionError};
use nullspace_wire::limits::{CODE_SECS, DEFAULT_CODE_SECS};
use nullspace_wire::Envs;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::kernel::{Heard, Kernel};
use super::Context;
use crate::machine::ground::{Error, Result};
use crate::machine::live::{Busy, Machine};
use crate::machine::{validate, Engine};

/// How long a cell that is interrupted may take to end; then its kernel is ended.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// Events that may wait for the client. Then the cell waits.
const WAITING_EVENTS: usize = 4;

/// A cell that was checked.
#[derive(Debug, Clone)]
pub struct Cell {
    /// What to run.
    pub code: String,
    /// For this cell alone.
    pub envs: Envs,
    /// Its time limit.
    pub timeout: Duration,
}

/// A cell that runs. Dropping it stops the cell.
pub struct Running {
    /// What it does, to its end.
    pub events: mpsc::Receiver<CodeOutputEvent>,
    _stop: tokio_util::sync::DropGuard,
}

/// Why a cell is stopped.
enum Stop {
    /// It ran too long.
    TooLong,
    /// Nobody wants it any more.
    Unwanted,
}

impl Cell {
    /// Checks what a request wants.
    pub fn read(code: String, envs: Option<Envs>, timeout: Option<u64>) -> Result<Self> {
        let envs = envs.unwrap_or_default();
        validate::check_envs("envs", &envs)?;
        let seconds = timeout.unwrap_or(DEFAULT_CODE_SECS);
        if !CODE_SECS.contains(seconds) {
            return Err(Error::invalid(
                "timeout",
                format_args!(
                    "is {seconds}: give {} to {} seconds, such as {DEFAULT_CODE_SECS}",
                    CODE_SECS.min, CODE_SECS.max
                ),
            ));
        }
        Ok(Self {
            code,
            envs,
            timeout: Duration::from_secs(seconds),
        })
    }
}

impl Engine {
    /// Runs a cell and tells of it as it goes.
    pub async fn execute_code(self: &Arc<Self>, id: &str, request: CodeExecuteRequest) -> Result<Running> {
        let (machine, busy) = self.interpreter(id).await?;
        let cell = Cell::read(request.code, request.envs, request.timeout)?;
        let context = self
            .context_for(
                &machine,
                request.context_id.as_deref(),
                request.language.as_deref(),
            )
            .await?;
        let (sender, events) = mpsc::channel(WAITING_EVENTS);
        let unwanted = CancellationToken::new();
        let stop = unwanted.clone().drop_guard();
        let engine = self.clone();
        tokio::spawn(
            async move { run(&engine, &machine, &context, cell, busy, &sender, unwanted, || ()).await },
        );
        Ok(Running { events, _stop: stop })
    }
}

/// Waits for the context and runs a cell in it. Every way ends with the end of `events`.
#[allow(clippy::too_many_arguments)] // two callers, each with all of them
pub async fn run(
    engine: &Engine,
    machine: &Arc<Machine>,
    context: &Arc<Context>,
    cell: Cell,
    _busy: Busy,
    events: &mpsc::Sender<CodeOutputEvent>,
    unwanted: CancellationToken,
    began: impl FnOnce(),
) {
    let mut place = tokio::select! {
        place = context.kernel.lock() => place,
        () = unwanted.cancelled() => return,
    };
    if context.is_removed.load(Ordering::Acquire) {
        let error = failed("ContextRemoved", "the context was removed before the cell ran");
        let _ = events.send(error).await;
        return;
    }
    began();
    if place.is_none() {
        match Kernel::start(engine, machine, context).await {
            Ok(kernel) => *place = Some(kernel),
            Err(error) => {
                let _ = events.send(failed("KernelDied", &error.to_string())).await;
                return;
            }
        }
    }
    let Some(kernel) = place.as_mut() else { return };
    static CELLS: AtomicU64 = AtomicU64::new(1);
    context
        .running
        .store(CELLS.fetch_add(1, Ordering::Relaxed), Ordering::Release);
    let lives = conduct(machine, context, kernel, &cell, events, &unwanted).await;
    context.running.store(0, Ordering::Release);
    if !lives {
        kernel.kill(engine, machine).await;
        context.pid.store(0, Ordering::Release);
        *place = None;
    }
}

/// Whether the kernel can run another cell.
async fn conduct(
    machine: &Arc<Machine>,
    context: &Arc<Context>,
    kernel: &mut Kernel,
    cell: &Cell,
    events: &mpsc::Sender<CodeOutputEvent>,
    unwanted: &CancellationToken,
) -> bool {
    // A failure to write shows as the end of the kernel.
    let _ = kernel.send(&cell.code, &cell.envs).await;
    let over = tokio::time::sleep(cell.timeout);
    tokio::pin!(over);
    let why = loop {
        let heard = tokio::select! {
            heard = kernel.next() => heard,
            () = &mut over => break Stop::TooLong,
            () = unwanted.cancelled() => break Stop::Unwanted,
        };
        match heard {
            Heard::Event(event) => {
                // A client that does not keep up slows its cell down; one that is gone ends it.
                tokio::select! {
                    _ = events.send(*event) => {}
                    () = unwanted.cancelled() => break Stop::Unwanted,
                }
            }
            Heard::End => return true,
            Heard::Gone(error) => {
                let _ = events.send(failed("KernelDied", &error.to_string())).await;
                return false;
            }
        }
    };
    context.interrupt(machine).await;
    let stopping = async {
        loop {
            match kernel.next().await {
                // Why it failed is said below, in other words than the kernel's.
                Heard::Event(event) => {
                    if !matches!(*event, CodeOutputEvent::Error(_)) {
                        let _ = events.try_send(*event);
                    }
                }
                Heard::End => return true,
                Heard::Gone(_) => return false,
            }
        }
    };
    let lives = tokio::time::timeout(STOP_PATIENCE, stopping)
        .await
        .unwrap_or(false);
    if let Stop::TooLong = why {
        let rest = if lives {
            "what it had defined is still there"
        } else {
            "it did not stop, so its kernel was ended: the next cell begins anew"
        };
        let text = format!("the cell ran longer than {} s; {rest}", cell.timeout.as_secs());
        let _ = events.send(failed("TimeoutError", &text)).await;
    }
    lives
}

fn failed(name: &str, value: &str) -> CodeOutputEvent {
    CodeOutputEvent::Error(ExecutionError {
        name: name.into(),
        value: value.into(),
        traceback: String::new(),
    })
}

/// Adds an event to what is known of an execution.
pub fn collect(execution: &mut Execution, event: CodeOutputEvent) {
    match event {
        CodeOutputEvent::Stdout(output) => execution.logs.stdout.push(output.text),
        CodeOutputEvent::Stderr(output) => execution.logs.stderr.push(output.text),
        CodeOutputEvent::Result(result) => execution.results.push(result),
        CodeOutputEvent::Artifact { artifact } => execution.artifacts.push(artifact),
        CodeOutputEvent::Error(error) => execution.error = Some(error),
        CodeOutputEvent::NumberOfExecutions { execution_count } => {
            execution.execution_count = Some(execution_count);
        }
    }
}
