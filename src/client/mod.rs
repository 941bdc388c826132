//! What a user does, generic over the transport.
//!
//! - [`call`]: one call: key, hooks, rate limits, errors
//! - [`machine`]: machines; [`page`]: their lists; [`warm_pool`]: pools

pub mod call;
mod key;
pub mod machine;
mod orphan;
pub mod page;
pub mod warm_pool;

pub use call::{Client, Failure};
