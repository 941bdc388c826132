//! Where webhooks may be sent: not to where clouds tell a computer its credentials, nor to the engine itself, whose own
//! events would call it without end. Names are looked at by what they lead to, when a connection is made.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::isolation::relay::{is_host_service, is_own};

/// How long one of several addresses of a name may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is known of the engine, and what it was told.
#[derive(Default)]
pub struct Reach {
    own: RwLock<Own>,
    /// `--allow-private-webhooks`.
    is_everywhere: AtomicBool,
}

/// Where the API is served.
#[derive(Default)]
struct Own {
    ports: Vec<u16>,
    /// Of other computers that serve it, too; `None`: this engine alone does.
    others: Option<Vec<IpAddr>>,
}

impl Reach {
    /// Notes the port of the API, to which no webhook is sent.
    pub fn serves_on(&self, port: u16) {
        self.is(Own {
            ports: vec![port],
            others: None,
        });
    }

    /// The same for a cluster: ports of its parts, and addresses of their computers.
    pub fn cluster_serves_on(&self, ports: Vec<u16>, addresses: Vec<IpAddr>) {
        self.is(Own {
            ports,
            others: Some(addresses),
        });
    }

    fn is(&self, own: Own) {
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = own;
    }

    /// Lets webhooks be sent to every address.
    pub fn allow_everywhere(&self) {
        self.is_everywhere.store(true, Ordering::Relaxed);
    }

    /// Why nothing is sent to an address.
    pub(super) fn refusal(&self, address: SocketAddr) -> Option<String> {
        if self.is_everywhere.load(Ordering::Relaxed) {
            return None;
        }
        let ip = address.ip().to_canonical();
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        let is_served = own.ports.contains(&address.port());
        let what = match &own.others {
            _ if is_host_service(ip) => "is link-local or belongs to a service of the host",
            None if is_served && is_own(ip) => "is this engine itself",
            Some(others) if is_served && (is_own(ip) || others.contains(&ip)) => "is a part of this cluster",
            _ => return None,
        };
        Some(format!(
            "leads to {address}, which {what}: nothing is sent there without --allow-private-webhooks"
        ))
    }

    /// The same for a URL, as far as its text tells.
    pub(super) fn refusal_of_url(&self, uri: &Uri) -> Option<String> {
        let address = match host(uri).parse() {
            Ok(address) => address,
            Err(_) if host(uri).eq_ignore_ascii_case("localhost") => IpAddr::from(Ipv4Addr::LOCALHOST),
            Err(_) => return None,
        };
        self.refusal(SocketAddr::new(address, port(uri)))
    }
}

/// Without the brackets of an IPv6 address.
fn host(uri: &Uri) -> &str {
    let host = uri.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The port that a URL leads to.
pub fn port(uri: &Uri) -> u16 {
    let usual = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    uri.port_u16().unwrap_or(usual)
}

/// Connects to receivers.
#[derive(Clone)]
pub struct Connector(pub(super) Arc<Reach>);

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let reach = self.0.clone();
        Box::pin(async move { connect(&reach, &uri).await.map(TokioIo::new) })
    }
}

async fn connect(reach: &Reach, uri: &Uri) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name of the receiver has no address");
    for address in tokio::net::lookup_host((host(uri), port(uri))).await? {
        if let Some(why) = reach.refusal(address) {
            failed = io::Error::new(io::ErrorKind::PermissionDenied, format!("the URL {why}"));
            continue;
        }
        let connected = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await;
        match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_name_leads_to_is_looked_at() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let reach = Reach::default();
        let uri = |host: &str| format!("http://{host}:{own}/hook").parse::<Uri>().unwrap();
        // Other spellings of loopback, which only the resolver understands.
        let spellings = ["localhost", "2130706433", "0x7f.1", "0.0.0.0", "127.0.0.1"];
        for host in spellings {
            connect(&reach, &uri(host)).await.unwrap();
        }
        reach.serves_on(own);
        for host in spellings {
            let error = connect(&reach, &uri(host)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{host}: {error}");
        }
        // Refused before a packet leaves.
        for host in [
            "169.254.169.254",
            "[fe80::1]",
            "192.0.0.192",
            "[::ffff:169.254.1.1]",
        ] {
            let error = connect(&reach, &uri(host)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{host}: {error}");
            assert!(reach.refusal_of_url(&uri(host)).is_some(), "{host}");
        }
        reach.allow_everywhere();
        connect(&reach, &uri("localhost")).await.unwrap();
    }

    #[test]
    fn a_cluster_is_all_its_ports_on_all_its_computers() {
        let reach = Reach::default();
        reach.cluster_serves_on(vec![3000, 3001], vec!["203.0.113.7".parse().unwrap()]);
        let refused = |url: &str| reach.refusal_of_url(&url.parse().unwrap());
        for url in [
            "http://203.0.113.7:3000/x",
            "http://203.0.113.7:3001/x",
            "http://[::ffff:203.0.113.7]:3000/x",
            "http://127.0.0.1:3001/x",
            "http://169.254.169.254/x",
        ] {
            let why = refused(url).unwrap_or_else(|| panic!("{url} is let through"));
            assert!(why.contains("--allow-private-webhooks"), "{why}");
        }
        for url in [
            "http://203.0.113.7/x",
            "http://203.0.113.8:3000/x",
            "http://127.0.0.1:8080/x",
        ] {
            assert_eq!(refused(url), None, "{url}");
        }
    }
}
