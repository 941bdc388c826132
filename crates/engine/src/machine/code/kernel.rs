//! The process of one context.
//!
//! It reads a cell a line and writes an event a line, both JSON. What it says is as little to be trusted as any other
//! output of a machine: lines that are no event are passed over, and too long ones end it.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use nullspace_wire::code::{CodeOutput, CodeOutputEvent};
use nullspace_wire::Envs;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

use super::artifacts::DIRECTORY;
use super::{Context, Language};
use crate::isolation::ExecSpec;
use crate::machine::commands::exec::{default_user, environment, Wanted};
use crate::machine::commands::output::{Sink, Stream, TextDecoder};
use crate::machine::commands::processes::{Chunk, Command, End, Processes};
use crate::machine::ground::clock::{now, unix_micros};
use crate::machine::ground::{ids, Error, Kind, Result};
use crate::machine::live::Machine;
use crate::machine::Engine;

/// Runs Python, and bash by way of it.
const PYTHON: &str = include_str!("kernel.py");
/// Runs JavaScript.
const JAVASCRIPT: &str = include_str!("kernel.js");
/// How a program reads what it runs: a command line is shown to everybody in the machine, and this one would be long.
const SOURCE: &str = "NULLSPACE_KERNEL";
/// How long a kernel may take to start.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long the mark at the end of a cell may take to come.
const MARK_PATIENCE: Duration = Duration::from_secs(1);
/// Most bytes of a line.
const LONGEST_LINE: usize = 16 << 20;
/// Exit code of a shell that does not find a program.
const NOT_FOUND: i32 = 127;
/// Characters of what a kernel said before it ended.
const EXCERPT: usize = 2000;

/// A kernel that waits for a cell, or runs one.
pub struct Kernel {
    command: Arc<Command>,
    output: mpsc::Receiver<Chunk>,
    /// Of a line that has not come whole.
    held: Vec<u8>,
    /// How far it was looked through for the end of the line.
    looked: usize,
    /// What came out beside the lines.
    beside: Beside,
    /// The kernel said that its cell ended.
    is_over: bool,
}

/// What the next thing is that a kernel does.
#[derive(Debug)]
pub enum Heard {
    /// It tells of its cell.
    Event(Box<CodeOutputEvent>),
    /// The cell ended.
    End,
    /// The kernel ended.
    Gone(Error),
}

/// Lines that are none of the API.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Own {
    Ready,
    End,
    /// Something that a cell left running printed, or failed with, after its cell had ended.
    Late {
        text: String,
    },
}

/// Output of children of a JavaScript cell, which the kernel does not see: plain, up to a mark at the end of each cell.
struct Beside {
    mark: Option<Vec<u8>>,
    decoder: TextDecoder,
    pending: Vec<u8>,
    /// Marks that came.
    marks: u32,
}

impl Beside {
    /// The text in front of a mark that may be there.
    fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let Some(mark) = &self.mark else {
            let keep = self.pending.len().saturating_sub(EXCERPT);
            self.pending.drain(..keep);
            return String::new();
        };
        let mut text = String::new();
        while let Some(at) = find(&self.pending, mark) {
            text.push_str(&self.decoder.push(&self.pending[..at]));
            self.pending.drain(..at + mark.len());
            self.marks += 1;
        }
        // The end may be the beginning of a mark.
        let longest = self.pending.len().min(mark.len() - 1);
        let begun = (1..=longest)
            .rev()
            .find(|n| mark.starts_with(&self.pending[self.pending.len() - n..]));
        let whole = self.pending.len() - begun.unwrap_or(0);
        text.push_str(&self.decoder.push(&self.pending[..whole]));
        self.pending.drain(..whole);
        text
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

impl Kernel {
    /// Starts the kernel of a context and waits until it takes cells.
    pub async fn start(engine: &Engine, machine: &Arc<Machine>, context: &Context) -> Result<Self> {
        context.pid.store(0, Ordering::Release);
        let mark = ids::secret("mark");
        let (program, line, source, arguments) = match context.language {
            Language::Python | Language::Bash => (
                "python3",
                r#"exec python3 -c 'import os; exec(compile(os.environ.pop("NULLSPACE_KERNEL"), "kernel", "exec"))' "$@""#,
                PYTHON,
                vec![context.language.name(), &context.id, DIRECTORY],
            ),
            Language::JavaScript => (
                "node",
                r#"exec 3>&1 1>&2 4<&0 </dev/null; exec node --expose-internals -e '(0, eval)([process.env.NULLSPACE_KERNEL, delete process.env.NULLSPACE_KERNEL][0]);' -- "$@""#,
                JAVASCRIPT,
                vec![&context.id, DIRECTORY, &mark],
            ),
        };
        let shell = format!("command -v {program} >/dev/null || exit {NOT_FOUND}; {line}");
        let mut argv = vec!["/bin/sh".to_owned(), "-c".into(), shell, program.into()];
        argv.extend(arguments.into_iter().map(str::to_owned));
        let wanted = Wanted {
            text: format!("code context {} ({})", context.id, context.language.name()),
            spec: ExecSpec {
                argv,
                envs: environment(machine, Envs::from([(SOURCE.into(), source.into())])),
                cwd: context.cwd.clone(),
                user: default_user(machine),
                stdin: true,
                ..Default::default()
            },
            timeout: None,
        };
        let (sender, output) = Processes::channel();
        let command = engine
            .start_command(
                machine,
                wanted,
                Sink::notes(&machine.processes.log_path()),
                Some(sender),
            )
            .await
            .map_err(
                |error| match error.details.as_ref().and_then(|details| details.get("field")) {
                    Some(option) if option == "cwd" => Error::invalid(
                        "cwd",
                        format_args!(
                            "is {:?}, where nothing can start: give a directory that exists",
                            context.cwd
                        ),
                    ),
                    _ if error.kind == Kind::ExecFailed => error.with_action(
                        "code needs /bin/sh in the machine: install it, or use a template that has it",
                    ),
                    _ => error,
                },
            )?;
        let mut kernel = Self {
            command,
            output,
            held: Vec::new(),
            looked: 0,
            beside: Beside {
                mark: (context.language == Language::JavaScript).then(|| format!("\0{mark}\0").into_bytes()),
                decoder: TextDecoder::default(),
                pending: Vec::new(),
                marks: 0,
            },
            is_over: false,
        };
        let ready = tokio::time::timeout(START_PATIENCE, kernel.ready()).await;
        let refused = match ready {
            Ok(Ok(())) => {
                context.pid.store(kernel.command.pid, Ordering::Release);
                return Ok(kernel);
            }
            Ok(Err(End::Exited(exit))) if exit.code == NOT_FOUND => Error::new(
                Kind::FeatureUnavailable,
                format!(
                    "the machine has no {program}, which {} code needs",
                    context.language.name()
                ),
            )
            .with_action(format!(
                "install {program} in the machine, or in the template it comes from"
            )),
            Ok(Err(_)) => kernel.gone(),
            Err(_) => Error::new(
                Kind::ExecFailed,
                format!("the kernel was not ready after {} s", START_PATIENCE.as_secs()),
            ),
        };
        kernel.kill(engine, machine).await;
        Err(refused)
    }

    async fn ready(&mut self) -> std::result::Result<(), End> {
        loop {
            match self.line().await {
                Some(KernelLine::Own(Own::Ready)) => return Ok(()),
                Some(_) => {}
                None => return Err(self.command.end().await),
            }
        }
    }

    /// Hands over a cell.
    pub async fn send(&self, code: &str, envs: &Envs) -> std::io::Result<()> {
        let mut line = json!({ "code": code, "envs": envs }).to_string();
        line.push('\n');
        // A kernel that is gone says so to who listens.
        self.command.write(line.as_bytes()).await.map(drop)
    }

    /// What it does next. Can be dropped at any time and asked again.
    pub async fn next(&mut self) -> Heard {
        loop {
            // What children printed comes on another stream, maybe later.
            if self.is_over && (self.beside.mark.is_none() || self.beside.marks > 0) {
                self.beside.marks = self.beside.marks.saturating_sub(1);
                self.is_over = false;
                return Heard::End;
            }
            let line = if self.is_over {
                match tokio::time::timeout(MARK_PATIENCE, self.line()).await {
                    Ok(line) => line,
                    // The cell closed the stream of its children.
                    Err(_) => {
                        self.is_over = false;
                        return Heard::End;
                    }
                }
            } else {
                self.line().await
            };
            match line {
                Some(KernelLine::Event(event)) => return Heard::Event(event),
                Some(KernelLine::Own(Own::End)) => self.is_over = true,
                Some(KernelLine::Own(Own::Late { text })) => self.command.note(&text),
                Some(_) => {}
                None => return Heard::Gone(self.gone()),
            }
        }
    }

    /// Why it ended, for a person.
    fn gone(&self) -> Error {
        let code = self.command.ended().map(End::code);
        let said = String::from_utf8_lossy(&self.beside.pending);
        let mut text = match code {
            Some(code) => format!("the kernel ended with code {code}"),
            None => "the kernel ended".into(),
        };
        let is_killed_for_memory =
            matches!(self.command.ended(), Some(End::Exited(exit)) if exit.out_of_memory);
        if is_killed_for_memory {
            text.push_str(" at the machine's memory limit");
        } else if !said.trim().is_empty() {
            text.push_str(": ");
            text.push_str(said.trim());
        }
        Error::new(Kind::ExecFailed, text)
    }

    /// Ends it.
    pub async fn kill(&self, engine: &Engine, machine: &Machine) {
        // The machine may be gone, and the kernel with it.
        let _ = engine.kill_command(machine, &self.command).await;
    }

    async fn line(&mut self) -> Option<KernelLine> {
        loop {
            if let Some(at) = self.held[self.looked..].iter().position(|byte| *byte == b'\n') {
                let at = self.looked + at;
                self.looked = 0;
                let line: Vec<u8> = self.held.drain(..=at).collect();
                return Some(KernelLine::read(&line[..at]));
            }
            self.looked = self.held.len();
            if self.held.len() > LONGEST_LINE {
                self.held.clear();
                self.looked = 0;
                return None;
            }
            let (stream, bytes) = self.output.recv().await?;
            match stream {
                Stream::Stdout => self.held.extend_from_slice(&bytes),
                Stream::Stderr => {
                    let text = self.beside.push(&bytes);
                    if !text.is_empty() {
                        let timestamp = unix_micros(&now().0).unwrap_or_default() / 1000;
                        let event = CodeOutputEvent::Stdout(CodeOutput { text, timestamp });
                        return Some(KernelLine::Event(Box::new(event)));
                    }
                    if self.beside.marks > 0 {
                        return Some(KernelLine::Other);
                    }
                }
            }
        }
    }
}

enum KernelLine {
    Event(Box<CodeOutputEvent>),
    Own(Own),
    Other,
}

impl KernelLine {
    fn read(line: &[u8]) -> Self {
        if let Ok(event) = serde_json::from_slice(line) {
            return KernelLine::Event(Box::new(event));
        }
        serde_json::from_slice(line).map_or(KernelLine::Other, KernelLine::Own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(mark: Option<&str>) -> Beside {
        Beside {
            mark: mark.map(|mark| mark.as_bytes().to_vec()),
            decoder: TextDecoder::default(),
            pending: Vec::new(),
            marks: 0,
        }
    }

    #[test]
    fn what_children_print_is_told_up_to_the_mark_wherever_it_is_cut() {
        let all = "aé<m>b<mm><m>".as_bytes();
        for first in 0..=all.len() {
            for second in first..=all.len() {
                let mut beside = beside(Some("<m>"));
                let parts = [&all[..first], &all[first..second], &all[second..]];
                let text: String = parts.iter().map(|part| beside.push(part)).collect();
                assert_eq!(
                    (text.as_str(), beside.marks),
                    ("aéb<mm>", 2),
                    "cut at {first} and {second}"
                );
                assert!(beside.pending.is_empty());
            }
        }
    }

    #[test]
    fn a_kernel_without_a_mark_keeps_the_end_of_what_it_said() {
        let mut beside = beside(None);
        for _ in 0..100 {
            assert_eq!(beside.push(&[b'x'; 100]), "");
        }
        beside.push(b"the end");
        assert_eq!(beside.pending.len(), EXCERPT);
        assert!(beside.pending.ends_with(b"the end"));
    }

    #[test]
    fn lines_that_are_no_event_are_passed_over() {
        for line in [
            "",
            "x",
            "[]",
            "{}",
            r#"{"type":"stdout"}"#,
            r#"{"type":"other"}"#,
            "\u{0}",
        ] {
            assert!(
                matches!(KernelLine::read(line.as_bytes()), KernelLine::Other),
                "{line}"
            );
        }
        let line = br#"{"type":"stdout","text":"a","timestamp":1}"#;
        let read = KernelLine::read(line);
        assert!(matches!(read, KernelLine::Event(event) if matches!(*event, CodeOutputEvent::Stdout(_))));
        assert!(matches!(
            KernelLine::read(br#"{"type":"end"}"#),
            KernelLine::Own(Own::End)
        ));
        let late = KernelLine::read(br#"{"type":"late","text":"a"}"#);
        assert!(matches!(late, KernelLine::Own(Own::Late { text }) if text == "a"));
    }
}
