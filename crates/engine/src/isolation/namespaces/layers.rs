//! Immutable layers: what a machine wrote, or a root file system that was brought. A layer is a folder with `root` and,
//! when it changes `/usr` of `base`, `usr`. Ids in it are the machine's own (0 to 65535).

use std::fs;
use std::path::Path;
use std::process::Command;

use super::failed;
use crate::isolation::{IsolationError, Layer, Result};

/// Copies what a machine wrote (`upper` holds `ur` and `uu`) into a new layer. The machine must be frozen.
pub fn copy_upper(upper: &Path, layer: &Path, name: &str) -> Result<Layer> {
    make(layer, name, |fresh| {
        copy(&upper.join("ur"), &fresh.join("root"))?;
        if upper.join("uu").exists() {
            copy(&upper.join("uu"), &fresh.join("usr"))?;
        }
        Ok(())
    })
}

/// Copies a root file system, a directory or a tarball, into a new layer.
pub fn import(layer: &Path, name: &str, source: &Path) -> Result<Layer> {
    let found = fs::metadata(source)
        .map_err(|error| IsolationError::Invalid(format!("{} cannot be read: {error}", source.display())))?;
    make(layer, name, |fresh| {
        let root = fresh.join("root");
        if found.is_dir() {
            return copy(source, &root);
        }
        fs::create_dir(&root).map_err(failed("make a layer"))?;
        run(
            Command::new("tar")
                .args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf"])
                .arg(source)
                .arg("-C")
                .arg(&root),
            "unpack a root file system",
        )
    })
}

/// Extension of a layer that is being made.
const HALF_MADE: &str = "new";

/// Removes layers that an earlier engine did not finish.
pub fn remove_half_made(layers: &Path) -> Result<()> {
    for entry in fs::read_dir(layers).map_err(failed("read the layers"))?.flatten() {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == HALF_MADE)
        {
            crate::isolation::remove::directory(&entry.path()).map_err(failed("remove a half-made layer"))?;
        }
    }
    Ok(())
}

/// Makes a layer whole or not at all.
fn make(layer: &Path, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<Layer> {
    let fresh = layer.with_extension(HALF_MADE);
    crate::isolation::remove::directory(&fresh).map_err(failed("remove a half-made layer"))?;
    fs::create_dir(&fresh).map_err(failed("make a layer"))?;
    let filled = fill(&fresh).and_then(|()| {
        fs::rename(&fresh, layer).map_err(failed("keep a layer"))?;
        Ok(Layer {
            name: name.to_owned(),
            size_bytes: size(layer),
        })
    });
    if filled.is_err() {
        let _ = crate::isolation::remove::directory(&fresh);
    }
    filled
}

/// `cp -a` keeps owners, holes, links and overlay's own attributes, and shares blocks where the file system can.
fn copy(source: &Path, target: &Path) -> Result<()> {
    run(
        Command::new("cp")
            .args(["-a", "--reflink=auto", "--"])
            .arg(source)
            .arg(target),
        "copy files",
    )
}

fn run(command: &mut Command, what: &str) -> Result<()> {
    let output = command
        .output()
        .map_err(|error| IsolationError::Failed(format!("could not {what}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let first: String = text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(300)
        .collect();
    Err(IsolationError::Failed(format!("could not {what}: {first}")))
}

/// Bytes of the files below a folder, as they take room on the disk.
pub fn size(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut total = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(found) = entry.path().symlink_metadata() else {
                continue;
            };
            if found.is_dir() {
                folders.push(entry.path());
            } else {
                total += found.blocks() * 512;
            }
        }
    }
    total
}
