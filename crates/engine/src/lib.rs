//! The local engine: real isolated machines behind the Nullspace HTTP API.
//!
//! - [`cli`]: the command line
//! - [`server`]: routes, authentication, the error envelope; decides nothing
//! - [`machine`]: what happens to machines
//! - [`isolation`]: makes and runs isolated machines; knows nothing of the API
//! - [`store`]: what survives a restart
//!
//! Imports point one way: `cli -> server -> machine -> isolation, store`.

pub mod cli;
pub mod isolation;
pub mod machine;
pub mod server;
pub mod store;
