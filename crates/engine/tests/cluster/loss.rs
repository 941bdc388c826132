//! Nodes, gateways and the database that go away, and what is said and done then.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nullspace_engine::cluster::db::Db;
use nullspace_engine::cluster::operate;
use serde_json::{json, Value};

use crate::cluster::{tag, Gateway, Whole, QUICK};
use crate::layers::built;
use crate::postgres::Postgres;
use crate::support::until;

#[tokio::test]
async fn machines_of_a_dead_node_are_listed_as_ended_and_keys_move_on() {
    let mut whole = Whole::quick(2, 3).await;
    let keys: Vec<String> = (0..50).map(|n| format!("key-{n}")).collect();
    let body = json!({ "template": "base" });
    let first = join_all(
        keys[..25]
            .iter()
            .map(|key| whole.gateways[0].post_with_key("/v1/machines", key, body.clone())),
    )
    .await;
    let ids: Vec<String> = first
        .into_iter()
        .map(|a| a.expect(201)["id"].as_str().unwrap().to_owned())
        .collect();
    let dead = whole.take(&tag(&ids[0]));
    let (killed, answers) = tokio::join!(
        dead.kill(),
        join_all(
            keys.iter()
                .map(|key| whole.gateways[1].post_with_key("/v1/machines", key, body.clone()))
        )
    );
    let () = killed;
    // Whatever they answered, who repeats the key ends with one machine that answers.
    assert!(
        answers.iter().all(|answer| matches!(answer.status, 201 | 503)),
        "{answers:?}"
    );
    whole.until_state(&dead.tag, "lost").await;
    let mut living = Vec::new();
    for key in &keys {
        let mut id = None;
        until("the key has a machine", async || {
            let answer = whole.gateways[0]
                .post_with_key("/v1/machines", key, body.clone())
                .await;
            assert!(matches!(answer.status, 201 | 503), "{answer:?}");
            id = (answer.status == 201).then(|| answer.json()["id"].as_str().unwrap().to_owned());
            id.is_some()
        })
        .await;
        living.push(id.unwrap());
    }
    for id in &living {
        assert_ne!(tag(id), dead.tag);
        assert_eq!(whole.gateway().shell(id, "echo here").await, "here\n");
    }
    assert_eq!(whole.living().await, keys.len());
    let lost: Vec<&String> = ids.iter().filter(|id| tag(id) == dead.tag).collect();
    assert!(!lost.is_empty());
    for id in lost {
        let path = format!("/v1/machines/{id}");
        let shown = whole.gateway().get(&path).await.expect(200);
        assert_eq!(shown["status"], "error", "{shown}");
        assert!(
            shown["error_message"].as_str().unwrap().contains("node was lost"),
            "{shown}"
        );
        let listed = whole.gateways[1]
            .get("/v1/machines?state=error&limit=1000")
            .await
            .expect(200);
        assert!(listed["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|item| item["id"] == id.as_str()));
        let refused = whole
            .gateway()
            .post(&format!("{path}/exec"), json!({ "command": "true" }))
            .await
            .refused(409, "machine_not_ready");
        assert!(refused.contains("node was lost"), "{refused}");
        whole.gateway().delete(&path).await.expect(200);
        whole.gateway().get(&path).await.refused(404, "machine_not_found");
    }
}

#[tokio::test]
async fn a_silent_node_is_refused_and_one_that_was_given_up_ends_its_machines_before_it_is_ready() {
    let mut whole = Whole::quick(1, 2).await;
    let gateway_url = whole.gateway().url.clone();
    let body = json!({ "template": "base" });
    let id = whole.gateway().create(body.clone()).await;
    let muted = tag(&id);
    whole.node(&muted).mute();
    whole.until_state(&muted, "unreachable").await;
    let answer = whole.gateway().get(&format!("/v1/machines/{id}")).await;
    assert_eq!(answer.json()["retryable"], true);
    answer.refused(503, "node_unreachable");
    // It is listed as it was told last.
    let listed = whole.gateway().get("/v1/machines").await.expect(200);
    assert_eq!(
        (&listed["items"][0]["id"], &listed["items"][0]["status"]),
        (&json!(id), &json!("running"))
    );
    // Creates go elsewhere.
    let other = whole.gateway().create(body.clone()).await;
    assert_ne!(tag(&other), muted);
    whole.until_state(&muted, "lost").await;
    assert_eq!(
        whole.node(&muted).engine.promised().machines,
        1,
        "nobody could end it yet"
    );
    // It is heard of again, by the same process.
    whole.node(&muted).beat_again(vec![gateway_url]).await;
    whole.until_state(&muted, "ready").await;
    assert_eq!(whole.node(&muted).engine.promised().machines, 0);
    let shown = whole
        .gateway()
        .get(&format!("/v1/machines/{id}"))
        .await
        .expect(200);
    assert_eq!(shown["status"], "error");
    whole
        .gateway()
        .delete(&format!("/v1/machines/{id}"))
        .await
        .expect(200);
    assert_eq!(
        whole.gateway().get("/v1/machines").await.expect(200)["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    drop(whole.take(&muted));
}

#[tokio::test]
async fn a_node_that_starts_again_is_ready_at_once_with_its_snapshots_and_volumes() {
    let mut whole = Whole::quick(1, 1).await;
    let gateway = whole.gateway();
    let volume = gateway
        .post("/v1/volumes", json!({ "name": "kept" }))
        .await
        .expect(200)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let id = gateway.create(json!({})).await;
    let old = whole.take(&tag(&id));
    old.kill().await;
    let begun = Instant::now();
    let again = old.again().await;
    assert_eq!(again.tag, tag(&id));
    whole.nodes.push(again);
    let gateway = whole.gateway();
    until("the node answers", async || {
        gateway.get(&format!("/v1/volumes/{volume}")).await.status == 200
    })
    .await;
    assert!(begun.elapsed() < QUICK.lost_after, "it waited until it was lost");
    let shown = gateway.get(&format!("/v1/machines/{id}")).await.expect(200);
    assert_eq!(
        shown["status"], "error",
        "its machines ended with its process: {shown}"
    );
}

#[tokio::test]
async fn calls_go_on_while_the_database_is_away_and_nobody_is_given_up_for_it() {
    let mut postgres = Postgres::start();
    let whole = Whole::over(postgres.database(), QUICK, 2, 2).await;
    let gateway = whole.gateway();
    let ids = [gateway.create(json!({})).await, gateway.create(json!({})).await];
    let keyed = gateway
        .post_with_key("/v1/machines", "before", json!({}))
        .await
        .expect(201);
    postgres.stop();
    let begun = Instant::now();
    while begun.elapsed() < QUICK.lost_after + Duration::from_secs(2) {
        for (id, gateway) in ids.iter().zip(&whole.gateways) {
            assert_eq!(gateway.shell(id, "echo on").await, "on\n");
        }
        let create = gateway.post_with_key("/v1/machines", "during", json!({})).await;
        assert_eq!(create.json()["retryable"], true);
        create.refused(503, "database_unavailable");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    gateway
        .get("/v1/machines")
        .await
        .refused(503, "database_unavailable");
    let ready = gateway
        .http
        .get(format!("{}/readyz", gateway.url))
        .send()
        .await
        .unwrap();
    assert_eq!(ready.status(), 503);
    postgres.resume();
    until("creates work again", async || {
        gateway
            .post_with_key("/v1/machines", "during", json!({}))
            .await
            .status
            == 201
    })
    .await;
    let again = gateway
        .post_with_key("/v1/machines", "before", json!({}))
        .await
        .expect(201);
    assert_eq!(again["id"], keyed["id"]);
    let listed = gateway.get("/v1/machines").await.expect(200);
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 4);
    assert!(items.iter().all(|item| item["status"] == "running"), "{listed}");
}

#[tokio::test]
async fn a_gateway_that_is_killed_costs_its_callers_a_retry_and_nothing_else() {
    let whole = Whole::start(2, 3).await;
    let keys: Vec<String> = (0..50).map(|n| format!("key-{n}")).collect();
    let creating = join_all(keys.iter().map(|key| {
        let request = whole.gateways[0].request(reqwest::Method::POST, "/v1/machines");
        request.header("idempotency-key", key).json(&json!({})).send()
    }));
    let killing = async {
        tokio::time::sleep(Duration::from_millis(15)).await;
        whole.gateways[0].kill();
    };
    tokio::join!(creating, killing);
    let mut ids = Vec::new();
    for key in &keys {
        until("the key has a machine", async || {
            let answer = whole.gateways[1]
                .post_with_key("/v1/machines", key, json!({}))
                .await;
            let is_made = answer.status == 201;
            if is_made {
                ids.push(answer.json()["id"].as_str().unwrap().to_owned());
            }
            is_made
        })
        .await;
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), keys.len());
    assert_eq!(whole.living().await, keys.len());
}

#[tokio::test]
async fn a_drained_node_gets_nothing_and_ends_with_its_last_machine() {
    let mut whole = Whole::start(1, 2).await;
    let id = whole.gateway().create(json!({})).await;
    let mut node = whole.take(&tag(&id));
    let db = Db::open(&whole.database).unwrap();
    operate::drain(&db, &node.name, None).await.unwrap();
    whole.until_state(&node.tag, "draining").await;
    for _ in 0..8 {
        assert_ne!(tag(&whole.gateway().create(json!({})).await), node.tag);
    }
    assert_eq!(whole.gateway().shell(&id, "echo works").await, "works\n");
    assert!(
        operate::forget(&db, &node.tag)
            .await
            .unwrap_err()
            .message
            .contains("drain"),
        "it is there"
    );
    whole
        .gateway()
        .delete(&format!("/v1/machines/{id}"))
        .await
        .expect(200);
    node.until_drained().await;
    node.kill().await;
    // A new process of it takes machines again.
    let again = node.again().await;
    whole.until_state(&again.tag, "ready").await;
}

/// Status and log of a build, as a gateway shows them.
async fn shown(gateway: &Gateway, build: &str) -> (Value, Vec<Value>) {
    let path = format!("/v1/templates/builds/{build}");
    let snapshot = gateway.get(&path).await.expect(200);
    let log = gateway.get(&format!("{path}/logs?follow=true")).await;
    assert_eq!(log.status, 200, "{log:?}");
    let lines = log.text.lines().filter_map(|line| line.strip_prefix("data: "));
    (
        snapshot,
        lines.map(|line| serde_json::from_str(line).unwrap()).collect(),
    )
}

#[tokio::test]
async fn what_became_of_a_build_is_known_when_its_node_is_gone() {
    let mut whole = Whole::quick(2, 2).await;
    let built = built(whole.gateway(), "app", "echo hello from the build").await;
    let build = built.split_once(':').unwrap().1.to_owned();
    let before = shown(whole.gateway(), &build).await;
    assert_eq!(before.0["build"]["status"], "ready", "{before:?}");
    let home = whole.gateway().cluster.template_home().await.unwrap().tag.clone();
    let body = json!({
        "name": "slow", "base_image": "nullspace/base:latest", "steps": [{ "action": "run", "command": "sleep 600" }],
        "build_config": { "vcpus": 1, "memory_mib": 512 },
    });
    let started = whole
        .gateway()
        .post("/v1/templates/builds", body)
        .await
        .expect(202);
    let slow = started["build_id"].as_str().unwrap().to_owned();
    let db = Db::open(&whole.database).unwrap();
    until("both are kept", async || {
        let connection = db.get().await.unwrap();
        let sql = "SELECT count(*) FROM template_builds WHERE (id = $1 AND status = 'ready') OR (id = $2 AND status = 'building')";
        connection.query_one(sql, &[&build, &slow]).await.unwrap().get::<_, i64>(0) == 2
    })
    .await;
    whole.take(&home).kill().await;
    whole.until_state(&home, "unreachable").await;
    // It may come back and go on with what it had begun; what was over stays what it was.
    let path = format!("/v1/templates/builds/{slow}");
    whole.gateway().get(&path).await.refused(503, "node_unreachable");
    assert_eq!(shown(whole.gateway(), &build).await, before);
    whole.until_state(&home, "lost").await;
    let gateway = &whole.gateways[1];
    until("the other gateway has heard of it", async || {
        gateway.get(&path).await.status == 200
    })
    .await;
    assert_eq!(shown(gateway, &build).await, before);
    let part = gateway
        .get(&format!("/v1/templates/builds/{build}?offset=2"))
        .await
        .expect(200);
    assert_eq!(part["entries"][0]["offset"], 2);
    assert_eq!(part["next_offset"], before.0["next_offset"]);
    let (snapshot, log) = shown(gateway, &slow).await;
    assert_eq!(snapshot["build"]["status"], "error");
    let last = log.last().unwrap();
    assert_eq!(
        (&last["kind"], &last["error_detail"]["retryable"]),
        (&json!("error"), &json!(true))
    );
    assert!(last["message"].as_str().unwrap().contains("node"), "{last}");
    gateway
        .get("/v1/templates/builds/tb_0")
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn strangers_copies_and_old_nodes_cannot_join() {
    use nullspace_engine::node::messages::{Join, PROTOCOL};
    let whole = Whole::start(1, 2).await;
    let gateway = whole.gateway();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64;
    let good = Join {
        protocol: PROTOCOL,
        version: "0".into(),
        node: "another".into(),
        instance: "one".into(),
        tag: None,
        name: "another".into(),
        url: "http://127.0.0.1:9".into(),
        clock_ms: now,
    };
    let join = async |token: &str, join: &Join| {
        let sent = gateway
            .http
            .post(format!("{}/cluster/v1/join", gateway.url))
            .bearer_auth(token)
            .json(join)
            .send()
            .await
            .unwrap();
        (sent.status().as_u16(), sent.text().await.unwrap())
    };
    let token = crate::cluster::TOKEN;
    let known = whole
        .gateway()
        .cluster
        .nodes()
        .by_tag(&whole.nodes[0].tag)
        .unwrap()
        .id
        .clone();
    let cases = [
        (
            "a token of another cluster",
            "of-another-cluster",
            good.clone(),
            401,
            "--join-token",
        ),
        (
            "an hour off",
            token,
            Join {
                clock_ms: now - 3_600_000,
                ..good.clone()
            },
            403,
            "3600 s behind",
        ),
        (
            "a newer node",
            token,
            Join {
                protocol: PROTOCOL + 1,
                ..good.clone()
            },
            409,
            "upgrade the gateways first",
        ),
        (
            "an old node",
            token,
            Join {
                protocol: 0,
                ..good.clone()
            },
            409,
            "upgrade it",
        ),
        (
            "a tag of another",
            token,
            Join {
                tag: Some(whole.nodes[0].tag.clone()),
                ..good.clone()
            },
            403,
            "new --state",
        ),
        (
            "a copied state",
            token,
            Join {
                node: known.clone(),
                ..good.clone()
            },
            403,
            "copied",
        ),
        (
            "a forged tag",
            token,
            Join {
                node: known,
                tag: Some("ffff".into()),
                url: whole.nodes[0].url.clone(),
                ..good.clone()
            },
            403,
            "new --state",
        ),
        (
            "no address",
            token,
            Join {
                url: "10.0.0.1".into(),
                ..good
            },
            400,
            "--advertise",
        ),
    ];
    for (what, token, message, status, text) in cases {
        let answer = join(token, &message).await;
        assert_eq!(answer.0, status, "{what}: {answer:?}");
        assert!(answer.1.contains(text), "{what}: {answer:?}");
    }
    assert_eq!(whole.gateway().cluster.nodes().all().len(), 2);
}
