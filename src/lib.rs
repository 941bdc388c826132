//! Client for Nullspace machines.
#[cfg(feature = "wasm")]
mod wasm;
