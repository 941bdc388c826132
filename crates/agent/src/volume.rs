//! Working on the files of a volume: one session, in a process that has nothing but the volume. Its root is the volume, so
//! that links in it, which machines made, lead nowhere else.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nullspace_agent::message::{Report, Volume};
use nullspace_agent::mounts::{self, move_mount, Access};
use nullspace_agent::{channel, files, limits};
use rustix::net::SendFlags;
use rustix::process::fchdir;

use crate::confine;
use crate::sys::{self, step};

/// Serves the session to its end.
pub fn run(control: OwnedFd, volume: &Volume, descriptors: Vec<OwnedFd>) {
    let mut descriptors = descriptors.into_iter();
    let (session, ids) = (descriptors.next(), descriptors.next());
    let report = match enter(volume, ids) {
        Ok(()) => Report::Ready,
        Err(error) => Report::Failed(error.to_string()),
    };
    let told = channel::send(control.as_fd(), &report, &[], SendFlags::empty());
    drop(control);
    if let (Report::Ready, Ok(()), Some(session)) = (report, told, session) {
        files::serve_volume(session.into());
    }
}

/// Makes the volume the root, and gives up all rights but those over its files.
fn enter(volume: &Volume, ids: Option<OwnedFd>) -> io::Result<()> {
    step("lower the limits", limits::lower())?;
    sys::make_mounts_private()?;
    let access = Access {
        read_only: false,
        ids: ids.as_ref().map(AsRawFd::as_raw_fd),
        recursive: ids.is_none(),
    };
    let tree = step("open the volume", mounts::detached(&volume.source, "", &access))?;
    step("mount the volume", move_mount(tree.as_fd(), &volume.source))?;
    step("enter the volume", fchdir(&tree))?;
    sys::change_root()?;
    drop(tree);
    confine::confine_to_files(&volume.filters, ids.as_ref())
}
