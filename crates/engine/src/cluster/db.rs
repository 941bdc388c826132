//! The cluster's PostgreSQL: connections, the schema, and what its errors mean.

use std::future::poll_fn;
use std::net::IpAddr;
use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Notification, Socket, Transaction};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::machine::{Error, Kind, Result};
use crate::tls;

/// The connection that listens, as the database's list of connections calls it.
const LISTENER: &str = "nullspace-gateway-listener";
/// Connections of a gateway.
const CONNECTIONS: usize = 16;
/// How long a connection is waited for. Within that, a client of the API still waits for its answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a statement may take, as PostgreSQL spells it: everything a gateway asks is small.
const STATEMENT_PATIENCE: &str = "-c statement_timeout=10s -c idle_in_transaction_session_timeout=15s";
/// Each step brings the schema from its index to the next version.
const MIGRATIONS: [&str; 6] = [
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
    include_str!("migrations/4.sql"),
    include_str!("migrations/5.sql"),
    include_str!("migrations/6.sql"),
];

#[derive(Clone)]
enum Host {
    Name(String),
    Address(IpAddr),
}

/// What gateways do one after the other.
#[derive(Debug, Clone, Copy)]
pub enum Lock {
    /// Changing the schema, when they start together.
    Schema = 1,
    /// Telling nodes their shares of pools.
    Shares = 2,
    /// Adding events.
    Events = 3,
    /// Counting webhooks before there is one more.
    Webhooks = 4,
}

/// Begins the numbers of our locks: others may use the same database.
const LOCKS: i64 = 0x6e75_6c6c_0000;

/// Waits for whoever does the same, and holds it until the transaction ends.
pub async fn hold(transaction: &Transaction<'_>, lock: Lock) -> Result<()> {
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&(LOCKS + lock as i64)])
        .await?;
    Ok(())
}

/// The database of a cluster.
#[derive(Clone)]
pub struct Db {
    pool: Pool,
    config: Config,
    /// Where it may be, as the URL says.
    hosts: Vec<Host>,
}

impl Db {
    /// Over TLS unless the URL says `sslmode=disable` or the server has none and the URL does not insist.
    pub fn open(url: &str) -> std::result::Result<Self, String> {
        // The URL holds a password, so errors do not repeat it.
        let mut config: Config = url.parse().map_err(|_| {
            "--database is no URL of PostgreSQL: give one such as postgresql://nullspace@db:5432/nullspace".to_owned()
        })?;
        config
            .application_name("nullspace-gateway")
            .connect_timeout(PATIENCE)
            .options(STATEMENT_PATIENCE)
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(3))
            .tcp_user_timeout(Duration::from_secs(10));
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let named = config.get_hosts().iter().filter_map(|host| match host {
            tokio_postgres::config::Host::Tcp(name) => Some(Host::Name(name.clone())),
            tokio_postgres::config::Host::Unix(_) => None,
        });
        let hosts = named
            .chain(config.get_hostaddrs().iter().copied().map(Host::Address))
            .collect();
        let manager = match config.get_ssl_mode() {
            SslMode::Disable => Manager::from_config(config.clone(), NoTls, recycling),
            _ => Manager::from_config(config.clone(), MakeRustlsConnect::new(tls::client()), recycling),
        };
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .timeouts(Timeouts {
                wait: Some(PATIENCE),
                create: Some(PATIENCE),
                recycle: Some(PATIENCE),
            })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| format!("cannot use --database: {error}"))?;
        Ok(Self { pool, config, hosts })
    }

    /// Addresses of its server that other computers may have, too.
    pub async fn addresses(&self) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for host in &self.hosts {
            match host {
                Host::Address(address) => found.push(*address),
                Host::Name(name) => match lookup_host((name.as_str(), 0)).await {
                    Ok(addresses) => found.extend(addresses.map(|address| address.ip())),
                    Err(error) => tracing::warn!(%name, %error, "the database's name has no address now"),
                },
            }
        }
        found.retain(|address| !address.is_loopback());
        found
    }

    /// A connection.
    pub async fn get(&self) -> Result<Object> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error.into(),
            other => unavailable(&other),
        })
    }

    /// Hears, on a connection of its own, what is told on some channels from now on.
    pub async fn listen(&self, channels: &[&str]) -> Result<Notices> {
        let mut config = self.config.clone();
        config.application_name(LISTENER);
        let listening = async {
            match config.get_ssl_mode() {
                SslMode::Disable => listen(&config, NoTls, channels).await,
                _ => listen(&config, MakeRustlsConnect::new(tls::client()), channels).await,
            }
        };
        let listening = tokio::time::timeout(PATIENCE, listening).await;
        listening.map_err(|late| unavailable(&late))?
    }

    /// Brings the schema to this version. A newer one is left alone: gateways are upgraded one after the other.
    pub async fn migrate(&self) -> Result<()> {
        let mut connection = self.get().await?;
        let transaction = connection.transaction().await?;
        hold(&transaction, Lock::Schema).await?;
        transaction
            .batch_execute("CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL)")
            .await?;
        let row = transaction
            .query_opt("SELECT version FROM schema_version", &[])
            .await?;
        let found = row.as_ref().map_or(0, |row| row.get::<_, i32>(0));
        for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or_default()) {
            transaction.batch_execute(step).await?;
        }
        let version = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX).max(found);
        let write = match row {
            Some(_) => "UPDATE schema_version SET version = $1",
            None => "INSERT INTO schema_version VALUES ($1)",
        };
        transaction.execute(write, &[&version]).await?;
        Ok(transaction.commit().await?)
    }
}

/// What is told on channels, until the connection ends.
pub struct Notices {
    /// The connection lasts as long as it.
    _client: Client,
    told: mpsc::UnboundedReceiver<Notification>,
}

impl Notices {
    /// The next one; `None` once the connection is lost. Cancel-safe.
    pub async fn next(&mut self) -> Option<Notification> {
        self.told.recv().await
    }
}

async fn listen<T>(config: &Config, tls: T, channels: &[&str]) -> Result<Notices>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, mut connection) = config.connect(tls).await?;
    let (teller, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message {
                // Nobody hears it any more while the connection is closed.
                let _ = teller.send(notification);
            }
        }
    });
    for channel in channels {
        client.batch_execute(&format!("LISTEN {channel}")).await?;
    }
    Ok(Notices {
        _client: client,
        told,
    })
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        // Class 57: an administrator ends the server; 53: it is out of something; 08: the connection; 25006: it is read-only, as a
        // standby is.
        let is_passing = match error.code() {
            None => error.is_closed() || error.as_db_error().is_none(),
            Some(code) => {
                *code == SqlState::READ_ONLY_SQL_TRANSACTION
                    || ["57", "53", "08"]
                        .iter()
                        .any(|class| code.code().starts_with(class))
            }
        };
        match is_passing {
            true => unavailable(&error),
            false => Error::internal("asking the cluster's database", describe(&error)),
        }
    }
}

/// `Display` of a database's error says "db error" and nothing else.
fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{}: {}", error.code().code(), error.message()),
        None => error.to_string(),
    }
}

fn unavailable(cause: &dyn std::fmt::Display) -> Error {
    tracing::warn!(%cause, "the cluster's database does not answer");
    Error::new(
        Kind::DatabaseUnavailable,
        "the cluster's database does not answer at the moment; machines go on, and so do calls to them",
    )
    .with_action("repeat the call in a moment, with the same idempotency key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_url_is_named_and_not_repeated() {
        let refused = Db::open("postgresql://u:8675309@[::").err().unwrap();
        assert!(
            refused.contains("--database") && !refused.contains("8675309"),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn the_addresses_of_its_server_are_known_but_for_loopback() {
        let db = Db::open("postgresql://u@203.0.113.9,localhost,127.0.0.1:5433/x").unwrap();
        assert_eq!(db.addresses().await, ["203.0.113.9".parse::<IpAddr>().unwrap()]);
        let db = Db::open("host=db.example hostaddr=203.0.113.10 user=u").unwrap();
        assert!(db
            .addresses()
            .await
            .contains(&"203.0.113.10".parse::<IpAddr>().unwrap()));
    }

    #[tokio::test]
    async fn a_database_that_is_not_there_is_a_retryable_error() {
        let db = Db::open("postgresql://nobody@127.0.0.1:1/none?sslmode=disable").unwrap();
        let error = db.get().await.err().unwrap();
        assert_eq!(error.kind, Kind::DatabaseUnavailable);
        assert!(error.kind.is_retryable());
    }
}
