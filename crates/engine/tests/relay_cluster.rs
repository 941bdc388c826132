//! Machines of a node reach no part of its cluster. A process of its own: what is refused is refused on the whole computer.

mod netns;

use std::net::IpAddr;

use netns::{custom, Lab};
use nullspace_engine::isolation::relay::refuse_cluster;
use nullspace_engine::isolation::{EgressRules, Verdict};

/// A node, a gateway and the database.
const PARTS: [&str; 3] = ["10.77.1.2", "192.168.5.5", "203.0.113.5"];
const OTHERS: [&str; 3] = ["10.77.1.3:80", "172.16.0.9:80", "8.8.8.8:80"];

#[track_caller]
fn check(lab: &Lab, name: &str, has_parts: bool) {
    for part in PARTS {
        assert_eq!(lab.reaches(&format!("{part}:80")), has_parts, "{name}: {part}");
    }
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn no_policy_lets_a_machine_reach_a_part_of_its_cluster() {
    let lab = Lab::new(EgressRules::allow_all());
    check(&lab, "no cluster", true);
    let told: Vec<IpAddr> = PARTS.iter().map(|part| part.parse().unwrap()).collect();
    refuse_cluster(told);
    check(&lab, "allow_all", false);
    for other in OTHERS {
        assert!(lab.reaches(other), "{other}");
    }
    let ranges: Vec<String> = PARTS.iter().map(|part| format!("{part}/32")).collect();
    let ranges: Vec<&str> = ranges.iter().map(String::as_str).collect();
    lab.relay().set_rules(custom(&ranges, &[], Verdict::Deny));
    check(&lab, "allowed by name", false);
    // One that is none any more.
    refuse_cluster(Vec::new());
    check(&lab, "no cluster again", true);
}
