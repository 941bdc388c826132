//! The API over a backend that isolates nothing, a file a resource.
//!
//! One program: each of its own would be linked with all of the engine.

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code)] // its own program uses all of it
#[path = "../images/archives.rs"]
mod archives;
#[allow(dead_code)]
#[path = "../images/registry.rs"]
mod registry;

mod access;
mod exec;
mod files;
mod git;
mod keys;
mod machines;
mod model;
mod monitor;
mod pools;
mod previews;
mod program;
mod sizes;
mod snapshots;
mod sockets;
mod ssh;
mod template_images;
mod templates;
mod volume_files;
mod volumes;
mod webhooks;
