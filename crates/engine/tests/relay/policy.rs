//! What a machine reaches through the relay under which rules.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use crate::netns::{custom, echoes, greeting, port, Lab, ANSWER, QUERY, REFUSED};
use nullspace_engine::isolation::relay::{Pool, RelayOptions};
use nullspace_engine::isolation::{EgressRules, Verdict};

/// Refused under every policy, though the host could connect to each.
const NEVER: [&str; 13] = [
    "10.77.0.1:3000",     // the engine, on an address of an interface
    "10.88.0.1:3000",     // the same on a second interface
    "10.99.1.2:3000",     // a route of the host to itself
    "0.0.0.0:3000",       // Linux reads it as loopback
    "0.1.2.3:80",         // this network
    "169.254.169.254:80", // metadata
    "169.254.1.1:80",     // link-local
    "168.63.129.16:80",   // Azure
    "100.100.100.200:80", // Alibaba
    "224.0.0.1:80",       // multicast
    "240.0.0.1:80",       // reserved
    "255.255.255.255:80", // broadcast
    "10.77.0.255:80",     // broadcast of an interface
];

const OTHERS: [&str; 7] = [
    "10.77.0.2:80",
    "10.77.1.2:80",
    "10.77.1.3:80",
    "192.168.5.5:80",
    "172.16.0.9:80",
    "8.8.8.8:80",
    "203.0.113.5:80",
];

/// Checks all addresses and gives how many were asked.
#[track_caller]
fn check(lab: &Lab, name: &str, reached: &[&str]) -> usize {
    for target in OTHERS {
        assert_eq!(lab.reaches(target), reached.contains(&target), "{name}: {target}");
    }
    for target in NEVER {
        // A client's own kernel refuses broadcasts and multicast.
        let target_ip = target.split(':').next().unwrap();
        if matches!(target_ip, "255.255.255.255" | "224.0.0.1" | "0.0.0.0") {
            let target = target.to_owned();
            let result = lab.machine.run(move || {
                let mut stream = std::net::TcpStream::connect(target)?;
                stream.read(&mut [0])
            });
            assert!(result.is_err(), "{name}: {target_ip}: {result:?}");
        } else {
            assert!(!lab.reaches(target), "{name}: {target}");
        }
    }
    OTHERS.len() + NEVER.len()
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn a_table_of_policies_and_destinations() {
    let lab = Lab::new(EgressRules::allow_all());
    let mut asked = check(&lab, "allow_all", &OTHERS);

    lab.relay().set_rules(EgressRules::deny_all());
    asked += check(&lab, "deny_all", &[]);

    lab.relay()
        .set_rules(custom(&["10.77.1.0/24", "8.8.8.8/32"], &[], Verdict::Deny));
    asked += check(
        &lab,
        "allow list",
        &["10.77.1.2:80", "10.77.1.3:80", "8.8.8.8:80"],
    );

    lab.relay().set_rules(custom(
        &["10.77.1.3/32"],
        &["10.0.0.0/8", "203.0.113.5/32"],
        Verdict::Allow,
    ));
    let reached = ["10.77.1.3:80", "192.168.5.5:80", "172.16.0.9:80", "8.8.8.8:80"];
    asked += check(&lab, "deny list with a hole", &reached);

    // Allowing everything by range does not allow what no policy does.
    lab.relay().set_rules(custom(
        &["0.0.0.0/0", "127.0.0.0/8", "169.254.169.254/32", "10.77.0.1/32"],
        &[],
        Verdict::Deny,
    ));
    asked += check(&lab, "allow every range", &OTHERS);

    lab.relay()
        .set_rules(custom(&["10.77.0.2/32"], &["10.77.0.2/32"], Verdict::Allow));
    asked += check(&lab, "a tie denies", &OTHERS[1..]);

    lab.relay().set_rules(EgressRules::allow_all());
    asked += check(&lab, "allow_all again", &OTHERS);
    assert_eq!(asked, 140);
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn loopback_is_the_machines_own_and_its_door_leads_nowhere() {
    let lab = Lab::new(EgressRules::allow_all());
    let results = lab.machine.run(|| {
        let of_host = std::net::TcpStream::connect(("127.0.0.1", port::ENGINE)).map(drop);
        // The relay's own port, dialed directly.
        let mut direct = std::net::TcpStream::connect(("127.0.0.1", nullspace_agent::net::TCP_PORT)).unwrap();
        (
            of_host.unwrap_err().kind(),
            direct.read(&mut [0]).unwrap_err().kind(),
        )
    });
    assert_eq!(
        results,
        (ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset)
    );
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn extra_ranges_are_refused() {
    let options = RelayOptions {
        extra_refused: vec!["10.77.1.0/24".parse().unwrap()],
        ..Default::default()
    };
    let lab = Lab::with(EgressRules::allow_all(), options);
    assert!(!lab.reaches("10.77.1.2:80"));
    assert!(lab.reaches("10.77.0.2:80"));
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn new_rules_reset_what_they_deny_and_leave_the_rest() {
    let lab = Lab::new(EgressRules::allow_all());
    let mut denied = lab.connect("10.77.0.2:80");
    let mut kept = lab.connect("10.77.1.2:80");
    for stream in [&mut denied, &mut kept] {
        greeting(stream).unwrap();
        echoes(stream).unwrap();
    }
    assert_eq!(lab.relay().connections(), 2);

    lab.relay()
        .set_rules(custom(&[], &["10.77.0.0/24"], Verdict::Allow));

    assert_eq!(lab.relay().connections(), 1);
    // Already reset, not soon.
    denied.set_nonblocking(true).unwrap();
    let error = denied.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    echoes(&mut kept).unwrap();
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn no_connection_slips_through_a_change_of_rules() {
    let lab = Lab::new(EgressRules::deny_all());
    for _ in 0..30 {
        lab.relay().set_rules(EgressRules::allow_all());
        let clients: Vec<_> = (0..8).map(|_| lab.try_connect("10.77.0.2:80")).collect();
        lab.relay().set_rules(EgressRules::deny_all());
        // Whatever is still open was let in after the change.
        assert_eq!(lab.relay().connections(), 0);
        for client in clients {
            let result = client.and_then(|mut c| greeting(&mut c).and_then(|_| echoes(&mut c)));
            assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    }
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn the_end_of_the_relay_resets_everything() {
    let mut lab = Lab::new(EgressRules::allow_all());
    let mut stream = lab.connect("10.77.0.2:80");
    greeting(&mut stream).unwrap();
    lab.relay.take();
    assert_eq!(
        stream.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    let refused = lab.machine.run(|| {
        for _ in 0..100 {
            match std::net::TcpStream::connect("10.77.0.2:80") {
                Err(error) if error.kind() != ErrorKind::ConnectionReset => return error.kind(),
                // The listener is closed by its task, and that resets a connection that has just come.
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        panic!("still accepts");
    });
    assert_eq!(refused, ErrorKind::ConnectionRefused);
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn connections_beyond_the_limit_are_reset() {
    let options = RelayOptions {
        max_connections: 2,
        ..Default::default()
    };
    let lab = Lab::with(EgressRules::allow_all(), options);
    let mut first = lab.connect("10.77.0.2:80");
    let mut second = lab.connect("10.77.0.2:80");
    greeting(&mut first).unwrap();
    greeting(&mut second).unwrap();
    assert!(!lab.reaches("10.77.0.2:80"));
    drop(first);
    let freed = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        lab.reaches("10.77.0.2:80")
    });
    assert!(freed);
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn connections_to_name_servers_leave_room_for_others() {
    let lab = Lab::new(EgressRules::deny_all());
    let idle: Vec<_> = (0..64)
        .filter_map(|_| lab.try_connect("8.8.8.8:53").ok())
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(lab.relay().connections(), 32);
    lab.relay().set_rules(EgressRules::allow_all());
    assert!(lab.reaches("10.77.0.2:80"));
    assert_eq!(lab.ask("8.8.8.8:53", QUERY), ANSWER);
    drop(idle);
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn a_machine_has_its_share_of_what_all_may_hold() {
    let pool = Pool::of_descriptors(48); // 12 connections
    let options = || RelayOptions {
        pool: pool.clone(),
        ..Default::default()
    };
    let greedy = Lab::with(EgressRules::allow_all(), options());
    let mut held = Vec::new();
    for _ in 0..12 {
        let stream = greedy.try_connect("10.77.0.2:80");
        held.extend(
            stream
                .ok()
                .filter(|s| greeting(&mut s.try_clone().unwrap()).is_ok()),
        );
    }
    assert_eq!(held.len(), 4);
    let other = Lab::with(EgressRules::allow_all(), options());
    assert!(other.reaches("10.77.0.2:80"));
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn one_direction_can_end_before_the_other() {
    let lab = Lab::new(EgressRules::allow_all());
    let mut stream = lab.connect("10.77.0.2:83");
    stream.write_all(&vec![7; 300_000]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut count = String::new();
    stream.read_to_string(&mut count).unwrap();
    assert_eq!(count, "300000");
    let usage = lab.relay().usage();
    assert_eq!((usage.tx_bytes, usage.rx_bytes), (300_000, 6));
    drop(stream);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(lab.relay().connections(), 0);
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn a_closed_port_is_a_reset_and_a_silent_address_one_in_time() {
    let options = RelayOptions {
        connect_timeout: Duration::from_millis(300),
        ..Default::default()
    };
    let lab = Lab::with(EgressRules::allow_all(), options);
    assert!(!lab.reaches("10.77.0.2:9999"));
    assert!(!lab.reaches("10.77.0.77:80"));
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn names_are_answered_whatever_server_is_asked() {
    let lab = Lab::new(custom(&[], &["8.8.8.8/32"], Verdict::Allow));
    for server in ["8.8.8.8:53", "203.0.113.77:53", "169.254.169.254:53"] {
        assert_eq!(lab.ask(server, QUERY), ANSWER);
        let mut stream = lab.connect(server);
        for _ in 0..2 {
            stream
                .write_all(&[&[0, QUERY.len() as u8], QUERY].concat())
                .unwrap();
            let mut answer = [0; 2 + ANSWER.len()];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer[2..], ANSWER);
        }
    }
    let usage = lab.relay().usage();
    assert_eq!(
        (usage.tx_bytes, usage.rx_bytes),
        (9 * QUERY.len() as u64, 9 * ANSWER.len() as u64)
    );
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn without_names_nothing_is_asked() {
    let lab = Lab::new(EgressRules::deny_all());
    assert_eq!(lab.ask("8.8.8.8:53", QUERY), REFUSED);
    let mut stream = lab.connect("8.8.8.8:53");
    stream
        .write_all(&[&[0, QUERY.len() as u8], QUERY].concat())
        .unwrap();
    let mut answer = [0; 2 + REFUSED.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer[2..], REFUSED);
    assert_eq!(lab.queries.load(std::sync::atomic::Ordering::SeqCst), 0);

    lab.relay().set_rules(EgressRules::allow_all());
    assert_eq!(lab.ask("8.8.8.8:53", QUERY), ANSWER);
    lab.relay().set_rules(EgressRules::deny_all());
    assert_eq!(lab.ask("8.8.8.8:53", QUERY), REFUSED);
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn a_name_server_that_is_silent_gives_a_failure_in_time() {
    let lab = Lab::new(EgressRules::allow_all());
    let mut query = QUERY.to_vec();
    query[13] = b'z';
    let answer = lab.ask("8.8.8.8:53", &query);
    assert_eq!(answer[..4], [0x12, 0x34, 0x81, 0x82]); // SERVFAIL
}
