//! Which names led to which addresses: what the machine was answered, for as long as it may use it.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Pairs of a name and an address of one machine; beyond it those that end first are forgotten.
const MOST: usize = 4096;
/// However long an answer says that it holds.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The answers that hold.
#[derive(Debug)]
pub(super) struct Answered {
    /// However short an answer says that it holds: programs keep it for a while.
    least: Duration,
    ends: HashMap<(Ipv4Addr, String), Instant>,
}

impl Answered {
    pub(super) fn new(least: Duration) -> Self {
        Self {
            least,
            ends: HashMap::new(),
        }
    }

    /// Enters what a name was answered with.
    pub(super) fn enter(&mut self, name: &str, addresses: &[Address], now: Instant) {
        for &Address { address, holds } in addresses {
            let end = now + holds.clamp(self.least, LONGEST);
            let known = self.ends.entry((address, name.to_owned())).or_insert(end);
            *known = end.max(*known);
        }
        if self.ends.len() > MOST {
            self.ends.retain(|_, end| *end > now);
        }
        while self.ends.len() > MOST {
            // Rare: a machine that asks for thousands of names within their time.
            let first = self
                .ends
                .iter()
                .min_by_key(|(_, end)| **end)
                .map(|(pair, _)| pair.clone());
            first.and_then(|pair| self.ends.remove(&pair));
        }
    }

    /// The names that lead to an address.
    pub(super) fn names(&self, wanted: Ipv4Addr, now: Instant) -> Vec<String> {
        let lead = self
            .ends
            .iter()
            .filter(|((address, _), end)| *address == wanted && **end > now);
        lead.map(|((_, name), _)| name.clone()).collect()
    }
}

/// An address of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) address: Ipv4Addr,
    /// How long the answer holds.
    pub(super) holds: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: [u8; 4], seconds: u64) -> Address {
        Address {
            address: address.into(),
            holds: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn an_answer_holds_for_its_time_and_at_least_a_while() {
        let (now, mut answered) = (Instant::now(), Answered::new(Duration::from_secs(60)));
        let after = |seconds| now + Duration::from_secs(seconds);
        answered.enter("a.test", &[of([10, 0, 0, 1], 5), of([10, 0, 0, 2], 300)], now);
        assert_eq!(answered.names([10, 0, 0, 1].into(), after(59)), ["a.test"]);
        assert!(answered.names([10, 0, 0, 1].into(), after(60)).is_empty());
        assert_eq!(answered.names([10, 0, 0, 2].into(), after(299)), ["a.test"]);
        assert!(answered.names([10, 0, 0, 2].into(), after(300)).is_empty());
        assert!(answered.names([10, 0, 0, 3].into(), now).is_empty());
        // Another answer does not end the first one early, and a repeated one makes it last.
        answered.enter("a.test", &[of([10, 0, 0, 3], 5)], after(10));
        answered.enter("b.test", &[of([10, 0, 0, 1], 5)], after(10));
        answered.enter("a.test", &[of([10, 0, 0, 1], 5)], after(10));
        let mut names = answered.names([10, 0, 0, 1].into(), after(69));
        names.sort();
        assert_eq!(names, ["a.test", "b.test"]);
    }

    #[test]
    fn a_machine_that_asks_for_thousands_of_names_is_remembered_by_the_newest() {
        let (now, mut answered) = (Instant::now(), Answered::new(Duration::from_secs(1)));
        for n in 0..5000u32 {
            let address = of((0x0a00_0000 + n).to_be_bytes(), 100 + u64::from(n));
            answered.enter("a.test", &[address], now);
        }
        assert_eq!(answered.ends.len(), MOST);
        assert!(answered.names(Ipv4Addr::from(0x0a00_0000), now).is_empty());
        assert_eq!(
            answered.names(Ipv4Addr::from(0x0a00_0000 + 4999), now),
            ["a.test"]
        );
    }
}
