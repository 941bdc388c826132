//! Random histories: nodes that refuse, break off, are full, are started again and are lost, under creates with keys that are
//! repeated through two gateways. What the cluster answers is compared with what one perfect engine would: a key has one machine,
//! which stays the same until it is destroyed or its node is lost. In the end no machine lives that no key has.
//!
//! NULLSPACE_TEST_STEPS sets the length of the history, NULLSPACE_TEST_SEED the history.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use axum::body::{to_bytes, Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::Router;
use nullspace_engine::cluster::db::Db;
use nullspace_engine::cluster::nodes::give_up;
use nullspace_engine::cluster::operate;
use nullspace_engine::machine::gateways::contents::Thing;
use nullspace_engine::node::messages::{
    Capacity, Entry, Heartbeat, Inventory, Join, Joined, Orders, HEARTBEAT, JOIN, PROTOCOL,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{json, Value};

use crate::cluster::{tag, Gateway, Whole, TOKEN};

const STEPS: usize = 1_000;
const NODES: usize = 3;
const KEYS: usize = 60;

/// How a node takes a create.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Well,
    /// It makes nothing and breaks off.
    BreaksBefore,
    /// It makes the machine, and nobody hears of it.
    BreaksAfter,
    Full,
}

#[derive(Clone)]
struct Machine {
    seq: i64,
    key: String,
    is_alive: bool,
}

/// A node that isolates nothing and forgets nothing.
struct Fake {
    tag: Mutex<String>,
    node: String,
    epoch: Mutex<i64>,
    url: String,
    mood: Mutex<Mood>,
    machines: Mutex<BTreeMap<String, Machine>>,
    keys: Mutex<HashMap<String, String>>,
    /// What it says of itself.
    capacity: Mutex<Capacity>,
    clock_off_ms: Mutex<i64>,
}

fn info(id: &str, machine: &Machine) -> Value {
    json!({
        "id": id,
        "status": if machine.is_alive { "running" } else { "error" },
        "config": { "vcpus": 1, "memory_mb": 256 },
        "template": "base",
        "metadata": { "key": machine.key },
        // With as many digits as always, as engines write it: the text of later moments is greater.
        "created_at": format!("{:.6}", jiff::Timestamp::from_microsecond(machine.seq).unwrap()),
    })
}

impl Fake {
    async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Arc::new(Self {
            tag: Mutex::default(),
            node: uuid::Uuid::new_v4().to_string(),
            epoch: Mutex::new(0),
            url: format!("http://{}", listener.local_addr().unwrap()),
            mood: Mutex::new(Mood::Well),
            machines: Mutex::default(),
            keys: Mutex::default(),
            capacity: Mutex::new(Capacity {
                vcpus: 4,
                memory_mb: 1 << 20,
                disk_free_mb: 1 << 20,
                ..Capacity::default()
            }),
            clock_off_ms: Mutex::new(0),
        });
        let router = Router::new()
            .route("/v1/machines", post(create))
            .route("/v1/machines/{id}", get(show).delete(destroy))
            .route("/node/v1/machines", get(list))
            .with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    async fn tell<A: serde::de::DeserializeOwned>(
        &self,
        gateway: &Gateway,
        path: &str,
        message: &impl serde::Serialize,
    ) -> A {
        let sent = gateway
            .http
            .post(format!("{}{path}", gateway.url))
            .bearer_auth(TOKEN)
            .json(message)
            .send()
            .await
            .unwrap();
        let text = sent.text().await.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}: {text}"))
    }

    async fn join(&self, gateway: &Gateway) {
        let join = Join {
            protocol: PROTOCOL,
            version: "0".into(),
            node: self.node.clone(),
            instance: "one".into(),
            tag: None,
            name: self.url.clone(),
            url: self.url.clone(),
            clock_ms: jiff::Timestamp::now().as_millisecond(),
        };
        let joined: Joined = self.tell(gateway, JOIN, &join).await;
        *self.tag.lock().unwrap() = joined.tag;
    }

    /// Says that it is there, and does what it is told.
    async fn beat(&self, gateway: &Gateway) {
        loop {
            let entries = {
                let machines = self.machines.lock().unwrap();
                let entry = |(id, machine): (&String, &Machine)| Entry {
                    kind: Thing::Machine,
                    id: id.clone(),
                    seq: machine.seq,
                    info: info(id, machine),
                };
                machines.iter().map(entry).collect()
            };
            let heartbeat = Heartbeat {
                protocol: PROTOCOL,
                node: self.node.clone(),
                instance: "one".into(),
                epoch: *self.epoch.lock().unwrap(),
                clock_ms: jiff::Timestamp::now()
                    .as_millisecond()
                    .saturating_add(*self.clock_off_ms.lock().unwrap()),
                capacity: *self.capacity.lock().unwrap(),
                pools: BTreeMap::new(),
                events: 0,
                addresses: Vec::new(),
                leaving: false,
                inventory: Inventory {
                    whole: true,
                    entries,
                    gone: Vec::new(),
                },
            };
            let orders: Orders = self.tell(gateway, HEARTBEAT, &heartbeat).await;
            if !orders.give_up {
                return;
            }
            self.machines.lock().unwrap().clear();
            *self.epoch.lock().unwrap() = orders.epoch;
        }
    }

    fn tag(&self) -> String {
        self.tag.lock().unwrap().clone()
    }

    fn is(&self, mood: Mood) -> bool {
        *self.mood.lock().unwrap() == mood
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }
}

/// An answer that ends in the middle.
fn broken() -> Response {
    let parts: Vec<Result<Bytes, std::io::Error>> = vec![Err(std::io::Error::other("cut"))];
    (
        StatusCode::CREATED,
        Body::from_stream(futures_util::stream::iter(parts)),
    )
        .into_response()
}

fn error(status: StatusCode, code: &str) -> Response {
    (status, json!({ "error": code, "code": code }).to_string()).into_response()
}

async fn create(State(fake): State<Arc<Fake>>, headers: HeaderMap, request: Request) -> Response {
    let mood = *fake.mood.lock().unwrap();
    if mood == Mood::BreaksBefore {
        return broken();
    }
    let body: Value = serde_json::from_slice(&to_bytes(request.into_body(), 1 << 20).await.unwrap()).unwrap();
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let mut keys = fake.keys.lock().unwrap();
    let mut machines = fake.machines.lock().unwrap();
    let id = match keys.get(&key) {
        Some(id) if machines.contains_key(id) => id.clone(),
        Some(_) => return error(StatusCode::CONFLICT, "idempotency_key_expired"),
        None if mood == Mood::Full => return error(StatusCode::SERVICE_UNAVAILABLE, "capacity_exceeded"),
        None => {
            let digits = uuid::Uuid::new_v4().simple().to_string();
            let id = format!("mch_{}{}", fake.tag(), &digits[..16]);
            let last = machines
                .values()
                .map(|machine| machine.seq)
                .max()
                .unwrap_or_default();
            let machine = Machine {
                seq: jiff::Timestamp::now().as_microsecond().max(last + 1),
                key: body["metadata"]["key"].as_str().unwrap().to_owned(),
                is_alive: true,
            };
            machines.insert(id.clone(), machine);
            keys.insert(key, id.clone());
            id
        }
    };
    if mood == Mood::BreaksAfter {
        return broken();
    }
    // As it was made, whatever became of it: so an engine keeps its answers.
    let mut made = machines[&id].clone();
    made.is_alive = true;
    (StatusCode::CREATED, info(&id, &made).to_string()).into_response()
}

async fn show(State(fake): State<Arc<Fake>>, Path(id): Path<String>) -> Response {
    match fake.machines.lock().unwrap().get(&id) {
        Some(machine) => info(&id, machine).to_string().into_response(),
        None => error(StatusCode::NOT_FOUND, "machine_not_found"),
    }
}

async fn destroy(State(fake): State<Arc<Fake>>, Path(id): Path<String>) -> Response {
    match fake.machines.lock().unwrap().remove(&id) {
        Some(_) => json!({ "id": id, "status": "destroyed" })
            .to_string()
            .into_response(),
        None => error(StatusCode::NOT_FOUND, "machine_not_found"),
    }
}

async fn list(State(fake): State<Arc<Fake>>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let param = |name: &str| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.parse::<i64>().ok())
    };
    let (before, limit) = (
        param("before=").unwrap_or(i64::MAX),
        param("limit=").unwrap_or(1000),
    );
    let machines = fake.machines.lock().unwrap();
    let mut found: Vec<_> = machines
        .iter()
        .filter(|(_, machine)| machine.seq < before)
        .collect();
    found.sort_by_key(|(_, machine)| -machine.seq);
    let items: Vec<Value> = found
        .into_iter()
        .take(usize::try_from(limit).unwrap())
        .map(|(id, machine)| json!({ "seq": machine.seq, "info": info(id, machine) }))
        .collect();
    json!({ "items": items }).to_string().into_response()
}

/// What one perfect engine would know.
#[derive(Default)]
struct Perfect {
    /// The machine that a key's maker was told of.
    told: BTreeMap<String, String>,
    /// Machines that were told.
    machines: BTreeMap<String, Told>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Told {
    is_dead: bool,
    /// Somebody removed it.
    is_removed: bool,
    /// It ended with its node, so its key is free.
    is_lost: bool,
}

struct History {
    whole: Whole,
    fakes: Vec<Arc<Fake>>,
    lost: BTreeSet<String>,
    perfect: Perfect,
    random: StdRng,
    db: Db,
    /// What happened, for whoever reads a failure.
    log: Vec<String>,
}

impl History {
    fn key(&mut self) -> String {
        format!("key-{}", self.random.random_range(0..KEYS))
    }

    fn gateway(&mut self) -> usize {
        self.random.random_range(0..self.whole.gateways.len())
    }

    fn is_calm(&self) -> bool {
        self.lost.is_empty() && self.fakes.iter().all(|fake| fake.is(Mood::Well))
    }

    async fn look(&self) {
        for gateway in &self.whole.gateways {
            gateway.cluster.look_now().await.unwrap();
        }
    }

    /// What happened to a key, a machine and its node.
    fn about(&self, key: &str, id: &str) -> String {
        let (key, tag) = (format!("{key}:"), tag(id));
        let is_about = |line: &&str| {
            line.starts_with(&key) || line.contains(id) || (!line.starts_with("key") && line.contains(&tag))
        };
        let lines: Vec<&str> = self.log.iter().map(String::as_str).filter(is_about).collect();
        lines.join("\n")
    }

    async fn create(&mut self, key: &str) -> bool {
        let gateway = self.gateway();
        let body = json!({ "template": "base", "metadata": { "key": key } });
        let answer = self.whole.gateways[gateway]
            .post_with_key("/v1/machines", key, body)
            .await;
        let id = answer.json()["id"].as_str().unwrap_or_default().to_owned();
        self.log.push(format!("{key}: {} {id}", answer.status));
        let before = self.perfect.told.get(key).cloned();
        let old = before.as_ref().map(|id| (id.clone(), self.perfect.machines[id]));
        match answer.status {
            201 => {
                let id = answer.json()["id"].as_str().unwrap().to_owned();
                assert_ne!(
                    Some(&tag(&id)),
                    self.lost.iter().next(),
                    "{key}: it is on a lost node"
                );
                match old {
                    // Its node has it still.
                    Some((old, _)) if old == id => {}
                    Some((old, state)) => {
                        let log = self.about(key, &old);
                        assert!(
                            state.is_lost || state.is_dead && !state.is_removed,
                            "{key} had {old}, {state:?}, and got {id}: {log}"
                        );
                        assert!(
                            !self.perfect.machines.contains_key(&id),
                            "{key} got {id} of another key"
                        );
                    }
                    None => assert!(
                        !self.perfect.machines.contains_key(&id),
                        "{key} got {id} of another key"
                    ),
                }
                self.perfect.told.insert(key.to_owned(), id.clone());
                self.perfect.machines.entry(id).or_default();
                true
            }
            409 => {
                assert_eq!(answer.json()["code"], "idempotency_key_expired", "{answer:?}");
                let (old, state) = old.unwrap();
                let log = self.about(key, &old);
                assert!(
                    state.is_removed && !state.is_lost,
                    "{key} had {old}, {state:?}, and it is expired: {log}"
                );
                true
            }
            503 => {
                assert!(!self.is_calm(), "all is well, and {key} got {answer:?}");
                assert_ne!(answer.json()["retryable"], false, "{answer:?}");
                false
            }
            _ => panic!("{key}: {answer:?}"),
        }
    }

    async fn destroy(&mut self) {
        let living: Vec<String> = self
            .perfect
            .machines
            .iter()
            .filter(|(_, told)| !told.is_removed)
            .map(|(id, _)| id.clone())
            .collect();
        let Some(id) = living.choose(&mut self.random).cloned() else {
            return;
        };
        let gateway = self.gateway();
        self.whole.gateways[gateway]
            .delete(&format!("/v1/machines/{id}"))
            .await
            .expect(200);
        self.log.push(format!("destroy {id}"));
        let told = self.perfect.machines.get_mut(&id).unwrap();
        told.is_dead = true;
        told.is_removed = true;
    }

    async fn check_lists(&mut self) {
        let gateway = self.gateway();
        let mut listed = Vec::new();
        let mut token = None;
        loop {
            let next: String = token.map_or(String::new(), |token: String| format!("&next_token={token}"));
            let page = self.whole.gateways[gateway]
                .get(&format!("/v1/machines?limit=7{next}"))
                .await
                .expect(200);
            listed.extend(page["items"].as_array().unwrap().clone());
            token = page["next_token"].as_str().map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
        let ids: BTreeSet<&str> = listed.iter().map(|item| item["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), listed.len(), "a machine is listed twice");
        for (id, told) in &self.perfect.machines {
            let shown = listed.iter().find(|item| item["id"] == id.as_str());
            match told.is_removed {
                true => assert!(shown.is_none(), "{id} was removed, and is listed"),
                false => {
                    let status = &shown.unwrap_or_else(|| panic!("{id} is not listed"))["status"];
                    assert_eq!(status, if told.is_dead { "error" } else { "running" }, "{id}");
                }
            }
        }
        let moments: Vec<&str> = listed
            .iter()
            .map(|item| item["created_at"].as_str().unwrap())
            .collect();
        assert!(moments.is_sorted_by(|a, b| a >= b), "{moments:?}");
    }

    /// Its machines count as ended; it does not know yet.
    async fn lose(&mut self, index: usize) {
        let tag = self.fakes[index].tag();
        assert!(give_up(&self.db, &tag, None).await.unwrap());
        self.look().await;
        for (_, state) in self
            .perfect
            .machines
            .iter_mut()
            .filter(|(id, _)| crate::cluster::tag(id) == tag)
        {
            state.is_dead = true;
            state.is_lost |= !state.is_removed;
        }
        self.log.push(format!("lost {tag}"));
        self.lost.insert(tag);
    }

    /// It is heard of again.
    async fn find(&mut self, index: usize) {
        let fake = self.fakes[index].clone();
        fake.beat(&self.whole.gateways[0]).await;
        self.look().await;
        self.log.push(format!("found {}", fake.tag()));
        self.lost.remove(&fake.tag());
        assert!(
            fake.machines.lock().unwrap().is_empty(),
            "what was given up lives"
        );
    }

    /// Its process ends and starts again: its machines are dead, its answers kept.
    async fn restart(&mut self, index: usize) {
        let fake = self.fakes[index].clone();
        self.log.push(format!("restart {}", fake.tag()));
        let mut machines = fake.machines.lock().unwrap();
        for (id, machine) in machines.iter_mut() {
            machine.is_alive = false;
            if let Some(state) = self.perfect.machines.get_mut(id) {
                state.is_dead = true;
            }
        }
    }

    async fn step(&mut self) {
        let index = self.random.random_range(0..NODES);
        let is_lost = self.lost.contains(&self.fakes[index].tag());
        match self.random.random_range(0..1000) {
            0..700 => {
                let key = self.key();
                self.create(&key).await;
            }
            700..800 => self.destroy().await,
            800..850 => self.check_lists().await,
            850..960 => {
                let moods = [
                    Mood::Well,
                    Mood::Well,
                    Mood::BreaksBefore,
                    Mood::BreaksAfter,
                    Mood::Full,
                ];
                let mood = *moods.choose(&mut self.random).unwrap();
                self.log.push(format!("{} {mood:?}", self.fakes[index].tag()));
                self.fakes[index].set(mood);
            }
            960..975 if !is_lost => self.restart(index).await,
            // One at a time, so that machines have somewhere to be.
            975..990 if self.lost.is_empty() => self.lose(index).await,
            _ if is_lost => self.find(index).await,
            _ => {
                let fake = self.fakes[index].clone();
                if !is_lost {
                    fake.beat(&self.whole.gateways[0]).await;
                    self.look().await;
                }
            }
        }
    }
}

#[tokio::test]
async fn random_histories_end_as_those_of_one_perfect_engine() {
    let number =
        |name: &str, otherwise: u64| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let steps = number("NULLSPACE_TEST_STEPS", STEPS as u64);
    let seed = number("NULLSPACE_TEST_SEED", rand::rng().random());
    eprintln!("NULLSPACE_TEST_SEED={seed}");
    let whole = Whole::start(2, 0).await;
    let mut fakes = Vec::new();
    for _ in 0..NODES {
        let fake = Fake::start().await;
        fake.join(&whole.gateways[0]).await;
        fake.beat(&whole.gateways[0]).await;
        fakes.push(fake);
    }
    let db = Db::open(&whole.database).unwrap();
    let mut history = History {
        whole,
        fakes,
        lost: BTreeSet::new(),
        perfect: Perfect::default(),
        random: StdRng::seed_from_u64(seed),
        db,
        log: Vec::new(),
    };
    history.look().await;
    for _ in 0..steps {
        history.step().await;
    }
    // All is well again: each key that was used ends with one machine, and nothing else lives.
    for index in 0..NODES {
        history.fakes[index].set(Mood::Well);
        history.find_or_beat(index).await;
    }
    for n in 0..KEYS {
        assert!(history.create(&format!("key-{n}")).await, "all is well");
    }
    history.check_lists().await;
    let mut living: Vec<String> = Vec::new();
    for fake in &history.fakes {
        let machines = fake.machines.lock().unwrap();
        living.extend(
            machines
                .values()
                .filter(|machine| machine.is_alive)
                .map(|machine| machine.key.clone()),
        );
    }
    living.sort();
    let mut keys: Vec<String> = history
        .perfect
        .told
        .iter()
        .filter(|(_, id)| history.perfect.machines[*id] == Told::default())
        .map(|(key, _)| key.clone())
        .collect();
    keys.sort();
    assert_eq!(living, keys, "machines live that no key has, or keys have none");
}

impl History {
    async fn find_or_beat(&mut self, index: usize) {
        match self.lost.contains(&self.fakes[index].tag()) {
            true => self.find(index).await,
            false => {
                self.fakes[index].clone().beat(&self.whole.gateways[0]).await;
                self.look().await;
            }
        }
    }
}

/// Makes machines and counts those on a node.
async fn made_on(gateway: &Gateway, node: &Fake, count: usize) -> usize {
    let mut found = 0;
    for n in 0..count {
        let body = json!({ "template": "base", "memory_mb": 256, "metadata": { "key": n.to_string() } });
        let id = gateway.create(body).await;
        found += usize::from(tag(&id) == node.tag());
    }
    found
}

#[tokio::test]
async fn a_node_that_lies_about_what_it_holds_costs_nobody_a_machine() {
    let whole = Whole::start(1, 1).await;
    let gateway = whole.gateway();
    let liar = Fake::start().await;
    liar.join(gateway).await;
    let everything = Capacity {
        vcpus: u32::MAX,
        memory_mb: u64::MAX,
        disk_free_mb: u64::MAX,
        ..Capacity::default()
    };
    let lies = [
        everything,
        Capacity {
            memory_used_mb: u64::MAX,
            vcpus_used: u32::MAX,
            machines: u32::MAX,
            ..everything
        },
    ];
    // It has room for everything, and takes nothing.
    liar.set(Mood::Full);
    for capacity in lies {
        *liar.capacity.lock().unwrap() = capacity;
        liar.beat(gateway).await;
        gateway.cluster.look_now().await.unwrap();
        assert_eq!(made_on(gateway, &liar, 8).await, 0, "{capacity:?}");
    }
    assert_eq!(whole.living().await, 16);
    // What fits nowhere else is refused, whatever it says.
    *liar.capacity.lock().unwrap() = everything;
    liar.beat(gateway).await;
    gateway.cluster.look_now().await.unwrap();
    let huge = json!({ "template": "base", "memory_mb": 128 << 10, "metadata": { "key": "huge" } });
    let reply = gateway.post("/v1/machines", huge).await;
    assert!(reply.status >= 400, "{reply:?}");
    let shown = operate::list(&Db::open(&whole.database).unwrap()).await.unwrap();
    assert_eq!(shown.len(), 2);
}

#[tokio::test]
async fn a_node_whose_clock_goes_wrong_gets_no_machines_until_it_is_right_again() {
    let whole = Whole::start(1, 1).await;
    let gateway = whole.gateway();
    let db = Db::open(&whole.database).unwrap();
    let node = Fake::start().await;
    node.join(gateway).await;
    let beat = async |clock_off_ms: i64| {
        *node.clock_off_ms.lock().unwrap() = clock_off_ms;
        node.beat(gateway).await;
        gateway.cluster.look_now().await.unwrap();
        let shown = operate::list(&db).await.unwrap();
        shown
            .into_iter()
            .find(|shown| shown.tag == node.tag())
            .unwrap()
            .note
    };
    for wrong in [3_600_000, -3_600_000, i64::MAX, i64::MIN] {
        let note = beat(wrong).await.unwrap();
        assert!(note.contains("it gets no machines"), "{note}");
        assert_eq!(made_on(gateway, &node, 6).await, 0, "{wrong}");
    }
    assert_eq!(beat(0).await, None);
    assert!(made_on(gateway, &node, 12).await > 0);
}
