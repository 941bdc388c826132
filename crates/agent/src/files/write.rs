//! Writing: a new file beside the old one, renamed into its place when it is whole.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{chown, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{accessat, Access, AtFlags, CWD};
use rustix::rand::{getrandom, GetRandomFlags};

use super::serve::nearest;
use super::text::shown;
use super::{Fault, Result, RESERVED, TEMPORARY, TEMPORARY_END};

/// Symlinks followed at most, as by the kernel.
const MOST_LINKS: usize = 40;

/// New content of a file, invisible until it is committed. Dropping it removes it.
pub(super) struct New {
    target: PathBuf,
    temporary: PathBuf,
    file: File,
    old: Option<fs::Metadata>,
}

impl New {
    pub(super) fn begin(path: &Path) -> Result<Self> {
        let target = follow(path)?;
        check_allowed(&target)?;
        let Some(directory) = target.parent().filter(|_| target.file_name().is_some()) else {
            return Err(Fault::at(path, &io::Error::from_raw_os_error(libc::EISDIR)));
        };
        make_directories(directory).map_err(|fault| match fault.errno {
            libc::EEXIST => Fault::at(path, &io::Error::from_raw_os_error(libc::ENOTDIR)),
            _ => fault,
        })?;
        let old = fs::symlink_metadata(&target).ok();
        if let Some(old) = &old {
            if old.is_dir() {
                return Err(Fault::at(path, &io::Error::from_raw_os_error(libc::EISDIR)));
            }
            if !old.is_file() {
                return Err(Fault::new(
                    libc::EINVAL,
                    format!("{}: is no regular file", shown(path)),
                ));
            }
            may_write(&target).map_err(|e| Fault::at(path, &e))?;
        }
        let temporary = directory.join(temporary_name().map_err(|e| Fault::at(path, &e))?);
        let created = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o666)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&temporary);
        let file = created.map_err(|e| Fault::at(path, &e))?;
        Ok(Self {
            target,
            temporary,
            file,
            old,
        })
    }

    pub(super) fn exists(&self) -> bool {
        self.old.is_some()
    }

    pub(super) fn descriptor(&self) -> Result<OwnedFd> {
        let copy = self.file.try_clone().map_err(|e| Fault::at(&self.target, &e))?;
        Ok(copy.into())
    }

    /// Puts it in place and says where.
    pub(super) fn commit(mut self, replace: bool, mode: Option<u32>) -> Result<PathBuf> {
        let fault = |e: io::Error| Fault::at(&self.target, &e);
        if let Some(old) = &self.old {
            // Only root can give a file away; for others the new file is their own, as after an editor's save.
            let _ = chown(&self.temporary, Some(old.uid()), Some(old.gid()));
        }
        let mode = mode.or(self.old.as_ref().map(|old| old.mode()));
        if let Some(mode) = mode {
            let permissions = fs::Permissions::from_mode(mode & 0o7777);
            self.file.set_permissions(permissions).map_err(fault)?;
        }
        if replace {
            fs::rename(&self.temporary, &self.target).map_err(fault)?;
        } else {
            // link() fails when something is there, on every file system.
            fs::hard_link(&self.temporary, &self.target).map_err(fault)?;
            fs::remove_file(&self.temporary).map_err(fault)?;
        }
        self.temporary.clear();
        Ok(self.target.clone())
    }
}

impl Drop for New {
    fn drop(&mut self) {
        if !self.temporary.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Renaming over a file needs no right to it, writing does. It is not opened for that: a program that runs cannot be.
fn may_write(path: &Path) -> io::Result<()> {
    Ok(accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS)?)
}

pub(super) fn temporary_name() -> io::Result<String> {
    // Not from a file: a volume has no devices.
    let mut random = [0_u8; 8];
    // So few come whole.
    getrandom(&mut random, GetRandomFlags::empty())?;
    Ok(format!(
        "{TEMPORARY}{:016x}{TEMPORARY_END}",
        u64::from_le_bytes(random)
    ))
}

/// Where writing to `path` goes: symlinks at its end are followed, even one that leads to nothing yet.
pub(super) fn follow(path: &Path) -> Result<PathBuf> {
    let mut at = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&at) {
            Ok(target) => at = at.parent().unwrap_or(Path::new("/")).join(target),
            Err(_) => return Ok(at),
        }
    }
    Err(Fault::at(path, &io::Error::from_raw_os_error(libc::ELOOP)))
}

/// Refuses to change what the product keeps for itself, however the path leads there, and the root.
pub(super) fn check_allowed(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else {
        return Err(Fault::new(libc::EBUSY, "/: cannot be changed"));
    };
    let (real, missing) = nearest(parent);
    let whole = real.join(missing).join(path.file_name().unwrap_or_default());
    if whole.starts_with(RESERVED) {
        return Err(Fault::new(
            libc::EPERM,
            format!("{}: {RESERVED} is reserved: choose another path", shown(path)),
        ));
    }
    Ok(())
}

pub(super) fn make_directories(path: &Path) -> Result<()> {
    if path.parent().is_some() {
        check_allowed(path)?;
    }
    fs::create_dir_all(path).map_err(|e| Fault::at(path, &e))
}
