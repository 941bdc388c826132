//! Counts that the kernel keeps for users, not for control groups: bounded here for each machine, since all machines
//! and the computer share what is counted for one user.

use std::fs;
use std::io;

use rustix::mm::{mlockall, MlockAllFlags};
use rustix::process::{getrlimit, set_dumpable_behavior, setrlimit, DumpableBehavior, Resource, Rlimit};

/// Resource limits, soft and hard alike; a lower one that the engine was started with stays.
///
/// Pending signals and message queues are counted up the chain of user namespaces, so the limits of the process that
/// makes a namespace hold for all that is in it. Without the last two an engine that may use real-time priorities
/// would hand them on.
const COUNTS: [(Resource, u64); 5] = [
    (Resource::Sigpending, 8_192),
    (Resource::Msgqueue, 819_200),
    (Resource::Memlock, 8 << 20),
    (Resource::Rtprio, 0),
    (Resource::Nice, 0),
];

/// Inotify instances and watches of a machine whose ids are its own.
const INOTIFY: [(&str, u64); 2] = [("max_inotify_instances", 1_024), ("max_inotify_watches", 524_288)];
/// Share of the user's own inotify counts that one machine of an unprivileged engine may have.
const INOTIFY_SHARE: u64 = 4;

/// What the processes of a machine add to their badness when memory runs out: whatever they hold, one of them is
/// ended before PID 1, which holds the machine.
const FIRST_TO_END: &str = "100";

/// Lowers the limits of this process and of all that it starts. System calls only: it may run in a fork.
pub fn lower() -> io::Result<()> {
    for (resource, most) in COUNTS {
        lower_one(resource, most)?;
    }
    Ok(())
}

/// Lowers what this process and all that it starts have of processes and threads together, as the kernel counts them for an
/// id in its user namespace, and for all ids in a namespace that is made afterwards. No such limit exists of memory or processor time: those of a process say nothing of many, and
/// address space, which Node.js and Java reserve by the gigabyte, is not memory.
pub fn bound_processes(most: u32) -> io::Result<()> {
    lower_one(Resource::Nproc, most.into())
}

/// The map of a user namespace to the ids around it: root to `root`, the rest to the same numbers. Two lines, since a line must
/// lie in one line of the map around it, where the user and the subordinate ids are two.
pub fn id_map(root: u32, ids: u32) -> String {
    match ids {
        1 => format!("0 {root} 1"),
        _ => format!("0 {root} 1\n1 1 {}", ids - 1),
    }
}

fn lower_one(resource: Resource, most: u64) -> io::Result<()> {
    let limit = getrlimit(resource);
    // Without a number there is no limit.
    let hard = limit.maximum.map_or(most, |hard| hard.min(most));
    let soft = limit.current.map_or(hard, |soft| soft.min(hard));
    let lowered = Rlimit {
        current: Some(soft),
        maximum: Some(hard),
    };
    Ok(setrlimit(resource, lowered)?)
}

/// Bounds what the inter-process communication of the machine can hold when no process is left to be ended for it.
/// Written as the owner of the namespace; a kernel that does not want it leaves the control group's limit.
pub fn bound_ipc(shared_bytes: u64) {
    const PAGE: u64 = 4_096;
    for (name, value) in [
        ("shmall", (shared_bytes / PAGE).to_string()),
        ("msgmni", "256".to_owned()),
        ("sem", "250 64000 100 256".to_owned()),
    ] {
        let _ = fs::write(format!("/proc/sys/kernel/{name}"), value);
    }
}

/// Bounds the inotify instances and watches of the user namespace that was just entered; to be called while this
/// process has all rights in it. `has_own_ids`: nobody else is counted together with the machine.
pub fn bound_inotify(has_own_ids: bool) -> io::Result<()> {
    for (name, most) in INOTIFY {
        let most = if has_own_ids {
            most
        } else {
            let of_user = name.replace("max_inotify", "/proc/sys/fs/inotify/max_user");
            let given = fs::read_to_string(of_user)?.trim().parse().unwrap_or(most);
            most.min((given / INOTIFY_SHARE).max(1))
        };
        fs::write(format!("/proc/sys/user/{name}"), most.to_string())?;
    }
    Ok(())
}

/// Keeps this process when memory runs out, as far as the computer lets it: memory that belongs to no process (pipes,
/// shared memory) would otherwise make PID 1 the largest one.
///
/// By the older of the two files, which leaves the lowest value that children may choose as it is: they could take
/// themselves out of the kernel's choice otherwise.
pub fn keep_in_want_of_memory() {
    let _ = fs::write("/proc/self/oom_score_adj", "0");
    let _ = fs::write("/proc/self/oom_adj", "-17");
    // What is in use now is never waited for. Not what comes: an allocation would fail instead of waiting.
    let _ = mlockall(MlockAllFlags::CURRENT);
}

/// Offers a process of the machine to the kernel when memory runs out: it would be kept like PID 1 otherwise.
///
/// For a fork of PID 1 that has closed what is PID 1's alone, since the other processes of the machine may look into it
/// meanwhile: its files in `/proc` are its own no sooner.
pub fn offer_in_want_of_memory() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    fs::write("/proc/self/oom_score_adj", FIRST_TO_END)?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
