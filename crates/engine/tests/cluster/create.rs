//! Creates: where machines land, and that one key makes one of them.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use nullspace_engine::cluster::place::STALE;
use nullspace_engine::node::membership::{self, Membership};
use serde_json::{json, Value};

use crate::cluster::{tag, Whole, TOKEN};
use crate::support::until;

#[tokio::test]
async fn machines_spread_over_the_nodes_and_calls_find_them() {
    let whole = Whole::start(2, 3).await;
    let made = join_all((0..60).map(|n| {
        let gateway = &whole.gateways[n % 2];
        gateway.create(json!({ "template": "base", "memory_mb": 512 }))
    }))
    .await;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for id in &made {
        *counts.entry(tag(id)).or_default() += 1;
    }
    assert_eq!(counts.len(), 3, "{counts:?}");
    let (most, least) = (counts.values().max().unwrap(), counts.values().min().unwrap());
    assert!(most - least <= 15, "{counts:?}");
    // Either gateway finds each.
    for (id, gateway) in made.iter().zip(whole.gateways.iter().rev().cycle()) {
        assert_eq!(gateway.shell(id, "echo here").await, "here\n");
    }
    assert_eq!(whole.living().await, 60);
}

#[tokio::test]
async fn a_key_makes_one_machine_whichever_gateway_is_asked() {
    let whole = Whole::start(2, 3).await;
    let body = json!({ "template": "base", "metadata": { "a": 1 } });
    let answers =
        join_all((0..20).map(|n| whole.gateways[n % 2].post_with_key("/v1/machines", "one", body.clone())))
            .await;
    let ids: BTreeSet<String> = answers
        .into_iter()
        .map(|a| a.expect(201)["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(whole.living().await, 1);
    let other = json!({ "template": "base", "metadata": { "a": 2 } });
    let refused = whole
        .gateway()
        .post_with_key("/v1/machines", "one", other)
        .await
        .refused(409, "conflict");
    assert!(refused.contains("one"), "{refused}");
    let id = ids.first().unwrap();
    whole
        .gateway()
        .delete(&format!("/v1/machines/{id}"))
        .await
        .expect(200);
    whole.gateways[1]
        .post_with_key("/v1/machines", "one", body)
        .await
        .refused(409, "idempotency_key_expired");
}

#[tokio::test]
async fn a_create_that_fails_gives_its_key_back() {
    let whole = Whole::start(1, 2).await;
    let gateway = whole.gateway();
    let wrong = json!({ "template": "there-is-no-such" });
    gateway
        .post_with_key("/v1/machines", "again", wrong)
        .await
        .refused(404, "template_not_found");
    gateway
        .post_with_key("/v1/machines", "again", json!({ "template": "base" }))
        .await
        .expect(201);
}

#[tokio::test]
async fn wrong_input_is_refused_without_a_node() {
    let whole = Whole::start(1, 0).await;
    let gateway = whole.gateway();
    let refused = gateway
        .post("/v1/machines", json!({ "timeout_ms": 0 }))
        .await
        .refused(400, "invalid_request");
    assert!(refused.contains("timeout_ms"), "{refused}");
    let empty = gateway.post("/v1/machines", json!({})).await;
    assert_eq!(empty.json()["retryable"], true);
    let text = empty.refused(503, "no_capacity");
    assert!(text.contains("no nodes yet"), "{text}");
}

#[tokio::test]
async fn a_machine_that_fits_nowhere_is_refused_and_says_so() {
    let whole = Whole::start(1, 2).await;
    let text = whole
        .gateway()
        .post("/v1/machines", json!({ "memory_mb": 100_000 }))
        .await
        .refused(503, "no_capacity");
    assert!(text.contains("2 nodes that are ready"), "{text}");
}

#[tokio::test]
async fn room_of_a_machine_that_ended_is_had_at_once_and_a_repeat_needs_none() {
    let whole = Whole::start(1, 1).await;
    let gateway = whole.gateway();
    let most = json!({ "memory_mb": 40_000 });
    let create = |key| gateway.post_with_key("/v1/machines", key, most.clone());
    let first = create("first").await.expect(201);
    // Until the node has said so, and the gateway has looked.
    tokio::time::sleep(STALE).await;
    create("second").await.refused(503, "no_capacity");
    let id = first["id"].as_str().unwrap();
    assert_eq!(create("first").await.expect(201)["id"], id);
    gateway.delete(&format!("/v1/machines/{id}")).await.expect(200);
    create("third").await.expect(201);
}

#[tokio::test]
async fn ids_of_unknown_nodes_and_forged_tags_are_not_found() {
    let whole = Whole::start(1, 1).await;
    let gateway = whole.gateway();
    for id in [
        "mch_zzzz0000000000000000",
        "mch_",
        "mch_0000ffffffffffffffff",
        "x",
    ] {
        gateway
            .get(&format!("/v1/machines/{id}"))
            .await
            .refused(404, "machine_not_found");
        gateway
            .post(&format!("/v1/machines/{id}/exec"), json!({ "command": "true" }))
            .await
            .refused(404, "machine_not_found");
    }
    let forged = format!("mch_{}0000000000000000", whole.nodes[0].tag);
    gateway
        .get(&format!("/v1/machines/{forged}"))
        .await
        .refused(404, "machine_not_found");
    gateway
        .get("/v1/snapshots/snap_ffff0000000000000000")
        .await
        .refused(404, "snapshot_not_found");
    gateway
        .get("/v1/volumes/vol_ffff0000000000000000")
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn a_name_is_that_of_one_machine_in_the_whole_cluster() {
    let whole = Whole::start(2, 3).await;
    let body = json!({ "template": "base", "metadata": { "nullspace.name": "agent" } });
    let answers = join_all((0..12).map(|n| {
        let key = format!("key-{n}");
        let (gateway, body) = (&whole.gateways[n % 2], body.clone());
        async move { gateway.post_with_key("/v1/machines", &key, body).await }
    }))
    .await;
    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(made.len(), 1, "{answers:?}");
    assert!(
        answers.iter().all(|answer| matches!(answer.status, 201 | 409)),
        "{answers:?}"
    );
    assert_eq!(whole.living().await, 1);
    let id = made[0].json()["id"].as_str().unwrap().to_owned();
    let taken = whole.gateways[1].post("/v1/machines", body.clone()).await;
    assert_eq!(taken.json()["details"]["machine_id"], id.as_str());
    whole
        .gateway()
        .delete(&format!("/v1/machines/{id}"))
        .await
        .expect(200);
    until("the name is free", async || {
        whole.gateway().post("/v1/machines", body.clone()).await.status == 201
    })
    .await;
}

#[tokio::test]
async fn keys_of_users_open_gateways_and_no_node() {
    let whole = Whole::start(1, 1).await;
    let (gateway, node) = (whole.gateway(), &whole.nodes[0]);
    let asked = gateway
        .http
        .get(format!("{}/v1/machines", node.url))
        .bearer_auth(&whole.key)
        .send()
        .await
        .unwrap();
    assert_eq!(asked.status(), 401);
    let unknown = gateway
        .http
        .get(format!("{}/v1/machines", gateway.url))
        .bearer_auth("nsk_wrong")
        .send()
        .await
        .unwrap();
    assert_eq!(unknown.status(), 401);
    for path in ["/cluster/v1/join", "/cluster/v1/heartbeat"] {
        let asked = gateway
            .http
            .post(format!("{}{path}", gateway.url))
            .bearer_auth(&whole.key)
            .body("{}")
            .send()
            .await
            .unwrap();
        assert_eq!(asked.status(), 401, "{path}");
    }
    // What only gateways ask is no path of theirs.
    gateway.get("/node/v1/machines").await.refused(404, "not_found");
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_within_seconds() {
    use nullspace_engine::cluster::{db::Db, keys};
    let whole = Whole::start(1, 1).await;
    let db = Db::open(&whole.database).unwrap();
    let key = keys::add(&db, "another", None).await.unwrap();
    assert!(
        keys::add(&db, "another", None).await.is_err(),
        "the name is taken"
    );
    let gateway = whole.gateway();
    let ask = async || {
        gateway
            .http
            .get(format!("{}/v1/machines", gateway.url))
            .bearer_auth(&key)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    until("the key opens", async || ask().await == 200).await;
    keys::revoke(&db, "another").await.unwrap();
    until("the key opens nothing", async || ask().await == 401).await;
}

#[tokio::test]
async fn a_node_that_joined_and_was_not_heard_yet_disturbs_nobody() {
    let mut whole = Whole::start(1, 1).await;
    let state = tempfile::tempdir().unwrap();
    let options = membership::Options {
        gateways: vec![whole.gateway().url.clone()],
        token: TOKEN.into(),
        url: "http://127.0.0.1:1".into(),
        name: "silent".into(),
        memory_mb: None,
        end_when_isolated: None,
    };
    let silent = Membership::join(options, state.path()).await.unwrap();
    until("the gateway knows it", async || {
        whole.gateway().cluster.nodes().by_tag(silent.tag()).is_some()
    })
    .await;
    // It still looks.
    whole.add_node().await;
    whole.until_ready(2).await;
    for _ in 0..4 {
        let id = whole.gateway().create(json!({})).await;
        assert_ne!(tag(&id), silent.tag());
    }
    let answer = whole
        .gateway()
        .http
        .get(format!("{}/readyz", whole.gateway().url));
    let answer: Value = answer.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer, json!({ "status": "ready", "nodes": 2 }));
}
