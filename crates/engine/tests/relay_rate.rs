//! How fast a machine's traffic passes the relay. Alone in its file: it measures for ten seconds.

mod netns;

use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use netns::Lab;
use nullspace_engine::isolation::{EgressRules, RateLimit};

fn limited(limit: RateLimit) -> EgressRules {
    EgressRules {
        rate_limit: Some(limit),
        ..EgressRules::allow_all()
    }
}

/// Bytes that two uploads and two downloads pass together in each direction, while they all run.
fn measure(lab: &Lab, time: Duration) -> (u64, u64) {
    let down: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = lab.connect("10.77.0.2:81");
            std::thread::spawn(move || {
                let (begun, mut total, mut buffer) = (Instant::now(), 0, [0; 64 << 10]);
                while begun.elapsed() < time {
                    total += stream.read(&mut buffer).unwrap() as u64;
                }
                total
            })
        })
        .collect();
    for _ in 0..2 {
        let mut stream = lab.connect("10.77.0.2:82");
        std::thread::spawn(move || while stream.write_all(&[0; 64 << 10]).is_ok() {});
    }
    let before = lab.received.load(Ordering::SeqCst);
    std::thread::sleep(time);
    let up = lab.received.load(Ordering::SeqCst) - before;
    (up, down.into_iter().map(|t| t.join().unwrap()).sum())
}

#[track_caller]
fn is_near(actual: u64, expected: u64) {
    let off = actual.abs_diff(expected) as f64 / expected as f64;
    assert!(off <= 0.10, "{actual} bytes, not {expected}");
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn each_direction_keeps_the_rate_within_a_tenth() {
    let lab = Lab::new(limited(RateLimit::Kilobits {
        per_sec: 8000,
        burst: None,
    }));
    let (up, down) = measure(&lab, Duration::from_secs(10));
    is_near(up, 10_000_000);
    is_near(down, 10_000_000);
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn packets_are_limited_and_new_rules_change_the_rate_of_open_connections() {
    let lab = Lab::new(limited(RateLimit::Packets {
        per_sec: 200,
        burst: None,
    }));
    let (up, down) = measure(&lab, Duration::from_secs(4));
    is_near(up, 200 * 1500 * 4);
    is_near(down, 200 * 1500 * 4);

    // The uploads of the first measurement still run.
    lab.relay().set_rules(limited(RateLimit::Kilobits {
        per_sec: 16_000,
        burst: None,
    }));
    let before = lab.received.load(Ordering::SeqCst);
    std::thread::sleep(Duration::from_secs(3));
    is_near(lab.received.load(Ordering::SeqCst) - before, 6_000_000);
}
