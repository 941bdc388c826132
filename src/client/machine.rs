//! Machines. Source: PROTOCOL.md sections 3 and 4.

use std::future::Future;
use std::time::Duration;

use nullspace_wire::api::{self, Route};

use super::call::{Call, Client, Failure, Outcome, Sent, DEFAULT_TIMEOUT};
use super::orphan::KillOnDrop;
use super::policy::Echo;
use super::single::{Planned, SingleRequest};
use super::stream::Running;
use crate::core::error::Error;
use crate::core::options::{Fields, Value};
use crate::core::retry;
use crate::core::{config, egress, exec, http, machine};
use crate::surface::{self, machines, previews};
use crate::transport::{Answer, Transport};

/// HTTP time of a create and of later calls on that handle.
const CREATE_TIMEOUT: Duration = Duration::from_secs(120);
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

/// What `runOnce` does.
pub struct Once {
    request: Value,
    body: Value,
    least: Duration,
}

impl Once {
    /// Checks what `runOnce` was given.
    pub fn read(
        command: &Value,
        fields: &Fields<'_>,
        environment: &dyn config::Environment,
    ) -> Result<Self, Error> {
        let timeout = exec::timeout(fields)?;
        Ok(Self {
            request: exec::request(command, &machine_free(fields), timeout)?,
            body: machine::create_for_run_once(fields, timeout, environment)?,
            least: exec::least_request_timeout(timeout),
        })
    }
}

/// A machine, taken up. Cheap to clone: clones share one client.
#[derive(Clone)]
pub struct Machine<T> {
    pub(super) client: Client<T>,
    /// `mch_...`
    pub id: String,
    pub(super) proof: Option<String>,
    timeout: Duration,
}

impl<T: Transport> Machine<T> {
    /// What makes a machine: the same key and body, until the answer is certain. Its answer becomes a machine in [`Machine::made`].
    pub fn creation(client: &Client<T>, fields: &Fields<'_>, body: &Value) -> Planned<T> {
        let key = surface::idempotency_key(fields)?;
        Ok(Self::creation_with(client, body, key)?)
    }

    /// `key`: the caller's own.
    fn creation_with(
        client: &Client<T>,
        body: &Value,
        key: Option<String>,
    ) -> Result<SingleRequest<T>, Error> {
        let path = api::CREATE_MACHINE.path.to_owned();
        let mut call = Call::new(&api::CREATE_MACHINE, path, client.timeout(None, CREATE_TIMEOUT));
        call.body = Some(body.to_json());
        let own_key = key.is_some();
        call.idempotency_key = Some(key.unwrap_or_else(|| client.transport().uuid()));
        let network = body.get("network");
        let mut single = SingleRequest::new(client, call).making(own_key, true);
        if network.is_some_and(egress::has_domains) {
            single = single.telling(Echo::Domains);
        }
        if network.is_some_and(|network| network.get("secrets").is_some()) {
            single = single.telling(Echo::Secrets);
        }
        Ok(single)
    }

    /// Makes a machine.
    pub async fn create(creation: SingleRequest<T>) -> Outcome<T, Self> {
        let (client, timeout) = (creation.client().clone(), creation.timeout());
        Ok(Self::made(&client, creation.finish().await?, timeout)?)
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
            proof: None,
            timeout,
        })
    }

    /// Takes up a machine; a paused one is resumed. `timeout`: a new lease.
    pub async fn connect(client: &Client<T>, id: &str, lease: Option<&Value>) -> Outcome<T, T::Answer> {
        let id = [Some(Value::Text(id.to_owned()))];
        let info = client.plan(&machines::GET_INFO_BY_ID, &id, None)?.send().await?;
        let answer = match info.text("status").as_deref() {
            Some("paused") => client.plan(&machines::RESUME, &id, None)?.send().await?,
            _ => info,
        };
        if let Some(lease) = lease {
            let found = Self::taken_up(client, &answer)?;
            let moved = found.plan(&machines::SET_TIMEOUT, &[Some(lease.clone())], None)?;
            moved.send().await?;
        }
        Ok(answer)
    }

    /// The machine that an answer is about, of which its maker learns no more.
    pub fn taken_up(client: &Client<T>, answer: &T::Answer) -> Result<Self, Error> {
        Self::of(client, answer, client.timeout(None, DEFAULT_TIMEOUT))
    }

    /// Makes a machine, runs one command, destroys the machine whatever happened.
    pub async fn run_once(client: &Client<T>, once: Once) -> Outcome<T, T::Answer> {
        let creation = Self::creation_with(client, &once.body, None)?;
        let made = Self::create(creation).await?;
        let guard = KillOnDrop::new(made);
        let text = once.request.to_json();
        let mut tries = 0;
        let result = loop {
            tries += 1;
            match guard.exec(text.clone(), None, once.least).send().await {
                Err(Failure::Error(error))
                    if error.code == "exec_failed" && tries < retry::RUN_ONCE_TRIES =>
                {
                    client.transport().sleep(retry::RUN_ONCE_DELAY).await;
                }
                result => break result.map_err(|failure| explained(failure, &once.request)),
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

    /// A machine that was taken up before: what its handle remembers of it.
    pub fn held(client: &Client<T>, id: String, timeout: Option<Duration>, proof: Option<String>) -> Self {
        Self {
            client: client.clone(),
            id,
            proof,
            timeout: timeout.unwrap_or_else(|| client.timeout(None, DEFAULT_TIMEOUT)),
        }
    }

    /// HTTP time of its calls.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What its maker alone was told, for its later calls.
    pub fn proof(&self) -> Option<&str> {
        self.proof.as_deref()
    }

    /// What makes a second machine that goes on from where this one is. Its answer becomes one in [`Machine::taken_up`].
    pub fn forking(&self, options: Option<&Value>) -> Planned<T> {
        let own_key = matches!(options, Some(Value::Object(list)) if list.iter().any(|(name, _)| name == "idempotencyKey"));
        Ok(self.plan(&machines::FORK, &[], options)?.making(own_key, false))
    }

    /// Asks whether its status is `running`.
    pub fn asking_whether_it_runs(
        &self,
        options: Option<&Value>,
    ) -> Outcome<T, impl Future<Output = Outcome<T, bool>> + 'static> {
        call_options(options)?;
        let asked = self.plan(&machines::GET_INFO, &[], options)?;
        Ok(async move { Ok(asked.send().await?.text("status").as_deref() == Some("running")) })
    }

    /// Asks for the URL of a port. Servers without public host names give only a host; the scheme is then that of the API.
    pub fn asking_for_url(
        &self,
        port: &Value,
        websocket: bool,
        options: Option<&Value>,
    ) -> Outcome<T, impl Future<Output = Outcome<T, String>> + 'static> {
        let asked = self.plan(&previews::HOST, &[Some(port.clone())], options)?;
        let scheme = match (websocket, self.client.is_secure()) {
            (false, false) => "http",
            (false, true) => "https",
            (true, false) => "ws",
            (true, true) => "wss",
        };
        Ok(async move {
            let host = asked.send().await?;
            if let Some(url) = host.text(if websocket { "websocketUrl" } else { "url" }) {
                return Ok(url);
            }
            let name = host
                .text("host")
                .ok_or_else(|| Error::invalid_response("getMachineHost: the answer has no host"))?;
            Ok(format!("{scheme}://{name}"))
        })
    }

    /// Destroys the machine, quietly: for one that nobody holds.
    pub(super) async fn end(&self) -> Outcome<T, ()> {
        self.plan(&machines::KILL, &[], None)?.send().await.map(drop)
    }

    /// Runs a command: in the foreground to its end, in the background without waiting.
    pub async fn execute(&self, run: exec::Run) -> Outcome<T, Ran<T>> {
        if run.heard {
            let running = self.stream(&run.request).await?;
            let background = run.background;
            return Ok(Ran::Heard { running, background });
        }
        let body = run.request.to_json();
        let ran = if run.background {
            self.start(body, run.request_timeout).await.map(Ran::Started)
        } else {
            let call = self.exec(body, run.request_timeout, run.least_request_timeout);
            call.send().await.map(Ran::Ended)
        };
        ran.map_err(|failure| explained(failure, &run.request))
    }

    /// Runs a program given as text.
    pub fn code_run(&self, code: &Value, options: Option<&Value>) -> Planned<T> {
        let run = exec::code_run(code, options)?;
        let body = run.request.to_json();
        Ok(self.exec(body, run.request_timeout, run.least_request_timeout))
    }

    pub(super) fn exec(&self, body: String, timeout: Option<Duration>, least: Duration) -> SingleRequest<T> {
        let mut call = self.on(&api::EXEC_COMMAND, &[], timeout);
        // A long command must not die of the HTTP limit that nobody asked for.
        if timeout.is_none() && !self.client.has_timeout() {
            call.timeout = call.timeout.max(least);
        }
        call.body = Some(body);
        call.proof = self.proof.clone();
        self.single(call)
    }

    pub(super) fn single(&self, call: Call) -> SingleRequest<T> {
        SingleRequest::new(&self.client, call)
    }

    /// A call on this machine; `ids` are those behind its own in the path.
    pub(super) fn on(&self, route: &'static Route, ids: &[&str], timeout: Option<Duration>) -> Call {
        let ids = [&[self.id.as_str()], ids].concat();
        Call::new(route, http::fill(route.path, &ids), self.time(timeout))
    }

    /// Path of a socket of this machine.
    pub(super) fn socket_path(&self, route: &Route) -> String {
        http::fill(route.path, &[&self.id])
    }

    fn time(&self, timeout: Option<Duration>) -> Duration {
        timeout.unwrap_or(self.timeout)
    }
}

/// What a command failed with, explained.
fn explained<X>(failure: Failure<X>, request: &Value) -> Failure<X> {
    match failure {
        Failure::Error(error) => exec::explained(error, exec::is_line(request)).into(),
        failure => failure,
    }
}

/// The fields of `runOnce` that its command has: environment and directory belong to its machine.
fn machine_free<'a>(fields: &Fields<'a>) -> Fields<'a> {
    fields.only(&["args", "shell"])
}

/// Reads the options of a call on a handle that takes no others.
pub fn call_options(options: Option<&Value>) -> Result<Option<Duration>, Error> {
    config::call_fields(options, &[])?.seconds("requestTimeout")
}
