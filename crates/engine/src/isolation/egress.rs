//! Which addresses a machine may reach: the rules as data, without sockets.

use std::net::IpAddr;

use ipnet::IpNet;

/// A policy, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressRules {
    /// Ranges that are allowed.
    pub allow: Vec<IpNet>,
    /// Ranges that are denied.
    pub deny: Vec<IpNet>,
    /// What happens to addresses in no range.
    pub otherwise: Verdict,
    /// Whether names are resolved.
    pub dns: bool,
    /// Limit of each direction.
    pub rate_limit: Option<RateLimit>,
}

/// Allowed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// May be reached.
    Allow,
    /// May not.
    Deny,
}

/// Limit of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimit {
    /// Kilobits (1000 bits) per second.
    Kilobits {
        /// Rate.
        per_sec: u64,
        /// Kilobits that may pass at once.
        burst: Option<u64>,
    },
    /// Packets per second; the relay counts 1500 bytes as one packet.
    Packets {
        /// Rate.
        per_sec: u64,
        /// Packets that may pass at once.
        burst: Option<u64>,
    },
}

impl EgressRules {
    /// Everything but what no policy allows.
    pub fn allow_all() -> Self {
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            otherwise: Verdict::Allow,
            dns: true,
            rate_limit: None,
        }
    }

    /// Nothing, names included.
    pub fn deny_all() -> Self {
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            otherwise: Verdict::Deny,
            dns: false,
            rate_limit: None,
        }
    }

    /// Whether `address` may be reached: the longest matching prefix decides and a tie denies. What no policy
    /// allows (the host's own addresses, link-local ranges) is not decided here but by the relay, which knows them.
    pub fn verdict(&self, address: IpAddr) -> Verdict {
        let longest = |ranges: &[IpNet]| {
            ranges
                .iter()
                .filter(|r| r.contains(&address))
                .map(IpNet::prefix_len)
                .max()
        };
        match (longest(&self.allow), longest(&self.deny)) {
            (Some(allow), Some(deny)) if allow > deny => Verdict::Allow,
            (_, Some(_)) => Verdict::Deny,
            (Some(_), None) => Verdict::Allow,
            (None, None) => self.otherwise,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow: &[&str], deny: &[&str], otherwise: Verdict) -> EgressRules {
        let parse = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect();
        EgressRules {
            allow: parse(allow),
            deny: parse(deny),
            otherwise,
            ..EgressRules::allow_all()
        }
    }

    #[test]
    fn the_most_specific_range_decides_and_a_tie_denies() {
        let r = rules(
            &["10.0.0.0/8", "10.1.2.0/24", "9.9.9.9/32"],
            &["10.1.0.0/16", "9.9.9.9/32"],
            Verdict::Deny,
        );
        assert_eq!(r.verdict("10.2.0.1".parse().unwrap()), Verdict::Allow);
        assert_eq!(r.verdict("10.1.9.1".parse().unwrap()), Verdict::Deny);
        assert_eq!(r.verdict("10.1.2.1".parse().unwrap()), Verdict::Allow);
        assert_eq!(r.verdict("9.9.9.9".parse().unwrap()), Verdict::Deny);
        assert_eq!(r.verdict("8.8.8.8".parse().unwrap()), Verdict::Deny);
    }
}
