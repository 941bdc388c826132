//! What every room stands on: errors, the clock, ids, the states of a machine, one key for one piece of work, and the space
//! that is kept free on the disk.

pub mod clock;
pub mod error;
pub mod idempotency;
pub(crate) mod ids;
pub(super) mod json;
pub(super) mod room;
pub mod status;
pub mod sync;

pub use error::{Error, Kind, Result};
