//! Warm pools of a cluster: each ready node holds its share, and a create finds a ready machine wherever it is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nullspace_engine::cluster::db::Db;
use nullspace_engine::cluster::operate;
use reqwest::Method;
use serde_json::{json, Value};

use crate::cluster::{tag, Gateway, Whole};
use crate::support::until;

async fn make(gateway: &Gateway, min: u32, max: u32) -> String {
    let body = json!({
        "name": "p", "template_ref": "base", "min_ready": min, "max_ready": max,
        "resources": { "vcpus": 1, "memory_mb": 512 }
    });
    let made = gateway.post("/v1/template-warm-pools", body).await.expect(201);
    assert_eq!(made["status"]["target"], min, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

fn path(pool: &str) -> String {
    format!("/v1/template-warm-pools/{pool}")
}

async fn patch(gateway: &Gateway, pool: &str, body: Value) -> Value {
    let request = gateway.request(Method::PATCH, &path(pool)).json(&body);
    gateway.send(request).await.expect(200)
}

async fn turn(gateway: &Gateway, pool: &str, turn: &str) -> Value {
    let path = format!("{}/{turn}", path(pool));
    gateway.post(&path, json!({})).await.expect(200)
}

fn from_pool(pool: &str, mode: &str) -> Value {
    json!({ "template": "base", "warm_pool": { "id": pool, "mode": mode } })
}

/// Ready machines of each node, without nodes that have none.
fn ready(whole: &Whole, pool: &str) -> BTreeMap<String, u32> {
    let counts = whole.nodes.iter().map(|node| {
        let counts = node.engine.pool_counts();
        let ready = counts
            .iter()
            .find(|(id, _)| id == pool)
            .map(|(_, counts)| counts.ready);
        (node.tag.clone(), ready.unwrap_or_default())
    });
    counts.filter(|(_, ready)| *ready > 0).collect()
}

async fn until_shares(whole: &Whole, pool: &str, shares: &[u32]) {
    until(&format!("the shares are {shares:?}"), async || {
        let mut found: Vec<u32> = ready(whole, pool).into_values().collect();
        found.sort_unstable();
        found == shares
    })
    .await;
}

async fn until_ready(gateway: &Gateway, pool: &str, count: u32) {
    until(&format!("{count} are ready"), async || {
        let shown = gateway.get(&path(pool)).await.expect(200);
        shown["status"]["ready"] == count && shown["status"]["warming"] == 0
    })
    .await;
}

#[tokio::test]
async fn shares_are_even_and_move_when_nodes_come_and_go() {
    let mut whole = Whole::quick(2, 3).await;
    let pool = make(whole.gateway(), 6, 6).await;
    until_shares(&whole, &pool, &[2, 2, 2]).await;
    until_ready(&whole.gateways[1], &pool, 6).await;
    let dead = whole.nodes.remove(0);
    dead.kill().await;
    for n in 0..4 {
        let key = format!("key-{n}");
        until("a required machine is made", async || {
            let gateway = &whole.gateways[n % 2];
            let answer = gateway
                .post_with_key("/v1/machines", &key, from_pool(&pool, "require"))
                .await;
            // It may have been sent to the node while that died.
            assert!(
                answer.status == 201 || answer.json()["code"] == "node_unreachable",
                "{answer:?}"
            );
            if answer.status == 201 {
                let id = answer.json()["id"].as_str().unwrap().to_owned();
                gateway.delete(&format!("/v1/machines/{id}")).await;
            }
            answer.status == 201
        })
        .await;
    }
    whole.until_state(&dead.tag, "unreachable").await;
    let begun = Instant::now();
    until_shares(&whole, &pool, &[3, 3]).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // The other gateway deals when the one that did is gone.
    whole.gateways[0].kill();
    whole.gateways.remove(0);
    whole.add_node().await;
    until_shares(&whole, &pool, &[2, 2, 2]).await;
    // One that is drained gives its share up before it ends.
    let drained = whole.nodes[0].name.clone();
    operate::drain(&Db::open(&whole.database).unwrap(), &drained, None)
        .await
        .unwrap();
    until_shares(&whole, &pool, &[3, 3]).await;
    whole.nodes[0].until_drained().await;
    assert_eq!(whole.nodes[0].engine.promised().machines, 0);
}

#[tokio::test]
async fn a_required_machine_is_found_wherever_one_is_ready() {
    let whole = Whole::start(2, 3).await;
    let pool = make(whole.gateway(), 6, 6).await;
    until_ready(whole.gateway(), &pool, 6).await;
    // What is taken is not replaced for a while, so each of the six is needed, wherever it is.
    for node in &whole.nodes {
        *node.backend.delay.lock().unwrap() = Duration::from_secs(5);
    }
    let make = async |n: usize, body: Value| whole.gateways[n % 2].post("/v1/machines", body).await;
    let made = join_all((0..6).map(|n| make(n, from_pool(&pool, ["require", "prefer"][n % 2])))).await;
    let mut nodes: BTreeMap<String, usize> = BTreeMap::new();
    for (n, answer) in made.into_iter().enumerate() {
        let machine = answer.expect(201);
        let checkout = &machine["warm_pool_checkout"];
        assert_eq!(checkout["source"], "ready_instance", "{machine}");
        assert_eq!(checkout["mode"], ["require", "prefer"][n % 2], "{machine}");
        *nodes.entry(tag(machine["id"].as_str().unwrap())).or_default() += 1;
    }
    assert_eq!(nodes.into_values().collect::<Vec<_>>(), [2, 2, 2]);
    let shown = whole
        .gateway()
        .get(&format!("{}/status", path(&pool)))
        .await
        .expect(200);
    assert_eq!(
        (&shown["claimed"], &shown["ready"]),
        (&json!(6), &json!(0)),
        "{shown}"
    );
    make(0, from_pool(&pool, "require"))
        .await
        .refused(409, "warm_pool_unavailable");
    // One that waits gets the first that becomes ready, on whichever node.
    let mut waiting = from_pool(&pool, "require");
    waiting["warm_pool"]["wait_ms"] = json!(20_000);
    let machine = make(1, waiting).await.expect(201);
    assert_eq!(machine["warm_pool_checkout"]["hit"], true);
    assert!(
        machine["warm_pool_checkout"]["wait_ms"].as_u64().unwrap() > 100,
        "{machine}"
    );
    let mut cold = from_pool(&pool, "prefer");
    cold["vcpus"] = json!(2);
    let changed = make(0, cold.clone()).await.expect(201);
    assert_eq!(changed["warm_pool_checkout"]["source"], "cold_create");
    cold["warm_pool"]["mode"] = json!("require");
    let text = make(0, cold).await.refused(409, "warm_pool_unavailable");
    assert!(text.contains("vcpus"), "{text}");
}

#[tokio::test]
async fn changes_reach_all_nodes() {
    let whole = Whole::start(2, 3).await;
    let (one, other) = (&whole.gateways[0], &whole.gateways[1]);
    let pool = make(one, 3, 6).await;
    until_shares(&whole, &pool, &[1, 1, 1]).await;
    let changed = patch(other, &pool, json!({ "min_ready": 5, "labels": { "team": "a" } })).await;
    assert_eq!(
        (&changed["min_ready"], &changed["max_ready"]),
        (&json!(5), &json!(6))
    );
    until_shares(&whole, &pool, &[1, 2, 2]).await;
    // Machines of another size replace those that are there.
    let changed = patch(
        one,
        &pool,
        json!({ "resources": { "vcpus": 1, "memory_mb": 256 } }),
    )
    .await;
    assert_eq!(changed["rollout_generation"], 2);
    until("the machines are small", async || {
        let promised = whole.nodes.iter().map(|node| node.engine.promised().memory_mb);
        promised.sum::<u64>() == 5 * 256
    })
    .await;
    let disabled = turn(other, &pool, "disable").await;
    assert_eq!(disabled["state"], "disabled");
    assert_eq!(disabled["status"]["target"], 0);
    assert_eq!(disabled["degraded_reason"], "controller_disabled");
    until_shares(&whole, &pool, &[]).await;
    other
        .post("/v1/machines", from_pool(&pool, "require"))
        .await
        .refused(409, "warm_pool_unavailable");
    turn(one, &pool, "enable").await;
    until_shares(&whole, &pool, &[1, 2, 2]).await;
    turn(one, &pool, "reconcile").await;
    let drained = turn(one, &pool, "drain").await;
    assert_eq!(drained["degraded_reason"], "drain_active");
    until_shares(&whole, &pool, &[]).await;
    let listed = |query: &'static str| async move {
        let listed = one
            .get(&format!("/v1/template-warm-pools?{query}"))
            .await
            .expect(200);
        listed["items"].as_array().unwrap().len()
    };
    assert_eq!(listed("template=base&state=draining&label=team%3Da").await, 1);
    assert_eq!(listed("template=none").await, 0);
    assert_eq!(listed("status=ready").await, 0);
    turn(one, &pool, "enable").await;
    until_shares(&whole, &pool, &[1, 2, 2]).await;
    let deleted = other.delete(&path(&pool)).await.expect(200);
    assert!(
        deleted["state"] == "deleted" && deleted["deleted_at"].is_string(),
        "{deleted}"
    );
    until("its machines ended", async || whole.living().await == 0).await;
    one.get(&path(&pool)).await.refused(404, "not_found");
}

#[tokio::test]
async fn wrong_pools_are_refused_as_by_one_engine() {
    let whole = Whole::start(1, 1).await;
    let gateway = whole.gateway();
    let make = async |change: Value| {
        let mut body = json!({
            "name": "p", "template_ref": "base", "min_ready": 1, "max_ready": 2,
            "resources": { "vcpus": 1, "memory_mb": 512 }
        });
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        gateway.post("/v1/template-warm-pools", body).await
    };
    let text = make(json!({ "max_ready": 0 }))
        .await
        .refused(400, "invalid_request");
    assert!(text.contains("max_ready"), "{text}");
    let text = make(json!({ "template_ref": "none" }))
        .await
        .refused(404, "template_not_found");
    assert!(text.contains("none"), "{text}");
    let unknown = "twp_00000000000000000000";
    gateway.get(&path(unknown)).await.refused(404, "not_found");
    gateway
        .post("/v1/machines", from_pool(unknown, "prefer"))
        .await
        .refused(404, "not_found");
    gateway
        .get("/v1/template-warm-pools?status=wrong")
        .await
        .refused(400, "invalid_request");
}

#[tokio::test]
async fn a_pool_that_was_deleted_while_a_node_was_silent_ends_there_too() {
    for _ in 0..3 {
        let whole = Whole::quick(1, 2).await;
        let pool = make(whole.gateway(), 2, 2).await;
        until_shares(&whole, &pool, &[1, 1]).await;
        let silent = &whole.nodes[0];
        silent.mute();
        whole.until_state(&silent.tag, "unreachable").await;
        whole.gateway().delete(&path(&pool)).await.expect(200);
        if silent.engine.promised().machines == 0 {
            // The computer is so busy that the gateway missed looks, took the silence for its own, and told the node.
            continue;
        }
        silent.beat_again(vec![whole.gateway().url.clone()]).await;
        until("its machine ended", async || whole.living().await == 0).await;
        assert!(silent.engine.pool_counts().is_empty());
        return;
    }
    panic!("the gateway never lost sight of the node");
}

#[tokio::test]
async fn a_key_takes_one_machine_of_a_pool() {
    let whole = Whole::start(2, 3).await;
    let pool = make(whole.gateway(), 3, 3).await;
    until_ready(whole.gateway(), &pool, 3).await;
    let answers = join_all((0..12).map(|n| {
        let gateway = &whole.gateways[n % 2];
        let pool = &pool;
        async move {
            let key = format!("key-{}", n % 3);
            gateway
                .post_with_key("/v1/machines", &key, from_pool(pool, "require"))
                .await
        }
    }))
    .await;
    let mut made: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (n, answer) in answers.into_iter().enumerate() {
        // Beside another one with its key, a request may find the pool empty; its repeat finds the machine.
        if answer.status != 201 {
            answer.refused(409, "warm_pool_unavailable");
            continue;
        }
        let machine = answer.expect(201);
        assert_eq!(machine["warm_pool_checkout"]["hit"], true, "{machine}");
        made.entry(n % 3)
            .or_default()
            .push(machine["id"].as_str().unwrap().to_owned());
    }
    for (key, ids) in &mut made {
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 1, "key {key}: {ids:?}");
    }
    let first = made.values().next().unwrap();
    assert!(!first.is_empty() && tag(&first[0]).len() == 4);
}
