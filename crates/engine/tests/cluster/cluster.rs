//! A cluster for tests: gateways and nodes that begin, end and lose each other when told to.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::Duration;

use nullspace_engine::cluster::db::Db;
use nullspace_engine::cluster::nodes::Limits;
use nullspace_engine::cluster::{self, keys, Cluster, Options};
use nullspace_engine::machine::{Engine, Ids};
use nullspace_engine::node::membership::{self, Membership};
use nullspace_engine::server::{self, access::Access, preview_hosts::Domain};
use nullspace_engine::store::Store;
use nullspace_engine::webhooks::Webhooks;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::postgres;
use crate::support::{until, Client, Plain};

pub const TOKEN: &str = "a-join-token-for-tests";

/// Silence counts sooner than in production, for tests in which somebody is silent.
pub const QUICK: Limits = Limits {
    unreachable_after: Duration::from_secs(4),
    lost_after: Duration::from_secs(8),
};

/// In all others nobody is, however busy the computer is.
const PATIENT: Limits = Limits {
    unreachable_after: Duration::from_secs(60),
    lost_after: Duration::from_secs(120),
};

static NODES: AtomicU32 = AtomicU32::new(1);

/// A gateway.
pub struct Gateway {
    client: Client,
    pub cluster: Arc<Cluster>,
    serving: JoinHandle<()>,
}

/// A node.
pub struct Node {
    pub name: String,
    pub tag: String,
    pub url: String,
    pub engine: Arc<Engine>,
    pub backend: Arc<Plain>,
    pub state: Arc<TempDir>,
    gateways: Vec<String>,
    port: u16,
    serving: JoinHandle<std::io::Result<()>>,
    beating: JoinHandle<()>,
}

/// Gateways with nodes, over one database.
pub struct Whole {
    pub database: String,
    limits: Limits,
    copies: usize,
    /// Of gateways that are added from now on.
    pub allow_private_webhooks: bool,
    pub key: String,
    pub gateways: Vec<Gateway>,
    pub nodes: Vec<Node>,
}

impl Whole {
    /// So many of each.
    pub async fn start(gateways: usize, nodes: usize) -> Self {
        Self::over(postgres::database(), PATIENT, gateways, nodes).await
    }

    /// The same where silence counts soon.
    pub async fn quick(gateways: usize, nodes: usize) -> Self {
        Self::over(postgres::database(), QUICK, gateways, nodes).await
    }

    pub async fn over(database: String, limits: Limits, gateways: usize, nodes: usize) -> Self {
        Self::copying(database, limits, 1, gateways, nodes).await
    }

    /// Where snapshots and templates have so many copies.
    pub async fn copying(
        database: String,
        limits: Limits,
        copies: usize,
        gateways: usize,
        nodes: usize,
    ) -> Self {
        // RUST_LOG=nullspace_engine=debug shows what the parts say.
        let log =
            tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env());
        let _ = log.with_test_writer().try_init();
        let db = Db::open(&database).unwrap();
        db.migrate().await.unwrap();
        let key = keys::add(&db, "tests", None).await.unwrap();
        let mut whole = Self {
            database,
            limits,
            copies,
            allow_private_webhooks: false,
            key,
            gateways: Vec::new(),
            nodes: Vec::new(),
        };
        for _ in 0..gateways {
            whole.add_gateway().await;
        }
        for _ in 0..nodes {
            whole.add_node().await;
        }
        whole.until_ready(nodes).await;
        whole
    }

    pub async fn add_gateway(&mut self) {
        let options = Options {
            token: TOKEN.into(),
            limits: self.limits,
            protected: Vec::new(),
            copies: self.copies,
            allow_private_webhooks: self.allow_private_webhooks,
        };
        let gateway = Gateway::start(&self.database, options, &self.key).await;
        self.gateways.push(gateway);
    }

    pub async fn add_node(&mut self) {
        let urls = self.gateways.iter().map(|gateway| gateway.url.clone()).collect();
        self.nodes.push(Node::start(urls).await);
    }

    /// Waits until every gateway knows so many nodes that are ready.
    pub async fn until_ready(&self, count: usize) {
        for gateway in &self.gateways {
            until("the nodes are ready", async || {
                let all = gateway.cluster.nodes().all();
                all.iter()
                    .filter(|node| node.state().as_str() == "ready" && node.capacity.memory_mb > 0)
                    .count()
                    == count
            })
            .await;
        }
    }

    /// Waits until the first gateway says this of a node.
    pub async fn until_state(&self, tag: &str, state: &str) {
        until(&format!("node {tag} is {state}"), async || {
            let node = self.gateways[0].cluster.nodes().by_tag(tag);
            node.is_some_and(|node| node.state().as_str() == state)
        })
        .await;
    }

    pub fn gateway(&self) -> &Gateway {
        &self.gateways[0]
    }

    pub fn node(&self, tag: &str) -> &Node {
        self.nodes.iter().find(|node| node.tag == tag).unwrap()
    }

    /// Takes a node out by its tag.
    pub fn take(&mut self, tag: &str) -> Node {
        let index = self.nodes.iter().position(|node| node.tag == tag).unwrap();
        self.nodes.remove(index)
    }

    /// Machines that live on all nodes.
    pub async fn living(&self) -> usize {
        self.nodes
            .iter()
            .map(|node| node.engine.promised().machines as usize)
            .sum()
    }
}

/// Which node an id is of.
pub fn tag(id: &str) -> String {
    id.split_once('_').unwrap().1[..4].to_owned()
}

impl Gateway {
    async fn start(database: &str, options: Options, key: &str) -> Self {
        let cluster = Cluster::open(Db::open(database).unwrap(), options).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let domain = Domain::parse("localhost", address.port()).unwrap();
        let access = Access::with_keys(cluster.keys(), address).with_preview_domain(Some(domain));
        Self {
            client: Client::new(format!("http://{address}"), key),
            serving: tokio::spawn(cluster::serve(listener, cluster.clone(), access)),
            cluster,
        }
    }

    /// Ends it in the middle of whatever it does.
    pub fn kill(&self) {
        self.cluster.closing().cancel();
        self.serving.abort();
    }

    /// Runs shell text and gives what it printed.
    pub async fn shell(&self, id: &str, text: &str) -> String {
        let ran = self.client.shell(id, text).await;
        ran["stdout"].as_str().unwrap().to_owned()
    }
}

impl std::ops::Deref for Gateway {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Node {
    /// A new one.
    pub async fn start(gateways: Vec<String>) -> Self {
        let name = format!("node-{}", NODES.fetch_add(1, Ordering::Relaxed));
        let state = Arc::new(tempfile::tempdir().unwrap());
        Self::start_on(name, state, Plain::new(), gateways, 0).await
    }

    /// The same one after its process ended.
    pub async fn again(self) -> Self {
        let Self {
            name,
            state,
            gateways,
            port,
            engine,
            ..
        } = self;
        // Its state is held by it.
        drop(engine);
        Self::start_on(name, state, Plain::new(), gateways, port).await
    }

    async fn start_on(
        name: String,
        state: Arc<TempDir>,
        backend: Arc<Plain>,
        gateways: Vec<String>,
        port: u16,
    ) -> Self {
        let listener = bind(port).await;
        let address = listener.local_addr().unwrap();
        let options = membership::Options {
            gateways: gateways.clone(),
            token: TOKEN.into(),
            url: format!("http://{address}"),
            name: name.clone(),
            memory_mb: Some(64 << 10),
            end_when_isolated: None,
        };
        let membership = Membership::join(options, state.path()).await.unwrap();
        let store = open(&state).await;
        let engine = Engine::open(store, backend.clone(), Ids::tagged(membership.tag()))
            .await
            .unwrap();
        let webhooks = Webhooks::open(engine.clone()).await.unwrap();
        let access = Access::new(&membership.key(), address).of_node();
        let tag = membership.tag().to_owned();
        let serving = tokio::spawn(server::serve(listener, engine.clone(), webhooks, access, None));
        let beating = tokio::spawn(membership.run(engine.clone()));
        Self {
            name,
            tag,
            url: format!("http://{address}"),
            engine,
            backend,
            state,
            gateways,
            port: address.port(),
            serving,
            beating,
        }
    }

    /// No gateway hears of it any more; it goes on.
    pub fn mute(&self) {
        self.beating.abort();
    }

    /// It is heard of again, by a process that knows nothing of what was said meanwhile.
    pub async fn beat_again(&self, gateways: Vec<String>) {
        let options = membership::Options {
            gateways,
            token: TOKEN.into(),
            url: self.url.clone(),
            name: self.name.clone(),
            memory_mb: Some(64 << 10),
            end_when_isolated: None,
        };
        let membership = Membership::join(options, self.state.path()).await.unwrap();
        tokio::spawn(membership.run(self.engine.clone()));
    }

    /// Waits until it ended by itself.
    pub async fn until_drained(&mut self) {
        (&mut self.beating).await.unwrap();
    }

    /// Ends it as kill -9 does, as far as one process can: nothing answers, nothing is written, its machines are gone.
    pub async fn kill(&self) {
        self.beating.abort();
        self.serving.abort();
        self.engine.shutdown().await;
    }
}

async fn bind(port: u16) -> TcpListener {
    let mut bound = None;
    until("the port is free", async || {
        bound = TcpListener::bind(("127.0.0.1", port)).await.ok();
        bound.is_some()
    })
    .await;
    bound.unwrap()
}

async fn open(state: &TempDir) -> Store {
    let mut opened = None;
    until("the state is free", async || {
        opened = Store::open(state.path()).ok();
        opened.is_some()
    })
    .await;
    opened.unwrap()
}
