//! How PID 1 gives up its rights: the machine's user namespace last, then capabilities and the system call filter.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use nullspace_agent::limits;
use nullspace_agent::message::Setup;
use rustix::process::{set_dumpable_behavior, waitpid, DumpableBehavior, Gid, Pid, Uid, WaitOptions};
use rustix::thread::{
    self, capability_is_in_bounding_set, move_into_link_name_space, remove_capability_from_bounding_set,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid, unshare_unsafe,
    CapabilitySet, CapabilitySets, LinkNameSpaceType, UnshareFlags,
};

use crate::sockets::Counted;
use crate::sys::{self, check, step};

/// Capabilities over the machine's own ids: CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP
/// NET_BIND_SERVICE NET_RAW SYS_CHROOT SETFCAP. Without each of the first ones package managers or `su` fail; NET_RAW
/// opens no socket here (the network namespace is owned outside), but programs that carry it cannot start without it.
const KEPT: u64 = 0x8004_25fb;

const SECCOMP_SET_MODE_FILTER: libc::c_ulong = 1;

/// Capabilities over the ids of a volume: CHOWN DAC_OVERRIDE FOWNER FSETID.
const KEPT_FOR_FILES: u64 = 0x1b;

/// Confines a process that works on files alone: as the root of the user namespace, if there is one, it may do what root
/// may with files, and nothing else.
pub fn confine_to_files(filters: &[Vec<u8>], user_namespace: Option<&OwnedFd>) -> io::Result<()> {
    if let Some(namespace) = user_namespace {
        enter(namespace)?;
    }
    become_root(KEPT_FOR_FILES)?;
    for filter in filters {
        step("install a filter", install(filter, 0))?;
    }
    step("drop capabilities", set_capabilities(KEPT_FOR_FILES))?;
    sys::die_with_parent()
}

/// Becomes the root of the user namespace, and gives up for good what is not to be kept.
fn become_root(kept: u64) -> io::Result<()> {
    step(
        "become the machine's root group",
        set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT),
    )?;
    step(
        "become the machine's root",
        set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT),
    )?;
    for capability in (0..64).map(|number| CapabilitySet::from_bits_retain(1 << number)) {
        // The kernel refuses numbers that it has no capability for.
        let is_bounding = capability_is_in_bounding_set(capability).unwrap_or(false);
        if is_bounding && kept & capability.bits() == 0 {
            step(
                "bound capabilities",
                remove_capability_from_bounding_set(capability),
            )?;
        }
    }
    step("refuse new privileges", set_no_new_privs(true))
}

/// Enters the user namespace, with no groups of the computer.
fn enter(namespace: &OwnedFd) -> io::Result<()> {
    let users = Some(LinkNameSpaceType::User);
    step(
        "enter the user namespace",
        move_into_link_name_space(namespace.as_fd(), users),
    )?;
    step("drop groups", set_thread_groups(&[]))
}

fn unshare_users() -> io::Result<()> {
    // SAFETY: descriptors stay shared.
    let made = unsafe { unshare_unsafe(UnshareFlags::NEWUSER) };
    step("make the user namespace", made)
}

/// Makes a user namespace with so many ids. A child that stays outside maps them: inside nobody has the rights for it.
fn unshare_with(ids: u32) -> io::Result<()> {
    let (mut made, is_made) = io::pipe()?;
    // SAFETY: this process has one thread.
    let child = unsafe { libc::fork() };
    if child == -1 {
        return Err(io::Error::last_os_error());
    }
    if child == 0 {
        drop(is_made);
        let map = limits::id_map(0, ids);
        let is_mapped = made
            .read_exact(&mut [0])
            .and_then(|()| fs::write("/proc/1/uid_map", &map))
            .and_then(|()| fs::write("/proc/1/gid_map", &map));
        // SAFETY: no pointers.
        unsafe { libc::_exit(i32::from(is_mapped.is_err())) };
    }
    drop(made);
    unshare_users()?;
    (&is_made).write_all(b"m")?;
    match waitpid(Pid::from_raw(child), WaitOptions::empty())? {
        Some((_, status)) if status.exit_status() == Some(0) => Ok(()),
        _ => Err(io::Error::other("the child that maps them failed")),
    }
}

/// Enters the user namespace and confines this process and all its children.
pub fn confine(setup: &Setup, user_namespace: Option<&OwnedFd>) -> io::Result<Counted> {
    match (setup.id_base, user_namespace) {
        (Some(_), Some(namespace)) => enter(namespace)?,
        // The way below would make the machine's root the one of the computer.
        (Some(_), None) => return Err(io::Error::other("the machine's user namespace is missing")),
        (None, _) => {
            // Before the namespace is made, whose limit, that of its maker, holds for all ids in it together: it counts in
            // the namespace around it, which is this machine's alone.
            if let Some(most) = setup.processes {
                step("bound processes", limits::bound_processes(most))?;
            }
            if setup.ids == 1 {
                unshare_users()?;
                // The map of a process' own id needs no rights. Groups stay as they are, the kernel wants it so.
                step("map the id", fs::write("/proc/self/setgroups", "deny"))?;
                step("map the id", fs::write("/proc/self/uid_map", "0 0 1"))?;
                step("map the group id", fs::write("/proc/self/gid_map", "0 0 1"))?;
            } else {
                step("map the ids", unshare_with(setup.ids))?;
            }
        }
    }
    become_root(KEPT)?;
    let has_own_ids = setup.id_base.is_some();
    step("bound inotify", limits::bound_inotify(has_own_ids))?;
    for filter in &setup.filters {
        step("install a filter", install(filter, 0))?;
    }
    let listener = step(
        "install the filter that counts sockets",
        install(&setup.counted, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER),
    )?;
    // SAFETY: the kernel has just made the descriptor for us.
    let listener = unsafe { OwnedFd::from_raw_fd(listener as i32) };
    let counted = step("count sockets", Counted::new(listener))?;
    step("drop capabilities", set_capabilities(KEPT))?;
    // Where the id does not change the kernel does not do this by itself, and the machine could read this process.
    step(
        "hide this process",
        set_dumpable_behavior(DumpableBehavior::NotDumpable),
    )?;
    sys::die_with_parent()?;
    Ok(counted)
}

fn install(filter: &[u8], flags: libc::c_ulong) -> io::Result<libc::c_long> {
    let size = std::mem::size_of::<libc::sock_filter>();
    if filter.is_empty() || !filter.len().is_multiple_of(size) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a filter of an odd length",
        ));
    }
    let program: Vec<libc::sock_filter> = filter
        .chunks_exact(size)
        .map(|bytes| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    let header = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: a live program of the length given.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const header,
        )
    })
}

/// Permitted and effective become `kept`, nothing is inheritable.
fn set_capabilities(kept: u64) -> io::Result<()> {
    let kept = CapabilitySet::from_bits_retain(kept);
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    Ok(thread::set_capabilities(None, sets)?)
}

/// Effective becomes all that is permitted.
pub fn raise_all() -> io::Result<()> {
    let mut sets = thread::capabilities(None)?;
    sets.effective = sets.permitted;
    Ok(thread::set_capabilities(None, sets)?)
}
