//! The network of a machine, in namespaces of threads of this process.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Duration;

use nullspace_agent::net::{self, NetListeners};
use rustix::io::{fcntl_getfd, FdFlags};
use rustix::net::sockopt::ip_original_dst;

use crate::netns::own_network;

/// Set in the process that `unshare` starts.
const INSIDE: &str = "NULLSPACE_TEST_INSIDE";

/// Runs a test in a fresh network namespace, which ends with the thread and the sockets.
fn inside(test: impl FnOnce(NetListeners) + Send + 'static) {
    let thread = std::thread::spawn(|| {
        own_network();
        test(net::set_up().unwrap());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn checks(sockets: NetListeners) {
    let tcp = TcpListener::from(sockets.tcp);
    let udp = UdpSocket::from(sockets.udp);

    for target in ["198.51.100.7:443", "10.0.0.1:80", "255.1.2.3:1", "8.8.8.8:53"] {
        let mut client = TcpStream::connect(target).unwrap();
        let (mut accepted, from) = tcp.accept().unwrap();
        let destination = ip_original_dst(&accepted).unwrap();
        assert_eq!(destination.to_string(), target);
        assert_eq!(from.ip(), Ipv4Addr::LOCALHOST);
        accepted.write_all(b"hello").unwrap();
        let mut answer = [0; 5];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
    }

    // The answer to a name query comes from the address that was asked, or a connected socket would not see it.
    let client = UdpSocket::bind("0.0.0.0:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    client.connect("9.9.9.9:53").unwrap();
    client.send(b"query").unwrap();
    let mut buffer = [0; 64];
    let (len, from) = udp.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"query");
    udp.send_to(b"answer", from).unwrap();
    let len = client.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"answer");

    // The machine's own loopback is its own.
    let own = TcpListener::bind("127.0.0.1:0").unwrap();
    TcpStream::connect(own.local_addr().unwrap()).unwrap();
    own.accept().unwrap();

    let other = UdpSocket::bind("0.0.0.0:0").unwrap();
    let refused = other.send_to(b"x", "9.9.9.9:123").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    let refused = TcpStream::connect("[2001:db8::1]:80").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NetworkUnreachable);
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn every_address_ends_at_the_listeners_and_the_rest_is_dropped() {
    inside(checks);
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn without_the_listeners_nothing_is_reached() {
    inside(|sockets| {
        drop(sockets);
        let refused = TcpStream::connect("198.51.100.7:443").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn a_namespace_that_was_set_up_already_is_an_error() {
    inside(|_sockets| {
        let refused = net::set_up().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "{refused}");
    });
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn sockets_do_not_leak_into_programs() {
    inside(|sockets| {
        for fd in [&sockets.tcp, &sockets.udp] {
            let owned: &OwnedFd = fd;
            assert_eq!(fcntl_getfd(owned).unwrap(), FdFlags::CLOEXEC);
        }
    });
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn the_owner_of_an_unprivileged_user_namespace_can_do_it_too() {
    if std::env::var_os(INSIDE).is_some() {
        return checks(net::set_up().unwrap());
    }
    // A copy that the other user can read, wherever the build directory is.
    let directory = std::env::temp_dir().join(format!("nullspace-net-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let program = directory.join("test");
    std::fs::copy("/proc/self/exe", &program).unwrap();
    std::fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["unshare", "--user", "--map-root-user", "--net"])
        .arg(&program)
        .args([
            "--exact",
            "namespace::the_owner_of_an_unprivileged_user_namespace_can_do_it_too",
        ])
        .env(INSIDE, "1")
        .current_dir("/")
        .output();
    std::fs::remove_dir_all(&directory).unwrap();
    let output = output.unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
