//! System calls as results.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

pub use nullspace_agent::syscall::{c, check};

/// Names the step in the error.
pub fn step<T>(what: &str, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("could not {what}: {error}")))
}

/// Killed when the thread that made this process ends. Changes of credentials clear it: set it again after each.
pub fn die_with_parent() -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) }).map(drop)
}

pub fn set_host_name(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length of a live text.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// `mount(2)`.
pub fn mount(source: &str, target: &str, kind: &str, flags: libc::c_ulong, data: &str) -> io::Result<()> {
    let (source, target, kind, data) = (c(source)?, c(target)?, c(kind)?, c(data)?);
    // SAFETY: four live texts.
    check(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    })
    .map(drop)
}

/// A pipe, close-on-exec: reading end, writing end.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors, which are new and unowned.
    unsafe {
        check(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC))?;
        Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}

/// Opens a file.
pub fn open(path: &str, flags: libc::c_int) -> io::Result<OwnedFd> {
    let path = c(path)?;
    // SAFETY: a live text; the result is a new descriptor.
    unsafe {
        let fd = check(libc::open(path.as_ptr(), flags | libc::O_CLOEXEC))?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Makes the current directory the root, and drops the tree of the host.
pub fn change_root() -> io::Result<()> {
    step(
        "change the root",
        // SAFETY: two live texts. Old and new root are the same directory: the old one lands on top and is dropped.
        check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) }),
    )?;
    step(
        "drop the host's tree",
        // SAFETY: a live text.
        check(unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) }),
    )?;
    std::env::set_current_dir("/")
}
