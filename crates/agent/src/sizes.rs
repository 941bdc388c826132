//! What programs read of memory and processors: `/proc/meminfo`, `/proc/cpuinfo` and `/sys`. The kernel shows those of
//! the computer, and runtimes that size their heaps and thread pools by them are killed at the machine's limit.
//!
//! The files are written once, since limits do not change while a machine runs: free memory is that of its start.

use std::fmt::Write;
use std::fs;
use std::io;
use std::os::fd::AsFd;

use nullspace_agent::message::Sizes;
use nullspace_agent::mounts::{move_mount, open_tree};

use crate::sys;

/// What a kernel says of a limit in control groups version 1 that is none.
const NO_LIMIT: &str = "9223372036854771712";

/// Puts the files in their places. The current directory holds `root`.
pub fn tell(sizes: &Sizes) -> io::Result<()> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
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
    for (name, text) in files {
        let path = format!("root/sys/{name}");
        if let Some((folder, _)) = path.rsplit_once('/') {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text + "\n")?;
    }
    let flags = flags | libc::MS_REMOUNT | libc::MS_RDONLY;
    sys::mount("none", "root/sys", "", flags, "")
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
