//! The system call filter: calls that a machine has no use for and that reach far into the kernel. A second line: each
//! is refused by namespaces or capabilities as well.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition as Condition,
    SeccompFilter, SeccompRule as Rule,
};

/// Refused with EPERM, whatever the arguments.
const DENIED: &[i64] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_kexec_load,
    KEXEC_FILE_LOAD,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_syslog,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_userfaultfd,
    libc::SYS_open_by_handle_at,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_vhangup,
    libc::SYS_fanotify_init,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
    #[cfg(target_arch = "x86_64")]
    libc::SYS__sysctl,
];

/// Newer than libc's list.
const OPEN_TREE_ATTR: i64 = 467;

#[cfg(not(target_arch = "aarch64"))]
const KEXEC_FILE_LOAD: i64 = libc::SYS_kexec_file_load;
/// Missing in libc's list for musl. Source: asm-generic/unistd.h of Linux.
#[cfg(target_arch = "aarch64")]
const KEXEC_FILE_LOAD: i64 = 294;

/// Not an error: the call seems to succeed.
const NOTHING_DONE: i32 = 0;

/// Refused with ENOSYS, so that libraries fall back: `clone3` to `clone`, whose flags can be looked at.
const UNKNOWN: &[i64] = &[
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// Requests to terminals: a signed number in musl, an unsigned one in glibc.
#[allow(clippy::unnecessary_cast)]
const TYPE_INTO_TERMINAL: u64 = libc::TIOCSTI as u64;
#[allow(clippy::unnecessary_cast)]
const USE_CONSOLE: u64 = libc::TIOCLINUX as u64;

const NEW_NAMESPACES: &[i32] = &[
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Socket families: vsock and others are not bound to a network namespace.
const FAMILIES: &[i32] = &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Personalities that programs ask for: Linux, 32-bit addresses, no randomisation, both, query.
const PERSONALITIES: &[u64] = &[0, 8, 0x2_0000, 0x2_0008, 0x4_0000, 0xffff_ffff];

/// Protocols of internet sockets. The buffers of others (SCTP, DCCP, Multipath TCP) are counted by nothing, or reach
/// code that few use.
const INTERNET: &[i32] = &[
    libc::IPPROTO_IP,
    libc::IPPROTO_ICMP,
    libc::IPPROTO_TCP,
    libc::IPPROTO_UDP,
    libc::IPPROTO_ICMPV6,
    libc::IPPROTO_RAW,
];

/// The programs, as bytes of `sock_filter` arrays. As many as there are kinds of refusal.
pub fn programs() -> Result<Vec<Vec<u8>>, String> {
    let mut denied: BTreeMap<i64, Vec<Rule>> = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let bits: Vec<u64> = NEW_NAMESPACES.iter().map(|bit| *bit as u32 as u64).collect();
    let any_bit = |bits: &[u64]| -> Result<Vec<Rule>, String> {
        bits.iter()
            .map(|bit| all(vec![condition(0, Op::MaskedEq(*bit), *bit)?]))
            .collect()
    };
    denied.insert(libc::SYS_clone, any_bit(&bits)?);
    let mut unshared = bits.clone();
    // A time namespace: the same bit is part of clone's exit signal.
    unshared.push(0x80);
    denied.insert(libc::SYS_unshare, any_bit(&unshared)?);
    // Typing into a terminal that somebody else reads.
    denied.insert(
        libc::SYS_ioctl,
        vec![
            all(vec![condition(1, Op::Eq, TYPE_INTO_TERMINAL)?])?,
            all(vec![condition(1, Op::Eq, USE_CONSOLE)?])?,
        ],
    );
    denied.insert(libc::SYS_personality, vec![none_of(0, PERSONALITIES)?]);
    let unknown = UNKNOWN.iter().map(|call| (*call, Vec::new())).collect();
    let families: Vec<u64> = FAMILIES.iter().map(|family| *family as u64).collect();
    let sockets = [libc::SYS_socket, libc::SYS_socketpair]
        .into_iter()
        .map(|call| Ok((call, vec![none_of(0, &families)?])))
        .collect::<Result<_, String>>()?;
    [
        (denied, libc::EPERM),
        (unknown, libc::ENOSYS),
        (sockets, libc::EAFNOSUPPORT),
        (
            BTreeMap::from([(libc::SYS_socket, protocols()?)]),
            libc::EPROTONOSUPPORT,
        ),
        (
            BTreeMap::from([(libc::SYS_setsockopt, receive_buffer()?)]),
            NOTHING_DONE,
        ),
    ]
    .into_iter()
    .map(|(rules, refusal)| program(rules, SeccompAction::Errno(refusal as u32)))
    .collect()
}

/// Protocols that a machine has no use for. Of netlink only what tells of routes and addresses stays: what the buffers
/// of netlink hold is counted by no control group, and with others a machine could send to itself.
fn protocols() -> Result<Vec<Rule>, String> {
    let family = |family: i32| condition(0, Op::Eq, family as u64);
    let none_of = |values: &[i32]| -> Result<Vec<Condition>, String> {
        values
            .iter()
            .map(|value| condition(2, Op::Ne, *value as u64))
            .collect()
    };
    let mut rules = vec![all(vec![
        family(libc::AF_NETLINK)?,
        condition(2, Op::Ne, libc::NETLINK_ROUTE as u64)?,
    ])?];
    for internet in [libc::AF_INET, libc::AF_INET6] {
        let mut conditions = vec![family(internet)?];
        conditions.extend(none_of(INTERNET)?);
        rules.push(all(conditions)?);
    }
    Ok(rules)
}

/// Wishes for a larger receive buffer, which the kernel is free not to follow. Netlink's are counted by nothing, and
/// no filter can tell whose buffer it is; connections of a machine grow theirs by themselves.
fn receive_buffer() -> Result<Vec<Rule>, String> {
    Ok(vec![all(vec![
        condition(1, Op::Eq, libc::SOL_SOCKET as u64)?,
        condition(2, Op::Eq, libc::SO_RCVBUF as u64)?,
    ])?])
}

/// The program whose calls wait for the agent, which counts the sockets.
pub fn counted() -> Result<Vec<u8>, String> {
    let netlink = all(vec![condition(0, Op::Eq, libc::AF_NETLINK as u64)?])?;
    let rules = BTreeMap::from([(libc::SYS_socket, vec![netlink])]);
    // The crate knows no such action: the value of another one that stands for it is replaced.
    let mut bytes = program(rules, SeccompAction::Trace(0))?;
    const TRACE: u32 = 0x7ff0_0000;
    const USER_NOTIFICATION: u32 = 0x7fc0_0000;
    const RETURN: u16 = 0x06;
    for instruction in bytes.chunks_exact_mut(8) {
        if instruction[..2] == RETURN.to_ne_bytes() && instruction[4..] == TRACE.to_ne_bytes() {
            instruction[4..].copy_from_slice(&USER_NOTIFICATION.to_ne_bytes());
        }
    }
    Ok(bytes)
}

fn condition(argument: u8, op: Op, value: u64) -> Result<Condition, String> {
    Condition::new(argument, Len::Dword, op, value).map_err(|error| error.to_string())
}

fn all(conditions: Vec<Condition>) -> Result<Rule, String> {
    Rule::new(conditions).map_err(|error| error.to_string())
}

fn none_of(argument: u8, values: &[u64]) -> Result<Rule, String> {
    all(values
        .iter()
        .map(|value| condition(argument, Op::Ne, *value))
        .collect::<Result<_, _>>()?)
}

fn program(rules: BTreeMap<i64, Vec<Rule>>, action: SeccompAction) -> Result<Vec<u8>, String> {
    let arch = std::env::consts::ARCH
        .try_into()
        .map_err(|error: seccompiler::BackendError| error.to_string())?;
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, action, arch).map_err(|error| error.to_string())?;
    let program: BpfProgram = filter
        .try_into()
        .map_err(|error: seccompiler::BackendError| error.to_string())?;
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for one in &program {
        bytes.extend_from_slice(&one.code.to_ne_bytes());
        bytes.extend_from_slice(&[one.jt, one.jf]);
        bytes.extend_from_slice(&one.k.to_ne_bytes());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_programs_compile_and_are_whole() {
        let programs = super::programs().unwrap();
        assert_eq!(programs.len(), 5);
        assert!(programs
            .iter()
            .all(|program| !program.is_empty() && program.len() % 8 == 0));
    }

    #[test]
    fn what_is_counted_waits_and_is_not_traced() {
        let program = super::counted().unwrap();
        let returned: Vec<u32> = program
            .chunks_exact(8)
            .filter(|instruction| instruction[0] == 0x06)
            .map(|instruction| u32::from_ne_bytes(instruction[4..].try_into().unwrap()))
            .collect();
        assert!(returned.contains(&0x7fc0_0000), "{returned:x?}");
        assert!(!returned.contains(&0x7ff0_0000), "{returned:x?}");
    }
}
