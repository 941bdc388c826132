//! Which node a machine is made on.

use std::sync::Arc;

use rand::seq::index::sample;
use rand::Rng;

use super::nodes::{Node, Nodes};
use crate::node::messages::State;

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

/// A clock that is further off than this makes leases and lists of a node wrong. Milliseconds.
pub const MOST_CLOCK_OFF_MS: u64 = 60_000;

impl Node {
    /// Whether a machine may be placed here, as far as is known.
    pub fn fits(&self, need: Need) -> bool {
        self.state() == State::Ready
            && !self.link.is_refusing()
            && self.clock_off_ms.unsigned_abs() <= MOST_CLOCK_OFF_MS
            && need.vcpus <= self.capacity.vcpus
            && u64::from(need.memory_mb) <= self.free_memory_mb()
            && u64::from(need.disk_mb) <= self.capacity.disk_free_mb
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
}

/// The one with more free memory of two random nodes: as good as the best of all when many gateways choose at once from what they
/// last heard, and without all of them choosing the same one.
pub fn choose<'a, N: AsRef<Node>>(fitting: &'a [N], random: &mut impl Rng) -> Option<&'a N> {
    let two = sample(random, fitting.len(), fitting.len().min(2));
    two.iter()
        .map(|index| &fitting[index])
        .max_by_key(|node| node.as_ref().free_memory_mb())
}
