//! Secrets of a create: what the gateway of the machine is told, what everybody may know, and what the machine finds in its
//! environment. A value is in the first alone, and in no record.

use std::collections::BTreeMap;

use axum::http::{HeaderName, HeaderValue};
use nullspace_wire::limits;
use nullspace_wire::network::{self, MachineSecret, NetworkCreateConfig, SecretRequest};
use nullspace_wire::Envs;

use crate::hops;
use crate::isolation::{gateway, Secret, Secrets};
use crate::machine::ground::{Error, Result};

/// In the environment under the name of the secret, since clients of services refuse to begin without a key.
const PLACEHOLDER: &str = "kept-outside-the-machine";
/// What the name of a secret may end with before it is called a base URL.
const ENDINGS: [&str; 5] = ["_API_KEY", "_ACCESS_TOKEN", "_TOKEN", "_SECRET", "_KEY"];
/// Longest value.
const MOST_BYTES: usize = 8192;
/// Headers that say how a request is to be read.
const OF_THE_MESSAGE: [&str; 4] = ["host", "content-length", "trailer", "expect"];

/// Checked secrets.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// For the gateway.
    pub secrets: Secrets,
    /// For everybody.
    pub shown: Vec<MachineSecret>,
    /// For the machine.
    pub envs: Envs,
}

/// Checks the secrets of a create. `envs`: those of the request.
pub fn check(network: Option<&NetworkCreateConfig>, envs: Option<&Envs>) -> Result<Checked> {
    let given = network.and_then(|network| network.secrets.as_ref());
    let none = BTreeMap::new();
    let given = given.unwrap_or(&none);
    if given.len() > limits::SECRETS {
        return Err(Error::invalid(
            "network.secrets",
            format_args!(
                "has {} entries: a machine takes at most {}",
                given.len(),
                limits::SECRETS
            ),
        ));
    }
    let (mut checked, mut secrets) = (Checked::default(), Vec::new());
    for (name, request) in given {
        let field = format!("network.secrets.{name}");
        if !network::is_secret_name(name) {
            return Err(Error::invalid(
                "network.secrets",
                format_args!("has a secret named {name:?}: give a name such as \"OPENAI_API_KEY\""),
            ));
        }
        if envs.is_some_and(|envs| envs.contains_key(name)) {
            return Err(Error::invalid(
                &format!("envs.{name}"),
                format_args!("would tell the machine what `{field}` keeps from it: leave it out"),
            ));
        }
        let (secret, shown) = one(name, request, &field)?;
        checked.envs.insert(name.clone(), PLACEHOLDER.to_owned());
        checked
            .envs
            .insert(shown.base_url_env.clone(), shown.base_url.clone());
        checked.shown.push(shown);
        secrets.push(secret);
    }
    if let Some(envs) = envs {
        checked.envs.retain(|name, _| !envs.contains_key(name));
    }
    checked.secrets = Secrets::new(secrets);
    Ok(checked)
}

/// None of the errors shows the value.
fn one(name: &str, request: &SecretRequest, field: &str) -> Result<(Secret, MachineSecret)> {
    let hosts = hosts(&request.hosts, &format!("{field}.hosts"))?;
    let text = request.header.as_deref().unwrap_or("authorization");
    let is_about_message =
        |name: &HeaderName| hops::is_of_hop(name.as_str()) || OF_THE_MESSAGE.contains(&name.as_str());
    let header = text
        .parse()
        .ok()
        .filter(|name| !is_about_message(name))
        .ok_or_else(|| {
            let what = format_args!(
                "is {text:?}: give the name of a header such as \"authorization\" or \"x-api-key\""
            );
            Error::invalid(&format!("{field}.header"), what)
        })?;
    let usual = match header == HeaderName::from_static("authorization") {
        true => "Bearer {}",
        false => "{}",
    };
    let format = request.format.as_deref().unwrap_or(usual);
    if format.matches("{}").count() != 1 {
        let what = "needs one {} where the value goes, such as \"Bearer {}\"";
        return Err(Error::invalid(&format!("{field}.format"), what));
    }
    let value = &request.value.0;
    let whole = format.replace("{}", value);
    let value = HeaderValue::from_str(&whole)
        .ok()
        .filter(|_| !value.trim().is_empty() && whole.len() <= MOST_BYTES);
    let mut value = value.ok_or_else(|| {
        let what = format_args!("is empty, longer than {MOST_BYTES} bytes, or holds what a header cannot: give it in visible ASCII");
        Error::invalid(&format!("{field}.value"), what)
    })?;
    value.set_sensitive(true);
    let path = request.path.as_deref().unwrap_or_default().trim_end_matches('/');
    let is_path = |byte: u8| byte.is_ascii_graphic() && !b"?#\\".contains(&byte);
    if !(path.is_empty() || path.starts_with('/')) || !path.bytes().all(is_path) {
        let what = format_args!("is {path:?}: give a path such as \"/v1\"");
        return Err(Error::invalid(&format!("{field}.path"), what));
    }
    let base_url_env = request.base_url_env.clone().unwrap_or_else(|| base_url_env(name));
    if !network::is_secret_name(&base_url_env) || base_url_env == name {
        let what =
            format_args!("is {base_url_env:?}: give the name of a variable such as \"OPENAI_BASE_URL\"");
        return Err(Error::invalid(&format!("{field}.base_url_env"), what));
    }
    let shown = MachineSecret {
        name: name.to_owned(),
        hosts: request.hosts.clone(),
        header: header.as_str().to_owned(),
        base_url: format!("{}/{name}/{}{path}", gateway(), site(&hosts[0])),
        base_url_env,
    };
    let secret = Secret {
        name: name.to_owned(),
        hosts,
        header,
        value,
    };
    Ok((secret, shown))
}

fn site((host, port): &(String, u16)) -> String {
    match port {
        443 => host.clone(),
        _ => format!("{host}:{port}"),
    }
}

fn hosts(texts: &[String], field: &str) -> Result<Vec<(String, u16)>> {
    if texts.is_empty() || texts.len() > limits::SECRET_HOSTS {
        let what = format_args!(
            "needs 1 to {} names such as \"api.openai.com\"",
            limits::SECRET_HOSTS
        );
        return Err(Error::invalid(field, what));
    }
    let of = |(index, text): (usize, &String)| {
        let wrong = |what| {
            let what =
                format_args!("{what}: give a whole name such as \"api.openai.com\" or \"api.internal:8443\"");
            Error::invalid(&format!("{field}[{index}]"), what)
        };
        let rule = super::egress::domain_rule(text).map_err(wrong)?;
        match rule.below {
            true => Err(wrong("is a pattern")),
            false => Ok((rule.name, rule.port.unwrap_or(443))),
        }
    };
    texts.iter().enumerate().map(of).collect()
}

/// `OPENAI_API_KEY` -> `OPENAI_BASE_URL`.
fn base_url_env(name: &str) -> String {
    let stem = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending));
    format!(
        "{}_BASE_URL",
        stem.filter(|stem| !stem.is_empty()).unwrap_or(name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const VALUE: &str = "sk-distinct-5f1c";

    fn checked(secret: serde_json::Value, envs: &[(&str, &str)]) -> Result<Checked> {
        let network = serde_json::from_value(json!({ "secrets": { "OPENAI_API_KEY": secret } })).unwrap();
        let envs = envs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        check(Some(&network), Some(&envs))
    }

    #[test]
    fn the_machine_finds_where_the_gateway_is_and_nobody_but_the_gateway_the_value() {
        let found = checked(
            json!({ "value": VALUE, "hosts": ["API.openai.com"], "path": "/v1/" }),
            &[],
        )
        .unwrap();
        let secret = found.secrets.get("OPENAI_API_KEY").unwrap();
        assert_eq!(secret.hosts, [("api.openai.com".to_owned(), 443)]);
        assert_eq!(secret.value.as_bytes(), format!("Bearer {VALUE}").as_bytes());
        let base = "http://127.0.0.1:15001/OPENAI_API_KEY/api.openai.com/v1";
        let envs = [("OPENAI_API_KEY", PLACEHOLDER), ("OPENAI_BASE_URL", base)];
        assert_eq!(
            found.envs,
            envs.map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into()
        );
        assert_eq!(found.shown[0].base_url, base);
        assert!(!format!("{found:?}").contains(VALUE));
        let request: NetworkCreateConfig =
            serde_json::from_value(json!({ "secrets": { "A": { "value": VALUE, "hosts": ["a.test"] } } }))
                .unwrap();
        assert!(!format!("{request:?}").contains(VALUE));
    }

    #[test]
    fn header_port_and_variables_are_as_asked() {
        let found = checked(
            json!({ "value": VALUE, "hosts": ["b.test:8443", "a.test"], "header": "X-Api-Key", "base_url_env": "URL" }),
            &[("URL", "mine")],
        )
        .unwrap();
        let secret = found.secrets.get("OPENAI_API_KEY").unwrap();
        assert_eq!(
            (secret.header.as_str(), secret.value.as_bytes()),
            ("x-api-key", VALUE.as_bytes())
        );
        assert_eq!(
            found.shown[0].base_url,
            "http://127.0.0.1:15001/OPENAI_API_KEY/b.test:8443"
        );
        assert_eq!(found.envs.get("URL"), None, "the request's own wins");
        for (name, expected) in [
            ("GH_TOKEN", "GH_BASE_URL"),
            ("STRIPE", "STRIPE_BASE_URL"),
            ("_KEY", "_KEY_BASE_URL"),
        ] {
            assert_eq!(base_url_env(name), expected);
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_the_value_never_shown() {
        let cases = [
            (
                json!({ "value": "", "hosts": ["a.test"] }),
                "OPENAI_API_KEY.value",
            ),
            (
                json!({ "value": format!("{VALUE}\n"), "hosts": ["a.test"] }),
                "OPENAI_API_KEY.value",
            ),
            (json!({ "value": VALUE, "hosts": [] }), "OPENAI_API_KEY.hosts"),
            (
                json!({ "value": VALUE, "hosts": ["a.test", "*.a.test"] }),
                "OPENAI_API_KEY.hosts[1]",
            ),
            (
                json!({ "value": VALUE, "hosts": ["https://a.test"] }),
                "OPENAI_API_KEY.hosts[0]",
            ),
            (
                json!({ "value": VALUE, "hosts": ["10.0.0.1"] }),
                "OPENAI_API_KEY.hosts[0]",
            ),
            (
                json!({ "value": VALUE, "hosts": ["a.test"], "header": "Host" }),
                "OPENAI_API_KEY.header",
            ),
            (
                json!({ "value": VALUE, "hosts": ["a.test"], "header": "a b" }),
                "OPENAI_API_KEY.header",
            ),
            (
                json!({ "value": VALUE, "hosts": ["a.test"], "format": "Bearer" }),
                "OPENAI_API_KEY.format",
            ),
            (
                json!({ "value": VALUE, "hosts": ["a.test"], "path": "v1" }),
                "OPENAI_API_KEY.path",
            ),
            (
                json!({ "value": VALUE, "hosts": ["a.test"], "base_url_env": "A=B" }),
                "OPENAI_API_KEY.base_url_env",
            ),
        ];
        for (secret, field) in cases {
            let error = checked(secret, &[]).unwrap_err();
            assert!(error.message.contains(field), "{field}: {}", error.message);
            assert!(!error.message.contains(VALUE), "{}", error.message);
        }
        let both = checked(
            json!({ "value": VALUE, "hosts": ["a.test"] }),
            &[("OPENAI_API_KEY", VALUE)],
        )
        .unwrap_err();
        assert!(both.message.contains("envs.OPENAI_API_KEY") && !both.message.contains(VALUE));
    }
}
