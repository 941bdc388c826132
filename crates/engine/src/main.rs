//! `nullspace-engine`: the local engine as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    nullspace_engine::cli::run(std::env::args_os(), |_| async {
        Err("this build has no isolation backend".into())
    })
}
