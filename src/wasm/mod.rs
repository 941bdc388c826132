//! The only room that knows JavaScript: exported functions and classes, values in and out.
//!
//! - [`export`]: the calls of the table, one line each
//! - [`machine`], [`commands`], [`files`], [`uploads`], [`git`], [`resources`], [`templates`], [`events`]: functions for what takes more than one request
//! - [`stream`], [`terminals`], [`watch`], [`keep_alive`]: classes for what holds a socket or a timer
//! - [`call`]: what each of their functions does around its call; [`client`], [`record`]: what a handle remembers
//! - [`convert`], [`throw`]: values in, errors out
//! - [`transport`]: requests, by [`host`]: what the package's JavaScript gives; [`later`]: the wait for their answers; [`fetch`]: what the global `fetch` takes;
//!   [`socket`]: WebSockets
//! - [`abort`]: ends of calls

mod abort;
mod call;
mod client;
mod commands;
mod convert;
mod events;
mod export;
mod fetch;
mod files;
mod git;
mod host;
mod keep_alive;
mod later;
mod machine;
mod record;
mod resources;
mod socket;
mod stream;
mod templates;
mod terminals;
mod throw;
mod transport;
#[cfg(feature = "traps")]
mod traps;
mod uploads;
mod watch;

use wasm_bindgen::prelude::*;

use crate::core::value::print_decimals_with;

/// A panic ends this instance: its calls are rejected, and the next call makes a new one.
#[wasm_bindgen(start, private)]
fn start() {
    print_decimals_with(convert::decimal);
    std::panic::set_hook(Box::new(|info| {
        host::crashed(&info.to_string());
        wasm_bindgen::handler::schedule_reinit();
    }));
}
