//! Control groups, version 1, version 2 or both side by side: what works is found by trying.
//!
//! All groups of one engine lie below one group named after its state directory, so an engine that starts after a
//! crash finds what the earlier one left.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nullspace_agent::message::Sizes;
use sha2::{Digest, Sha256};

use crate::isolation::{ids, Gap, Limit};

/// Share of its memory that a machine's TCP and UDP buffers may take with version 1, which counts them apart.
const SOCKET_SHARE: u64 = 4;
/// Limit of those buffers, version 1. Without a limit they are not even counted.
const SOCKET_LIMIT: &str = "memory.kmem.tcp.limit_in_bytes";
/// Processes and threads of one machine.
pub const MAX_PROCESSES: u32 = 1024;
/// How long the end of a group may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// One hierarchy in which this engine may make groups.
#[derive(Debug, Clone)]
struct Tree {
    /// The engine's own group.
    group: PathBuf,
    v2: bool,
}

/// Where this engine may make groups, by what they do.
#[derive(Debug, Default)]
pub struct Groups {
    memory: Option<Tree>,
    cpu: Option<Tree>,
    /// Accounting of processor time: with version 1 a controller of its own.
    usage: Option<Tree>,
    pids: Option<Tree>,
    /// Freezing, and with version 2 killing.
    freeze: Option<Tree>,
    /// How a person gets what is missing.
    mend: &'static str,
}

/// The groups of one machine.
pub struct Group {
    paths: BTreeMap<PathBuf, bool>,
    memory: Option<(PathBuf, bool)>,
    cpu: Option<(PathBuf, bool)>,
    usage: Option<(PathBuf, bool)>,
    freeze: Option<(PathBuf, bool)>,
}

impl Groups {
    /// Looks at the mounts and tries.
    pub fn open(state_dir: &Path) -> Self {
        let canonical = state_dir.canonicalize().unwrap_or_else(|_| state_dir.to_owned());
        let digest = Sha256::digest(canonical.as_os_str().as_encoded_bytes());
        let name = format!("nullspace-{}", hex::encode(&digest[..6]));
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut groups = Self::default();
        if let Some(tree) = open_v2(&mounts, &own, &name) {
            let controllers = fs::read_to_string(tree.group.join("cgroup.controllers")).unwrap_or_default();
            let has = |wanted: &str| {
                controllers
                    .split_whitespace()
                    .any(|controller| controller == wanted)
            };
            if has("memory") {
                groups.memory = Some(tree.clone());
            }
            if has("cpu") {
                groups.cpu = Some(tree.clone());
                groups.usage = Some(tree.clone());
            }
            if has("pids") {
                groups.pids = Some(tree.clone());
            }
            if works(&tree, "cgroup.freeze", "0") {
                groups.freeze = Some(tree);
            }
        }
        let v1 = |controller: &str| open_v1(&mounts, &own, controller, &name);
        groups.memory = groups
            .memory
            .take()
            .or_else(|| v1("memory").filter(|tree| works(tree, "memory.limit_in_bytes", "1073741824")));
        groups.cpu = groups
            .cpu
            .take()
            // A group of the engine may have little itself: no group below it gets more.
            .or_else(|| v1("cpu").filter(|tree| works(tree, "cpu.cfs_quota_us", "1000")));
        groups.usage = groups.usage.take().or_else(|| v1("cpuacct"));
        groups.pids = groups
            .pids
            .take()
            .or_else(|| v1("pids").filter(|tree| works(tree, "pids.max", "100")));
        // The version 1 freezer makes machines that no signal can end; an engine that dies leaves them behind.
        groups.freeze = groups
            .freeze
            .take()
            .or_else(|| v1("freezer").filter(|tree| works(tree, "freezer.state", "THAWED")));
        groups.mend = mend(&mounts, groups.freeze.as_ref().is_some_and(|tree| tree.v2));
        groups
    }

    pub fn freezer(&self) -> bool {
        self.freeze.is_some()
    }

    /// Whether buffers of TCP and UDP sockets are counted: version 2 does, version 1 where its kernel was built so.
    pub fn sockets(&self) -> bool {
        self.memory
            .as_ref()
            .is_some_and(|tree| tree.v2 || tree.group.join(SOCKET_LIMIT).exists())
    }

    /// Whether swap is counted, or there is none.
    fn swap(&self) -> bool {
        let has_swap = fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1);
        let Some(tree) = &self.memory else {
            return !has_swap;
        };
        let file = if tree.v2 {
            "memory.swap.max"
        } else {
            "memory.memsw.limit_in_bytes"
        };
        !has_swap || tree.group.join(file).exists()
    }

    /// Whether groups hold a limit.
    pub fn limits(&self, limit: Limit) -> bool {
        match limit {
            Limit::Memory => self.memory.is_some(),
            Limit::Cpu => self.cpu.is_some(),
            Limit::Pids => self.pids.is_some(),
            Limit::Disk => false,
        }
    }

    /// What cannot be limited.
    pub fn gaps(&self) -> Vec<Gap> {
        [Limit::Memory, Limit::Cpu, Limit::Pids]
            .into_iter()
            .filter(|limit| !self.limits(*limit))
            .map(|limit| Gap {
                limit,
                reason: "this engine may make no control group with the controller for it".to_owned(),
                mend: self.mend.to_owned(),
            })
            .collect()
    }

    /// What is limited but not counted, one sentence each.
    pub fn uncounted(&self) -> Vec<String> {
        let uncounted = [
            (!self.sockets(), "Buffers of TCP and UDP sockets are not counted in memory_mb: this kernel's control groups do not know them. Use control groups version 2."),
            (!self.swap(), "Swap is not counted in memory_mb: this kernel does not account it. Boot with swapaccount=1, or use control groups version 2."),
        ];
        let limits_memory = self.memory.is_some();
        let uncounted = uncounted
            .into_iter()
            .filter(|(missing, _)| limits_memory && *missing);
        uncounted.map(|(_, note)| note.to_owned()).collect()
    }

    fn trees(&self) -> Vec<&Tree> {
        let mut trees: Vec<&Tree> = [&self.memory, &self.cpu, &self.usage, &self.pids, &self.freeze]
            .into_iter()
            .flatten()
            .collect();
        trees.sort_by(|a, b| a.group.cmp(&b.group));
        trees.dedup_by(|a, b| a.group == b.group);
        trees
    }

    /// Makes the groups of a machine with its limits.
    pub fn make(&self, id: &str, memory_mb: u32, vcpus: u32) -> io::Result<Group> {
        let mut group = Group {
            paths: BTreeMap::new(),
            memory: None,
            cpu: None,
            usage: None,
            freeze: None,
        };
        for tree in self.trees() {
            let path = tree.group.join(id);
            // Inserted first: a failure half-way removes what was made.
            group.paths.insert(path.clone(), tree.v2);
            make_dir(&path)?;
        }
        let place = |tree: &Option<Tree>| tree.as_ref().map(|tree| (tree.group.join(id), tree.v2));
        if let Some((path, v2)) = place(&self.memory) {
            let bytes = (u64::from(memory_mb) << 20).to_string();
            if v2 {
                fs::write(path.join("memory.max"), &bytes)?;
                let _ = fs::write(path.join("memory.swap.max"), "0");
            } else {
                fs::write(path.join("memory.limit_in_bytes"), &bytes)?;
                // Memory and swap together; there only where swap is accounted.
                let _ = fs::write(path.join("memory.memsw.limit_in_bytes"), &bytes);
                // There only where the kernel counts sockets; a note says so otherwise.
                let sockets = (u64::from(memory_mb) << 20) / SOCKET_SHARE;
                let _ = fs::write(path.join(SOCKET_LIMIT), sockets.to_string());
            }
        }
        if let Some((path, v2)) = place(&self.cpu) {
            let (quota, period) = (Sizes::quota(vcpus), Sizes::PERIOD);
            if v2 {
                fs::write(path.join("cpu.max"), format!("{quota} {period}"))?;
            } else {
                fs::write(path.join("cpu.cfs_period_us"), period.to_string())?;
                match fs::write(path.join("cpu.cfs_quota_us"), quota.to_string()) {
                    // More than the engine's own group has: that one's limit is the lower, and holds.
                    Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                    written => written?,
                }
            }
        }
        if let Some((path, _)) = place(&self.pids) {
            fs::write(path.join("pids.max"), MAX_PROCESSES.to_string())?;
        }
        group.memory = place(&self.memory);
        group.cpu = place(&self.cpu);
        group.usage = place(&self.usage);
        group.freeze = place(&self.freeze);
        Ok(group)
    }

    /// Ends all that is in the groups of this engine, and removes them: what an earlier engine left.
    pub fn end_all(&self) {
        for tree in self.trees() {
            for entry in fs::read_dir(&tree.group).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    end(&entry.path(), tree.v2);
                }
            }
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for tree in self.trees() {
            // Not empty: another engine on the same state made it again, or a machine is still ending.
            let _ = fs::remove_dir(&tree.group);
        }
    }
}

impl Group {
    /// Puts a process in, before it does anything.
    pub fn attach(&self, pid: u32) -> io::Result<()> {
        for path in self.paths.keys() {
            fs::write(path.join("cgroup.procs"), pid.to_string())?;
        }
        Ok(())
    }

    /// Whether freezing works without the agent.
    pub fn can_freeze(&self) -> bool {
        self.freeze.is_some()
    }

    /// Stops every process, or lets them go on; returns when it is so.
    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        let Some((path, v2)) = &self.freeze else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        freeze(path, *v2, frozen)
    }

    /// Gives processes that were killed the time to end: hundreds of them within the limit take a minute.
    pub fn hurry(&self) {
        let Some((path, v2)) = &self.cpu else { return };
        // Gone already, or as good.
        let _ = match v2 {
            true => fs::write(path.join("cpu.max"), "max"),
            false => fs::write(path.join("cpu.cfs_quota_us"), "-1"),
        };
    }

    /// Kills by the memory limit so far.
    pub fn memory_kills(&self) -> u64 {
        let Some((path, v2)) = &self.memory else { return 0 };
        let file = if *v2 {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        let text = fs::read_to_string(path.join(file)).unwrap_or_default();
        field(&text, "oom_kill").unwrap_or(0)
    }

    /// Bytes of memory and processor time used.
    pub fn usage(&self) -> (u64, Duration) {
        let number = |path: PathBuf| {
            fs::read_to_string(path)
                .ok()
                .and_then(|text| text.trim().parse::<u64>().ok())
        };
        let memory = self.memory.as_ref().and_then(|(path, v2)| {
            if *v2 {
                return number(path.join("memory.current"));
            }
            let sockets = number(path.join("memory.kmem.tcp.usage_in_bytes")).unwrap_or(0);
            number(path.join("memory.usage_in_bytes")).map(|bytes| bytes + sockets)
        });
        let cpu = self.usage.as_ref().and_then(|(path, v2)| {
            if *v2 {
                let text = fs::read_to_string(path.join("cpu.stat")).ok()?;
                field(&text, "usage_usec").map(Duration::from_micros)
            } else {
                number(path.join("cpuacct.usage")).map(Duration::from_nanos)
            }
        });
        (memory.unwrap_or(0), cpu.unwrap_or_default())
    }
}

impl Group {
    /// Ends what is left in the groups, and removes them. Idempotent.
    pub fn remove(&self) {
        for (path, v2) in &self.paths {
            end(path, *v2);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Ends every process of a group and removes it.
fn end(path: &Path, v2: bool) {
    let start = Instant::now();
    // Removing an empty group, the usual case, needs nothing else.
    while fs::remove_dir(path).is_err() && path.exists() {
        let _ = freeze(path, v2, false);
        if fs::write(path.join("cgroup.kill"), "1").is_err() {
            for pid in fs::read_to_string(path.join("cgroup.procs"))
                .unwrap_or_default()
                .lines()
            {
                if let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
        }
        if start.elapsed() > PATIENCE {
            tracing::warn!(group = %path.display(), "a control group cannot be emptied");
            return;
        }
        sleep(Duration::from_millis(2));
    }
}

fn freeze(path: &Path, v2: bool, frozen: bool) -> io::Result<()> {
    let (file, word) = match (v2, frozen) {
        (true, true) => ("cgroup.freeze", "1"),
        (true, false) => ("cgroup.freeze", "0"),
        (false, true) => ("freezer.state", "FROZEN"),
        (false, false) => ("freezer.state", "THAWED"),
    };
    fs::write(path.join(file), word)?;
    let start = Instant::now();
    loop {
        let done = if v2 {
            let events = fs::read_to_string(path.join("cgroup.events"))?;
            field(&events, "frozen") == Some(u64::from(frozen))
        } else {
            fs::read_to_string(path.join(file))?.trim() == word
        };
        if done {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            return Err(io::ErrorKind::TimedOut.into());
        }
        sleep(Duration::from_micros(100));
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// How somebody gets an engine that may make groups with all controllers, on a computer with these mounts. `has_group`: it may
/// make some, of version 2.
fn mend(mounts: &str, has_group: bool) -> &'static str {
    let is_read_only =
        |kind: &str, options: &str| kind.starts_with("cgroup") && options.split(',').any(|one| one == "ro");
    if ids::is_computers_root() {
        return match mount_of(mounts, is_read_only) {
            Some(_) => "mount /sys/fs/cgroup with rights to write (docker: -v /sys/fs/cgroup:/sys/fs/cgroup:rw)",
            None => "boot with the controllers memory, cpu and pids (cgroup_enable=memory), and let the engine write to /sys/fs/cgroup",
        };
    }
    // Only version 2 can be handed to somebody else than root.
    let has_controllers = mount_of(mounts, |kind, _| kind == "cgroup2").is_some_and(|top| {
        fs::read_to_string(top.join("cgroup.controllers")).is_ok_and(|list| list.contains("memory"))
    });
    if has_controllers && has_group {
        "let systemd hand all controllers to users (`sudo systemctl edit user@.service`, in it [Service] and Delegate=cpu memory pids, then log in again), or start the engine as root"
    } else if has_controllers {
        "start the engine in a control group of its own (systemd-run --user --scope -p Delegate=yes nullspace-engine serve), or as root"
    } else {
        "start the engine as root: control groups version 1 can be used by root only"
    }
}

/// Lets groups below this one have its controllers.
fn hand_on(group: &Path) {
    let file = group.join("cgroup.subtree_control");
    if fs::write(&file, CONTROLLERS.join(" ")).is_err() {
        // One by one: a controller may be missing, or live in a version 1 tree.
        for one in CONTROLLERS {
            let _ = fs::write(&file, one);
        }
    }
}

const CONTROLLERS: [&str; 3] = ["+memory", "+cpu", "+pids"];
/// Where processes of a group go that is to have groups below it.
const LEAF: &str = "nullspace-engine";

/// A group with processes in it cannot hand on controllers, but for the topmost. In a group of our own (a container's, a scope that
/// was delegated) we are what stands in the way, so we go into one below it. In that of somebody else their processes stay, and so
/// do we.
fn make_way(parent: &Path) {
    let is_topmost = !parent.join("cgroup.type").exists();
    let procs = || fs::read_to_string(parent.join("cgroup.procs")).unwrap_or_default();
    let us = std::process::id().to_string();
    let inside = procs();
    // A container's first process and what it started are the container; elsewhere only we are ours.
    let is_container = inside.lines().any(|pid| pid == "1");
    if is_topmost || inside.trim().is_empty() || !(is_container || inside.trim() == us) {
        return;
    }
    let leaf = parent.join(LEAF);
    if make_dir(&leaf).is_err() {
        return;
    }
    for pid in inside.lines() {
        let _ = fs::write(leaf.join("cgroup.procs"), pid);
    }
}

/// Where the version 2 tree lets us make groups: below our own group when it was delegated, else at the top.
fn open_v2(mounts: &str, own: &str, name: &str) -> Option<Tree> {
    let mount = mount_of(mounts, |kind, _| kind == "cgroup2")?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let below = mount.join(own.trim_start_matches('/'));
    [below, mount].into_iter().find_map(|parent| {
        let group = parent.join(name);
        make_dir(&group).ok()?;
        make_way(&parent);
        for level in [&parent, &group] {
            hand_on(level);
        }
        let tree = Tree { group, v2: true };
        if works(&tree, "cgroup.freeze", "0") {
            return Some(tree);
        }
        let _ = fs::remove_dir(&tree.group);
        None
    })
}

fn open_v1(mounts: &str, own: &str, controller: &str, name: &str) -> Option<Tree> {
    let has = |list: &str| list.split(',').any(|one| one == controller);
    let mount = mount_of(mounts, |kind, options| kind == "cgroup" && has(options))?;
    let own = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        has(controllers).then(|| path.trim_start_matches('/'))
    })?;
    // In a container the path may be the host's, and not be there.
    [mount.join(own), mount].into_iter().find_map(|parent| {
        let group = parent.join(name);
        make_dir(&group).ok()?;
        Some(Tree { group, v2: false })
    })
}

/// Tries with a group and a process that sleeps.
fn works(tree: &Tree, file: &str, value: &str) -> bool {
    let probe = tree.group.join(format!("probe-{}", std::process::id()));
    if make_dir(&probe).is_err() {
        return false;
    }
    let attached = || -> io::Result<()> {
        fs::write(probe.join(file), value)?;
        let mut child = std::process::Command::new("sleep").arg("10").spawn()?;
        let written = fs::write(probe.join("cgroup.procs"), child.id().to_string());
        let _ = child.kill();
        let _ = child.wait();
        written
    };
    let works = attached().is_ok();
    end(&probe, tree.v2);
    works
}

/// Where a hierarchy is mounted; `wanted` sees the type and the options of its file system.
fn mount_of(mounts: &str, wanted: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let (kind, _, options) = (right.next()?, right.next()?, right.next()?);
        wanted(kind, options).then(|| left.split(' ').nth(4).map(PathBuf::from))?
    })
}

fn make_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ours_goes_out_of_the_way_of_groups_below() {
        let group = |name: &str, processes: &str, is_topmost: bool| {
            let directory = tempfile::tempdir().unwrap().keep();
            let parent = directory.join(name);
            fs::create_dir(&parent).unwrap();
            fs::write(parent.join("cgroup.procs"), processes).unwrap();
            if !is_topmost {
                fs::write(parent.join("cgroup.type"), "domain\n").unwrap();
            }
            make_way(&parent);
            let moved = fs::read_to_string(parent.join(LEAF).join("cgroup.procs")).ok();
            fs::remove_dir_all(directory).unwrap();
            moved
        };
        let us = std::process::id().to_string();
        // Each write moves one process; of a plain file the last one stays.
        assert_eq!(group("container", "1\n20\n", false).as_deref(), Some("20"));
        assert_eq!(group("scope", &format!("{us}\n"), false), Some(us.clone()));
        assert_eq!(group("session", &format!("{us}\n3000\n"), false), None);
        assert_eq!(group("empty", "", false), None);
        assert_eq!(group("computer", "1\n2\n", true), None);
    }

    #[test]
    fn hierarchies_are_found_in_mountinfo() {
        let mounts = "30 25 0:26 / /sys/fs/cgroup/memory rw shared:1 - cgroup cgroup rw,memory\n\
                      31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      32 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let v1 = |name: &'static str| {
            mount_of(mounts, move |kind, options| {
                kind == "cgroup" && options.split(',').any(|one| one == name)
            })
        };
        assert_eq!(v1("cpuacct"), Some(PathBuf::from("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!(v1("pids"), None);
        assert_eq!(
            mount_of(mounts, |kind, _| kind == "cgroup2"),
            Some(PathBuf::from("/sys/fs/cgroup/unified"))
        );
    }

    #[test]
    fn counters_are_read_by_their_whole_name() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(field(text, "oom_kill"), Some(3));
        assert_eq!(field(text, "oom"), None);
    }
}
