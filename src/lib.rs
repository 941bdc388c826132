//! Client for Nullspace machines: an isolated Linux environment on demand.
//!
//! - [`core`]: decisions without I/O
//! - [`surface`]: what JavaScript sees of the calls that are one request, as data
//! - [`transport`]: what is needed from the outside, as traits
//! - [`client`]: what a user does
//! - `wasm`: the JavaScript boundary (feature `wasm`)
//! - `script`: a transport that tests script
//!
//! Imports point one way: `wasm, script -> client -> surface, transport -> core`.

pub mod client;
pub mod core;
#[cfg(not(target_arch = "wasm32"))]
pub mod script;
pub mod surface;
pub mod transport;
#[cfg(feature = "wasm")]
mod wasm;
