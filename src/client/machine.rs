//! Machines. Source: PROTOCOL.md sections 3 and 4.

use std::time::Duration;

use super::call::{json, Call, Client, Failure, Outcome, Sent, DEFAULT_TIMEOUT};
use super::orphan::KillOnDrop;
use super::single::{Planned, Single};
use super::stream::Running;
use crate::core::error::Error;
use crate::core::options::{Fields, Value};
use crate::core::retry;
use crate::core::{config, exec, http, machine};
use crate::transport::{Answer, Decoder, Transport};

/// HTTP time of a create and of later calls on that handle.
const CREATE_TIMEOUT: Duration = Duration::from_secs(120);
/// HTTP time of a pause, resume, fork and snapshot.
pub(super) const RESUME_TIMEOUT: Duration = Duration::from_secs(300);

/// What came of a command.
pub enum Ran<T: Transport> {
    /// In the foreground: its result.
    Ended(T::Answer),
    /// On a socket, since the caller wants its output as it comes.
    Heard {
        /// The command.
        running: Running<T>,
        /// Whether the call ends when it runs, not when it has ended.
        background: bool,
    },
    /// In the background: its process id.
    Started(u32),
}

/// A machine, taken up. Cheap to clone: clones share one client.
#[derive(Clone)]
pub struct Machine<T> {
    pub(super) client: Client<T>,
    /// `mch_...`
    pub id: String,
    /// Working directory of commands, when the server said so.
    pub cwd: Option<String>,
    /// Opens private preview ports; only its maker learns it.
    pub traffic_access_token: Option<String>,
    pub(super) proof: Option<String>,
    timeout: Duration,
}

impl<T: Transport> Machine<T> {
    /// What makes a machine: the same key and body, until the answer is certain. Its answer becomes a machine in [`Machine::made`].
    pub fn creation(client: &Client<T>, fields: &Fields<'_>) -> Planned<T> {
        let request = machine::create(fields)?;
        let key = match fields.filled("idempotencyKey")? {
            Some(key) => {
                http::check_header("idempotencyKey", "idempotency-key", key)?;
                Some(key.to_owned())
            }
            None => None,
        };
        Ok(Self::creation_with(client, machine::create_body(&request)?, key))
    }

    /// `key`: the caller's own.
    fn creation_with(client: &Client<T>, body: String, key: Option<String>) -> Single<T> {
        let mut call = Call::new(
            "createMachine",
            "POST",
            "/v1/machines".to_owned(),
            Decoder::CreateMachineResponse,
            client.timeout(None, CREATE_TIMEOUT),
        );
        call.body = Some(body);
        let own_key = key.is_some();
        call.idempotency_key = Some(key.unwrap_or_else(|| client.transport().uuid()));
        Single::new(client, call).making(own_key, true)
    }

    /// Makes a machine.
    pub async fn create(creation: Single<T>) -> Outcome<T, Self> {
        let (client, timeout) = (creation.client().clone(), creation.timeout());
        Ok(Self::made(&client, creation.finish(None).await?, timeout)?)
    }

    /// The machine that an answer is about. `timeout`: HTTP time of its later calls.
    pub fn made(client: &Client<T>, sent: Sent<T::Answer>, timeout: Duration) -> Result<Self, Error> {
        let mut made = Self::of(client, &sent.answer, timeout)?;
        made.proof = sent.dispatch_proof;
        Ok(made)
    }

    /// The same for calls that the caller did not make: hooks are not told.
    pub(super) fn quiet(&self) -> Self {
        let mut quiet = self.clone();
        quiet.client = self.client.quiet();
        quiet
    }

    pub(super) fn of(client: &Client<T>, answer: &T::Answer, timeout: Duration) -> Result<Self, Error> {
        Ok(Self {
            client: client.clone(),
            id: answer
                .text("id")
                .ok_or_else(|| Error::invalid_response("the machine has no id"))?,
            cwd: answer.text("cwd"),
            traffic_access_token: answer.text("trafficAccessToken"),
            proof: None,
            timeout,
        })
    }

    /// Takes up a machine; a paused one is resumed. `timeout`: a new lease.
    pub async fn connect(client: &Client<T>, id: &str, lease: Option<Duration>) -> Outcome<T, Self> {
        let info = Self::info_by_id(client, id, None, None).send().await?;
        let answer = match info.text("status").as_deref() {
            Some("paused") => Self::resuming(client, id).send().await?,
            _ => info,
        };
        let found = Self::taken_up(client, &answer)?;
        if let Some(lease) = lease {
            let mut call = found.on(
                "setMachineTimeout",
                "POST",
                "/timeout",
                Decoder::SetTimeoutResponse,
                None,
            );
            call.body = Some(format!("{{\"timeout_ms\":{}}}", lease.as_millis()));
            client.call(&call).await?;
        }
        Ok(found)
    }

    /// What resumes a paused machine.
    pub fn resuming(client: &Client<T>, id: &str) -> Single<T> {
        let call = Call::new(
            "resumeMachine",
            "POST",
            format!("{}/resume", path(id)),
            Decoder::MachineHandle,
            client.timeout(None, RESUME_TIMEOUT),
        );
        Single::new(client, call)
    }

    /// The machine that an answer is about, of which its maker learns no more.
    pub fn taken_up(client: &Client<T>, answer: &T::Answer) -> Result<Self, Error> {
        Self::of(client, answer, client.timeout(None, DEFAULT_TIMEOUT))
    }

    /// Describes a machine without resuming it. `fields`: the names wanted, comma-joined.
    pub fn info_by_id(
        client: &Client<T>,
        id: &str,
        fields: Option<String>,
        timeout: Option<Duration>,
    ) -> Single<T> {
        let decoder = if fields.is_some() {
            Decoder::MachineRow
        } else {
            Decoder::MachineInfo
        };
        let url = match fields {
            Some(fields) => http::with_query(&path(id), &[("fields", fields)]),
            None => path(id),
        };
        let call = Call::new(
            "getMachine",
            "GET",
            url,
            decoder,
            client.timeout(timeout, DEFAULT_TIMEOUT),
        );
        Single::new(client, call)
    }

    /// Samples of a machine.
    pub fn metrics_by_id(client: &Client<T>, id: &str, timeout: Option<Duration>) -> Single<T> {
        let timeout = client.timeout(timeout, DEFAULT_TIMEOUT);
        let call = Call::new(
            "getMachineMetrics",
            "GET",
            format!("{}/metrics", path(id)),
            Decoder::MachineMetricsList,
            timeout,
        );
        Single::new(client, call)
    }

    /// Destroys a machine.
    pub fn kill_by_id(client: &Client<T>, id: &str, timeout: Option<Duration>) -> Single<T> {
        let call = Call::new(
            "destroyMachine",
            "DELETE",
            path(id),
            Decoder::Nothing,
            client.timeout(timeout, DEFAULT_TIMEOUT),
        );
        Single::new(client, call)
    }

    /// Makes a machine, runs one command, destroys the machine whatever happened.
    pub async fn run_once(client: &Client<T>, command: &Value, fields: &Fields<'_>) -> Outcome<T, T::Answer> {
        let timeout = exec::timeout(fields)?;
        let request = exec::request(command, &machine_free(fields), timeout)?;
        let body = machine::create_for_run_once(fields, timeout)?;
        let made = Self::create(Self::creation_with(client, machine::create_body(&body)?, None)).await?;
        let guard = KillOnDrop::new(made);
        let text = json(&request)?;
        let least = exec::least_request_timeout(timeout);
        let mut tries = 0;
        let result = loop {
            tries += 1;
            match guard.exec(text.clone(), None, least).send().await {
                Err(Failure::Error(error))
                    if error.code == "exec_failed" && tries < retry::RUN_ONCE_TRIES =>
                {
                    client.transport().sleep(retry::RUN_ONCE_DELAY).await;
                }
                result => break result,
            }
        };
        let killed = guard.kill().await;
        let answer = result?;
        // The command has run: its result is worth more than an error of the cleaning up, unless a function threw.
        match killed {
            Err(Failure::Thrown(thrown)) => Err(Failure::Thrown(thrown)),
            _ => Ok(answer),
        }
    }

    /// The transport of its client.
    pub fn transport(&self) -> &T {
        self.client.transport()
    }

    /// Describes the machine.
    pub fn info(&self, fields: Option<String>, timeout: Option<Duration>) -> Single<T> {
        Self::info_by_id(&self.client, &self.id, fields, Some(self.time(timeout)))
    }

    /// Whether its status is `running`.
    pub async fn is_running(&self, timeout: Option<Duration>) -> Outcome<T, bool> {
        Ok(self.info(None, timeout).send().await?.text("status").as_deref() == Some("running"))
    }

    /// Samples of the machine.
    pub fn metrics(&self, timeout: Option<Duration>) -> Single<T> {
        Self::metrics_by_id(&self.client, &self.id, Some(self.time(timeout)))
    }

    /// Destroys the machine.
    pub fn kill(&self, timeout: Option<Duration>) -> Single<T> {
        Self::kill_by_id(&self.client, &self.id, Some(self.time(timeout)))
    }

    /// Runs a command in the foreground.
    pub fn run(&self, command: &Value, options: Option<&Value>) -> Planned<T> {
        let run = exec::run(command, options)?;
        if run.request.background == Some(true) {
            let what = "is not supported here: run the command in the foreground";
            return Err(Error::option("background", what).into());
        }
        Ok(self.exec(
            json(&run.request)?,
            run.request_timeout,
            run.least_request_timeout,
        ))
    }

    /// Runs a command: in the foreground to its end, in the background without waiting.
    pub async fn execute(&self, command: &Value, options: Option<&Value>) -> Outcome<T, Ran<T>> {
        let run = exec::run(command, options)?;
        if run.heard {
            let background = run.request.background == Some(true);
            let running = self.stream(&run.request).await?;
            return Ok(Ran::Heard { running, background });
        }
        let body = json(&run.request)?;
        if run.request.background == Some(true) {
            return self.start(body, run.request_timeout).await.map(Ran::Started);
        }
        let call = self.exec(body, run.request_timeout, run.least_request_timeout);
        call.send().await.map(Ran::Ended)
    }

    /// Runs a program given as text.
    pub fn code_run(&self, code: &Value, options: Option<&Value>) -> Planned<T> {
        let run = exec::code_run(code, options)?;
        let body = json(&run.request)?;
        Ok(self.exec(body, run.request_timeout, run.least_request_timeout))
    }

    pub(super) fn exec(&self, body: String, timeout: Option<Duration>, least: Duration) -> Single<T> {
        let mut call = self.on("execMachine", "POST", "/exec", Decoder::ExecResponse, timeout);
        // A long command must not die of the HTTP limit that nobody asked for.
        if timeout.is_none() && !self.client.has_timeout() {
            call.timeout = call.timeout.max(least);
        }
        call.body = Some(body);
        call.proof = self.proof.clone();
        self.single(call)
    }

    pub(super) fn single(&self, call: Call) -> Single<T> {
        Single::new(&self.client, call)
    }

    pub(super) fn on(
        &self,
        operation: &'static str,
        method: &'static str,
        under: &str,
        decoder: Decoder,
        timeout: Option<Duration>,
    ) -> Call {
        Call::new(operation, method, self.under(under), decoder, self.time(timeout))
    }

    /// A path under this machine, for a socket.
    pub(super) fn under(&self, under: &str) -> String {
        let mut path = path(&self.id);
        path.push_str(under);
        path
    }

    fn time(&self, timeout: Option<Duration>) -> Duration {
        timeout.unwrap_or(self.timeout)
    }
}

fn path(id: &str) -> String {
    ["/v1/machines/", &http::encode(id)].concat()
}

/// The fields of `runOnce` that its command has: environment and directory belong to its machine.
fn machine_free<'a>(fields: &Fields<'a>) -> Fields<'a> {
    fields.only(&["args", "shell"])
}

/// Reads the options of a call on a handle.
pub fn call_options(
    options: Option<&Value>,
    more: &[&str],
) -> Result<(Option<Duration>, Option<String>), Error> {
    let fields = Fields::new("", options, &[more, &config::CALL_OPTIONS])?;
    config::signal(&fields)?;
    let names = if more.contains(&"fields") {
        machine::field_names(&fields)?
    } else {
        None
    };
    Ok((fields.seconds("requestTimeout")?, names))
}
