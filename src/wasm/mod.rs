//! The only room that knows JavaScript: exported classes, values in and out.
//!
//! - [`host`]: what the package's JavaScript gives to Rust
//! - [`fetch`]: the transport where there is no other one
//! - [`abort`], [`race`]: ends of calls

#![allow(dead_code)] // until the classes are here

mod abort;
mod fetch;
mod host;
mod race;
#[cfg(feature = "traps")]
mod traps;

use wasm_bindgen::prelude::*;

/// A panic ends this instance: its calls are rejected, and the next call makes a new one.
#[wasm_bindgen(start, private)]
fn start() {
    std::panic::set_hook(Box::new(|info| {
        host::crashed(&info.to_string());
        wasm_bindgen::handler::schedule_reinit();
    }));
}
