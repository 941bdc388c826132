//! Leases of machines as options. Source: PROTOCOL.md section 3, "Operations".

use std::time::Duration;

use nullspace_wire::machine::{SetTimeoutRequest, TimeoutAction};

use super::config;
use super::error::Error;
use super::options::{self, Fields, Value};

/// Seconds that `keepAlive` asks for each time.
const KEEP_ALIVE: Duration = Duration::from_secs(300);
/// The least time between two requests of `keepAlive`.
const MIN_REFRESH: Duration = Duration::from_secs(1);

/// What happens at the end of a lease.
pub fn action(fields: &Fields<'_>) -> Result<Option<TimeoutAction>, Error> {
    let action = fields.choice("timeoutAction", &["destroy", "hibernate"])?;
    Ok(action.map(|action| match action {
        "hibernate" => TimeoutAction::Hibernate,
        _ => TimeoutAction::Destroy,
    }))
}

/// A new lease.
#[derive(Debug, Clone, PartialEq)]
pub struct SetTimeout {
    /// The body.
    pub request: SetTimeoutRequest,
    /// As given.
    pub request_timeout: Option<Duration>,
}

/// Checks `seconds` and the options of `setTimeout`.
pub fn set_timeout(seconds: &Value, options: Option<&Value>) -> Result<SetTimeout, Error> {
    let fields = config::call_fields(options, &["timeoutAction"])?;
    let lease = options::seconds("seconds", seconds)?;
    Ok(SetTimeout {
        request: request(lease, action(&fields)?),
        request_timeout: fields.seconds("requestTimeout")?,
    })
}

fn request(lease: Duration, timeout_action: Option<TimeoutAction>) -> SetTimeoutRequest {
    SetTimeoutRequest {
        timeout_ms: lease.as_millis() as u64,
        timeout_action,
    }
}

/// A lease that is renewed again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct KeepAlive {
    /// The body, each time.
    pub request: SetTimeoutRequest,
    /// Between two of them.
    pub every: Duration,
    /// Of each request.
    pub request_timeout: Option<Duration>,
}

/// Reads the options of `keepAlive`. Without `refreshEverySecs` a lease is renewed at its half, but not more than once
/// a second.
pub fn keep_alive(options: Option<&Value>) -> Result<KeepAlive, Error> {
    let fields = config::call_fields(options, &["timeout", "refreshEverySecs", "timeoutAction"])?;
    let lease = fields.seconds("timeout")?.unwrap_or(KEEP_ALIVE);
    let every = match fields.seconds("refreshEverySecs")? {
        Some(every) if every >= lease => {
            return Err(fields.wrong(
                "refreshEverySecs",
                "must be less than `timeout`, or the machine ends in between; half of it is a good value",
            ))
        }
        Some(every) => every,
        None => (lease / 2).max(MIN_REFRESH),
    };
    Ok(KeepAlive {
        request: request(lease, action(&fields)?),
        every,
        request_timeout: fields.seconds("requestTimeout")?,
    })
}
