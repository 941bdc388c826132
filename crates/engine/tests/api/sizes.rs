//! Sizes on a computer that cannot enforce them: what somebody asked for is refused, and defaults are not.

use std::sync::Arc;

use crate::support::{Plain, Served};
use nullspace_engine::isolation::{Capabilities, Gap, Limit};
use serde_json::{json, Value};

/// A computer that limits nothing.
fn nothing(best_effort: bool) -> Capabilities {
    let gap = |limit| Gap {
        limit,
        reason: "there are no control groups".into(),
        mend: "start the engine as root".into(),
    };
    Capabilities {
        gaps: [Limit::Memory, Limit::Cpu, Limit::Pids, Limit::Disk]
            .map(gap)
            .into(),
        best_effort,
        ..Capabilities::default()
    }
}

async fn served_on(capabilities: Capabilities, state: Arc<tempfile::TempDir>) -> Served {
    Served::start_with(Plain::on(capabilities), state).await
}

fn state() -> Arc<tempfile::TempDir> {
    Arc::new(tempfile::tempdir().unwrap())
}

fn pool(resources: Value) -> Value {
    json!({ "name": "web", "template_ref": "base", "resources": resources, "min_ready": 0, "max_ready": 1 })
}

#[tokio::test]
async fn machines_pools_and_builds_of_a_size_that_does_not_hold_are_refused() {
    let served = served_on(nothing(false), state()).await;
    for (body, size) in [
        (json!({ "memory_mb": 256 }), "memory_mb 256"),
        (json!({ "vcpus": 1 }), "vcpus 1"),
        (json!({ "disk_mb": 1024 }), "disk_mb 1024"),
    ] {
        let reply = served.post("/v1/machines", body).await;
        let action = reply.json()["suggested_action"].as_str().unwrap().to_owned();
        assert!(action.contains("--best-effort"), "{action}");
        let message = reply.refused(400, "feature_unavailable");
        assert_eq!(
            message,
            format!("{size} cannot be enforced on this computer: there are no control groups")
        );
    }
    assert_eq!(served.backend.alive(), 0);

    let made = served
        .post(
            "/v1/template-warm-pools",
            pool(json!({ "vcpus": 2, "memory_mb": 512 })),
        )
        .await
        .expect(201);
    let path = format!("/v1/template-warm-pools/{}", made["id"].as_str().unwrap());
    let small = json!({ "vcpus": 2, "memory_mb": 64 });
    let refused = served.post("/v1/template-warm-pools", pool(small.clone())).await;
    refused.refused(400, "feature_unavailable");
    let refused = served.patch(&path, json!({ "resources": small })).await;
    refused.refused(400, "feature_unavailable");
    assert_eq!(served.get(&path).await.expect(200)["resources"]["memory_mb"], 512);

    let build =
        |config: Value| json!({ "name": "t", "base_image": "nullspace/base", "build_config": config });
    let refused = served
        .post("/v1/templates/builds", build(json!({ "vcpus": 4 })))
        .await;
    refused.refused(400, "feature_unavailable");
    let valid = served
        .post("/v1/templates/validate", build(json!({ "disk_mb": 2048 })))
        .await
        .expect(200);
    assert_eq!(valid["errors"][0]["code"], "feature_unavailable");
    served.stop().await;
}

#[tokio::test]
async fn defaults_start_however_they_come_and_the_rest_does_with_best_effort() {
    let served = served_on(nothing(false), state()).await;
    for body in [
        json!({}),
        json!({ "vcpus": 2, "memory_mb": 512 }),
        json!({ "template": "code-interpreter", "vcpus": 2, "memory_mb": 2048 }),
    ] {
        served.create(body).await;
    }
    // Sizes that nobody gave are those of the engine, and so are those of a copy.
    let id = served.create(json!({})).await;
    let fork = served.post(&format!("/v1/machines/{id}/fork"), json!({})).await;
    fork.expect(201);
    served.stop().await;

    let served = served_on(nothing(true), state()).await;
    served
        .create(json!({ "vcpus": 8, "memory_mb": 64, "disk_mb": 1024 }))
        .await;
    served.stop().await;
}

#[tokio::test]
async fn a_pool_of_an_engine_with_more_rights_is_not_filled_without_them() {
    let served = served_on(Capabilities::default(), state()).await;
    let body = json!({
        "name": "web", "template_ref": "base", "resources": { "vcpus": 2, "memory_mb": 64 },
        "min_ready": 1, "max_ready": 1,
    });
    let made = served.post("/v1/template-warm-pools", body).await.expect(201);
    let id = made["id"].as_str().unwrap().to_owned();
    served.until_ready(&id, 1).await;
    let (_, state) = served.stop().await;

    let served = served_on(nothing(false), state).await;
    crate::support::until("the pool says that it cannot be filled", async || {
        let pool = served
            .get(&format!("/v1/template-warm-pools/{id}"))
            .await
            .expect(200);
        pool["degraded_reason"] == "no_eligible_hosts"
    })
    .await;
    assert_eq!(served.backend.alive(), 0);
    served.stop().await;
}
