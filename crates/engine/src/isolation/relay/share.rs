//! How the connections of all machines share the engine's descriptors.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// Descriptors of one connection: its two sides.
const DESCRIPTORS: usize = 2;

/// Connections that all machines together may hold.
///
/// A machine may hold half as many as are free at the moment. So one that takes all it can leaves two thirds to the
/// others, any number of such machines leaves some to the next, and none has to be known beforehand.
#[derive(Debug)]
pub struct Pool {
    most: usize,
    taken: AtomicUsize,
}

impl Pool {
    /// For an engine that may have so many descriptors: half of them are left for its other work.
    #[must_use]
    pub fn of_descriptors(descriptors: u64) -> Arc<Self> {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        Arc::new(Self {
            most: descriptors / 2 / DESCRIPTORS,
            taken: AtomicUsize::new(0),
        })
    }
}

/// What one machine holds of a pool.
#[derive(Debug)]
pub(super) struct Share {
    pool: Arc<Pool>,
    most: usize,
    held: AtomicUsize,
}

impl Share {
    /// `most`: whatever is free.
    pub(super) fn new(pool: Arc<Pool>, most: usize) -> Arc<Self> {
        Arc::new(Self {
            pool,
            most,
            held: AtomicUsize::new(0),
        })
    }

    /// A place for one connection, or `None` when the machine has its share.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let taken = self.pool.taken.fetch_add(1, Ordering::AcqRel);
        let held = self.held.fetch_add(1, Ordering::AcqRel);
        // Dropped again when it is too much: both counts are then what they were.
        let place = Place(self.clone());
        let free = self.pool.most.saturating_sub(taken);
        (held < self.most && held < free / 2).then_some(place)
    }
}

/// A place of a share, given back when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Share>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::AcqRel);
        self.0.pool.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(share: &Arc<Share>) -> Vec<Place> {
        std::iter::from_fn(|| share.take()).collect()
    }

    #[test]
    fn machines_that_take_all_they_can_leave_some_to_the_next() {
        let pool = Pool::of_descriptors(1_200); // 300 connections
        let shares: Vec<_> = (0..4).map(|_| Share::new(pool.clone(), 512)).collect();
        let first = take_all(&shares[0]);
        assert_eq!(first.len(), 100);
        let second = take_all(&shares[1]);
        assert_eq!(second.len(), 67);
        let third = take_all(&shares[2]);
        assert_eq!(third.len(), 44);
        assert!(!take_all(&shares[3]).is_empty());
        drop(first);
        assert!(shares[0].take().is_some());
    }

    #[test]
    fn a_machine_has_no_more_than_its_own_limit() {
        let share = Share::new(Pool::of_descriptors(1_000_000), 2);
        let (a, b) = (share.take(), share.take());
        assert!(a.is_some() && b.is_some() && share.take().is_none());
        drop(a);
        assert!(share.take().is_some());
    }
}
