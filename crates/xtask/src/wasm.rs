//! From Rust source to `nullspace.wasm` and `glue.js`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, ensure, Context, Result};
use wasm_bindgen_cli_support::Bindgen;

use crate::glue;

/// Profile of the wasm build in the workspace's Cargo.toml.
const PROFILE: &str = "wasm";
const TARGET: &str = "wasm32-unknown-unknown";
/// Name of the module in the package.
pub const MODULE: &str = "nullspace.wasm";

/// What the wasm step makes.
pub struct Built {
    /// The optimized module.
    pub wasm: Vec<u8>,
    /// The glue, patched: an ES module that imports `./runtime.js`.
    pub glue: String,
}

/// Compiles the SDK crate, binds it and shrinks it. `features` are cargo features of that crate.
pub fn build(root: &Path, features: &[String]) -> Result<Built> {
    let compiled = compile(root, features)?;
    refuse_unwanted(&fs::read(&compiled)?)?;
    let mut output = Bindgen::new()
        .input_path(&compiled)
        .out_name("glue")
        .web(true)?
        .typescript(false)
        .omit_default_module_path(true)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate_output()
        .context("wasm-bindgen")?;
    let imports = output.wasm_mut().imports.iter_mut();
    let renamed = glue::rename(imports.map(|import| &mut import.name).collect());
    let glue = glue::patch(output.js(), &renamed)?;
    let scratch = root.join("target").join("xtask");
    fs::create_dir_all(&scratch)?;
    let bound = scratch.join("bound.wasm");
    fs::write(&bound, output.wasm_mut().emit_wasm())?;
    let wasm = optimize(root, &bound, &scratch.join(MODULE))?;
    Ok(Built { wasm, glue })
}

/// What JavaScript has, or what `core::value` does in less: names in the symbols of the module, and what they are.
const UNWANTED: [(&str, &str); 5] = [
    ("10serde_json", "serde_json"),
    ("11collections5btree", "BTreeMap"),
    ("7flt2dec", "the printing of floats"),
    ("7dec2flt", "the reading of floats"),
    ("4zmij", "the printing of floats"),
];

/// Fails when a module contains what once was a tenth of it. Symbols are there until the bindgen step.
fn refuse_unwanted(module: &[u8]) -> Result<()> {
    for (symbol, what) in UNWANTED {
        let is_there = module.windows(symbol.len()).any(|part| part == symbol.as_bytes());
        ensure!(
            !is_there,
            "the module contains {what}: see crates/xtask/src/wasm.rs"
        );
    }
    Ok(())
}

/// Runs cargo with the toolchain that `scripts/ensure-wasm-toolchain.sh` finds.
fn compile(root: &Path, features: &[String]) -> Result<PathBuf> {
    let target_dir = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let mut command = Command::new("bash");
    command
        .current_dir(root)
        // The variables stay in this shell: native builds keep the user's compiler.
        .args([
            "-c",
            r#"vars=$(bash scripts/ensure-wasm-toolchain.sh) || exit 1; eval "$vars"; exec cargo "$@""#,
            "cargo",
        ])
        .args([
            "build",
            "--quiet",
            "--package",
            "nullspace",
            "--lib",
            "--target",
            TARGET,
            "--profile",
            PROFILE,
        ])
        .arg("--target-dir")
        .arg(&target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", remapped_paths(root)?)
        // Set by the cargo that runs this program, and meant for its own toolchain.
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .env_remove("RUSTFLAGS");
    command.arg("--features").arg(
        std::iter::once("wasm")
            .chain(features.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(","),
    );
    let status = command.status().context("bash")?;
    ensure!(status.success(), "the wasm build failed ({status})");
    let wasm = target_dir.join(TARGET).join(PROFILE).join(MODULE);
    ensure!(wasm.is_file(), "cargo made no {}", wasm.display());
    Ok(wasm)
}

/// Panic messages hold source paths: without this the module would name the computer it was built on, and two
/// computers would not build the same bytes.
fn remapped_paths(root: &Path) -> Result<OsString> {
    let cargo_home = match std::env::var_os("CARGO_HOME") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?)
            .join(".cargo"),
    };
    let mut flags = OsString::from("--remap-path-prefix=");
    flags.push(cargo_home);
    flags.push("=/cargo\u{1f}--remap-path-prefix=");
    flags.push(root);
    flags.push("=/src");
    Ok(flags)
}

/// `wasm-opt` of the npm package binaryen. No feature flags: the module names its features itself, and
/// `--all-features` makes modules that engines refuse.
fn optimize(root: &Path, input: &Path, output: &Path) -> Result<Vec<u8>> {
    let program = root.join("node_modules/.bin/wasm-opt");
    if !program.exists() {
        bail!("node_modules has no wasm-opt; run `npm ci` first");
    }
    let status = Command::new(program)
        // Functions with one caller stay apart when they are longer: put into their caller they make functions so long that engines
        // spend more time on optimizing them than they save, and text that compresses worse (4 % more gzip).
        .args([
            "-Oz",
            "--converge",
            "--one-caller-inline-max-function-size=15",
            "-o",
        ])
        .args([output, input])
        .status()
        .context("wasm-opt")?;
    ensure!(status.success(), "wasm-opt failed ({status})");
    Ok(fs::read(output)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_with_a_parser_of_its_own_is_refused() {
        refuse_unwanted(b"_ZN9nullspace4core5value5parse17h0E").unwrap();
        let error = refuse_unwanted(b"..._ZN10serde_json2de8from_str17h0E...").unwrap_err();
        assert!(error.to_string().contains("serde_json"), "{error}");
        refuse_unwanted(b"_ZN5alloc11collections5btree3map17h0E").unwrap_err();
    }
}
