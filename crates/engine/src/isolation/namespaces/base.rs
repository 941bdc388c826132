//! The template `base`: this computer's `/usr`, and a `/` made once from what is harmless of this computer's.
//!
//! Nothing is downloaded. `/etc` is never copied as a whole: it holds keys, accounts and credentials of package
//! sources. What lies outside `/usr` (version managers in home directories) is absent by design.

use std::fs;
use std::io;
use std::os::unix::fs::{symlink, DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::isolation::ids;
use crate::isolation::remove::{self, Trash};

/// Raised when the tree is made differently: an older one is made anew.
const FORMAT: &str = "3";

/// Copied from `/etc` when there: configuration of programs, public certificates.
const ETC: &[&str] = &[
    "alternatives",
    "ssl/certs",
    "ssl/openssl.cnf",
    "ca-certificates.conf",
    "ca-certificates",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "nsswitch.conf",
    "pam.d",
    "security",
    "login.defs",
    "default/useradd",
    "skel",
    "shells",
    "services",
    "protocols",
    "localtime",
    "mime.types",
    "python3",
    "python3.11",
    "python3.12",
    "python3.13",
    "perl",
    "dpkg",
    "os-release",
    "debian_version",
    "profile",
    "profile.d",
    "bash.bashrc",
    "adduser.conf",
    "deluser.conf",
    "terminfo",
    "inputrc",
    "magic",
];

/// Releases of OpenJDK that Debian and Ubuntu have, and what of their configuration no Java starts or works without. Not
/// `management`, which may hold passwords.
const JAVA: ([u8; 5], [&str; 4]) = (
    [8, 11, 17, 21, 25],
    ["security", "net.properties", "logging.properties", "jfr"],
);

/// Directories and their modes.
const DIRECTORIES: &[(&str, u32)] = &[
    ("root", 0o700),
    ("home", 0o755),
    ("opt", 0o755),
    ("srv", 0o755),
    ("mnt", 0o755),
    ("media", 0o755),
    ("workspace", 0o755),
    ("proc", 0o755),
    ("dev", 0o755),
    ("sys", 0o755),
    ("usr", 0o755),
    ("run", 0o755),
    ("etc", 0o755),
    ("etc/ssl", 0o755),
    ("etc/default", 0o755),
    ("etc/apt", 0o755),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/tmp", 0o1777),
    ("var/cache", 0o755),
    ("var/cache/apt/archives/partial", 0o755),
    ("var/lib/apt/lists/partial", 0o755),
    ("var/log/apt", 0o755),
    ("var/lib/pam", 0o755),
    ("var/lib/dpkg", 0o755),
];

/// Files of `/etc` by which names are found, and whether they replace what a root file system brings. `resolv.conf` names
/// no loopback address, so that queries are caught and asked by the engine.
pub const NAMES: &[(&str, &str, bool)] = &[
    (
        "hosts",
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        false,
    ),
    (
        "resolv.conf",
        "nameserver 10.255.255.53\noptions timeout:3 attempts:2\n",
        true,
    ),
];

/// Written as they are.
const FILES: &[(&str, &str, u32)] = &[
    ("etc/hostname", "machine\n", 0o644),
    ("etc/fstab", "", 0o644),
    ("etc/subuid", "", 0o644),
    ("etc/subgid", "", 0o644),
    ("etc/environment", "", 0o644),
    // As in the environment of commands, for what runs without it: `su -`, `env -i`.
    ("etc/pip.conf", "[global]\nbreak-system-packages = true\n", 0o644),
];

/// Makes the tree in `folder`/root unless it is there.
pub fn ensure(folder: &Path, privileged: bool, trash: &Trash) -> io::Result<()> {
    if is_made(folder, privileged) {
        return Ok(());
    }
    trash.take(folder)?;
    fill(folder, privileged)
}

fn fill(folder: &Path, privileged: bool) -> io::Result<()> {
    let root = folder.join("root");
    fs::create_dir_all(&root)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755))?;
    for (name, mode) in DIRECTORIES {
        fs::create_dir_all(root.join(name))?;
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(*mode))?;
    }
    // As on this computer: links into /usr, or real directories, whose content /usr then lacks.
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        match fs::read_link(Path::new("/").join(name)) {
            Ok(target) => symlink(target, root.join(name))?,
            Err(_) if Path::new("/").join(name).is_dir() => {
                copy(&Path::new("/").join(name), &root.join(name))?
            }
            Err(_) => {}
        }
    }
    symlink("/run", root.join("var/run"))?;
    symlink("/run/lock", root.join("var/lock"))?;
    let (releases, files) = JAVA;
    let java = releases
        .iter()
        .flat_map(|release| files.map(|file| format!("java-{release}-openjdk/{file}")));
    for name in ETC.iter().map(|name| (*name).to_owned()).chain(java) {
        let source = Path::new("/etc").join(&name);
        if source.symlink_metadata().is_ok() {
            let target = root.join("etc").join(&name);
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            copy(&source, &target)?;
        }
    }
    for (name, content, _) in NAMES {
        fs::write(root.join("etc").join(name), content)?;
        fs::set_permissions(root.join("etc").join(name), fs::Permissions::from_mode(0o644))?;
    }
    for (name, content, mode) in FILES {
        fs::write(root.join(name), content)?;
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(*mode))?;
    }
    symlink("/proc/self/mounts", root.join("etc/mtab"))?;
    accounts(&root)?;
    // Without its list of what is installed, the package manager believes that nothing is.
    if privileged && Path::new("/var/lib/dpkg/status").exists() {
        copy(Path::new("/var/lib/dpkg/."), &root.join("var/lib/dpkg"))?;
    }
    if needs_usr(privileged) {
        copy(Path::new("/usr"), &folder.join(USR))?;
        for name in UNREAD {
            remove::directory(&folder.join(USR).join(name))?;
        }
    }
    fs::write(folder.join("format"), stamp(privileged))
}

/// A copy of `/usr`, beside the tree.
const USR: &str = "usr";
/// Of `/usr`, what no program needs.
const UNREAD: [&str; 2] = ["share/doc", "share/man"];

/// `/usr` for machines that are made of the tree in `folder`.
pub fn usr(folder: &Path) -> PathBuf {
    let copied = folder.join(USR);
    if copied.is_dir() {
        copied
    } else {
        PathBuf::from("/usr")
    }
}

/// Whether `/usr` cannot be mounted for other ids, as each machine of a privileged engine has them: overlays cannot, and a container's
/// files are one.
fn needs_usr(privileged: bool) -> bool {
    privileged && is_overlay(Path::new("/usr"))
}

fn is_overlay(path: &Path) -> bool {
    /// Source: OVERLAYFS_SUPER_MAGIC of linux/magic.h.
    const OVERLAY: u64 = 0x794c_7630;
    rustix::fs::statfs(path).is_ok_and(|found| u64::try_from(found.f_type) == Ok(OVERLAY))
}

fn is_made(folder: &Path, privileged: bool) -> bool {
    fs::read_to_string(folder.join("format")).is_ok_and(|format| format == stamp(privileged))
}

/// What says how a tree was made, and of what: programs that were installed since, or another image, have other files in `/etc`.
fn stamp(privileged: bool) -> String {
    let copied = if needs_usr(privileged) { " usr" } else { "" };
    format!("{FORMAT} {}{copied}", state())
}

/// What this computer's files are at, in short.
fn state() -> String {
    let mut digest = Sha256::new();
    for source in SOURCES {
        let changed = fs::metadata(source)
            .ok()
            .map(|found| (found.mtime(), found.mtime_nsec()));
        digest.update(format!("{source} {changed:?}\n"));
    }
    hex::encode(&digest.finalize()[..8])
}

/// What trees are made of, as far as that changes.
const SOURCES: [&str; 6] = [
    "/etc/group",
    "/etc/ld.so.cache",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/ssl/certs",
    "/var/lib/dpkg/status",
];
/// Trees that no engine took for so long are removed.
const UNUSED: Duration = Duration::from_secs(7 * 24 * 3600);

/// A tree that engines of this user share, made if it is not there. Nobody changes it: machines have it below their own files.
/// `None` where there can be none, and each engine has its own.
pub fn shared(cache: &Path, privileged: bool) -> Option<PathBuf> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(cache).ok()?;
    // What is in it becomes files of machines, so nobody else may have a hand in it.
    let found = cache.symlink_metadata().ok()?;
    // Nor can machines be made of what lies on an overlay.
    if is_overlay(cache)
        || !found.is_dir()
        || found.uid() != rustix::process::geteuid().as_raw()
        || found.mode() & 0o022 != 0
    {
        return None;
    }
    let user = if privileged { "root" } else { "user" };
    let folder = cache.join(format!("{PREFIX}{FORMAT}-{user}-{}", state()));
    if !is_made(&folder, privileged) {
        remove_unused(cache);
        // Made beside it and put in its place as a whole: another engine may do the same now.
        let beside = cache.join(format!("new-base_{}", uuid::Uuid::new_v4().simple()));
        let made = fill(&beside, privileged).and_then(|()| fs::rename(&beside, &folder));
        if made.is_err() {
            let _ = remove::directory(&beside);
        }
    }
    // Its time says that it is in use.
    let _ = fs::File::open(&folder).and_then(|open| open.set_modified(SystemTime::now()));
    is_made(&folder, privileged).then_some(folder)
}

/// Beginning of the names of trees in a cache.
const PREFIX: &str = "base-";

fn remove_unused(cache: &Path) {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let age = entry
            .metadata()
            .and_then(|found| found.modified())
            .ok()
            .and_then(|changed| SystemTime::now().duration_since(changed).ok());
        let is_ours = name.starts_with(PREFIX) || name.starts_with("new-base");
        if is_ours && age.is_some_and(|age| age > UNUSED) {
            let _ = remove::directory(&entry.path());
        }
    }
}

/// Accounts of the system, none of people; no password opens any.
fn accounts(root: &Path) -> io::Result<()> {
    let system = |line: &&str| {
        let mut fields = line.split(':');
        let id = fields.nth(2).and_then(|id| id.parse::<u32>().ok());
        id.is_some_and(|id| id < 1000 || id == 65_534)
    };
    let keep = |file: &str, fallback: &str| -> String {
        let text = fs::read_to_string(file).unwrap_or_default();
        let mut kept: Vec<&str> = text.lines().filter(system).collect();
        if kept.is_empty() {
            kept.push(fallback);
        }
        kept.join("\n") + "\n"
    };
    let passwd = keep("/etc/passwd", "root:x:0:0:root:/root:/bin/sh");
    let group = keep("/etc/group", "root:x:0:");
    // Members of groups may be people of this computer.
    let group: String = group
        .lines()
        .filter_map(|line| line.rsplit_once(':'))
        .map(|(rest, _)| format!("{rest}:\n"))
        .collect();
    let locked = |text: &str, rest: &str| -> String {
        text.lines()
            .filter_map(|line| line.split(':').next())
            .map(|name| format!("{name}:*:{rest}\n"))
            .collect()
    };
    for (name, content, mode) in [
        ("shadow", locked(&passwd, "19000:0:99999:7:::"), 0o640),
        ("gshadow", locked(&group, ":"), 0o640),
        ("passwd", passwd, 0o644),
        ("group", group, 0o644),
    ] {
        let path = root.join("etc").join(name);
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// `cp -a`, which knows links, owners, times and attributes. Files that may not be read are left out.
fn copy(source: &Path, target: &Path) -> io::Result<()> {
    // The computer's root is somebody else in a user namespace, and its files would be theirs.
    let owners = (!ids::is_computers_root()).then_some("--no-preserve=ownership");
    let output = Command::new("cp")
        .arg("-a")
        .args(owners)
        .arg("--")
        .arg(source)
        .arg(target)
        .output()?;
    if !output.status.success() && !target.exists() && target.symlink_metadata().is_err() {
        return Err(io::Error::other(format!(
            "cannot copy {}: {}",
            source.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_share_one_tree_and_unused_ones_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let cache = directory.path().join("nullspace");
        fs::create_dir_all(cache.join("base-1-user-old")).unwrap();
        fs::create_dir_all(cache.join("base-1-user-new")).unwrap();
        let long_ago = SystemTime::now() - UNUSED - Duration::from_secs(60);
        let old = fs::File::open(cache.join("base-1-user-old")).unwrap();
        old.set_modified(long_ago).unwrap();
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).unwrap();
        let at_once: Vec<_> = std::thread::scope(|scope| {
            let cache = &cache;
            let starts: Vec<_> = (0..2)
                .map(|_| scope.spawn(move || shared(cache, false)))
                .collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        let made = at_once[0].clone().unwrap();
        assert_eq!(at_once[1].as_ref(), Some(&made));
        assert!(made.join("root/etc/resolv.conf").exists());
        assert!(!cache.join("base-1-user-old").exists() && cache.join("base-1-user-new").exists());
        assert_eq!(
            fs::read_dir(&cache).unwrap().count(),
            2,
            "nothing half made is left"
        );
        fs::write(made.join("mark"), "").unwrap();
        assert_eq!(shared(&cache, false), Some(made.clone()));
        assert!(made.join("mark").exists(), "it was not made again");
        // Where others may write, nothing is taken.
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(shared(&cache, false), None);
    }
}
