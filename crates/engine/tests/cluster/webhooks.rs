//! Webhooks of a cluster: each event is delivered once and in order, whichever gateway sends.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::Router;
use nullspace_engine::cluster::db::Db;
use reqwest::Method;
use serde_json::{json, Value};

use crate::cluster::{Gateway, Whole};
use crate::support::until;

/// What a receiver got, and what it answers: statuses in turn, then 200. 0 = no answer at all.
#[derive(Default)]
struct Inbox {
    got: Mutex<Vec<(HeaderMap, Value)>>,
    answers: Mutex<VecDeque<u16>>,
}

async fn take(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let event = serde_json::from_slice(&body).unwrap();
    inbox.got.lock().unwrap().push((headers, event));
    let answer = inbox.answers.lock().unwrap().pop_front().unwrap_or(200);
    match answer {
        0 => std::future::pending().await,
        status => StatusCode::from_u16(status).unwrap(),
    }
}

async fn receiver(answers: &[u16]) -> (Arc<Inbox>, String) {
    let inbox = Arc::new(Inbox::default());
    inbox.answers.lock().unwrap().extend(answers);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let router = Router::new().fallback(take).with_state(inbox.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (inbox, url)
}

async fn hook(gateway: &Gateway, url: &str) -> String {
    let body =
        json!({ "url": url, "operations": ["create", "destroy"], "signing_secret": "whsec-of-the-test" });
    let made = gateway.post("/v1/lifecycle/webhooks", body).await.expect(201);
    made["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_event_is_delivered_once_and_in_order_while_a_gateway_dies() {
    let mut whole = Whole::start(2, 3).await;
    whole.gateways[0].create(json!({})).await;
    let (inbox, url) = receiver(&[]).await;
    let id = hook(&whole.gateways[0], &url).await;
    let mut made = Vec::new();
    for n in 0..20 {
        let gateway = whole.gateways.last().unwrap();
        let machine = gateway.create(json!({})).await;
        gateway
            .delete(&format!("/v1/machines/{machine}"))
            .await
            .expect(200);
        made.push(machine);
        if n == 10 {
            whole.gateways[0].kill();
            whole.gateways.remove(0);
        }
    }
    until("all are delivered", async || {
        inbox.got.lock().unwrap().len() >= 40
    })
    .await;
    let got = inbox.got.lock().unwrap().clone();
    let mut machines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (headers, event) in &got {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let delivery = headers["x-nullspace-delivery-id"].to_str().unwrap().to_owned();
        assert!(headers["x-nullspace-signature"]
            .to_str()
            .unwrap()
            .starts_with("t="));
        seen.entry(text(&event["id"])).or_default().push(delivery);
        let operations = machines.entry(text(&event["machine_id"])).or_default();
        operations.push(text(&event["operation"]));
        // Only a gateway that dies between an answer and its note sends the same delivery again.
        operations.dedup();
    }
    assert!(got.len() <= 41, "{} of 40", got.len());
    for (event, mut deliveries) in seen {
        deliveries.dedup();
        assert_eq!(deliveries.len(), 1, "{event}: {deliveries:?}");
    }
    assert_eq!(machines.len(), 20, "nothing of the time before the webhook");
    for machine in &made {
        assert_eq!(machines[machine], ["create", "destroy"], "{machine}");
    }
    let gateway = whole.gateway();
    until("all are noted", async || {
        let path = format!("/v1/lifecycle/webhooks/{id}/deliveries?limit=100");
        let listed = gateway.get(&path).await.expect(200);
        let all = listed.as_array().unwrap();
        all.len() == 40
            && all
                .iter()
                .all(|delivery| delivery["delivery_status"] == "succeeded")
    })
    .await;
}

#[tokio::test]
async fn a_failed_delivery_is_repeated_before_the_next_and_settings_are_those_of_all_gateways() {
    let whole = Whole::start(2, 1).await;
    let (one, other) = (&whole.gateways[0], &whole.gateways[1]);
    let (inbox, url) = receiver(&[500]).await;
    let id = hook(one, &url).await;
    let path = format!("/v1/lifecycle/webhooks/{id}");
    let machine = one.create(json!({})).await;
    one.delete(&format!("/v1/machines/{machine}")).await.expect(200);
    until("three attempts", async || inbox.got.lock().unwrap().len() == 3).await;
    let operations: Vec<Value> = inbox
        .got
        .lock()
        .unwrap()
        .iter()
        .map(|(_, event)| event["operation"].clone())
        .collect();
    assert_eq!(operations, ["create", "create", "destroy"]);
    until("both are noted", async || {
        let shown = other.get(&path).await.expect(200);
        shown["last_delivery_status"] == "succeeded"
    })
    .await;
    let listed = other.get(&format!("{path}/deliveries")).await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let first = listed[1]["id"].as_str().unwrap();
    let detail = other.get(&format!("{path}/deliveries/{first}")).await.expect(200);
    assert_eq!(detail["event"]["operation"], "create");
    let statuses: Vec<&Value> = detail["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["response_status"])
        .collect();
    assert_eq!(statuses, [&json!(500), &json!(200)]);
    let off = other
        .request(Method::PATCH, &path)
        .json(&json!({ "enabled": false }));
    assert_eq!(other.send(off).await.expect(200)["enabled"], false);
    one.create(json!({})).await;
    assert_eq!(
        one.get("/v1/lifecycle/webhooks").await.expect(200)[0]["enabled"],
        false
    );
    // An event of the time when it was off is not sent, also when it is on again.
    one.get("/v1/lifecycle/events").await.expect(200);
    let on = one
        .request(Method::PATCH, &path)
        .json(&json!({ "enabled": true, "operations": ["create"] }));
    one.send(on).await.expect(200);
    let last = one.create(json!({})).await;
    until("the next one came", async || inbox.got.lock().unwrap().len() == 4).await;
    assert_eq!(inbox.got.lock().unwrap()[3].1["machine_id"], last.as_str());
    let wrong = json!({ "url": "nowhere", "operations": ["create"], "signing_secret": "s" });
    let text = one
        .post("/v1/lifecycle/webhooks", wrong)
        .await
        .refused(400, "invalid_request");
    assert!(text.contains("url"), "{text}");
    let own = format!("{}/v1/machines", one.url);
    let own = json!({ "url": own, "operations": ["create"], "signing_secret": "s" });
    one.post("/v1/lifecycle/webhooks", own)
        .await
        .refused(400, "invalid_request");
    one.delete(&path).await.expect(204);
    other.get(&path).await.refused(404, "not_found");
}

async fn deliveries(gateway: &Gateway, id: &str) -> Vec<Value> {
    let path = format!("/v1/lifecycle/webhooks/{id}/deliveries");
    gateway.get(&path).await.expect(200).as_array().unwrap().clone()
}

/// The machine of each event, in the order they came.
fn machines(inbox: &Inbox) -> Vec<String> {
    let got = inbox.got.lock().unwrap();
    let machine = |event: &Value| event["machine_id"].as_str().unwrap().to_owned();
    got.iter().map(|(_, event)| machine(event)).collect()
}

#[tokio::test]
async fn a_webhook_that_is_off_or_gone_gets_nothing_more_whichever_gateway_sends() {
    for changed_by in [0, 1] {
        // The first gateway alone, so that it sends.
        let mut whole = Whole::start(1, 1).await;
        let (inbox, url) = receiver(&[0]).await;
        let body = json!({ "url": url, "operations": ["create"], "signing_secret": "whsec-of-the-test" });
        let made = whole
            .gateway()
            .post("/v1/lifecycle/webhooks", body)
            .await
            .expect(201);
        let id = made["id"].as_str().unwrap();
        let path = format!("/v1/lifecycle/webhooks/{id}");
        let first = whole.gateway().create(json!({})).await;
        until("the delivery is under way", async || {
            inbox.got.lock().unwrap().len() == 1
        })
        .await;
        whole.add_gateway().await;
        whole.until_ready(1).await;
        let gateway = &whole.gateways[changed_by];
        let begun = Instant::now();
        gateway
            .patch(&path, json!({ "enabled": false }))
            .await
            .expect(200);
        let kept = deliveries(gateway, id).await;
        assert_eq!(
            (&kept[0]["delivery_status"], &kept[0]["attempt_count"]),
            (&json!("queued"), &json!(0)),
            "broken off, not counted"
        );
        assert!(
            begun.elapsed() < Duration::from_millis(1500),
            "{:?}",
            begun.elapsed()
        );
        gateway.create(json!({})).await;
        gateway.get("/v1/lifecycle/events").await.expect(200);
        assert_eq!(
            deliveries(gateway, id).await.len(),
            1,
            "an event of the time it was off"
        );
        gateway.patch(&path, json!({ "enabled": true })).await.expect(200);
        until("it is delivered", async || {
            deliveries(gateway, id).await[0]["delivery_status"] == "succeeded"
        })
        .await;
        assert_eq!(machines(&inbox), [&first, &first].map(String::as_str));
        inbox.answers.lock().unwrap().push_back(0);
        gateway.create(json!({})).await;
        until("another is under way", async || {
            inbox.got.lock().unwrap().len() == 3
        })
        .await;
        gateway.delete(&path).await.expect(204);
        gateway.create(json!({})).await;
        gateway.get("/v1/lifecycle/events").await.expect(200);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(inbox.got.lock().unwrap().len(), 3);
    }
}

#[tokio::test]
async fn a_gateway_that_ends_leaves_its_delivery_to_another_at_once() {
    let mut whole = Whole::start(1, 1).await;
    let (inbox, url) = receiver(&[0]).await;
    let id = hook(whole.gateway(), &url).await;
    whole.gateway().create(json!({})).await;
    until("the delivery is under way", async || {
        inbox.got.lock().unwrap().len() == 1
    })
    .await;
    whole.add_gateway().await;
    let begun = Instant::now();
    whole.gateway().cluster.closing().cancel();
    whole.gateways.remove(0);
    until("it is delivered", async || {
        deliveries(whole.gateway(), &id).await[0]["delivery_status"] == "succeeded"
    })
    .await;
    // Its claim would have lasted for longer.
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_delivery_of_a_gateway_that_is_gone_does_not_hold_up_a_change() {
    let whole = Whole::start(1, 1).await;
    let gateway = whole.gateway();
    let (inbox, url) = receiver(&[]).await;
    let id = hook(gateway, &url).await;
    let path = format!("/v1/lifecycle/webhooks/{id}");
    gateway.create(json!({})).await;
    until("it is delivered", async || {
        let all = deliveries(gateway, &id).await;
        all.first()
            .is_some_and(|delivery| delivery["delivery_status"] == "succeeded")
    })
    .await;
    // As a gateway leaves it that lost its power.
    let claim = "UPDATE webhook_deliveries SET delivery_status = 'in_progress', attempt_count = 1, last_attempt_at = 7, \
                 claimed_until = clock_timestamp() + interval '1 hour'";
    let db = Db::open(&whole.database).unwrap();
    assert_eq!(db.get().await.unwrap().execute(claim, &[]).await.unwrap(), 1);
    gateway.patch(&path, json!({ "enabled": true })).await.expect(200);
    until("it is sent by this one", async || {
        inbox.got.lock().unwrap().len() == 2
    })
    .await;
    assert_eq!(db.get().await.unwrap().execute(claim, &[]).await.unwrap(), 1);
    gateway.delete(&path).await.expect(204);
    assert_eq!(gateway.get("/v1/lifecycle/webhooks").await.expect(200), json!([]));
}

#[tokio::test]
async fn nothing_is_sent_to_the_cluster_itself_nor_to_services_of_the_host() {
    let mut whole = Whole::start(2, 1).await;
    let port = |url: &str| url.rsplit(':').next().unwrap().to_owned();
    let (own, other) = (port(&whole.gateways[0].url), port(&whole.gateways[1].url));
    let node = port(&whole.nodes[0].url);
    let body =
        |url: &str| json!({ "url": url, "operations": ["create"], "signing_secret": "whsec-of-the-test" });
    let refused = async |url: &str| {
        let reply = whole.gateway().post("/v1/lifecycle/webhooks", body(url)).await;
        if reply.status == 201 {
            let id = reply.json()["id"].as_str().unwrap().to_owned();
            whole
                .gateway()
                .delete(&format!("/v1/lifecycle/webhooks/{id}"))
                .await
                .expect(204);
            return false;
        }
        let why = reply.refused(400, "invalid_request");
        assert!(why.contains("--allow-private-webhooks"), "{why}");
        true
    };
    for host in [
        "169.254.169.254",
        "[fe80::1]",
        "192.0.0.192",
        "[::ffff:169.254.169.254]",
        &format!("127.0.0.1:{own}"),
        &format!("0.0.0.0:{own}"),
        &format!("[::1]:{own}"),
    ] {
        assert!(refused(&format!("http://{host}/latest")).await, "{host}");
    }
    // A gateway hears of the others in a moment.
    for port in [&other, &node] {
        until("the other part is refused", async || {
            refused(&format!("http://localhost:{port}/x")).await
        })
        .await;
    }
    // Only the resolver understands this one.
    let id = hook(whole.gateway(), &format!("http://2130706433:{node}/x")).await;
    whole.gateway().create(json!({})).await;
    until("the attempt is refused", async || {
        let all = deliveries(whole.gateway(), &id).await;
        let why = all.first().and_then(|delivery| delivery["last_error"].as_str());
        why.is_some_and(|why| why.contains("is a part of this cluster"))
    })
    .await;
    whole.allow_private_webhooks = true;
    whole.add_gateway().await;
    let body = body("http://169.254.169.254/x");
    whole.gateways[2]
        .post("/v1/lifecycle/webhooks", body)
        .await
        .expect(201);
}
