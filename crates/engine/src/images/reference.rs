//! Names of images, and of computers that they are for.

use std::fmt;

use super::error::{Error, Kind, Result};

/// Where a name without a registry leads.
const DOCKER: &str = "docker.io";
/// Most characters of a name and of a tag. Source: OCI distribution specification, "Pulling manifests".
const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;

/// Which image: a registry, a repository in it, and a tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Reference {
    /// Reads what people write: `python:3.12`, `ghcr.io/owner/name@sha256:...`, `localhost:5000/name`.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |why: &str| {
            let message = format!("{text:?} is no image: {why}; give one such as \"python:3.12-slim\"");
            Error::new(Kind::Invalid, message)
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return Err(invalid("a digest is `sha256:` and 64 hexadecimal digits")),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            // Otherwise the port of a registry.
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        let is_tag = |tag: &str| {
            tag.len() <= LONGEST_TAG
                && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                && tag
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(invalid("a tag is letters, digits, `_`, `.` and `-`"));
        }
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if first == "localhost" || first.contains(['.', ':']) => {
                (first.to_ascii_lowercase(), rest.to_owned())
            }
            _ => (DOCKER.to_owned(), name.to_owned()),
        };
        let registry = one_name(registry);
        if !is_host(&registry) {
            return Err(invalid("its registry is no host name"));
        }
        let is_short = registry == DOCKER && !repository.contains('/');
        let repository = if is_short {
            format!("library/{repository}")
        } else {
            repository
        };
        let is_part = |part: &str| {
            let is_edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            part.starts_with(is_edge)
                && part.ends_with(is_edge)
                && part.chars().all(|c| is_edge(c) || "._-".contains(c))
        };
        if repository.len() > LONGEST_NAME || !repository.split('/').all(is_part) {
            return Err(invalid(
                "a name is lower-case letters, digits, `.`, `_`, `-` and `/`",
            ));
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, None) => Some("latest".to_owned()),
            (None, Some(_)) => None,
        };
        Ok(Self {
            registry,
            repository,
            tag,
            digest,
        })
    }

    /// The registry: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Whether it is of a registry, however people write that: `https://index.docker.io/v1/` is `docker.io`.
    pub fn is_of(&self, registry: &str) -> bool {
        let bare = registry.split_once("://").map_or(registry, |(_, bare)| bare);
        let host = bare.split('/').next().unwrap_or_default();
        one_name(host.to_ascii_lowercase()) == self.registry
    }

    /// Name in the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The digest that was asked for.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// What the registry is asked for.
    pub(super) fn version(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }

    /// Where the registry answers. On this computer a registry speaks plain HTTP, elsewhere never.
    pub(super) fn address(&self) -> String {
        let host = match self.registry.as_str() {
            DOCKER => "registry-1.docker.io",
            host => host,
        };
        let scheme = if is_loopback(host) { "http" } else { "https" };
        format!("{scheme}://{host}/v2/{}", self.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// Docker's registry has several names.
fn one_name(host: String) -> String {
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => DOCKER.to_owned(),
        _ => host,
    }
}

/// Whether a text is a digest of the one kind that is supported.
pub(super) fn is_digest(text: &str) -> bool {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    text.strip_prefix("sha256:")
        .is_some_and(|digits| digits.len() == 64 && digits.chars().all(is_hex))
}

fn is_host(text: &str) -> bool {
    let Ok(parsed) = text.parse::<axum::http::uri::Authority>() else {
        return false;
    };
    // What is in front of an `@` would be a user.
    match text.strip_prefix(parsed.host()) {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok()),
        None => false,
    }
}

/// Whether a host, with or without a port, is this computer by its very name.
pub(super) fn is_loopback(authority: &str) -> bool {
    let Ok(parsed) = authority.parse::<axum::http::uri::Authority>() else {
        return false;
    };
    let host = parsed.host().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What kind of computer an image is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// Always `linux` for machines.
    pub os: String,
    /// `amd64`, `arm64`.
    pub architecture: String,
    /// `v7` of `arm`.
    pub variant: Option<String>,
}

impl Platform {
    /// That of this computer.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: None,
        }
    }

    /// Reads `linux/amd64` or `linux/arm/v7`.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parts = text.split('/');
        let read = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("linux"), Some(architecture), variant, None) if !architecture.is_empty() => Some(Self {
                os: "linux".into(),
                architecture: match architecture {
                    "x86_64" => "amd64".into(),
                    "aarch64" => "arm64".into(),
                    other => other.into(),
                },
                variant: variant.map(Into::into),
            }),
            _ => None,
        };
        read.ok_or_else(|| {
            Error::new(
                Kind::Invalid,
                format!("{text:?} is no platform of machines: give one such as \"linux/amd64\""),
            )
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn references_mean_what_people_write() {
        for (text, shown, address) in [
            (
                "ubuntu",
                "docker.io/library/ubuntu:latest",
                "https://registry-1.docker.io/v2/library/ubuntu",
            ),
            (
                "python:3.12-slim",
                "docker.io/library/python:3.12-slim",
                "https://registry-1.docker.io/v2/library/python",
            ),
            (
                "oven/bun:1",
                "docker.io/oven/bun:1",
                "https://registry-1.docker.io/v2/oven/bun",
            ),
            (
                "index.docker.io/library/a",
                "docker.io/library/a:latest",
                "https://registry-1.docker.io/v2/library/a",
            ),
            (
                "GHCR.io/a/b/c:v1.0",
                "ghcr.io/a/b/c:v1.0",
                "https://ghcr.io/v2/a/b/c",
            ),
            (
                "localhost:5000/x",
                "localhost:5000/x:latest",
                "http://localhost:5000/v2/x",
            ),
            (
                "127.0.0.1:5000/x",
                "127.0.0.1:5000/x:latest",
                "http://127.0.0.1:5000/v2/x",
            ),
            ("[::1]:5000/x", "[::1]:5000/x:latest", "http://[::1]:5000/v2/x"),
            (
                "registry.test:5000/x:y",
                "registry.test:5000/x:y",
                "https://registry.test:5000/v2/x",
            ),
            (
                "localhost.test/x",
                "localhost.test/x:latest",
                "https://localhost.test/v2/x",
            ),
            ("10.0.0.1/x", "10.0.0.1/x:latest", "https://10.0.0.1/v2/x"),
        ] {
            let parsed = Reference::parse(text).unwrap();
            assert_eq!(
                (parsed.to_string(), parsed.address()),
                (shown.into(), address.into()),
                "{text}"
            );
            assert_eq!(Reference::parse(&parsed.to_string()).unwrap(), parsed, "{text}");
        }
        let pinned = Reference::parse(&format!("a/b:t@{DIGEST}")).unwrap();
        assert_eq!((pinned.version(), pinned.digest()), (DIGEST, Some(DIGEST)));
        assert_eq!(pinned.to_string(), format!("docker.io/a/b:t@{DIGEST}"));
    }

    #[test]
    fn what_is_no_reference_is_refused_with_a_good_one() {
        for text in [
            "",
            " ",
            ":tag",
            "a:",
            "Upper",
            "a//b",
            "a/../b",
            "-a",
            "a b",
            "a@sha256:12",
            "a@md5:abc",
            "a:b:c",
            "a:ta g",
            "http://registry.test/x",
            "user:pw@registry.test/x",
            "registry.test:port/x",
            "a\nb",
            "a/b?c",
            "a#b",
        ] {
            let error = Reference::parse(text).unwrap_err();
            assert_eq!(error.kind, Kind::Invalid, "{text}");
            assert!(error.message.contains("python:3.12-slim"), "{error}");
        }
    }

    #[test]
    fn registries_are_known_by_all_of_their_names() {
        let of = |image: &str, registry: &str| Reference::parse(image).unwrap().is_of(registry);
        for name in ["docker.io", "https://index.docker.io/v1/", "Registry-1.Docker.io"] {
            assert!(of("ubuntu", name), "{name}");
        }
        assert!(of("ghcr.io/a/b", "https://GHCR.io") && of("localhost:5000/a", "localhost:5000"));
        assert!(!of("localhost:5000/a", "localhost") && !of("ubuntu", "") && !of("ghcr.io/a/b", "docker.io"));
    }

    #[test]
    fn platforms_have_two_or_three_parts() {
        assert_eq!(
            Platform::parse("linux/arm/v7").unwrap().to_string(),
            "linux/arm/v7"
        );
        assert_eq!(
            Platform::parse("linux/x86_64").unwrap().to_string(),
            "linux/amd64"
        );
        for bad in ["windows/amd64", "linux", "linux/", "linux/a/b/c", ""] {
            Platform::parse(bad).unwrap_err();
        }
    }
}
