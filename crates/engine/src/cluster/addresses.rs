//! Addresses of gateways and of the database, which no machine reaches: each gateway writes down what it knows, and tells nodes what
//! all have written.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use super::Cluster;
use crate::isolation::relay::outer_addresses;
use crate::machine::Result;

/// Between two times that a gateway tells its own: they rarely change.
const TELL: Duration = Duration::from_secs(30);
/// How long those of a gateway that is gone are refused.
const KEPT: &str = "1 hour";

/// Addresses that are no nodes'.
pub struct Addresses {
    /// As given on the command line.
    given: Vec<IpAddr>,
    known: RwLock<Vec<IpAddr>>,
    told: RwLock<Option<Instant>>,
    /// That this gateway serves on; 0 while it is not known.
    port: AtomicU16,
}

impl Addresses {
    /// With those of the command line.
    pub fn new(given: Vec<IpAddr>) -> Self {
        Self {
            given,
            known: RwLock::default(),
            told: RwLock::new(None),
            port: AtomicU16::new(0),
        }
    }

    /// All that are known.
    pub fn all(&self) -> Vec<IpAddr> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        self.given.iter().chain(known.iter()).copied().collect()
    }
}

impl Cluster {
    /// Notes where the gateway serves: a webhook there would call it without end.
    pub(super) fn serves_on(&self, port: u16) {
        self.addresses.port.store(port, Ordering::Relaxed);
        *self
            .addresses
            .told
            .write()
            .unwrap_or_else(PoisonError::into_inner) = None;
        self.reach().cluster_serves_on(vec![port], Vec::new());
    }

    /// Tells the other gateways which addresses are this one's and the database's, and hears theirs.
    pub async fn share_addresses(&self) -> Result<()> {
        let told = *self.addresses.told.read().unwrap_or_else(PoisonError::into_inner);
        let connection = self.db.get().await?;
        if told.is_none_or(|at| at.elapsed() >= TELL) {
            let mut own = outer_addresses();
            own.extend(&self.addresses.given);
            own.extend(self.db.addresses().await);
            let own: Vec<String> = own.iter().map(ToString::to_string).collect();
            connection
                // The moment of the statement, so that an address that is named twice is told once.
                .execute(
                    "INSERT INTO addresses (address, told_at) SELECT DISTINCT unnest($1::text[]), now() \
                     ON CONFLICT (address) DO UPDATE SET told_at = excluded.told_at",
                    &[&own],
                )
                .await?;
            let text = format!("DELETE FROM addresses WHERE told_at < clock_timestamp() - interval '{KEPT}'");
            connection.execute(&text, &[]).await?;
            let port = i32::from(self.addresses.port.load(Ordering::Relaxed));
            connection
                .execute(
                    "INSERT INTO gateway_ports (port, told_at) SELECT $1, now() WHERE $1 > 0 \
                     ON CONFLICT (port) DO UPDATE SET told_at = excluded.told_at",
                    &[&port],
                )
                .await?;
            let text =
                format!("DELETE FROM gateway_ports WHERE told_at < clock_timestamp() - interval '{KEPT}'");
            connection.execute(&text, &[]).await?;
            *self
                .addresses
                .told
                .write()
                .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        let rows = connection.query("SELECT address FROM addresses", &[]).await?;
        let known = rows.iter().filter_map(|row| row.get::<_, &str>(0).parse().ok());
        *self
            .addresses
            .known
            .write()
            .unwrap_or_else(PoisonError::into_inner) = known.collect();
        let rows = connection.query("SELECT port FROM gateway_ports", &[]).await?;
        let mut ports: Vec<u16> = rows
            .iter()
            .filter_map(|row| u16::try_from(row.get::<_, i32>(0)).ok())
            .collect();
        ports.extend(self.nodes.ports());
        ports.push(self.addresses.port.load(Ordering::Relaxed));
        self.reach().cluster_serves_on(ports, self.own_addresses());
        Ok(())
    }
}
