//! What a user does, generic over the transport.
//!
//! - [`call`]: one call: key, hooks, rate limits, errors
//! - [`machine`]: machines; [`page`]: their lists; [`warm_pool`]: pools

pub mod call;
pub mod machine;
pub mod page;
pub mod warm_pool;

pub use call::{Client, Failure};
