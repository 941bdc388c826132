//! Who may reach the ports of a machine from outside: grants and their tokens. The way itself is the server's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nullspace_wire::limits::SIGNED_URL_SECS;
use nullspace_wire::preview::PreviewGrantInfo;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::machine::ground::sync::lock;
use crate::machine::ground::{clock, ids, Error, Kind, Result};
use crate::machine::live::Machine;
use crate::machine::Engine;

/// How long a grant holds when the caller does not say, in seconds: an hour.
pub const DEFAULT_SECONDS: u64 = 3600;
/// Source: schema, `expires_in_seconds`.
const SECONDS: std::ops::RangeInclusive<u64> = SIGNED_URL_SECS.min..=SIGNED_URL_SECS.max;
/// Most grants of a machine that are remembered; the oldest go first.
const KEPT_GRANTS: usize = 256;

/// Where a token comes from and what it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In URLs, for browsers.
    Direct,
    /// In headers, for a reverse proxy of the caller.
    Proxy,
}

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A request and its answer.
    Http,
    /// A WebSocket.
    WebSocket,
}

/// A grant with its tokens.
#[derive(Debug, Clone)]
pub struct Grant {
    /// As shown.
    pub info: PreviewGrantInfo,
    /// Opens HTTP.
    pub http_token: Option<String>,
    /// Opens WebSockets.
    pub websocket_token: Option<String>,
    /// Goes on with the session of a browser that came with the HTTP token.
    pub cookie: String,
    mode: Mode,
    expires: Instant,
}

/// Grants of one machine, and the addresses at which its ports are reached.
#[derive(Default)]
pub struct Previews {
    grants: Mutex<Vec<Grant>>,
    addresses: Mutex<BTreeMap<u16, SocketAddr>>,
    named: Mutex<BTreeSet<u16>>,
}

/// Why a token opens nothing. Wire codes: PROTOCOL.md section 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No grant has it.
    Invalid,
    /// Its grant has ended.
    Expired,
    /// Its grant was taken back.
    Revoked,
    /// It is for the other transport.
    Scope,
}

impl Previews {
    /// Where a port is reached, if it is.
    pub fn address(&self, port: u16) -> Option<SocketAddr> {
        lock(&self.addresses).get(&port).copied()
    }

    /// Whether one of the ports is reached at this address.
    pub fn is_address(&self, is_it: impl Fn(SocketAddr) -> bool) -> bool {
        lock(&self.addresses).values().any(|address| is_it(*address))
    }

    /// Notes where a port is reached. If somebody else was faster, theirs is answered.
    pub fn set_address(&self, port: u16, address: SocketAddr) -> SocketAddr {
        *lock(&self.addresses).entry(port).or_insert(address)
    }

    /// Lets a port be reached by its name.
    pub fn open_name(&self, port: u16) {
        lock(&self.named).insert(port);
    }

    /// Whether a port is reached by its name.
    pub fn has_name(&self, port: u16) -> bool {
        lock(&self.named).contains(&port)
    }

    /// Checks a token and counts its use.
    pub fn admit(
        &self,
        port: u16,
        mode: Mode,
        transport: Transport,
        token: &str,
    ) -> std::result::Result<Grant, Refusal> {
        let mut grants = lock(&self.grants);
        let same = |known: &Option<String>| {
            known
                .as_deref()
                .is_some_and(|k| bool::from(k.as_bytes().ct_eq(token.as_bytes())))
        };
        let found = grants.iter_mut().find_map(|grant| {
            if grant.mode != mode || grant.info.port != port {
                return None;
            }
            let kind =
                if same(&grant.http_token) || (mode == Mode::Direct && same(&Some(grant.cookie.clone()))) {
                    Transport::Http
                } else if same(&grant.websocket_token) {
                    Transport::WebSocket
                } else {
                    return None;
                };
            Some((grant, kind))
        });
        let Some((grant, kind)) = found else {
            return Err(Refusal::Invalid);
        };
        grant.look();
        match grant.info.status.as_str() {
            "revoked" => return Err(Refusal::Revoked),
            "expired" => return Err(Refusal::Expired),
            _ if kind != transport => return Err(Refusal::Scope),
            _ => {}
        }
        let now = clock::now();
        grant.info.use_count += 1;
        match transport {
            Transport::Http => grant.info.http_request_count += 1,
            Transport::WebSocket => grant.info.websocket_connection_count += 1,
        }
        grant.info.first_used_at.get_or_insert(now.clone());
        grant.info.last_used_at = Some(now);
        Ok(grant.clone())
    }
}

impl Grant {
    /// Brings the status up to date.
    fn look(&mut self) {
        if self.info.status == "active" && self.expires <= clock::instant() {
            self.info.status = "expired".into();
        }
    }
}

/// Checks a port. Source: schema, GetHostRequest.
pub fn check_port(port: u16) -> Result<u16> {
    match port {
        0 | 22 | 5900..=5999 => Err(Error::invalid(
            "port",
            format_args!("is {port}: 0, 22 and 5900 to 5999 are reserved; give one such as 8080"),
        )),
        port => Ok(port),
    }
}

/// Where previews and SSH listen; without a word on free ports.
#[derive(Debug, Clone, Default)]
pub struct Ports {
    /// Of previews, on all addresses.
    pub previews: Option<RangeInclusive<u16>>,
    /// Of SSH.
    pub ssh: Option<u16>,
    /// Where others reach this computer, if it is not the address that the API listens on.
    pub host: Option<String>,
}

impl Engine {
    /// Takes these ports. Said once, before requests come.
    pub fn use_ports(&self, ports: Ports) {
        let _ = self.ports.set(ports);
    }

    /// Ports that were asked for.
    pub fn ports(&self) -> Ports {
        self.ports.get().cloned().unwrap_or_default()
    }

    /// Lets pages of these origins use the ports of machines without a token. Said once, before requests come.
    pub fn let_pages_in(&self, origins: Vec<String>) {
        let _ = self.pages.set(origins);
    }

    /// Whether pages of an origin, in small letters, may use the ports of machines without a token.
    pub fn lets_in(&self, origin: &str) -> bool {
        self.pages
            .get()
            .is_some_and(|pages| pages.iter().any(|page| page == origin))
    }

    /// Grants access to a port.
    pub async fn grant_preview(
        &self,
        id: &str,
        port: u16,
        mode: Mode,
        transports: &[Transport],
        seconds: Option<u64>,
    ) -> Result<Grant> {
        let port = check_port(port)?;
        let seconds = seconds.unwrap_or(DEFAULT_SECONDS);
        if !SECONDS.contains(&seconds) {
            let text = format!("is {seconds}: give 60 to 86400, such as {DEFAULT_SECONDS}");
            return Err(Error::invalid("expires_in_seconds", text));
        }
        let machine = self.live_machine(id).await?;
        let (now, life) = (clock::now(), Duration::from_secs(seconds));
        let kind = |t: &Transport| match t {
            Transport::Http => "http_port".to_owned(),
            Transport::WebSocket => "websocket_port".to_owned(),
        };
        let (auth_mode, bootstrap, prefix) = match mode {
            Mode::Direct => ("direct", "query", "edge"),
            Mode::Proxy => ("proxy", "header", "proxy"),
        };
        let token = |t| transports.contains(&t).then(|| ids::secret(prefix));
        let grant = Grant {
            info: PreviewGrantInfo {
                id: ids::grant(),
                machine_id: id.into(),
                port,
                status: "active".into(),
                auth_mode: auth_mode.into(),
                bootstrap_transport: bootstrap.into(),
                token_kinds: transports.iter().map(kind).collect(),
                principal_kind: "user".into(),
                issued_at: now.clone(),
                expires_at: clock::after(life),
                use_count: 0,
                http_request_count: 0,
                websocket_connection_count: 0,
                bytes_in_count: 0,
                bytes_out_count: 0,
                created_at: now.clone(),
                updated_at: now,
                revoked_at: None,
                first_used_at: None,
                last_used_at: None,
            },
            http_token: token(Transport::Http),
            websocket_token: token(Transport::WebSocket),
            cookie: ids::secret("session"),
            mode,
            expires: clock::instant() + life,
        };
        let mut grants = lock(&machine.previews.grants);
        if grants.len() >= KEPT_GRANTS {
            grants.remove(0);
        }
        grants.push(grant.clone());
        Ok(grant)
    }

    /// Grants of a machine, newest first.
    pub async fn list_previews(&self, id: &str, port: Option<u16>) -> Result<Vec<PreviewGrantInfo>> {
        let machine = self.live_machine(id).await?;
        let mut grants = lock(&machine.previews.grants);
        grants.iter_mut().for_each(Grant::look);
        let wanted = grants
            .iter()
            .rev()
            .filter(|g| port.is_none_or(|port| g.info.port == port));
        Ok(wanted.map(|g| g.info.clone()).collect())
    }

    /// Takes a grant back: its tokens open nothing from now on.
    pub async fn revoke_preview(&self, id: &str, grant: &str) -> Result<PreviewGrantInfo> {
        let machine = self.live_machine(id).await?;
        let mut grants = lock(&machine.previews.grants);
        let found = grants.iter_mut().find(|g| g.info.id == grant);
        let found = found.ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!("machine {id} has no preview grant {grant}"),
            )
        })?;
        if found.info.revoked_at.is_none() {
            let now = clock::now();
            found.info.status = "revoked".into();
            found.info.updated_at = now.clone();
            found.info.revoked_at = Some(now);
        }
        Ok(found.info.clone())
    }

    /// A machine for its ports: it may be paused.
    pub async fn machine_of_port(&self, id: &str) -> Result<Arc<Machine>> {
        self.live_machine(id).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ports_are_refused() {
        for port in [0, 22, 5900, 5999] {
            assert!(check_port(port).is_err(), "{port}");
        }
        for port in [1, 80, 5899, 6000, 65535] {
            assert_eq!(check_port(port).unwrap(), port);
        }
    }
}
