//! A token bucket: how many bytes may pass in one direction of one machine.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::isolation::RateLimit;

/// Bytes that count as one packet.
const PACKET: usize = 1500;
/// A bucket holds at least so many bytes, so that slow rates do not pass single bytes.
const SMALLEST: f64 = 4096.0;
/// A bucket without a burst holds what its rate gives in this time: long enough for a timer, short enough to be exact.
const WINDOW: f64 = 0.020;

/// One direction of one machine. Connections wait in the order in which they came.
pub(super) struct Bucket {
    turn: tokio::sync::Mutex<()>,
    level: Mutex<Option<Level>>,
    changed: Notify,
}

impl Bucket {
    pub(super) fn new(limit: Option<RateLimit>) -> Self {
        Self {
            turn: tokio::sync::Mutex::new(()),
            level: Mutex::new(limit.map(|l| Level::new(l, Instant::now()))),
            changed: Notify::new(),
        }
    }

    /// Changes the rate; what waits goes on at the new one. A burst is granted once, not again by each change.
    pub(super) fn set(&self, limit: Option<RateLimit>) {
        {
            let mut level = self.level.lock().unwrap();
            let tokens = level.as_ref().map(|l| l.tokens);
            *level = limit.map(|l| {
                let mut new = Level::new(l, Instant::now());
                new.tokens = new.tokens.min(tokens.unwrap_or(f64::MAX));
                new
            });
        }
        self.changed.notify_waiters();
    }

    /// Whether anything is limited at the moment.
    pub(super) fn is_limited(&self) -> bool {
        self.level.lock().unwrap().is_some()
    }

    /// Waits until some bytes may pass and says how many, at most `want`.
    pub(super) async fn take(&self, want: usize) -> usize {
        if !self.is_limited() {
            return want;
        }
        let _turn = self.turn.lock().await;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable(); // before the level is read: a change in between must not be missed
            let wait = match self.level.lock().unwrap().as_mut() {
                None => return want,
                Some(level) => match level.take(want, Instant::now()) {
                    Ok(granted) => return granted,
                    Err(wait) => wait,
                },
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = changed => {}
            }
        }
    }

    /// Gives back what was granted but not used.
    pub(super) fn give_back(&self, granted: usize, used: usize) {
        if let Some(level) = self.level.lock().unwrap().as_mut() {
            level.give_back(granted, used);
        }
    }

    /// Waits until all of `bytes` may pass.
    pub(super) async fn take_all(&self, mut bytes: usize) {
        while bytes > 0 {
            let granted = self.take(bytes).await;
            self.give_back(granted, granted.min(bytes));
            bytes -= granted.min(bytes);
        }
    }
}

/// The arithmetic, with the time as a value.
#[derive(Debug)]
struct Level {
    /// Bytes per second.
    rate: f64,
    /// Bytes that fit.
    size: f64,
    tokens: f64,
    /// What an amount is rounded up to: 1 byte or a packet.
    unit: usize,
    /// Less is not granted while more was asked for, so that a slow rate does not wake the engine for every byte.
    quantum: usize,
    updated: Instant,
}

impl Level {
    fn new(limit: RateLimit, now: Instant) -> Self {
        let (rate, burst, unit) = match limit {
            RateLimit::Kilobits { per_sec, burst } => {
                (per_sec as f64 * 125.0, burst.map(|b| b as f64 * 125.0), 1)
            }
            RateLimit::Packets { per_sec, burst } => {
                let bytes = |packets: u64| packets as f64 * PACKET as f64;
                (bytes(per_sec), burst.map(bytes), PACKET)
            }
        };
        let size = burst.unwrap_or(rate * WINDOW).max(SMALLEST);
        Self {
            rate,
            size,
            // Without a burst it starts empty: otherwise each new rule would grant 20 ms of free traffic.
            tokens: if burst.is_some() { size } else { 0.0 },
            unit,
            quantum: ((rate * WINDOW) as usize).clamp(64, SMALLEST as usize).max(unit),
            updated: now,
        }
    }

    fn take(&mut self, want: usize, now: Instant) -> Result<usize, Duration> {
        let elapsed = now.saturating_duration_since(self.updated).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.rate).min(self.size);
        self.updated = now;
        let needed = want.min(self.quantum).next_multiple_of(self.unit);
        if self.tokens < needed as f64 {
            let missing = needed as f64 - self.tokens;
            // A rate of 0 passes nothing; it is asked again now and then, since it may be changed.
            let wait = Duration::try_from_secs_f64(missing / self.rate).unwrap_or(Duration::MAX);
            return Err(wait.clamp(Duration::from_micros(100), Duration::from_secs(60)));
        }
        let whole = (self.tokens as usize) / self.unit * self.unit;
        let cost = want.next_multiple_of(self.unit).min(whole);
        self.tokens -= cost as f64;
        Ok(cost.min(want))
    }

    fn give_back(&mut self, granted: usize, used: usize) {
        let unused = granted.next_multiple_of(self.unit) - used.next_multiple_of(self.unit);
        self.tokens = (self.tokens + unused as f64).min(self.size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that pass in ten seconds when `chunk` is asked for again and again.
    fn in_ten_seconds(limit: RateLimit, chunk: usize) -> usize {
        let begin = Instant::now();
        let mut level = Level::new(limit, begin);
        let (mut now, mut passed) = (begin, 0);
        loop {
            match level.take(chunk, now) {
                Ok(granted) => passed += granted,
                Err(wait) => now += wait,
            }
            if now > begin + Duration::from_secs(10) {
                return passed;
            }
        }
    }

    fn kilobits(per_sec: u64, burst: Option<u64>) -> RateLimit {
        RateLimit::Kilobits { per_sec, burst }
    }

    fn is_near(actual: usize, expected: usize) {
        let off = actual.abs_diff(expected) as f64 / expected as f64;
        assert!(off < 0.01, "{actual}, not {expected}");
    }

    #[test]
    fn a_kilobit_is_125_bytes() {
        is_near(in_ten_seconds(kilobits(1000, None), 32 << 10), 1_250_000);
        is_near(in_ten_seconds(kilobits(1_000_000, None), 32 << 10), 1_250_000_000);
        is_near(in_ten_seconds(kilobits(64, None), 10), 80_000);
    }

    #[test]
    fn a_burst_passes_at_once_and_counts_only_once() {
        is_near(in_ten_seconds(kilobits(1000, Some(8000)), 32 << 10), 2_250_000);
    }

    #[test]
    fn a_packet_is_up_to_1500_bytes() {
        let limit = RateLimit::Packets {
            per_sec: 100,
            burst: None,
        };
        is_near(in_ten_seconds(limit, 32 << 10), 1_500_000);
        is_near(in_ten_seconds(limit, 1500), 1_500_000);
        is_near(in_ten_seconds(limit, 50), 50_000);
    }

    #[test]
    fn what_was_not_used_can_be_used_later() {
        let begin = Instant::now();
        let mut level = Level::new(kilobits(1000, Some(1000)), begin);
        assert_eq!(level.take(125_000, begin), Ok(125_000));
        level.give_back(125_000, 25_000);
        assert_eq!(level.take(125_000, begin), Ok(100_000));
    }

    #[test]
    fn a_rate_of_zero_passes_nothing() {
        assert_eq!(in_ten_seconds(kilobits(0, None), 1), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_rate_frees_what_waits() {
        let bucket = std::sync::Arc::new(Bucket::new(Some(kilobits(0, None))));
        let waiting = tokio::spawn({
            let bucket = bucket.clone();
            async move { bucket.take(7).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        bucket.set(None);
        let granted = tokio::time::timeout(Duration::from_millis(1), waiting).await;
        assert_eq!(granted.unwrap().unwrap(), 7);
    }
}
