//! What a machine may hold of things that the kernel counts for a user, for the computer, or not at all.

use std::fs;

use nullspace_engine::isolation::{Backend, Limit, StartSpec};

use crate::lab::{groups, run, sh, spec, Lab};

/// `inotify_init1`.
#[cfg(target_arch = "x86_64")]
const INOTIFY: u32 = 294;
#[cfg(target_arch = "aarch64")]
const INOTIFY: u32 = 26;

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn inotify_instances_of_one_machine_leave_those_of_others_alone() {
    let lab = Lab::open().await;
    let (greedy, other) = (lab.start(spec("greedy")).await, lab.start(spec("other")).await);
    // To the end of what there is; the number, then the error: 24 is EMFILE.
    let take_all =
        format!("$n = 0; $n++ while $n < 5000 && syscall({INOTIFY}, 0) >= 0; print \"$n \", $! + 0");
    let command = format!("ulimit -n $(ulimit -Hn); exec perl -e '{take_all}'");
    let alone = sh(&other, &command).await;
    let mut held = greedy
        .exec(crate::lab::shell(&format!(
            "ulimit -n $(ulimit -Hn); exec perl -e '{take_all}; $| = 1; print \" all\\n\"; sleep 60'"
        )))
        .await
        .unwrap();
    let mut first = [0; 1];
    tokio::io::AsyncReadExt::read_exact(&mut held.stdout, &mut first)
        .await
        .unwrap();
    assert_eq!(sh(&other, &command).await, alone);
    // Another machine's namespace belongs to another user.
    assert_eq!(
        sh(&other, "cat /proc/sys/user/max_inotify_instances").await,
        "1024"
    );
    assert_ne!(
        run(&other, "echo 99999 > /proc/sys/user/max_inotify_instances")
            .await
            .code,
        0
    );
    greedy.stop().await.unwrap();
    other.stop().await.unwrap();
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn signals_queues_and_priorities_are_bounded_by_resource_limits() {
    let lab = Lab::open().await;
    let machine = lab.start(spec("rlimits")).await;
    for (flag, most) in [("i", 8_192), ("q", 819_200), ("l", 8_192), ("r", 0), ("e", 0)] {
        for kind in ["S", "H"] {
            let found = sh(&machine, &format!("ulimit -{kind}{flag}")).await;
            assert!(
                found.parse::<u64>().is_ok_and(|found| found <= most),
                "{flag}: {found}"
            );
        }
    }
    machine.stop().await.unwrap();
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn terminals_of_a_machine_are_few() {
    let lab = Lab::open().await;
    let machine = lab.start(spec("terminals")).await;
    let open = r#"ulimit -n 1000; perl -e 'my @all; while (open(my $t, "+<", "/dev/ptmx")) { push @all, $t } print scalar @all'"#;
    assert_eq!(sh(&machine, open).await, "128");
    machine.stop().await.unwrap();
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn buffers_that_no_control_group_counts_are_few_and_small() {
    let lab = Lab::open().await;
    let machine = lab.start(spec("netlink")).await;
    // 93 is EPROTONOSUPPORT: to itself, device events, generic, socket diagnosis; SCTP, Multipath TCP.
    for (family, kind, protocol) in [
        (16, 3, 2),
        (16, 3, 15),
        (16, 3, 16),
        (16, 3, 4),
        (2, 1, 132),
        (10, 1, 262),
    ] {
        let script = format!("perl -e 'print socket(S, {family}, {kind}, {protocol}) ? 0 : $!+0'");
        assert_eq!(sh(&machine, &script).await, "93", "{family} {kind} {protocol}");
    }
    // Echo sockets: nothing but the machine itself would answer. 13 is EACCES.
    assert_eq!(
        sh(&machine, "perl -e 'print socket(S, 2, 2, 1) ? 0 : $!+0'").await,
        "13"
    );
    // What tells of addresses and routes stays; 105 is ENOBUFS.
    let many = r#"ulimit -n 1000; perl -e 'my @all; while (socket(my $s, 16, 3, 0)) { push @all, $s } print scalar @all, " ", $!+0'"#;
    assert_eq!(sh(&machine, many).await, "128 105");
    assert_eq!(
        sh(&machine, many).await,
        "128 105",
        "those of a process that ended are free"
    );
    let larger = "perl -e 'socket(S, 16, 3, 0) or die; $was = getsockopt(S, 1, 8); setsockopt(S, 1, 8, 1 << 20) or die; print $was eq getsockopt(S, 1, 8) ? 1 : 0'";
    assert_eq!(sh(&machine, larger).await, "1");
    assert_eq!(
        sh(&machine, "getent ahosts localhost | head -n 1 | cut -d ' ' -f 1").await,
        "127.0.0.1"
    );
    machine.stop().await.unwrap();
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn buffers_of_connections_have_a_limit_beside_the_memory() {
    let lab = Lab::open().await;
    let spec = StartSpec {
        memory_mb: 64,
        ..spec("buffers")
    };
    let id = spec.id.clone();
    let machine = lab.start(spec).await;
    let limits: Vec<String> = groups(&id)
        .iter()
        .filter_map(|group| fs::read_to_string(group.join("memory.kmem.tcp.limit_in_bytes")).ok())
        .collect();
    if limits.is_empty() {
        eprintln!("skipped: no control groups of version 1 with a limit of sockets here");
    } else {
        assert_eq!(limits, [format!("{}\n", 16 << 20)]);
    }
    machine.stop().await.unwrap();
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn a_full_memory_ends_processes_and_not_the_machine() {
    let lab = Lab::open().await;
    if !lab.backend.capabilities().enforces(Limit::Memory) {
        return eprintln!("skipped: memory cannot be limited here");
    }
    let machine = lab
        .start(StartSpec {
            memory_mb: 64,
            ..spec("full")
        })
        .await;
    // Every process is to be ended before PID 1, and none can take itself out of the choice.
    assert_eq!(sh(&machine, "cat /proc/self/oom_score_adj").await, "100");
    let least = sh(&machine, "cat /proc/1/oom_score_adj").await;
    assert!(least.parse::<i32>().unwrap() <= 0, "{least}");
    for (value, file) in [("-1000", "oom_score_adj"), ("-17", "oom_adj")] {
        let tried = run(&machine, &format!("echo {value} > /proc/self/{file}")).await;
        assert_ne!(tried.code, 0, "{file}");
    }
    // Memory of no process (files of /dev/shm and /run, pipes), and a small program that asks for more.
    let fill = "cat /dev/zero > /dev/shm/full 2>/dev/null; cat /dev/zero > /run/full 2>/dev/null; true";
    sh(&machine, fill).await;
    let pipes = r#"exec perl -e 'my @all; while (pipe(my $r, my $w)) { fcntl($w, 1031, 1 << 20); fcntl($w, 4, 2048); 1 while syswrite($w, "x" x 4096); push @all, $r, $w } sleep 9'"#;
    let ended = run(&machine, &format!("ulimit -n $(ulimit -Hn); {pipes}")).await;
    assert_eq!((ended.code, ended.out_of_memory), (137, true));
    assert_eq!(
        sh(&machine, "rm /dev/shm/full /run/full; echo alive").await,
        "alive"
    );
    machine.stop().await.unwrap();
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn what_tells_of_the_computer_is_masked() {
    let lab = Lab::open().await;
    let machine = lab.start(spec("masked")).await;
    for name in [
        "cmdline",
        "config.gz",
        "kallsyms",
        "kcore",
        "keys",
        "key-users",
        "interrupts",
        "sched_debug",
        "timer_list",
        "latency_stats",
        "slabinfo",
        "iomem",
        "sysrq-trigger",
    ] {
        // Not there at all, or empty.
        let size = sh(&machine, &format!("cat /proc/{name} 2>/dev/null | wc -c")).await;
        assert_eq!(size, "0", "/proc/{name}");
    }
    for name in ["acpi", "scsi", "asound", "driver"] {
        assert_eq!(
            sh(&machine, &format!("ls -A /proc/{name} 2>/dev/null | wc -l")).await,
            "0",
            "{name}"
        );
    }
    machine.stop().await.unwrap();
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn what_the_promises_need_of_the_kernel_is_named_and_looked_for() {
    let lab = Lab::open().await;
    let found = lab.backend.capabilities();
    assert!(found.features.len() >= 10, "{:?}", found.features);
    for feature in &found.features {
        assert!(
            feature.is_there || !feature.is_vital,
            "a machine did start: {feature:?}"
        );
    }
    let disk = found
        .features
        .iter()
        .find(|f| f.promise.contains("disk_mb"))
        .unwrap();
    assert_eq!(disk.is_there, found.enforces(Limit::Disk));
}
