//! `nullspace-engine`: the local engine as a program.

use std::process::ExitCode;
use std::sync::Arc;

use nullspace_engine::cli::{self, BackendOptions};
use nullspace_engine::isolation::namespaces::{Namespaces, Options};
use nullspace_engine::isolation::Backend;

fn main() -> ExitCode {
    cli::run(std::env::args_os(), open_backend)
}

/// The backend that isolates on this computer, after a first machine has shown that it does.
async fn open_backend(options: BackendOptions) -> Result<Arc<dyn Backend>, String> {
    let refuse = |error| format!("no machine can be isolated on this computer: {error}");
    let backend = Namespaces::open(Options {
        state_dir: options.directory,
        base_cache: options.base_cache,
        refused: options.refused,
        best_effort: options.best_effort,
        durable: options.durable,
        resolvers: None,
    })
    .await
    .map_err(refuse)?;
    // What an earlier engine left goes first: its machines may hold what the probe needs.
    backend.recover().await.map_err(refuse)?;
    backend.probe().await.map_err(refuse)?;
    Ok(Arc::new(backend))
}
