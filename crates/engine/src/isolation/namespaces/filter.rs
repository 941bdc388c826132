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
    libc::SYS_kexec_file_load,
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

/// Refused with ENOSYS, so that libraries fall back: `clone3` to `clone`, whose flags can be looked at.
const UNKNOWN: &[i64] = &[
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

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

/// The programs, as bytes of `sock_filter` arrays. Three, since one program has one kind of refusal.
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
            all(vec![condition(1, Op::Eq, libc::TIOCSTI)?])?,
            all(vec![condition(1, Op::Eq, libc::TIOCLINUX)?])?,
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
    ]
    .into_iter()
    .map(|(rules, refusal)| program(rules, refusal))
    .collect()
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

fn program(rules: BTreeMap<i64, Vec<Rule>>, refusal: i32) -> Result<Vec<u8>, String> {
    let arch = std::env::consts::ARCH
        .try_into()
        .map_err(|error: seccompiler::BackendError| error.to_string())?;
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(refusal as u32),
        arch,
    )
    .map_err(|error| error.to_string())?;
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
        assert_eq!(programs.len(), 3);
        assert!(programs
            .iter()
            .all(|program| !program.is_empty() && program.len() % 8 == 0));
    }
}
