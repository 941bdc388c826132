//! Commands: start, wait, list, logs, standard input, kill.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use nullspace_wire::exec::{ExecRequest, ExecResponse, ProcessInfo, ProcessLogs};
use nullspace_wire::Envs;
use serde_json::json;
use tokio::sync::mpsc;

use super::output::{Capture, Sink, Stream};
use super::processes::{Chunk, Command, End, Note, Processes};
use crate::isolation::{ExecSpec, IsolationError, Running};
use crate::machine::ground::status::Rules;
use crate::machine::ground::{Error, Kind, Result};
use crate::machine::live::{Busy, Machine};
use crate::machine::{validate, Engine};

/// Time limit of a foreground command without one. Source: schema, `timeout_secs`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(nullspace_wire::limits::DEFAULT_COMMAND_SECS);
/// Longest time limit: a day.
const MAX_TIMEOUT_SECS: u64 = nullspace_wire::limits::COMMAND_SECS.max;
/// Standard input that is not read for so long is an error.
const STDIN_PATIENCE: Duration = Duration::from_secs(20);
/// How long a killed command may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of output shown in the details of a timeout.
const TIMEOUT_EXCERPT: usize = 16 << 10;

/// Environment of every command, under the template's, the machine's and the request's.
const BASE_ENVS: [(&str, &str); 6] = [
    ("HOME", "/root"),
    ("USER", "root"),
    ("LOGNAME", "root"),
    (
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    ("LANG", "C.UTF-8"),
    // A machine is thrown away: its own Python may be changed, which Debian's pip refuses otherwise.
    ("PIP_BREAK_SYSTEM_PACKAGES", "1"),
];

/// Below this many MiB Node.js takes its own smallest heap limit, 259 MiB, whatever it sees of the machine.
const NODE_SEES_MB: u32 = 520;

/// Who runs the commands of a machine, when that is not root.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DefaultUser {
    /// Name or number inside.
    pub name: String,
    /// Home directory.
    pub home: String,
}

/// What a request wants, checked.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// As shown in lists.
    pub text: String,
    /// For isolation.
    pub spec: ExecSpec,
    /// Time limit, when the request has one; [`Duration::MAX`] when it wants none.
    pub timeout: Option<Duration>,
}

/// A command and what it prints from now on.
pub struct Streamed {
    /// Where it runs.
    pub machine: Arc<Machine>,
    /// The command.
    pub command: Arc<Command>,
    /// Its output; ends with the command.
    pub output: mpsc::Receiver<Chunk>,
    /// Keeps the machine from being idle while somebody listens.
    pub busy: Busy,
}

/// A command that must not outlive the request that waits for it.
struct KillOnDrop {
    running: Arc<dyn Running>,
    pid: Option<u32>,
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            let running = self.running.clone();
            // A pid that has ended meanwhile is no error here.
            tokio::spawn(async move { running.end(pid).await.ok() });
        }
    }
}

/// Checks a request and completes it with the machine's settings.
pub fn wanted(machine: &Machine, request: ExecRequest) -> Result<Wanted> {
    let args = request.args.unwrap_or_default();
    let uses_shell = request.shell.unwrap_or(false);
    if request.command.trim().is_empty() {
        return Err(Error::invalid(
            "command",
            "is empty: give a program such as \"echo\"",
        ));
    }
    if uses_shell && !args.is_empty() {
        return Err(Error::invalid(
            "args",
            "cannot be given with `shell`: put the arguments into `command`, or leave `shell` out",
        ));
    }
    if request.command.contains('\0') || args.iter().any(|a| a.contains('\0')) {
        return Err(Error::invalid(
            "command",
            "holds a NUL character, which no argument can",
        ));
    }
    // The most that the API takes stands for no limit.
    let timeout = request
        .timeout_secs
        .map(|secs| match secs {
            MAX_TIMEOUT_SECS => Ok(Duration::MAX),
            1..MAX_TIMEOUT_SECS => Ok(Duration::from_secs(secs)),
            other => Err(Error::invalid(
                "timeout_secs",
                format_args!("is {other}: give 1 to {MAX_TIMEOUT_SECS}, such as 30"),
            )),
        })
        .transpose()?;
    let envs = request.envs.unwrap_or_default();
    validate::check_envs("envs", &envs)?;
    let cwd = request
        .cwd
        .map(|cwd| validate::absolute("cwd", &cwd))
        .transpose()?;
    let mut argv = vec![request.command.clone()];
    if uses_shell {
        argv = vec!["/bin/sh".into(), "-c".into(), request.command.clone()];
    }
    argv.extend(args.iter().cloned());
    let text = [vec![request.command], args].concat().join(" ");
    Ok(Wanted {
        text,
        spec: ExecSpec {
            argv,
            envs: environment(machine, envs),
            cwd: cwd.unwrap_or_else(|| machine.read(|r| r.cwd.clone())),
            user: default_user(machine),
            ..Default::default()
        },
        timeout,
    })
}

/// The whole environment of a command.
pub fn environment(machine: &Machine, envs: Envs) -> Envs {
    let (memory_mb, user, mut own) = machine.read(|r| (r.config.memory_mb, r.user.clone(), r.envs.clone()));
    own.extend(envs);
    user_environment(memory_mb, user.as_ref(), own)
}

/// That of a command as the user, in a machine with so much memory.
pub(in crate::machine) fn user_environment(memory_mb: u32, user: Option<&DefaultUser>, envs: Envs) -> Envs {
    let mut all: Envs = BASE_ENVS
        .iter()
        .map(|(k, v)| ((*k).into(), (*v).into()))
        .collect();
    if memory_mb < NODE_SEES_MB {
        // The rest is for young objects and what is no heap. A program that needs more gets an error instead of being killed.
        let heap = format!("--max-old-space-size={}", (memory_mb * 5 / 8).max(1));
        all.insert("NODE_OPTIONS".to_owned(), heap);
    }
    if let Some(DefaultUser { name, home }) = user {
        for (key, value) in [("HOME", home), ("USER", name), ("LOGNAME", name)] {
            all.insert(key.to_owned(), value.clone());
        }
    }
    all.extend(envs);
    all
}

/// Who runs the commands of a machine; `None` = root.
pub fn default_user(machine: &Machine) -> Option<String> {
    machine.read(|r| r.user.as_ref().map(|user| user.name.clone()))
}

impl Engine {
    /// A machine that answers commands, and a note that it is in use. A paused one with `auto_resume` is woken.
    pub async fn ready(self: &Arc<Self>, id: &str) -> Result<(Arc<Machine>, Busy)> {
        let machine = self.live_machine(id).await?;
        let (status, auto_resume) = machine.read(|r| (r.status, r.lease.auto_resume));
        if status.can_resume() && auto_resume {
            self.resume(id).await?;
        } else if !status.can_exec() {
            return Err(machine.not_ready());
        }
        let busy = machine.busy();
        Ok((machine, busy))
    }

    /// Starts a command. `listener` hears its output from the first byte.
    pub async fn start_command(
        &self,
        machine: &Arc<Machine>,
        wanted: Wanted,
        sink: Sink,
        listener: Option<mpsc::Sender<Chunk>>,
    ) -> Result<Arc<Command>> {
        // Shared with other starts; a machine that is being frozen is waited for and then refused.
        let _gate = machine.gate.read().await;
        if !machine.status().can_exec() || machine.gone.is_cancelled() {
            return Err(machine.not_ready());
        }
        let has_terminal = wanted.spec.pty.is_some();
        let started = machine.running()?.exec(wanted.spec).await;
        let process = started.map_err(|error| match error {
            IsolationError::Invalid(text) => {
                Error::new(Kind::ExecFailed, format!("the command did not start: {text}"))
                    .retryable(false)
                    .with_action("check `command`; shell text needs `shell: true`")
            }
            IsolationError::Directory(text) => {
                Error::new(Kind::ExecFailed, format!("the command did not start: {text}"))
                    .retryable(false)
                    .with_action("give a `cwd` that exists in the machine")
                    .with_details(json!({ "field": "cwd" }))
            }
            IsolationError::Failed(text) => {
                Error::new(Kind::ExecFailed, format!("the command did not start: {text}"))
            }
            other => Error::isolation("starting a command", other),
        })?;
        let gone = machine.gone.clone();
        let out_of_memory = Note {
            // A terminal has one stream.
            stream: if has_terminal {
                Stream::Stdout
            } else {
                Stream::Stderr
            },
            text: machine.read(|r| {
                format!(
                    "[nullspace: killed at the machine's memory limit of {} MiB]\n",
                    r.config.memory_mb
                )
            }),
        };
        Ok(machine
            .processes
            .adopt(process, wanted.text, sink, listener, gone, out_of_memory))
    }

    /// Runs a command to its end. Dropping the future kills it.
    pub async fn exec(self: &Arc<Self>, id: &str, request: ExecRequest) -> Result<ExecResponse> {
        let (machine, _busy) = self.ready(id).await?;
        let wanted = wanted(&machine, request)?;
        let limit = wanted.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let sink = Sink::Capture(Capture::default());
        let command = self.start_command(&machine, wanted, sink, None).await?;
        let mut guard = KillOnDrop {
            running: machine.running()?,
            pid: Some(command.pid),
        };
        let end = tokio::time::timeout(limit, command.end()).await;
        let Ok(end) = end else {
            // A machine that is out of memory may take long to obey. The order stands; the caller hears of the limit now.
            let over = async {
                let _ = guard.running.end(command.pid).await;
                command.end().await
            };
            let _ = tokio::time::timeout(KILL_PATIENCE, over).await;
            guard.pid = None;
            machine.processes.forget(command.pid);
            return Err(timed_out(&command, limit));
        };
        guard.pid = None;
        machine.processes.forget(command.pid);
        let logs = command.logs();
        let exit = match end {
            End::MachineEnded => return Err(Error::isolation("running a command", IsolationError::Gone)),
            End::Exited(exit) => exit,
        };
        Ok(ExecResponse {
            exit_code: exit.code,
            stdout: logs.stdout,
            stderr: logs.stderr,
            pid: Some(command.pid),
            dropped: logs.dropped,
        })
    }

    /// Starts a command and leaves it to itself: it ends by itself, by `kill`, after its time limit or with its machine.
    /// Its output stays readable after its end.
    pub async fn exec_background(self: &Arc<Self>, id: &str, request: ExecRequest) -> Result<u32> {
        let (machine, _busy) = self.ready(id).await?;
        let mut wanted = wanted(&machine, request)?;
        wanted.spec.stdin = true;
        let limit = wanted.timeout;
        let sink = Sink::log(&machine.processes.log_path());
        let command = self.start_command(&machine, wanted, sink, None).await?;
        let pid = command.pid;
        self.hold_limit(&machine, command, limit);
        Ok(pid)
    }

    /// Ends a command that nobody waits for after its time limit.
    fn hold_limit(self: &Arc<Self>, machine: &Arc<Machine>, command: Arc<Command>, limit: Option<Duration>) {
        let Some(limit) = limit.filter(|limit| *limit != Duration::MAX) else {
            return;
        };
        let (engine, machine) = (self.clone(), machine.clone());
        tokio::spawn(async move {
            if tokio::time::timeout(limit, command.end()).await.is_err() {
                command.set_timed_out(limit);
                let _ = engine.kill_command(&machine, &command).await;
            }
        });
    }

    /// Starts a command whose output the caller hears from the first byte, with open standard input. It outlives the
    /// caller; its time limit, if it has one, holds all the same.
    pub async fn exec_streamed(self: &Arc<Self>, id: &str, request: ExecRequest) -> Result<Streamed> {
        let (machine, busy) = self.ready(id).await?;
        let mut wanted = wanted(&machine, request)?;
        wanted.spec.stdin = true;
        let limit = wanted.timeout;
        let sink = Sink::log(&machine.processes.log_path());
        let (sender, output) = Processes::channel();
        let command = self.start_command(&machine, wanted, sink, Some(sender)).await?;
        self.hold_limit(&machine, command.clone(), limit);
        Ok(Streamed {
            machine,
            command,
            output,
            busy,
        })
    }

    /// Hears a command that runs already, from now on.
    pub async fn exec_attached(self: &Arc<Self>, id: &str, pid: u32) -> Result<Streamed> {
        let (machine, busy) = self.ready(id).await?;
        let command = command(&machine, pid)?;
        Ok(Streamed {
            output: command.listen(),
            machine,
            command,
            busy,
        })
    }

    /// The commands of a machine.
    pub async fn list_processes(self: &Arc<Self>, id: &str) -> Result<Vec<ProcessInfo>> {
        let (machine, _busy) = self.ready(id).await?;
        Ok(machine.processes.list())
    }

    /// Output of a command so far.
    pub async fn process_logs(self: &Arc<Self>, id: &str, pid: u32) -> Result<ProcessLogs> {
        let (machine, _busy) = self.ready(id).await?;
        Ok(command(&machine, pid)?.logs())
    }

    /// Writes to the standard input of a command.
    pub async fn write_stdin(self: &Arc<Self>, id: &str, pid: u32, data: &[u8]) -> Result<()> {
        let (machine, _busy) = self.ready(id).await?;
        let command = command(&machine, pid)?;
        let written = AtomicUsize::new(0);
        match tokio::time::timeout(STDIN_PATIENCE, command.write_counted(data, &written)).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Error::new(
                Kind::Conflict,
                format!("process {pid} takes no input: it ended, closed its input or runs in the foreground"),
            )),
            Ok(Err(error)) => Err(Error::internal("writing to a process", error)),
            Err(_) => {
                let written = written.load(Ordering::Relaxed);
                let text = format!(
                    "process {pid} does not read its input; {written} of {} bytes were written",
                    data.len()
                );
                Err(Error::new(Kind::Conflict, text)
                    .with_action("send the rest when it reads")
                    .with_details(json!({ "written_bytes": written })))
            }
        }
    }

    /// Ends a command and everything that it started. One that has ended is left alone, and so is what it left behind.
    pub async fn kill_process(self: &Arc<Self>, id: &str, pid: u32) -> Result<()> {
        let (machine, _busy) = self.ready(id).await?;
        let command = command(&machine, pid)?;
        self.kill_command(&machine, &command).await
    }

    /// Ends a command whole, wherever it was found.
    pub async fn kill_command(&self, machine: &Machine, command: &Command) -> Result<()> {
        match machine.running()?.end(command.pid).await {
            // It ended between the look-up and the signal, or before; what was asked for is so.
            Ok(()) | Err(IsolationError::Invalid(_)) => Ok(()),
            Err(error) => Err(Error::isolation("killing a process", error)),
        }
    }
}

/// One command of a machine.
pub fn command(machine: &Machine, pid: u32) -> Result<Arc<Command>> {
    machine.processes.get(pid).ok_or_else(|| {
        Error::new(
            Kind::NotFound,
            format!(
                "machine {} has no process {pid} that was started through the API",
                machine.id
            ),
        )
    })
}

/// The error of a command that ran too long.
pub fn timed_out(command: &Command, limit: Duration) -> Error {
    let excerpt = |text: String| {
        let mut from = text.len().saturating_sub(TIMEOUT_EXCERPT);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        text[from..].to_owned()
    };
    let logs = command.logs();
    Error::new(
        Kind::ExecTimeout,
        format!(
            "the command ran longer than {} s and was ended with all that it had started",
            limit.as_secs()
        ),
    )
    .with_action("give a larger `timeout`, or run it in the background")
    .with_details(json!({
        "pid": command.pid,
        "timeout_secs": limit.as_secs(),
        "stdout": excerpt(logs.stdout),
        "stderr": excerpt(logs.stderr),
    }))
}
