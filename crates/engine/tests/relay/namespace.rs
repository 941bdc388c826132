//! The network of a machine, in namespaces of threads of this process.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use nullspace_agent::net::{self, NetListeners};

/// Set in the process that `unshare` starts.
const INSIDE: &str = "NULLSPACE_TEST_INSIDE";

/// Runs a test in a fresh network namespace, which ends with the thread and the sockets.
fn inside(test: impl FnOnce(NetListeners) + Send + 'static) {
    let thread = std::thread::spawn(|| {
        // SAFETY: it concerns this thread only.
        let failed = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(failed, 0, "needs root: {}", std::io::Error::last_os_error());
        test(net::set_up().unwrap());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn original_destination(stream: &TcpStream) -> SocketAddrV4 {
    // SAFETY: the kernel writes at most the length given, into an address that plain bytes can be.
    let address = unsafe {
        let mut address: libc::sockaddr_in = std::mem::zeroed();
        let mut len = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        let fd = stream.as_raw_fd();
        let result = libc::getsockopt(
            fd,
            libc::SOL_IP,
            libc::SO_ORIGINAL_DST,
            (&raw mut address).cast(),
            &mut len,
        );
        assert_eq!(result, 0);
        address
    };
    let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
    SocketAddrV4::new(ip, u16::from_be(address.sin_port))
}

fn checks(sockets: NetListeners) {
    let tcp = TcpListener::from(sockets.tcp);
    let udp = UdpSocket::from(sockets.udp);

    for target in ["198.51.100.7:443", "10.0.0.1:80", "255.1.2.3:1", "8.8.8.8:53"] {
        let mut client = TcpStream::connect(target).unwrap();
        let (mut accepted, from) = tcp.accept().unwrap();
        assert_eq!(original_destination(&accepted).to_string(), target);
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
            // SAFETY: only reads flags.
            let flags = unsafe { libc::fcntl(owned.as_raw_fd(), libc::F_GETFD) };
            assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
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
