//! What a template runs in each machine made from it, and how a machine shows that it is ready.
//!
//! It runs before anybody has the machine, so that a ready machine of a warm pool has it running. It is no command of the
//! user's: lists do not show it, and what it prints goes to a file in the machine.

use std::sync::Arc;
use std::time::Duration;

use nullspace_wire::template::ReadinessProbe;
use nullspace_wire::Envs;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::exec::{user_environment, DefaultUser};
use crate::isolation::{ExecSpec, Running};
use crate::machine::ground::{Error, Kind, Result};

/// Where its output goes, inside. Gone with the machine, and in no snapshot.
const LOG: &str = "/run/start-command.log";
/// Bytes of the log in an error.
const SHOWN: usize = 1000;
/// Milliseconds between two looks.
pub const INTERVAL_MS: u64 = 50;
/// Of a probe that does not say. Source: PROTOCOL.md section 11, "Readiness".
const PROBE_SECONDS: u64 = 30;
const PROBE_INTERVAL_MS: u64 = 500;
const PROBE_GRACE_SECONDS: u64 = 2;
/// One look may take so long.
const LOOK: Duration = Duration::from_secs(5);
/// Seconds until a machine that does not become ready is given up.
pub const DEFAULT_SECONDS: u64 = 60;
const MOST_SECONDS: u64 = 600;

/// What a template runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartCommand {
    /// Text for the shell.
    pub command: String,
    /// What shows that it is ready; `None` = that it was started.
    pub readiness: Option<Readiness>,
    /// Seconds until it must be.
    pub timeout_secs: u64,
    /// Milliseconds between two looks.
    #[serde(default = "interval")]
    pub interval_ms: u64,
}

fn interval() -> u64 {
    INTERVAL_MS
}

/// What shows that a machine is ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Readiness {
    /// A TCP port of the machine accepts.
    Port {
        /// Its number.
        port: u16,
    },
    /// It answers HTTP with a status below 500.
    Http {
        /// Number of the port.
        port: u16,
        /// What is asked for.
        path: String,
    },
    /// A command for the shell ends with 0.
    Command {
        /// Text for the shell.
        command: String,
    },
    /// So much time has passed.
    Wait {
        /// How much.
        timeout_ms: u64,
    },
}

impl StartCommand {
    /// As a build asks for it. The grace of a probe is time that is added to its limit: a machine that is ready at once is not
    /// made to wait.
    pub fn of_probe(command: &str, probe: Option<&ReadinessProbe>) -> Self {
        let (readiness, limit, interval, grace) = match probe.cloned() {
            None => (None, None, None, None),
            Some(ReadinessProbe::Tcp {
                port,
                timeout_secs,
                interval_ms,
                startup_grace_secs,
            }) => (
                Some(Readiness::Port { port }),
                timeout_secs,
                interval_ms,
                startup_grace_secs,
            ),
            Some(ReadinessProbe::Http {
                port,
                path,
                timeout_secs,
                interval_ms,
                startup_grace_secs,
            }) => (
                Some(Readiness::Http { port, path }),
                timeout_secs,
                interval_ms,
                startup_grace_secs,
            ),
            Some(ReadinessProbe::Command {
                command,
                timeout_secs,
                interval_ms,
                startup_grace_secs,
            }) => (
                Some(Readiness::Command { command }),
                timeout_secs,
                interval_ms,
                startup_grace_secs,
            ),
            Some(ReadinessProbe::Timeout { timeout_ms }) => {
                let limit = timeout_ms.div_ceil(1000) + 1;
                (Some(Readiness::Wait { timeout_ms }), Some(limit), None, Some(0))
            }
        };
        let limit = limit.unwrap_or(PROBE_SECONDS);
        Self {
            command: command.to_owned(),
            readiness,
            timeout_secs: limit.saturating_add(grace.unwrap_or(PROBE_GRACE_SECONDS)),
            interval_ms: interval.unwrap_or(PROBE_INTERVAL_MS),
        }
    }

    /// Checks the probe of a build.
    pub fn check_probe(&self) -> Result<()> {
        let wrong =
            |name: &str, what: String| Err(Error::invalid(&format!("runtime_config.readiness.{name}"), what));
        match &self.readiness {
            Some(Readiness::Port { port: 0 } | Readiness::Http { port: 0, .. }) => {
                return wrong("port", "is 0: give one such as 8080".into());
            }
            Some(Readiness::Http { path, .. })
                if !path.starts_with('/') || path.contains(char::is_whitespace) =>
            {
                return wrong("path", format!("is {path:?}: give one such as \"/healthz\""));
            }
            Some(Readiness::Command { command }) if command.trim().is_empty() || command.contains('\0') => {
                return wrong(
                    "command",
                    format!("is {command:?}: give one such as \"test -e /run/ready\""),
                );
            }
            _ => {}
        }
        if !(1..=MOST_SECONDS).contains(&self.timeout_secs) {
            let name = match self.readiness {
                Some(Readiness::Wait { .. }) => "timeout_ms",
                _ => "timeout_secs",
            };
            return wrong(
                name,
                format!("is too much or nothing: give at most {MOST_SECONDS} s, such as {PROBE_SECONDS}"),
            );
        }
        if !(1..=60_000).contains(&self.interval_ms) {
            return wrong(
                "interval_ms",
                format!("is {}: give 1 to 60000, such as 500", self.interval_ms),
            );
        }
        Ok(())
    }

    /// Checks it.
    pub fn check(&self) -> Result<()> {
        let blank = |field, text: &str, good| match text.trim().is_empty() || text.contains('\0') {
            true => Err(Error::invalid(
                field,
                format_args!("is blank: give one such as {good:?}"),
            )),
            false => Ok(()),
        };
        blank("start_command", &self.command, "node /srv/server.js")?;
        match &self.readiness {
            Some(Readiness::Http { path, .. })
                if !path.starts_with('/') || path.contains(char::is_whitespace) =>
            {
                return Err(Error::invalid(
                    "ready_path",
                    format_args!("is {path:?}: give one such as \"/healthz\""),
                ));
            }
            Some(Readiness::Command { command }) => blank("ready_command", command, "test -e /run/ready")?,
            _ => {}
        }
        if !(1..=MOST_SECONDS).contains(&self.timeout_secs) {
            return Err(Error::invalid(
                "ready_timeout",
                format_args!(
                    "is {}: give 1 to {MOST_SECONDS} seconds, such as {DEFAULT_SECONDS}",
                    self.timeout_secs
                ),
            ));
        }
        Ok(())
    }

    /// Runs it in a machine that has just started, and waits until that is ready.
    pub async fn run(
        &self,
        running: &Arc<dyn Running>,
        memory_mb: u32,
        envs: &Envs,
        cwd: &str,
        user: Option<&DefaultUser>,
    ) -> Result<()> {
        let begun = Instant::now();
        let all = user_environment(memory_mb, user, envs.clone());
        let shell = |command: &str| ExecSpec {
            argv: vec!["/bin/sh".into(), "-c".into(), command.to_owned()],
            envs: all.clone(),
            cwd: cwd.to_owned(),
            user: user.map(|user| user.name.clone()),
            ..Default::default()
        };
        if user.is_some() {
            // Who may not write to /run gets the log made.
            let mut make = shell(&format!("umask 0; : >{LOG}"));
            make.user = None;
            make.cwd = "/".to_owned();
            let made = running.exec(make).await;
            let made = made.map_err(|e| Error::isolation("making the log of the template's command", e))?;
            let _ = made.exit.await;
        }
        let redirected = format!("exec >>{LOG} 2>&1\n{}", self.command);
        let started = running.exec(shell(&redirected)).await;
        let mut process = started.map_err(|e| Error::isolation("starting the template's command", e))?;
        let Some(readiness) = &self.readiness else {
            return Ok(());
        };
        if let Readiness::Wait { timeout_ms } = readiness {
            tokio::time::sleep(Duration::from_millis(*timeout_ms)).await;
            return match process.exit.try_recv() {
                Ok(exit) if exit.code != 0 => {
                    let why = format!("ended with exit code {}", exit.code);
                    Err(self.failed(running, shell(""), &why).await)
                }
                _ => Ok(()),
            };
        }
        let limit = Duration::from_secs(self.timeout_secs);
        let mut ended = None;
        while begun.elapsed() < limit {
            // A command that puts its work into the background ends with 0, and is not done.
            if ended.is_none() {
                ended = process.exit.try_recv().ok();
            }
            if let Some(exit) = ended.filter(|exit| exit.code != 0) {
                return Err(self
                    .failed(running, shell(""), &format!("ended with exit code {}", exit.code))
                    .await);
            }
            let look = readiness.look(running, &shell);
            if tokio::time::timeout(LOOK.min(limit), look).await.unwrap_or(false) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(self.interval_ms)).await;
        }
        let why = format!("was not ready within {} s", self.timeout_secs);
        Err(self.failed(running, shell(""), &why).await)
    }

    /// An error that shows what the command printed last.
    async fn failed(&self, running: &Arc<dyn Running>, mut tail: ExecSpec, why: &str) -> Error {
        tail.argv = vec!["tail".into(), "-c".into(), SHOWN.to_string(), LOG.into()];
        let mut printed = String::new();
        if let Ok(process) = running.exec(tail).await {
            let mut bytes = Vec::new();
            let _ =
                tokio::time::timeout(LOOK, process.stdout.take(SHOWN as u64).read_to_end(&mut bytes)).await;
            printed = String::from_utf8_lossy(&bytes).trim().to_owned();
        }
        let said = if printed.is_empty() {
            String::new()
        } else {
            format!("; it printed last: {printed}")
        };
        Error::new(
            Kind::ExecFailed,
            format!("the template's start command {why}{said}"),
        )
        .with_action("mend the command, or its readiness, and make the template again")
    }
}

impl Readiness {
    async fn look(&self, running: &Arc<dyn Running>, shell: &impl Fn(&str) -> ExecSpec) -> bool {
        match self {
            Readiness::Port { port } => running.dial(*port).await.is_ok(),
            Readiness::Http { port, path } => {
                let Ok(mut stream) = running.dial(*port).await else {
                    return false;
                };
                let request =
                    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
                let mut head = [0; 12];
                let asked = async {
                    stream.write_all(request.as_bytes()).await?;
                    stream.read_exact(&mut head).await
                };
                // `HTTP/1.1 200`
                asked.await.is_ok() && head.starts_with(b"HTTP/1.") && (b'1'..b'5').contains(&head[9])
            }
            Readiness::Command { command } => match running.exec(shell(command)).await {
                Ok(process) => process.exit.await.is_ok_and(|exit| exit.code == 0),
                Err(_) => false,
            },
            Readiness::Wait { .. } => true,
        }
    }
}
