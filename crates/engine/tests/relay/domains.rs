//! Rules of names: when a connection is made, and when it ends. What they allow is in `tests/e2e/egress-domains.test.mjs`.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::netns::{echoes, greeting, Lab};
use nullspace_engine::isolation::relay::RelayOptions;
use nullspace_engine::isolation::{DomainRule, EgressRules, NameRules, Verdict};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const OTHER: &[u8] = b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n";

fn named(allow: &[(&str, Option<u16>)], ranges: &[&str]) -> EgressRules {
    let rule = |&(name, port): &(&str, Option<u16>)| DomainRule {
        below: false,
        name: name.to_owned(),
        port,
    };
    EgressRules {
        names: NameRules {
            allow: allow.iter().map(rule).collect(),
            deny: Vec::new(),
        },
        allow: ranges.iter().map(|range| range.parse().unwrap()).collect(),
        otherwise: Verdict::Deny,
        ..EgressRules::allow_all()
    }
}

/// A lab in which `a.test` is 10.77.0.2 and `b.test` is 10.77.1.2.
fn lab(rules: EgressRules) -> Lab {
    lab_with(rules, RelayOptions::default())
}

fn lab_with(rules: EgressRules, options: RelayOptions) -> Lab {
    let lab = Lab::with(rules, options);
    let names = [("a.test", [10, 77, 0, 2]), ("b.test", [10, 77, 1, 2])];
    lab.names.lock().unwrap().extend(names);
    lab
}

/// Sends a request and waits until it is echoed.
fn asks(stream: &mut TcpStream, request: &[u8]) -> std::io::Result<()> {
    stream.write_all(request)?;
    let mut back = vec![0; request.len()];
    stream.read_exact(&mut back)?;
    assert_eq!(back, request);
    Ok(())
}

/// A connection that has said its name.
fn opened(lab: &Lab, target: &str, request: &[u8]) -> std::io::Result<TcpStream> {
    let mut stream = lab.try_connect(target)?;
    stream.write_all(request)?;
    assert_eq!(greeting(&mut stream)?, target);
    stream.read_exact(&mut vec![0; request.len()])?;
    Ok(stream)
}

fn is_reset(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    stream.set_nonblocking(false).unwrap();
    error.kind() == ErrorKind::ConnectionReset
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn nobody_outside_hears_of_a_connection_before_it_has_said_an_allowed_name() {
    let lab = lab(named(&[("a.test", None), ("b.test", Some(80))], &[]));
    assert_eq!(lab.resolve("a.test"), Some([10, 77, 0, 2]));
    let mut silent = lab.connect("10.77.0.2:80");
    silent.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert_eq!(silent.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    silent.write_all(&REQUEST[..10]).unwrap();
    assert_eq!(silent.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    silent.write_all(&REQUEST[10..]).unwrap();
    assert_eq!(greeting(&mut silent).unwrap(), "10.77.0.2:80");

    // With its port in the rule the server may speak first.
    assert_eq!(lab.resolve("b.test"), Some([10, 77, 1, 2]));
    let mut greeted = lab.connect("10.77.1.2:80");
    assert_eq!(greeting(&mut greeted).unwrap(), "10.77.1.2:80");
    assert_eq!(
        asks(&mut greeted, REQUEST).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn new_rules_cut_connections_to_names_that_they_do_not_allow() {
    let lab = lab(named(&[("a.test", None), ("b.test", None)], &[]));
    lab.resolve("a.test").unwrap();
    lab.resolve("b.test").unwrap();
    let mut denied = opened(&lab, "10.77.0.2:80", REQUEST).unwrap();
    let mut kept = opened(&lab, "10.77.1.2:80", OTHER).unwrap();
    let mut silent = lab.connect("10.77.0.2:80");
    while lab.relay().connections() < 3 {
        std::thread::sleep(Duration::from_millis(5));
    }

    lab.relay().set_rules(named(&[("b.test", None)], &[]));

    assert!(is_reset(&mut denied) && is_reset(&mut silent));
    asks(&mut kept, OTHER).unwrap();
    // The same words mean the same after the change.
    assert_eq!(
        asks(&mut kept, REQUEST).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn connections_that_nobody_listened_to_are_cut_unless_a_range_allows_them() {
    let lab = lab(EgressRules::allow_all());
    lab.resolve("a.test").unwrap();
    let mut unheard = lab.connect("10.77.0.2:80");
    let mut in_range = lab.connect("10.77.1.2:80");
    greeting(&mut unheard).unwrap();
    greeting(&mut in_range).unwrap();

    lab.relay()
        .set_rules(named(&[("a.test", None)], &["10.77.1.0/24"]));

    assert!(is_reset(&mut unheard));
    echoes(&mut in_range).unwrap();
    // What was answered before still counts.
    opened(&lab, "10.77.0.2:80", REQUEST).unwrap();
}

/// Long enough for one connection on a busy computer.
const LEAST: Duration = Duration::from_secs(3);

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn an_answer_that_is_over_opens_nothing_and_cuts_nothing() {
    let options = RelayOptions {
        least_answer: LEAST,
        ..Default::default()
    };
    let lab = lab_with(named(&[("a.test", None)], &[]), options);
    lab.resolve("a.test").unwrap();
    let mut open = opened(&lab, "10.77.0.2:80", REQUEST).unwrap();
    lab.names.lock().unwrap().insert("a.test", [10, 77, 1, 3]);
    std::thread::sleep(LEAST + Duration::from_millis(100));
    assert!(opened(&lab, "10.77.0.2:80", REQUEST).is_err());
    asks(&mut open, REQUEST).unwrap();
    assert_eq!(lab.resolve("a.test"), Some([10, 77, 1, 3]));
    opened(&lab, "10.77.1.3:80", REQUEST).unwrap();
    assert!(opened(&lab, "10.77.0.2:80", REQUEST).is_err());
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn what_is_heard_is_counted_and_an_end_is_passed_on() {
    let lab = lab(named(&[("a.test", None)], &[]));
    lab.resolve("a.test").unwrap();
    let before = lab.relay().usage().tx_bytes;
    let mut stream = lab.connect("10.77.0.2:83");
    let body = vec![7; 300_000];
    let head = format!(
        "PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut count = String::new();
    stream.read_to_string(&mut count).unwrap();
    assert_eq!(count, (head.len() + body.len()).to_string());
    assert_eq!(
        lab.relay().usage().tx_bytes - before,
        (head.len() + body.len()) as u64
    );
}
