//! Egress policies and preview hosts. Source: PROTOCOL.md section 3.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What a machine may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EgressMode {
    /// Everything but the host itself and link-local ranges.
    AllowAll,
    /// Nothing, names included.
    DenyAll,
    /// What the lists say.
    Custom,
    /// What the lists say, those of names too. A mode of its own, so that a server that does not know them refuses the policy
    /// and does not read it as `custom` without them, which would open what they close. Source: PROTOCOL.md, "Local engine".
    Domains,
}

/// What a machine may reach. In mode `custom` the most specific matching range decides and a tie denies; an
/// address in no range is denied if `allow_cidrs` is non-empty and allowed otherwise. In mode `domains` names count beside them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "EgressPolicy")
)]
pub struct NetworkEgressPolicy {
    /// How to read the lists.
    pub mode: EgressMode,
    /// Ranges such as `10.0.0.0/8`; a bare address is one host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_cidrs: Option<Vec<String>>,
    /// Ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_cidrs: Option<Vec<String>>,
    /// Names such as `api.example.com`, `*.npmjs.org` or `db.internal:5432`, of mode `domains`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_domains: Option<Vec<String>>,
    /// Names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_domains: Option<Vec<String>>,
    /// Limit of each direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<EgressRateLimit>,
}

/// A name of a policy, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Domain<'a> {
    /// `*.` before it: every name below, at any depth, and not the name itself.
    pub below: bool,
    /// As given; letters beyond ASCII are left to the server.
    pub name: &'a str,
    /// The only port.
    pub port: Option<u16>,
}

/// Takes a name of a policy apart, or says what is wrong with it.
pub fn domain(text: &str) -> Result<Domain<'_>, &'static str> {
    const LONGEST_NAME: usize = 253;
    const LONGEST_LABEL: usize = 63;
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0') => {
            Some(digits.parse().map_err(|_| "has a port that is none")?)
        }
        Some(_) => return Err("has a port that is none"),
    };
    let (below, name) = match name.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, name),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_letter =
        |letter: char| !letter.is_ascii() || letter.is_ascii_alphanumeric() || "-_".contains(letter);
    let is_label = |label: &str| (1..=LONGEST_LABEL).contains(&label.len()) && label.chars().all(is_letter);
    if name.contains('*') {
        return Err("has a '*' that is not the whole first label");
    }
    if name.len() > LONGEST_NAME || !name.split('.').all(is_label) {
        return Err("is no name");
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("is an address, which belongs to the ranges");
    }
    Ok(Domain { below, name, port })
}

/// Either `kbit_per_sec` or `pps`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EgressRateLimit {
    /// Kilobits (1000 bits) per second, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kbit_per_sec: Option<u64>,
    /// Packets per second, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pps: Option<u64>,
    /// What may pass at once: kilobytes with `kbit_per_sec`, packets with `pps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
}

/// `network` of a create body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NetworkCreateConfig {
    /// Whether preview ports open without a token; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_public_traffic: Option<bool>,
    /// `Host` header that preview requests carry inside; `${PORT}` becomes the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask_request_host: Option<String>,
    /// What the machine may reach; default `allow_all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<NetworkEgressPolicy>,
    /// Older spelling of `egress.deny_cidrs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_out: Option<Vec<String>>,
    /// Older spelling of `egress.allow_cidrs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_out: Option<Vec<String>>,
    /// Secrets that the machine uses and never sees, by name. Source: PROTOCOL.md, "Local engine".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<BTreeMap<String, SecretRequest>>,
}

/// A secret of a create body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SecretRequest {
    /// The secret itself.
    pub value: Hidden,
    /// Names, with a port unless it is 443: who may learn it.
    pub hosts: Vec<String>,
    /// The header that carries it; default `authorization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The header's value, with `{}` in the place of the secret; default `Bearer {}` in `authorization`, else `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// What the base URL ends with, such as `/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The variable that tells the machine the base URL; default `OPENAI_BASE_URL` for `OPENAI_API_KEY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url_env: Option<String>,
}

/// Text that is not printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Hidden")
    }
}

/// Whether a secret may have a name: it is that of an environment variable.
pub fn is_secret_name(name: &str) -> bool {
    const LONGEST: usize = 128;
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.len() <= LONGEST
        && name.bytes().all(is_letter)
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// What is told of a secret of a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MachineSecret {
    /// As in {@link NetworkOptions.secrets}.
    pub name: String,
    /// As given.
    pub hosts: Vec<String>,
    /// In small letters.
    pub header: String,
    /// Where the machine reaches the first host through its gateway.
    pub base_url: String,
    /// The variable that says so in the machine.
    pub base_url_env: String,
}

/// `network` of a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MachineNetwork {
    /// The policy in force, or the one that will be with the next start.
    pub egress: NetworkEgressPolicy,
    /// Secrets that it uses and never sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<MachineSecret>>,
}

/// Body of `PATCH /v1/machines/{id}/egress`: replaces the whole policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UpdateEgressRequest {
    /// The new policy.
    pub egress: NetworkEgressPolicy,
}

/// Answer of an egress update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UpdateEgressResponse {
    /// `mch_...`
    pub machine_id: String,
    /// The policy in force.
    pub egress: NetworkEgressPolicy,
}

/// Body of `POST /v1/machines/{id}/host`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GetHostRequest {
    /// 1 to 65535, except 22 and 5900 to 5999.
    pub port: u16,
}

/// Where a port of a machine is reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "HostInfo")
)]
pub struct GetHostResponse {
    /// `name` or `address:port`.
    pub host: String,
    /// HTTP(S) URL; absent without a public host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// WebSocket URL, as `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub websocket_url: Option<String>,
    /// When the URL expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_expires_at: Option<Timestamp>,
    /// `query` when the URL carries a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_transport: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::{domain, Domain};

    #[test]
    fn names_of_policies_are_taken_apart() {
        let of = |below, name, port| Ok(Domain { below, name, port });
        assert_eq!(domain("api.example.com"), of(false, "api.example.com", None));
        assert_eq!(domain("API.Example.com."), of(false, "API.Example.com", None));
        assert_eq!(domain("*.npmjs.org"), of(true, "npmjs.org", None));
        assert_eq!(domain("db.internal:5432"), of(false, "db.internal", Some(5432)));
        assert_eq!(
            domain("*.b\u{fc}cher.example:443"),
            of(true, "b\u{fc}cher.example", Some(443))
        );
        assert_eq!(
            domain("_dmarc.x-1.example"),
            of(false, "_dmarc.x-1.example", None)
        );
        assert_eq!(domain("db"), of(false, "db", None));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = "a.".repeat(127) + "example";
        for text in [
            "",
            ".",
            "*",
            "*.",
            "a..b",
            ".a",
            "a b",
            "a/b",
            "https://a.b",
            "a@b",
            "a.*.b",
            "*a.b",
            "10.0.0.1",
            "1.2",
            "*.10.0.0.1",
            "10.0.0.0/8",
            "::1",
            "[::1]:80",
            "a.b:",
            "a.b:0",
            "a.b:080",
            "a.b:65536",
            "a.b:+8",
            "a.b:8:8",
            "a.b\n",
            &long,
            &longer,
        ] {
            assert!(domain(text).is_err(), "{text:?}");
        }
    }
}
