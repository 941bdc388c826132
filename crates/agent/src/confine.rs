//! How PID 1 gives up its rights: the machine's user namespace last, then capabilities and the system call filter.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nullspace_agent::limits;
use nullspace_agent::message::Setup;

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
    // SAFETY: no pointers.
    unsafe {
        step("become the machine's root group", check(libc::setresgid(0, 0, 0)))?;
        step("become the machine's root", check(libc::setresuid(0, 0, 0)))?;
        for capability in 0..64 {
            if kept & (1 << capability) == 0 && libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) == 1 {
                step(
                    "bound capabilities",
                    check(libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0)),
                )?;
            }
        }
        step(
            "refuse new privileges",
            check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)),
        )
        .map(drop)
    }
}

/// Enters the user namespace, with no groups of the computer.
fn enter(namespace: &OwnedFd) -> io::Result<()> {
    step(
        "enter the user namespace",
        // SAFETY: no pointers.
        check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWUSER) }),
    )?;
    step(
        "drop groups",
        // SAFETY: an empty list.
        check(unsafe { libc::setgroups(0, std::ptr::null()) }),
    )?;
    Ok(())
}

fn unshare_users() -> io::Result<()> {
    // SAFETY: no pointers.
    step(
        "make the user namespace",
        check(unsafe { libc::unshare(libc::CLONE_NEWUSER) }),
    )
    .map(drop)
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
    let mut status = 0;
    // SAFETY: a live number; a child of ours that was not collected.
    match unsafe { libc::waitpid(child, &raw mut status, 0) } == child && status == 0 {
        true => Ok(()),
        false => Err(io::Error::other("the child that maps them failed")),
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
        // SAFETY: no pointers.
        check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }),
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

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Default, Clone, Copy)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAP_VERSION_3: u32 = 0x2008_0522;

/// Permitted and effective become `kept`, nothing is inheritable.
fn set_capabilities(kept: u64) -> io::Result<()> {
    let half = |shift: u32| {
        let bits = (kept >> shift) as u32;
        CapData {
            effective: bits,
            permitted: bits,
            inheritable: 0,
        }
    };
    capset(&[half(0), half(32)])
}

/// Effective becomes all that is permitted.
pub fn raise_all() -> io::Result<()> {
    let header = CapHeader {
        version: CAP_VERSION_3,
        pid: 0,
    };
    let mut data = [CapData::default(); 2];
    // SAFETY: both structures have the layout of version 3.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) })?;
    for half in &mut data {
        half.effective = half.permitted;
    }
    capset(&data)
}

fn capset(data: &[CapData; 2]) -> io::Result<()> {
    let header = CapHeader {
        version: CAP_VERSION_3,
        pid: 0,
    };
    // SAFETY: both structures have the layout of version 3.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}
