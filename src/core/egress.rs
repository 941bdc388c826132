//! Egress policies as options. Source: PROTOCOL.md section 3.

use std::net::Ipv4Addr;

use nullspace_wire::limits;
use nullspace_wire::network::{domain, is_secret_name};

use super::config::Environment;
use super::error::Error;
use super::options::{snake_case, Fields, Value, MAX_INTEGER};
use super::shown::options;
use super::value::{json, put, Object};

const POLICY: [&str; 6] = [
    "mode",
    "allowCidrs",
    "denyCidrs",
    "allowDomains",
    "denyDomains",
    "rateLimit",
];

/// The mode of a policy with names, on the wire.
const DOMAINS: &str = "domains";

options! {
    /// `network` of {@link CreateOptions}.
    const NETWORK = NetworkOptions {
        /// Secrets that programs in the machine use and never see, up to 32, by name. The machine gets `NAME_BASE_URL`, plain HTTP on its own
        /// loopback; what it asks there leaves as HTTPS to the secret's hosts, with the header that carries the secret. Redirects to other
        /// hosts go without it. The network policy and its limits hold for it. Forks keep them, snapshots do not. Not with a warm pool.
        ///
        /// @default none
        /// @throws {@link NullspaceError} with code `feature_unavailable` when the server does not know them; what it made is destroyed
        /// @example { OPENAI_API_KEY: { env: 'OPENAI_API_KEY', hosts: ['api.openai.com'], path: '/v1' } }
        secrets: "{ readonly [name: string]: SecretOptions }";
        /// `Host` header that preview requests carry inside; `${PORT}` becomes the port.
        ///
        /// @default the host name of the preview
        maskRequestHost: "string";
        /// Whether preview ports open without a token. If not, {@link Machine.trafficAccessToken} opens them.
        ///
        /// @default true
        allowPublicTraffic: "boolean";
        /// What the machine may reach.
        ///
        /// @default `{ mode: 'allow_all' }`
        egress: "EgressPolicy";
        /// Older spelling of `egress.allowCidrs`; not with `egress`.
        ///
        /// @deprecated use `egress`
        allowOut: "readonly string[]";
        /// Older spelling of `egress.denyCidrs`; not with `egress`.
        ///
        /// @deprecated use `egress`
        denyOut: "readonly string[]";
    }
}

const SECRET: [&str; 7] = ["value", "env", "hosts", "header", "format", "path", "baseUrlEnv"];

/// Reads `network` of a create.
pub fn network(fields: &Fields<'_>, environment: &dyn Environment) -> Result<Option<Value>, Error> {
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
    let mut config = json!({});
    config.put_given("allow_public_traffic", network.flag("allowPublicTraffic")?);
    config.put_given("mask_request_host", mask(&network)?);
    config.put_given("egress", egress);
    config.put_given("deny_out", old.1);
    config.put_given("allow_out", old.0);
    config.put_given("secrets", secrets(&network, environment)?);
    Ok(Some(config))
}

/// Reads the policy of `updateEgress`. It replaces the whole one.
pub fn update(value: &Value) -> Result<Value, Error> {
    let fields = Fields::new("policy", Some(value), &[&POLICY])?;
    Ok(json!({ "egress": policy(&fields)? }))
}

/// Secrets that the machine uses and never sees. No error shows a value.
fn secrets(network: &Fields<'_>, environment: &dyn Environment) -> Result<Option<Value>, Error> {
    let Some(given) = network.get("secrets") else {
        return Ok(None);
    };
    let Value::Object(list) = given else {
        return Err(network.wrong(
            "secrets",
            "must be an object such as { OPENAI_API_KEY: { env, hosts } }",
        ));
    };
    let mut secrets = Object::new();
    for (name, value) in list {
        let path = network.path("secrets");
        if !is_secret_name(name) {
            return Err(network.wrong("secrets", "must have names of variables, such as OPENAI_API_KEY"));
        }
        let fields = Fields::new(&[&path, ".", name].concat(), Some(value), &[&SECRET])?;
        put(&mut secrets, name, secret(&fields, environment)?);
    }
    Ok((!secrets.is_empty()).then_some(Value::Object(secrets)))
}

fn secret(fields: &Fields<'_>, environment: &dyn Environment) -> Result<Value, Error> {
    let value = match (fields.filled("value")?, fields.filled("env")?) {
        (Some(value), None) => value.to_owned(),
        (None, Some(name)) => environment
            .env(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| {
                fields.wrong(
                    "env",
                    &format!("names '{name}', which is not set: set it, or give `value`"),
                )
            })?,
        _ => {
            return Err(fields.wrong(
                "value",
                "or `env`, the name of a variable that holds it: give one of them",
            ))
        }
    };
    let hosts = match domains(fields, "hosts")? {
        Some(hosts) => hosts,
        None => return Err(fields.wrong("hosts", "must name who may learn it, such as ['api.openai.com']")),
    };
    let mut secret = json!({ "value": value, "hosts": hosts });
    for name in ["header", "format", "path", "baseUrlEnv"] {
        secret.put_given(&snake_case(name), fields.filled(name)?);
    }
    Ok(secret)
}

/// A `Host` header; `${PORT}` in it stays for the server to expand.
fn mask<'a>(network: &Fields<'a>) -> Result<Option<&'a str>, Error> {
    let host = network.filled("maskRequestHost")?;
    match host {
        Some(text)
            if !text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"/\\?#@".contains(&byte)) =>
        {
            Err(network.wrong("maskRequestHost", "must be a host such as 'localhost:${PORT}'"))
        }
        text => Ok(text),
    }
}

/// Reads a policy.
pub fn policy(fields: &Fields<'_>) -> Result<Value, Error> {
    let Some(mode) = fields.choice("mode", &["allow_all", "deny_all", "custom"])? else {
        return Err(fields.wrong(
            "mode",
            "is missing; it is one of 'allow_all', 'deny_all', 'custom'",
        ));
    };
    if mode != "custom" {
        for name in &POLICY[1..] {
            if fields.has(name) {
                return Err(fields.wrong(name, "belongs to `mode: 'custom'`"));
            }
        }
    }
    let (allow_domains, deny_domains) = (domains(fields, "allowDomains")?, domains(fields, "denyDomains")?);
    let mode = match allow_domains.is_some() || deny_domains.is_some() {
        // Servers that do not know names refuse it; `custom` they would read without them.
        true => DOMAINS,
        false => mode,
    };
    let mut policy = json!({ "mode": mode });
    policy.put_given("allow_cidrs", cidrs(fields, "allowCidrs")?);
    policy.put_given("deny_cidrs", cidrs(fields, "denyCidrs")?);
    policy.put_given("allow_domains", allow_domains);
    policy.put_given("deny_domains", deny_domains);
    policy.put_given("rate_limit", rate_limit(fields)?);
    Ok(policy)
}

fn rate_limit(fields: &Fields<'_>) -> Result<Option<Value>, Error> {
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
    let mut rate = json!({});
    rate.put_given("kbit_per_sec", kbit_per_sec);
    rate.put_given("pps", pps);
    rate.put_given("burst", limit.integer("burst", 1, MAX_INTEGER)?);
    Ok(Some(rate))
}

fn cidrs(fields: &Fields<'_>, name: &str) -> Result<Option<Vec<String>>, Error> {
    let Some(list) = fields.texts(name)? else {
        return Ok(None);
    };
    for (index, text) in list.iter().enumerate() {
        if !is_cidr(text) {
            return Err(Error::option(
                &format!("{}[{index}]", fields.path(name)),
                &format!("must be an IPv4 range such as '10.0.0.0/8', not '{text}'"),
            ));
        }
    }
    // Empty lists are left out, as the Python SDK does it.
    Ok(Some(list).filter(|list| !list.is_empty()))
}

fn domains(fields: &Fields<'_>, name: &str) -> Result<Option<Vec<String>>, Error> {
    let Some(list) = fields.texts(name)? else {
        return Ok(None);
    };
    if list.len() > limits::EGRESS_DOMAINS {
        let most = limits::EGRESS_DOMAINS;
        return Err(fields.wrong(name, &format!("takes at most {most} names, not {}", list.len())));
    }
    for (index, text) in list.iter().enumerate() {
        if let Err(what) = domain(text) {
            return Err(Error::option(
                &format!("{}[{index}]", fields.path(name)),
                &format!(
                    "must be a name such as 'api.example.com', '*.npmjs.org' or 'db.internal:5432': '{text}' {what}"
                ),
            ));
        }
    }
    Ok(Some(list).filter(|list| !list.is_empty()))
}

/// An IPv4 range or address. Source: schema, `NetworkEgressPolicy`: no names, no IPv6. Not by ipnet, which takes `/08`.
fn is_cidr(text: &str) -> bool {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    address.parse::<Ipv4Addr>().is_ok()
        && prefix.is_none_or(|prefix| {
            prefix.bytes().all(|digit| digit.is_ascii_digit())
                && (prefix == "0" || !prefix.starts_with('0'))
                && prefix.parse::<u8>().is_ok_and(|bits| bits <= 32)
        })
}

/// Refuses what `internetAccess: false` would make void: it denies everything, whatever is allowed beside it.
pub fn check_closed(network: &Value) -> Result<(), Error> {
    let egress = network.get("egress");
    let allows = |name| egress.is_some_and(|policy| policy.get(name).is_some());
    let opens = if mode(network) == Some("allow_all") {
        "`network.egress` of mode 'allow_all'"
    } else if allows("allow_cidrs") {
        "`network.egress.allowCidrs`"
    } else if allows("allow_domains") {
        "`network.egress.allowDomains`"
    } else if network.get("allow_out").is_some() {
        "`network.allowOut`"
    } else if network.get("secrets").is_some() {
        "`network.secrets`"
    } else {
        return Ok(());
    };
    Err(Error::option(
        "internetAccess",
        &format!("is false, which denies everything, and contradicts {opens}: give one of them"),
    ))
}

/// The mode of the policy in a body that has one.
fn mode(network: &Value) -> Option<&str> {
    network.get("egress")?.get("mode")?.as_str()
}

/// Whether the policy in a body has names.
pub fn has_domains(network: &Value) -> bool {
    mode(network) == Some(DOMAINS)
}

#[cfg(test)]
mod tests {
    use super::is_cidr;

    #[test]
    fn ranges_are_told_from_typos() {
        for good in ["10.0.0.0/8", "10.0.0.1", "10.1.2.3/32", "0.0.0.0/0"] {
            assert!(is_cidr(good), "{good}");
        }
        for bad in [
            "10.0.0/8",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/8/8",
            "010.0.0.0/8",
            "300.1.1.1",
            "2001:db8::/32",
            "example.com",
            "",
            " 10.0.0.0/8",
        ] {
            assert!(!is_cidr(bad), "{bad}");
        }
    }
}
