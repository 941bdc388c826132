//! What one gateway does for all. It holds a duty until it was silent for a while; the next one to ask has it then. What must not be
//! done twice has a lock of its own: a duty only keeps gateways from doing the same work at once.

use super::Cluster;
use crate::machine::Result;

/// How long a gateway may be silent.
const SECONDS: f64 = 4.0;

impl Cluster {
    /// Whether it is on this gateway to do something, until the next time it asks.
    pub(super) async fn has_duty(&self, duty: &str) -> Result<bool> {
        let taken = self
            .db
            .get()
            .await?
            .execute(
                "INSERT INTO duties (duty, holder, until) VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3)) \
                 ON CONFLICT (duty) DO UPDATE SET holder = excluded.holder, until = excluded.until \
                 WHERE duties.holder = excluded.holder OR duties.until < clock_timestamp()",
                &[&duty, &self.name, &SECONDS],
            )
            .await?;
        Ok(taken == 1)
    }
}
