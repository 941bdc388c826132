//! The file tree of a machine. Everything is mounted before the machine's user namespace is entered, so its root has
//! no rights over any of it. Source of the order: what fails otherwise was tried, see the comments.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{chown, PermissionsExt};

use nullspace_agent::message::{MountPoint, Setup};
use nullspace_agent::mounts::{self, move_mount, open_tree, Access};
use rustix::fs::{makedev, mknodat, statvfs, Dev, FileType, Mode, StatVfsMountFlags, CWD};
use rustix::mount::MountFlags;

use crate::sizes;
use crate::sys::{self, step};

/// Devices that a machine has; all are harmless and of the same number everywhere.
const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Terminals of one machine: all machines and the computer share `kernel.pty.max`.
const MAX_TERMINALS: u32 = 128;

/// What `/proc` tells of the computer and not of the machine, may hold secrets, or turns what root does into something
/// that the computer feels. The names that other runtimes mask, and those that tell as much.
const MASKED: &[&str] = &[
    "acpi",
    "asound",
    "bootconfig",
    "cmdline",
    "config.gz",
    "driver",
    "interrupts",
    "iomem",
    "ioports",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "mtrr",
    "pagetypeinfo",
    "sched_debug",
    "scsi",
    "slabinfo",
    "softirqs",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
    "vmallocinfo",
    "vmcore",
];

/// Directories that are mounted inside once the tree stands.
pub struct Points(Vec<(OwnedFd, MountPoint)>);

/// Mounts everything below the stage and makes `root` in it the current directory.
pub fn build(setup: &Setup, ids: Option<&OwnedFd>) -> io::Result<Points> {
    sys::make_mounts_private()?;
    // Opened first: their paths are the host's.
    let mut points = Vec::new();
    for point in &setup.mounts {
        let tree = step(
            "open a volume",
            mounts::detached(
                &point.source,
                &point.subpath,
                &access(ids, point.read_only, setup),
            ),
        )?;
        points.push((tree, point.clone()));
    }
    step(
        "mount the stage",
        sys::mount(
            "tmpfs",
            &setup.stage,
            "tmpfs",
            MountFlags::NODEV | MountFlags::NOSUID,
            "mode=0700,size=512k",
        ),
    )?;
    step("enter the stage", std::env::set_current_dir(&setup.stage))?;

    // Short relative names: 500 lowers fit into the one page of options, and mountinfo shows no path of the host.
    let roots = step(
        "attach the layers of /",
        attach('a', &setup.root_lowers, ids, setup),
    )?;
    let usrs = step(
        "attach the layers of /usr",
        attach('b', &setup.usr_lowers, ids, setup),
    )?;
    fs::create_dir("u")?;
    if let Some(device) = &setup.image {
        fs::create_dir("i")?;
        let flags = MountFlags::NODEV | MountFlags::NOSUID;
        step(
            "mount the disk image",
            sys::mount(device, "i", "ext4", flags, "discard"),
        )?;
        for name in ["i/u", "i/u/ur", "i/u/wr", "i/u/uu", "i/u/wu"] {
            step("prepare the disk image", fs::create_dir_all(name))?;
        }
        let upper = step("map the disk image", detached("i/u", ids, false, setup))?;
        move_mount(upper.as_fd(), "u")?;
    } else {
        let upper = step(
            "map the upper directory",
            detached(&setup.upper, ids, false, setup),
        )?;
        move_mount(upper.as_fd(), "u")?;
    }
    fs::create_dir("root")?;
    let mine = setup.id_base.is_some();
    // With the file system ids of the machine: an idmapped upper looks up overlay's own directories with the mounter's,
    // and with id 0 the mount succeeds but is read-only.
    let as_machine = step("take the machine's ids", FileIds::take(setup.id_base))?;
    let own = if mine { "redirect_dir=on" } else { "userxattr" };
    let data = format!("lowerdir={roots},upperdir=u/ur,workdir=u/wr,{own}");
    step(
        "mount /",
        sys::mount("overlay", "root", "overlay", MountFlags::NODEV, &data),
    )?;
    let _ = fs::create_dir("root/tmp");
    for name in ["proc", "sys", "dev", "run", "usr"] {
        if name != "usr" || !usrs.is_empty() {
            step("make a mount point", mount_point(&format!("root/{name}")))?;
        }
    }
    if !usrs.is_empty() && mine {
        let data = format!("lowerdir={usrs},upperdir=u/uu,workdir=u/wu,{own}");
        step(
            "mount /usr",
            sys::mount("overlay", "root/usr", "overlay", MountFlags::NODEV, &data),
        )?;
    }
    drop(as_machine);
    if !usrs.is_empty() && !mine {
        // Layers of /usr are only the computer's own: nothing of it can be changed by a user.
        let usr = step("open /usr", open_tree("b0", true))?;
        move_mount(usr.as_fd(), "root/usr")?;
    }
    writable("root")?;
    if mine && !usrs.is_empty() {
        writable("root/usr")?;
    }
    devices(setup)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // In the machine's pid namespace, owned outside of its user namespace: nothing of /proc/sys can be written.
    step("mount /proc", sys::mount("proc", "root/proc", "proc", flags, ""))?;
    step("mask /proc", mask_proc())?;
    step("tell the sizes", sizes::tell(&setup.sizes))?;
    step("enter the tree", std::env::set_current_dir("root"))?;
    Ok(Points(points))
}

/// Makes the current directory the root, drops the host's tree, and mounts the volumes.
pub fn enter(points: Points, id_base: Option<u32>) -> io::Result<()> {
    sys::change_root()?;
    // From here on every path is the machine's own, so links in its images lead nowhere else.
    for (tree, point) in points.0 {
        // What is made belongs to the machine: with other ids it could not even be stored.
        let as_machine = step("take the machine's ids", FileIds::take(id_base))?;
        step(
            "make the mount point of a volume",
            fs::create_dir_all(&point.target),
        )?;
        drop(as_machine);
        step("mount a volume", move_mount(tree.as_fd(), &point.target))?;
    }
    Ok(())
}

/// Makes a directory to mount something on. An image may have a link there: it would lead to a place of the computer, and
/// the machine would run without what was mounted.
fn mount_point(path: &str) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    fs::create_dir(path)
}

/// Attaches lowers as `a0`, `a1`, ...; gives overlay's list of them.
fn attach(letter: char, lowers: &[String], ids: Option<&OwnedFd>, setup: &Setup) -> io::Result<String> {
    let mut names = Vec::with_capacity(lowers.len());
    for (index, lower) in lowers.iter().enumerate() {
        let name = format!("{letter}{index}");
        fs::create_dir(&name)?;
        let tree = detached(lower, ids, true, setup)?;
        move_mount(tree.as_fd(), &name)?;
        names.push(name);
    }
    Ok(names.join(":"))
}

/// A detached mount of a directory, whose ids 0..65535 are the machine's block.
fn detached(path: &str, ids: Option<&OwnedFd>, read_only: bool, setup: &Setup) -> io::Result<OwnedFd> {
    mounts::detached(path, "", &access(ids, read_only, setup))
}

fn access(ids: Option<&OwnedFd>, read_only: bool, setup: &Setup) -> Access {
    Access {
        read_only,
        ids: ids.filter(|_| setup.id_base.is_some()).map(AsRawFd::as_raw_fd),
        recursive: setup.id_base.is_none(),
    }
}

/// An overlay whose upper it could not use is mounted read-only without an error.
fn writable(path: &str) -> io::Result<()> {
    if statvfs(path)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(io::Error::other(format!(
            "{path} was mounted read-only: its upper directory cannot be used"
        )));
    }
    Ok(())
}

/// Puts nothing over what a machine has no business with. The machine may not unmount it.
fn mask_proc() -> io::Result<()> {
    for name in MASKED {
        let path = format!("root/proc/{name}");
        let kind = match fs::symlink_metadata(&path) {
            Ok(found) => found.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if kind.is_dir() {
            let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            sys::mount("tmpfs", &path, "tmpfs", flags, "mode=0555,size=4k")?;
        } else {
            let nothing = open_tree("root/dev/null", false)?;
            move_mount(nothing.as_fd(), &path)?;
        }
    }
    Ok(())
}

/// Makes a device that everybody may use.
fn device(path: &str, number: Dev, owner: u32) -> io::Result<()> {
    let everybody = Mode::from_raw_mode(0o666);
    mknodat(CWD, path, FileType::CharacterDevice, everybody, number)?;
    // Once more, since the mask applies to it.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    chown(path, Some(owner), Some(owner))
}

fn devices(setup: &Setup) -> io::Result<()> {
    let base = setup.id_base.unwrap_or(0);
    let owner = format!("uid={base},gid={base}");
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let data = format!("mode=0755,size=64k,{owner}");
    step(
        "mount /dev",
        sys::mount("tmpfs", "root/dev", "tmpfs", flags, &data),
    )?;
    for (name, major, minor) in DEVICES {
        let path = format!("root/dev/{name}");
        if setup.id_base.is_some() {
            step("make a device", device(&path, makedev(major, minor), base))?;
        } else {
            fs::write(&path, "")?;
            let node = step("bind a device", open_tree(&format!("/dev/{name}"), false))?;
            move_mount(node.as_fd(), &path)?;
        }
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        std::os::unix::fs::symlink(target, format!("root/dev/{name}"))?;
    }
    fs::create_dir("root/dev/pts")?;
    fs::create_dir("root/dev/shm")?;
    // The group of terminals is 5 everywhere; with one id mapped there is only 0.
    let group = if setup.id_base.is_some() || setup.ids > 1 {
        base + 5
    } else {
        0
    };
    let data = format!("newinstance,ptmxmode=0666,mode=0620,gid={group},max={MAX_TERMINALS}");
    step(
        "mount /dev/pts",
        sys::mount("devpts", "root/dev/pts", "devpts", flags, &data),
    )?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let data = format!("mode=1777,size={},{owner}", setup.shm_bytes);
    step(
        "mount /dev/shm",
        sys::mount("tmpfs", "root/dev/shm", "tmpfs", flags, &data),
    )?;
    // Smaller: what is left between the two keeps room for processes when both are full.
    let data = format!("mode=0755,size={},{owner}", setup.shm_bytes / 4);
    step(
        "mount /run",
        sys::mount("tmpfs", "root/run", "tmpfs", flags, &data),
    )
}

/// The machine's ids for access to files; the agent's own when dropped.
struct FileIds(bool);

impl FileIds {
    fn take(base: Option<u32>) -> io::Result<Self> {
        let Some(base) = base else { return Ok(Self(false)) };
        // SAFETY: no pointers. These calls do not fail, they answer with the previous id.
        unsafe {
            libc::setfsgid(base);
            libc::setfsuid(base);
        }
        // Leaving id 0 took the capabilities over files away; mounting needs them.
        crate::confine::raise_all()?;
        Ok(Self(true))
    }
}

impl Drop for FileIds {
    fn drop(&mut self) {
        if self.0 {
            // SAFETY: no pointers.
            unsafe {
                libc::setfsuid(0);
                libc::setfsgid(0);
            }
        }
    }
}
