//! How much is in a tree that machines write into.
//!
//! Counting costs what the files cost, and a machine makes as many as it likes. So a caller waits a moment only; what takes
//! longer goes on by itself, one slice of time at a time for all trees together, and is not begun again before it has paid
//! for itself. Meanwhile the last result is answered, or what has been counted so far.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nullspace_agent::trees::{Chain, Met, Walk};
use rustix::fs::{statat, AtFlags, FileType};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Longest wait of a caller after the first slice.
const PATIENCE: Duration = Duration::from_millis(30);
/// Time that is counted at once. What takes no longer is counted anew for every caller.
const SLICE: Duration = Duration::from_millis(20);
/// How much longer than a slice the pause after it is.
const REST: u32 = 4;
/// How much longer than a count it takes until the next one of the same tree.
const INTERVAL: u32 = 20;
/// Entries between two looks at the clock.
const LOOK: usize = 256;

/// Counts that take more than one slice: one slice at once.
static SLOW: Semaphore = Semaphore::const_new(1);

/// What is in a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes of files, as their lengths say.
    pub bytes: u64,
    /// Bytes that they take on the disk.
    pub disk_bytes: u64,
}

/// What was counted, and when.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// What there was.
    pub extent: Extent,
    /// When counting ended.
    pub at: Instant,
}

/// Counts one tree again and again.
#[derive(Debug, Default)]
pub struct Meter(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    last: Option<Reading>,
    so_far: Extent,
    under_way: Option<UnderWay>,
    not_before: Option<Instant>,
}

/// Both are cancelled by then.
#[derive(Debug, Clone, Default)]
struct UnderWay {
    /// The first slice of time is over.
    has_begun: CancellationToken,
    /// The count is done.
    done: CancellationToken,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meter {
    /// What is in the tree below its top: now where that is quick, otherwise as of a while ago.
    pub async fn read(&self, top: Chain) -> Reading {
        if let Some(under_way) = self.begin(top) {
            under_way.has_begun.cancelled().await;
            let _ = tokio::time::timeout(PATIENCE, under_way.done.cancelled()).await;
        }
        let state = lock(&self.0);
        state.last.unwrap_or_else(|| Reading {
            extent: state.so_far,
            at: Instant::now(),
        })
    }

    fn begin(&self, top: Chain) -> Option<UnderWay> {
        let mut state = lock(&self.0);
        if let Some(under_way) = &state.under_way {
            return Some(under_way.clone());
        }
        if state.not_before.is_some_and(|moment| Instant::now() < moment) {
            return None;
        }
        let under_way = UnderWay::default();
        state.under_way = Some(under_way.clone());
        state.so_far = Extent::default();
        tokio::spawn(count(top, self.0.clone(), under_way.clone()));
        Some(under_way)
    }
}

async fn count(top: Chain, state: Arc<Mutex<State>>, under_way: UnderWay) {
    // However it ends, nobody waits for it any more.
    let _guards = (
        under_way.has_begun.clone().drop_guard(),
        under_way.done.drop_guard(),
    );
    let mut counting = Counting {
        walk: Walk::new(top),
        extent: Extent::default(),
    };
    let mut took = Duration::ZERO;
    let mut turn = None;
    loop {
        let begun = Instant::now();
        let slice = tokio::task::spawn_blocking(move || {
            let is_whole = counting.go_on();
            (counting, is_whole)
        });
        let Ok((counted, is_whole)) = slice.await else {
            lock(&state).under_way = None;
            return;
        };
        counting = counted;
        took += begun.elapsed();
        // What somebody changes under the walk may end it: then it is counted as far as it was seen.
        if is_whole.unwrap_or(true) {
            break;
        }
        lock(&state).so_far = counting.extent;
        under_way.has_begun.cancel();
        if turn.is_some() {
            tokio::time::sleep(begun.elapsed() * REST).await;
        }
        drop(turn.take());
        turn = SLOW.acquire().await.ok();
    }
    let mut state = lock(&state);
    state.under_way = None;
    state.not_before = (took > SLICE).then(|| Instant::now() + took * INTERVAL);
    state.last = Some(Reading {
        extent: counting.extent,
        at: Instant::now(),
    });
}

struct Counting {
    walk: Walk,
    extent: Extent,
}

impl Counting {
    /// Counts for a slice of time; says whether all is counted.
    fn go_on(&mut self) -> io::Result<bool> {
        let begun = std::time::Instant::now();
        let mut seen = 0;
        loop {
            match self.walk.step()? {
                Met::End => {
                    if !self.walk.leave()? {
                        return Ok(true);
                    }
                }
                Met::Entry(name, kind) => {
                    self.extent.entries += 1;
                    if kind == FileType::Directory {
                        // Gone again, not to be read, or too deep: then nothing is known of what is in it.
                        let _ = self.walk.enter(&name);
                    } else if let Ok(found) =
                        statat(self.walk.chain().here()?, &name, AtFlags::SYMLINK_NOFOLLOW)
                    {
                        self.extent.bytes += found.st_size as u64;
                        self.extent.disk_bytes += found.st_blocks as u64 * 512;
                    }
                }
            }
            seen += 1;
            if seen % LOOK == 0 && begun.elapsed() >= SLICE {
                return Ok(false);
            }
        }
    }
}

/// What is in a tree, counted at once however long it takes.
pub fn count_whole(top: Chain) -> Extent {
    let mut counting = Counting {
        walk: Walk::new(top),
        extent: Extent::default(),
    };
    while !counting.go_on().unwrap_or(true) {}
    counting.extent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_small_tree_is_counted_anew() {
        let place = tempfile::tempdir().unwrap();
        let meter = Meter::default();
        for number in 1..=5 {
            std::fs::create_dir(place.path().join(format!("d{number}"))).unwrap();
            std::fs::write(place.path().join(format!("d{number}/file")), [0; 100]).unwrap();
            let begun = Instant::now();
            loop {
                let reading = meter.read(Chain::open(place.path()).unwrap()).await;
                if (reading.extent.entries, reading.extent.bytes) == (2 * number, 100 * number) {
                    break;
                }
                // On a computer that is busy with other work even this takes longer than a caller waits.
                assert!(begun.elapsed() < Duration::from_secs(10), "{reading:?}");
                tokio::time::sleep(SLICE).await;
            }
        }
    }

    #[tokio::test]
    async fn a_large_tree_costs_a_caller_a_moment_only_and_is_counted_whole_in_the_end() {
        let place = tempfile::tempdir().unwrap();
        // Links to one file: an entry each, and quick to make.
        std::fs::write(place.path().join("file"), [0; 10]).unwrap();
        for number in 0..60_000 {
            let directory = place.path().join(format!("d{}", number / 1000));
            if number % 1000 == 0 {
                std::fs::create_dir(&directory).unwrap();
            }
            std::fs::hard_link(place.path().join("file"), directory.join(number.to_string())).unwrap();
        }
        let meter = Meter::default();
        let begun = Instant::now();
        loop {
            let asked = Instant::now();
            let reading = meter.read(Chain::open(place.path()).unwrap()).await;
            // Far below what a walk costs on a slow computer, far above the wait that is meant.
            assert!(
                asked.elapsed() < Duration::from_millis(2_000),
                "{:?}",
                asked.elapsed()
            );
            if reading.extent.entries == 60_061 {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{reading:?}");
        }
        // The next one has its time.
        assert!(lock(&meter.0)
            .not_before
            .is_some_and(|moment| moment > Instant::now()));
    }
}
