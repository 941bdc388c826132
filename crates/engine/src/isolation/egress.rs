//! Which addresses a machine may reach: the rules as data, without sockets.

use std::net::{IpAddr, SocketAddrV4};

use ipnet::IpNet;

/// A policy, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressRules {
    /// Ranges that are allowed.
    pub allow: Vec<IpNet>,
    /// Ranges that are denied.
    pub deny: Vec<IpNet>,
    /// Rules of names.
    pub names: NameRules,
    /// What happens to addresses in no range.
    pub otherwise: Verdict,
    /// Whether names are resolved.
    pub dns: bool,
    /// Limit of each direction.
    pub rate_limit: Option<RateLimit>,
}

/// Which names may be resolved and reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameRules {
    /// Names that are allowed; with none of them every name is, but for the denied.
    pub allow: Vec<DomainRule>,
    /// Names that are denied, whatever else allows them.
    pub deny: Vec<DomainRule>,
}

/// A name, or all below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRule {
    /// Every name below, at any depth, and not the name itself.
    pub below: bool,
    /// Small ASCII letters, no dot at the end.
    pub name: String,
    /// The only port. Without one a rule that allows is about protocols that say the name, on every port.
    pub port: Option<u16>,
}

impl DomainRule {
    fn names(&self, name: &str) -> bool {
        let before = name.strip_suffix(self.name.as_str());
        before.is_some_and(|before| match self.below {
            true => before.len() > 1 && before.ends_with('.'),
            false => before.is_empty(),
        })
    }

    fn is_at(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }
}

impl NameRules {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Whether a name is denied on every port.
    pub fn denies(&self, name: &str) -> bool {
        self.deny
            .iter()
            .any(|rule| rule.port.is_none() && rule.names(name))
    }

    /// Whether a name may be resolved: some port of it may be reached.
    pub fn resolves(&self, name: &str) -> bool {
        let allowed = self.allow.is_empty() || self.allow.iter().any(|rule| rule.names(name));
        allowed && !self.denies(name)
    }

    fn denies_at(&self, name: &str, port: u16) -> bool {
        self.deny.iter().any(|rule| rule.is_at(port) && rule.names(name))
    }

    fn allows_at(&self, name: &str, port: u16) -> bool {
        self.allow.iter().any(|rule| rule.is_at(port) && rule.names(name))
    }

    fn allows_without_a_word(&self, name: &str, port: u16) -> bool {
        self.allow
            .iter()
            .any(|rule| rule.port == Some(port) && rule.names(name))
    }
}

/// What a connection has said about whom it is for: TLS and HTTP say a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Nobody listened: there were no rules of names when it was made.
    Unheard,
    /// Nothing yet.
    Nothing,
    /// It has begun and says no name, or is of a protocol that has none.
    NoName,
    /// This name, as in [`DomainRule::name`].
    Name(String),
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
            names: NameRules::default(),
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
            names: NameRules::default(),
            otherwise: Verdict::Deny,
            dns: false,
            rate_limit: None,
        }
    }

    /// Whether `address` may be reached: the longest matching prefix decides and a tie denies. What no policy
    /// allows (the host's own addresses, link-local ranges) is not decided here but by the relay, which knows them.
    pub fn verdict(&self, address: IpAddr) -> Verdict {
        self.by_range(address).unwrap_or(self.otherwise)
    }

    fn by_range(&self, address: IpAddr) -> Option<Verdict> {
        let longest = |ranges: &[IpNet]| {
            ranges
                .iter()
                .filter(|r| r.contains(&address))
                .map(IpNet::prefix_len)
                .max()
        };
        match (longest(&self.allow), longest(&self.deny)) {
            (Some(allow), Some(deny)) if allow > deny => Some(Verdict::Allow),
            (_, Some(_)) => Some(Verdict::Deny),
            (Some(_), None) => Some(Verdict::Allow),
            (None, None) => None,
        }
    }

    /// Whether it matters what connections to `address` say.
    pub fn must_hear(&self, address: IpAddr) -> bool {
        !self.names.deny.is_empty()
            || (!self.names.allow.is_empty() && self.verdict(address) == Verdict::Deny)
    }

    /// Whether a connection that said so much may be. `answered`: the names that were resolved to its address.
    ///
    /// A range that denies and a name that denies win. What no range decides is allowed by a name: the one that the
    /// connection says, which must be one of those that led to this address; or, when it says none, one whose rule has
    /// this port. Before it has said anything: whether it could say what allows it.
    pub fn allows(&self, to: SocketAddrV4, said: &Said, answered: &[String]) -> bool {
        let (address, port) = (IpAddr::from(*to.ip()), to.port());
        let range = self.by_range(address);
        if range == Some(Verdict::Deny) {
            return false;
        }
        let bare = range.unwrap_or(self.otherwise) == Verdict::Allow;
        let names = &self.names;
        let denied = |name: &String| names.denies_at(name, port);
        match said {
            Said::Unheard => bare && names.deny.is_empty(),
            Said::Nothing => {
                bare || answered
                    .iter()
                    .any(|name| !denied(name) && names.allows_at(name, port))
            }
            Said::NoName => {
                let by_name = || {
                    answered
                        .iter()
                        .any(|name| names.allows_without_a_word(name, port))
                };
                !answered.iter().any(denied) && (bare || by_name())
            }
            Said::Name(name) => {
                let by_name = || answered.contains(name) && names.allows_at(name, port);
                !denied(name) && (bare || by_name())
            }
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

    fn domain(text: &str) -> DomainRule {
        let parts = nullspace_wire::network::domain(text).unwrap();
        DomainRule {
            below: parts.below,
            name: parts.name.to_owned(),
            port: parts.port,
        }
    }

    fn named(allow: &[&str], deny: &[&str]) -> EgressRules {
        let parse = |texts: &[&str]| texts.iter().map(|text| domain(text)).collect();
        EgressRules {
            names: NameRules {
                allow: parse(allow),
                deny: parse(deny),
            },
            otherwise: if allow.is_empty() {
                Verdict::Allow
            } else {
                Verdict::Deny
            },
            ..EgressRules::allow_all()
        }
    }

    #[test]
    fn a_star_is_for_all_names_below_and_not_for_the_name_itself() {
        let rule = domain("*.npmjs.org");
        for name in ["a.npmjs.org", "a.b.npmjs.org"] {
            assert!(rule.names(name), "{name}");
        }
        for name in [
            "npmjs.org",
            ".npmjs.org",
            "evilnpmjs.org",
            "a.npmjs.org.evil",
            "org",
        ] {
            assert!(!rule.names(name), "{name}");
        }
        assert!(domain("npmjs.org").names("npmjs.org"));
        assert!(!domain("npmjs.org").names("a.npmjs.org"));
    }

    #[test]
    fn names_that_no_port_is_allowed_of_are_not_resolved() {
        let rules = named(
            &["*.example.com", "db.internal:5432"],
            &["x.example.com", "y.example.com:22"],
        )
        .names;
        for name in ["a.example.com", "y.example.com", "db.internal"] {
            assert!(rules.resolves(name), "{name}");
        }
        for name in ["x.example.com", "example.com", "other.test"] {
            assert!(!rules.resolves(name), "{name}");
        }
        let rules = named(&[], &["x.example.com"]).names;
        assert!(rules.resolves("other.test") && !rules.resolves("x.example.com"));
    }

    #[test]
    fn what_a_connection_says_and_where_its_address_comes_from_decide() {
        let to = |text: &str| text.parse::<SocketAddrV4>().unwrap();
        let name = |text: &str| Said::Name(text.to_owned());
        let answered = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let both = answered(&["a.test", "other.test"]);

        let r = named(&["a.test", "db.test:5432"], &[]);
        assert!(r.allows(to("10.0.0.1:443"), &Said::Nothing, &both));
        assert!(r.allows(to("10.0.0.1:443"), &name("a.test"), &both));
        assert!(
            !r.allows(to("10.0.0.1:443"), &name("other.test"), &both),
            "not allowed"
        );
        assert!(
            !r.allows(to("10.0.0.1:443"), &name("a.test"), &answered(&["other.test"])),
            "a lie"
        );
        assert!(
            !r.allows(to("10.0.0.1:443"), &Said::Nothing, &[]),
            "a bare address"
        );
        assert!(
            !r.allows(to("10.0.0.1:22"), &Said::NoName, &both),
            "no word and no port"
        );
        assert!(r.allows(to("10.0.0.1:5432"), &Said::NoName, &answered(&["db.test"])));
        assert!(!r.allows(to("10.0.0.1:5433"), &Said::Nothing, &answered(&["db.test"])));
        assert!(!r.allows(to("10.0.0.1:443"), &Said::Unheard, &both));

        let r = EgressRules {
            allow: vec!["10.0.0.0/8".parse().unwrap()],
            ..named(&["a.test"], &["bad.test", "b.test:22"])
        };
        assert!(
            r.allows(to("10.0.0.1:22"), &Said::NoName, &[]),
            "a bare address of a range"
        );
        assert!(
            !r.allows(to("10.0.0.1:443"), &name("bad.test"), &[]),
            "a denied name in a range"
        );
        assert!(!r.allows(to("10.0.0.1:22"), &Said::NoName, &answered(&["b.test"])));
        assert!(r.allows(to("10.0.0.1:23"), &Said::NoName, &answered(&["b.test"])));

        let r = EgressRules {
            deny: vec!["10.0.0.0/8".parse().unwrap()],
            ..named(&["a.test"], &[])
        };
        assert!(
            !r.allows(to("10.0.0.1:443"), &name("a.test"), &both),
            "a denied range wins"
        );
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
