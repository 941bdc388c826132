//! Lifecycle events: each once, in the order of its machine, whatever becomes of nodes and gateways.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use nullspace_engine::cluster::db::{self, Db};
use nullspace_engine::cluster::events;
use serde_json::{json, Value};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{connect_async, MaybeTlsStream, WebSocketStream};

use crate::cluster::{tag, Gateway, Whole};
use crate::support::until;

/// Listens to events, and connects anew after the last one when its gateway is gone.
struct Reader {
    socket: WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>,
    heard: Vec<Value>,
}

impl Reader {
    async fn connect(gateway: &Gateway, path: &str, subscribe: Value) -> Self {
        let url = format!("{}{path}", gateway.url.replacen("http", "ws", 1));
        let mut request = url.into_client_request().unwrap();
        let key = format!("Bearer {}", gateway.key).parse().unwrap();
        request.headers_mut().insert("authorization", key);
        let (mut socket, _) = connect_async(request).await.unwrap();
        let text = subscribe.to_string();
        socket.send(Message::Text(text.into())).await.unwrap();
        let mut reader = Self {
            socket,
            heard: Vec::new(),
        };
        let answer = reader.frame(Duration::from_secs(20)).await.unwrap();
        assert_eq!(answer["type"], "subscribed", "{answer}");
        reader
    }

    async fn again(&mut self, gateway: &Gateway) {
        let last = &self.heard.last().unwrap()["id"];
        let subscribe = json!({ "type": "subscribe", "after_event_id": last, "replay_limit": 1000 });
        let other = Self::connect(gateway, "/v1/lifecycle/ws", subscribe).await;
        self.socket = other.socket;
    }

    async fn frame(&mut self, patience: Duration) -> Option<Value> {
        loop {
            match tokio::time::timeout(patience, self.socket.next()).await.ok()? {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).ok(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return None,
            }
        }
    }

    /// Hears until there were so many events of an operation.
    async fn until(&mut self, operation: &str, count: usize) {
        while self.count(operation) < count {
            let frame = self.frame(Duration::from_secs(30)).await;
            let frame = frame.unwrap_or_else(|| panic!("only {} of {operation}", self.count(operation)));
            assert_eq!(frame["type"], "event", "{frame}");
            self.heard.push(frame["event"].clone());
        }
    }

    fn count(&self, operation: &str) -> usize {
        self.heard
            .iter()
            .filter(|event| event["operation"] == operation)
            .count()
    }
}

/// Fails if an event is there twice, or a machine's events are out of order. Gives the operations of each machine.
fn check(events: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut ids = BTreeSet::new();
    let mut machines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    for event in events {
        assert!(ids.insert(event["id"].to_string()), "twice: {event}");
        let machine = event["machine_id"].as_str().unwrap().to_owned();
        let at = event["occurred_at"].as_str().unwrap().to_owned();
        if let Some(before) = last.insert(machine.clone(), at.clone()) {
            assert!(before <= at, "{before} before {event}");
        }
        let operation = event["operation"].as_str().unwrap().to_owned();
        machines.entry(machine).or_default().push(operation);
    }
    machines
}

async fn all(gateway: &Gateway) -> Vec<Value> {
    let listed = gateway
        .get("/v1/lifecycle/events?order=asc&limit=1000")
        .await
        .expect(200);
    listed["events"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_list_has_what_was_just_done_whichever_gateway_is_asked() {
    let whole = Whole::start(2, 3).await;
    let (one, other) = (&whole.gateways[0], &whole.gateways[1]);
    let mut made = Vec::new();
    for n in 0..6 {
        made.push(one.create(json!({ "metadata": { "n": n } })).await);
    }
    let body = json!({ "timeout_ms": 60_000 });
    one.post(&format!("/v1/machines/{}/timeout", made[0]), body).await;
    one.delete(&format!("/v1/machines/{}", made[0])).await.expect(200);
    let events = all(other).await;
    let machines = check(&events);
    assert_eq!(machines.len(), 6, "{machines:?}");
    assert_eq!(machines[&made[0]].first().unwrap(), "create");
    assert_eq!(machines[&made[0]].last().unwrap(), "destroy");
    let of_one = one
        .get(&format!("/v1/machines/{}/lifecycle?operation=create", made[1]))
        .await
        .expect(200);
    assert_eq!(of_one["events"][0]["metadata"], json!({ "n": 1 }));
    assert_eq!(
        (&of_one["events"].as_array().unwrap().len(), &of_one["has_more"]),
        (&1, &json!(false))
    );
    let page = one
        .get("/v1/lifecycle/events?operation=create&order=asc&limit=2&offset=1")
        .await
        .expect(200);
    let ids: Vec<&str> = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["machine_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(page["has_more"], true);
    one.get("/v1/lifecycle/events?operation=wrong")
        .await
        .refused(400, "invalid_request");
    // A stream of one machine, from another gateway: what was, after an event, and then what happens.
    let path = format!("/v1/machines/{}/lifecycle/ws", made[1]);
    let mut reader = Reader::connect(other, &path, json!({ "type": "subscribe" })).await;
    one.delete(&format!("/v1/machines/{}", made[2])).await.expect(200);
    one.delete(&format!("/v1/machines/{}", made[1])).await.expect(200);
    reader.until("destroy", 1).await;
    assert_eq!(reader.heard.len(), 1, "{:?}", reader.heard);
    assert_eq!(reader.heard[0]["machine_id"], made[1].as_str());
}

#[tokio::test]
async fn a_reader_hears_each_event_once_over_a_dead_node_a_dead_gateway_and_a_silent_node() {
    let mut whole = Whole::quick(2, 3).await;
    let mut reader = Reader::connect(
        &whole.gateways[0],
        "/v1/lifecycle/ws",
        json!({ "type": "subscribe" }),
    )
    .await;
    let mut made = Vec::new();
    while made
        .iter()
        .map(|id: &String| tag(id))
        .collect::<BTreeSet<_>>()
        .len()
        < 3
    {
        made.push(whole.gateways[1].create(json!({})).await);
    }
    reader.until("create", made.len()).await;
    let (dead, silent) = (
        tag(&made[0]),
        tag(made.iter().find(|id| tag(id) != tag(&made[0])).unwrap()),
    );
    let on = |node: &str| {
        made.iter()
            .filter(|id| tag(id) == *node)
            .cloned()
            .collect::<Vec<String>>()
    };
    whole.node(&dead).kill().await;
    whole.node(&silent).mute();
    whole.gateways[0].kill();
    whole.gateways.remove(0);
    reader.again(&whole.gateways[0]).await;
    whole.until_state(&dead, "lost").await;
    whole.until_state(&silent, "lost").await;
    let ended = on(&dead).len() + on(&silent).len();
    reader.until("reconcile", ended).await;
    // It comes back, ends what it had, and tells nothing of that: to everybody those machines have ended before.
    let gateway = whole.gateways[0].url.clone();
    whole.node(&silent).beat_again(vec![gateway]).await;
    whole.until_state(&silent, "ready").await;
    let mut new = Vec::new();
    while !new.iter().any(|id: &String| tag(id) == silent) {
        new.push(whole.gateways[0].create(json!({})).await);
    }
    reader.until("create", made.len() + new.len()).await;
    let heard = check(&reader.heard);
    for id in on(&dead).into_iter().chain(on(&silent)) {
        assert_eq!(heard[&id], ["create", "reconcile"], "{id}");
    }
    let last = reader
        .heard
        .iter()
        .find(|event| event["operation"] == "reconcile")
        .unwrap();
    assert_eq!(
        (&last["status"], &last["error_code"]),
        (&json!("failed"), &json!("node_lost"))
    );
    // Lists say the same.
    until("the list is the same", async || {
        all(&whole.gateways[0]).await == reader.heard
    })
    .await;
}

#[tokio::test]
async fn a_watcher_sees_the_machines_of_all_nodes_come_and_go() {
    let whole = Whole::start(2, 2).await;
    let (one, other) = (&whole.gateways[0], &whole.gateways[1]);
    let mut made = vec![one.create(json!({})).await];
    let url = format!("{}/v1/monitor/ws", other.url.replacen("http", "ws", 1));
    let mut request = url.into_client_request().unwrap();
    let key = format!("Bearer {}", other.key).parse().unwrap();
    request.headers_mut().insert("authorization", key);
    let mut watcher = Reader {
        socket: connect_async(request).await.unwrap().0,
        heard: Vec::new(),
    };
    let subscribe = json!({ "type": "monitor_subscribe", "id": "m", "interval_ms": 100 }).to_string();
    watcher
        .socket
        .send(Message::Text(subscribe.into()))
        .await
        .unwrap();
    let snapshot = watcher.frame(Duration::from_secs(20)).await.unwrap();
    assert_eq!(snapshot["type"], "monitor_snapshot", "{snapshot}");
    assert_eq!(snapshot["machines"][0]["id"], made[0].as_str());
    while made.iter().map(|id| tag(id)).collect::<BTreeSet<_>>().len() < 2 {
        made.push(one.create(json!({})).await);
    }
    let mut measured: BTreeSet<String> = BTreeSet::new();
    while measured.len() < made.len() {
        let frame = watcher.frame(Duration::from_secs(20)).await.unwrap();
        if frame["type"] == "monitor_metrics" {
            measured.insert(frame["machine_id"].as_str().unwrap().to_owned());
        }
    }
    one.delete(&format!("/v1/machines/{}", made[0])).await.expect(200);
    loop {
        let frame = watcher.frame(Duration::from_secs(20)).await.unwrap();
        if frame["removed"] == true {
            assert_eq!(frame["machine_id"], made[0].as_str());
            return;
        }
    }
}

/// Adds an event as a gateway does that read it from a node.
async fn insert(db: &Db, n: usize) {
    let event = json!({
        "id": format!("event-{n}"), "occurred_at": "2026-01-02T03:04:05.678901Z", "audience": "customer", "operation": "create",
        "status": "succeeded", "actor_kind": "user", "machine_id": "mch_00000000000000000000"
    });
    let mut connection = db.get().await.unwrap();
    let transaction = connection.transaction().await.unwrap();
    db::hold(&transaction, db::Lock::Events).await.unwrap();
    let event = serde_json::from_value(event).unwrap();
    events::add(&transaction, &[event]).await.unwrap();
    transaction.commit().await.unwrap();
}

const LISTENERS: &str =
    "FROM pg_stat_activity WHERE application_name = 'nullspace-gateway-listener' AND datname = current_database()";

/// Waits until so many gateways listen to the database.
async fn until_listening(db: &Db, count: i64) {
    until("gateways listen", async || {
        let connection = db.get().await.unwrap();
        let sql = format!("SELECT count(*) {LISTENERS} AND query LIKE 'LISTEN%' AND state = 'idle'");
        let row = connection.query_one(&sql, &[]).await.unwrap();
        row.get::<_, i64>(0) == count
    })
    .await;
}

/// A few milliseconds, on a busy computer. The look each second would take half of one.
const AT_ONCE: Duration = Duration::from_millis(100);

/// How long it takes until an event is heard, one time of two.
async fn latency(db: &Db, reader: &mut Reader, from: usize) -> Duration {
    let mut took = Vec::new();
    for n in from..from + 31 {
        insert(db, n).await;
        let begun = Instant::now();
        reader.until("create", n + 1).await;
        took.push(begun.elapsed());
        // Not in step with a look that comes again and again.
        tokio::time::sleep(Duration::from_millis(7 * (n as u64 % 13))).await;
    }
    took.sort_unstable();
    took[took.len() / 2]
}

#[tokio::test]
async fn an_event_is_heard_at_once_and_none_is_missed_when_the_listening_connection_is_lost() {
    let whole = Whole::start(2, 0).await;
    let db = Db::open(&whole.database).unwrap();
    until_listening(&db, 2).await;
    let subscribe = json!({ "type": "subscribe" });
    let mut reader = Reader::connect(&whole.gateways[1], "/v1/lifecycle/ws", subscribe).await;
    let median = latency(&db, &mut reader, 0).await;
    assert!(median < AT_ONCE, "{median:?}");
    for n in 31..41 {
        let ended = format!("SELECT count(pg_terminate_backend(pid)) {LISTENERS}");
        db.get().await.unwrap().query_one(&ended, &[]).await.unwrap();
        insert(&db, n).await;
        reader.until("create", n + 1).await;
    }
    until_listening(&db, 2).await;
    let median = latency(&db, &mut reader, 41).await;
    assert!(median < AT_ONCE, "{median:?} after the loss");
    let heard: Vec<&Value> = reader.heard.iter().map(|event| &event["id"]).collect();
    let told: Vec<Value> = (0..72).map(|n| format!("event-{n}").into()).collect();
    assert_eq!(heard, told.iter().collect::<Vec<_>>());
}
