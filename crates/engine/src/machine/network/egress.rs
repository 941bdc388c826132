//! From the policy of a request to rules that isolation enforces.

use ipnet::{IpNet, Ipv4Net};
use nullspace_wire::limits;
use nullspace_wire::network::{self, EgressMode, EgressRateLimit, NetworkCreateConfig, NetworkEgressPolicy};

use crate::isolation::{DomainRule, EgressRules, NameRules, RateLimit, Verdict};
use crate::machine::ground::status::Rules;
use crate::machine::ground::{Error, Kind, Result};
use crate::machine::Engine;

/// A checked policy.
#[derive(Debug, Clone)]
pub struct Policy {
    /// As answers show it.
    pub shown: NetworkEgressPolicy,
    /// As enforced.
    pub rules: EgressRules,
}

/// `deny_all`, in the wire's words.
pub fn denied() -> NetworkEgressPolicy {
    plain(EgressMode::DenyAll)
}

fn plain(mode: EgressMode) -> NetworkEgressPolicy {
    NetworkEgressPolicy {
        mode,
        allow_cidrs: None,
        deny_cidrs: None,
        allow_domains: None,
        deny_domains: None,
        rate_limit: None,
    }
}

/// The policy of a create. `internet_access: false` wins over everything.
pub fn of_create(network: Option<&NetworkCreateConfig>, internet_access: bool) -> Result<Policy> {
    let given = match network {
        None => check(plain(EgressMode::AllowAll), "network.egress")?,
        Some(network) => of_network(network)?,
    };
    if internet_access {
        Ok(given)
    } else {
        check(denied(), "network.egress")
    }
}

fn of_network(network: &NetworkCreateConfig) -> Result<Policy> {
    let list = |l: &Option<Vec<String>>| l.clone().unwrap_or_default();
    let (deny, allow) = (list(&network.deny_out), list(&network.allow_out));
    let is_legacy = !deny.is_empty() || !allow.is_empty();
    match &network.egress {
        Some(_) if is_legacy => Err(Error::invalid(
            "network.egress",
            "and the older `deny_out` / `allow_out` contradict each other: give `egress` alone, such as \
             {\"mode\": \"custom\", \"deny_cidrs\": [\"10.0.0.0/8\"]}",
        )),
        Some(egress) => check(egress.clone(), "network.egress"),
        None if is_legacy => {
            // `allow_out` makes holes into `deny_out`; alone it is read as the list of all that is allowed.
            let otherwise = if deny.is_empty() {
                Verdict::Deny
            } else {
                Verdict::Allow
            };
            let rules = EgressRules {
                allow: ranges(&allow, "network.allow_out")?,
                deny: ranges(&deny, "network.deny_out")?,
                otherwise,
                ..EgressRules::allow_all()
            };
            let some = |l: Vec<String>| Some(l).filter(|l| !l.is_empty());
            let shown = NetworkEgressPolicy {
                allow_cidrs: some(allow),
                deny_cidrs: some(deny),
                ..plain(EgressMode::Custom)
            };
            Ok(Policy { shown, rules })
        }
        None => check(plain(EgressMode::AllowAll), "network.egress"),
    }
}

/// Checks a policy; `field` is its place in the request.
pub fn check(policy: NetworkEgressPolicy, field: &str) -> Result<Policy> {
    let list = |l: &Option<Vec<String>>| l.clone().unwrap_or_default();
    let allow = ranges(&list(&policy.allow_cidrs), &format!("{field}.allow_cidrs"))?;
    let deny = ranges(&list(&policy.deny_cidrs), &format!("{field}.deny_cidrs"))?;
    let names = NameRules {
        allow: domains(&list(&policy.allow_domains), &format!("{field}.allow_domains"))?,
        deny: domains(&list(&policy.deny_domains), &format!("{field}.deny_domains"))?,
    };
    if policy.mode != EgressMode::Domains && !names.is_empty() {
        return Err(Error::invalid(
            &format!("{field}.mode"),
            "takes no names: use \"domains\" with `allow_domains` and `deny_domains`",
        ));
    }
    let rate_limit = policy
        .rate_limit
        .as_ref()
        .map(|limit| rate(limit, &format!("{field}.rate_limit")))
        .transpose()?;
    let base = match policy.mode {
        EgressMode::AllowAll if !allow.is_empty() || !deny.is_empty() => {
            return Err(Error::invalid(
                &format!("{field}.mode"),
                "is allow_all, which takes no ranges: use \"custom\" with them",
            ));
        }
        EgressMode::AllowAll => EgressRules::allow_all(),
        // Fails closed whatever the lists say. Source: schema, NetworkEgressPolicy.
        EgressMode::DenyAll => EgressRules::deny_all(),
        EgressMode::Custom | EgressMode::Domains => EgressRules {
            // The presence of an allow list says "only these".
            otherwise: if allow.is_empty() && names.allow.is_empty() {
                Verdict::Allow
            } else {
                Verdict::Deny
            },
            allow,
            deny,
            names,
            ..EgressRules::allow_all()
        },
    };
    Ok(Policy {
        shown: policy,
        rules: EgressRules { rate_limit, ..base },
    })
}

/// The rules of a stored policy. It was checked when it came in.
pub fn enforce(shown: &NetworkEgressPolicy) -> EgressRules {
    // A policy that this engine cannot read any more (an older file) must not open anything.
    check(shown.clone(), "egress").map_or_else(|_| EgressRules::deny_all(), |policy| policy.rules)
}

fn ranges(texts: &[String], field: &str) -> Result<Vec<IpNet>> {
    texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let address = || text.parse::<std::net::Ipv4Addr>().ok().map(Ipv4Net::from);
            let range = text.parse::<Ipv4Net>().ok().or_else(address);
            range.map(|r| IpNet::V4(r.trunc())).ok_or_else(|| {
                Error::invalid(
                    &format!("{field}[{index}]"),
                    format_args!("is {text:?}: give an IPv4 range such as \"10.0.0.0/8\" (names and IPv6 are not taken)"),
                )
            })
        })
        .collect()
}

/// Names, letters beyond ASCII as the DNS has them.
fn domains(texts: &[String], field: &str) -> Result<Vec<DomainRule>> {
    if texts.len() > limits::EGRESS_DOMAINS {
        return Err(Error::invalid(
            field,
            format_args!(
                "has {} names: at most {} are taken",
                texts.len(),
                limits::EGRESS_DOMAINS
            ),
        ));
    }
    let wrong = |index: usize, what: &str| {
        Error::invalid(
            &format!("{field}[{index}]"),
            format_args!(
                "{what}: give a name such as \"api.example.com\", \"*.npmjs.org\" or \"db.internal:5432\""
            ),
        )
    };
    let of = |(index, text): (usize, &String)| domain_rule(text).map_err(|what| wrong(index, what));
    texts.iter().enumerate().map(of).collect()
}

/// A name of a rule, or what is wrong with it.
pub fn domain_rule(text: &str) -> std::result::Result<DomainRule, &'static str> {
    let domain = network::domain(text)?;
    let name = idna::domain_to_ascii(domain.name).map_err(|_| "is no name")?;
    // What it became is checked once more.
    match network::domain(&name) {
        Ok(network::Domain {
            below: false,
            name,
            port: None,
        }) if name.is_ascii() => Ok(DomainRule {
            below: domain.below,
            name: name.to_ascii_lowercase(),
            port: domain.port,
        }),
        _ => Err("is no name"),
    }
}

fn rate(limit: &EgressRateLimit, field: &str) -> Result<RateLimit> {
    let positive = |value: u64, name: &str| {
        if value > 0 {
            Ok(value)
        } else {
            Err(Error::invalid(
                &format!("{field}.{name}"),
                "is 0: give at least 1",
            ))
        }
    };
    let burst = limit.burst.map(|b| positive(b, "burst")).transpose()?;
    match (limit.kbit_per_sec, limit.pps) {
        (Some(rate), None) => Ok(RateLimit::Kilobits {
            per_sec: positive(rate, "kbit_per_sec")?,
            // The wire counts the burst in kilobytes. Source: schema, EgressRateLimit.
            burst: burst.map(|kilobytes| kilobytes.saturating_mul(8)),
        }),
        (None, Some(rate)) => Ok(RateLimit::Packets {
            per_sec: positive(rate, "pps")?,
            burst,
        }),
        _ => Err(Error::invalid(
            field,
            "needs exactly one of `kbit_per_sec` and `pps`, such as {\"kbit_per_sec\": 1000}",
        )),
    }
}

impl Engine {
    /// Replaces the policy of a machine, atomically.
    pub async fn update_egress(&self, id: &str, policy: NetworkEgressPolicy) -> Result<NetworkEgressPolicy> {
        let policy = check(policy, "egress")?;
        let machine = self.live_machine(id).await?;
        let _turn = machine.turn().await;
        let (status, internet_access) = machine.read(|r| (r.status, r.internet_access));
        if !status.can_change_egress() {
            return Err(machine.not_ready());
        }
        let rules = &policy.rules;
        let opens =
            rules.otherwise == Verdict::Allow || !rules.allow.is_empty() || !rules.names.allow.is_empty();
        if opens && !internet_access {
            return Err(Error::new(
                Kind::Conflict,
                "the machine was made with internet_access=false, which no later policy reopens",
            )
            .with_action("make a machine with internet_access=true and a custom policy"));
        }
        let running = machine.running()?;
        let set = running.set_egress(policy.rules).await;
        set.map_err(|e| Error::isolation("replacing the network policy", e))?;
        let shown = policy.shown.clone();
        machine
            .update(&self.store, |record| record.egress = shown)
            .await?;
        tracing::info!(machine = %machine.id, "network policy replaced");
        Ok(policy.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn create(network: serde_json::Value, internet_access: bool) -> Result<Policy> {
        of_create(Some(&serde_json::from_value(network).unwrap()), internet_access)
    }

    fn verdict(policy: &Policy, address: &str) -> bool {
        policy.rules.verdict(address.parse().unwrap()) == Verdict::Allow
    }

    #[test]
    fn an_allow_list_alone_allows_only_its_ranges() {
        let policy = create(
            json!({ "egress": { "mode": "custom", "allow_cidrs": ["1.1.1.1", "10.0.0.5/8"] } }),
            true,
        )
        .unwrap();
        assert!(verdict(&policy, "1.1.1.1") && verdict(&policy, "10.9.9.9"));
        assert!(!verdict(&policy, "1.1.1.2"));
        assert!(policy.rules.dns);
    }

    #[test]
    fn a_deny_list_alone_leaves_the_rest_open() {
        let policy = create(
            json!({ "egress": { "mode": "custom", "deny_cidrs": ["10.0.0.0/8"] } }),
            true,
        )
        .unwrap();
        assert!(!verdict(&policy, "10.0.0.1") && verdict(&policy, "9.9.9.9"));
    }

    #[test]
    fn names_are_kept_as_the_dns_has_them() {
        let policy = create(
            json!({ "egress": {
                "mode": "domains",
                "allow_domains": ["API.Example.com.", "*.B\u{fc}cher.example", "db.internal:5432"],
                "deny_domains": ["x.example.com"],
            } }),
            true,
        )
        .unwrap();
        let rule = |below, name: &str, port| DomainRule {
            below,
            name: name.to_owned(),
            port,
        };
        let allow = vec![
            rule(false, "api.example.com", None),
            rule(true, "xn--bcher-kva.example", None),
            rule(false, "db.internal", Some(5432)),
        ];
        let deny = vec![rule(false, "x.example.com", None)];
        assert_eq!(policy.rules.names, NameRules { allow, deny });
        assert!(policy.rules.dns && !verdict(&policy, "1.1.1.1"));
        // Told as given.
        assert_eq!(policy.shown.allow_domains.unwrap()[0], "API.Example.com.");
        let rest = create(
            json!({ "egress": { "mode": "domains", "deny_domains": ["a.test"] } }),
            true,
        )
        .unwrap();
        assert!(verdict(&rest, "1.1.1.1"));
    }

    #[test]
    fn the_older_lists_make_holes_into_each_other() {
        let policy = create(
            json!({ "deny_out": ["0.0.0.0/0"], "allow_out": ["1.1.1.1/32"] }),
            true,
        )
        .unwrap();
        assert!(verdict(&policy, "1.1.1.1") && !verdict(&policy, "8.8.8.8"));
        let policy = create(
            json!({ "deny_out": ["10.0.0.0/8"], "allow_out": ["10.1.0.0/16"] }),
            true,
        )
        .unwrap();
        assert!(verdict(&policy, "10.1.0.1") && !verdict(&policy, "10.2.0.1") && verdict(&policy, "8.8.8.8"));
    }

    #[test]
    fn no_internet_access_is_not_reopened_by_any_rule() {
        for network in [
            json!({ "egress": { "mode": "allow_all" } }),
            json!({ "egress": { "mode": "custom", "allow_cidrs": ["0.0.0.0/0"] } }),
            json!({ "allow_out": ["0.0.0.0/0"] }),
        ] {
            let policy = create(network, false).unwrap();
            assert!(!verdict(&policy, "1.1.1.1") && !policy.rules.dns);
        }
    }

    #[test]
    fn a_wrong_policy_is_refused_with_its_field_and_a_good_value() {
        let cases = [
            (
                json!({ "egress": { "mode": "custom", "allow_cidrs": ["10.0.0.0/33"] } }),
                "egress.allow_cidrs[0]",
            ),
            (
                json!({ "egress": { "mode": "custom", "deny_cidrs": ["ok.example"] } }),
                "egress.deny_cidrs[0]",
            ),
            (
                json!({ "egress": { "mode": "custom", "allow_cidrs": ["fd00::/8"] } }),
                "egress.allow_cidrs[0]",
            ),
            (
                json!({ "egress": { "mode": "allow_all", "deny_cidrs": ["10.0.0.0/8"] } }),
                "egress.mode",
            ),
            (
                json!({ "egress": { "mode": "allow_all", "rate_limit": {} } }),
                "egress.rate_limit",
            ),
            (
                json!({ "egress": { "mode": "allow_all", "rate_limit": { "pps": 0 } } }),
                "egress.rate_limit.pps",
            ),
            (
                json!({ "egress": { "mode": "allow_all", "rate_limit": { "pps": 1, "kbit_per_sec": 1 } } }),
                "egress.rate_limit",
            ),
            (
                json!({ "egress": { "mode": "deny_all" }, "deny_out": ["10.0.0.0/8"] }),
                "network.egress",
            ),
            (json!({ "deny_out": ["everything"] }), "network.deny_out[0]"),
            (
                json!({ "egress": { "mode": "custom", "allow_domains": ["a.test"] } }),
                "egress.mode",
            ),
            (
                json!({ "egress": { "mode": "deny_all", "deny_domains": ["a.test"] } }),
                "egress.mode",
            ),
            (
                json!({ "egress": { "mode": "domains", "allow_domains": ["a.test", "https://a.test"] } }),
                "egress.allow_domains[1]",
            ),
            (
                json!({ "egress": { "mode": "domains", "deny_domains": ["10.0.0.1"] } }),
                "egress.deny_domains[0]",
            ),
            (
                json!({ "egress": { "mode": "domains", "deny_domains": ["xn--a.test"] } }),
                "egress.deny_domains[0]",
            ),
            (
                json!({ "egress": { "mode": "domains", "deny_domains": vec!["a.test"; 1001] } }),
                "egress.deny_domains",
            ),
        ];
        for (network, field) in cases {
            let error = create(network, true).unwrap_err();
            assert!(error.message.contains(field), "{field}: {}", error.message);
        }
    }

    #[test]
    fn the_burst_of_a_bit_rate_counts_kilobytes() {
        let limit =
            json!({ "egress": { "mode": "allow_all", "rate_limit": { "kbit_per_sec": 1000, "burst": 64 } } });
        let expected = RateLimit::Kilobits {
            per_sec: 1000,
            burst: Some(512),
        };
        assert_eq!(create(limit, true).unwrap().rules.rate_limit, Some(expected));
    }
}
