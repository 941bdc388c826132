//! Volumes over HTTP: names, attachments and their states, what keeps a volume from being deleted.

use std::sync::atomic::Ordering;

use crate::support::Served;
use serde_json::{json, Value};

async fn volume(served: &Served, name: &str) -> String {
    let made = served
        .post("/v1/volumes", json!({ "name": name }))
        .await
        .expect(200);
    made["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_volume_is_found_by_id_and_name_and_listed_newest_first() {
    let served = Served::start().await;
    let first = volume(&served, "models").await;
    let second = volume(&served, "two words").await;
    let shown = served.get(&format!("/v1/volumes/{first}")).await.expect(200);
    assert_eq!(shown["name"], "models");
    assert_eq!(shown["status"], "available");
    assert_eq!(
        (&shown["used_bytes"], &shown["max_size_bytes"]),
        (&json!(0), &Value::Null)
    );
    let named = served.get("/v1/volumes/by-name/two%20words").await.expect(200);
    assert_eq!(named["id"], second.as_str());
    let listed = served.get("/v1/volumes?fields=name").await.expect(200);
    assert_eq!(listed, json!([{ "name": "two words" }, { "name": "models" }]));

    let message = served.post("/v1/volumes", json!({ "name": "models" })).await;
    assert!(message.refused(409, "conflict").contains("models"));
    for name in ["", "a/b", "vol_x"] {
        let reply = served.post("/v1/volumes", json!({ "name": name })).await;
        assert!(
            reply.refused(400, "invalid_request").contains("`name`"),
            "{name:?}"
        );
    }
    served.get("/v1/volumes/vol_none").await.refused(404, "not_found");
    served
        .get("/v1/volumes/by-name/none")
        .await
        .refused(404, "not_found");
    served.delete(&format!("/v1/volumes/{first}")).await.expect(204);
    served
        .delete(&format!("/v1/volumes/{first}"))
        .await
        .refused(404, "not_found");
    served.stop().await;
}

#[tokio::test]
async fn attachments_follow_their_machine_and_keep_the_volume() {
    let served = Served::start().await;
    let id = volume(&served, "data").await;
    let machine = served
        .create(json!({ "volumes": [{ "ref": "data", "mount_path": "/data/./x", "subpath": "a//b/", "read_only": true }] }))
        .await;
    let path = format!("/v1/machines/{machine}/volumes");
    let listed = served.get(&path).await.expect(200);
    let attachment = listed[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        (
            &listed[0]["mount_path"],
            &listed[0]["subpath"],
            &listed[0]["read_only"],
            &listed[0]["state"]
        ),
        (&json!("/data/x"), &json!("a/b"), &json!(true), &json!("mounted"))
    );
    let info = served.get(&format!("/v1/machines/{machine}")).await.expect(200);
    assert_eq!(
        info["metadata"]["volume_attachments"][0]["id"],
        attachment.as_str()
    );
    assert_eq!(
        served.get(&format!("/v1/volumes/{id}")).await.expect(200)["status"],
        "attached"
    );
    let of_volume = served
        .get(&format!("/v1/volumes/{id}/attachments"))
        .await
        .expect(200);
    assert_eq!(of_volume[0]["machine_id"], machine.as_str());
    let message = served
        .delete(&format!("/v1/volumes/{id}"))
        .await
        .refused(409, "volume_busy");
    assert!(
        message.contains(&machine) && message.contains("/data/x"),
        "{message}"
    );

    served
        .post(&format!("/v1/machines/{machine}/hibernate"), json!({}))
        .await
        .expect(200);
    assert_eq!(served.get(&path).await.expect(200)[0]["state"], "paused");
    served
        .delete(&format!("{path}/{attachment}"))
        .await
        .refused(409, "machine_not_ready");
    served
        .post(&format!("/v1/machines/{machine}/resume"), json!({}))
        .await
        .expect(200);

    let child = served
        .post(&format!("/v1/machines/{machine}/fork"), json!({}))
        .await
        .expect(201);
    let of_child = format!("/v1/machines/{}/volumes", child["id"].as_str().unwrap());
    let again = served.get(&of_child).await.expect(200);
    assert_eq!(again[0]["mount_path"], "/data/x");
    assert_ne!(again[0]["id"], attachment.as_str());
    let snapshot = served
        .post(&format!("/v1/machines/{machine}/snapshots"), json!({}))
        .await
        .expect(201);
    let from_snapshot = json!({ "snapshot_id": snapshot["id"] });
    let third = served
        .post("/v1/machines", from_snapshot.clone())
        .await
        .expect(201);
    let third = third["id"].as_str().unwrap().to_owned();
    assert_eq!(
        served
            .get(&format!("/v1/machines/{third}/volumes"))
            .await
            .expect(200)[0]["volume_id"],
        id.as_str()
    );

    for gone in [&machine, child["id"].as_str().unwrap(), third.as_str()] {
        served.delete(&format!("/v1/machines/{gone}")).await.expect(200);
    }
    served.delete(&format!("/v1/volumes/{id}")).await.expect(204);
    // The snapshot still names it.
    let reply = served.post("/v1/machines", from_snapshot).await;
    assert!(reply.text.contains("give `volumes`"), "{reply:?}");
    reply.refused(404, "not_found");
    served.stop().await;
}

#[tokio::test]
async fn volumes_come_and_go_while_a_machine_runs() {
    let served = Served::start().await;
    let id = volume(&served, "data").await;
    let machine = served.create(json!({})).await;
    let path = format!("/v1/machines/{machine}/volumes");
    let attached = served
        .post(&path, json!({ "ref": id, "mount_path": "/data" }))
        .await
        .expect(201);
    let attachment = attached["id"].as_str().unwrap();
    assert_eq!(attached["state"], "mounted");
    let overlap = served
        .post(&path, json!({ "ref": id, "mount_path": "/data/x" }))
        .await;
    assert!(overlap.refused(400, "invalid_request").contains("overlaps"));
    for (body, field) in [
        (json!({ "ref": "none", "mount_path": "/x" }), ""),
        (json!({ "ref": id, "mount_path": "x" }), "`mount_path`"),
        (json!({ "ref": id, "mount_path": "/proc" }), "`mount_path`"),
        (
            json!({ "ref": id, "mount_path": "/x", "subpath": "../y" }),
            "`subpath`",
        ),
    ] {
        let reply = served.post(&path, body).await;
        assert!(
            [400, 404].contains(&reply.status) && reply.text.contains(field),
            "{reply:?}"
        );
    }
    let one = format!("{path}/{attachment}");
    assert_eq!(
        served.get(&format!("{one}/health")).await.expect(200)["state"],
        "mounted"
    );
    served.backend.machine(&machine).mounts.lock().unwrap().clear();
    let failed = served.get(&format!("{one}/health")).await.expect(200);
    assert_eq!(
        (&failed["state"], &failed["last_error_code"]),
        (&json!("failed"), &json!("volume_not_mounted"))
    );
    let again = served
        .post(&format!("{one}/remount"), json!({}))
        .await
        .expect(200);
    assert_eq!(again["state"], "mounted");
    assert_eq!(
        served.get(&format!("{one}/health")).await.expect(200)["state"],
        "mounted"
    );

    served
        .backend
        .machine(&machine)
        .busy
        .store(true, Ordering::SeqCst);
    served.delete(&one).await.refused(409, "volume_busy");
    served
        .backend
        .machine(&machine)
        .busy
        .store(false, Ordering::SeqCst);
    assert_eq!(served.delete(&one).await.expect(200)["state"], "released");
    served.delete(&one).await.refused(404, "not_found");
    assert_eq!(served.get(&path).await.expect(200), json!([]));

    for n in 0..8 {
        served
            .post(&path, json!({ "ref": id, "mount_path": format!("/m{n}") }))
            .await
            .expect(201);
    }
    let ninth = served
        .post(&path, json!({ "ref": id, "mount_path": "/m8" }))
        .await;
    assert!(ninth.refused(409, "conflict").contains("8 volumes"));
    served.stop().await;
}

#[tokio::test]
async fn volumes_outlive_the_engine_and_half_made_ones_do_not() {
    let served = Served::start().await;
    let id = volume(&served, "data").await;
    let directory = served.state.path().join("volumes");
    std::fs::write(directory.join(&id).join("file"), "kept").unwrap();
    std::fs::create_dir(directory.join("vol_half")).unwrap();
    let (backend, state) = served.stop().await;
    let served = Served::start_with(backend, state).await;
    assert_eq!(
        served.get(&format!("/v1/volumes/{id}")).await.expect(200)["used_bytes"],
        4
    );
    assert!(!directory.join("vol_half").exists());
    served.delete(&format!("/v1/volumes/{id}")).await.expect(204);
    assert!(!directory.join(&id).exists());
    served.stop().await;
}
