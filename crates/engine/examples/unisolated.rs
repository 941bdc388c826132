//! The whole engine over a backend that isolates nothing, for work on the API: its commands run as processes of this
//! computer, with your rights. Never give it code that you would not run yourself.
//!
//!     cargo run -p nullspace-engine --example unisolated -- serve --listen 127.0.0.1:0

#[path = "../tests/support/backend.rs"]
#[allow(dead_code)] // tests use more of it
mod backend;

use std::process::ExitCode;
use std::sync::Arc;

use nullspace_engine::isolation::Backend;

fn main() -> ExitCode {
    nullspace_engine::cli::run(std::env::args_os(), |_| async {
        Ok(backend::Plain::new() as Arc<dyn Backend>)
    })
}
