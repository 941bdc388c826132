//! Limits and defaults that both sides check, so that they cannot differ.

/// A range of whole numbers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The least.
    pub min: u64,
    /// The most.
    pub max: u64,
}

impl Range {
    const fn new(min: u64, max: u64) -> Self {
        Self { min, max }
    }

    /// Whether a number is in it.
    pub fn contains(self, number: u64) -> bool {
        (self.min..=self.max).contains(&number)
    }
}

/// Processors of a machine.
pub const VCPUS: Range = Range::new(1, 256);
/// Processors, by default.
pub const DEFAULT_VCPUS: u64 = 2;
/// Memory of a machine, MiB.
pub const MEMORY_MB: Range = Range::new(1, 1 << 20);
/// Memory, by default, MiB.
pub const DEFAULT_MEMORY_MB: u64 = 512;
/// Memory, by default, of templates that need more, MiB.
pub const DEFAULT_MEMORY_LARGE_MB: u64 = 2048;
/// Disk of a machine, MiB. Source: schema, `disk_mb`.
pub const DISK_MB: Range = Range::new(512, 131_072);
/// Volumes of one machine. Source: PROTOCOL.md section 3, "Server rules".
pub const VOLUMES: usize = 8;
/// Names in each list of a network policy.
pub const EGRESS_DOMAINS: usize = 1000;
/// Secrets of one machine.
pub const SECRETS: usize = 32;
/// Hosts of one secret.
pub const SECRET_HOSTS: usize = 32;

/// Characters of a name of a machine or a snapshot, which are visible ASCII.
pub const NAME: Range = Range::new(1, 128);

/// Length of a lease, milliseconds.
pub const LEASE_MS: Range = Range::new(1, 365 * 24 * 3600 * 1000);
/// Length of a lease, by default, milliseconds.
pub const DEFAULT_LEASE_MS: u64 = 300_000;

/// Wait for a ready machine of a pool, milliseconds.
pub const WARM_POOL_WAIT_MS: Range = Range::new(0, 600_000);
/// Machines that a pool holds ready.
pub const POOL_READY: Range = Range::new(0, 100);

/// Life of a signed preview URL, seconds. Source: schema, `CreateSignedPreviewUrlRequest`.
pub const SIGNED_URL_SECS: Range = Range::new(60, 86_400);
/// Wait for a service behind a port, seconds.
pub const PREVIEW_WAIT_SECS: Range = Range::new(1, 3600);
/// Wait for a service behind a port, by default, seconds.
pub const DEFAULT_PREVIEW_WAIT_SECS: u64 = 30;
/// Time between two looks at a service behind a port, milliseconds.
pub const PREVIEW_INTERVAL_MS: Range = Range::new(1, 60_000);
/// Time between two looks at a service behind a port, by default, milliseconds.
pub const DEFAULT_PREVIEW_INTERVAL_MS: u64 = 500;
/// Life of an SSH certificate, minutes.
pub const SSH_ACCESS_MINUTES: Range = Range::new(1, 525_600);

/// Time limit of a command, seconds.
pub const COMMAND_SECS: Range = Range::new(1, 86_400);
/// Time limit of a command, by default, seconds.
pub const DEFAULT_COMMAND_SECS: u64 = 30;
/// Time limit of a cell of the code interpreter, seconds.
pub const CODE_SECS: Range = Range::new(1, 86_400);
/// Time limit of a cell, by default, seconds.
pub const DEFAULT_CODE_SECS: u64 = 300;
