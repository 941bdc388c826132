//! Builds of templates in real machines, through an engine that is a process of its own: needs root; without, the tests say so and
//! pass.
//!
//! - `images`: from an image
//! - `dockerfile`: from a Dockerfile
//! - `crash`: while the engine is killed

#[allow(dead_code)] // the program of the images uses all of it
#[path = "../images/archives.rs"]
mod archives;
#[path = "../netns/mod.rs"]
mod netns;
#[path = "../support/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../images/registry.rs"]
mod registry;

mod crash;
mod dockerfile;
mod images;

use std::path::Path;
use std::time::Duration;

/// Neither a machine of a build nor a mount below this state. A start that was given up is cleared away in a moment, not by who gave it up.
fn nothing_is_left(state: &Path) {
    let machines = || process::names(&state.join("machines/machines"));
    let given_up = std::time::Instant::now();
    while !machines().is_empty() && given_up.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(machines(), Vec::<String>::new(), "machines are left");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(state.to_str().unwrap()), "mounts are left");
}
