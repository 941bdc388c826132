//! What a machine reaches through the relay of its traffic.
//!
//! - `policy`: under which rules
//! - `domains`: rules of names
//! - `namespace`: how the network of a machine is set up

#[path = "../netns/mod.rs"]
mod netns;

mod domains;
mod namespace;
mod policy;
