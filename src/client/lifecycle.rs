//! What happens to a machine as a whole: leases, pauses, forks, snapshots, its network. Source: PROTOCOL.md section 3.

use std::time::Duration;

use super::call::{json, Call, Client, Outcome, DEFAULT_TIMEOUT};
use super::machine::{Machine, RESUME_TIMEOUT};
use super::single::{Planned, Single};
use crate::core::error::Error;
use crate::core::lease::SetTimeout;
use crate::core::options::{Fields, Value};
use crate::core::snapshots::Keyed;
use crate::core::{config, egress, events, http, previews};
use crate::transport::{Answer, Decoder, Transport};

impl<T: Transport> Machine<T> {
    /// Moves the end of the lease.
    pub fn set_timeout(&self, set: &SetTimeout) -> Planned<T> {
        let mut call = self.on(
            "setMachineTimeout",
            "POST",
            "/timeout",
            Decoder::SetTimeoutResponse,
            set.request_timeout,
        );
        call.body = Some(json(&set.request)?);
        Ok(self.single(call))
    }

    /// Freezes the machine into a snapshot; a resume makes it run again.
    pub fn pause(&self, timeout: Option<Duration>) -> Single<T> {
        let call = self.long("hibernateMachine", "/hibernate", Decoder::SnapshotInfo, timeout);
        self.single(call)
    }

    /// What makes a second machine that goes on from where this one is. Its answer becomes one in [`Machine::taken_up`].
    pub fn forking(&self, keyed: Keyed) -> Single<T> {
        let own_key = keyed.idempotency_key.is_some();
        let call = self.keyed("forkMachine", "/fork", Decoder::MachineHandle, keyed);
        self.single(call).making(own_key, false)
    }

    /// Keeps the machine as it is now, for later creates.
    pub fn create_snapshot(&self, keyed: Keyed) -> Single<T> {
        let call = self.keyed("createSnapshot", "/snapshots", Decoder::SnapshotInfo, keyed);
        self.single(call)
    }

    /// Replaces the whole network policy; the answer is the new one.
    pub fn update_egress(&self, policy: &Value, timeout: Option<Duration>) -> Planned<T> {
        let request = egress::update(policy)?;
        let mut call = self.on(
            "updateMachineEgress",
            "PATCH",
            "/egress",
            Decoder::UpdateEgressResponse,
            timeout,
        );
        call.body = Some(json(&request)?);
        Ok(self.single(call).field("egress"))
    }

    /// Where a port can be reached.
    pub fn host(&self, port: &Value, timeout: Option<Duration>) -> Planned<T> {
        let port = previews::port(port)?;
        let mut call = self.on(
            "getMachineHost",
            "POST",
            "/host",
            Decoder::GetHostResponse,
            timeout,
        );
        call.body = Some(format!("{{\"port\":{port}}}"));
        Ok(self.single(call))
    }

    /// URL of a port. Servers without public host names give only a host; the scheme is then that of the API.
    pub async fn url(&self, port: &Value, websocket: bool, timeout: Option<Duration>) -> Outcome<T, String> {
        let host = self.host(port, timeout)?.send().await?;
        if let Some(url) = host.text(if websocket { "websocketUrl" } else { "url" }) {
            return Ok(url);
        }
        let name = host
            .text("host")
            .ok_or_else(|| Error::invalid_response("getMachineHost: the answer has no host"))?;
        let scheme = match (websocket, self.client.is_secure()) {
            (false, false) => "http",
            (false, true) => "https",
            (true, false) => "ws",
            (true, true) => "wss",
        };
        Ok(format!("{scheme}://{name}"))
    }

    /// What happened to it, a page.
    pub fn events(&self, options: Option<&Value>) -> Planned<T> {
        let fields = config::call_fields(options, &events::LIST)?;
        let query = events::list(&fields)?;
        let mut call = self.on(
            "listMachineLifecycleEvents",
            "GET",
            "/lifecycle",
            Decoder::LifecycleEvents,
            fields.seconds("requestTimeout")?,
        );
        call.path = http::with_query(&call.path, &query);
        Ok(self.single(call))
    }

    fn keyed(&self, operation: &'static str, under: &str, decoder: Decoder, keyed: Keyed) -> Call {
        let mut call = self.long(operation, under, decoder, keyed.request_timeout);
        call.idempotency_key = Some(
            keyed
                .idempotency_key
                .unwrap_or_else(|| self.client.transport().uuid()),
        );
        call
    }

    /// A call that copies memory or disk: its time is not that of the handle.
    fn long(
        &self,
        operation: &'static str,
        under: &str,
        decoder: Decoder,
        timeout: Option<Duration>,
    ) -> Call {
        let timeout = self.client.timeout(timeout, RESUME_TIMEOUT);
        self.on(operation, "POST", under, decoder, Some(timeout))
    }
}

/// What happened to all machines and snapshots, a page.
pub fn all_events<T: Transport>(client: &Client<T>, fields: &Fields<'_>) -> Planned<T> {
    events_at(client, "listLifecycleEvents", "/v1/lifecycle/events", fields)
}

/// What happened to a snapshot, a page: also when it is gone.
pub fn snapshot_events<T: Transport>(client: &Client<T>, id: &str, fields: &Fields<'_>) -> Planned<T> {
    let path = format!("/v1/snapshots/{}/lifecycle", http::encode(id));
    events_at(client, "listSnapshotLifecycleEvents", &path, fields)
}

/// What happened to a machine, a page: also when it is gone.
pub fn machine_events<T: Transport>(client: &Client<T>, id: &str, fields: &Fields<'_>) -> Planned<T> {
    let path = format!("/v1/machines/{}/lifecycle", http::encode(id));
    events_at(client, "listMachineLifecycleEvents", &path, fields)
}

fn events_at<T: Transport>(
    client: &Client<T>,
    operation: &'static str,
    path: &str,
    fields: &Fields<'_>,
) -> Planned<T> {
    let query = events::list(fields)?;
    let call = Call::new(
        operation,
        "GET",
        http::with_query(path, &query),
        Decoder::LifecycleEvents,
        client.timeout(None, DEFAULT_TIMEOUT),
    );
    Ok(Single::new(client, call))
}
