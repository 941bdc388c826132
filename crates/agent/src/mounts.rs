//! Detached mounts: copies of a directory of the host that are changed before anybody sees them, and then put into a
//! machine. Used by PID 1 for what a machine starts with, and by the engine for what is added later.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{openat2, Mode, OFlags, ResolveFlags, CWD};
use rustix::mount::{MoveMountFlags, OpenTreeFlags};

use crate::syscall::check;

const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_NOSUID: u64 = 0x2;
const MOUNT_ATTR_NODEV: u64 = 0x4;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

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
        // As a place, not for reading.
        let place = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat2(CWD, path, place, Mode::empty(), ResolveFlags::empty())?;
        let below = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let directory = openat2(root, subpath, place, Mode::empty(), below)?;
        clone_tree(
            directory.as_fd(),
            "",
            OpenTreeFlags::AT_EMPTY_PATH,
            access.recursive,
        )?
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
    clone_tree(CWD, path, OpenTreeFlags::empty(), recursive)
}

/// Attaches a detached mount at a path.
pub fn move_mount(tree: BorrowedFd<'_>, target: &str) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree, "", CWD, target, flags)?)
}

/// Attaches a detached mount at a directory that is open.
pub fn attach(tree: BorrowedFd<'_>, directory: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree, "", directory, "", flags)?)
}

fn clone_tree(at: BorrowedFd<'_>, path: &str, flags: OpenTreeFlags, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = flags | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    Ok(rustix::mount::open_tree(at, path, flags)?)
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
