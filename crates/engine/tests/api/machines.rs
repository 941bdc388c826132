//! Machines through real HTTP: create, show, list, lease, pause, destroy.

use std::time::{Duration, Instant};

use crate::support::{until, Served};
use serde_json::json;

/// The body of the Python SDK for `Machine.create(template="base")`. Source: a recording of it.
fn plain() -> serde_json::Value {
    json!({
        "template": "base", "vcpus": 2, "memory_mb": 512, "timeout_ms": 300_000, "auto_resume": false, "envs": {},
        "metadata": {}, "internet_access": true, "cwd": null, "desktop": null, "network": null, "volumes": null
    })
}

#[tokio::test]
async fn a_machine_is_made_shown_listed_and_destroyed() {
    let served = Served::start().await;
    let made = served.post("/v1/machines", plain()).await.expect(201);
    assert_eq!(made["status"], "running");
    assert_eq!(made["config"], json!({ "vcpus": 2, "memory_mb": 512 }));
    assert_eq!(made["template"], "base");
    assert_eq!(made["timeout_action"], "destroy");
    assert_eq!(made["cwd"], "/workspace");
    assert_eq!(made["expires_at"], made["timeout_at"]);
    assert!(made["remaining_ms"].as_u64().unwrap() > 299_000);
    let nulls: Vec<_> = made
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, v)| v.is_null())
        .collect();
    assert!(nulls.is_empty(), "strict clients refuse null: {nulls:?}");
    let id = made["id"].as_str().unwrap();
    assert!(id.starts_with("mch_"));

    let path = format!("/v1/machines/{id}");
    assert_eq!(served.get(&path).await.expect(200)["id"], id);
    let fields = served
        .get(&format!("{path}?fields=id,status,snapshot_id"))
        .await
        .expect(200);
    assert_eq!(fields, json!({ "id": id, "status": "running" }));
    let listed = served.get("/v1/machines").await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["has_next"], false);

    assert_eq!(
        served.delete(&path).await.expect(200),
        json!({ "id": id, "status": "destroyed" })
    );
    served.get(&path).await.refused(404, "machine_not_found");
    served.delete(&path).await.refused(404, "machine_not_found");
    assert_eq!(served.backend.alive(), 0);
    served.stop().await;
}

#[tokio::test]
async fn lists_filter_page_and_project() {
    let served = Served::start().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(
            served
                .create(json!({ "metadata": { "project": "docs", "n": n } }))
                .await,
        );
    }
    served
        .post(&format!("/v1/machines/{}/hibernate", ids[1]), json!({}))
        .await
        .expect(200);
    let names = |page: &serde_json::Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|m| m["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = served
        .get("/v1/machines?limit=2&state=running&template=base")
        .await
        .expect(200);
    assert_eq!(names(&first), [ids[4].clone(), ids[3].clone()]);
    assert_eq!(first["has_next"], true);
    let token = first["next_token"].as_str().unwrap();
    let next = format!("/v1/machines?limit=2&state=running&template=base&next_token={token}");
    let second = served.get(&next).await.expect(200);
    assert_eq!(names(&second), [ids[2].clone(), ids[0].clone()]);
    assert_eq!(second["has_next"], false);
    assert!(second.get("next_token").is_none());
    let paused = served.get("/v1/machines?state=paused").await.expect(200);
    assert_eq!(names(&paused), [ids[1].clone()]);
    let found = served
        .get("/v1/machines?metadata=%7B%22project%22%3A+%22docs%22%2C%22n%22%3A3%7D")
        .await
        .expect(200);
    assert_eq!(names(&found), [ids[3].clone()]);
    let fields = served
        .get("/v1/machines?fields=id%2Cstatus&limit=1")
        .await
        .expect(200);
    assert_eq!(fields["items"], json!([{ "id": ids[4], "status": "running" }]));
    assert_eq!(fields["has_next"], true);

    for (query, code, names) in [
        ("limit=0", "invalid_request", "limit"),
        ("limit=1001", "invalid_request", "limit"),
        ("limit=x", "invalid_request", "limit"),
        ("state=runing", "invalid_request", "runing"),
        ("metadata=%5B%5D", "invalid_request", "metadata"),
        ("next_token=zzz", "invalid_request", "next_token"),
        ("fields=id,nope", "invalid_fields", "nope"),
    ] {
        let message = served
            .get(&format!("/v1/machines?{query}"))
            .await
            .refused(400, code);
        assert!(message.contains(names), "{query}: {message}");
    }
    served.stop().await;
}

#[tokio::test]
async fn the_lease_ends_the_machine_in_time_and_can_be_moved() {
    let served = Served::start().await;
    let id = served.create(json!({ "timeout_ms": 400 })).await;
    let path = format!("/v1/machines/{id}");
    let lease = served
        .post(&format!("{path}/timeout"), json!({ "timeout_ms": 1000 }))
        .await
        .expect(200);
    let begun = Instant::now();
    assert_eq!(lease["timeout_ms"], 1000);
    assert_eq!(lease["timeout_action"], "destroy");
    assert!(lease["remaining_ms"].as_u64().unwrap() > 900);
    until("the lease ends", async || served.get(&path).await.status == 404).await;
    let lived = begun.elapsed();
    assert!(
        lived > Duration::from_millis(950) && lived < Duration::from_millis(1400),
        "{lived:?}"
    );
    let events = served
        .get(&format!("{path}/lifecycle?order=asc"))
        .await
        .expect(200);
    let operations: Vec<_> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["operation"].clone())
        .collect();
    assert_eq!(
        operations,
        ["create", "timeout_updated", "timeout_expired", "destroy"]
    );
    served.stop().await;
}

#[tokio::test]
async fn a_lease_that_hibernates_leaves_a_paused_machine_that_is_deleted_later() {
    let served = Served::start().await;
    let body =
        json!({ "timeout_ms": 100, "lifecycle": { "on_timeout": "pause" }, "auto_delete_after_ms": 500 });
    let id = served.create(body).await;
    let path = format!("/v1/machines/{id}");
    until("it is paused", async || {
        served.get(&path).await.expect(200)["status"] == "paused"
    })
    .await;
    let paused = served.get(&path).await.expect(200);
    assert!(paused["snapshot_id"].as_str().unwrap().starts_with("snap_"));
    assert!(paused.get("timeout_at").is_none() && paused.get("remaining_ms").is_none());
    until("it is deleted", async || served.get(&path).await.status == 404).await;
    served.stop().await;
}

#[tokio::test]
async fn an_idle_machine_ends_and_a_busy_one_does_not() {
    let served = Served::start().await;
    let id = served.create(json!({ "inactivity_timeout_ms": 400 })).await;
    let path = format!("/v1/machines/{id}");
    // Longer than the limit, but a command is under way.
    served.shell(&id, "sleep 0.8").await;
    assert_eq!(served.get(&path).await.expect(200)["status"], "running");
    let begun = Instant::now();
    until("it is idle", async || served.get(&path).await.status == 404).await;
    assert!(
        begun.elapsed() < Duration::from_millis(900),
        "{:?}",
        begun.elapsed()
    );
    served.stop().await;
}

#[tokio::test]
async fn pause_and_resume_keep_the_id_and_the_processes() {
    let served = Served::start().await;
    let id = served.create(plain()).await;
    let path = format!("/v1/machines/{id}");
    served.shell(&id, "echo kept > file").await;
    let snapshot = served
        .post(&format!("{path}/hibernate"), json!({}))
        .await
        .expect(200);
    assert_eq!(snapshot["machine_id"], id.as_str());
    let snapshot_path = format!("/v1/snapshots/{}", snapshot["id"].as_str().unwrap());
    assert_eq!(served.get(&snapshot_path).await.expect(200), snapshot);
    served
        .delete(&snapshot_path)
        .await
        .refused(409, "snapshot_in_use");
    served
        .post(&format!("{path}/hibernate"), json!({}))
        .await
        .refused(409, "transition_conflict");
    let exec = json!({ "command": "true" });
    served
        .post(&format!("{path}/exec"), exec)
        .await
        .refused(409, "machine_not_ready");

    let resume = format!("{path}/resume");
    let (one, two) = tokio::join!(served.post(&resume, json!({})), served.post(&resume, json!({})));
    for answer in [one, two] {
        let answer = answer.expect(200);
        assert_eq!(
            (&answer["id"], &answer["status"]),
            (&json!(id), &json!("running"))
        );
    }
    assert_eq!(served.shell(&id, "cat file").await["stdout"], "kept\n");
    served
        .get(&snapshot_path)
        .await
        .refused(404, "snapshot_not_found");
    served.stop().await;
}

#[tokio::test]
async fn a_command_wakes_a_paused_machine_with_auto_resume() {
    let served = Served::start().await;
    let id = served
        .create(json!({ "timeout_action": "hibernate", "auto_resume": true }))
        .await;
    served
        .post(&format!("/v1/machines/{id}/hibernate"), json!({}))
        .await
        .expect(200);
    assert_eq!(served.shell(&id, "echo awake").await["stdout"], "awake\n");
    let body = json!({ "timeout_ms": 1000, "timeout_action": "destroy" });
    let message = served
        .post(&format!("/v1/machines/{id}/timeout"), body)
        .await
        .refused(400, "invalid_request");
    assert!(message.contains("timeout_action"), "{message}");
    served.stop().await;
}

#[tokio::test]
async fn a_machine_that_dies_is_listed_as_error_until_it_is_deleted() {
    let served = Served::start().await;
    let id = served.create(plain()).await;
    let path = format!("/v1/machines/{id}");
    served.backend.machine(&id).crash();
    until("it is dead", async || {
        served.get(&path).await.expect(200)["status"] == "error"
    })
    .await;
    let dead = served.get("/v1/machines?state=error").await.expect(200);
    assert!(dead["items"][0]["error_message"]
        .as_str()
        .unwrap()
        .contains("ended"));
    served
        .post(&format!("{path}/exec"), json!({ "command": "true" }))
        .await
        .refused(409, "machine_not_ready");
    served
        .post(&format!("{path}/resume"), json!({}))
        .await
        .refused(409, "machine_not_ready");
    served.delete(&path).await.expect(200);
    served.get(&path).await.refused(404, "machine_not_found");
    served.stop().await;
}

#[tokio::test]
async fn a_failed_start_leaves_nothing_and_the_next_one_works() {
    let served = Served::start().await;
    served
        .backend
        .failing
        .store(1, std::sync::atomic::Ordering::SeqCst);
    let message = served
        .post_with_key("/v1/machines", "k", plain())
        .await
        .refused(500, "internal_error");
    assert!(
        !message.contains("told to fail"),
        "the cause is for the log: {message}"
    );
    assert_eq!(served.get("/v1/machines").await.expect(200)["items"], json!([]));
    served
        .post_with_key("/v1/machines", "k", plain())
        .await
        .expect(201);
    served.stop().await;
}

#[tokio::test]
async fn a_wrong_body_is_refused_with_its_field() {
    let served = Served::start().await;
    for (body, field) in [
        (json!({ "vcpus": "2" }), "vcpus"),
        (json!({ "memory_mb": -5 }), "memory_mb"),
        (json!({ "timeout_ms": 0 }), "timeout_ms"),
        (json!({ "envs": { "A": 1 } }), "envs.A"),
        (
            json!({ "network": { "egress": { "mode": "custom", "allow_cidrs": ["10.0.0.0/99"] } } }),
            "allow_cidrs[0]",
        ),
        (json!({ "network": { "egres": {} } }), "network.egres"),
    ] {
        let message = served
            .post("/v1/machines", body)
            .await
            .refused(400, "invalid_request");
        assert!(message.contains(field), "{field}: {message}");
    }
    served
        .post("/v1/machines", json!({ "template": "nope" }))
        .await
        .refused(404, "template_not_found");
    let volumes = json!({ "volumes": [{ "ref": "v", "mount_path": "/data" }] });
    let message = served
        .post("/v1/machines", volumes)
        .await
        .refused(404, "not_found");
    assert!(message.contains("volume"), "{message}");
    let text = served
        .request(reqwest::Method::POST, "/v1/machines")
        .body("{not json");
    served.send(text).await.refused(400, "invalid_request");
    let large = served
        .request(reqwest::Method::POST, "/v1/machines")
        .body(vec![b' '; (8 << 20) + 1]);
    served.send(large).await.refused(413, "invalid_request");
    assert_eq!(
        served.backend.started.load(std::sync::atomic::Ordering::SeqCst),
        0
    );
    served.stop().await;
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn the_working_directory_of_a_machine_is_made_when_it_is_missing() {
    let served = Served::start().await;
    let id = served.create(json!({ "cwd": "/workspace/made/for/it" })).await;
    let answer = served.shell(&id, "pwd").await;
    assert!(
        answer["stdout"].as_str().unwrap().ends_with("/made/for/it\n"),
        "{answer}"
    );
    let refused = served
        .post("/v1/machines", json!({ "cwd": "/etc/passwd/x" }))
        .await
        .refused(400, "invalid_request");
    assert!(refused.contains("`cwd`"), "{refused}");
    served.stop().await;
}

#[tokio::test]
async fn the_network_policy_is_replaced_as_a_whole() {
    let served = Served::start().await;
    let id = served.create(plain()).await;
    let path = format!("/v1/machines/{id}/egress");
    let policy = json!({ "mode": "custom", "allow_cidrs": ["1.1.1.1/32"] });
    let answer = served.patch(&path, json!({ "egress": policy })).await.expect(200);
    assert_eq!(answer, json!({ "machine_id": id, "egress": policy }));
    let rules = served.backend.machine(&id).egress.lock().unwrap().clone();
    assert_eq!(rules.allow, ["1.1.1.1/32".parse().unwrap()]);
    let wrong = json!({ "egress": { "mode": "custom", "allow": [] } });
    served.patch(&path, wrong).await.refused(400, "invalid_request");
    served
        .patch(&path, json!({}))
        .await
        .refused(400, "invalid_request");

    let shut = served.create(json!({ "internet_access": false })).await;
    let open = json!({ "egress": { "mode": "allow_all" } });
    served
        .patch(&format!("/v1/machines/{shut}/egress"), open)
        .await
        .refused(409, "conflict");
    served.stop().await;
}

#[tokio::test]
async fn metrics_have_every_number() {
    let served = Served::start().await;
    let id = served.create(plain()).await;
    let samples = served
        .get(&format!("/v1/machines/{id}/metrics"))
        .await
        .expect(200);
    let sample = samples[0].as_object().unwrap();
    let mut names: Vec<_> = sample.keys().map(String::as_str).collect();
    names.sort_unstable();
    let expected = [
        "cpu_count",
        "cpu_percent",
        "disk_total_bytes",
        "disk_used_bytes",
        "mem_total_bytes",
        "mem_used_bytes",
        "network_rx_bytes",
        "network_tx_bytes",
        "timestamp",
    ];
    assert_eq!(names, expected);
    assert_eq!(sample["mem_total_bytes"], 512 << 20);
    served.stop().await;
}

#[tokio::test]
async fn a_restarted_engine_reports_its_machines_as_dead_and_keeps_what_survives() {
    let served = Served::start().await;
    let running = served.create(plain()).await;
    let paused = served.create(plain()).await;
    served
        .post(&format!("/v1/machines/{paused}/hibernate"), json!({}))
        .await
        .expect(200);
    let snapshot = served
        .post(&format!("/v1/machines/{running}/snapshots"), json!({}))
        .await
        .expect(201);
    let keyed = served
        .post_with_key("/v1/machines", "k", plain())
        .await
        .expect(201);
    let (backend, state) = served.stop().await;

    let served = Served::start_with(backend, state).await;
    for id in [&running, &paused] {
        let machine = served.get(&format!("/v1/machines/{id}")).await.expect(200);
        assert_eq!(machine["status"], "error");
        assert!(machine.get("snapshot_id").is_none());
        assert!(machine["error_message"].as_str().unwrap().contains("engine"));
    }
    let snapshots = served.get("/v1/snapshots").await.expect(200);
    assert_eq!(snapshots, json!([snapshot]));
    let again = served
        .post_with_key("/v1/machines", "k", plain())
        .await
        .expect(201);
    assert_eq!(again, keyed);
    assert_eq!(served.backend.alive(), 0);
    served.stop().await;
}

#[tokio::test]
async fn no_two_machines_that_live_have_one_name() {
    let served = Served::start().await;
    let named = || json!({ "metadata": { "nullspace.name": "agent-7" } });
    let all = futures_util::future::join_all((0..8).map(|_| served.post("/v1/machines", named()))).await;
    let (made, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(|answer| answer.status == 201);
    assert_eq!((made.len(), refused.len()), (1, 7));
    let id = made[0].json()["id"].as_str().unwrap().to_owned();
    for answer in refused {
        let details = answer.json()["details"].clone();
        assert_eq!(details, json!({ "reason": "name_taken", "machine_id": id }));
        answer.refused(409, "conflict");
    }
    assert_eq!(served.backend.alive(), 1);

    // A fork has no name, a paused machine keeps its own, and the name of one that is gone is free.
    let fork = served
        .post(&format!("/v1/machines/{id}/fork"), json!({}))
        .await
        .expect(201);
    assert_eq!(fork["metadata"], json!({}));
    served
        .post(&format!("/v1/machines/{id}/hibernate"), json!({}))
        .await
        .expect(200);
    served
        .post("/v1/machines", named())
        .await
        .refused(409, "conflict");
    served.delete(&format!("/v1/machines/{id}")).await.expect(200);
    let again = served.create(named()).await;
    served.backend.machine(&again).crash();
    let path = format!("/v1/machines/{again}");
    until("it is dead", async || {
        served.get(&path).await.expect(200)["status"] == "error"
    })
    .await;
    served.create(named()).await;
    for bad in [json!(""), json!(7), json!("two words")] {
        served
            .post("/v1/machines", json!({ "metadata": { "nullspace.name": bad } }))
            .await
            .refused(400, "invalid_request");
    }
    served.stop().await;
}
