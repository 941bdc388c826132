//! Waiting for a warm pool, as options. Source: PROTOCOL.md section 12.

use std::time::Duration;

use nullspace_wire::limits::POOL_READY;

use super::config::{self, CALL_OPTIONS};
use super::error::Error;
use super::options::{Fields, Value};

/// How long to wait for what.
#[derive(Debug, Clone, PartialEq)]
pub struct Wait {
    /// Machines that must be ready; the pool's own number when absent.
    pub min_ready: Option<u64>,
    /// In all.
    pub timeout: Duration,
    /// Between two looks.
    pub interval: Duration,
    /// Of each request.
    pub request_timeout: Option<Duration>,
}

/// Reads the options of `waitUntilReady`.
pub fn wait(options: Option<&Value>) -> Result<Wait, Error> {
    let fields = Fields::new(
        "",
        options,
        &[
            &["minReady", "timeout", "intervalMs", "onProgress"],
            &CALL_OPTIONS,
        ],
    )?;
    config::signal(&fields)?;
    config::function(&fields, "onProgress")?;
    Ok(Wait {
        min_ready: fields.integer("minReady", POOL_READY.min, POOL_READY.max)?,
        timeout: fields.seconds("timeout")?.unwrap_or(Duration::from_secs(300)),
        interval: Duration::from_millis(fields.integer("intervalMs", 1, 86_400_000)?.unwrap_or(1000)),
        request_timeout: fields.seconds("requestTimeout")?,
    })
}
