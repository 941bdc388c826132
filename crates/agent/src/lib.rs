//! PID 1 of a machine, and the messages between it and the engine.
//!
//! - [`message`]: what is said
//! - [`channel`]: how it travels, with descriptors
//! - [`files`]: files of a machine, worked on from inside
//! - [`limits`]: counts that no control group keeps
//! - [`mounts`]: directories of the host in a machine
//! - [`net`]: the network of a machine
//! - [`syscall`]: results of system calls
//! - [`user_files`]: its users, as it tells them
//! - [`trees`]: directories that others made, of any depth

pub mod channel;
pub mod files;
pub mod limits;
pub mod message;
pub mod mounts;
pub mod net;
mod netlink;
pub mod syscall;
pub mod trees;
pub mod user_files;
