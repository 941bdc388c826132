//! Machines as they are stored and listed.

pub mod list;
pub(super) mod record;
