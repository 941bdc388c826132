//! The listener for SSH clients: one port for all machines, on the address of the API.
//!
//! A caller of the API brings a public key and gets a certificate for it, which names one machine and one user and ends
//! soon. That is all there is to know: nothing is stored but the two keys of the listener, and whoever has no certificate of
//! it stays out. The certificate of a machine that is gone opens nothing.
//!
//! - [`keys`]: the keys and the port, which survive a restart
//! - [`certificate`]: making and checking certificates
//! - [`session`]: one connection and what it asks for
//! - [`sftp`]: files, for `scp`, `sftp` and editors
//! - [`pump`]: bytes between a channel and what runs behind it

mod certificate;
mod keys;
mod pump;
mod session;
mod sftp;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use nullspace_wire::ssh::{SshAccessRequest, SshAccessResponse};
use russh::server::Config;
use russh::{Disconnect, MethodKind, MethodSet};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OnceCell, Semaphore};

use crate::machine::commands::shells::is_user;
use crate::machine::{Engine, Error, Kind, Result};
use certificate::Authority;
use keys::Keys;
use session::Session;

/// Connections at once.
const MOST_CONNECTIONS: usize = 256;
/// How long a client may take to prove who it is.
const LOGIN_PATIENCE: Duration = Duration::from_secs(30);
/// A client that is silent for three of these is gone.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long certificates hold when the request does not say.
const DEFAULT_SECONDS: u64 = 3600;
/// And at the longest: a day.
const MOST_SECONDS: u64 = 24 * 3600;

/// Where SSH clients come in.
pub struct SshListener {
    engine: Arc<Engine>,
    address: IpAddr,
    open: OnceCell<Open>,
}

/// What is known once it is open.
struct Open {
    port: u16,
    authority: Arc<Authority>,
    host_key: String,
}

impl SshListener {
    /// A listener that is closed until somebody asks for access.
    pub fn new(engine: Arc<Engine>, address: IpAddr) -> Arc<Self> {
        Arc::new(Self {
            engine,
            address,
            open: OnceCell::new(),
        })
    }

    /// Opens the listener again if an earlier run of the engine had it open: certificates of then may still hold.
    pub async fn reopen(&self) {
        if keys::were_made(self.engine.directory()) {
            if let Err(error) = self.open().await {
                tracing::warn!("SSH access does not work: {error}");
            }
        }
    }

    /// Lets the holder of a key into a machine for a while.
    pub async fn admit(&self, machine: &str, request: SshAccessRequest) -> Result<SshAccessResponse> {
        let key = certificate::public_key(&request.public_key)?;
        let user = request.user.unwrap_or_else(|| "root".into());
        if !is_user(&user) {
            return Err(Error::invalid(
                "user",
                "is no user name: give one such as \"root\"",
            ));
        }
        let seconds = seconds(request.ttl_seconds, request.expires_in_minutes)?;
        if user == "root" {
            self.engine.ready(machine).await?;
        } else {
            // Says whether the machine has that user, and whether this computer can become it.
            let mut files = self.engine.files(machine, Some(user.clone())).await?;
            files.info("/".into()).await?;
        }
        let open = self.open().await?;
        let issued = open.authority.issue(&key, machine, &user, seconds)?;
        let host = self.host();
        Ok(SshAccessResponse {
            command: format!("ssh -p {} {user}@{host}", open.port),
            certificate: issued.certificate,
            host,
            port: open.port,
            user,
            expires_at: issued.expires_at,
            access_id: issued.id,
            host_key: Some(open.host_key.clone()),
        })
    }

    /// An address that means "all of them" is none to connect to.
    fn host(&self) -> String {
        if let Some(host) = self.engine.ports().host {
            return host;
        }
        match self.address {
            IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".into(),
            IpAddr::V6(ip) if ip.is_unspecified() => "::1".into(),
            ip => ip.to_string(),
        }
    }

    async fn open(&self) -> Result<&Open> {
        self.open
            .get_or_try_init(|| async {
                let failed = |e| Error::internal("opening the SSH port", e);
                let directory = self.engine.directory().to_owned();
                let keys = tokio::task::spawn_blocking(move || Keys::load_or_make(&directory))
                    .await
                    .map_err(|e| Error::internal("opening the SSH port", e))?
                    .map_err(failed)?;
                let listener = keys
                    .listen(self.address, self.engine.ports().ssh)
                    .await
                    .map_err(failed)?;
                let open = Open {
                    port: listener.local_addr().map_err(failed)?.port(),
                    authority: Arc::new(Authority::new(keys.authority)),
                    host_key: keys::line(&keys.host)?,
                };
                let config = Arc::new(Config {
                    keys: vec![keys.host],
                    methods: MethodSet::from(&[MethodKind::PublicKey][..]),
                    auth_rejection_time: Duration::from_millis(500),
                    auth_rejection_time_initial: Some(Duration::ZERO),
                    max_auth_attempts: 20,
                    inactivity_timeout: None,
                    window_size: session::WINDOW,
                    keepalive_interval: Some(KEEPALIVE),
                    nodelay: true,
                    ..Config::default()
                });
                tokio::spawn(accept(
                    listener,
                    config,
                    self.engine.clone(),
                    open.authority.clone(),
                ));
                Ok(open)
            })
            .await
    }
}

fn seconds(seconds: Option<u64>, minutes: Option<u64>) -> Result<u64> {
    let (field, seconds, good) = match (seconds, minutes) {
        (None, None) => return Ok(DEFAULT_SECONDS),
        (Some(seconds), None) => ("ttl_seconds", seconds, "1 to 86400, such as 3600"),
        (None, Some(minutes)) => (
            "expires_in_minutes",
            minutes.saturating_mul(60),
            "1 to 1440, such as 60",
        ),
        (Some(_), Some(_)) => {
            return Err(Error::invalid(
                "ttl_seconds",
                "cannot be given with `expires_in_minutes`: leave one of them out",
            ))
        }
    };
    if (1..=MOST_SECONDS).contains(&seconds) {
        return Ok(seconds);
    }
    Err(Error::invalid(field, format_args!("must be {good}")))
}

async fn accept(listener: TcpListener, config: Arc<Config>, engine: Arc<Engine>, authority: Arc<Authority>) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = engine.closing().cancelled() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: some will be free soon.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = room.clone().try_acquire_owned() else {
            continue; // closes it
        };
        let (config, engine, authority) = (config.clone(), engine.clone(), authority.clone());
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = converse(stream, config, engine, authority).await {
                tracing::debug!("an SSH connection ended: {error}");
            }
        });
    }
}

/// One connection, until it or the engine ends.
async fn converse(
    stream: TcpStream,
    config: Arc<Config>,
    engine: Arc<Engine>,
    authority: Arc<Authority>,
) -> std::result::Result<(), russh::Error> {
    let _ = stream.set_nodelay(true);
    let (session, admitted) = Session::new(engine.clone(), authority);
    let greeted = tokio::time::timeout(LOGIN_PATIENCE, russh::server::run_stream(config, stream, session));
    let mut running = greeted.await.map_err(|_| russh::Error::ConnectionTimeout)??;
    let handle = running.handle();
    let late = async {
        tokio::time::sleep(LOGIN_PATIENCE).await;
        if admitted.is_cancelled() {
            std::future::pending::<()>().await;
        }
    };
    let why = tokio::select! {
        ended = &mut running => return ended,
        () = late => "no login in time",
        () = engine.closing().cancelled() => "the engine ends",
    };
    let said = handle.disconnect(Disconnect::ByApplication, why.into(), "en".into());
    let _ = tokio::time::timeout(Duration::from_secs(1), said).await;
    let _ = tokio::time::timeout(Duration::from_secs(1), &mut running).await;
    Ok(())
}

/// For errors of the SSH library on values that it made itself.
fn internal(error: impl std::fmt::Display) -> Error {
    Error::new(Kind::Internal, format!("SSH access: {error}"))
}
