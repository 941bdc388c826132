//! What programs read of memory and processors: `/proc/meminfo`, `/proc/cpuinfo` and `/sys`. The kernel shows those of
//! the computer, and runtimes that size their heaps and thread pools by them are killed at the machine's limit.
//!
//! The files are written once, since limits do not change while a machine runs: free memory is that of its start.

use std::fmt::Write;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use nullspace_agent::message::Sizes;
use nullspace_agent::mounts::{move_mount, open_tree};
use rustix::mount::{mount_remount, MountFlags};
use rustix::thread::{unshare_unsafe, UnshareFlags};

use crate::sys;

/// Where programs look for control groups.
const GROUPS: &str = "root/sys/fs/cgroup";
/// What a kernel says of a limit in control groups version 1 that is none.
const NO_LIMIT: &str = "9223372036854771712";

/// The controllers whose limits are told, in the form of `/proc/cgroups`: hierarchy 0 is version 2. The JVM chooses the
/// version by it.
const CONTROLLERS: &str = "\
#subsys_name\thierarchy\tnum_cgroups\tenabled
cpuset\t0\t1\t1
cpu\t0\t1\t1
cpuacct\t0\t1\t1
memory\t0\t1\t1
pids\t0\t1\t1
";

/// Puts the files in their places. The current directory holds `root`.
pub fn tell(sizes: &Sizes) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    sys::mount("tmpfs", "root/sys", "tmpfs", flags, "mode=0555,size=64k")?;
    let mut files = Vec::new();
    if let Some(bytes) = sizes.memory {
        over("meminfo", &meminfo(bytes))?;
        files.extend([
            ("fs/cgroup/memory.max", bytes.to_string()),
            ("fs/cgroup/memory.high", "max".to_owned()),
            ("fs/cgroup/memory/memory.limit_in_bytes", bytes.to_string()),
            ("fs/cgroup/memory/memory.soft_limit_in_bytes", NO_LIMIT.to_owned()),
        ]);
    }
    if let Some(count) = sizes.processors {
        let found = fs::read_to_string("/proc/cpuinfo")?;
        over("cpuinfo", &first_processors(&found, count))?;
        let range = match count {
            1 => "0".to_owned(),
            _ => format!("0-{}", count - 1),
        };
        let (quota, period) = (Sizes::quota(count), Sizes::PERIOD);
        files.extend([
            ("fs/cgroup/cpu.max", format!("{quota} {period}")),
            ("fs/cgroup/cpu/cpu.cfs_quota_us", quota.to_string()),
            ("fs/cgroup/cpu/cpu.cfs_period_us", period.to_string()),
            ("devices/system/cpu/online", range.clone()),
            ("devices/system/cpu/possible", range.clone()),
            ("devices/system/cpu/present", range),
        ]);
    }
    if !files.is_empty() {
        groups(flags)?;
        files.push(("fs/cgroup/cgroup.controllers", "cpu memory".to_owned()));
    }
    for (name, text) in files {
        let path = format!("root/sys/{name}");
        if let Some((folder, _)) = path.rsplit_once('/') {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text + "\n")?;
    }
    if Path::new(GROUPS).is_dir() {
        mount_remount(GROUPS, flags | MountFlags::RDONLY, "")?;
    }
    Ok(mount_remount("root/sys", flags | MountFlags::RDONLY, "")?)
}

/// Mounts what holds the files of control groups. The JVM, Go and others believe them only where `/proc` tells of groups
/// of version 2 mounted there, and then read them by path. So the kernel's own are mounted below: those of this machine,
/// which are empty where the computer's limits are of version 1.
fn groups(flags: MountFlags) -> io::Result<()> {
    over("cgroups", CONTROLLERS)?;
    fs::create_dir_all(GROUPS)?;
    // From here on the groups that the engine has put the machine in are called `/`, as they are where they are mounted.
    // SAFETY: descriptors stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWCGROUP)? };
    // Kernels without them, and hosts that forbid the mount: the files are there for those who look no further.
    let _ = sys::mount("cgroup2", GROUPS, "cgroup2", flags | MountFlags::RDONLY, "");
    sys::mount("tmpfs", GROUPS, "tmpfs", flags, "mode=0555,size=64k")
}

/// Puts a text in the place of a file of `/proc`.
fn over(name: &str, text: &str) -> io::Result<()> {
    fs::write(name, text)?;
    let file = open_tree(name, false)?;
    move_mount(file.as_fd(), &format!("root/proc/{name}"))
}

fn meminfo(bytes: u64) -> String {
    let total = bytes >> 10;
    let rows = [
        ("MemTotal", total),
        ("MemFree", total),
        ("MemAvailable", total),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Shmem", 0),
        ("SReclaimable", 0),
    ];
    rows.iter().fold(String::new(), |mut text, (name, kib)| {
        // Writing to a `String` does not fail.
        let _ = writeln!(text, "{:<15} {kib:>8} kB", format!("{name}:"));
        text
    })
}

/// The paragraphs of the first processors; of all when there are fewer.
fn first_processors(cpuinfo: &str, count: u32) -> String {
    let all = cpuinfo
        .split_inclusive("\n\n")
        .filter(|one| one.starts_with("processor"));
    all.take(count as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_processors_are_shown_as_the_machine_has() {
        let two = "processor\t: 0\nmodel name\t: A\n\nprocessor\t: 1\nmodel name\t: A\n\n";
        assert_eq!(first_processors(two, 1), "processor\t: 0\nmodel name\t: A\n\n");
        assert_eq!(first_processors(two, 2), two);
        assert_eq!(first_processors(two, 8), two);
    }

    #[test]
    fn memory_is_told_in_the_kernels_form() {
        let text = meminfo(256 << 20);
        assert!(
            text.starts_with("MemTotal:         262144 kB\nMemFree: "),
            "{text}"
        );
    }
}
