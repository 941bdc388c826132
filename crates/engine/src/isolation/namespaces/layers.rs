//! Immutable layers: what a machine wrote, or a root file system that was brought. A layer is a folder with `root` and,
//! when it changes `/usr` of `base`, `usr`. Ids in it are the machine's own (0 to 65535).

use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{openat2, AtFlags, Mode, OFlags, ResolveFlags, CWD};

use super::{copy, failed, merge, volumes};
use crate::isolation::meter;
use crate::isolation::remove::Trash;
use crate::isolation::{IsolationError, Layer, Result, RootFiles};
use nullspace_agent::trees::Chain;

/// Copies what a machine wrote (`upper` holds `ur` and `uu`) into a new layer. The machine must be frozen.
pub fn copy_upper(upper: &Path, layer: &Path, name: &str, trash: &Trash) -> Result<Layer> {
    make(layer, name, trash, |fresh| {
        copy(&upper.join("ur"), &fresh.join("root"))?;
        if upper.join("uu").exists() {
            copy(&upper.join("uu"), &fresh.join("usr"))?;
        }
        Ok(())
    })
}

/// Makes a layer of a root file system.
pub fn import(layer: &Path, name: &str, source: RootFiles, trash: &Trash) -> Result<Layer> {
    make(layer, name, trash, |fresh| {
        let root = fresh.join("root");
        match source {
            RootFiles::Directory(source) => {
                // A link to it is as good.
                let source = source.canonicalize().map_err(failed("find a root file system"))?;
                copy(&source, &root)?;
            }
            RootFiles::Packed(unpack) => {
                fs::create_dir(&root).map_err(failed("make a layer"))?;
                unpack(&root)?;
            }
        }
        let has_shell = fs::symlink_metadata(root.join("bin")).is_ok();
        if !has_shell {
            let text = "what was given holds no root file system: there is no /bin in it";
            return Err(IsolationError::Invalid(text.to_owned()));
        }
        complete(&root).map_err(failed("complete a root file system"))
    })
}

/// Makes one layer of several, nearest first. `None` when they hold what only the kernel can merge.
pub fn merge(layer: &Path, name: &str, layers: &[PathBuf], trash: &Trash) -> Result<Option<Layer>> {
    let parts = ["root", "usr"];
    for folder in layers.iter().flat_map(|layer| parts.map(|part| layer.join(part))) {
        if folder.is_dir() && !merge::is_possible(&folder).map_err(failed("look at a layer"))? {
            return Ok(None);
        }
    }
    make(layer, name, trash, |fresh| {
        for part in parts {
            let target = fresh.join(part);
            for source in layers.iter().rev().map(|layer| layer.join(part)) {
                if !source.is_dir() {
                    continue;
                }
                let _ = fs::create_dir(&target);
                merge::put_over(&target, &source).map_err(failed("merge layers"))?;
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
pub fn remove_half_made(layers: &Path, trash: &Trash) -> Result<()> {
    for entry in fs::read_dir(layers).map_err(failed("read the layers"))?.flatten() {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == HALF_MADE)
        {
            if let Err(error) = trash.take(&entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "a half-made layer cannot be removed");
            }
        }
    }
    Ok(())
}

/// Names of the layers that are whole.
pub fn names(layers: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(layers).map_err(failed("read the layers"))?.flatten();
    let is_whole = |path: &Path| path.extension().is_none_or(|extension| extension != HALF_MADE);
    let whole = entries.filter(|entry| is_whole(&entry.path()));
    Ok(whole
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect())
}

/// Makes a layer whole or not at all.
pub fn make(
    layer: &Path,
    name: &str,
    trash: &Trash,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<Layer> {
    let fresh = layer.with_extension(HALF_MADE);
    trash.take(&fresh).map_err(failed("remove a half-made layer"))?;
    fs::create_dir(&fresh).map_err(failed("make a layer"))?;
    let filled = fill(&fresh).and_then(|()| {
        fs::rename(&fresh, layer).map_err(failed("keep a layer"))?;
        Ok(Layer {
            name: name.to_owned(),
            size_bytes: Chain::open(layer).map_or(0, |top| meter::count_whole(top).disk_bytes),
        })
    });
    if filled.is_err() {
        let _ = trash.take(&fresh);
    }
    filled
}

fn copy(source: &Path, target: &Path) -> Result<()> {
    copy::tree(source, target).map_err(failed("copy files"))
}
