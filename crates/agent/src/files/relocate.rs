//! Renaming to another file system, as `mv` does it: a copy beside the target, put in place when it is whole, and then
//! the old one goes. Whatever fails before that leaves both places as they were.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{lchown, symlink, DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    lgetxattr, llistxattr, lsetxattr, mknodat, utimensat, AtFlags, FileType, Mode, Timespec, Timestamps,
    XattrFlags, CWD,
};

use super::serve::{nearest, open_without_waiting, remove_tree, Session};
use super::write::temporary_name;
use super::{Fault, Result};

/// Moves `from` to `to`, which are on different file systems.
pub(super) fn relocate(session: &Session, from: &Path, to: &Path) -> Result<()> {
    let source = fs::symlink_metadata(from).map_err(|e| Fault::at(from, &e))?;
    let is_mount_point = source.is_dir()
        && from
            .parent()
            .and_then(|p| p.metadata().ok())
            .is_none_or(|p| p.dev() != source.dev());
    if is_mount_point {
        return Err(Fault::at(from, &io::Error::from_raw_os_error(libc::EBUSY)));
    }
    check_target(from, &source, to)?;
    let beside = to.with_file_name(temporary_name().map_err(|e| Fault::at(to, &e))?);
    let mut copy = Copy {
        session,
        device: source.dev(),
        names: HashMap::new(),
        directories: Vec::new(),
    };
    let placed = copy
        .tree(from, &beside, &source)
        .and_then(|()| fs::rename(&beside, to).map_err(|e| Fault::at(to, &e)));
    if placed.is_err() {
        let _ = remove_tree(&beside);
        return placed;
    }
    remove_tree(from).map_err(|e| Fault::at(from, &e))
}

/// What `rename` itself would refuse is refused before anything is copied.
fn check_target(from: &Path, source: &Metadata, to: &Path) -> Result<()> {
    let refuse = |errno| Err(Fault::at(to, &io::Error::from_raw_os_error(errno)));
    let parent = nearest(to.parent().unwrap_or(Path::new("/"))).0;
    if source.is_dir() && from.canonicalize().is_ok_and(|from| parent.starts_with(from)) {
        return refuse(libc::EINVAL);
    }
    match fs::symlink_metadata(to) {
        Ok(there) if there.is_dir() && !source.is_dir() => refuse(libc::EISDIR),
        Ok(there) if !there.is_dir() && source.is_dir() => refuse(libc::ENOTDIR),
        Ok(there) if there.is_dir() && fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) => {
            refuse(libc::ENOTEMPTY)
        }
        _ => Ok(()),
    }
}

struct Copy<'a> {
    session: &'a Session,
    /// Of the directory that is moved: another one below it is a mount point, which cannot be moved.
    device: u64,
    /// Copies of files that have more than one name, by device and number.
    names: HashMap<(u64, u64), PathBuf>,
    /// Copied directories, each after the one it is in. They get their properties last: filling changes their times,
    /// and one that may not be written could not be filled.
    directories: Vec<(PathBuf, PathBuf, Metadata)>,
}

impl Copy<'_> {
    fn tree(&mut self, from: &Path, to: &Path, metadata: &Metadata) -> Result<()> {
        self.entry(from, to, metadata).map_err(|e| Fault::at(from, &e))?;
        let mut next = 0;
        while let Some((from, to, _)) = self.directories.get(next).cloned() {
            next += 1;
            for entry in fs::read_dir(&from).map_err(|e| Fault::at(&from, &e))? {
                let path = entry.map_err(|e| Fault::at(&from, &e))?.path();
                let copied = fs::symlink_metadata(&path).and_then(|metadata| {
                    let name = path.file_name().unwrap_or_default();
                    self.entry(&path, &to.join(name), &metadata)
                });
                copied.map_err(|e| Fault::at(&path, &e))?;
                if self.session.is_abandoned() {
                    return Err(Fault::new(libc::ECANCELED, "nobody waits for the move"));
                }
            }
        }
        for (from, to, metadata) in self.directories.iter().rev() {
            keep_properties(from, to, metadata).map_err(|e| Fault::at(to, &e))?;
        }
        Ok(())
    }

    fn entry(&mut self, from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
        let kind = metadata.file_type();
        if kind.is_dir() {
            if metadata.dev() != self.device {
                return Err(io::Error::from_raw_os_error(libc::EBUSY));
            }
            fs::DirBuilder::new().mode(0o700).create(to)?;
            self.directories
                .push((from.to_owned(), to.to_owned(), metadata.clone()));
            return Ok(());
        }
        if metadata.nlink() > 1 {
            let number = (metadata.dev(), metadata.ino());
            if let Some(first) = self.names.get(&number) {
                return fs::hard_link(first, to);
            }
            self.names.insert(number, to.to_owned());
        }
        if kind.is_symlink() {
            symlink(fs::read_link(from)?, to)?;
        } else if kind.is_file() {
            copy_content(from, to)?;
        } else {
            make_node(to, metadata)?;
        }
        keep_properties(from, to, metadata)
    }
}

fn copy_content(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = open_without_waiting(from)?;
    if !source.metadata()?.is_file() {
        return Err(io::Error::from_raw_os_error(libc::EAGAIN)); // it was one a moment ago
    }
    let mut target = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)?;
    io::copy(&mut source, &mut target).map(drop)
}

/// A pipe, a socket or a device.
fn make_node(to: &Path, metadata: &Metadata) -> io::Result<()> {
    let kind = FileType::from_raw_mode(metadata.mode());
    let owner_only = Mode::RUSR | Mode::WUSR;
    Ok(mknodat(CWD, to, kind, owner_only, metadata.rdev())?)
}

/// Owner, permissions, attributes and times. Only root can give files away; for others the copy is their own.
fn keep_properties(from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
    let is_owner_kept = lchown(to, Some(metadata.uid()), Some(metadata.gid())).is_ok();
    if !metadata.is_symlink() {
        // The bits that lend an owner's rights must not lend another one's.
        let lent = if is_owner_kept { 0 } else { 0o6000 };
        fs::set_permissions(to, fs::Permissions::from_mode(metadata.mode() & 0o7777 & !lent))?;
    }
    copy_attributes(from, to);
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: time(metadata.atime(), metadata.atime_nsec()),
        last_modification: time(metadata.mtime(), metadata.mtime_nsec()),
    };
    Ok(utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Extended attributes, as far as the other file system and the user's rights take them.
fn copy_attributes(from: &Path, to: &Path) {
    let names = filled(|buffer| llistxattr(from, buffer));
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        let value = filled(|buffer| lgetxattr(from, name, buffer));
        let _ = lsetxattr(to, name, &value, XattrFlags::empty());
    }
}

/// What a call writes that says the length when it gets no room; nothing when it fails.
fn filled(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> Vec<u8> {
    let mut buffer = vec![0; call(&mut []).unwrap_or(0)];
    let len = call(&mut buffer).unwrap_or(0);
    buffer.truncate(len);
    buffer
}
