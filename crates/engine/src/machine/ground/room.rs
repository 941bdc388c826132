//! Room on the engine's disk. What is made needs some, and an engine without any can store nothing, not even the end of a
//! machine: so a little is kept free, and what would take of it is refused.

use std::path::Path;

use super::{Error, Kind, Result};
use crate::machine::Engine;

/// Most bytes that are kept free: 1 GiB.
const MOST: u64 = 1 << 30;
/// Share of a disk that is kept free where that is less.
const SHARE: u64 = 20;

impl Engine {
    /// Refuses to make a machine, a copy of files or a volume while less is free than is to be kept.
    pub(in crate::machine) async fn refuse_without_room(&self) -> Result<()> {
        self.refuse_without_room_for(0).await
    }

    /// The same for so many bytes that are to be written.
    pub(in crate::machine) async fn refuse_without_room_for(&self, bytes: u64) -> Result<()> {
        let directory = self.store.directory().to_owned();
        let looked = tokio::task::spawn_blocking(move || look_for(&directory, bytes)).await;
        looked.map_err(|e| Error::internal("looking for room", e))?
    }
}

/// The same, for work that blocks anyway.
pub(in crate::machine) fn look(directory: &Path) -> Result<()> {
    look_for(directory, 0)
}

fn look_for(directory: &Path, bytes: u64) -> Result<()> {
    let found = rustix::fs::statvfs(directory).map_err(|e| Error::internal("looking for room", e))?;
    let free = found.f_bavail * found.f_frsize;
    check(found.f_blocks * found.f_frsize, free.saturating_sub(bytes))
}

fn check(total: u64, free: u64) -> Result<()> {
    let kept = MOST.min(total / SHARE);
    if free >= kept {
        return Ok(());
    }
    const MIB: u64 = 1 << 20;
    Err(Error::new(
        Kind::CapacityExceeded,
        format!(
            "the engine's disk has {} MiB free, and {} MiB of it are kept for the machines that are there",
            free / MIB,
            kept / MIB
        ),
    )
    .with_action("destroy machines, snapshots or volumes that nobody needs, or free room on the disk of the engine's state")
    .retryable(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_gibibyte_or_a_twentieth_of_a_small_disk_is_kept_free() {
        for (total, free) in [(100 * GIB, GIB), (10 * GIB, GIB / 2), (GIB, GIB)] {
            check(total, free).unwrap();
        }
        for (total, free) in [(100 * GIB, GIB - 1), (10 * GIB, GIB / 2 - 1), (GIB, 0)] {
            let error = check(total, free).unwrap_err();
            assert_eq!(error.kind, Kind::CapacityExceeded);
            assert!(error.message.contains("MiB free"), "{error}");
        }
    }
}
