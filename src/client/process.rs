//! Processes of a machine, and a command in the background. Source: PROTOCOL.md section 4.

use std::time::Duration;

use nullspace_wire::exec::StdinRequest;

use super::call::{json, Call, Outcome};
use super::machine::Machine;
use super::single::{Planned, Single};
use crate::core::error::Error;
use crate::core::exec::{self, Wait};
use crate::core::options::Value;
use crate::transport::{Answer, Decoder, Transport};

/// Looks for the exit code of an ended command: 5 s in all. Source: PROTOCOL.md section 4.
const EXIT_CODE_LOOKS: u32 = 50;
/// Between two of them.
const EXIT_CODE_INTERVAL: Duration = Duration::from_millis(100);

impl<T: Transport> Machine<T> {
    /// Starts a command and does not wait for it. `body` says so.
    pub async fn start(&self, body: String, timeout: Option<Duration>) -> Outcome<T, u32> {
        let mut call = self.on(
            "execMachine",
            "POST",
            "/exec",
            Decoder::BackgroundExecResponse,
            timeout,
        );
        call.body = Some(body);
        call.proof = self.proof.clone();
        let pid = self.client.call(&call).await?.number("pid");
        Ok(pid.ok_or_else(|| Error::invalid_response("execMachine: the answer has no pid"))? as u32)
    }

    /// What the API started here.
    pub fn processes(&self, timeout: Option<Duration>) -> Single<T> {
        let call = self.on(
            "listProcesses",
            "GET",
            "/processes",
            Decoder::ProcessList,
            timeout,
        );
        self.single(call)
    }

    /// What a process printed so far.
    pub fn logs(&self, pid: u32, timeout: Option<Duration>) -> Single<T> {
        let call = self.process(
            "getProcessLogs",
            "GET",
            pid,
            "logs",
            Decoder::ProcessLogs,
            timeout,
        );
        self.single(call)
    }

    /// Ends a process and its children.
    pub fn kill_process(&self, pid: u32, timeout: Option<Duration>) -> Single<T> {
        let call = self.process("killProcess", "POST", pid, "kill", Decoder::Nothing, timeout);
        self.single(call)
    }

    /// Writes to the standard input of a process.
    pub fn send_stdin(&self, pid: u32, data: &Value, timeout: Option<Duration>) -> Planned<T> {
        self.write_stdin(pid, &exec::stdin(data)?, timeout)
    }

    /// Writes bytes, given as base64, to the standard input of a process.
    pub fn send_stdin_bytes(&self, pid: u32, base64: String, timeout: Option<Duration>) -> Planned<T> {
        let request = StdinRequest {
            data_base64: Some(base64),
            ..Default::default()
        };
        self.write_stdin(pid, &request, timeout)
    }

    fn write_stdin(&self, pid: u32, request: &StdinRequest, timeout: Option<Duration>) -> Planned<T> {
        let mut call = self.process(
            "sendProcessStdin",
            "POST",
            pid,
            "stdin",
            Decoder::Nothing,
            timeout,
        );
        call.body = Some(json(request)?);
        Ok(self.single(call))
    }

    /// Waits for the end of a process: its logs, with the exit code.
    ///
    /// The list is looked at until it ends and the logs only then, since they may be long. A process whose exit code
    /// stays away is an error: it never counts as 0.
    pub async fn wait(&self, pid: u32, wait: &Wait) -> Outcome<T, T::Answer> {
        let transport = self.transport();
        let started = transport.now_ms();
        while self.is_listed_running(pid, wait.request_timeout).await? {
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
            let logs = self.logs(pid, wait.request_timeout).send().await?;
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

    async fn is_listed_running(&self, pid: u32, timeout: Option<Duration>) -> Outcome<T, bool> {
        let list = self.processes(timeout).send().await?;
        let mut running = false;
        list.each(&mut |process| {
            running |= process.number("pid") == Some(f64::from(pid)) && process.flag("running") == Some(true);
        });
        Ok(running)
    }

    fn process(
        &self,
        operation: &'static str,
        method: &'static str,
        pid: u32,
        verb: &str,
        decoder: Decoder,
        timeout: Option<Duration>,
    ) -> Call {
        let under = format!("/processes/{pid}/{verb}");
        self.on(operation, method, &under, decoder, timeout)
    }
}
