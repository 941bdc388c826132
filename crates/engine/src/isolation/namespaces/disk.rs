//! A disk of limited size: a sparse file with an ext4 file system, on a loop device that goes with its last user.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::{
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, FsMountFlags, FsOpenFlags, MountAttrFlags,
};

use super::failed;
use crate::isolation::{IsolationError, Result};

const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// Tries to get a loop device that somebody else takes first.
const TRIES: u32 = 20;

/// Why images cannot be used, and what a person does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    pub reason: &'static str,
    pub mend: &'static str,
}

/// Whether images can be made and attached here, found by attaching one.
pub fn available(folder: &Path) -> std::result::Result<(), Missing> {
    let mkfs = Command::new("mkfs.ext4")
        .arg("-V")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !mkfs.is_ok_and(|status| status.success()) {
        return Err(Missing {
            reason: "mkfs.ext4 is missing",
            mend: "install e2fsprogs",
        });
    }
    if !Path::new("/dev/loop-control").exists() {
        return Err(Missing {
            reason: "there are no loop devices",
            mend: "load the kernel's module loop; a container needs --device /dev/loop-control and --device /dev/loop0 and so on",
        });
    }
    match probe(folder) {
        // Devices that are all in use are there.
        Ok(()) | Err(Failed::Full) => Ok(()),
        Err(Failed::Attach(error)) => {
            tracing::debug!(%error, "a disk image cannot be attached");
            Err(Missing {
                reason: "this engine may attach no disk image to a loop device",
                mend: "let it use /dev/loop*; a container needs the devices (--device /dev/loop-control, --device /dev/loop0 and so on) and CAP_SYS_ADMIN",
            })
        }
    }
}

fn probe(folder: &Path) -> std::result::Result<(), Failed> {
    let file = folder.join(format!("probe-{}.img", std::process::id()));
    let image = fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&file)
        .and_then(|image| image.set_len(1 << 20).map(|()| image));
    let _ = fs::remove_file(&file);
    take_device(&image.map_err(Failed::Attach)?).map(drop)
}

/// An attached image. The device stays as long as this or a mount of it lives.
pub struct Disk {
    /// Its block device.
    pub device: PathBuf,
    _open: OwnedFd,
}

/// Makes an image of so many MiB and attaches it.
pub fn make(file: &Path, mb: u32) -> Result<Disk> {
    let image = fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(file)
        .map_err(failed("make a disk image"))?;
    image
        .set_len(u64::from(mb) << 20)
        .map_err(failed("make a disk image"))?;
    let output = Command::new("mkfs.ext4")
        .args([
            "-q",
            "-F",
            "-O",
            "^has_journal",
            "-m",
            "0",
            "-E",
            "lazy_itable_init=1,root_owner=0:0",
        ])
        .arg(file)
        .output()
        .map_err(failed("run mkfs.ext4"))?;
    if !output.status.success() {
        return Err(IsolationError::Failed(format!(
            "mkfs.ext4 failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    let (device, open) = take_device(&image).map_err(|failure| match failure {
        Failed::Full => IsolationError::Exhausted(
            "no loop device is free for a disk: end machines that have one".to_owned(),
        ),
        Failed::Attach(error) => failed("attach a disk image")(error),
    })?;
    Ok(Disk { device, _open: open })
}

/// Why an image has no device.
enum Failed {
    /// All are in use.
    Full,
    Attach(io::Error),
}

fn take_device(image: &fs::File) -> std::result::Result<(PathBuf, OwnedFd), Failed> {
    for _ in 0..TRIES {
        match attach(image) {
            Ok(taken) => return Ok(taken),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            // The kernel has one more, but a container has files for a few only.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Failed::Full),
            Err(error) => return Err(Failed::Attach(error)),
        }
    }
    Err(Failed::Full)
}

/// `struct loop_config` with `struct loop_info64` in it.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    before_number: [u64; 5],
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    names_and_key: [u8; 64 + 64 + 32],
    init: [u64; 2],
    reserved: [u64; 8],
}

const _: () = assert!(std::mem::size_of::<Config>() == 304);

fn attach(image: &fs::File) -> io::Result<(PathBuf, OwnedFd)> {
    let control = fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/loop-control")?;
    // SAFETY: no pointers.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
    if number == -1 {
        return Err(io::Error::last_os_error());
    }
    let device = PathBuf::from(format!("/dev/loop{number}"));
    let open = fs::File::options().read(true).write(true).open(&device)?;
    // SAFETY: zero is a valid configuration.
    let mut config: Config = unsafe { std::mem::zeroed() };
    config.fd = image.as_raw_fd() as u32;
    config.flags = LO_FLAGS_AUTOCLEAR;
    // SAFETY: a live structure of the type that the request takes.
    if unsafe { libc::ioctl(open.as_raw_fd(), LOOP_CONFIGURE, &raw const config) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok((device, open.into()))
}

/// The file system of an attached image, mounted where nobody sees it: a descriptor of its top directory.
pub fn view(device: &Path) -> Result<OwnedFd> {
    let opened = || {
        let context = fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&context, "source", device)?;
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    };
    opened().map_err(|error| failed("look into a disk image")(error.into()))
}
