//! Idempotency keys through real HTTP.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::{until, Served};
use serde_json::json;

#[tokio::test]
async fn a_repeated_key_gives_the_same_answer_and_one_machine() {
    let served = Served::start().await;
    *served.backend.delay.lock().unwrap() = Duration::from_millis(200);
    let body = json!({ "metadata": { "a": 1, "b": 2 } });
    let same = json!({ "metadata": { "b": 2, "a": 1 } });
    let (first, second) = tokio::join!(
        served.post_with_key("/v1/machines", "k1", body.clone()),
        served.post_with_key("/v1/machines", "k1", same)
    );
    let first = first.expect(201);
    assert_eq!(second.expect(201), first);
    assert_eq!(
        served
            .post_with_key("/v1/machines", "k1", body.clone())
            .await
            .expect(201),
        first
    );
    assert_eq!(served.backend.started.load(Ordering::SeqCst), 1);
    let other = served.post_with_key("/v1/machines", "k2", body).await.expect(201);
    assert_ne!(other["id"], first["id"]);
    served.stop().await;
}

#[tokio::test]
async fn a_key_with_another_body_is_a_conflict_at_once() {
    let served = Served::start().await;
    *served.backend.delay.lock().unwrap() = Duration::from_millis(300);
    let (first, clash) = tokio::join!(
        served.post_with_key("/v1/machines", "k", json!({ "vcpus": 1 })),
        async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            served
                .post_with_key("/v1/machines", "k", json!({ "vcpus": 2 }))
                .await
        }
    );
    let message = clash.refused(409, "conflict");
    assert!(
        message.contains("\"k\"") && message.contains("another request body"),
        "{message}"
    );
    first.expect(201);
    served
        .post_with_key("/v1/machines", "k", json!({ "vcpus": 2 }))
        .await
        .refused(409, "conflict");
    for key in ["two words", &"x".repeat(256)] {
        served
            .post_with_key("/v1/machines", key, json!({}))
            .await
            .refused(400, "invalid_request");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_client_that_goes_away_gets_its_machine_by_asking_again() {
    let served = Served::start().await;
    *served.backend.delay.lock().unwrap() = Duration::from_millis(400);
    let request = served
        .request(reqwest::Method::POST, "/v1/machines")
        .header("idempotency-key", "k");
    let impatient = request
        .json(&json!({}))
        .timeout(Duration::from_millis(100))
        .send()
        .await;
    assert!(impatient.unwrap_err().is_timeout());
    let made = served
        .post_with_key("/v1/machines", "k", json!({}))
        .await
        .expect(201);
    assert_eq!(served.backend.started.load(Ordering::SeqCst), 1);
    let listed = served.get("/v1/machines").await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["id"], made["id"]);
    served.stop().await;
}

#[tokio::test]
async fn a_client_that_goes_away_without_a_key_leaves_a_machine_with_its_lease() {
    let served = Served::start().await;
    // Long enough for a busy computer to read the request, and to see the machine while it lives.
    *served.backend.delay.lock().unwrap() = Duration::from_secs(2);
    let request = served.request(reqwest::Method::POST, "/v1/machines");
    let impatient = request
        .json(&json!({ "timeout_ms": 2000 }))
        .timeout(Duration::from_secs(1))
        .send()
        .await;
    assert!(impatient.unwrap_err().is_timeout());
    until("it runs", async || served.backend.alive() == 1).await;
    until("its lease ended", async || served.backend.alive() == 0).await;
    served.stop().await;
}

#[tokio::test]
async fn a_key_makes_one_snapshot_and_one_fork() {
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    for path in [
        format!("/v1/machines/{id}/snapshots"),
        format!("/v1/machines/{id}/fork"),
    ] {
        let first = served.post_with_key(&path, "k", json!({})).await.expect(201);
        let again = served.post_with_key(&path, "k", json!({})).await.expect(201);
        assert_eq!(first, again);
    }
    assert_eq!(
        served
            .get("/v1/snapshots")
            .await
            .expect(200)
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(served.backend.alive(), 2);
    served.stop().await;
}

#[tokio::test]
async fn a_key_whose_work_was_destroyed_says_so_and_makes_nothing_new() {
    let served = Served::start().await;
    let made = served
        .post_with_key("/v1/machines", "k", json!({}))
        .await
        .expect(201);
    let id = made["id"].as_str().unwrap();
    let parent = served.create(json!({})).await;
    let child = served
        .post_with_key(&format!("/v1/machines/{parent}/fork"), "k", json!({}))
        .await
        .expect(201);
    let snapshot = served
        .post_with_key(&format!("/v1/machines/{parent}/snapshots"), "k", json!({}))
        .await
        .expect(201);
    let gone = [
        ("/v1/machines".to_owned(), format!("/v1/machines/{id}")),
        (
            format!("/v1/machines/{parent}/fork"),
            format!("/v1/machines/{}", child["id"].as_str().unwrap()),
        ),
        (
            format!("/v1/machines/{parent}/snapshots"),
            format!("/v1/snapshots/{}", snapshot["id"].as_str().unwrap()),
        ),
    ];
    let started = served.backend.started.load(Ordering::SeqCst);
    for (make, made) in gone {
        served.delete(&made).await;
        let id = made.rsplit('/').next().unwrap();
        let message = served
            .post_with_key(&make, "k", json!({}))
            .await
            .refused(409, "idempotency_key_expired");
        assert!(message.contains("\"k\"") && message.contains(id), "{message}");
    }
    assert_eq!(served.backend.started.load(Ordering::SeqCst), started);
    served
        .post_with_key("/v1/machines", "new", json!({}))
        .await
        .expect(201);
    served.stop().await;
}
