//! Faults on request, and the clock that moves, over HTTP. Alone in its file: the clock is that of the whole process.

mod support;

use serde_json::{json, Value};
use support::{until, Served};

async fn rules(served: &Served, rules: Value) -> support::Reply {
    let request = served.request(reqwest::Method::PUT, "/faults/v1/rules");
    served.send(request.json(&json!({ "rules": rules }))).await
}

#[tokio::test]
async fn a_status_is_answered_as_an_error_of_the_api_and_counted() {
    let served = Served::start().await;
    let fault = json!({ "kind": "status", "status": 429, "retry_after": 7 });
    rules(
        &served,
        json!([{ "method": "GET", "path": "/v1/machines", "fault": fault }]),
    )
    .await
    .expect(200);
    let reply = served.get("/v1/machines").await;
    assert_eq!(reply.headers["retry-after"], "7");
    reply.refused(429, "rate_limit_exceeded");
    served.get("/v1/machines").await.expect(200);
    let shown = served.get("/faults/v1/rules").await.expect(200);
    assert_eq!(shown["rules"][0]["hits"], 2);
    served.delete("/faults/v1/rules").await.expect(204);
    assert_eq!(
        served.get("/faults/v1/rules").await.expect(200),
        json!({ "rules": [] })
    );
    let wrong = rules(&served, json!([{ "path": "/", "fault": { "kind": "no" } }])).await;
    assert!(wrong.refused(400, "invalid_request").contains("rules[0].fault"));
    served.stop().await;
}

#[tokio::test]
async fn before_and_after_differ_in_whether_the_work_is_done() {
    let served = Served::start().await;
    let fault = json!({ "kind": "status", "status": 503 });
    for (when, machines) in [("before", 0), ("after", 1)] {
        let rule = json!([{ "method": "POST", "path": "/v1/machines", "fault": fault, "when": when }]);
        rules(&served, rule).await.expect(200);
        served
            .post("/v1/machines", json!({}))
            .await
            .refused(503, "service_unavailable");
        let listed = served.get("/v1/machines").await.expect(200);
        assert_eq!(listed["items"].as_array().unwrap().len(), machines, "{when}");
    }
    served.stop().await;
}

#[tokio::test]
async fn connections_are_cut_without_an_answer_and_within_one() {
    let served = Served::start().await;
    served.create(json!({})).await;
    rules(
        &served,
        json!([{ "path": "/v1/machines", "fault": { "kind": "drop" } }]),
    )
    .await
    .expect(200);
    let error = served
        .request(reqwest::Method::GET, "/v1/machines")
        .send()
        .await
        .unwrap_err();
    assert!(error.is_request(), "{error:?}");
    rules(
        &served,
        json!([{ "path": "/v1/machines", "fault": { "kind": "cut_body", "after_bytes": 10 } }]),
    )
    .await
    .expect(200);
    let begun = served
        .request(reqwest::Method::GET, "/v1/machines")
        .send()
        .await
        .unwrap();
    assert!(begun.status().is_success());
    assert!(begun.text().await.is_err());
    let slow = json!([{ "path": "/v1/machines", "fault": { "kind": "delay", "ms": 300 } }]);
    rules(&served, slow).await.expect(200);
    let started = std::time::Instant::now();
    served.get("/v1/machines").await.expect(200);
    assert!(started.elapsed().as_millis() >= 300);
    served.stop().await;
}

#[tokio::test]
async fn a_moved_clock_ends_what_is_due() {
    let served = Served::start().await;
    let kept = served.create(json!({ "timeout_ms": 80_000_000 })).await;
    let short = served.create(json!({ "timeout_ms": 3_600_000 })).await;
    let paused = served
        .create(json!({ "timeout_ms": 80_000_000, "auto_delete_after_ms": 3_600_000 }))
        .await;
    let idle = served
        .create(json!({ "timeout_ms": 80_000_000, "inactivity_timeout_ms": 3_600_000 }))
        .await;
    served
        .post(&format!("/v1/machines/{paused}/hibernate"), json!({}))
        .await
        .expect(200);
    let before = served.get("/faults/v1/clock").await.expect(200);
    let moved = served
        .post("/faults/v1/clock", json!({ "advance_ms": 3_700_000 }))
        .await
        .expect(200);
    let ahead = |clock: &Value| clock["ahead_ms"].as_u64().unwrap();
    assert_eq!(ahead(&moved) - ahead(&before), 3_700_000);
    for id in [&short, &paused, &idle] {
        let path = format!("/v1/machines/{id}");
        until("it is over", async || served.get(&path).await.status == 404).await;
    }
    let left = served.get(&format!("/v1/machines/{kept}")).await.expect(200);
    assert!(left["remaining_ms"].as_u64().unwrap() < 76_400_000, "{left}");
    let events = served
        .get(&format!("/v1/machines/{short}/lifecycle"))
        .await
        .expect(200);
    assert!(
        events["events"]
            .as_array()
            .unwrap()
            .iter()
            .any(|e| e["reason"] == "timeout"),
        "{events}"
    );
    served
        .post("/faults/v1/clock", json!({ "advance_ms": -1 }))
        .await
        .refused(400, "invalid_request");
    served.stop().await;
}
