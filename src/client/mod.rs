//! What a user does, generic over the transport.
//!
//! - [`call`]: one call: key, hooks, rate limits, errors; [`single`]: calls of one request
//! - [`machine`], [`lifecycle`], [`keep_alive`], [`process`], [`code`], [`files`], [`uploads`], [`watch`], [`git`], [`preview`]: machines; [`page`]: their lists
//! - [`stream`], [`terminals`]: a command, a terminal on its WebSocket
//! - [`events`]: events and the monitor on their WebSockets, over lost connections
//! - [`snapshot`], [`volume`], [`warm_pool`], [`webhooks`]

pub mod call;
pub mod code;
pub mod events;
pub mod files;
pub mod git;
pub mod keep_alive;
mod key;
pub mod lifecycle;
pub mod machine;
mod orphan;
pub mod page;
pub mod preview;
pub mod process;
pub mod single;
pub mod snapshot;
mod socket;
pub mod stream;
pub mod terminals;
pub mod uploads;
pub mod volume;
pub mod warm_pool;
pub mod watch;
pub mod webhooks;

pub use call::{Client, Failure};
