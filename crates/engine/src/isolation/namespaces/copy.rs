//! Copies of trees, of any depth: with owners, modes, times, attributes, holes and the links between their files.
//!
//! Who wrote the source must not change it meanwhile.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nullspace_agent::trees::{Chain, Met, Walk};
use rustix::fs::{
    chmodat, chownat, copy_file_range, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat, ftruncate,
    futimens, ioctl_ficlone, lgetxattr, linkat, llistxattr, lsetxattr, mkdirat, mknodat, openat, readlinkat,
    seek, statat, symlinkat, utimensat, AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec,
    Timestamps, Uid, XattrFlags, CWD,
};
use rustix::io::{pread, write, Errno};

/// Most bytes of an attribute's value, or of the list of names. Source: xattr(7).
pub(super) const LARGEST: usize = 65_536;
/// Bytes of a path that one call takes. Source: path_resolution(7).
pub(super) const LONGEST_PATH: usize = 4_000;
/// Bytes copied by one call, through this process where the kernel cannot.
const PIECE: usize = 1 << 20;
/// Bytes that the kernel copies by one call.
const KERNEL_PIECE: usize = 1 << 30;

/// Copies a directory to where nothing is.
pub fn tree(source: &Path, target: &Path) -> io::Result<()> {
    std::fs::create_dir(target)?;
    let top = openat(
        CWD,
        target,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut copying = Copying {
        top,
        links: HashMap::new(),
        can_share: true,
    };
    side_by_side(source, target, |from, to, name, kind| {
        let copied = if kind == FileType::Directory {
            mkdirat(to.here()?, name, Mode::RWXU)
                .map_err(io::Error::from)
                .and_then(|()| from.enter(name))
                .and_then(|()| to.enter(name))
        } else {
            copying.entry(from.chain().here()?, to, name)
        };
        copied.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", name.to_string_lossy())))
    })
}

/// Walks a tree, and beside it the one that is made of it, which exists. `put` makes an entry there, and enters both when it is
/// a directory. Directories of the new tree get the attributes of the old ones.
pub fn side_by_side(
    source: &Path,
    target: &Path,
    mut put: impl FnMut(&mut Walk, &mut Chain, &CStr, FileType) -> io::Result<()>,
) -> io::Result<()> {
    let mut from = Walk::new(Chain::open(source)?);
    let mut to = Chain::open(target)?;
    loop {
        match from.step()? {
            Met::Entry(name, kind) => put(&mut from, &mut to, &name, kind)?,
            Met::End => {
                // Last: what is made in a directory changes its time.
                same_attributes(from.chain().here()?, to.here()?)?;
                if !from.leave()? {
                    return Ok(());
                }
                to.leave()?;
            }
        }
    }
}

struct Copying {
    top: OwnedFd,
    /// Where files of several names were copied to, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// Whether the file system lets two files have the same blocks.
    can_share: bool,
}

impl Copying {
    fn entry(&mut self, from: BorrowedFd<'_>, to: &Chain, name: &CStr) -> io::Result<()> {
        let found = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if found.st_nlink > 1 {
            let inode = (found.st_dev, found.st_ino);
            if let Some(first) = self.links.get(&inode) {
                return Ok(linkat(&self.top, &first[..], to.here()?, name, AtFlags::empty())?);
            }
            // One whose path is too long for a call is copied by each of its names.
            if to.depth() < LONGEST_PATH / 2 {
                let mut path = to.path();
                path.push(b'/');
                path.extend_from_slice(name.to_bytes());
                if path.len() < LONGEST_PATH {
                    self.links
                        .insert(inode, path.strip_prefix(b"/").unwrap_or(&path).to_vec());
                }
            }
        }
        let to = to.here()?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => return self.file(from, to, name, &found),
            FileType::Symlink => symlinkat(readlinkat(from, name, Vec::new())?, to, name)?,
            kind => mknodat(to, name, kind, Mode::from_raw_mode(found.st_mode), found.st_rdev)?,
        }
        same_attributes_by_name(from, to, name, &found)
    }

    fn file(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        found: &Stat,
    ) -> io::Result<()> {
        let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = openat(from, name, read, Mode::empty())?;
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = openat(to, name, create, Mode::RUSR | Mode::WUSR)?;
        if found.st_size > 0 && !self.share(&source, &target) {
            copy_data(&source, &target, found.st_size as u64)?;
        }
        same_attributes(source.as_fd(), target.as_fd())
    }

    fn share(&mut self, source: &OwnedFd, target: &OwnedFd) -> bool {
        if !self.can_share {
            return false;
        }
        self.can_share = ioctl_ficlone(target, source).is_ok();
        self.can_share
    }
}

/// Copies what is in a file; holes stay holes.
fn copy_data(source: &OwnedFd, target: &OwnedFd, size: u64) -> io::Result<()> {
    let mut end = 0;
    loop {
        let begin = match seek(source, SeekFrom::Data(end)) {
            Ok(begin) if begin < size => begin,
            // Holes up to the end.
            Ok(_) | Err(Errno::NXIO) => break,
            // Of a file system that knows no holes.
            Err(_) if end == 0 => 0,
            Err(error) => return Err(error.into()),
        };
        end = seek(source, SeekFrom::Hole(begin)).unwrap_or(size).min(size);
        copy_range(source, target, begin, end)?;
        if end >= size {
            break;
        }
    }
    Ok(ftruncate(target, size)?)
}

fn copy_range(source: &OwnedFd, target: &OwnedFd, begin: u64, end: u64) -> io::Result<()> {
    let (mut read, mut written) = (begin, begin);
    while read < end {
        let length = KERNEL_PIECE.min((end - read) as usize);
        match copy_file_range(source, Some(&mut read), target, Some(&mut written), length) {
            // Cut off meanwhile.
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => break,
            Err(error) => return Err(error.into()),
        }
    }
    if read >= end {
        return Ok(());
    }
    let mut piece = vec![0; PIECE];
    seek(target, SeekFrom::Start(read))?;
    while read < end {
        let wanted = PIECE.min((end - read) as usize);
        let came = pread(source, &mut piece[..wanted], read)?;
        if came == 0 {
            return Ok(());
        }
        let mut rest = &piece[..came];
        while !rest.is_empty() {
            let done = write(target, rest)?;
            rest = &rest[done..];
        }
        read += came as u64;
    }
    Ok(())
}

/// Gives an open file or directory the owner, mode, attributes and times of another.
pub fn same_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let found = fstat(from)?;
    let owned = fchown(
        to,
        Some(Uid::from_raw(found.st_uid)),
        Some(Gid::from_raw(found.st_gid)),
    );
    fchmod(to, mode_for(owned, found.st_mode)?)?;
    let mut names = vec![0; LARGEST];
    let length = flistxattr(from, &mut names[..]).unwrap_or(0);
    each_attribute(
        &names[..length],
        |name, value| fgetxattr(from, name, value),
        |name, value| fsetxattr(to, name, value, XattrFlags::empty()),
    )?;
    Ok(futimens(to, &times(&found))?)
}

/// The same for what cannot be opened without an effect.
fn same_attributes_by_name(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    found: &Stat,
) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(found.st_uid), Gid::from_raw(found.st_gid));
    let owned = chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
    let mode = mode_for(owned, found.st_mode)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
        chmodat(to, name, mode, AtFlags::empty())?;
    }
    let (source, target) = (path_of(from, name)?, path_of(to, name)?);
    let mut names = vec![0; LARGEST];
    let length = llistxattr(&source, &mut names[..]).unwrap_or(0);
    each_attribute(
        &names[..length],
        |name, value| lgetxattr(&source, name, value),
        |name, value| lsetxattr(&target, name, value, XattrFlags::empty()),
    )?;
    Ok(utimensat(to, name, &times(found), AtFlags::SYMLINK_NOFOLLOW)?)
}

pub(super) fn path_of(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<CString> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    CString::new(path).map_err(|_| Errno::INVAL.into())
}

/// The mode for a file whose owner was set. Without rights for that it belongs to this process, and runs as nobody else.
pub(super) fn mode_for(owned: rustix::io::Result<()>, mode: u32) -> io::Result<Mode> {
    match owned {
        Ok(()) => Ok(Mode::from_raw_mode(mode)),
        Err(Errno::PERM) if !rustix::process::geteuid().is_root() => Ok(Mode::from_raw_mode(mode & 0o1777)),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn each_attribute(
    names: &[u8],
    get: impl Fn(&CStr, &mut [u8]) -> rustix::io::Result<usize>,
    set: impl Fn(&CStr, &[u8]) -> rustix::io::Result<()>,
) -> io::Result<()> {
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        let mut value = vec![0; LARGEST];
        let Ok(length) = get(name, &mut value) else {
            continue;
        };
        match set(name, &value[..length]) {
            Ok(()) => {}
            // Not every file system has every kind, nor has everybody a right to it. What overlay needs must be there.
            Err(Errno::NOTSUP | Errno::PERM) if !is_of_overlay(name) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn is_of_overlay(name: &CStr) -> bool {
    name.to_bytes().starts_with(b"trusted.overlay.") || name.to_bytes().starts_with(b"user.overlay.")
}

pub(super) fn times(found: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: found.st_atime as _,
            tv_nsec: found.st_atime_nsec as _,
        },
        last_modification: Timespec {
            tv_sec: found.st_mtime as _,
            tv_nsec: found.st_mtime_nsec as _,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolation::namespaces::sample::Sample;
    use std::fs;

    #[test]
    fn a_copy_is_like_its_source() {
        let place = tempfile::tempdir().unwrap();
        let (source, target) = (place.path().join("source"), place.path().join("target"));
        let sample = Sample {
            directory: "d",
            leads_to: "d/\u{e4}",
        };
        sample.make(&source);
        let attributed = fs::File::open(source.join("d")).unwrap();
        let has_attributes = fsetxattr(&attributed, c"user.x", b"y", XattrFlags::empty()).is_ok();

        tree(&source, &target).unwrap();
        sample.check(&source, &target);
        if has_attributes {
            let mut value = [0; 8];
            let copied = fs::File::open(target.join("d")).unwrap();
            assert_eq!(fgetxattr(&copied, c"user.x", &mut value[..]).unwrap(), 1);
        }
    }

    #[test]
    fn a_failure_names_the_file() {
        let place = tempfile::tempdir().unwrap();
        let (source, target) = (place.path().join("source"), place.path().join("target"));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&target).unwrap();
        assert_eq!(
            tree(&source, &target).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        let missing = tree(&place.path().join("none"), &place.path().join("new")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
