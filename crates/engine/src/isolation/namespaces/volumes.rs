//! Volumes: directories of the host in a machine, also in one that runs.
//!
//! Machines write into volumes, so names in them are not to be trusted: a directory of a volume is opened beneath the
//! volume's own, and no symbolic link is followed. A running machine's mount namespace is entered by a thread made for it,
//! which sees the machine's files and nothing else of the host.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nullspace_agent::mounts::{self as detached_mounts, Access};
use rustix::fs::{mkdirat, openat2, statx, AtFlags, Mode, OFlags, ResolveFlags, StatxFlags, CWD};
use rustix::io::Errno;
use rustix::mount::{unmount, UnmountFlags};
use rustix::thread::{move_into_link_name_space, unshare_unsafe, LinkNameSpaceType, UnshareFlags};

use super::failed;
use crate::isolation::{IsolationError, Mount, Result};

/// Makes the directory of a volume that is to be mounted, if it is missing, and says whether it can be.
pub fn prepare(mount: &Mount) -> Result<()> {
    let Some(subpath) = &mount.subpath else {
        return if mount.source.is_dir() {
            Ok(())
        } else {
            Err(IsolationError::Invalid(
                "the directory of the volume is gone".to_owned(),
            ))
        };
    };
    let root = openat2(
        CWD,
        &mount.source,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::empty(),
    )
    .map_err(|error| failed("open a volume")(error.into()))?;
    make_directories(
        root.as_fd(),
        subpath,
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    )
    .map(drop)
    .map_err(|error| {
        IsolationError::Invalid(format!(
            "the subpath {subpath:?} is no directory of the volume that can be mounted: {error}"
        ))
    })
}

/// Opens a directory by its path below `root`, making what is missing.
pub(super) fn make_directories(
    root: BorrowedFd<'_>,
    path: &str,
    resolve: ResolveFlags,
) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
    let mut at = openat2(root, ".", flags, Mode::empty(), resolve)?;
    let mut so_far = String::new();
    for name in path.split('/').filter(|name| !name.is_empty() && *name != ".") {
        so_far = if so_far.is_empty() {
            name.to_owned()
        } else {
            format!("{so_far}/{name}")
        };
        let opened = match openat2(root, &so_far, flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::NOENT) => {
                match mkdirat(&at, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                openat2(root, &so_far, flags, Mode::empty(), resolve)
            }
            opened => opened,
        };
        at = opened?;
    }
    Ok(at)
}

/// Tries to unmount what the machine moves meanwhile.
const TRIES: u32 = 5;

/// A volume that was mounted: known by the kernel's number, since the machine can change every name.
#[derive(Debug, Clone)]
pub struct Mounted {
    id: u64,
    /// Where it was mounted.
    point: Vec<u8>,
}

impl Mounted {
    /// Whether both are one mount.
    pub fn is_same(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// A machine that runs, as its volumes are changed.
pub struct Inside {
    /// Its first process.
    pub pid: i32,
    /// The same, safe from a number that is given to another one.
    pub pidfd: Arc<OwnedFd>,
    /// First host id of its block.
    pub id_base: u32,
}

impl Inside {
    fn namespace(&self, kind: &str) -> Result<OwnedFd> {
        let path = format!("/proc/{}/ns/{kind}", self.pid);
        let namespace = std::fs::File::open(path).map_err(failed("open a namespace of the machine"))?;
        self.is_alive()?;
        Ok(namespace.into())
    }

    /// What was looked up by the process' number before was this machine's.
    fn is_alive(&self) -> Result<()> {
        let (no_signal, no_info, no_flags) = (0, std::ptr::null::<libc::siginfo_t>(), 0);
        // SAFETY: signal 0 only asks.
        let asked = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                no_signal,
                no_info,
                no_flags,
            )
        };
        if asked == 0 {
            Ok(())
        } else {
            Err(IsolationError::Gone)
        }
    }

    /// Mounts a volume.
    pub fn mount(&self, mount: &Mount) -> Result<Mounted> {
        let (users, mounts_of_machine) = (self.namespace("user")?, self.namespace("mnt")?);
        let source = text(&mount.source)?;
        let subpath = mount.subpath.clone().unwrap_or_default();
        let (target, read_only, id_base) = (mount.target.clone(), mount.read_only, self.id_base);
        let id = on_thread(move || {
            // Before the machine's namespace is entered: the path is the host's.
            let access = Access {
                read_only,
                ids: Some(users.as_raw_fd()),
                recursive: false,
            };
            let tree =
                detached_mounts::detached(&source, &subpath, &access).map_err(failed("open a volume"))?;
            enter(&mounts_of_machine)?;
            let root = openat2(
                CWD,
                "/",
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::empty(),
            )
            .map_err(|error| failed("open the machine's root")(error.into()))?;
            let point = as_machine(id_base, || {
                make_directories(root.as_fd(), &target, ResolveFlags::IN_ROOT)
            });
            let point = point.map_err(|error| {
                IsolationError::Invalid(format!(
                    "{target} is no directory that a volume can be mounted on: {error}"
                ))
            })?;
            let id = mount_id(tree.as_fd())?;
            detached_mounts::attach(tree.as_fd(), point.as_fd()).map_err(failed("mount a volume"))?;
            Ok(id)
        })?;
        let point = self.point(id)?.unwrap_or_default();
        Ok(Mounted { id, point })
    }

    /// What is mounted at a path that nobody in the machine can have changed yet.
    pub fn mounted_at(&self, target: &str) -> Result<Mounted> {
        let step = "look at a volume";
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat2(
            CWD,
            format!("/proc/{}/root", self.pid),
            flags,
            Mode::empty(),
            ResolveFlags::empty(),
        )
        .map_err(|error| failed(step)(error.into()))?;
        self.is_alive()?;
        let found = openat2(
            &root,
            target,
            flags,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
        .map_err(|error| failed(step)(error.into()))?;
        let id = mount_id(found.as_fd())?;
        let point = self.point(id)?.unwrap_or_default();
        Ok(Mounted { id, point })
    }

    /// Takes a volume away from where it is. Files that are open hold it, unless `by_force`.
    pub fn unmount(&self, mounted: &Mounted, by_force: bool) -> Result<()> {
        let id = mounted.id;
        let mut point = self.point(id)?.ok_or_else(lost)?;
        for _ in 0..TRIES {
            let mounts_of_machine = self.namespace("mnt")?;
            let place = PathBuf::from(OsString::from_vec(point));
            on_thread(move || {
                enter(&mounts_of_machine)?;
                take_away(id, &place, by_force)
            })?;
            // By a path, which the machine may have made another one meanwhile: so it is looked whether this one is gone.
            match self.point(id)? {
                None => return Ok(()),
                Some(now) => point = now,
            }
        }
        Err(IsolationError::Busy(
            "the machine keeps moving the directory that the volume is mounted on".to_owned(),
        ))
    }

    /// Whether a volume is mounted where it was.
    pub fn is_mounted(&self, mounted: &Mounted) -> Result<bool> {
        Ok(self
            .point(mounted.id)?
            .is_some_and(|point| point == mounted.point))
    }

    /// Where a mount is now.
    fn point(&self, id: u64) -> Result<Option<Vec<u8>>> {
        let table = std::fs::read(format!("/proc/{}/mountinfo", self.pid))
            .map_err(failed("read the machine's mounts"))?;
        self.is_alive()?;
        let mut lines = table.split(|byte| *byte == b'\n').filter_map(line);
        Ok(lines.find(|(of, _)| *of == id).map(|(_, point)| point))
    }
}

/// Unmounts what is at a path if that is what is meant; the caller looks whether it is gone.
fn take_away(id: u64, place: &Path, by_force: bool) -> Result<()> {
    let found = statx(CWD, place, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID);
    if !found.is_ok_and(|found| found.stx_mnt_id == id) {
        return Ok(());
    }
    let mut flags = UnmountFlags::NOFOLLOW;
    flags.set(UnmountFlags::DETACH, by_force);
    match unmount(place, flags) {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => Err(IsolationError::Busy(
            "a process of the machine uses the volume: it has a file of it open, or is in one of its directories"
                .to_owned(),
        )),
        // Not there any more, or no mount point.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::INVAL) => Ok(()),
        Err(error) => Err(failed("unmount a volume")(error.into())),
    }
}

/// What a volume is when it cannot be found.
pub fn lost() -> IsolationError {
    IsolationError::Lost("the volume is not mounted in the machine any more".to_owned())
}

/// The kernel's number of the mount that a directory is opened through. Nothing else has it while the mount is there.
fn mount_id(directory: BorrowedFd<'_>) -> Result<u64> {
    statx(directory, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
        .map(|found| found.stx_mnt_id)
        .map_err(|error| failed("identify a mount")(error.into()))
}

/// Number and mount point of a line of mountinfo. Source: proc_pid_mountinfo(5).
fn line(line: &[u8]) -> Option<(u64, Vec<u8>)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    Some((id, unescaped(fields.nth(3)?)))
}

/// `\040` and the like back into what they stand for.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    bytes
}

pub(super) fn text(path: &Path) -> Result<String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| IsolationError::Failed("the state directory's name is no UTF-8".to_owned()))
}

/// Runs work on a thread of its own, since a mount namespace once entered is not left again.
fn on_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    std::thread::Builder::new()
        .name("volume".to_owned())
        .spawn(work)
        .map_err(failed("start a thread"))?
        .join()
        .map_err(|_| IsolationError::Failed("a thread for volumes ended unexpectedly".to_owned()))?
}

/// Moves this thread into a mount namespace. Its root and working directory become those of the namespace.
fn enter(namespace: &OwnedFd) -> Result<()> {
    // SAFETY: descriptors stay shared. The thread then shares its working directory with no other, as `setns` asks.
    unsafe { unshare_unsafe(UnshareFlags::FS) }
        .and_then(|()| move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount)))
        .map_err(|error| failed("enter the machine's mount namespace")(error.into()))
}

/// Does something with files as the machine's root: what it makes belongs to that, not to nobody.
fn as_machine<T>(id_base: u32, work: impl FnOnce() -> T) -> T {
    // SAFETY: no pointers; both hold for this thread only and do not fail for root.
    unsafe {
        libc::setfsgid(id_base);
        libc::setfsuid(id_base);
    }
    let done = work();
    // SAFETY: as above.
    unsafe {
        libc::setfsuid(0);
        libc::setfsgid(0);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_gives_its_number_and_its_mount_point() {
        let text = br"36 35 98:0 /state/vol_1/two\040words /data/a\134b rw,noatime - ext4 /dev/root rw";
        assert_eq!(line(text), Some((36, br"/data/a\b".to_vec())));
        assert_eq!(line(b"7 1 0:1 / /\xff\\012x rw"), Some((7, b"/\xff\nx".to_vec())));
        assert_eq!(line(b"36 35"), None);
        assert_eq!(line(b""), None);
    }

    #[test]
    fn a_subpath_is_made_and_follows_no_link() {
        let volume = tempfile::tempdir().unwrap();
        let mount = |subpath: &str| Mount {
            source: volume.path().to_owned(),
            subpath: Some(subpath.to_owned()),
            target: "/data".to_owned(),
            read_only: false,
        };
        prepare(&mount("a/b")).unwrap();
        assert!(volume.path().join("a/b").is_dir());
        prepare(&mount("a/b")).unwrap();
        std::os::unix::fs::symlink("/etc", volume.path().join("out")).unwrap();
        std::os::unix::fs::symlink("a", volume.path().join("in")).unwrap();
        std::fs::write(volume.path().join("file"), "").unwrap();
        for subpath in ["out", "out/x", "in", "in/b", "file", "a/../../x"] {
            let error = prepare(&mount(subpath)).unwrap_err();
            assert!(matches!(error, IsolationError::Invalid(_)), "{subpath}: {error}");
        }
        assert!(!Path::new("/etc/x").exists());
    }
}
