//! What gateways tell each other at once: notices of the database, sent with the transaction that they are about.
//!
//! A notice only says that there is something to look at, so none is missed for good: after a lost connection everything is looked at
//! once, and now and then anyway.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Transaction;

use super::Cluster;
use crate::machine::Result;

/// Events were added.
pub const EVENTS: &str = "nullspace_events";
/// Deliveries of webhooks were queued.
pub const DELIVERIES: &str = "nullspace_deliveries";
/// A delivery that is under way is to end; the notice says which.
pub const STOPPED: &str = "nullspace_stopped";

/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(500);

/// Tells all gateways, once the transaction is committed.
pub async fn tell(transaction: &Transaction<'_>, channel: &str, what: &str) -> Result<()> {
    transaction
        .execute("SELECT pg_notify($1, $2)", &[&channel, &what])
        .await?;
    Ok(())
}

impl Cluster {
    /// Listens until the gateway ends.
    pub(super) async fn keep_listening(self: Arc<Self>) {
        loop {
            if let Err(error) = self.listen_once().await {
                tracing::warn!(%error, "listening to the cluster's database failed; trying again");
            }
            if !self.rests(PAUSE).await {
                return;
            }
        }
    }

    /// Listens until the connection is lost, or the gateway ends.
    async fn listen_once(self: &Arc<Self>) -> Result<()> {
        let mut notices = self.db.listen(&[EVENTS, DELIVERIES, STOPPED]).await?;
        // What was told while this gateway did not listen.
        self.wake_tail();
        self.wake_sender();
        loop {
            let notice = tokio::select! {
                notice = notices.next() => notice,
                () = self.closing.cancelled() => return Ok(()),
            };
            let Some(notice) = notice else {
                tracing::warn!(
                    "the connection that listens to the cluster's database was lost; connecting again"
                );
                return Ok(());
            };
            match notice.channel() {
                EVENTS => self.wake_tail(),
                DELIVERIES => self.wake_sender(),
                STOPPED => {
                    let (cluster, ticket) = (self.clone(), notice.payload().to_owned());
                    tokio::spawn(async move { cluster.stop_delivery(&ticket).await });
                }
                _ => {}
            }
        }
    }
}
