//! Builds the npm package. `cargo xtask build` is the one command; the others make single parts of it.
//!
//! - [`wasm`]: Rust -> module and glue
//! - [`glue`]: what is changed in the glue, and why
//! - [`decoders`]: wire types -> JavaScript that checks answers and gives them their JavaScript shape
//! - [`errors`]: kinds of errors -> their JavaScript classes
//! - [`declarations`]: what is generated of `index.d.ts`: [`answers`] from wire types, [`options`] from the SDK's table
//! - [`calls`]: the SDK's table -> calls that are commands
//! - [`package`]: puts `pkg/` together

mod answers;
mod calls;
mod declarations;
mod decoders;
mod errors;
mod glue;
mod options;
mod package;
mod wasm;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Builds the npm package", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// wasm, glue, decoders, wasm-opt: everything, assembled into a folder.
    Build {
        /// The folder; it is replaced.
        #[arg(long, default_value = "pkg")]
        out: PathBuf,
        /// Cargo features of the SDK crate. `traps` adds what the crash tests call; never publish that.
        #[arg(long, value_delimiter = ',')]
        features: Vec<String>,
    },
    /// Prints the generated decoders.
    Decoders,
    /// Renews options and answers in pkg-template/index.d.ts, cli/options.json and cli/calls.json.
    Declarations,
}

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .context("the workspace's root")?;
    match Arguments::parse().command {
        Task::Build { out, features } => {
            let built = wasm::build(root, &features)?;
            let out = if out.is_absolute() { out } else { root.join(out) };
            package::assemble(root, &out, &built, &decoders::generate()?)?;
            let size = fs::metadata(out.join(wasm::MODULE))?.len();
            println!("{}: {} KB of wasm", out.display(), size / 1000);
        }
        Task::Declarations => declarations::write(root)?,
        Task::Decoders => {
            let decoders::Files { first, more } = decoders::generate()?;
            print!("{first}{more}");
        }
    }
    Ok(())
}
