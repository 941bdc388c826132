//! Snapshots and templates on nodes that did not make them: brought, copied, and gone everywhere once they are deleted.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{to_bytes, Body, Bytes};
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::Router;
use futures_util::{stream, StreamExt};
use nullspace_engine::cluster::db::Db;
use nullspace_engine::cluster::operate;
use nullspace_engine::machine::{Engine, Ids};
use nullspace_engine::node::carry;
use nullspace_engine::node::messages::Source;
use nullspace_engine::store::Store;
use serde_json::{json, Value};

use crate::cluster::{tag, Gateway, Whole, QUICK};
use crate::postgres;
use crate::support::{until, Plain, Served};

/// Takes a snapshot and gives its id.
async fn snapshot(gateway: &Gateway, machine: &str) -> String {
    let path = format!("/v1/machines/{machine}/snapshots");
    let taken = gateway.post(&path, json!({})).await.expect(201);
    taken["id"].as_str().unwrap().to_owned()
}

/// A machine with files and a snapshot of it.
async fn machine_and_snapshot(gateway: &Gateway) -> (String, String) {
    let machine = gateway
        .create(json!({ "template": "base", "memory_mb": 512 }))
        .await;
    gateway
        .shell(
            &machine,
            "mkdir d; echo kept > d/file; ln d/file link; chmod 750 d",
        )
        .await;
    let taken = snapshot(gateway, &machine).await;
    (machine, taken)
}

const LOOK: &str = "cat link; stat -c '%a %h' d link";
const SEEN: &str = "kept\n750 2\n644 2\n";

/// The next machines are made elsewhere if they can be, until the node's next heartbeat.
fn avoid(whole: &Whole, tag: &str) {
    let node = whole.gateway().cluster.nodes().by_tag(tag).unwrap();
    node.link.refuse();
}

/// Makes a machine on another node than one.
async fn create_off(whole: &Whole, off: &str, body: Value) -> String {
    let mut made = None;
    until("a machine is made elsewhere", async || {
        avoid(whole, off);
        let id = whole.gateway().create(body.clone()).await;
        if tag(&id) == off {
            // The heartbeat came in between.
            whole
                .gateway()
                .delete(&format!("/v1/machines/{id}"))
                .await
                .expect(200);
            return false;
        }
        made = Some(id);
        true
    })
    .await;
    made.unwrap()
}

async fn holders(whole: &Whole, snapshot: &str) -> usize {
    let mut count = 0;
    for node in &whole.nodes {
        count += usize::from(node.engine.snapshot(snapshot).await.is_ok());
    }
    count
}

#[tokio::test]
async fn a_snapshot_of_one_node_starts_machines_on_another_and_outlives_its_node() {
    let mut whole = Whole::start(1, 2).await;
    let (machine, taken) = machine_and_snapshot(whole.gateway()).await;
    let home = tag(&machine);
    let second = create_off(&whole, &home, json!({ "snapshot_id": taken })).await;
    let gateway = whole.gateway();
    assert_eq!(gateway.shell(&second, LOOK).await, SEEN);
    let shown = gateway.get(&format!("/v1/snapshots/{taken}")).await.expect(200);
    let listed = gateway.get("/v1/snapshots").await.expect(200);
    assert_eq!(listed, json!([shown]));

    whole.take(&home).kill().await;
    let gateway = whole.gateway();
    let third = gateway.create(json!({ "snapshot_id": taken })).await;
    assert_eq!(gateway.shell(&third, LOOK).await, SEEN);
    let path = format!("/v1/snapshots/{taken}");
    assert_eq!(gateway.get(&path).await.expect(200), shown);
    gateway.delete(&path).await.expect(204);
    gateway.get(&path).await.refused(404, "snapshot_not_found");
    gateway.delete(&path).await.refused(404, "snapshot_not_found");
    gateway
        .post("/v1/machines", json!({ "snapshot_id": taken }))
        .await
        .refused(404, "snapshot_not_found");
}

#[tokio::test]
async fn a_snapshot_that_nobody_has_is_not_found_and_a_pause_stays_on_its_node() {
    let whole = Whole::start(1, 2).await;
    let gateway = whole.gateway();
    let machine = gateway.create(json!({ "template": "base" })).await;
    let home = tag(&machine);
    let none = format!("snap_{home}ffffffffffffffff");
    for path in [format!("/v1/snapshots/{none}"), "/v1/snapshots/snap_x".to_owned()] {
        gateway.get(&path).await.refused(404, "snapshot_not_found");
        gateway.delete(&path).await.refused(404, "snapshot_not_found");
    }
    avoid(&whole, &home);
    gateway
        .post("/v1/machines", json!({ "snapshot_id": none }))
        .await
        .refused(404, "snapshot_not_found");

    let paused = gateway
        .post(&format!("/v1/machines/{machine}/hibernate"), json!({}))
        .await;
    let pause = paused.json()["id"].as_str().unwrap().to_owned();
    avoid(&whole, &home);
    let answer = gateway
        .post("/v1/machines", json!({ "snapshot_id": pause }))
        .await;
    // Either its own node made it, or the other one was told why it cannot.
    if answer.status != 201 {
        let text = answer.refused(409, "snapshot_in_use");
        assert!(text.contains("stays on its node"), "{text}");
    }
}

#[tokio::test]
async fn with_two_copies_a_lost_node_loses_no_snapshot_and_a_deleted_one_stays_deleted() {
    let mut whole = Whole::copying(postgres::database(), QUICK, 2, 2, 3).await;
    let (machine, taken) = machine_and_snapshot(whole.gateway()).await;
    let path = format!("/v1/snapshots/{taken}");
    until("there are two copies", async || {
        holders(&whole, &taken).await == 2
    })
    .await;

    let home = whole.take(&tag(&machine));
    home.mute();
    whole.until_state(&home.tag, "unreachable").await;
    let gateway = whole.gateway();
    let next = gateway.create(json!({ "snapshot_id": taken })).await;
    assert_eq!(gateway.shell(&next, LOOK).await, SEEN);
    whole.until_state(&home.tag, "lost").await;
    // The copies are two again.
    until("there are two copies", async || {
        holders(&whole, &taken).await == 2
    })
    .await;

    whole.gateway().delete(&path).await.expect(204);
    // At once, or, of one that was just copied, a moment later.
    until("there are no copies", async || holders(&whole, &taken).await == 0).await;
    whole.gateways[1]
        .get(&path)
        .await
        .refused(404, "snapshot_not_found");
    // The node that was away has it still, until it is back.
    assert!(home.engine.snapshot(&taken).await.is_ok());
    let gateways = whole.gateways.iter().map(|gateway| gateway.url.clone());
    home.beat_again(gateways.collect()).await;
    until("the copy is gone", async || {
        home.engine.snapshot(&taken).await.is_err()
    })
    .await;
    until("nobody knows it any more", async || {
        whole.gateway().get(&path).await.status == 404
    })
    .await;
    assert_eq!(whole.gateway().get("/v1/snapshots").await.expect(200), json!([]));
}

#[tokio::test]
async fn a_node_that_drains_ends_when_others_have_what_it_had() {
    let mut whole = Whole::start(1, 2).await;
    let (machine, taken) = machine_and_snapshot(whole.gateway()).await;
    whole
        .gateway()
        .delete(&format!("/v1/machines/{machine}"))
        .await
        .expect(200);
    let built = built(whole.gateway(), "app", "echo one > made").await;
    let db = Db::open(&whole.database).unwrap();
    let mut drained = whole.take(&tag(&machine));
    operate::drain(&db, &drained.tag, None).await.unwrap();
    drained.until_drained().await;
    assert_eq!(holders(&whole, &taken).await, 1);
    drained.kill().await;
    let gateway = whole.gateway();
    let next = gateway.create(json!({ "snapshot_id": taken })).await;
    assert_eq!(gateway.shell(&next, LOOK).await, SEEN);
    let of_template = gateway.create(json!({ "template": built })).await;
    assert_eq!(gateway.shell(&of_template, "cat made").await, "one\n");
}

/// Builds a template, and gives what means the build.
pub async fn built(gateway: &Gateway, name: &str, command: &str) -> String {
    let body = json!({
        "name": name,
        "base_image": "nullspace/base:latest",
        "steps": [{ "action": "run", "command": command }],
        "start_cmd": "echo started > started; sleep 1000",
        "build_config": { "vcpus": 1, "memory_mib": 512 },
    });
    let reply = gateway.post("/v1/templates/build", body).await;
    let last = reply.text.lines().rfind(|line| line.starts_with("data: "));
    let end: Value = serde_json::from_str(&last.unwrap()["data: ".len()..]).unwrap();
    assert_eq!(end["kind"], "end", "{}", reply.text);
    format!("{name}:{}", end["build_id"].as_str().unwrap())
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn a_template_is_built_on_its_home_and_starts_machines_on_every_node() {
    let whole = Whole::start(2, 3).await;
    let gateway = whole.gateway();
    let first = built(gateway, "app", "echo one > made").await;
    let home = whole.gateways[1]
        .cluster
        .template_home()
        .await
        .unwrap()
        .tag
        .clone();
    // Nothing says that a template without a probe has started.
    let look = "until [ -s started ]; do sleep 0.01; done; cat made started";
    let there = create_off(&whole, &home, json!({ "template": "app" })).await;
    assert_eq!(gateway.shell(&there, look).await, "one\nstarted\n");
    // The next build counts at once, on nodes that have the one before, too.
    built(gateway, "app", "echo two > made").await;
    for _ in 0..4 {
        let next = create_off(&whole, &home, json!({ "template": "app" })).await;
        assert_eq!(gateway.shell(&next, look).await, "two\nstarted\n");
        let old = create_off(&whole, &home, json!({ "template": first })).await;
        assert_eq!(gateway.shell(&old, look).await, "one\nstarted\n");
    }
    let again = create_off(&whole, &home, json!({ "template": "app:latest" })).await;
    assert_eq!(gateway.shell(&again, "cat made").await, "two\n");

    // One of the same name that is another one.
    gateway.delete("/v1/templates/refs/app").await.expect(204);
    let refused = gateway
        .post("/v1/machines", json!({ "template": "app" }))
        .await
        .refused(404, "template_not_found");
    assert!(refused.contains("app"), "{refused}");
    built(gateway, "app", "echo three > made").await;
    let other = create_off(&whole, &home, json!({ "template": "app" })).await;
    assert_eq!(gateway.shell(&other, "cat made").await, "three\n");
    let listed = whole.gateways[1].get("/v1/templates").await.expect(200);
    let names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["base", "code-interpreter", "app"]);
}

#[tokio::test]
async fn a_pool_of_a_built_template_is_filled_on_every_node() {
    let whole = Whole::start(1, 3).await;
    built(whole.gateway(), "app", "echo one > made").await;
    let body = json!({
        "name": "p", "template_ref": "app", "min_ready": 3, "max_ready": 3, "resources": { "vcpus": 1, "memory_mb": 256 }
    });
    whole
        .gateway()
        .post("/v1/template-warm-pools", body)
        .await
        .expect(201);
    until("each node has one ready", async || {
        let ready = |node: &crate::cluster::Node| {
            node.engine
                .pool_counts()
                .iter()
                .map(|(_, counts)| counts.ready)
                .sum::<u32>()
        };
        whole.nodes.iter().all(|node| ready(node) == 1)
    })
    .await;
}

#[tokio::test]
async fn with_two_copies_a_lost_home_loses_no_template() {
    let mut whole = Whole::copying(postgres::database(), QUICK, 2, 1, 3).await;
    built(whole.gateway(), "app", "echo one > made").await;
    built(whole.gateway(), "other", "echo other > made").await;
    let home = whole.gateway().cluster.template_home().await.unwrap().tag.clone();
    until("another node has both", async || {
        let mut found = false;
        for node in whole.nodes.iter().filter(|node| node.tag != home) {
            found |= node.engine.template("app").await.is_ok()
                && node.engine.template("other:latest").await.is_ok();
        }
        found
    })
    .await;
    // So that the gateway has heard of it.
    tokio::time::sleep(Duration::from_secs(3)).await;
    whole.take(&home).kill().await;
    let body = json!({ "template": "app" });
    whole.until_state(&home, "unreachable").await;
    let gateway = whole.gateway();
    gateway
        .get("/v1/templates")
        .await
        .refused(503, "node_unreachable");
    whole.until_state(&home, "lost").await;
    for _ in 0..4 {
        let made = gateway.create(body.clone()).await;
        assert_eq!(gateway.shell(&made, "cat made").await, "one\n");
    }
    let next = gateway.cluster.template_home().await.unwrap().tag.clone();
    assert_ne!(next, home);
    let tags = gateway.get("/v1/templates/refs/other/tags").await.expect(200);
    assert_eq!(tags[0]["tag"], "latest");
    built(gateway, "app", "echo two > made").await;
    let made = create_off(&whole, &next, body).await;
    assert_eq!(gateway.shell(&made, "cat made").await, "two\n");
}

/// A node of which others bring something, over a backend that is seen.
async fn alone() -> (Arc<Engine>, Arc<Plain>, tempfile::TempDir) {
    let (backend, state) = (Plain::new(), tempfile::tempdir().unwrap());
    let store = Store::open(state.path()).unwrap();
    let engine = Engine::open(store, backend.clone(), Ids::default())
        .await
        .unwrap();
    (engine, backend, state)
}

#[tokio::test]
async fn a_copy_that_breaks_off_leaves_nothing_and_is_whole_the_next_time() {
    let source = Served::start().await;
    let machine = source.create(json!({ "template": "base" })).await;
    source
        .shell(&machine, "head -c 3000000 /dev/urandom > file; echo end > end")
        .await;
    let taken = source
        .post(&format!("/v1/machines/{machine}/snapshots"), json!({}))
        .await
        .expect(201);
    let id = taken["id"].as_str().unwrap().to_owned();
    let document = source.engine.snapshot_to_carry(&id).await.unwrap();
    let pieces = carry::packed(&source.engine, &document.layers[0]).await.unwrap();
    let packed = to_bytes(Body::from_stream(pieces), usize::MAX).await.unwrap();
    assert!(packed.len() > 3_000_000);

    // Cut off by the network, ended early as if that were all, and whole.
    let (engine, backend, _state) = alone().await;
    let half = packed.slice(..packed.len() / 2);
    for (how, is_whole) in [("cut", false), ("short", false), ("whole", true)] {
        let (document, half, packed) = (document.clone(), half.clone(), packed.clone());
        let layer = move |Path(_): Path<String>| async move {
            match how {
                "cut" => {
                    let broken = std::io::Error::other("cut");
                    let pieces =
                        stream::iter([Ok::<Bytes, std::io::Error>(half)]).chain(stream::iter([Err(broken)]));
                    Response::new(Body::from_stream(pieces))
                }
                "short" => half.into_response(),
                _ => packed.into_response(),
            }
        };
        let router = Router::new()
            .route(
                &format!("{}/{{id}}", carry::SNAPSHOTS),
                get(move || async move { serde_json::to_string(&document).unwrap() }),
            )
            .route(&format!("{}/{{name}}", carry::LAYERS), get(layer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let from = Source {
            url: format!("http://{}", listener.local_addr().unwrap()),
            key: "any".into(),
        };
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        let brought = carry::snapshot(&engine, &id, &from).await;
        serving.abort();
        assert_eq!(brought.is_ok(), is_whole, "{how}: {brought:?}");
        assert_eq!(engine.snapshot(&id).await.is_ok(), is_whole, "{how}");
        assert_eq!(backend.layers().len(), usize::from(is_whole), "{how}");
    }
    source.stop().await;
    engine.shutdown().await;
}
