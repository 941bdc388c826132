//! The commands of one machine: a table of them, and the task that reads what each prints.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use nullspace_wire::exec::{ProcessInfo, ProcessLogs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::output::{Log, Sink, Stream};
use crate::isolation::{Exit, Input, Process};
use crate::machine::ground::sync::lock;

/// Ended commands whose logs stay as they are, a machine. Those of older ones move to the disk.
const KEPT_ENDED: usize = 256;
/// Bytes of the logs of older commands. Beyond them the oldest logs go; that they did, and how the command ended, stays.
const KEPT_OLD_BYTES: u64 = 64 << 20;
/// Older commands of which anything is known.
const KEPT_OLD: usize = 4096;
/// Bytes read at once.
const CHUNK: usize = 32 << 10;
/// Chunks that may wait for one listener, 512 KiB. A slow listener then slows the command: nothing grows.
const WAITING_CHUNKS: usize = 16;
/// After a command has ended its output is read until its streams end or stay silent for so long: children that it
/// left behind may hold them open for ever.
const QUIET: Duration = Duration::from_millis(50);
/// And never longer than this.
const LONGEST_DRAIN: Duration = Duration::from_secs(1);

/// A piece of output for a listener.
pub type Chunk = (Stream, Arc<[u8]>);

/// A line that the engine adds to the output of a command.
pub struct Note {
    /// Where it goes.
    pub stream: Stream,
    /// What it says.
    pub text: String,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself or by a signal.
    Exited(Exit),
    /// With its machine.
    MachineEnded,
}

impl End {
    /// Exit code; a command that ended with its machine was killed.
    pub fn code(self) -> i32 {
        match self {
            End::Exited(exit) => exit.code,
            End::MachineEnded => 137,
        }
    }
}

/// A started command.
pub struct Command {
    /// Id inside the machine.
    pub pid: u32,
    /// As given.
    pub text: String,
    sink: Mutex<Sink>,
    stdin: tokio::sync::Mutex<Option<Input>>,
    listeners: Mutex<Vec<mpsc::Sender<Chunk>>>,
    end: watch::Sender<Option<End>>,
    timed_out: OnceLock<Duration>,
    /// Ended, and not among the last ones that did.
    is_old: AtomicBool,
}

impl Command {
    /// The time limit that the command was killed at.
    pub fn timed_out(&self) -> Option<Duration> {
        self.timed_out.get().copied()
    }

    /// Notes that the command is killed at its time limit.
    pub fn set_timed_out(&self, limit: Duration) {
        // Set once: a command has one limit.
        let _ = self.timed_out.set(limit);
    }

    /// How it ended, once it has and its output was read.
    pub fn ended(&self) -> Option<End> {
        *self.end.borrow()
    }

    /// Waits for the end.
    pub async fn end(&self) -> End {
        let mut end = self.end.subscribe();
        let seen = end.wait_for(Option::is_some).await.map(|end| *end);
        // The sender lives as long as `self`, so waiting cannot fail.
        seen.ok().flatten().unwrap_or(End::MachineEnded)
    }

    /// Keeps a text in a log of [`Sink::Notes`].
    pub fn note(&self, text: &str) {
        if let Sink::Notes(log) = &mut *lock(&self.sink) {
            log.push(Stream::Stdout, text.as_bytes());
        }
    }

    /// Output so far.
    pub fn logs(&self) -> ProcessLogs {
        let mut logs = lock(&self.sink).read();
        logs.exit_code = self.ended().map(End::code);
        logs
    }

    /// Does something with the log, where there is one.
    fn log(&self, work: impl FnOnce(&mut Log) -> u64) -> u64 {
        match &mut *lock(&self.sink) {
            Sink::Log(log) | Sink::Notes(log) => work(log),
            Sink::Capture(_) | Sink::Nothing => 0,
        }
    }

    /// Hears what is printed from now on, until the command ends. A listener that does not keep up slows it down.
    pub fn listen(&self) -> mpsc::Receiver<Chunk> {
        let (sender, receiver) = mpsc::channel(WAITING_CHUNKS);
        let mut listeners = lock(&self.listeners);
        // The end is announced before the listeners are dropped: one that comes in between hears it at once.
        if self.ended().is_none() {
            listeners.push(sender);
        }
        receiver
    }

    /// Writes to standard input. `Ok(false)`: it is closed, or never was open.
    pub async fn write(&self, data: &[u8]) -> std::io::Result<bool> {
        self.write_counted(data, &AtomicUsize::new(0)).await
    }

    /// The same; `count` says how many bytes were written, also to a caller that waits no longer.
    pub async fn write_counted(&self, data: &[u8], count: &AtomicUsize) -> std::io::Result<bool> {
        let mut stdin = self.stdin.lock().await;
        let Some(input) = stdin.as_mut() else {
            return Ok(false);
        };
        let written = async {
            while count.load(Ordering::Relaxed) < data.len() {
                let written = input.write(&data[count.load(Ordering::Relaxed)..]).await?;
                if written == 0 {
                    return Err(std::io::ErrorKind::WriteZero.into());
                }
                count.fetch_add(written, Ordering::Relaxed);
            }
            input.flush().await
        };
        let result = tokio::select! {
            result = written => result,
            // What it may have ended by was taken all the same.
            _ = self.end() => return Ok(!data.is_empty() && count.load(Ordering::Relaxed) == data.len()),
        };
        match result {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                *stdin = None;
                Ok(false)
            }
            other => other.map(|()| true),
        }
    }

    /// Closes standard input.
    pub async fn close_stdin(&self) {
        *self.stdin.lock().await = None;
    }

    async fn deliver(&self, stream: Stream, bytes: &[u8]) {
        lock(&self.sink).push(stream, bytes);
        let listeners = lock(&self.listeners).clone();
        if listeners.is_empty() {
            return;
        }
        let chunk: Arc<[u8]> = bytes.into();
        for listener in &listeners {
            // An error means that the listener went away.
            let _ = listener.send((stream, chunk.clone())).await;
        }
        lock(&self.listeners).retain(|l| !l.is_closed());
    }

    /// Tells of an end that the command itself could not tell of, in every way of running it: as the last line of its
    /// output.
    async fn explain(&self, end: End, out_of_memory: &Note) {
        if matches!(end, End::Exited(exit) if exit.out_of_memory) {
            self.deliver(out_of_memory.stream, out_of_memory.text.as_bytes())
                .await;
        }
    }

    /// Announces the end; only the first announcement counts.
    fn finish(&self, end: End) {
        self.end.send_if_modified(|known| {
            let is_news = known.is_none();
            known.get_or_insert(end);
            is_news
        });
        // Listeners hear the end of the stream.
        lock(&self.listeners).clear();
    }
}

/// The commands of one machine.
pub struct Processes {
    directory: PathBuf,
    next_log: AtomicU64,
    table: Mutex<BTreeMap<u32, Arc<Command>>>,
    old: Mutex<Old>,
}

/// Commands that ended long ago, the oldest first.
#[derive(Default)]
struct Old {
    /// With logs, and the size of each.
    whole: VecDeque<(Arc<Command>, u64)>,
    bytes: u64,
    /// Without.
    bare: VecDeque<Arc<Command>>,
}

impl Old {
    /// Takes one more in. Gives those that nothing is known of from now on.
    fn push(&mut self, command: Arc<Command>) -> Option<Arc<Command>> {
        command.is_old.store(true, Ordering::Relaxed);
        let bytes = command.log(|log| {
            log.rest();
            log.size()
        });
        self.bytes += bytes;
        self.whole.push_back((command, bytes));
        while self.bytes > KEPT_OLD_BYTES || self.whole.len() > KEPT_OLD {
            let Some((oldest, bytes)) = self.whole.pop_front() else {
                break;
            };
            self.bytes -= bytes;
            oldest.log(|log| {
                log.discard();
                0
            });
            self.bare.push_back(oldest);
        }
        (self.bare.len() + self.whole.len() > KEPT_OLD)
            .then(|| self.bare.pop_front())
            .flatten()
    }
}

impl Processes {
    /// No commands; logs spill into `directory`, which is made when needed.
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            next_log: AtomicU64::new(1),
            table: Mutex::new(BTreeMap::new()),
            old: Mutex::default(),
        }
    }

    /// Where the next log spills to.
    pub fn log_path(&self) -> PathBuf {
        let number = self.next_log.fetch_add(1, Ordering::Relaxed);
        self.directory.join(format!("{number}.log"))
    }

    /// Takes a started process into the table and reads its output. `listener` hears it from the first byte.
    pub fn adopt(
        &self,
        process: Process,
        text: String,
        sink: Sink,
        listener: Option<mpsc::Sender<Chunk>>,
        gone: CancellationToken,
        out_of_memory: Note,
    ) -> Arc<Command> {
        let command = Arc::new(Command {
            pid: process.pid,
            text,
            sink: Mutex::new(sink),
            stdin: tokio::sync::Mutex::new(process.stdin),
            listeners: Mutex::new(listener.into_iter().collect()),
            end: watch::Sender::new(None),
            timed_out: OnceLock::new(),
            is_old: AtomicBool::new(false),
        });
        let mut table = lock(&self.table);
        table.insert(command.pid, command.clone());
        let ended: Vec<Arc<Command>> = table
            .values()
            .filter(|c| c.ended().is_some() && !c.is_old.load(Ordering::Relaxed))
            .cloned()
            .collect();
        let too_many = ended.len().saturating_sub(KEPT_ENDED);
        for command in ended.into_iter().take(too_many) {
            if let Some(forgotten) = lock(&self.old).push(command) {
                // Its number may belong to another command by now.
                let is_same = |known: &Arc<Command>| Arc::ptr_eq(known, &forgotten);
                if table.get(&forgotten.pid).is_some_and(is_same) {
                    table.remove(&forgotten.pid);
                }
            }
        }
        drop(table);
        let (stdout, stderr) = (process.stdout, process.stderr);
        let reader = read_output(command.clone(), stdout, stderr, process.exit, out_of_memory);
        let watched = command.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = reader => {}
                () = gone.cancelled() => watched.finish(End::MachineEnded),
            }
            // Nobody reads it any more. It is kept with the result, and of a terminal it is a place that others lack.
            watched.close_stdin().await;
        });
        command
    }

    /// A channel for a listener of a command that is about to start.
    pub fn channel() -> (mpsc::Sender<Chunk>, mpsc::Receiver<Chunk>) {
        mpsc::channel(WAITING_CHUNKS)
    }

    /// One command.
    pub fn get(&self, pid: u32) -> Option<Arc<Command>> {
        lock(&self.table).get(&pid).cloned()
    }

    /// Forgets a command; its output is not readable any more.
    pub fn forget(&self, pid: u32) {
        lock(&self.table).remove(&pid);
    }

    /// All commands, by pid.
    pub fn list(&self) -> Vec<ProcessInfo> {
        lock(&self.table)
            .values()
            .map(|command| ProcessInfo {
                pid: command.pid,
                command: command.text.clone(),
                running: command.ended().is_none(),
            })
            .collect()
    }

    /// The machine ended: whoever waits for a command hears of it, and the logs go.
    pub fn close(&self) {
        let commands = std::mem::take(&mut *lock(&self.table));
        *lock(&self.old) = Old::default();
        for command in commands.values() {
            command.finish(End::MachineEnded);
        }
        drop(commands);
        // Made only when a log spilled.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Reads both streams until they end, announces the end of the process, and goes on reading for children that still
/// write: a closed pipe would kill them.
async fn read_output(
    command: Arc<Command>,
    mut stdout: crate::isolation::Output,
    mut stderr: crate::isolation::Output,
    mut exit: tokio::sync::oneshot::Receiver<Exit>,
    out_of_memory: Note,
) {
    let (mut out_buffer, mut err_buffer) = (vec![0; CHUNK], vec![0; CHUNK]);
    let (mut out_open, mut err_open) = (true, true);
    let mut end: Option<End> = None;
    let mut is_announced = false;
    let (mut quiet_at, mut latest) = (Instant::now(), Instant::now());
    while out_open || err_open {
        let (stream, read) = tokio::select! {
            // In this order, so that a flood of output cannot hide the end. When both streams have something,
            // standard output goes first: which was written first is not known.
            biased;
            exited = &mut exit, if end.is_none() => {
                end = Some(exited.map_or(End::MachineEnded, End::Exited));
                quiet_at = Instant::now() + QUIET;
                latest = Instant::now() + LONGEST_DRAIN;
                continue;
            }
            () = tokio::time::sleep_until(quiet_at.min(latest)), if end.is_some() && !is_announced => {
                is_announced = true;
                let end = end.unwrap_or(End::MachineEnded);
                command.explain(end, &out_of_memory).await;
                command.finish(end);
                continue;
            }
            read = stdout.read(&mut out_buffer), if out_open => (Stream::Stdout, read),
            read = stderr.read(&mut err_buffer), if err_open => (Stream::Stderr, read),
        };
        let count = read.unwrap_or(0);
        if count == 0 {
            match stream {
                Stream::Stdout => out_open = false,
                Stream::Stderr => err_open = false,
            }
            continue;
        }
        let buffer = if stream == Stream::Stdout {
            &out_buffer
        } else {
            &err_buffer
        };
        command.deliver(stream, &buffer[..count]).await;
        quiet_at = Instant::now() + QUIET;
    }
    if !is_announced {
        let end = match end {
            Some(end) => end,
            None => exit.await.map_or(End::MachineEnded, End::Exited),
        };
        command.explain(end, &out_of_memory).await;
        command.finish(end);
    }
}
