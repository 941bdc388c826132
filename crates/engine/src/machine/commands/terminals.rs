//! Terminals: shells that survive the socket they were opened on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nullspace_wire::exec::PtySessionInfo;
use nullspace_wire::Envs;

use super::exec::{default_user, environment, Streamed, Wanted};
use super::output::Sink;
use super::processes::{Command, Processes};
use crate::isolation::{ExecSpec, PtySize};
use crate::machine::ground::sync::lock;
use crate::machine::ground::{ids, Error, Kind, Result};
use crate::machine::live::Machine;
use crate::machine::{validate, Engine};

/// Starts the best shell that the machine has, as a login shell.
pub(super) const SHELL: &str = "if [ -x /bin/bash ]; then exec /bin/bash -l; else exec /bin/sh -l; fi";

/// A terminal and the shell in it.
#[derive(Clone)]
pub struct Terminal {
    /// `pty_...`
    pub id: String,
    /// The shell.
    pub command: Arc<Command>,
    size: PtySize,
}

/// The terminals of one machine.
#[derive(Default)]
pub struct Terminals(Mutex<BTreeMap<String, Terminal>>);

/// Which terminal is meant.
#[derive(Debug, Clone)]
pub enum Which {
    /// By its id.
    Session(String),
    /// By the process in it.
    Pid(u32),
}

impl Terminals {
    /// Those whose shell runs.
    fn alive(&self) -> Vec<Terminal> {
        let mut all = lock(&self.0);
        all.retain(|_, terminal| terminal.command.ended().is_none());
        all.values().cloned().collect()
    }
}

impl Terminal {
    /// What answers show.
    pub fn info(&self) -> PtySessionInfo {
        PtySessionInfo {
            session_id: self.id.clone(),
            pid: self.command.pid,
            cols: u32::from(self.size.cols),
            rows: u32::from(self.size.rows),
            exec_id: format!("exec_{}", self.command.pid),
        }
    }
}

/// Checks a size in characters.
pub fn size(cols: u64, rows: u64) -> Result<PtySize> {
    let side = |field: &str, value: u64, good: u16| match u16::try_from(value) {
        Ok(side) if side > 0 => Ok(side),
        _ => Err(Error::invalid(
            field,
            format_args!("is {value}: give 1 to 65535, such as {good}"),
        )),
    };
    Ok(PtySize {
        cols: side("cols", cols, 120)?,
        rows: side("rows", rows, 30)?,
    })
}

impl Engine {
    /// Opens a terminal and hears it from the first byte.
    pub async fn open_terminal(
        self: &Arc<Self>,
        id: &str,
        size: PtySize,
        cwd: Option<String>,
        envs: Envs,
    ) -> Result<(Terminal, Streamed)> {
        let (machine, busy) = self.ready(id).await?;
        validate::check_envs("envs", &envs)?;
        let cwd = cwd.map(|cwd| validate::absolute("cwd", &cwd)).transpose()?;
        let mut all = Envs::from([("TERM".to_owned(), "xterm-256color".to_owned())]);
        all.extend(environment(&machine, envs));
        let wanted = Wanted {
            text: "terminal".into(),
            spec: ExecSpec {
                argv: vec!["/bin/sh".into(), "-c".into(), SHELL.into()],
                envs: all,
                cwd: cwd.unwrap_or_else(|| machine.read(|r| r.cwd.clone())),
                user: default_user(&machine),
                stdin: true,
                pty: Some(size),
            },
            timeout: None,
        };
        let (sender, output) = Processes::channel();
        let command = self
            .start_command(&machine, wanted, Sink::Nothing, Some(sender))
            .await?;
        let terminal = Terminal {
            id: ids::terminal(),
            command: command.clone(),
            size,
        };
        lock(&machine.terminals.0).insert(terminal.id.clone(), terminal.clone());
        let streamed = Streamed {
            machine,
            command,
            output,
            busy,
        };
        Ok((terminal, streamed))
    }

    /// Hears an open terminal, from now on.
    pub async fn attach_terminal(self: &Arc<Self>, id: &str, which: &Which) -> Result<(Terminal, Streamed)> {
        let (machine, busy) = self.ready(id).await?;
        let terminal = find(&machine, which)?;
        let streamed = Streamed {
            output: terminal.command.listen(),
            command: terminal.command.clone(),
            machine,
            busy,
        };
        Ok((terminal, streamed))
    }

    /// The open terminals of a machine.
    pub async fn list_terminals(self: &Arc<Self>, id: &str) -> Result<Vec<PtySessionInfo>> {
        let (machine, _busy) = self.ready(id).await?;
        Ok(machine.terminals.alive().iter().map(Terminal::info).collect())
    }

    /// One open terminal.
    pub async fn terminal(self: &Arc<Self>, id: &str, which: &Which) -> Result<PtySessionInfo> {
        let (machine, _busy) = self.ready(id).await?;
        Ok(find(&machine, which)?.info())
    }

    /// Changes the size of a terminal.
    pub async fn resize_terminal(self: &Arc<Self>, id: &str, which: &Which, size: PtySize) -> Result<()> {
        let (machine, _busy) = self.ready(id).await?;
        let terminal = find(&machine, which)?;
        let resized = machine.running()?.resize(terminal.command.pid, size).await;
        resized.map_err(|e| Error::isolation("resizing a terminal", e))?;
        if let Some(known) = lock(&machine.terminals.0).get_mut(&terminal.id) {
            known.size = size;
        }
        Ok(())
    }

    /// Ends the shell of a terminal, and with it the terminal.
    pub async fn kill_terminal(self: &Arc<Self>, id: &str, which: &Which) -> Result<()> {
        let (machine, _busy) = self.ready(id).await?;
        let terminal = find(&machine, which)?;
        self.kill_command(&machine, &terminal.command).await?;
        // With the last holder of its other side the terminal hangs up what the shell left behind.
        terminal.command.close_stdin().await;
        Ok(())
    }
}

fn find(machine: &Machine, which: &Which) -> Result<Terminal> {
    let alive = machine.terminals.alive();
    let found = alive.into_iter().find(|terminal| match which {
        Which::Session(id) => terminal.id == *id,
        Which::Pid(pid) => terminal.command.pid == *pid,
    });
    found.ok_or_else(|| {
        Error::new(
            Kind::NotFound,
            format!(
                "machine {} has no open terminal of that name: it ended, or never was",
                machine.id
            ),
        )
    })
}
