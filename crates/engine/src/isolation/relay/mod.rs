//! The only way out of a machine: its connections end here and are made anew from the engine's network, if its rules
//! allow them.
//!
//! - `tcp`: accepts, asks the rules, dials, copies
//! - `said`: hears whom a connection says that it is for
//! - `dns`: answers name queries, whatever server was asked
//! - `gateway`: answers requests of the machine with what services say that want a secret
//! - `records`: names and addresses of their messages
//! - `answered`: which names led to which addresses
//! - `bucket`: rate limits
//! - `refused`: what no policy allows
//! - `share`: how machines share what the engine may hold open

mod answered;
mod bucket;
mod dns;
mod gateway;
mod records;
mod refused;
mod said;
mod share;
mod tcp;

pub use refused::{is_host_service, is_own, outer_addresses, refuse_cluster};

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::answered::Answered;
use self::bucket::Bucket;
pub use self::share::Pool;
use self::share::{Place, Share};
use super::egress::{EgressRules, Said};
use super::secrets::Secrets;

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
    /// How long a name leads to what it was answered with, however short the answer says that it holds: programs keep it
    /// for a while. Default a minute.
    pub least_answer: Duration,
    /// What the machine's gateway adds to requests; without any there is none.
    pub secrets: Secrets,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            resolvers: Vec::new(),
            max_connections: 512,
            pool: Pool::of_descriptors(super::descriptors::limit()),
            extra_refused: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            least_answer: Duration::from_secs(60),
            secrets: Secrets::default(),
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
            sent: Direction::new(&rules),
            received: Direction::new(&rules),
            table: Mutex::new(Table {
                rules,
                answered: Answered::new(options.least_answer),
                next: 0,
                connections: HashMap::new(),
            }),
            options,
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
            let stays = connection.ends_here || connection.may_stay(rules);
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
    answered: Answered,
    next: u64,
    connections: HashMap<u64, Connection>,
}

struct Connection {
    destination: SocketAddrV4,
    /// Answered by the relay itself, so that no rule concerns it.
    ends_here: bool,
    said: Said,
    /// Names that led to its address when it was made.
    answered: Vec<String>,
    sockets: Vec<Arc<TcpStream>>,
    cut: CancellationToken,
}

impl Connection {
    /// Whether other rules allow it.
    fn may_stay(&self, rules: &EgressRules) -> bool {
        let said = match &self.said {
            // Its other side is there and may be heard already.
            Said::Nothing if self.sockets.len() > 1 => &Said::NoName,
            said => said,
        };
        rules.allows(self.destination, said, &self.answered)
    }

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

    /// Enters a connection, or says that the rules deny it.
    fn enter(self: &Arc<Self>, destination: SocketAddrV4, socket: &Arc<TcpStream>) -> Option<Entered> {
        let ends_here = destination.port() == dns::PORT || self.is_gateway(destination);
        let address = IpAddr::from(*destination.ip());
        if !ends_here && refused::is_refused(address, &self.options.extra_refused) {
            return None;
        }
        let mut table = self.table.lock().unwrap();
        let answered = table.answered.names(*destination.ip(), Instant::now());
        let rules = &table.rules;
        if !ends_here && !rules.allows(destination, &Said::Nothing, &answered) {
            return None;
        }
        let way = match rules.must_hear(address) {
            false => Way::Open,
            true if rules.allows(destination, &Said::NoName, &answered) => Way::Heard,
            true => Way::Named,
        };
        let connection = Connection {
            destination,
            ends_here,
            said: match way {
                Way::Open => Said::Unheard,
                Way::Heard | Way::Named => Said::Nothing,
            },
            answered,
            sockets: vec![socket.clone()],
            cut: self.end.child_token(),
        };
        Some(self.put(&mut table, connection, way))
    }

    /// The same for one of the gateway's to a service, whose name is known.
    fn enter_named(self: &Arc<Self>, destination: SocketAddrV4, name: &str) -> Option<Entered> {
        let mut table = self.table.lock().unwrap();
        let answered = table.answered.names(*destination.ip(), Instant::now());
        let said = Said::Name(name.to_owned());
        if !table.rules.allows(destination, &said, &answered) {
            return None;
        }
        let connection = Connection {
            destination,
            ends_here: false,
            said,
            answered,
            sockets: Vec::new(),
            cut: self.end.child_token(),
        };
        Some(self.put(&mut table, connection, Way::Open))
    }

    fn put(self: &Arc<Self>, table: &mut Table, connection: Connection, way: Way) -> Entered {
        let (id, cut) = (table.next, connection.cut.clone());
        table.next += 1;
        table.connections.insert(id, connection);
        Entered {
            shared: self.clone(),
            id,
            cut,
            way,
        }
    }

    /// Whether a destination is the gateway of the machine: its own loopback, where nothing was redirected from.
    fn is_gateway(&self, destination: SocketAddrV4) -> bool {
        let is_there = destination.ip().is_loopback() && destination.port() == nullspace_agent::net::TCP_PORT;
        is_there && !self.options.secrets.is_empty()
    }
}

/// A place in the table, left when dropped.
struct Entered {
    shared: Arc<Shared>,
    id: u64,
    cut: CancellationToken,
    way: Way,
}

/// What has to be known of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Nothing.
    Open,
    /// What it says, as it says it: it may be without a name, too.
    Heard,
    /// Its name, before anything else happens.
    Named,
}

impl Entered {
    /// Takes down what the connection said. `false` = it may not be.
    fn say(&self, said: Said) -> bool {
        let mut table = self.shared.table.lock().unwrap();
        let Table {
            rules,
            connections,
            answered,
            ..
        } = &mut *table;
        let Some(connection) = connections.get_mut(&self.id) else {
            return false;
        };
        match &said {
            Said::Name(name) if !connection.answered.contains(name) => {
                connection.answered = answered.names(*connection.destination.ip(), Instant::now());
            }
            _ => {}
        }
        connection.said = said;
        rules.allows(connection.destination, &connection.said, &connection.answered)
    }

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
