//! System calls as results.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{mount_change, unmount, MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::pipe::{pipe_with, PipeFlags};
use rustix::process::{pivot_root, set_parent_process_death_signal, Signal};

pub use nullspace_agent::syscall::{c, check};

/// Names the step in the error.
pub fn step<T, E: Into<io::Error>>(what: &str, result: Result<T, E>) -> io::Result<T> {
    result.map_err(|error| {
        let error = error.into();
        io::Error::new(error.kind(), format!("could not {what}: {error}"))
    })
}

/// Killed when the thread that made this process ends. Changes of credentials clear it: set it again after each.
pub fn die_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// `mount(2)` of a file system.
pub fn mount(source: &str, target: &str, kind: &str, flags: MountFlags, data: &str) -> io::Result<()> {
    Ok(rustix::mount::mount(source, target, kind, flags, &*c(data)?)?)
}

/// Keeps mounts that are made from here on from other namespaces, and theirs from this one.
pub fn make_mounts_private() -> io::Result<()> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    step("make mounts private", mount_change("/", private))
}

/// A pipe, close-on-exec: reading end, writing end.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

/// Opens a file.
pub fn open(path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())?)
}

/// Makes the current directory the root, and drops the tree of the host.
pub fn change_root() -> io::Result<()> {
    // Old and new root are the same directory: the old one lands on top and is dropped.
    step("change the root", pivot_root(".", "."))?;
    step("drop the host's tree", unmount(".", UnmountFlags::DETACH))?;
    std::env::set_current_dir("/")
}
