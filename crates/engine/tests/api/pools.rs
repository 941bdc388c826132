//! Warm pools through real HTTP: filling, checkout in each mode, states.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::support::{until, Plain, Served};
use serde_json::{json, Value};

fn from_pool(pool: &str, mode: &str, more: Value) -> Value {
    let mut body = json!({
        "template": "base", "vcpus": 2, "memory_mb": 512, "envs": {}, "metadata": {}, "internet_access": true,
        "cwd": null, "desktop": null, "network": null, "volumes": null, "auto_resume": false,
        "warm_pool": { "id": pool, "mode": mode }
    });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

#[tokio::test]
async fn a_ready_machine_is_taken_with_the_settings_of_the_create_and_replaced() {
    let served = Served::start().await;
    let pool = served.pool(2, 3).await;
    assert_eq!(
        served.get("/v1/machines").await.expect(200)["items"],
        json!([]),
        "ready machines are nobody's yet"
    );
    let more = json!({ "metadata": { "who": "me" }, "timeout_ms": 1234 });
    let made = served
        .post("/v1/machines", from_pool(&pool, "require", more))
        .await
        .expect(201);
    assert_eq!(made["warm_pool_checkout"]["source"], "ready_instance");
    assert_eq!(made["warm_pool_checkout"]["hit"], true);
    assert_eq!(made["warm_pool_checkout"]["id"], pool.as_str());
    assert_eq!(made["warm_pool_checkout"]["mode"], "require");
    assert_eq!(
        (&made["metadata"], &made["timeout_ms"]),
        (&json!({ "who": "me" }), &json!(1234))
    );
    assert_eq!(made["status"], "running");
    assert_eq!(
        served.shell(made["id"].as_str().unwrap(), "echo hi").await["stdout"],
        "hi\n"
    );
    served.until_ready(&pool, 2).await;
    let info = served
        .get(&format!("/v1/template-warm-pools/{pool}"))
        .await
        .expect(200);
    assert_eq!(info["status"]["claimed"], 1);
    assert_eq!(served.backend.started.load(Ordering::SeqCst), 3);
    served.stop().await;
}

#[tokio::test]
async fn the_oldest_ready_machine_is_taken_first() {
    let served = Served::start().await;
    let pool = served.pool(1, 3).await;
    let path = format!("/v1/template-warm-pools/{pool}");
    let first: Vec<String> = alive(&served.backend);
    served.patch(&path, json!({ "min_ready": 3 })).await.expect(200);
    served.until_ready(&pool, 3).await;
    let made = served
        .post("/v1/machines", from_pool(&pool, "require", json!({})))
        .await
        .expect(201);
    assert_eq!(made["id"], first[0].as_str());
    served.stop().await;
}

fn alive(backend: &Plain) -> Vec<String> {
    backend.ids()
}

#[tokio::test]
async fn each_mode_does_as_documented_when_the_pool_cannot_serve() {
    let served = Served::start().await;
    let pool = served.pool(0, 1).await;
    let source = |made: &Value| made["warm_pool_checkout"]["source"].as_str().unwrap().to_owned();
    let cold = served
        .post("/v1/machines", from_pool(&pool, "prefer", json!({})))
        .await
        .expect(201);
    assert_eq!(source(&cold), "cold_create");
    let message = served
        .post("/v1/machines", from_pool(&pool, "require", json!({})))
        .await
        .refused(409, "warm_pool_unavailable");
    assert!(message.contains(&pool), "{message}");
    let bypassed = served
        .post("/v1/machines", from_pool(&pool, "bypass", json!({})))
        .await
        .expect(201);
    assert_eq!(source(&bypassed), "bypassed");
    let unknown = from_pool("twp_0", "prefer", json!({}));
    served
        .post("/v1/machines", unknown)
        .await
        .refused(404, "not_found");

    let mut waiting = from_pool(&pool, "require", json!({}));
    waiting["warm_pool"]["wait_ms"] = json!(200);
    let begun = Instant::now();
    served
        .post("/v1/machines", waiting)
        .await
        .refused(409, "warm_pool_unavailable");
    assert!(
        begun.elapsed() >= Duration::from_millis(200),
        "{:?}",
        begun.elapsed()
    );
    served.stop().await;
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn options_that_a_ready_machine_cannot_take_fall_back_or_fail_by_mode() {
    let served = Served::start().await;
    let pool = served.pool(1, 1).await;
    for (option, more) in [
        ("envs", json!({ "envs": { "A": "b" } })),
        ("cwd", json!({ "cwd": "/tmp" })),
        (
            "network",
            json!({ "network": { "egress": { "mode": "deny_all" } } }),
        ),
        ("network", json!({ "internet_access": false })),
        ("timeout_action", json!({ "timeout_action": "hibernate" })),
        ("vcpus", json!({ "vcpus": 3 })),
        ("memory_mb", json!({ "memory_mb": 1024 })),
        ("disk_mb", json!({ "disk_mb": 1024 })),
    ] {
        let message = served
            .post("/v1/machines", from_pool(&pool, "require", more.clone()))
            .await
            .refused(409, "warm_pool_unavailable");
        assert!(message.contains(option), "{option}: {message}");
        let made = served
            .post("/v1/machines", from_pool(&pool, "prefer", more))
            .await
            .expect(201);
        assert_eq!(made["warm_pool_checkout"]["source"], "cold_create", "{option}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_waiting_create_gets_the_next_machine() {
    let served = Served::start().await;
    let pool = served.pool(1, 1).await;
    *served.backend.delay.lock().unwrap() = Duration::from_millis(300);
    served
        .post("/v1/machines", from_pool(&pool, "require", json!({})))
        .await
        .expect(201);
    let mut waiting = from_pool(&pool, "require", json!({}));
    waiting["warm_pool"]["wait_ms"] = json!(3000);
    let begun = Instant::now();
    let made = served.post("/v1/machines", waiting.clone()).await.expect(201);
    assert_eq!(made["warm_pool_checkout"]["source"], "ready_instance");
    assert!(
        begun.elapsed() > Duration::from_millis(100),
        "{:?}",
        begun.elapsed()
    );
    *served.backend.delay.lock().unwrap() = Duration::from_secs(3);
    served.until_ready(&pool, 1).await;
    served.post("/v1/machines", waiting.clone()).await.expect(201);
    waiting["warm_pool"]["wait_ms"] = json!(200);
    served
        .post("/v1/machines", waiting)
        .await
        .refused(409, "warm_pool_unavailable");
    *served.backend.delay.lock().unwrap() = Duration::ZERO;
    served.stop().await;
}

#[tokio::test]
async fn twenty_creates_at_once_share_the_ready_machines_without_one_being_given_twice() {
    let served = Served::start().await;
    let pool = served.pool(5, 5).await;
    let creates = (0..20).map(|_| served.post("/v1/machines", from_pool(&pool, "prefer", json!({}))));
    let mut ids = Vec::new();
    for reply in futures_util::future::join_all(creates).await {
        ids.push(reply.expect(201)["id"].as_str().unwrap().to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20);
    served.until_ready(&pool, 5).await;
    let status = served
        .get(&format!("/v1/template-warm-pools/{pool}/status"))
        .await
        .expect(200);
    assert!(status["claimed"].as_u64().unwrap() >= 5, "{status}");
    served.stop().await;
}

#[tokio::test]
async fn disabled_drained_and_deleted_pools_hold_nothing() {
    let served = Served::start().await;
    let pool = served.pool(2, 2).await;
    let path = format!("/v1/template-warm-pools/{pool}");
    for (verb, state, reason) in [
        ("disable", "disabled", "controller_disabled"),
        ("drain", "draining", "drain_active"),
    ] {
        let info = served
            .post(&format!("{path}/{verb}"), json!({}))
            .await
            .expect(200);
        assert_eq!(
            (&info["state"], &info["degraded_reason"]),
            (&json!(state), &json!(reason))
        );
        until("it is empty", async || served.backend.alive() == 0).await;
        let require = served
            .post("/v1/machines", from_pool(&pool, "require", json!({})))
            .await;
        require.refused(409, "warm_pool_unavailable");
        assert_eq!(
            served
                .post(&format!("{path}/enable"), json!({}))
                .await
                .expect(200)["state"],
            "enabled"
        );
        served.until_ready(&pool, 2).await;
    }
    served
        .post(&format!("{path}/reconcile"), json!({}))
        .await
        .expect(200);
    assert_eq!(served.delete(&path).await.expect(200)["state"], "deleted");
    served.get(&path).await.refused(404, "not_found");
    until("it is empty", async || served.backend.alive() == 0).await;
    served.stop().await;
}

#[tokio::test]
async fn a_changed_size_replaces_the_ready_machines() {
    let served = Served::start().await;
    let pool = served.pool(2, 2).await;
    let before = alive(&served.backend);
    let change = json!({ "resources": { "vcpus": 4, "memory_mb": 512 } });
    let info = served
        .patch(&format!("/v1/template-warm-pools/{pool}"), change)
        .await
        .expect(200);
    assert_eq!(info["resources"]["vcpus"], 4);
    until("they are replaced", async || {
        let now = alive(&served.backend);
        now.len() == 2 && now.iter().all(|id| !before.contains(id))
    })
    .await;
    let made = served
        .post("/v1/machines", from_pool(&pool, "require", json!({ "vcpus": 4 })))
        .await
        .expect(201);
    assert_eq!(made["config"]["vcpus"], 4);
    served.stop().await;
}

#[tokio::test]
async fn a_dead_ready_machine_is_replaced_and_failed_starts_are_repeated() {
    let served = Served::start().await;
    let pool = served.pool(1, 1).await;
    served.backend.failing.store(2, Ordering::SeqCst);
    let id = alive(&served.backend).remove(0);
    served.backend.machine(&id).crash();
    until("it is degraded", async || {
        let pools = served
            .get("/v1/template-warm-pools?status=degraded")
            .await
            .expect(200);
        pools["items"].as_array().unwrap().len() == 1
    })
    .await;
    served.until_ready(&pool, 1).await;
    let info = served
        .get(&format!("/v1/template-warm-pools/{pool}"))
        .await
        .expect(200);
    assert_eq!(
        (&info["status"]["failed"], &info["status"]["unavailable"]),
        (&json!(2), &json!(1))
    );
    assert!(info.get("degraded_reason").is_none());
    served.stop().await;
}

#[tokio::test]
async fn pools_are_listed_by_label_checked_and_kept_over_a_restart() {
    let served = Served::start().await;
    let resources = json!({ "vcpus": 1, "memory_mb": 256 });
    let body = |min: u32, max: u32| {
        json!({
            "name": "web", "template_ref": "nullspace/base:latest", "min_ready": min, "max_ready": max,
            "resources": resources, "labels": { "team": "a", "tier": 1 }
        })
    };
    let made = served
        .post("/v1/template-warm-pools", body(1, 2))
        .await
        .expect(201);
    assert_eq!(made["checkout_policy"], "prefer");
    assert_eq!(
        (&made["idle_timeout_seconds"], &made["stale_after_seconds"]),
        (&json!(600), &json!(900))
    );
    let pool = made["id"].as_str().unwrap().to_owned();
    for (query, count) in [
        ("label=team%3Da", 1),
        ("label=team%3Da&label=tier%3D1", 1),
        ("label=team%3Db", 0),
        ("label=team", 1),
        ("template=base&state=enabled", 1),
        ("state=disabled", 0),
        ("template=nope", 0),
    ] {
        let listed = served
            .get(&format!("/v1/template-warm-pools?{query}"))
            .await
            .expect(200);
        assert_eq!(listed["items"].as_array().unwrap().len(), count, "{query}");
    }
    for (change, field) in [
        (json!({ "max_ready": 0 }), "max_ready"),
        (json!({ "max_ready": 1000 }), "max_ready"),
        (json!({ "name": " " }), "name"),
        (
            json!({ "resources": { "vcpus": 0, "memory_mb": 1 } }),
            "resources.vcpus",
        ),
        (json!({ "idle_timeout_seconds": 0 }), "idle_timeout_seconds"),
        (json!({ "cell_id": "c" }), "cell_id"),
        (json!({ "min_ready": -1 }), "min_ready"),
    ] {
        let path = format!("/v1/template-warm-pools/{pool}");
        let message = served.patch(&path, change).await.refused(400, "invalid_request");
        assert!(message.contains(field), "{field}: {message}");
    }
    served
        .post("/v1/template-warm-pools", body(3, 2))
        .await
        .refused(400, "invalid_request");
    let (backend, state) = served.stop().await;
    let served = Served::start_with(backend, state).await;
    served.until_ready(&pool, 1).await;
    served.stop().await;
}
