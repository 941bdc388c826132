//! Webhooks: made, changed, removed, and delivered to a real receiver, over restarts.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{until, Served};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::Router;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{json, Value};
use sha2::Sha256;

const SECRET: &str = "whsec-of-the-test";

/// What a receiver got and what it answers: statuses in turn, then 200. 0 = no answer at all.
#[derive(Default)]
struct Inbox {
    got: Mutex<Vec<(HeaderMap, Bytes)>>,
    answers: Mutex<VecDeque<u16>>,
}

struct Receiver {
    inbox: Arc<Inbox>,
    address: std::net::SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, body: Bytes) -> Response {
    inbox.got.lock().unwrap().push((headers, body));
    let answer = inbox.answers.lock().unwrap().pop_front().unwrap_or(200);
    match answer {
        0 => std::future::pending().await,
        302 => (StatusCode::FOUND, [("location", "/elsewhere")]).into_response(),
        status => StatusCode::from_u16(status).unwrap().into_response(),
    }
}

impl Receiver {
    async fn start(answers: &[u16]) -> Self {
        let inbox = Arc::new(Inbox::default());
        inbox.answers.lock().unwrap().extend(answers);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(take).with_state(inbox.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            inbox,
            address,
            serving,
        }
    }

    fn url(&self) -> String {
        format!("http://{}/hook?from=engine", self.address)
    }

    fn count(&self) -> usize {
        self.inbox.got.lock().unwrap().len()
    }

    /// The machine of each event, in the order they came.
    fn machines(&self) -> Vec<String> {
        let got = self.inbox.got.lock().unwrap();
        let machine = |body: &Bytes| {
            let event: Value = serde_json::from_slice(body).unwrap();
            event["machine_id"].as_str().unwrap().to_owned()
        };
        got.iter().map(|(_, body)| machine(body)).collect()
    }
}

async fn hook(served: &Served, url: &str, operations: &[&str]) -> String {
    let body = json!({ "url": url, "operations": operations, "signing_secret": SECRET });
    let made = served.post("/v1/lifecycle/webhooks", body).await.expect(201);
    made["id"].as_str().unwrap().to_owned()
}

async fn deliveries(served: &Served, id: &str) -> Vec<Value> {
    let path = format!("/v1/lifecycle/webhooks/{id}/deliveries");
    served.get(&path).await.expect(200).as_array().unwrap().clone()
}

/// Waits until the newest delivery is in this state and gives it.
async fn newest(served: &Served, id: &str, state: &str) -> Value {
    until(&format!("the newest delivery is {state}"), async || {
        let all = deliveries(served, id).await;
        all.first().is_some_and(|d| d["delivery_status"] == state)
    })
    .await;
    deliveries(served, id).await[0].clone()
}

#[tokio::test]
async fn a_webhook_is_made_shown_changed_and_removed_and_its_secret_never_answered() {
    let served = Served::start().await;
    let body = json!({
        "url": "http://127.0.0.1:9/hook", "operations": ["create", "destroy", "create"], "signing_secret": SECRET,
        "enabled": false
    });
    let made = served.post("/v1/lifecycle/webhooks", body).await.expect(201);
    let id = made["id"].as_str().unwrap();
    assert_eq!(id.len(), 36);
    assert_eq!(made["operations"], json!(["create", "destroy"]));
    assert_eq!(
        (&made["enabled"], &made["has_signing_secret"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(made["created_at"], made["updated_at"]);
    let path = format!("/v1/lifecycle/webhooks/{id}");
    assert_eq!(served.get(&path).await.expect(200), made);
    let change = json!({ "operations": ["fork"], "signing_secret": "another", "enabled": true });
    let changed = served.patch(&path, change).await.expect(200);
    assert_eq!(changed["operations"], json!(["fork"]));
    assert_eq!(
        (&changed["url"], &changed["enabled"]),
        (&made["url"], &json!(true))
    );
    let second = hook(&served, "https://example.test/x", &["create"]).await;
    let all = served.get("/v1/lifecycle/webhooks").await;
    assert!(
        !all.text.contains(SECRET) && !all.text.contains("another"),
        "{all:?}"
    );
    let all = all.expect(200);
    assert_eq!([&all[0]["id"], &all[1]["id"]], [&json!(second), &json!(id)]);
    assert!(
        all[0].get("last_delivery_at").is_none(),
        "absent, not null: {all}"
    );
    served.delete(&path).await.expect(204);
    for answer in [
        served.get(&path).await,
        served.patch(&path, json!({ "enabled": true })).await,
        served.delete(&path).await,
        served.get(&format!("{path}/deliveries")).await,
        served.get(&format!("{path}/deliveries/{second}")).await,
    ] {
        assert!(answer.refused(404, "not_found").contains(id));
    }
    served.stop().await;
}

#[tokio::test]
async fn wrong_webhooks_are_refused_with_the_field_and_a_good_value() {
    let served = Served::start().await;
    let good = json!({ "url": "http://h/x", "operations": ["create"], "signing_secret": "s" });
    let cases = [
        ("url", json!("ftp://h/x"), "http://"),
        ("url", json!("/hook"), "http://"),
        ("url", json!("http://me:pw@h/x"), "user name"),
        ("url", json!(7), "http://127.0.0.1:8080/hook"),
        ("operations", json!([]), "[\"create\"]"),
        ("operations", json!(["born"]), "timeout_expired"),
        ("operations", json!("create"), "[\"create\", \"destroy\"]"),
        ("signing_secret", json!(""), "32 random characters"),
        ("enabled", json!("yes"), "true or false"),
    ];
    for (field, value, says) in cases {
        let mut body = good.clone();
        body[field] = value;
        let reply = served.post("/v1/lifecycle/webhooks", body).await;
        let message = reply.refused(400, "invalid_request");
        assert!(message.contains(field) && message.contains(says), "{message}");
        assert!(!message.contains("pw"), "{message}");
    }
    let mut missing = good.clone();
    missing.as_object_mut().unwrap().remove("signing_secret");
    let reply = served.post("/v1/lifecycle/webhooks", missing).await;
    assert!(reply.refused(400, "invalid_request").contains("signing_secret"));
    let id = hook(&served, "http://127.0.0.1:9/", &["create"]).await;
    let path = format!("/v1/lifecycle/webhooks/{id}/deliveries?limit=0");
    assert!(served
        .get(&path)
        .await
        .refused(400, "invalid_request")
        .contains("limit"));
    served.stop().await;
}

#[tokio::test]
async fn nothing_is_sent_to_the_engine_itself_nor_to_services_of_the_host() {
    let served = Served::start().await;
    let port = served.url.rsplit(':').next().unwrap();
    let body = |url: &str| json!({ "url": url, "operations": ["create"], "signing_secret": SECRET });
    for host in [
        "169.254.169.254",
        "[fe80::1]",
        "192.0.0.192",
        "[::ffff:169.254.169.254]",
        &format!("127.0.0.1:{port}"),
        &format!("localhost:{port}"),
        &format!("0.0.0.0:{port}"),
        &format!("[::1]:{port}"),
    ] {
        let url = format!("http://{host}/latest");
        let why = served.post("/v1/lifecycle/webhooks", body(&url)).await;
        let why = why.refused(400, "invalid_request");
        assert!(why.contains("--allow-private-webhooks"), "{why}");
    }
    // The resolver understands this one only: found out when it is sent.
    let id = hook(&served, &format!("http://2130706433:{port}/x"), &["create"]).await;
    served.create(json!({})).await;
    until("the attempt is refused", async || {
        let all = deliveries(&served, &id).await;
        let why = all.first().and_then(|delivery| delivery["last_error"].as_str());
        why.is_some_and(|why| why.contains("is this engine itself"))
    })
    .await;
    served.webhooks.reach().allow_everywhere();
    hook(&served, "http://169.254.169.254/x", &["fork"]).await;
    served.stop().await;
}

#[tokio::test]
async fn an_event_is_delivered_with_its_headers_and_a_signature_that_holds() {
    let served = Served::start().await;
    let receiver = Receiver::start(&[]).await;
    let id = hook(&served, &receiver.url(), &["create"]).await;
    let machine = served.create(json!({})).await;
    served.delete(&format!("/v1/machines/{machine}")).await;
    let delivery = newest(&served, &id, "succeeded").await;
    // `destroy` was not asked for.
    assert_eq!(deliveries(&served, &id).await.len(), 1);
    let (headers, body) = receiver.inbox.got.lock().unwrap()[0].clone();
    let header = |name: &str| headers[name].to_str().unwrap();
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("x-nullspace-webhook-id"), id);
    assert_eq!(header("x-nullspace-delivery-id"), delivery["id"]);
    assert_eq!(header("x-nullspace-event-id"), delivery["event_id"]);
    assert_eq!(header("x-nullspace-signature-version"), "v1");
    let (at, given) = header("x-nullspace-signature").split_once(',').unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{}.", at.strip_prefix("t=").unwrap()).as_bytes());
    mac.update(&body);
    assert_eq!(given, format!("v1={}", hex::encode(mac.finalize().into_bytes())));
    // The body is the event as the API answers it.
    let event: Value = serde_json::from_slice(&body).unwrap();
    let listed = served
        .get("/v1/lifecycle/events?operation=create")
        .await
        .expect(200);
    assert_eq!(event, listed["events"][0]);
    let path = format!(
        "/v1/lifecycle/webhooks/{id}/deliveries/{}",
        delivery["id"].as_str().unwrap()
    );
    let detail = served.get(&path).await.expect(200);
    assert_eq!(detail["event"], event);
    assert_eq!(detail["delivery"], delivery);
    assert_eq!(detail["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(detail["attempts"][0]["response_status"], 200);
    assert!(detail["attempts"][0].get("error_code").is_none());
    let shown = served
        .get(&format!("/v1/lifecycle/webhooks/{id}"))
        .await
        .expect(200);
    assert_eq!(shown["last_delivery_status"], "succeeded");
    served.stop().await;
}

#[tokio::test]
async fn a_refused_delivery_is_repeated_and_those_behind_it_wait_their_turn() {
    let served = Served::start().await;
    let receiver = Receiver::start(&[500, 302]).await;
    let id = hook(&served, &receiver.url(), &["create"]).await;
    let first = served.create(json!({})).await;
    let second = served.create(json!({})).await;
    newest(&served, &id, "succeeded").await;
    assert_eq!(
        receiver.machines(),
        [&first, &first, &first, &second].map(String::as_str)
    );
    let bodies: Vec<Bytes> = receiver
        .inbox
        .got
        .lock()
        .unwrap()
        .iter()
        .map(|(_, b)| b.clone())
        .collect();
    assert!(
        bodies[0] == bodies[1] && bodies[1] == bodies[2],
        "the same bytes every time"
    );
    let delivery = deliveries(&served, &id).await[1].clone();
    assert_eq!(
        (&delivery["attempt_count"], &delivery["delivery_status"]),
        (&json!(3), &json!("succeeded"))
    );
    let path = format!(
        "/v1/lifecycle/webhooks/{id}/deliveries/{}",
        delivery["id"].as_str().unwrap()
    );
    let attempts = served.get(&path).await.expect(200)["attempts"].clone();
    let seen = |field: &str| {
        attempts
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a[field].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(seen("attempt_number"), [1, 2, 3]);
    assert_eq!(seen("response_status"), [500, 302, 200]);
    assert_eq!(
        seen("error_code"),
        [json!("http_status"), json!("http_status"), Value::Null]
    );
    assert!(attempts[1]["error_message"]
        .as_str()
        .unwrap()
        .contains("redirects are not followed"));
    served.stop().await;
}

#[tokio::test]
async fn one_receiver_that_does_not_answer_holds_up_no_other() {
    let served = Served::start().await;
    let (silent, quick) = (Receiver::start(&[0, 0, 0]).await, Receiver::start(&[]).await);
    let stuck = hook(&served, &silent.url(), &["create"]).await;
    let fine = hook(&served, &quick.url(), &["create"]).await;
    served.create(json!({})).await;
    newest(&served, &fine, "succeeded").await;
    assert_eq!(
        deliveries(&served, &stuck).await[0]["delivery_status"],
        "in_progress"
    );
    served.stop().await;
}

#[tokio::test]
async fn a_webhook_that_is_off_or_gone_gets_nothing_more() {
    let served = Served::start().await;
    let receiver = Receiver::start(&[0]).await;
    let id = hook(&served, &receiver.url(), &["create"]).await;
    let path = format!("/v1/lifecycle/webhooks/{id}");
    let first = served.create(json!({})).await;
    until("the delivery is under way", async || receiver.count() == 1).await;
    served.patch(&path, json!({ "enabled": false })).await.expect(200);
    let kept = deliveries(&served, &id).await;
    assert_eq!(
        (&kept[0]["delivery_status"], &kept[0]["attempt_count"]),
        (&json!("queued"), &json!(0)),
        "broken off, not counted"
    );
    served.create(json!({})).await;
    assert_eq!(
        deliveries(&served, &id).await.len(),
        1,
        "an event of the time it was off"
    );
    served.patch(&path, json!({ "enabled": true })).await.expect(200);
    newest(&served, &id, "succeeded").await;
    assert_eq!(receiver.machines(), [&first, &first].map(String::as_str));
    receiver.inbox.answers.lock().unwrap().push_back(0);
    served.create(json!({})).await;
    until("another is under way", async || receiver.count() == 3).await;
    served.delete(&path).await.expect(204);
    served.create(json!({})).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(receiver.count(), 3);
    served.stop().await;
}

/// The rows of deliveries as another program would see them.
fn edit(served_state: &std::path::Path, sql: &str) {
    let file = rusqlite::Connection::open(served_state.join("state.sqlite")).unwrap();
    assert_eq!(file.execute(sql, []).unwrap(), 1, "{sql}");
}

#[tokio::test]
async fn deliveries_outlive_the_engine_that_queued_them() {
    let served = Served::start().await;
    let receiver = Receiver::start(&[0, 0]).await;
    let id = hook(&served, &receiver.url(), &["create"]).await;
    let first = served.create(json!({})).await;
    let second = served.create(json!({})).await;
    until("the first is under way", async || receiver.count() == 1).await;
    let (backend, state) = served.stop().await;
    // As a crash leaves it; a clean end puts it back.
    let oldest = "seq = (SELECT min(seq) FROM webhook_deliveries)";
    edit(
        state.path(),
        &format!(
            "UPDATE webhook_deliveries SET delivery_status = 'in_progress', attempt_count = 1 WHERE {oldest} \
             AND delivery_status = 'queued' AND attempt_count = 0"
        ),
    );
    receiver.inbox.answers.lock().unwrap().clear();
    let served = Served::start_with(backend, state).await;
    newest(&served, &id, "succeeded").await;
    assert_eq!(receiver.machines(), [&first, &first, &second].map(String::as_str));
    let delivery = deliveries(&served, &id).await[1]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/v1/lifecycle/webhooks/{id}/deliveries/{delivery}");
    let detail = served.get(&path).await.expect(200);
    assert_eq!(detail["attempts"][0]["error_code"], "interrupted");
    assert_eq!(detail["attempts"][1]["response_status"], 200);
    served.stop().await;
}

#[tokio::test]
async fn a_delivery_that_fails_to_the_end_is_a_dead_letter_and_the_next_goes_on() {
    let served = Served::start().await;
    let receiver = Receiver::start(&[503, 503]).await;
    let id = hook(&served, &receiver.url(), &["create"]).await;
    let first = served.create(json!({})).await;
    until("it is queued again", async || {
        deliveries(&served, &id).await[0]["last_response_status"] == 503
    })
    .await;
    let waiting = deliveries(&served, &id).await[0].clone();
    assert_eq!(waiting["delivery_status"], "queued");
    assert!(waiting["next_attempt_at"].is_string() && waiting["last_attempt_at"].is_string());
    let second = served.create(json!({})).await;
    let (backend, state) = served.stop().await;
    // Six of the eight attempts are not waited for.
    edit(
        state.path(),
        "UPDATE webhook_deliveries SET attempt_count = 7, next_attempt_at = 0 WHERE attempt_count > 0 \
         AND delivery_status = 'queued'",
    );
    receiver.inbox.answers.lock().unwrap().clear();
    receiver.inbox.answers.lock().unwrap().push_back(503);
    let served = Served::start_with(backend, state).await;
    newest(&served, &id, "succeeded").await;
    let dead = deliveries(&served, &id).await[1].clone();
    assert_eq!(dead["delivery_status"], "dead_letter");
    assert_eq!(
        (&dead["attempt_count"], &dead["last_response_status"]),
        (&json!(8), &json!(503))
    );
    assert!(dead.get("next_attempt_at").is_none());
    assert_eq!(receiver.machines().last(), Some(&second));
    assert!(receiver.machines().contains(&first));
    served.stop().await;
}
