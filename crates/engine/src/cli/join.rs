//! `serve --join`: the options of a node, and its part in `serve`.

use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::Outcome;
use crate::machine::Engine;
use crate::node::membership::{Membership, Options};

/// What all parts of a cluster share.
#[derive(Args)]
pub struct Shared {
    /// What all parts of the cluster share: nodes join with it.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "NULLSPACE_JOIN_TOKEN",
        hide_env_values = true
    )]
    join_token: Option<String>,
}

impl Shared {
    /// A token that nobody guesses.
    pub fn token(self) -> Outcome<String> {
        token(self.join_token)
    }
}

/// A node of a cluster.
#[derive(Args)]
pub struct Join {
    /// Join the cluster of this gateway as a node. Several may be given, comma-joined; any that answers will do.
    #[arg(long, value_name = "URL", value_delimiter = ',', requires = "join_token", conflicts_with_all = ["faults", "temporary"])]
    join: Vec<String>,

    #[command(flatten)]
    shared: Shared,

    /// Where gateways reach this node, such as http://10.0.0.7:3000.
    #[arg(long, value_name = "URL", requires = "join")]
    advertise: Option<String>,

    /// What people call this node [default: the computer's host name].
    #[arg(long, value_name = "NAME", requires = "join")]
    node_name: Option<String>,

    /// MiB of memory to give to machines [default: what the computer has].
    #[arg(long, value_name = "MIB", requires = "join")]
    node_memory_mb: Option<u64>,

    /// End all machines after so many seconds without a gateway. Without it they go on: an outage of the gateways ends nothing.
    #[arg(long, value_name = "SECONDS", requires = "join")]
    end_when_isolated: Option<u64>,

    /// When told to end (SIGTERM), place no more machines here and wait for those that are there, such as 30m or 1h. A second
    /// signal ends them.
    #[arg(long, value_name = "TIME", value_parser = super::node::time, requires = "join")]
    pub drain_within: Option<Duration>,

    #[command(flatten)]
    trusted: super::tls::Trusted,
}

/// Joins, if this is to be a node.
pub async fn join(options: Join, directory: &Path) -> Outcome<Option<Membership>> {
    if options.join.is_empty() {
        return Ok(None);
    }
    options.trusted.trust()?;
    std::fs::create_dir_all(directory).map_err(|e| format!("cannot use {}: {e}", directory.display()))?;
    let url = options
        .advertise
        .ok_or("--join needs --advertise: where gateways reach this node, such as http://10.0.0.7:3000")?;
    let token = options.shared.token()?;
    let gateways = options
        .join
        .iter()
        .map(|text| base_url("--join", text))
        .collect::<Outcome<Vec<_>>>()?;
    let membership = Membership::join(
        Options {
            gateways,
            token,
            url: base_url("--advertise", &url)?,
            name: options.node_name.unwrap_or_else(host_name),
            memory_mb: options.node_memory_mb,
            end_when_isolated: options.end_when_isolated.map(Duration::from_secs),
        },
        directory,
    );
    membership.await.map(Some)
}

fn token(given: Option<String>) -> Outcome<String> {
    let token = given.unwrap_or_default().trim().to_owned();
    match token.len() {
        16.. => Ok(token),
        _ => Err("--join-token (or NULLSPACE_JOIN_TOKEN) needs 16 characters or more: make one with `openssl rand -hex 32`".into()),
    }
}

/// `http://HOST:PORT` without a path.
fn base_url(option: &str, text: &str) -> Outcome<String> {
    let bare = text.trim().trim_end_matches('/');
    let uri: Option<axum::http::Uri> = bare.parse().ok();
    let is_good = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some()
            && uri.path() == "/"
            && uri.query().is_none()
    });
    match is_good && !bare.contains('@') {
        true => Ok(bare.to_owned()),
        false => Err(format!(
            "{option} {text}: give scheme, host and port, such as http://10.0.0.7:3000"
        )),
    }
}

fn host_name() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
}

/// For whoever started the program: a node has no key for people.
pub fn announce(url: &str, membership: &Membership) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "nullspace-engine: node {} serves gateways on {url}",
        membership.tag()
    );
    let _ = out.flush();
}

/// Takes part in the cluster, if this is a node; resolves when the cluster has drained it.
pub fn take_part(membership: Option<Membership>, engine: Arc<Engine>) -> impl Future<Output = ()> {
    let task = membership.map(|membership| tokio::spawn(membership.run(engine)));
    async move {
        match task {
            Some(task) => drop(task.await),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_bare_and_tokens_long() {
        assert_eq!(base_url("--join", "http://a:1/").unwrap(), "http://a:1");
        for bad in ["a:1", "ftp://a", "http://a/b", "http://u:p@a:1", "http://", ""] {
            assert!(base_url("--join", bad).unwrap_err().contains("--join"), "{bad}");
        }
        assert!(token(Some("short".into())).is_err());
        assert!(token(None).unwrap_err().contains("--join-token"));
        assert_eq!(
            token(Some(" 0123456789abcdef\n".into())).unwrap(),
            "0123456789abcdef"
        );
    }
}
