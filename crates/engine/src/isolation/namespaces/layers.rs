//! Immutable layers: what a machine wrote, or a root file system that was brought. A layer is a folder with `root` and,
//! when it changes `/usr` of `base`, `usr`. Ids in it are the machine's own (0 to 65535).

use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{openat2, AtFlags, Mode, OFlags, ResolveFlags, CWD};

use super::{failed, merge, volumes};
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
            copy(source, &root)?;
        } else {
            fs::create_dir(&root).map_err(failed("make a layer"))?;
            run(
                Command::new("tar")
                    .args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf"])
                    .arg(source)
                    .arg("-C")
                    .arg(&root),
                "unpack a root file system",
            )?;
        }
        let has_shell = fs::symlink_metadata(root.join("bin")).is_ok();
        if !has_shell {
            return Err(IsolationError::Invalid(format!(
                "{} holds no root file system: there is no /bin in it",
                source.display()
            )));
        }
        complete(&root).map_err(failed("complete a root file system"))
    })
}

/// Makes one layer of several, nearest first. `None` when they hold what only the kernel can merge.
pub fn merge(layer: &Path, name: &str, layers: &[PathBuf]) -> Result<Option<Layer>> {
    let parts = ["root", "usr"];
    for folder in layers.iter().flat_map(|layer| parts.map(|part| layer.join(part))) {
        if folder.is_dir() && !merge::is_possible(&folder).map_err(failed("look at a layer"))? {
            return Ok(None);
        }
    }
    make(layer, name, |fresh| {
        for part in parts {
            let target = fresh.join(part);
            for source in layers.iter().rev().map(|layer| layer.join(part)) {
                if !source.is_dir() {
                    continue;
                }
                let _ = fs::create_dir(&target);
                merge::put_over(&target, &source).map_err(failed("merge layers"))?;
                merge::same_attributes(&source, &target).map_err(failed("merge layers"))?;
            }
        }
        Ok(())
    })
    .map(Some)
}

/// What every root file system needs, whoever made it: where commands start, room for temporary files, and names that the
/// engine answers. Links in it are followed inside it only.
fn complete(root: &Path) -> std::io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = openat2(CWD, root, flags, Mode::empty(), ResolveFlags::empty())?;
    let directory = |path: &str| volumes::make_directories(top.as_fd(), path, ResolveFlags::IN_ROOT);
    directory("workspace")?;
    directory("etc")?;
    let temporary = directory("tmp")?;
    // By its name in /proc: a directory that is only a place takes no mode.
    fs::set_permissions(
        format!("/proc/self/fd/{}", temporary.as_raw_fd()),
        fs::Permissions::from_mode(0o1777),
    )?;
    let etc = directory("etc")?;
    for (name, content, is_ours) in super::base::NAMES {
        let is_there = rustix::fs::statat(&etc, *name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        if is_there && !is_ours {
            continue;
        }
        if is_there {
            rustix::fs::unlinkat(&etc, *name, AtFlags::empty())?;
        }
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&etc, *name, create, Mode::from_raw_mode(0o644))?;
        fs::File::from(file).write_all(content.as_bytes())?;
    }
    Ok(())
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
