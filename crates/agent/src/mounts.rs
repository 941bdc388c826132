//! Detached mounts: copies of a directory of the host that are changed before anybody sees them, and then put into a
//! machine. Used by PID 1 for what a machine starts with, and by the engine for what is added later.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::syscall::{c, check};

const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_NOSUID: u64 = 0x2;
const MOUNT_ATTR_NODEV: u64 = 0x4;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
const RESOLVE_NO_SYMLINKS: u64 = 0x04;
const RESOLVE_BENEATH: u64 = 0x08;

/// How a mount may be used.
#[derive(Debug, Clone, Copy)]
pub struct Access {
    /// Refuse writes.
    pub read_only: bool,
    /// User namespace whose ids the files have, as a descriptor; without one they belong to whom they belong.
    pub ids: Option<RawFd>,
    /// With what is mounted below: a user namespace may not copy one without the other.
    pub recursive: bool,
}

/// A detached mount of a directory, or of one below it. The way to that one follows no symbolic link and does not leave
/// the directory, whatever somebody changes meanwhile.
pub fn detached(path: &str, subpath: &str, access: &Access) -> io::Result<OwnedFd> {
    let tree = if subpath.is_empty() {
        open_tree(path, access.recursive)?
    } else {
        let root = open_path(libc::AT_FDCWD, path, 0)?;
        let below = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
        let directory = open_path(root.as_raw_fd(), subpath, below)?;
        clone_tree(directory.as_raw_fd(), c"", libc::AT_EMPTY_PATH, access.recursive)?
    };
    let mut attr = MountAttr::default();
    if access.read_only {
        attr.set |= MOUNT_ATTR_RDONLY;
    }
    if let Some(ids) = access.ids {
        attr.set |= MOUNT_ATTR_IDMAP | MOUNT_ATTR_NODEV;
        attr.userns = ids as u64;
    } else {
        attr.set |= MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    }
    set_attributes(tree.as_fd(), &attr, access.recursive)?;
    Ok(tree)
}

/// A detached copy of the mount at `path`: only that file system, not what is mounted below it, unless `recursive`.
pub fn open_tree(path: &str, recursive: bool) -> io::Result<OwnedFd> {
    clone_tree(libc::AT_FDCWD, &c(path)?, 0, recursive)
}

/// Attaches a detached mount at a path.
pub fn move_mount(tree: BorrowedFd<'_>, target: &str) -> io::Result<()> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH;
    move_to(tree, libc::AT_FDCWD, &c(target)?, flags)
}

/// Attaches a detached mount at a directory that is open.
pub fn attach(tree: BorrowedFd<'_>, directory: BorrowedFd<'_>) -> io::Result<()> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    move_to(tree, directory.as_raw_fd(), c"", flags)
}

fn clone_tree(at: RawFd, path: &std::ffi::CStr, flags: libc::c_int, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = flags as libc::c_uint | libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= libc::AT_RECURSIVE as libc::c_uint;
    }
    // SAFETY: a live text; the result is a new descriptor.
    unsafe { new_descriptor(libc::syscall(libc::SYS_open_tree, at, path.as_ptr(), flags)) }
}

/// Opens a directory as a place, not for reading.
fn open_path(at: RawFd, path: &str, resolve: u64) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct OpenHow {
        flags: u64,
        mode: u64,
        resolve: u64,
    }
    let path = c(path)?;
    let how = OpenHow {
        flags: (libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC) as u64,
        mode: 0,
        resolve,
    };
    // SAFETY: a live text and a live structure of the size given; the result is a new descriptor.
    unsafe {
        new_descriptor(libc::syscall(
            libc::SYS_openat2,
            at,
            path.as_ptr(),
            &raw const how,
            std::mem::size_of::<OpenHow>(),
        ))
    }
}

/// `struct mount_attr`.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

fn set_attributes(tree: BorrowedFd<'_>, attr: &MountAttr, recursive: bool) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: an empty text and a live structure of the size given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            std::mem::size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

fn move_to(tree: BorrowedFd<'_>, at: RawFd, target: &std::ffi::CStr, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: live texts.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            at,
            target.as_ptr(),
            flags,
        )
    })
    .map(drop)
}

/// # Safety
/// The result must be a descriptor that nobody else owns, or -1.
unsafe fn new_descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = check(result)?;
    // SAFETY: as the caller promised.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}
