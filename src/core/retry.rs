//! What is sent again, and when. Source: PROTOCOL.md section 2, "Retries".

use std::time::Duration;

use super::answer::{Phase, TransportError};
use super::error::Error;
use super::value::Value;

/// `Retry-After` when it is absent or unparsable, seconds.
const DEFAULT_RETRY_AFTER: f64 = 1.0;
/// Requests sent for one call that is answered with 429.
const RATE_LIMIT_REQUESTS: u32 = 4;
/// Tries of a create.
const CREATE_TRIES: u32 = 30;
/// A create that is answered so may work in a moment; with the same key it makes one machine. The last two are a cluster's.
const CREATE_CODES: [&str; 4] = [
    "transition_in_progress",
    "transition_recovery_required",
    "node_unreachable",
    "database_unavailable",
];
/// Tries of the command of `runOnce`.
pub const RUN_ONCE_TRIES: u32 = 5;
/// Between them.
pub const RUN_ONCE_DELAY: Duration = Duration::from_millis(250);

/// The header's seconds: a decimal number; anything else counts as 1. `json` reads a JSON text.
pub fn retry_after_seconds(header: Option<&str>, json: fn(&str) -> Option<Value>) -> f64 {
    header
        // Not `str::parse`, which is 5 KB of wasm.
        .and_then(|text| json(text.trim())?.as_f64())
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
        .unwrap_or(DEFAULT_RETRY_AFTER)
}

/// How long to wait before a call that was answered with 429 is sent again; `None` = give up. `sent` counts from 1.
pub fn after_rate_limit(sent: u32, retry_after: f64) -> Option<Duration> {
    // A day is as good as never, and fits every timer.
    (sent < RATE_LIMIT_REQUESTS).then(|| Duration::from_secs_f64(retry_after.min(86_400.0)))
}

/// How long to wait before a create is tried again; `None` = the error stands. `tried` counts from 1.
pub fn after_failed_create(tried: u32, failure: CreateFailure<'_>) -> Option<Duration> {
    let again = match failure {
        CreateFailure::Api(error) => CREATE_CODES.contains(&error.code.as_str()),
        // The server may have made the machine. Without a connection it has not, and nobody may be there at all.
        CreateFailure::Transport(error) => matches!(error.phase, Phase::Read | Phase::Protocol),
    };
    if !again || tried >= CREATE_TRIES {
        return None;
    }
    let exponent = (tried - 1).min(10);
    Some(Duration::from_secs_f64(
        (0.5 * f64::from(1_u32 << exponent)).min(10.0),
    ))
}

/// Why a create failed.
#[derive(Clone, Copy)]
pub enum CreateFailure<'a> {
    /// The server said no.
    Api(&'a Error),
    /// No whole answer.
    Transport(&'a TransportError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::error::Kind;

    #[test]
    fn retry_after_is_decimal_seconds_or_one() {
        let seconds = |header| retry_after_seconds(header, crate::core::value::parse);
        assert_eq!(seconds(Some("0.25")), 0.25);
        for bad in [
            None,
            Some(""),
            Some("soon"),
            Some("-1"),
            Some("Wed, 21 Oct 2026 07:28:00 GMT"),
            Some("NaN"),
        ] {
            assert_eq!(seconds(bad), 1.0, "{bad:?}");
        }
    }

    #[test]
    fn four_requests_are_sent_for_a_rate_limited_call() {
        assert_eq!(after_rate_limit(1, 2.0), Some(Duration::from_secs(2)));
        assert!(after_rate_limit(3, 2.0).is_some());
        assert_eq!(after_rate_limit(4, 2.0), None);
    }

    #[test]
    fn a_create_is_tried_thirty_times_half_a_second_doubling_to_ten() {
        let busy = Error::new(Kind::Other, "transition_in_progress", "busy");
        let delays: Vec<f64> = (1..=7)
            .map(|tried| {
                after_failed_create(tried, CreateFailure::Api(&busy))
                    .unwrap()
                    .as_secs_f64()
            })
            .collect();
        assert_eq!(delays, [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]);
        assert!(after_failed_create(29, CreateFailure::Api(&busy)).is_some());
        assert_eq!(after_failed_create(30, CreateFailure::Api(&busy)), None);
        for code in CREATE_CODES {
            let passing = Error::new(Kind::Other, code, "in a moment");
            assert!(
                after_failed_create(1, CreateFailure::Api(&passing)).is_some(),
                "{code}"
            );
        }
        let other = Error::new(Kind::Other, "invalid_request", "no");
        assert_eq!(after_failed_create(1, CreateFailure::Api(&other)), None);
    }

    #[test]
    fn a_create_is_not_tried_again_when_nobody_listens() {
        let error = |phase| TransportError {
            phase,
            timed_out: false,
            reason: String::new(),
            cause: Default::default(),
        };
        assert_eq!(
            after_failed_create(1, CreateFailure::Transport(&error(Phase::Connect))),
            None
        );
        assert!(after_failed_create(1, CreateFailure::Transport(&error(Phase::Read))).is_some());
        assert!(after_failed_create(1, CreateFailure::Transport(&error(Phase::Protocol))).is_some());
    }
}
