//! What a user does, generic over the transport.
//!
//! - [`call`]: one call: key, hooks, rate limits, errors; [`single`]: calls of one request; `plan`: those of the table
//! - [`machine`], [`keep_alive`], [`process`], [`files`], [`uploads`], [`watch`], [`git`]: what takes more than one request of
//!   a machine; [`page`]: lists of machines
//! - [`stream`], [`terminals`]: a command, a terminal on its WebSocket
//! - [`events`]: events and the monitor on their WebSockets, over lost connections
//! - [`volume`], [`warm_pool`]: what takes more than one request of them

pub mod call;
pub mod events;
pub mod files;
pub mod git;
pub mod keep_alive;
mod key;
pub mod machine;
mod orphan;
pub mod page;
mod plan;
mod policy;
pub mod process;
pub mod single;
mod socket;
pub mod stream;
pub mod terminals;
pub mod uploads;
pub mod volume;
pub mod warm_pool;
pub mod watch;

pub use call::{Client, Failure};
