//! Which node a machine is made on.

use std::sync::Arc;
use std::time::Duration;

use rand::seq::index::sample;
use rand::Rng;

use super::nodes::{Node, Nodes, LOOK};
use crate::node::messages::{State, HEARTBEAT_SECONDS};

/// What a machine needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Need {
    /// Processors.
    pub vcpus: u32,
    /// MiB.
    pub memory_mb: u32,
    /// MiB; 0 = whatever there is.
    pub disk_mb: u32,
}

/// How long a gateway may not know that a machine has ended: until its node says so, and the gateway looks.
pub const STALE: Duration = Duration::from_secs(HEARTBEAT_SECONDS).saturating_add(LOOK);

/// A clock that is further off than this makes leases and lists of a node wrong. Milliseconds.
pub const MOST_CLOCK_OFF_MS: u64 = 60_000;

impl Node {
    /// Whether a machine may be placed here, as far as is known.
    pub fn fits(&self, need: Need) -> bool {
        self.suits(need)
            && !self.link.is_refusing()
            && u64::from(need.memory_mb) <= self.free_memory_mb()
            && u64::from(need.disk_mb) <= self.capacity.disk_free_mb
    }

    /// Whether it may be here when enough of the others have ended.
    pub fn suits(&self, need: Need) -> bool {
        self.state() == State::Ready
            && self.clock_off_ms.unsigned_abs() <= MOST_CLOCK_OFF_MS
            && need.vcpus <= self.capacity.vcpus
            && u64::from(need.memory_mb) <= self.capacity.memory_mb
    }

    /// MiB that are promised to nobody, those of creates on their way included.
    pub fn free_memory_mb(&self) -> u64 {
        let used = self.capacity.memory_used_mb.saturating_add(self.link.placed_mb());
        self.capacity.memory_mb.saturating_sub(used)
    }
}

impl Nodes {
    /// Those on which a machine fits.
    pub fn fitting(&self, need: Need) -> Vec<Arc<Node>> {
        self.all().into_iter().filter(|node| node.fits(need)).collect()
    }

    /// Whether a machine may fit on one when others have ended.
    pub fn has_suiting(&self, need: Need) -> bool {
        self.all().iter().any(|node| node.suits(need))
    }
}

/// The one with more free memory of two random nodes: as good as the best of all when many gateways choose at once from what they
/// last heard, and without all of them choosing the same one.
pub fn choose<'a, N: AsRef<Node>>(fitting: &'a [N], random: &mut impl Rng) -> Option<&'a N> {
    let two = sample(random, fitting.len(), fitting.len().min(2));
    two.iter()
        .map(|index| &fitting[index])
        .max_by_key(|node| node.as_ref().free_memory_mb())
}
