//! Wall-clock text for answers. Deadlines never use it: they count on [`tokio::time::Instant`].

use std::time::Duration;

use jiff::{SignedDuration, Timestamp as Moment};
use nullspace_wire::Timestamp;

/// Now, with milliseconds.
pub fn now() -> Timestamp {
    text(Moment::now())
}

/// So long from now.
pub fn after(wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    text(Moment::now().checked_add(wait).unwrap_or(Moment::MAX))
}

/// Unix seconds.
pub fn unix_seconds() -> i64 {
    Moment::now().as_second()
}

/// Unix microseconds.
pub fn now_micros() -> i64 {
    Moment::now().as_microsecond()
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
