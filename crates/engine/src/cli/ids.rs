//! The ids of an ordinary user: where the computer gives them subordinate ones (`/etc/subuid`, `newuidmap`), the engine lives in a
//! user namespace that has them, as its root, and machines have other users than root.

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{waitpid, Pid, WaitOptions};
use rustix::thread::{unshare_unsafe, UnshareFlags};

use crate::isolation::ids::{is_computers_root, IDS};

/// Enters the namespace where that is possible; the process stays the same. To be called while this process has one thread.
///
/// Who has made a namespace cannot leave it, so a process that ends at once tries first.
pub fn enter() {
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    // Root of whatever: what there is, is mapped.
    if uid == 0 || is_computers_root() {
        return;
    }
    let Some(map) = Map::of(uid, gid) else { return };
    if try_out(&map).is_ok_and(|works| works) {
        let _ = map_self(&map);
    }
}

/// What `newuidmap` and `newgidmap` are told.
struct Map {
    tools: [PathBuf; 2],
    own: [u32; 2],
    first: [u32; 2],
}

impl Map {
    fn of(uid: u32, gid: u32) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let tool = |name: &str| {
            std::env::split_paths(&path)
                .map(|folder| folder.join(name))
                .find(|file| file.is_file())
        };
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let first = |file: &str| first_of(&fs::read_to_string(file).ok()?, &passwd, uid);
        Some(Self {
            tools: [tool("newuidmap")?, tool("newgidmap")?],
            own: [uid, gid],
            first: [first("/etc/subuid")?, first("/etc/subgid")?],
        })
    }

    /// Maps root to the user, and the rest to the subordinate ids.
    fn give_to(&self, pid: u32) -> bool {
        (0..2).all(|kind| {
            let numbers = [pid, 0, self.own[kind], 1, 1, self.first[kind], IDS - 1];
            let told = Command::new(&self.tools[kind])
                .args(numbers.map(|number| number.to_string()))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            told.is_ok_and(|status| status.success())
        })
    }
}

/// The first of enough subordinate ids of a user in a file like `/etc/subuid`, which names users or their numbers.
fn first_of(subordinate: &str, passwd: &str, uid: u32) -> Option<u32> {
    let number = uid.to_string();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id == number).then_some(name)
    });
    subordinate.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (who, first, count) = (fields.next()?, fields.next()?, fields.next()?);
        let is_enough = count.trim().parse::<u32>().is_ok_and(|count| count >= IDS - 1);
        let is_theirs = who == number || Some(who) == name;
        first.parse().ok().filter(|_| is_theirs && is_enough)
    })
}

fn unshare_users() -> rustix::io::Result<()> {
    // SAFETY: descriptors stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }
}

/// Whether a process that has a namespace of its own gets the ids.
fn try_out(map: &Map) -> io::Result<bool> {
    let (mut made, is_made) = io::pipe()?;
    let (wait, done) = io::pipe()?;
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop((made, done));
            let is_alone = unshare_users().is_ok();
            let _ = (&is_made).write_all(&[u8::from(is_alone)]);
            let _ = (&wait).read(&mut [0]);
            // SAFETY: no pointers.
            unsafe { libc::_exit(0) }
        }
        child => {
            drop((is_made, wait));
            let mut byte = [0];
            made.read_exact(&mut byte)?;
            let works = byte[0] == 1 && map.give_to(child as u32);
            drop(done);
            let _ = waitpid(Pid::from_raw(child), WaitOptions::empty());
            Ok(works)
        }
    }
}

/// Makes the namespace for this process. A child that stays outside has the rights to map its ids.
fn map_self(map: &Map) -> io::Result<()> {
    let (mut made, is_made) = io::pipe()?;
    let us = std::process::id();
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop(is_made);
            let is_mapped = made.read_exact(&mut [0]).is_ok() && map.give_to(us);
            // SAFETY: no pointers.
            unsafe { libc::_exit(i32::from(!is_mapped)) }
        }
        child => {
            drop(made);
            if unshare_users().is_ok() {
                (&is_made).write_all(b"m")?;
            }
            drop(is_made);
            let _ = waitpid(Pid::from_raw(child), WaitOptions::empty());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_are_found_by_name_and_by_number_where_they_are_enough() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n";
        for (subordinate, expected) in [
            ("ann:100000:65536\n", Some(100_000)),
            ("1000:200000:65535\n", Some(200_000)),
            ("bob:100000:65536\nann:165536:65536\n", Some(165_536)),
            ("ann:100000:1000\nann:300000:131072\n", Some(300_000)),
            ("ann:100000:1000\n", None),
            ("bob:100000:65536\n", None),
            ("ann\n", None),
            ("", None),
        ] {
            assert_eq!(first_of(subordinate, passwd, 1000), expected, "{subordinate:?}");
        }
        assert_eq!(
            first_of("1001:5:65536\n", passwd, 1001),
            Some(5),
            "who is in no file"
        );
    }
}
