//! What the root of a machine may not do.

use crate::lab::{run, sh, spec, Lab};

/// Calls that must fail with EPERM (1), made without any program that may be missing. Numbers are those of x86_64.
#[cfg(target_arch = "x86_64")]
const REFUSED: &[(&str, &str)] = &[
    (
        "mount",
        "syscall(165, my $a = 'none', my $b = '/tmp', my $c = 'tmpfs', 0, 0)",
    ),
    ("umount2", "syscall(166, my $a = '/proc', 2)"),
    ("pivot_root", "syscall(155, my $a = '.', my $b = '.')"),
    ("fsopen", "syscall(430, my $a = 'tmpfs', 0)"),
    ("unshare a mount namespace", "syscall(272, 0x20000)"),
    ("unshare a user namespace", "syscall(272, 0x10000000)"),
    ("unshare a network namespace", "syscall(272, 0x40000000)"),
    ("clone a user namespace", "syscall(56, 0x10000011, 0, 0, 0, 0)"),
    ("setns", "syscall(308, 0, 0)"),
    ("init_module", "syscall(175, 0, 0, my $a = '')"),
    ("bpf", "syscall(321, 0, 0, 0)"),
    ("keyctl", "syscall(250, 0, 0)"),
    ("syslog", "syscall(103, 10, 0, 0)"),
    ("settimeofday", "syscall(164, 0, 0)"),
    (
        "mknod of a disk",
        "syscall(133, my $a = '/tmp/disk', 0060600, 0xfe00)",
    ),
    ("sethostname", "syscall(170, my $a = 'x', 1)"),
    ("raw socket", "(socket(S, 2, 3, 1) ? 0 : -1)"),
];

/// Answers of the kernel to netlink messages: the network is not the machine's to change. -1 is EPERM.
const NETLINK: &[(&str, &str)] = &[(
    "take lo down",
    r#"socket(S,16,3,0) or die; $m = pack("LSSLL",32,16,5,1,0).pack("CCSlLL",0,0,0,1,0,1);"#,
)];

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn its_root_has_no_rights_over_the_computer() {
    let lab = Lab::open().await;
    let secret = lab.state().join("secret");
    std::fs::write(&secret, "x").unwrap();
    let machine = lab.start(spec("rights")).await;
    assert_eq!(sh(&machine, "id -u").await, "0");
    assert_ne!(sh(&machine, "awk '{print $2}' /proc/self/uid_map").await, "0");
    assert_eq!(
        sh(
            &machine,
            "awk '/CapBnd|NoNewPrivs|Seccomp:/ {print $2}' /proc/self/status | sort -u | tr '\\n' ' '"
        )
        .await,
        "00000000800425fb 1 2"
    );
    // The agent, the shell and what it runs.
    let pids = sh(&machine, "ls /proc | grep -cE '^[0-9]+$'").await;
    assert!(pids.parse::<u32>().unwrap() <= 5, "{pids} processes");
    assert_ne!(run(&machine, &format!("cat {}", secret.display())).await.code, 0);
    for closed in ["/proc/1/root/", "/proc/1/environ", "/proc/1/mem"] {
        let tried = run(&machine, &format!("ls {closed} >/dev/null && cat {closed}")).await;
        assert_ne!(tried.code, 0, "{closed}: {tried:?}");
    }
    let mounts = sh(&machine, "cat /proc/self/mountinfo").await;
    assert!(!mounts.contains(lab.state().to_str().unwrap()), "{mounts}");

    // Whether what tries can try at all.
    assert_eq!(
        sh(
            &machine,
            "perl -e 'print socket(S, 2, 1, 0) ? 1 : 0; print syscall(39) > 1 ? 1 : 0'"
        )
        .await,
        "11"
    );
    #[cfg(target_arch = "x86_64")]
    for (name, call) in REFUSED {
        let script = format!(
            "perl -e '$r = {}; print $r == -1 ? $!+0 : \"worked\"'",
            call.replace('\'', "\"")
        );
        assert_eq!(sh(&machine, &script).await, "1", "{name}");
    }
    for (name, message) in NETLINK {
        let rest = r#"send(S,$m,0) or die $!; recv(S,$r,8192,0); print unpack("l",substr($r,16,4))"#;
        assert_eq!(
            sh(&machine, &format!("perl -e '{message} {rest}'")).await,
            "-1",
            "{name}"
        );
    }
    // To change the rules of the network cannot even be asked for. 93 is EPROTONOSUPPORT.
    let nftables = "perl -e 'print socket(S, 16, 3, 12) ? 0 : $!+0'";
    assert_eq!(sh(&machine, nftables).await, "93");
    // Packet and virtual machine sockets; the latter know no network namespaces. 97 is EAFNOSUPPORT.
    for family in [17, 40] {
        let script = format!("perl -e 'print socket(S, {family}, 3, 0) ? 0 : $!+0'");
        assert_eq!(sh(&machine, &script).await, "97", "family {family}");
    }
    machine.stop().await.unwrap();
}
