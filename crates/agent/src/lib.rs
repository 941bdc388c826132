//! PID 1 of a machine, and the messages between it and the engine.
//!
//! - [`net`]: the network of a machine

pub mod net;
mod netlink;
