//! Egress policies as options. Source: PROTOCOL.md section 3.

use std::net::IpAddr;

use nullspace_wire::network::{EgressMode, EgressRateLimit, NetworkCreateConfig, NetworkEgressPolicy};

use super::error::Error;
use super::options::{Fields, MAX_INTEGER};

const POLICY: [&str; 4] = ["mode", "allowCidrs", "denyCidrs", "rateLimit"];
const NETWORK: [&str; 5] = [
    "maskRequestHost",
    "allowPublicTraffic",
    "egress",
    "allowOut",
    "denyOut",
];

/// Reads `network` of a create.
pub fn network(fields: &Fields<'_>) -> Result<Option<NetworkCreateConfig>, Error> {
    let Some(network) = fields.object("network", &NETWORK)? else {
        return Ok(None);
    };
    let egress = match network.object("egress", &POLICY)? {
        Some(egress) => Some(policy(&egress)?),
        None => None,
    };
    let old = (cidrs(&network, "allowOut")?, cidrs(&network, "denyOut")?);
    if egress.is_some() && (old.0.is_some() || old.1.is_some()) {
        return Err(Error::invalid_request(
            "options `network.egress` and `network.allowOut`/`network.denyOut` say the same thing twice: use `network.egress`",
        ));
    }
    Ok(Some(NetworkCreateConfig {
        allow_public_traffic: network.flag("allowPublicTraffic")?,
        mask_request_host: network.filled("maskRequestHost")?.map(str::to_owned),
        egress,
        deny_out: old.1,
        allow_out: old.0,
    }))
}

/// Reads a policy.
pub fn policy(fields: &Fields<'_>) -> Result<NetworkEgressPolicy, Error> {
    let mode = match fields.choice("mode", &["allow_all", "deny_all", "custom"])? {
        Some("allow_all") => EgressMode::AllowAll,
        Some("deny_all") => EgressMode::DenyAll,
        Some(_) => EgressMode::Custom,
        None => {
            return Err(fields.wrong(
                "mode",
                "is missing; it is one of 'allow_all', 'deny_all', 'custom'",
            ))
        }
    };
    if mode != EgressMode::Custom {
        for name in &POLICY[1..] {
            if fields.has(name) {
                return Err(fields.wrong(name, "belongs to `mode: 'custom'`"));
            }
        }
    }
    Ok(NetworkEgressPolicy {
        mode,
        allow_cidrs: cidrs(fields, "allowCidrs")?,
        deny_cidrs: cidrs(fields, "denyCidrs")?,
        rate_limit: rate_limit(fields)?,
    })
}

fn rate_limit(fields: &Fields<'_>) -> Result<Option<EgressRateLimit>, Error> {
    let Some(limit) = fields.object("rateLimit", &["kbitPerSec", "pps", "burst"])? else {
        return Ok(None);
    };
    let (kbit_per_sec, pps) = (
        limit.integer("kbitPerSec", 1, MAX_INTEGER)?,
        limit.integer("pps", 1, MAX_INTEGER)?,
    );
    if kbit_per_sec.is_some() == pps.is_some() {
        return Err(fields.wrong(
            "rateLimit",
            "takes either `kbitPerSec` or `pps`, such as { kbitPerSec: 10000 }",
        ));
    }
    Ok(Some(EgressRateLimit {
        kbit_per_sec,
        pps,
        burst: limit.integer("burst", 1, MAX_INTEGER)?,
    }))
}

fn cidrs(fields: &Fields<'_>, name: &str) -> Result<Option<Vec<String>>, Error> {
    let Some(list) = fields.texts(name)? else {
        return Ok(None);
    };
    for (index, text) in list.iter().enumerate() {
        if !is_cidr(text) {
            return Err(Error::option(
                &format!("{}[{index}]", fields.path(name)),
                &format!("must be a range such as '10.0.0.0/8' or '2001:db8::/32', not '{text}'"),
            ));
        }
    }
    // Empty lists are left out, as the Python SDK does it.
    Ok(Some(list).filter(|list| !list.is_empty()))
}

fn is_cidr(text: &str) -> bool {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return false;
    };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    prefix.is_none_or(|prefix| {
        prefix.len() <= 3
            && prefix.bytes().all(|digit| digit.is_ascii_digit())
            && prefix.parse::<u8>().is_ok_and(|bits| bits <= longest)
    })
}

#[cfg(test)]
mod tests {
    use super::is_cidr;

    #[test]
    fn ranges_are_told_from_typos() {
        for good in ["10.0.0.0/8", "10.0.0.1", "::/0", "2001:db8::1/128", "0.0.0.0/0"] {
            assert!(is_cidr(good), "{good}");
        }
        for bad in [
            "10.0.0/8",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::/129",
            "example.com",
            "",
            " 10.0.0.0/8",
            "10.0.0.256",
        ] {
            assert!(!is_cidr(bad), "{bad}");
        }
    }
}
