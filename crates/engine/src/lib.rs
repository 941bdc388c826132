//! The local engine: real isolated machines behind the Nullspace HTTP API.
//!
//! Rooms: `isolation` makes and runs machines and knows nothing of the API.
pub mod isolation;
