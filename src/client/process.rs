//! Processes of a machine, and a command in the background. Source: PROTOCOL.md section 4.

use std::time::Duration;

use nullspace_wire::api;

use super::call::Outcome;
use super::machine::Machine;
use super::plan::timed;
use crate::core::error::Error;
use crate::core::exec::{self, Wait};
use crate::core::options::Value;
use crate::surface::processes;
use crate::transport::{Answer, Decoder, Transport};

/// Looks for the exit code of an ended command: 5 s in all. Source: PROTOCOL.md section 4.
const EXIT_CODE_LOOKS: u32 = 50;
/// Between two of them.
const EXIT_CODE_INTERVAL: Duration = Duration::from_millis(100);

impl<T: Transport> Machine<T> {
    /// Starts a command and does not wait for it. `body` says so.
    pub async fn start(&self, body: String, timeout: Option<Duration>) -> Outcome<T, u32> {
        let mut call = self.on(&api::EXEC_COMMAND, &[], timeout);
        call.decoder = Decoder::BackgroundExecResponse;
        call.body = Some(body);
        call.proof = self.proof.clone();
        let pid = self.client.call(&call).await?.number("pid");
        Ok(pid.ok_or_else(|| Error::invalid_response("execMachine: the answer has no pid"))? as u32)
    }

    /// Waits for the end of a process: its logs, with the exit code.
    ///
    /// The list is looked at until it ends and the logs only then, since they may be long. A process whose exit code
    /// stays away is an error: it never counts as 0.
    pub async fn wait(&self, pid: u32, wait: &Wait) -> Outcome<T, T::Answer> {
        let options = timed(wait.request_timeout);
        let options = options.as_ref();
        let transport = self.transport();
        let started = transport.now_ms();
        while self.is_listed_running(pid, options).await? {
            let mut pause = wait.interval;
            if let Some(timeout) = wait.timeout {
                let left = timeout.as_secs_f64() - (transport.now_ms() - started) / 1000.0;
                if left <= 0.0 {
                    return Err(exec::still_runs(pid, timeout).into());
                }
                pause = pause.min(Duration::from_secs_f64(left));
            }
            transport.sleep(pause).await;
        }
        for _ in 0..EXIT_CODE_LOOKS {
            let logs = self
                .plan(&processes::LOGS, &[Some(pid.into())], options)?
                .send()
                .await?;
            if logs.number("exitCode").is_some() {
                return Ok(logs);
            }
            transport.sleep(EXIT_CODE_INTERVAL).await;
        }
        Err(Error::invalid_response(format!(
            "process {pid} has ended, but the server does not say how: it has no exit code"
        ))
        .into())
    }

    /// Ends a command that nobody hears any more.
    pub(super) async fn kill_quietly(&self, pid: u32) -> Outcome<T, ()> {
        self.plan(&processes::KILL, &[Some(pid.into())], None)?
            .send()
            .await
            .map(drop)
    }

    async fn is_listed_running(&self, pid: u32, options: Option<&Value>) -> Outcome<T, bool> {
        let list = self.plan(&processes::LIST, &[], options)?.send().await?;
        let mut running = false;
        list.each(&mut |process| {
            running |= process.number("pid") == Some(f64::from(pid)) && process.flag("running") == Some(true);
        });
        Ok(running)
    }
}
