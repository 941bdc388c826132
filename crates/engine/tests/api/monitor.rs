//! The monitor socket over real connections.

use std::time::Duration;

use crate::support::{Served, KEY};
use futures_util::{SinkExt, StreamExt};
use serde_json::{json, Value};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{connect_async, MaybeTlsStream, WebSocketStream};

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn open(served: &Served) -> Self {
        let url = format!("{}/v1/monitor/ws", served.url.replace("http", "ws"));
        let mut request = url.into_client_request().unwrap();
        let key = format!("Bearer {KEY}").parse().unwrap();
        request.headers_mut().insert("authorization", key);
        Self(connect_async(request).await.unwrap().0)
    }

    async fn send(&mut self, frame: Value) {
        self.0
            .send(Message::Text(frame.to_string().into()))
            .await
            .unwrap();
    }

    /// The next frame; `None` after the close.
    async fn next(&mut self) -> Option<Value> {
        let next = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(_)) => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), next)
            .await
            .expect("a frame in time")
    }

    /// The next frame that is so.
    async fn until(&mut self, is_so: impl Fn(&Value) -> bool) -> Value {
        loop {
            let frame = self.next().await.expect("it is open");
            if is_so(&frame) {
                return frame;
            }
        }
    }
}

fn subscribe(id: &str) -> Value {
    json!({ "type": "monitor_subscribe", "id": id, "interval_ms": 100 })
}

#[tokio::test]
async fn a_snapshot_comes_first_and_then_what_changes() {
    let served = Served::start().await;
    let first = served.create(json!({ "metadata": { "n": 1 } })).await;
    let mut client = Client::open(&served).await;
    client.send(subscribe("m")).await;
    let snapshot = client.next().await.unwrap();
    assert_eq!(
        (&snapshot["type"], &snapshot["id"]),
        (&json!("monitor_snapshot"), &json!("m"))
    );
    assert_eq!(snapshot["machines"][0]["id"], first);
    assert_eq!(snapshot["machines"][0]["metadata"], json!({ "n": 1 }));
    let metrics = client.next().await.unwrap();
    assert_eq!(
        (&metrics["type"], &metrics["machine_id"]),
        (&json!("monitor_metrics"), &json!(first))
    );
    assert!(metrics["metrics"]["cpu_percent"].is_number(), "{metrics}");
    assert!(metrics["metrics"]["network_tx_bytes"].is_number(), "{metrics}");
    // The lease runs down between two looks, and that is no change.
    assert_eq!(client.next().await.unwrap()["type"], "monitor_metrics");
    let second = served.create(json!({})).await;
    let update = client.until(|f| f["type"] == "monitor_update").await;
    assert_eq!(
        (&update["machine_id"], &update["removed"]),
        (&json!(second), &json!(false))
    );
    served
        .post(&format!("/v1/machines/{second}/hibernate"), json!({}))
        .await;
    let paused = client
        .until(|f| f["type"] == "monitor_update" && f["machine"]["status"] == "paused")
        .await;
    assert_eq!(paused["machine_id"], second);
    served.delete(&format!("/v1/machines/{first}")).await;
    let gone = client.until(|f| f["removed"] == true).await;
    assert_eq!(
        (&gone["machine_id"], &gone["machine"]),
        (&json!(first), &Value::Null)
    );
    served.stop().await;
    assert!(client.next().await.is_none(), "closed with the engine");
}

#[tokio::test]
async fn subscriptions_of_a_socket_are_apart_and_end_one_by_one() {
    let served = Served::start().await;
    let machine = served.create(json!({})).await;
    let body = json!({ "command": "sleep 77", "shell": true, "background": true });
    served.post(&format!("/v1/machines/{machine}/exec"), body).await;
    let mut client = Client::open(&served).await;
    let mut with = subscribe("with");
    with["include_processes"] = true.into();
    client.send(with).await;
    client.send(subscribe("without")).await;
    let processes = client.until(|f| f["type"] == "monitor_processes").await;
    assert_eq!(processes["id"], "with");
    assert_eq!(processes["processes"][0]["command"], "sleep 77");
    client
        .until(|f| f["type"] == "monitor_metrics" && f["id"] == "without")
        .await;
    client
        .send(json!({ "type": "monitor_unsubscribe", "id": "with" }))
        .await;
    // Whatever was under way has come when the next two looks of the other have.
    for _ in 0..2 {
        client
            .until(|f| f["type"] == "monitor_metrics" && f["id"] == "without")
            .await;
    }
    for _ in 0..4 {
        assert_eq!(client.next().await.unwrap()["id"], "without");
    }
    // The name is free again.
    client.send(subscribe("with")).await;
    client
        .until(|f| f["type"] == "monitor_snapshot" && f["id"] == "with")
        .await;
    served.stop().await;
}

#[tokio::test]
async fn wrong_frames_get_an_error_and_end_nothing() {
    let served = Served::start().await;
    let mut client = Client::open(&served).await;
    client.send(subscribe("m")).await;
    assert_eq!(client.next().await.unwrap()["machines"], json!([]));
    let cases = [
        (subscribe("m"), "taken"),
        (json!({ "type": "monitor_subscribe" }), "id"),
        (
            json!({ "type": "monitor_subscribe", "id": "x", "interval_ms": 1 }),
            "100 to 3600000",
        ),
        (
            json!({ "type": "monitor_subscribe", "id": "x", "include_processes": 1 }),
            "true or false",
        ),
        (json!({ "type": "monitor", "id": "x" }), "monitor_subscribe"),
        (json!([]), "monitor_subscribe"),
    ];
    for (frame, says) in cases {
        client.send(frame.clone()).await;
        let error = client.next().await.unwrap();
        assert_eq!(error["type"], "monitor_error", "{frame}");
        assert_eq!(error["id"], frame["id"].as_str().unwrap_or_default());
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
    }
    let machine = served.create(json!({})).await;
    assert_eq!(client.next().await.unwrap()["machine_id"], machine);
    served.stop().await;
}

#[tokio::test]
async fn being_watched_keeps_no_machine_alive() {
    let served = Served::start().await;
    let machine = served.create(json!({ "inactivity_timeout_ms": 600 })).await;
    let mut client = Client::open(&served).await;
    let mut frame = subscribe("m");
    frame["include_processes"] = true.into();
    client.send(frame).await;
    let end = client
        .until(|f| {
            f["type"] == "monitor_update" && (f["removed"] == true || f["machine"]["status"] != "running")
        })
        .await;
    assert_eq!(end["machine_id"], machine);
    served.stop().await;
}
