//! The engine's clock: wall-clock text for answers, and a monotonic one for deadlines, which a changed wall clock does not
//! move. Tests of programs that use the engine can move both forward (`--faults`); then whoever waits here looks again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp as Moment};
use nullspace_wire::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Milliseconds that the clock is ahead.
static AHEAD: AtomicU64 = AtomicU64::new(0);
/// Wakes who waits for a moment that may have come now.
static MOVED: Notify = Notify::const_new();

/// How far the clock was moved forward.
pub fn ahead() -> Duration {
    Duration::from_millis(AHEAD.load(Ordering::Acquire))
}

/// Moves the clock of every engine of this process forward.
pub fn advance(by: Duration) {
    let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
    AHEAD.fetch_add(millis, Ordering::AcqRel);
    MOVED.notify_waiters();
}

/// Now, for deadlines.
pub fn instant() -> Instant {
    Instant::now() + ahead()
}

/// Waits for a moment of [`instant`].
pub async fn sleep_until(at: Instant) {
    loop {
        // Registered before the look, so that a move between the two is not missed.
        let mut moved = std::pin::pin!(MOVED.notified());
        moved.as_mut().enable();
        let left = at.saturating_duration_since(instant());
        if left.is_zero() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(left) => {}
            () = moved => {}
        }
    }
}

/// Waits so long.
pub async fn sleep(wait: Duration) {
    sleep_until(instant() + wait).await;
}

fn moment() -> Moment {
    let ahead = SignedDuration::try_from(ahead()).unwrap_or(SignedDuration::MAX);
    Moment::now().checked_add(ahead).unwrap_or(Moment::MAX)
}

/// Now, with milliseconds.
pub fn now() -> Timestamp {
    text(moment())
}

/// So long from now.
pub fn after(wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    text(moment().checked_add(wait).unwrap_or(Moment::MAX))
}

/// So long before now.
pub fn ago(past: Duration) -> Timestamp {
    let past = SignedDuration::try_from(past).unwrap_or(SignedDuration::MAX);
    text(moment().checked_sub(past).unwrap_or(Moment::MIN))
}

/// Unix seconds.
pub fn unix_seconds() -> i64 {
    moment().as_second()
}

/// Unix microseconds.
pub fn now_micros() -> i64 {
    moment().as_microsecond()
}

/// A moment given in Unix microseconds.
pub fn from_micros(micros: i64) -> Timestamp {
    text(Moment::from_microsecond(micros).unwrap_or(Moment::MAX))
}

/// Unix microseconds of RFC 3339 text.
pub fn unix_micros(text: &str) -> Option<i64> {
    Some(text.parse::<Moment>().ok()?.as_microsecond())
}

fn text(moment: Moment) -> Timestamp {
    Timestamp(format!("{moment:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_rfc_3339_with_milliseconds() {
        let moment: Moment = "2026-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(text(moment).0, "2026-01-02T03:04:05.000Z");
        assert_eq!(unix_micros("1970-01-01T00:00:01.5+00:00"), Some(1_500_000));
        assert_eq!(unix_micros("yesterday"), None);
    }
}
