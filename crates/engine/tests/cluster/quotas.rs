//! Quotas of keys: what two gateways count together.

use futures_util::future::join_all;
use nullspace_engine::cluster::db::Db;
use nullspace_engine::cluster::quotas::{self, Quota};
use serde_json::{json, Value};

use crate::cluster::Whole;
use crate::support::{until, Reply};

async fn limited(whole: &Whole, quota: Quota) {
    let db = Db::open(&whole.database).unwrap();
    quotas::limit(&db, "tests", quota).await.unwrap();
    // Gateways read it within a second.
    for gateway in &whole.gateways {
        let holder = nullspace_engine::server::access::Holder("tests".into());
        let has_quota = quota != Quota::default();
        until("the quota is read", async || {
            gateway.cluster.keys().has_quota(&holder) == has_quota
        })
        .await;
    }
}

fn sized(memory_mb: u32) -> Value {
    json!({ "template": "base", "memory_mb": memory_mb, "vcpus": 1 })
}

fn counts(answers: Vec<Reply>) -> (usize, Vec<Reply>) {
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    (made.len(), refused)
}

#[tokio::test]
async fn two_gateways_at_once_do_not_make_more_machines_than_a_key_may_have() {
    let whole = Whole::start(2, 2).await;
    let quota = Quota {
        machines: Some(5),
        ..Quota::default()
    };
    limited(&whole, quota).await;
    let answers = join_all((0..16).map(|n| whole.gateways[n % 2].post("/v1/machines", sized(128)))).await;
    let (made, refused) = counts(answers);
    assert_eq!(made, 5);
    assert_eq!(whole.living().await, 5);
    for answer in refused {
        assert_eq!(answer.headers["retry-after"], "10");
        assert_eq!(answer.json()["retryable"], true);
        let text = answer.refused(429, "rate_limit_exceeded");
        assert!(
            text.contains("quota machines of the key \"tests\" is 5: "),
            "{text}"
        );
    }
    // One goes, one comes; the keys of others are not asked.
    let all = whole.gateway().get("/v1/machines").await.expect(200);
    let id = all["items"][0]["id"].as_str().unwrap();
    whole
        .gateway()
        .delete(&format!("/v1/machines/{id}"))
        .await
        .expect(200);
    until("its room is free", async || {
        whole.gateways[1].post("/v1/machines", sized(128)).await.status == 201
    })
    .await;
    limited(&whole, Quota::default()).await;
    whole.gateway().post("/v1/machines", sized(128)).await.expect(201);
}

#[tokio::test]
async fn memory_and_processors_are_summed_and_forks_count_like_their_parent() {
    let whole = Whole::start(1, 1).await;
    let gateway = whole.gateway();
    let quota = Quota {
        memory_mb: Some(1000),
        vcpus: Some(3),
        ..Quota::default()
    };
    limited(&whole, quota).await;
    let id = gateway.create(sized(400)).await;
    let fork = format!("/v1/machines/{id}/fork");
    gateway.post_with_key(&fork, "one", json!({})).await.expect(201);
    let text = gateway
        .post(&fork, json!({}))
        .await
        .refused(429, "rate_limit_exceeded");
    assert!(
        text.contains("quota memory_mb of the key \"tests\" is 1000: 800 in use, 400 asked for"),
        "{text}"
    );
    // The repeat of a fork that was paid for is answered.
    gateway.post_with_key(&fork, "one", json!({})).await.expect(201);
    assert_eq!(whole.living().await, 2);
    gateway.post("/v1/machines", sized(128)).await.expect(201);
    let text = gateway
        .post("/v1/machines", sized(64))
        .await
        .refused(429, "rate_limit_exceeded");
    assert!(text.contains("quota vcpus"), "{text}");
}

#[tokio::test]
async fn creates_of_a_minute_are_counted_once_for_each_key() {
    let whole = Whole::start(2, 1).await;
    let quota = Quota {
        creates_per_minute: Some(3),
        ..Quota::default()
    };
    limited(&whole, quota).await;
    let post = |gateway: usize, key: &'static str| {
        whole.gateways[gateway].post_with_key("/v1/machines", key, sized(128))
    };
    let answers = join_all((0..12).map(|n| post(n % 2, ["a", "b", "c"][n % 3]))).await;
    let (made, refused) = counts(answers);
    assert_eq!((made, refused.len()), (12, 0));
    assert_eq!(whole.living().await, 3);
    let answer = post(0, "d").await;
    let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    let text = answer.refused(429, "rate_limit_exceeded");
    assert!(text.contains("creates_per_minute"), "{text}");
    // Nothing was written down for it, and what was paid for is still answered.
    post(1, "a").await.expect(201);
    post(1, "d").await.refused(429, "rate_limit_exceeded");
}

#[tokio::test]
async fn a_create_that_fails_leaves_room() {
    let whole = Whole::start(1, 1).await;
    let quota = Quota {
        machines: Some(1),
        ..Quota::default()
    };
    limited(&whole, quota).await;
    let wrong = json!({ "template": "there-is-no-such" });
    for _ in 0..2 {
        let answer = whole.gateway().post("/v1/machines", wrong.clone()).await;
        answer.refused(404, "template_not_found");
        let answer = whole
            .gateway()
            .post_with_key("/v1/machines", "k", wrong.clone())
            .await;
        answer.refused(404, "template_not_found");
    }
    whole.gateway().post("/v1/machines", sized(128)).await.expect(201);
}
