//! Snapshots, forks and lifecycle events through real HTTP.

use crate::support::Served;
use serde_json::json;

#[tokio::test]
async fn machines_start_from_a_snapshot_with_its_files_and_settings() {
    let served = Served::start().await;
    let body = json!({ "vcpus": 3, "memory_mb": 300, "envs": { "A": "kept" }, "cwd": "/workspace" });
    let id = served.create(body).await;
    served.shell(&id, "echo one > file").await;
    let snapshot = served
        .post(&format!("/v1/machines/{id}/snapshots"), json!({}))
        .await
        .expect(201);
    let snapshot_id = snapshot["id"].as_str().unwrap().to_owned();
    served.shell(&id, "echo two > file").await;
    let child = served
        .post(
            "/v1/machines",
            json!({ "snapshot_id": snapshot_id, "metadata": { "x": 1 } }),
        )
        .await
        .expect(201);
    assert_eq!(child["config"], json!({ "vcpus": 3, "memory_mb": 300 }));
    assert_eq!(child["metadata"], json!({ "x": 1 }));
    let child = child["id"].as_str().unwrap().to_owned();
    assert_eq!(
        served.shell(&child, "cat file; echo $A").await["stdout"],
        "one\nkept\n"
    );
    served
        .post("/v1/machines", json!({ "snapshot_id": "snap_0" }))
        .await
        .refused(404, "snapshot_not_found");

    // Files stay as long as a machine or a snapshot needs them.
    let listed = served
        .get(&format!("/v1/snapshots?machine_id={id}"))
        .await
        .expect(200);
    assert_eq!(listed, json!([snapshot]));
    assert_eq!(
        served.get("/v1/snapshots?machine_id=mch_0").await.expect(200),
        json!([])
    );
    served
        .delete(&format!("/v1/snapshots/{snapshot_id}"))
        .await
        .expect(204);
    served
        .delete(&format!("/v1/snapshots/{snapshot_id}"))
        .await
        .refused(404, "snapshot_not_found");
    assert_eq!(served.backend.layers().len(), 1);
    served.delete(&format!("/v1/machines/{child}")).await.expect(200);
    assert_eq!(served.backend.layers().len(), 0);
    served.stop().await;
}

#[tokio::test]
async fn the_snapshot_of_a_pause_can_be_started_from_while_the_pause_lasts() {
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    served.shell(&id, "echo one > file").await;
    let pause = served
        .post(&format!("/v1/machines/{id}/hibernate"), json!({}))
        .await
        .expect(200);
    let child = served.create(json!({ "snapshot_id": pause["id"] })).await;
    assert_eq!(served.shell(&child, "cat file").await["stdout"], "one\n");
    assert_eq!(
        served.get(&format!("/v1/machines/{id}")).await.expect(200)["status"],
        "paused"
    );
    served.stop().await;
}

#[tokio::test]
async fn a_fork_has_the_files_and_settings_and_goes_its_own_way() {
    let served = Served::start().await;
    let network = json!({ "egress": { "mode": "custom", "allow_cidrs": ["1.1.1.1/32"] } });
    let id = served
        .create(json!({ "metadata": { "p": 1 }, "network": network, "envs": { "A": "kept" } }))
        .await;
    served.shell(&id, "echo one > file").await;
    let fork = served
        .post(&format!("/v1/machines/{id}/fork"), json!({}))
        .await
        .expect(201);
    let child = fork["id"].as_str().unwrap().to_owned();
    assert_ne!(child, id);
    assert_eq!(fork["metadata"], json!({ "p": 1 }));
    served.shell(&child, "echo two > file").await;
    assert_eq!(served.shell(&id, "cat file").await["stdout"], "one\n");
    assert_eq!(
        served.shell(&child, "cat file; echo $A").await["stdout"],
        "two\nkept\n"
    );
    let rules = served.backend.machine(&child).egress.lock().unwrap().clone();
    assert_eq!(rules.allow, ["1.1.1.1/32".parse().unwrap()]);
    let grandchild = served
        .post(&format!("/v1/machines/{child}/fork"), json!({}))
        .await
        .expect(201);
    let grandchild = grandchild["id"].as_str().unwrap();
    assert_eq!(served.shell(grandchild, "cat file").await["stdout"], "two\n");
    served
        .post("/v1/machines/mch_0/fork", json!({}))
        .await
        .refused(404, "machine_not_found");
    served.stop().await;
}

#[tokio::test]
async fn events_tell_what_happened_in_order() {
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    served
        .post(&format!("/v1/machines/{id}/snapshots"), json!({}))
        .await
        .expect(201);
    let fork = served
        .post(&format!("/v1/machines/{id}/fork"), json!({}))
        .await
        .expect(201);
    served.delete(&format!("/v1/machines/{id}")).await.expect(200);
    let page = served
        .get(&format!("/v1/machines/{id}/lifecycle?order=asc"))
        .await
        .expect(200);
    let names: Vec<_> = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["operation"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["create", "snapshot_created", "fork", "destroy"]);
    assert_eq!(
        (&page["offset"], &page["limit"], &page["has_more"]),
        (&json!(0), &json!(50), &json!(false))
    );
    let event = &page["events"][2];
    assert_eq!(event["target_machine_id"], fork["id"]);
    for key in [
        "id",
        "occurred_at",
        "audience",
        "operation",
        "status",
        "actor_kind",
        "metadata",
    ] {
        assert!(!event[key].is_null(), "{key}: {event}");
    }
    let first = served
        .get("/v1/lifecycle/events?limit=1&offset=0&order=desc&operation=destroy&status=succeeded")
        .await;
    let first = first.expect(200);
    assert_eq!(
        (&first["events"][0]["machine_id"], &first["has_more"]),
        (&json!(id), &json!(false))
    );
    let more = served.get("/v1/lifecycle/events?limit=2").await.expect(200);
    assert_eq!(
        (more["events"].as_array().unwrap().len(), &more["has_more"]),
        (2, &json!(true))
    );
    for query in [
        "operation=explode",
        "status=maybe",
        "order=up",
        "limit=0",
        "from=yesterday",
        "audience=internal",
    ] {
        served
            .get(&format!("/v1/lifecycle/events?{query}"))
            .await
            .refused(400, "invalid_request");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_snapshot_keeps_its_metadata_and_is_found_by_it() {
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    let path = format!("/v1/machines/{id}/snapshots");
    let metadata = json!({ "nullspace.name": "ready", "stage": { "n": 1 } });
    let made = served
        .post(&path, json!({ "metadata": metadata.clone() }))
        .await
        .expect(201);
    let plain = served.post(&path, json!({})).await.expect(201);
    assert_eq!(
        made["metadata"],
        json!({ "kind": "snapshot", "process_memory": false, "nullspace.name": "ready", "stage": { "n": 1 } })
    );
    assert_eq!(
        plain["metadata"],
        json!({ "kind": "snapshot", "process_memory": false })
    );
    // `{"stage":{"n":1}}` and `{"nullspace.name":"ready"}`.
    for filter in [
        "%7B%22stage%22%3A%7B%22n%22%3A1%7D%7D",
        "%7B%22nullspace.name%22%3A%22ready%22%7D",
    ] {
        let found = served
            .get(&format!("/v1/snapshots?metadata={filter}"))
            .await
            .expect(200);
        assert_eq!(found, json!([made]), "{filter}");
    }
    for bad in [json!(""), json!(1), json!("two words"), json!("x".repeat(129))] {
        served
            .post(&path, json!({ "metadata": { "nullspace.name": bad } }))
            .await
            .refused(400, "invalid_request");
    }
    served.stop().await;
}
