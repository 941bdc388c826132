//! Three networks in one process: `host`, where the relay runs; `world`, behind a wire from it; `machine`, set up as
//! a machine's is. Each is the network namespace of a thread, so all is gone with the process. Needs root and ip(8).
#![allow(dead_code)] // each test file uses a part

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::time::Duration;

use nullspace_agent::net;
use nullspace_engine::isolation::relay::{Relay, RelayOptions};
use nullspace_engine::isolation::EgressRules;
use rustix::thread::{gettid, unshare_unsafe, UnshareFlags};

/// Addresses of `host`, the last on its loopback device.
pub const HOST: [&str; 2] = ["10.77.0.1", "10.88.0.1"];
/// Addresses of `world`; `host` has a route to each.
pub const WORLD: [&str; 10] = [
    "10.77.0.2",
    "10.77.1.2",
    "10.77.1.3",
    "192.168.5.5",
    "172.16.0.9",
    "8.8.8.8",
    "203.0.113.5",
    "169.254.169.254",
    "168.63.129.16",
    "100.100.100.200",
];

/// Gives this thread a network namespace of its own.
pub fn own_network() {
    // SAFETY: descriptors stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("needs root");
}

/// A thread in a network namespace of its own.
#[derive(Clone)]
pub struct Network {
    jobs: mpsc::Sender<Box<dyn FnOnce() + Send>>,
    thread: u32,
}

impl Network {
    pub fn new() -> Self {
        let (jobs, inbox) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (sender, thread) = mpsc::channel();
        std::thread::spawn(move || {
            own_network();
            sender.send(gettid().as_raw_nonzero().get() as u32).unwrap();
            inbox.into_iter().for_each(|job| job());
        });
        Self {
            jobs,
            thread: thread.recv().unwrap(),
        }
    }

    /// Runs something in this network. Threads and programs that it starts are there, too.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, result) = mpsc::channel();
        self.jobs
            .send(Box::new(move || {
                let _ = sender.send(job());
            }))
            .unwrap();
        result.recv().expect("the job panicked; see above")
    }

    /// Runs ip(8) in this network.
    pub fn ip(&self, arguments: &str) {
        let words: Vec<String> = arguments.split(' ').map(Into::into).collect();
        let output = self.run(move || Command::new("ip").args(words).output().expect("needs ip(8)"));
        assert!(output.status.success(), "ip {arguments}: {output:?}");
    }
}

/// What is behind the port numbers of `world` (all addresses) and `host`.
pub mod port {
    /// Says which address was reached, then echoes until the end.
    pub const ECHO: u16 = 80;
    /// Sends for ever.
    pub const SOURCE: u16 = 81;
    /// Receives for ever; see `Lab::received`.
    pub const SINK: u16 = 82;
    /// Reads to the end, then says how many bytes came.
    pub const COUNT: u16 = 83;
    /// The echo service of `host`, as an engine would listen.
    pub const ENGINE: u16 = 3000;
    /// The name server of `host`, on its loopback only.
    pub const NAMES: u16 = 5300;
}

/// Names and addresses.
pub type Names = Arc<Mutex<std::collections::BTreeMap<&'static str, [u8; 4]>>>;

/// The three networks and a relay between them.
pub struct Lab {
    pub host: Network,
    pub world: Network,
    pub machine: Network,
    pub relay: Option<Relay>,
    /// Bytes that arrived at `port::SINK`.
    pub received: Arc<AtomicU64>,
    /// Queries that arrived at the name server.
    pub queries: Arc<AtomicU64>,
    /// Names that the name server knows, and the address of each, which holds for no time at all.
    pub names: Names,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Lab {
    pub fn new(rules: EgressRules) -> Self {
        Self::with(rules, RelayOptions::default())
    }

    pub fn with(rules: EgressRules, options: RelayOptions) -> Self {
        let (host, world, machine) = (Network::new(), Network::new(), Network::new());
        host.ip("link set lo up");
        host.ip("link add h0 type veth peer name w0");
        host.ip(&format!("link set w0 netns {}", world.thread));
        host.ip("addr add 10.77.0.1/24 dev h0");
        host.ip("addr add 10.88.0.1/32 dev lo");
        host.ip("link set h0 up");
        world.ip("link set lo up");
        world.ip("addr add 10.77.0.2/24 dev w0");
        world.ip("link set w0 up");
        for address in &WORLD[1..] {
            world.ip(&format!("addr add {address}/32 dev lo"));
        }
        host.ip("route add default via 10.77.0.2");
        // A route of the host to itself without an address of its own.
        host.ip("route add local 10.99.0.0/16 dev lo");

        let received = Arc::new(AtomicU64::new(0));
        let queries = Arc::new(AtomicU64::new(0));
        world.run({
            let received = received.clone();
            move || {
                serve(port::ECHO, echo);
                serve(port::SOURCE, |mut s| while s.write_all(&[0; 16 << 10]).is_ok() {});
                serve(port::SINK, move |mut s| {
                    let mut buffer = [0; 16 << 10];
                    while let Ok(read @ 1..) = s.read(&mut buffer) {
                        received.fetch_add(read as u64, Ordering::SeqCst);
                    }
                });
                serve(port::COUNT, |mut s| {
                    let mut all = Vec::new();
                    s.read_to_end(&mut all).unwrap();
                    write!(s, "{}", all.len()).unwrap();
                });
            }
        });
        let names = Names::default();
        host.run({
            let (queries, names) = (queries.clone(), names.clone());
            move || {
                serve(port::ENGINE, echo);
                name_server(queries, names);
            }
        });
        let runtime = host.run(|| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(2).enable_all().build().unwrap()
        });
        let sockets = machine.run(|| net::set_up().unwrap());
        let options = RelayOptions {
            resolvers: vec![([127, 0, 0, 1], port::NAMES).into()],
            ..options
        };
        let relay = {
            let _inside = runtime.enter();
            Relay::start(sockets.tcp.into(), sockets.udp.into(), rules, options).unwrap()
        };
        Self {
            host,
            world,
            machine,
            relay: Some(relay),
            received,
            queries,
            names,
            runtime: Some(runtime),
        }
    }

    pub fn relay(&self) -> &Relay {
        self.relay.as_ref().unwrap()
    }

    /// Connects from the machine.
    #[track_caller]
    pub fn connect(&self, target: &str) -> TcpStream {
        self.try_connect(target).unwrap()
    }

    /// Connects from the machine. A denied connection is accepted, then reset; a reset that comes before this thread
    /// is awake is an error of connecting.
    pub fn try_connect(&self, target: &str) -> std::io::Result<TcpStream> {
        let target: SocketAddr = target.parse().unwrap();
        self.machine.run(move || {
            let stream = TcpStream::connect_timeout(&target, Duration::from_secs(5))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            Ok(stream)
        })
    }

    /// Whether the echo service at `target` answers the machine. Anything but an answer must be a reset.
    #[track_caller]
    pub fn reaches(&self, target: &str) -> bool {
        let answer = self.try_connect(target).and_then(|mut stream| {
            assert_eq!(greeting(&mut stream)?, target, "another service answered");
            echoes(&mut stream)
        });
        match answer {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{target}");
                false
            }
        }
    }

    /// Asks for a name from the machine: its address.
    pub fn resolve(&self, name: &str) -> Option<[u8; 4]> {
        let labels = name
            .split('.')
            .flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
        let labels: Vec<u8> = labels.collect();
        let query = [
            b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0",
            &labels[..],
            b"\0\0\x01\0\x01",
        ]
        .concat();
        let answer = self.ask("8.8.8.8:53", &query);
        (answer[7] > 0).then(|| *answer.last_chunk().unwrap())
    }

    /// Sends a datagram from the machine and waits for the answer.
    pub fn ask(&self, server: &str, query: &[u8]) -> Vec<u8> {
        let (server, query) = (server.to_owned(), query.to_vec());
        self.machine.run(move || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket.connect(server).unwrap();
            socket.send(&query).unwrap();
            let mut buffer = [0; 1500];
            let len = socket.recv(&mut buffer).unwrap();
            buffer[..len].to_vec()
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.relay.take();
        self.runtime.take().unwrap().shutdown_background();
    }
}

/// What the echo service says first.
pub fn greeting(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte)?;
        match byte[0] {
            b'\n' => return Ok(String::from_utf8(text).unwrap()),
            other => text.push(other),
        }
    }
}

/// Sends something to the echo service and waits for it.
pub fn echoes(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"ping")?;
    let mut back = [0; 4];
    stream.read_exact(&mut back)?;
    assert_eq!(&back, b"ping");
    Ok(())
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    let _ = writeln!(stream, "{}", stream.local_addr().unwrap());
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
}

fn serve(port: u16, each: impl Fn(TcpStream) + Clone + Send + 'static) {
    let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let each = each.clone();
            std::thread::spawn(move || each(stream.unwrap()));
        }
    });
}

/// `a.bc`, type A, class IN; id 0x1234, recursion desired.
pub const QUERY: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x02bc\x00\x00\x01\x00\x01";
/// Its answer by the name server of `host`: 192.0.2.7 for 60 seconds.
pub const ANSWER: &[u8] = b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x01a\x02bc\x00\x00\x01\x00\x01\
    \xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x07";
/// Its answer under rules without names: REFUSED.
pub const REFUSED: &[u8] = b"\x12\x34\x81\x85\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x02bc\x00\x00\x01\x00\x01";

/// Answers [`QUERY`] under any id, and what is in the table; other names get no answer.
fn name_server(queries: Arc<AtomicU64>, names: Names) {
    let answer = {
        let names = names.clone();
        move |query: &[u8]| {
            if query[2..] == QUERY[2..] {
                return Some([&query[..2], &ANSWER[2..]].concat());
            }
            let mut labels = Vec::new();
            let mut at = 12;
            while query[at] != 0 {
                let end = at + 1 + usize::from(query[at]);
                labels.push(std::str::from_utf8(&query[at + 1..end]).unwrap());
                at = end;
            }
            let address = *names.lock().unwrap().get(labels.join(".").as_str())?;
            let head = b"\x81\x80\0\x01\0\x01\0\0\0\0";
            let record = b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04";
            Some([&query[..2], head, &query[12..at + 5], record, &address].concat())
        }
    };
    let over_udp = answer.clone();
    let socket = UdpSocket::bind(("127.0.0.1", port::NAMES)).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port::NAMES)).unwrap();
    let over_tcp = queries.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            queries.fetch_add(1, Ordering::SeqCst);
            if let Some(answer) = over_udp(&buffer[..len]) {
                // A forged answer first: it must not be believed.
                let forged = [&[!answer[0]], &answer[1..answer.len() - 1], &[66]].concat();
                socket.send_to(&forged, from).unwrap();
                socket.send_to(&answer, from).unwrap();
            }
        }
    });
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            over_tcp.fetch_add(1, Ordering::SeqCst);
            let mut query = [0; QUERY.len() + 2];
            if stream.read_exact(&mut query).is_ok() {
                let answer = answer(&query[2..]).unwrap();
                let len = (answer.len() as u16).to_be_bytes();
                let _ = stream.write_all(&[&len[..], &answer].concat());
            }
        }
    });
}

/// Rules from text.
pub fn custom(allow: &[&str], deny: &[&str], otherwise: nullspace_engine::isolation::Verdict) -> EgressRules {
    let parse = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect();
    EgressRules {
        allow: parse(allow),
        deny: parse(deny),
        otherwise,
        ..EgressRules::allow_all()
    }
}
