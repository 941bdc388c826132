//! A control group of the engine's own, where an ordinary user gets one: from the systemd of the user, which starts the
//! program again in a scope that was delegated. Nothing else lets somebody without root limit memory and processors.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Says to the program that it was started again: it does not try twice.
const MARK: &str = "NULLSPACE_ENGINE_SCOPE";
/// As it stands in front of the program and its arguments. Without `--quiet` it names the scope on standard error.
const SCOPE: [&str; 6] = [
    "--user",
    "--scope",
    "--quiet",
    "--collect",
    "--property=Delegate=yes",
    "--",
];

/// What the way depends on.
#[derive(Debug, Clone, Default)]
struct Facts {
    is_root: bool,
    /// Whether this is the program that was started again.
    is_again: bool,
    /// Whether nobody else is in the control group, and it can be written: it was delegated already.
    has_own_group: bool,
    /// Whether a systemd of this user listens.
    has_manager: bool,
    /// `systemd-run` in `PATH`.
    runner: Option<PathBuf>,
}

/// The program that starts this one again; `None` = it goes on as it is.
fn decide(facts: &Facts) -> Option<&Path> {
    let needs_group = !facts.is_root && !facts.is_again && !facts.has_own_group;
    facts
        .runner
        .as_deref()
        .filter(|_| needs_group && facts.has_manager)
}

/// Starts this program again in a control group of its own, where it has none and can get one: same process, same files,
/// same arguments. Returns where it goes on as it is. To be called before anything is opened.
pub fn enter(arguments: &[OsString]) {
    let facts = look();
    let (Some(runner), Ok(program)) = (decide(&facts), std::env::current_exe()) else {
        return;
    };
    // What replaces this process cannot come back: whether it works is tried with a program that does nothing.
    let tried = Command::new(runner)
        .args(SCOPE)
        .arg("true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if tried.is_ok_and(|status| status.success()) {
        let _ = Command::new(runner)
            .args(SCOPE)
            .arg(program)
            .args(arguments.iter().skip(1))
            .env(MARK, "1")
            .exec();
    }
}

fn look() -> Facts {
    let uid = rustix::process::geteuid();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(
        || PathBuf::from(format!("/run/user/{}", uid.as_raw())),
        PathBuf::from,
    );
    let path = std::env::var_os("PATH").unwrap_or_default();
    Facts {
        is_root: uid.is_root(),
        is_again: std::env::var_os(MARK).is_some(),
        has_own_group: own_group().is_some_and(|group| is_ours(&group)),
        has_manager: runtime.join("systemd/private").exists(),
        runner: std::env::split_paths(&path)
            .map(|folder| folder.join("systemd-run"))
            .find(|file| file.is_file()),
    }
}

/// The directory of this process in the tree of version 2.
fn own_group() -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let below = own.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .map(|top| Path::new(top).join(&below))
        .find(|group| group.join("cgroup.procs").exists())
}

fn is_ours(group: &Path) -> bool {
    let inside = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let is_alone = inside.trim() == std::process::id().to_string();
    is_alone && rustix::fs::access(group, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_asked_for_where_there_is_none_and_a_systemd_that_gives_one() {
        let able = Facts {
            has_manager: true,
            runner: Some("/usr/bin/systemd-run".into()),
            ..Facts::default()
        };
        let again = Some(Path::new("/usr/bin/systemd-run"));
        let table = [
            ("a user of a desktop", able.clone(), again),
            (
                "root needs none",
                Facts {
                    is_root: true,
                    ..able.clone()
                },
                None,
            ),
            (
                "in the scope",
                Facts {
                    is_again: true,
                    ..able.clone()
                },
                None,
            ),
            (
                "a service with Delegate=yes",
                Facts {
                    has_own_group: true,
                    ..able.clone()
                },
                None,
            ),
            (
                "a login without a manager",
                Facts {
                    has_manager: false,
                    ..able.clone()
                },
                None,
            ),
            (
                "no systemd",
                Facts {
                    runner: None,
                    ..able.clone()
                },
                None,
            ),
            ("nothing at all", Facts::default(), None),
        ];
        for (name, facts, expected) in table {
            assert_eq!(decide(&facts), expected, "{name}");
        }
    }

    #[test]
    fn a_group_is_ours_when_nobody_else_is_in_it() {
        let group = tempfile::tempdir().unwrap();
        let us = std::process::id();
        for (inside, expected) in [
            (format!("{us}\n"), true),
            (format!("{us}\n{}\n", us + 1), false),
            (String::new(), false),
        ] {
            fs::write(group.path().join("cgroup.procs"), &inside).unwrap();
            assert_eq!(is_ours(group.path()), expected, "{inside:?}");
        }
    }
}
