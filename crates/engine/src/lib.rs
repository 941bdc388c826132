//! The local engine: real isolated machines behind the Nullspace HTTP API.
//!
//! - [`cli`]: the command line
//! - [`control`]: orders of this computer's own user to a running engine
//! - [`server`]: routes, authentication, the error envelope; decides nothing
//! - [`node`]: an engine as a node of a cluster; [`cluster`]: the gateways of one
//! - [`ssh`]: the door for SSH clients
//! - [`webhooks`]: tells receivers of events
//! - [`machine`]: what happens to machines
//! - [`images`]: images of registries, as layers of machines
//! - [`dockerfile`]: Dockerfiles, as steps of a build
//! - [`isolation`]: makes and runs isolated machines; knows nothing of the API
//! - [`store`]: what survives a restart
//! - [`metrics`]: what the process counts; [`tls`]: what it shows and trusts
//! - `hops`: headers of one connection, for whatever passes HTTP on
//!
//! Imports point one way: `cli -> cluster -> server -> control, node, ssh -> webhooks -> machine -> dockerfile -> images -> isolation, store -> hops, metrics, tls`.

pub mod cli;
pub mod cluster;
pub mod control;
pub mod dockerfile;
mod hops;
pub mod images;
pub mod isolation;
pub mod machine;
pub mod metrics;
pub mod node;
pub mod server;
pub mod ssh;
pub mod store;
pub mod tls;
pub mod webhooks;
