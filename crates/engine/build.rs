//! Builds the agent as a static executable of its own, so that the engine can carry it inside.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let agent = manifest.parent().expect("the crates folder").join("agent");
    // From the crate's folder: in a copy of the repository with its target directory, other paths would be the original's.
    println!("cargo:rerun-if-changed=../agent/src");
    println!("cargo:rerun-if-changed=../agent/Cargo.toml");
    println!("cargo:rerun-if-changed=build.rs");

    // Tests that need root are left out, and said to be, for whoever is somebody else.
    println!("cargo:rustc-check-cfg=cfg(not_root)");
    println!("cargo:rerun-if-env-changed=USER");
    if fs::metadata("/proc/self").is_ok_and(|own| own.uid() != 0) {
        println!("cargo:rustc-cfg=not_root");
    }

    // A target named by hand keeps the flags away from build scripts, which cannot be static.
    let target = env::var("TARGET").expect("cargo sets it");
    let folder = out.join("agent");
    // Of the flags of the outer build, those that keep this computer's paths out of what is published.
    let outer = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let renamed = outer
        .split('\x1f')
        .filter(|flag| flag.starts_with("--remap-path-prefix="));
    let flags: Vec<&str> = ["-Ctarget-feature=+crt-static", "-Crelocation-model=static"]
        .into_iter()
        .chain(renamed)
        .collect();
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets it"));
    cargo
        .current_dir(&agent)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--bin",
            "nullspace-agent",
            "--profile",
            "agent",
            "--target",
            &target,
        ])
        .env("CARGO_TARGET_DIR", &folder)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    // What cargo and clippy set for this build would change the inner one.
    for name in [
        "RUSTFLAGS",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "CARGO_MAKEFLAGS",
        "MAKEFLAGS",
        "CLIPPY_ARGS",
    ] {
        cargo.env_remove(name);
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "the agent did not build");
    let built = folder.join(&target).join("agent/nullspace-agent");
    fs::copy(&built, out.join("nullspace-agent")).expect("the agent was built");
}
