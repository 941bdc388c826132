//! The only way out of a machine: its connections end here and are made anew from the engine's network, if its rules
//! allow them.
//!
//! - `tcp`: accepts, asks the rules, dials, copies
//! - `dns`: answers name queries, whatever server was asked
//! - `bucket`: rate limits
//! - `refused`: what no policy allows
//! - `share`: how machines share what the engine may hold open

mod bucket;
mod dns;
mod refused;
mod share;
mod tcp;

pub use refused::{is_host_service, is_own};

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::bucket::Bucket;
pub use self::share::Pool;
use self::share::{Place, Share};
use super::egress::{EgressRules, Verdict};

/// Options of [`Relay::start`].
#[derive(Debug, Clone)]
pub struct RelayOptions {
    /// Name servers to ask; empty = those of `/etc/resolv.conf`, read for each query.
    pub resolvers: Vec<SocketAddr>,
    /// Connections at once; one more is reset. Default 512.
    pub max_connections: usize,
    /// What the connections of all machines share; one beyond this machine's part is reset.
    pub pool: Arc<Pool>,
    /// Ranges that no policy allows, besides this computer's own addresses, loopback and link-local ones.
    pub extra_refused: Vec<IpNet>,
    /// Limit of connecting to a destination. Default 10 s.
    pub connect_timeout: Duration,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            resolvers: Vec::new(),
            max_connections: 512,
            pool: Pool::of_descriptors(super::descriptors::limit()),
            extra_refused: Vec::new(),
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// Bytes that passed, name queries included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelayUsage {
    /// Received by the machine.
    pub rx_bytes: u64,
    /// Sent by the machine.
    pub tx_bytes: u64,
}

/// Serves one machine. Dropping it resets all connections.
pub struct Relay {
    shared: Arc<Shared>,
    _end: DropGuard,
}

impl Relay {
    /// Serves the sockets that were opened inside the machine: `tcp` gets its redirected connections, `udp` its name
    /// queries. Must be called within a runtime, whose threads are in the network to dial from.
    pub fn start(
        tcp: std::net::TcpListener,
        udp: std::net::UdpSocket,
        rules: EgressRules,
        options: RelayOptions,
    ) -> io::Result<Self> {
        tcp.set_nonblocking(true)?;
        udp.set_nonblocking(true)?;
        let tcp = tokio::net::TcpListener::from_std(tcp)?;
        let udp = tokio::net::UdpSocket::from_std(udp)?;
        let shared = Arc::new(Shared {
            share: Share::new(options.pool.clone(), options.max_connections),
            dns_slots: Share::new(Pool::of_descriptors(u64::MAX), dns::MOST_CONNECTIONS),
            options,
            sent: Direction::new(&rules),
            received: Direction::new(&rules),
            table: Mutex::new(Table {
                rules,
                next: 0,
                connections: HashMap::new(),
            }),
            end: CancellationToken::new(),
        });
        tokio::spawn(
            shared
                .end
                .clone()
                .run_until_cancelled_owned(tcp::serve(tcp, shared.clone())),
        );
        tokio::spawn(
            shared
                .end
                .clone()
                .run_until_cancelled_owned(dns::serve_udp(udp, shared.clone())),
        );
        Ok(Self {
            _end: shared.end.clone().drop_guard(),
            shared,
        })
    }

    /// Replaces the rules at once. Connections that the new ones deny have been reset when this returns.
    pub fn set_rules(&self, rules: EgressRules) {
        let mut table = self.shared.table.lock().unwrap();
        self.shared.sent.bucket.set(rules.rate_limit);
        self.shared.received.bucket.set(rules.rate_limit);
        table.rules = rules;
        let Table {
            rules, connections, ..
        } = &mut *table;
        connections.retain(|_, connection| {
            let stays = connection.is_dns || rules.verdict(connection.destination) == Verdict::Allow;
            if !stays {
                connection.reset();
            }
            stays
        });
    }

    /// Bytes so far.
    pub fn usage(&self) -> RelayUsage {
        RelayUsage {
            rx_bytes: self.shared.received.bytes.load(Ordering::Relaxed),
            tx_bytes: self.shared.sent.bytes.load(Ordering::Relaxed),
        }
    }

    /// Connections that are open at the moment.
    pub fn connections(&self) -> usize {
        self.shared.table.lock().unwrap().connections.len()
    }
}

/// What the tasks of one relay share.
struct Shared {
    options: RelayOptions,
    share: Arc<Share>,
    /// Connections to name servers, which anybody may open and leave idle.
    dns_slots: Arc<Share>,
    table: Mutex<Table>,
    sent: Direction,
    received: Direction,
    end: CancellationToken,
}

/// One way of the traffic of a machine.
struct Direction {
    bucket: Bucket,
    bytes: AtomicU64,
}

impl Direction {
    fn new(rules: &EgressRules) -> Self {
        Self {
            bucket: Bucket::new(rules.rate_limit),
            bytes: AtomicU64::new(0),
        }
    }

    fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// The rules and the connections made under them. One lock, or a connection could be checked by old rules and
/// entered after new ones have cut the others.
struct Table {
    rules: EgressRules,
    next: u64,
    connections: HashMap<u64, Connection>,
}

struct Connection {
    destination: IpAddr,
    /// Answered by the relay itself, so that no address rule concerns it.
    is_dns: bool,
    sockets: Vec<Arc<TcpStream>>,
    cut: CancellationToken,
}

impl Connection {
    /// Resets both sides now, though their task still holds them.
    fn reset(&self) {
        self.cut.cancel();
        for socket in &self.sockets {
            reset(socket);
        }
    }
}

/// Sends RST. Nothing can be done about a socket that refuses: it is closed soon after.
fn reset(socket: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
    let _ = rustix::net::connect_unspec(socket);
}

impl Shared {
    /// A place for a connection, or `None` when the machine holds as many as it may.
    fn place(&self, destination: SocketAddrV4) -> Option<(Place, Option<Place>)> {
        let place = self.share.take()?;
        match destination.port() {
            dns::PORT => Some((place, Some(self.dns_slots.take()?))),
            _ => Some((place, None)),
        }
    }

    fn dns_is_allowed(&self) -> bool {
        self.table.lock().unwrap().rules.dns
    }

    /// Enters a connection, or says that the rules deny it.
    fn enter(self: &Arc<Self>, destination: SocketAddrV4, socket: &Arc<TcpStream>) -> Option<Entered> {
        let is_dns = destination.port() == dns::PORT;
        let address = IpAddr::from(*destination.ip());
        if !is_dns && refused::is_refused(address, &self.options.extra_refused) {
            return None;
        }
        let mut table = self.table.lock().unwrap();
        if !is_dns && table.rules.verdict(address) == Verdict::Deny {
            return None;
        }
        let id = table.next;
        table.next += 1;
        let cut = self.end.child_token();
        table.connections.insert(
            id,
            Connection {
                destination: address,
                is_dns,
                sockets: vec![socket.clone()],
                cut: cut.clone(),
            },
        );
        Some(Entered {
            shared: self.clone(),
            id,
            cut,
        })
    }
}

/// A place in the table, left when dropped.
struct Entered {
    shared: Arc<Shared>,
    id: u64,
    cut: CancellationToken,
}

impl Entered {
    /// Adds the other side. `false` = the connection was cut meanwhile.
    fn add(&self, socket: &Arc<TcpStream>) -> bool {
        let mut table = self.shared.table.lock().unwrap();
        match table.connections.get_mut(&self.id) {
            Some(connection) => {
                connection.sockets.push(socket.clone());
                true
            }
            None => false,
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.shared.table.lock().unwrap().connections.remove(&self.id);
    }
}
