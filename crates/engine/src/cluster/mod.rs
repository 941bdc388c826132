//! The gateway of a cluster: the API of an engine, over many engines on many computers.
//!
//! A gateway holds nothing. Ids tell their node, so most calls are passed on without a look anywhere, also while the database is
//! away; everything that the cluster must agree on is in PostgreSQL, whose transactions and unique keys agree for it.
//!
//! - [`db`]: the database; [`keys`]: who may ask; [`quotas`]: for how much
//! - [`nodes`]: who is there; [`members`]: what nodes say
//! - [`proxy`]: passes calls on; `previews`: and requests for ports of machines
//! - [`place`], [`claims`], `names`, `create`: one key, one machine, somewhere with room
//! - `lists`: what all nodes have; `volumes`: that they are where they are used
//! - [`events`]: what happened, on whichever node
//! - [`webhooks`]: who is told of it; [`news`]: what gateways tell each other at once
//! - [`pools`]: warm pools, of which each node holds a share
//! - `layers`: snapshots on several nodes; `templates`: where templates are built and kept; `builds`: what is known of builds
//! - `addresses`: what no machine reaches
//! - `monitor`: all machines as they change
//! - `lost`: what is said of machines whose node was given up
//! - `readings`: what Prometheus reads
//! - [`operate`]: what operators do with nodes

mod addresses;
mod builds;
pub mod claims;
mod create;
pub mod db;
mod duties;
pub mod events;
pub mod keys;
mod layers;
mod lists;
mod lost;
pub mod members;
mod monitor;
mod names;
pub mod news;
pub mod nodes;
pub mod operate;
pub mod place;
pub mod pools;
mod previews;
pub mod proxy;
pub mod quotas;
mod readings;
mod templates;
mod volumes;
pub mod webhooks;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawPathParams, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, on, MethodRouter};
use axum::Router;
use nullspace_wire::api::{self, Route};
use serde::de::DeserializeOwned;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::machine::life::snapshot::no_snapshot;
use crate::machine::monitoring::monitor::Samplers;
use crate::machine::{secret, Error, Result};
use crate::node::client::{Client, Unanswered};
use crate::node::messages::State as NodeState;
use crate::server::access::{self, Access};
use crate::server::reply::{json, Answer, Failure};
use crate::server::routes::{filter, Routes};
use crate::server::{self, connections, lifecycle, signed_files, sockets};

use addresses::Addresses;
use db::Db;
use events::Tail;
use keys::Keyring;
use nodes::{Limits, Node, Nodes};
use pools::Dealer;
use webhooks::Sender;

/// How long a node may take for a small question of ours.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks for what is old.
const TIDY: Duration = Duration::from_secs(60);

/// What a gateway is told on the command line.
#[derive(Debug, Clone)]
pub struct Options {
    /// Shared with the nodes.
    pub token: String,
    /// When a silent node counts as gone.
    pub limits: Limits,
    /// Addresses of the cluster's own parts that are not nodes: no machine reaches them.
    pub protected: Vec<IpAddr>,
    /// Nodes that have each snapshot and each template.
    pub copies: usize,
    /// Webhooks are sent to every address.
    pub allow_private_webhooks: bool,
}

/// A gateway.
pub struct Cluster {
    db: Db,
    keys: Arc<Keyring>,
    nodes: Nodes,
    /// Names it among the gateways.
    name: String,
    dealer: Dealer,
    tail: Tail,
    sender: Sender,
    samplers: Samplers,
    client: Client,
    token: String,
    addresses: Addresses,
    copies: usize,
    closing: CancellationToken,
}

impl Cluster {
    /// Opens the database, and brings its schema to this version.
    pub async fn open(db: Db, options: Options) -> Result<Arc<Self>> {
        db.migrate().await?;
        let cluster = Arc::new(Self {
            nodes: Nodes::new(&options.token, options.limits),
            name: secret("gateway"),
            dealer: Dealer::default(),
            tail: Tail::new(),
            sender: Sender::default(),
            samplers: Samplers::default(),
            keys: Arc::default(),
            client: Client::new(),
            token: options.token,
            addresses: Addresses::new(options.protected),
            copies: options.copies,
            closing: CancellationToken::new(),
            db,
        });
        if options.allow_private_webhooks {
            cluster.reach().allow_everywhere();
        }
        cluster.look(Instant::now()).await?;
        cluster.share_addresses().await?;
        Ok(cluster)
    }

    /// Keys that are good.
    pub fn keys(&self) -> Arc<Keyring> {
        self.keys.clone()
    }

    /// Nodes as this gateway knows them.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Cancelled when the gateway is to end.
    pub fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Reads what is new now, as the gateway does by itself every second.
    pub async fn look_now(&self) -> Result<()> {
        self.look(Instant::now()).await
    }

    /// Waits between two rounds of what the gateway does again and again; `false` once it is to end.
    async fn rests(&self, pause: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = self.closing.cancelled() => false,
        }
    }

    async fn look(&self, last: Instant) -> Result<()> {
        // The nodes first: that look says whether the database is there.
        self.nodes.refresh(&self.db, last).await?;
        self.keys.refresh(&self.db).await
    }

    /// Looks after the cluster, beside the other gateways, until this one ends.
    async fn look_after(self: Arc<Self>) {
        let mut looked = Instant::now();
        let mut tidied = Instant::now();
        while self.rests(nodes::LOOK).await {
            let last = std::mem::replace(&mut looked, Instant::now());
            let cared = async {
                self.look(last).await?;
                self.nodes.give_up_lost(&self.db).await?;
                self.share_addresses().await?;
                if tidied.elapsed() > TIDY {
                    tidied = Instant::now();
                    claims::prune(&self.db).await?;
                    self.prune_events().await?;
                    quotas::prune(&self.db).await?;
                }
                Ok::<_, Error>(())
            };
            if let Err(error) = cared.await {
                tracing::warn!(%error, "looking after the cluster failed; trying again");
            }
        }
    }

    /// The node that an id is of, if it can be asked.
    fn node_of(&self, id: &str) -> Result<Arc<Node>> {
        let node = self.nodes.of_id(id).ok_or_else(|| no_thing(id))?;
        match node.is_reached() {
            true => Ok(node),
            false => Err(node.unreachable()),
        }
    }

    /// The node that a call about an id is passed on to, which says itself if it does not answer; of a lost one, what became of
    /// the machine.
    async fn goes_to(&self, id: &str) -> Result<Arc<Node>> {
        let node = self.nodes.of_id(id).ok_or_else(|| no_thing(id))?;
        match node.state() {
            NodeState::Lost => Err(self.why_not(id, &node).await),
            _ => Ok(node),
        }
    }

    /// Asks a node a small question.
    async fn ask<T: Serialize, A: DeserializeOwned>(
        &self,
        node: &Node,
        method: Method,
        path: &str,
        body: Option<&T>,
        patience: Duration,
    ) -> std::result::Result<A, Unanswered> {
        let url = format!("{}{path}", node.url);
        self.client.ask(method, &url, &node.key, body, patience).await
    }
}

/// No node of the cluster has made this id.
fn no_thing(id: &str) -> Error {
    match id.split_once('_').map(|(prefix, _)| prefix) {
        Some("snap") => no_snapshot(id),
        Some("vol") => Error::no_volume(id),
        _ => Error::no_machine(id),
    }
}

/// All routes of a gateway.
pub fn router(cluster: &Arc<Cluster>, access: Access) -> Router {
    let routes: Routes<Arc<Cluster>> = Routes::new()
        .on(&api::HEALTH_CHECK, server::health)
        .on(&api::LIST_MACHINES, lists::machines)
        .on(&api::CREATE_MACHINE, create::machine)
        .on(&api::GET_MACHINE, lost::show)
        .on(&api::DESTROY_MACHINE, lost::destroy)
        .on(&api::FORK_MACHINE, create::fork)
        .on(&api::LIST_SNAPSHOTS, lists::all_snapshots)
        .on(&api::GET_SNAPSHOT, layers::show)
        .on(&api::DELETE_SNAPSHOT, layers::delete)
        .on(&api::LIST_VOLUMES, lists::all_volumes)
        .on(&api::CREATE_VOLUME, create::volume)
        .on(&api::GET_VOLUME_BY_NAME, lists::volume_by_name)
        .on(&api::ATTACH_MACHINE_VOLUME, volumes::attach)
        .on(&api::LIST_TEMPLATE_WARM_POOLS, pools::list)
        .on(&api::CREATE_TEMPLATE_WARM_POOL, pools::create)
        .on(&api::GET_TEMPLATE_WARM_POOL, pools::show)
        .on(&api::UPDATE_TEMPLATE_WARM_POOL, pools::update)
        .on(&api::DELETE_TEMPLATE_WARM_POOL, pools::delete)
        .on(&api::GET_TEMPLATE_WARM_POOL_STATUS, pools::status)
        .on(&api::ENABLE_TEMPLATE_WARM_POOL, pools::enable)
        .on(&api::DISABLE_TEMPLATE_WARM_POOL, pools::disable)
        .on(&api::DRAIN_TEMPLATE_WARM_POOL, pools::drain)
        .on(&api::RECONCILE_TEMPLATE_WARM_POOL, pools::reconcile)
        .on(&api::LIST_LIFECYCLE_WEBHOOKS, webhooks::list)
        .on(&api::CREATE_LIFECYCLE_WEBHOOK, webhooks::create)
        .on(&api::GET_LIFECYCLE_WEBHOOK, webhooks::show)
        .on(&api::UPDATE_LIFECYCLE_WEBHOOK, webhooks::update)
        .on(&api::DELETE_LIFECYCLE_WEBHOOK, webhooks::delete)
        .on(&api::LIST_LIFECYCLE_WEBHOOK_DELIVERIES, webhooks::deliveries)
        .on(&api::GET_LIFECYCLE_WEBHOOK_DELIVERY, webhooks::delivery)
        .on(&api::GET_TEMPLATE_BUILD_STATUS, builds::status)
        .on(&api::STREAM_TEMPLATE_BUILD_LOGS, builds::logs)
        .merge(lifecycle::routes())
        .merge(sockets::shared())
        .outside(
            signed_files::PATH,
            get(signed_file).put(signed_file).post(signed_file),
        );
    let access = Arc::new(access);
    let api = routes
        .or_else(by_id)
        .fallback(server::unknown_path)
        .method_not_allowed_fallback(server::unknown_method)
        .with_state(cluster.clone())
        .layer(middleware::from_fn_with_state(access.clone(), access::guard));
    // Beside the API: neither is for users.
    Router::new()
        .route("/readyz", get(ready))
        .with_state(cluster.clone())
        .merge(members::routes(cluster.clone()))
        .merge(api)
        .layer(middleware::from_fn_with_state(
            (cluster.clone(), access),
            previews::lead,
        ))
}

/// What is about a machine, a snapshot or a volume goes to the node whose tag its id has; what is about templates to their home.
fn by_id(route: &'static Route) -> MethodRouter<Arc<Cluster>> {
    let has_node = ["/v1/machines/{id}", "/v1/snapshots/{id}", "/v1/volumes/{id}"]
        .iter()
        .any(|start| route.path.starts_with(start));
    let is_of_templates = route.path == "/v1/templates" || route.path.starts_with("/v1/templates/");
    match has_node {
        true => on(filter(route.verb), pass_on),
        false if is_of_templates => on(filter(route.verb), templates::pass_on),
        false => {
            let refuse = move || async move { Failure(Error::not_implemented(route.name)) };
            on(filter(route.verb), refuse)
        }
    }
}

async fn pass_on(State(cluster): State<Arc<Cluster>>, params: RawPathParams, request: Request) -> Answer {
    let id = params.iter().find(|(name, _)| *name == "id");
    let id = id.map(|(_, id)| id.to_owned()).unwrap_or_default();
    let node = cluster.goes_to(&id).await?;
    Ok(proxy::forward(&cluster.client, &node, request).await?)
}

/// An address of a file that needs no key: the node made it, and checks it.
async fn signed_file(State(cluster): State<Arc<Cluster>>, request: Request) -> Answer {
    let id = signed_files::whose(request.uri()).filter(|id| cluster.nodes.of_id(id).is_some());
    let id = id.ok_or_else(|| signed_files::refusal(signed_files::NO_TOKEN))?;
    let node = cluster.goes_to(&id).await?;
    Ok(proxy::forward(&cluster.client, &node, request).await?)
}

/// It can take creates, too: a load balancer sends them to another gateway while it cannot. `nodes`: those that take machines.
async fn ready(State(cluster): State<Arc<Cluster>>) -> Response {
    match cluster.db.get().await {
        Ok(_) => {
            let takes = |node: &Arc<Node>| node.state() == NodeState::Ready && node.capacity.memory_mb > 0;
            let nodes = cluster.nodes.all().iter().filter(|node| takes(node)).count();
            json(
                StatusCode::OK,
                &serde_json::json!({ "status": "ready", "nodes": nodes }),
            )
        }
        Err(error) => json(
            StatusCode::SERVICE_UNAVAILABLE,
            &serde_json::json!({ "status": error.message }),
        ),
    }
}

/// Serves until the gateway is to end; requests that are under way then are finished.
pub async fn serve(listener: TcpListener, cluster: Arc<Cluster>, access: Access) {
    if let Ok(address) = listener.local_addr() {
        cluster.serves_on(address.port());
    }
    let caring = tokio::spawn(cluster.clone().look_after());
    let dealing = tokio::spawn(cluster.clone().keep_dealing());
    let sending = tokio::spawn(cluster.clone().keep_sending());
    let reading = tokio::spawn(cluster.clone().keep_reading());
    let telling = tokio::spawn(cluster.clone().keep_telling());
    let listening = tokio::spawn(cluster.clone().keep_listening());
    let keeping = tokio::spawn(cluster.clone().keep_builds());
    let copying = tokio::spawn(cluster.clone().look_after_copies());
    let closing = cluster.closing.clone();
    let tls = access.tls();
    connections::serve_over(listener, tls, router(&cluster, access), async move {
        closing.cancelled().await
    })
    .await;
    // They look at the same token.
    let _ = tokio::join!(caring, dealing, reading, telling, listening, sending, keeping, copying);
}
