//! File descriptors of the engine: as many as the computer gives, and machines get no more of them than before.

use std::sync::OnceLock;

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

/// What an engine that runs as root asks for at least: the limit of services is often a few thousand.
const WANTED: u64 = 65_536;
/// Counted when the kernel sets no limit.
const UNLIMITED: u64 = 1 << 20;

static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Raises the limit of this process as far as it may; gives what it is then. To be called once, at the start.
pub fn raise() -> u64 {
    let before = getrlimit(Resource::Nofile);
    let before = BEFORE.get_or_init(|| before);
    let hard = before.maximum.unwrap_or(UNLIMITED);
    for most in [hard.max(WANTED), hard] {
        let raised = Rlimit {
            current: Some(most),
            maximum: before.maximum.map(|_| most),
        };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            break;
        }
    }
    limit()
}

/// The limit of this process.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED)
}

/// What this process was started with, for those that it starts.
pub(super) fn inherited() -> libc::rlimit {
    let before = BEFORE
        .get()
        .cloned()
        .unwrap_or_else(|| getrlimit(Resource::Nofile));
    libc::rlimit {
        rlim_cur: before.current.unwrap_or(libc::RLIM_INFINITY),
        rlim_max: before.maximum.unwrap_or(libc::RLIM_INFINITY),
    }
}
