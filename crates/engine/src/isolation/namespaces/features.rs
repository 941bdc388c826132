//! What the promises of a machine need of the kernel, each with a look whether it is there.

use std::fs;
use std::path::Path;

use rustix::net;

use super::cgroup::Groups;
use crate::isolation::Feature;

/// All of them. What a machine cannot start without is shown by starting one.
pub fn all(root: bool, groups: &Groups, disk: bool) -> Vec<Feature> {
    let feature = |name, promise, is_there, is_vital| Feature {
        name,
        promise,
        is_there,
        is_vital,
    };
    let mut features = vec![
        feature(
            "user namespaces",
            "the root of a machine has no rights outside of it",
            Path::new("/proc/self/ns/user").exists(),
            true,
        ),
        feature(
            "pid, mount, network, ipc, uts and cgroup namespaces",
            "a machine sees no other process, file, network or name than its own",
            ["pid", "mnt", "net", "ipc", "uts", "cgroup"]
                .iter()
                .all(|kind| Path::new("/proc/self/ns").join(kind).exists()),
            true,
        ),
        feature(
            "overlay file system",
            "a machine changes nothing of what it was made from",
            has_line("/proc/filesystems", "overlay"),
            true,
        ),
        feature(
            "nf_tables with nat and redir",
            "nothing leaves a machine but through the engine, which holds to its policy",
            // What loads rules; whether all of them can be loaded is shown by the machine that starts.
            net::socket(
                net::AddressFamily::NETLINK,
                net::SocketType::RAW,
                Some(net::netlink::NETFILTER),
            )
            .is_ok(),
            true,
        ),
        feature(
            "seccomp filters with user notification (Linux 5.5)",
            "calls that reach far into the kernel are refused, and netlink sockets are few",
            has_word("/proc/sys/kernel/seccomp/actions_avail", "user_notif"),
            true,
        ),
        feature(
            "control group controllers memory, cpu and pids",
            "memory_mb and vcpus hold, and processes are at most 1024",
            groups.gaps().is_empty(),
            false,
        ),
        feature(
            "memory of sockets in control groups (version 2, or memory.kmem.tcp of version 1)",
            "buffers of TCP and UDP sockets are bounded",
            groups.sockets(),
            false,
        ),
        feature(
            "control group freezer",
            "a paused machine stands still, whatever its processes do",
            groups.freezer(),
            false,
        ),
        feature(
            "counts of user namespaces (/proc/sys/user, Linux 4.13)",
            "inotify instances and watches of one machine leave those of others alone",
            Path::new("/proc/sys/user/max_inotify_instances").exists(),
            true,
        ),
        feature(
            "resource limits of user namespaces (Linux 5.14)",
            "pending signals and message queues of one machine leave those of others alone",
            is_at_least((5, 14)),
            false,
        ),
    ];
    if root {
        features.extend([
            feature(
                "mounts with mapped ids on overlays (Linux 5.19)",
                "each machine has 65536 ids that nobody else has",
                is_at_least((5, 19)),
                true,
            ),
            feature(
                "choice of what ends when memory runs out (/proc/PID/oom_adj)",
                "a machine whose memory is full ends its processes and not itself",
                Path::new("/proc/self/oom_adj").exists(),
                false,
            ),
            feature(
                "loop devices, and mkfs.ext4",
                "disk_mb holds to the byte",
                disk,
                false,
            ),
        ]);
    }
    features
}

/// Whether the kernel counts processes for each id of a user namespace, and not for all that the user runs.
pub fn counts_processes() -> bool {
    is_at_least((5, 14))
}

fn has_line(path: &str, word: &str) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .any(|line| line.split_whitespace().last() == Some(word))
}

fn has_word(path: &str, word: &str) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().any(|found| found == word)
}

/// Whether the kernel's version is this one or a later one.
fn is_at_least(wanted: (u32, u32)) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    version(&release).is_some_and(|found| found >= wanted)
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_of_kernels_are_read_as_distributions_write_them() {
        assert_eq!(version("6.18.44-fc-v669\n"), Some((6, 18)));
        assert_eq!(version("5.15.0-105-generic"), Some((5, 15)));
        assert_eq!(version("5.4+"), Some((5, 4)));
        assert_eq!(version("next"), None);
    }
}
