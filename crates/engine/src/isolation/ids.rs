//! Which ids this process may give to machines: all of the computer, those that a user namespace of ours maps, or one.

use std::fs;

/// Ids of one machine.
pub const IDS: u32 = 65_536;

/// Whether this process is root of the computer, and not of a user namespace alone.
pub fn is_computers_root() -> bool {
    rustix::process::geteuid().is_root() && mapped("/proc/self/uid_map") == u32::MAX
}

/// How many ids a machine of an engine that is not root of the computer has: 1, or all that it needs.
pub fn of_users_machine() -> u32 {
    let both = ["/proc/self/uid_map", "/proc/self/gid_map"].map(mapped);
    if rustix::process::geteuid().is_root() && both.iter().all(|count| *count >= IDS) {
        IDS
    } else {
        1
    }
}

fn mapped(file: &str) -> u32 {
    counted(&fs::read_to_string(file).unwrap_or_default())
}

/// Ids from 0 on without a gap, in a map such as `/proc/self/uid_map`, whose lines are in order.
fn counted(map: &str) -> u32 {
    let mut next = 0_u32;
    for line in map.lines() {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            break;
        };
        if first != next {
            break;
        }
        next = next.saturating_add(count);
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_counted_from_root_on() {
        assert_eq!(counted("         0          0 4294967295\n"), u32::MAX);
        assert_eq!(counted("0 1000 1\n1 100000 65535\n"), 65_536);
        assert_eq!(counted("0 1000 1\n"), 1);
        assert_eq!(counted("0 1000 1\n2 100000 65535\n"), 1);
        assert_eq!(counted("1000 1000 1\n"), 0);
        assert_eq!(counted(""), 0);
    }
}
