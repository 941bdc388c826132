//! Leases of machines as options. Source: PROTOCOL.md section 3, "Operations".

use std::time::Duration;

use super::config;
use super::error::Error;
use super::options::{Fields, Value};
use super::shown::options;

/// Seconds that `keepAlive` asks for each time.
const KEEP_ALIVE: Duration = Duration::from_secs(300);
/// The least time between two requests of `keepAlive`.
const MIN_REFRESH: Duration = Duration::from_secs(1);

/// What may happen at the end of a lease.
pub const ACTIONS: [&str; 2] = ["destroy", "hibernate"];

/// What happens at the end of a lease.
pub fn action<'a>(fields: &Fields<'a>) -> Result<Option<&'a str>, Error> {
    fields.choice("timeoutAction", &ACTIONS)
}

options! {
    /// Options of {@link Machine.keepAlive}.
    const KEEPING = KeepAliveOptions: "CallOptions" {
        /// Seconds that each renewal asks for, more than 0. @default 300
        timeout: "number";
        /// Seconds between two renewals, less than `timeout`. @default half of `timeout`, at least 1
        refreshEverySecs: "number";
        /// What happens at the end of the lease. @default what the machine has
        timeoutAction: "'destroy' | 'hibernate'";
    }
}

/// A lease that is renewed again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct KeepAlive {
    /// How long it is, each time.
    pub lease: Duration,
    /// What follows its end, if the caller said.
    pub action: Option<String>,
    /// Between two of them.
    pub every: Duration,
    /// Of each request.
    pub request_timeout: Option<Duration>,
}

/// Reads the options of `keepAlive`. Without `refreshEverySecs` a lease is renewed at its half, but not more than once
/// a second.
pub fn keep_alive(options: Option<&Value>) -> Result<KeepAlive, Error> {
    let fields = config::call_fields(options, &KEEPING)?;
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
        lease,
        action: self::action(&fields)?.map(str::to_owned),
        every,
        request_timeout: fields.seconds("requestTimeout")?,
    })
}
