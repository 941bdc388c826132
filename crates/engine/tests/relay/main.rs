//! What a machine reaches through the relay of its traffic.
//!
//! - `policy`: under which rules
//! - `domains`: rules of names

#[path = "../netns/mod.rs"]
mod netns;

mod domains;
mod policy;
