//! Previews by name: `PORT-mch_ID.DOMAIN` on the port of the API, for engines in containers, which publish one port, and for
//! clusters, whose nodes nobody but gateways reaches.
//!
//! On an engine the domain is that of `--preview-domain`. A node is told it with each request of a gateway, which recognises the
//! name, too, and leads the request to the node of the machine: the node's key comes in a header of its own, because
//! `Authorization` is for the service inside.

use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::HeaderName;
use axum::middleware::Next;
use axum::response::Response;

use super::access::{digest, hosts, split_host, Access};
use super::preview_proxy;
use crate::machine::Engine;

/// Tells a node below which domain previews have their names.
pub const DOMAIN: HeaderName = HeaderName::from_static("x-nullspace-preview-domain");
/// The key of a node, in requests that lead to a port of a machine.
pub const NODE_KEY: HeaderName = HeaderName::from_static("x-nullspace-node-key");

/// The domain below which each port of each machine has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    is_secure: bool,
    name: String,
    port: Option<u16>,
}

/// What a name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Id of the machine.
    pub machine: String,
    /// Its port.
    pub port: u16,
}

/// Marks a request that leads to a port of a machine, in its extensions.
#[derive(Debug, Clone, Copy)]
pub struct IsPreview;

impl Domain {
    /// `DOMAIN` or `DOMAIN:PORT`: over https, which something in front of us speaks, unless it is below `localhost`, which is this
    /// very port. `http://` before it says that there is no TLS.
    pub fn parse(text: &str, own_port: u16) -> Result<Self, String> {
        let wrong = || {
            format!(
                "--preview-domain {text}: give a domain whose names lead here, such as localhost or previews.example.com"
            )
        };
        let small = text.trim().to_ascii_lowercase();
        let (scheme, rest) = match small.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, small.as_str()),
        };
        let (name, port) = match rest.rsplit_once(':') {
            Some((name, port)) => (
                name,
                Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?),
            ),
            None => (rest, None),
        };
        let is_label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        // The last label of an address is a number: it has no names below it.
        let is_address = name
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        if !name.split('.').all(is_label) || is_address {
            return Err(wrong());
        }
        let is_local = name == "localhost" || name.ends_with(".localhost");
        let is_secure = match scheme {
            Some("https") => true,
            Some("http") => false,
            None => !is_local,
            Some(_) => return Err(wrong()),
        };
        Ok(Self {
            is_secure,
            name: name.to_owned(),
            port: port.or_else(|| (is_local && scheme.is_none()).then_some(own_port)),
        })
    }

    /// Whether browsers come over TLS.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// `PORT-mch_ID.DOMAIN`, with a port where there is one.
    pub fn host(&self, place: &Place) -> String {
        format!("{}-{}.{}", place.port, place.machine, self.authority())
    }

    fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.name),
            None => self.name.clone(),
        }
    }

    /// What a `Host` leads to. Its port is not looked at: it is one that something in front of us published.
    pub fn place(&self, host: &str) -> Option<Place> {
        let host = host.to_ascii_lowercase();
        let (name, _) = split_host(&host);
        let label = name.strip_suffix(&self.name)?.strip_suffix('.')?;
        let (port, machine) = label.split_once('-')?;
        let is_number = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let digits = machine.strip_prefix("mch_")?;
        let is_id = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_alphanumeric());
        let port = port.parse().ok().filter(|_| is_number && is_id)?;
        Some(Place {
            machine: machine.to_owned(),
            port,
        })
    }

    /// What a request leads to: all names that it gives must say the same.
    pub fn place_of(&self, request: &Request) -> Option<Place> {
        let names = hosts(request).ok()?;
        let place = self.place(names.first()?)?;
        let is_same = |name: &&str| self.place(name).as_ref() == Some(&place);
        names.iter().all(is_same).then_some(place)
    }

    /// What a page's `Origin` leads to.
    pub fn place_of_origin(&self, origin: &str) -> Option<Place> {
        let scheme = if self.is_secure { "https://" } else { "http://" };
        self.place(origin.strip_prefix(scheme)?)
    }
}

/// As gateways tell it to nodes.
impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

/// Leads requests for names of previews to their machines, before the API looks at them.
pub async fn lead(
    State((engine, access)): State<(Arc<Engine>, Arc<Access>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let told = request.headers_mut().remove(&DOMAIN);
    let key = request.headers_mut().remove(&NODE_KEY);
    let domain = match access.is_node() {
        // Who may say this has the node's key, which is checked below or, for the API, by the guard.
        true => told.and_then(|text| Domain::parse(text.to_str().ok()?, 0).ok()),
        false => access.preview_domain(),
    };
    let Some(domain) = domain else {
        return next.run(request).await;
    };
    let is_let_in = !access.is_node() || key.is_some_and(|key| access.is_key(&digest(key.as_bytes())));
    match domain.place_of(&request).filter(|_| is_let_in) {
        Some(place) => preview_proxy::lead(engine, domain, place, request).await,
        None => {
            request.extensions_mut().insert(domain);
            next.run(request).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(machine: &str, port: u16) -> Place {
        Place {
            machine: machine.into(),
            port,
        }
    }

    #[test]
    fn a_domain_is_local_and_here_or_behind_tls() {
        let shown = |text| Domain::parse(text, 3000).map(|domain| domain.to_string());
        for (text, domain) in [
            ("localhost", "http://localhost:3000"),
            ("localhost:8080", "http://localhost:8080"),
            ("Previews.Example.com", "https://previews.example.com"),
            ("previews.example.com:8443", "https://previews.example.com:8443"),
            ("http://previews.internal", "http://previews.internal"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(domain));
            // A node reads what a gateway says.
            assert_eq!(Domain::parse(domain, 1).unwrap().to_string(), domain);
        }
        for bad in [
            "",
            "*.example.com",
            "10.0.0.1",
            "a..b",
            "ftp://a",
            "a:0",
            "a:x",
            "a/b",
            "-a.b",
            "[::1]",
        ] {
            let refused = shown(bad).unwrap_err();
            assert!(
                refused.contains("--preview-domain") && refused.contains("localhost"),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_name_says_machine_and_port() {
        let domain = Domain::parse("localhost", 3000).unwrap();
        let there = place("mch_0123abcd", 8080);
        assert_eq!(domain.host(&there), "8080-mch_0123abcd.localhost:3000");
        for host in [
            "8080-mch_0123abcd.localhost:3000",
            "8080-MCH_0123ABCD.localhost",
            "8080-mch_0123abcd.localhost:80",
        ] {
            assert_eq!(domain.place(host), Some(there.clone()), "{host}");
        }
        for host in [
            "localhost:3000",
            "8080-mch_0123abcd:3000",
            "8080-mch_0123abcd.evil.example:3000",
            "8080-mch_0123abcd.localhost.evil.example",
            "x.8080-mch_0123abcd.localhost",
            "8080-mch_0123abcdlocalhost",
            "+8080-mch_0123abcd.localhost",
            "80800-mch_0123abcd.localhost",
            "8080-vol_0123abcd.localhost",
            "8080-mch_.localhost",
            "-mch_0123abcd.localhost",
        ] {
            assert_eq!(domain.place(host), None, "{host}");
        }
        assert_eq!(
            domain.place_of_origin("http://8080-mch_0123abcd.localhost:3000"),
            Some(there)
        );
        assert_eq!(
            domain.place_of_origin("https://8080-mch_0123abcd.localhost:3000"),
            None
        );
    }
}
