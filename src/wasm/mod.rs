//! The only room that knows JavaScript: exported classes, values in and out.
//!
//! - [`machine`], [`lifecycle`], [`keep_alive`], [`process`], [`code`], [`files`], [`uploads`], [`watch`], [`git`], [`preview`], [`volumes`], [`warm_pool`]: the exported classes
//! - [`call`]: what each of their functions does around its call
//! - [`convert`], [`throw`]: values in, errors out
//! - [`events`]: webhooks, streams of events, the monitor
//! - [`stream`], [`terminals`]: commands and terminals on their WebSocket; [`socket`]: the WebSocket
//! - [`transport`]: requests, by [`host`]: what the package's JavaScript gives
//! - [`task`]: calls under way; [`abort`], [`race`]: their ends

mod abort;
mod call;
mod code;
pub(crate) mod convert;
mod events;
mod files;
mod git;
mod host;
mod keep_alive;
mod lifecycle;
mod machine;
mod preview;
mod process;
mod race;
mod single;
mod socket;
mod stream;
mod task;
mod terminals;
mod throw;
mod transport;
#[cfg(feature = "traps")]
mod traps;
mod uploads;
mod volumes;
mod warm_pool;
mod watch;

use wasm_bindgen::prelude::*;

/// A panic ends this instance: its calls are rejected, and the next call makes a new one.
#[wasm_bindgen(start, private)]
fn start() {
    std::panic::set_hook(Box::new(|info| {
        host::crashed(&info.to_string());
        wasm_bindgen::handler::schedule_reinit();
    }));
}
