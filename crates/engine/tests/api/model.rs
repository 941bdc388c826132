//! Random lifecycles against a model, with restarts in between: no lost snapshot, no zombie, no machine in two states,
//! no key that makes two machines, no file that nobody uses.
//!
//! The seed is printed; `NULLSPACE_TEST_SEED` runs one again and `NULLSPACE_TEST_STEPS` sets the length.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use crate::support::{until, Served};
use serde_json::{json, Value};

/// A small generator with a seed, so that a failure can be repeated (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() {
            return None;
        }
        Some(&from[self.roll(from.len())])
    }
}

/// What must be so.
#[derive(Default)]
struct Model {
    /// Status by id.
    machines: BTreeMap<String, &'static str>,
    snapshots: BTreeSet<String>,
    /// Answers by key.
    keys: BTreeMap<String, Value>,
}

impl Model {
    fn ids(&self, status: &str) -> Vec<String> {
        let is_so = |(_, s): &(&String, &&str)| **s == status;
        self.machines
            .iter()
            .filter(is_so)
            .map(|(id, _)| id.clone())
            .collect()
    }

    fn alive(&self) -> usize {
        self.machines.values().filter(|s| **s != "error").count()
    }
}

async fn step(served: &Served, model: &mut Model, dice: &mut Dice) {
    let any: Vec<String> = model.machines.keys().cloned().collect();
    let kinds = ["running", "paused", "error"];
    let some = |status: &str, dice: &mut Dice, model: &Model| dice.pick(&model.ids(status)).cloned();
    match dice.roll(12) {
        0 | 1 => {
            let key = format!("k{}", dice.roll(12));
            let body = json!({ "metadata": { "key": key } });
            let reply = served.post_with_key("/v1/machines", &key, body).await;
            let id = |made: &Value| made["id"].as_str().unwrap().to_owned();
            match model.keys.get(&key) {
                Some(before) if model.machines.contains_key(&id(before)) => {
                    assert_eq!(&reply.expect(201), before, "a key made two machines");
                }
                Some(_) => drop(reply.refused(409, "idempotency_key_expired")),
                None => {
                    let made = reply.expect(201);
                    model.machines.insert(id(&made), "running");
                    model.keys.insert(key, made);
                }
            }
        }
        2 => {
            let Some(id) = dice.pick(&any) else { return };
            served.delete(&format!("/v1/machines/{id}")).await.expect(200);
            model.machines.remove(id);
        }
        3 => {
            let kind = kinds[dice.roll(3)];
            let Some(id) = some(kind, dice, model) else { return };
            let reply = served
                .post(&format!("/v1/machines/{id}/hibernate"), json!({}))
                .await;
            match kind {
                "running" => {
                    reply.expect(200);
                    model.machines.insert(id, "paused");
                }
                "paused" => drop(reply.refused(409, "transition_conflict")),
                _ => drop(reply.refused(409, "machine_not_ready")),
            }
        }
        4 => {
            let kind = kinds[dice.roll(3)];
            let Some(id) = some(kind, dice, model) else { return };
            let reply = served.post(&format!("/v1/machines/{id}/resume"), json!({})).await;
            if kind == "error" {
                reply.refused(409, "machine_not_ready");
            } else {
                reply.expect(200);
                model.machines.insert(id, "running");
            }
        }
        5 => {
            let Some(id) = some(kinds[dice.roll(2)], dice, model) else {
                return;
            };
            let snapshot = served
                .post(&format!("/v1/machines/{id}/snapshots"), json!({}))
                .await
                .expect(201);
            model.snapshots.insert(snapshot["id"].as_str().unwrap().into());
        }
        6 => {
            let snapshots: Vec<String> = model.snapshots.iter().cloned().collect();
            let Some(id) = dice.pick(&snapshots) else { return };
            let made = served
                .post("/v1/machines", json!({ "snapshot_id": id }))
                .await
                .expect(201);
            model
                .machines
                .insert(made["id"].as_str().unwrap().into(), "running");
        }
        7 => {
            let snapshots: Vec<String> = model.snapshots.iter().cloned().collect();
            let Some(id) = dice.pick(&snapshots) else { return };
            served.delete(&format!("/v1/snapshots/{id}")).await.expect(204);
            model.snapshots.remove(id);
        }
        8 => {
            let Some(id) = some(kinds[dice.roll(2)], dice, model) else {
                return;
            };
            let child = served
                .post(&format!("/v1/machines/{id}/fork"), json!({}))
                .await
                .expect(201);
            model
                .machines
                .insert(child["id"].as_str().unwrap().into(), "running");
        }
        9 => {
            let Some(id) = some("running", dice, model) else {
                return;
            };
            served.backend.machine(&id).crash();
            let path = format!("/v1/machines/{id}");
            until("it is dead", async || {
                served.get(&path).await.expect(200)["status"] == "error"
            })
            .await;
            model.machines.insert(id, "error");
        }
        10 => {
            served.backend.failing.store(1, Ordering::SeqCst);
            served
                .post("/v1/machines", json!({}))
                .await
                .refused(500, "internal_error");
        }
        _ => {
            let Some(id) = some(kinds[dice.roll(3)], dice, model) else {
                return;
            };
            let reply = served
                .post(
                    &format!("/v1/machines/{id}/timeout"),
                    json!({ "timeout_ms": 600_000 }),
                )
                .await;
            if model.machines[&id] == "error" {
                reply.refused(409, "machine_not_ready");
            } else {
                reply.expect(200);
            }
        }
    }
}

async fn compare(served: &Served, model: &Model) {
    let listed = served.get("/v1/machines?limit=1000").await.expect(200);
    let items = listed["items"].as_array().unwrap();
    let found: BTreeMap<String, &str> = items
        .iter()
        .map(|m| {
            (
                m["id"].as_str().unwrap().to_owned(),
                m["status"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(items.len(), found.len(), "a machine is listed twice");
    assert_eq!(found, model.machines);
    assert_eq!(served.backend.alive(), model.alive(), "zombies, or lost machines");
    let snapshots = served.get("/v1/snapshots").await.expect(200);
    let kept: BTreeSet<String> = snapshots
        .as_array()
        .unwrap()
        .iter()
        .filter(|s| s["metadata"]["kind"] == "snapshot")
        .map(|s| s["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kept, model.snapshots);
    let pauses = snapshots.as_array().unwrap().len() - kept.len();
    assert_eq!(
        pauses,
        model.ids("paused").len(),
        "a pause without its snapshot, or the other way round"
    );
    if model.alive() == 0 && model.snapshots.is_empty() {
        until("no files are left", async || served.backend.layers().is_empty()).await;
    }
}

#[tokio::test]
async fn random_lifecycles_agree_with_the_model_over_restarts() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let fresh = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64;
    let steps = number("NULLSPACE_TEST_STEPS").unwrap_or(150);
    let seeds = match number("NULLSPACE_TEST_SEED") {
        Some(seed) => vec![seed],
        None => vec![1, 2, fresh],
    };
    for seed in seeds {
        println!("seed {seed}, {steps} steps");
        let mut dice = Dice(seed);
        let mut model = Model::default();
        let mut served = Served::start().await;
        for n in 0..steps {
            step(&served, &mut model, &mut dice).await;
            if n % 10 == 9 {
                compare(&served, &model).await;
            }
            if dice.roll(40) == 0 {
                let (backend, state) = served.stop().await;
                served = Served::start_with(backend, state).await;
                for status in model.machines.values_mut() {
                    *status = "error";
                }
                compare(&served, &model).await;
            }
        }
        for id in model.machines.keys().cloned().collect::<Vec<_>>() {
            served.delete(&format!("/v1/machines/{id}")).await.expect(200);
            model.machines.remove(&id);
        }
        for id in std::mem::take(&mut model.snapshots) {
            served.delete(&format!("/v1/snapshots/{id}")).await.expect(204);
        }
        compare(&served, &model).await;
        served.stop().await;
    }
}

#[tokio::test]
async fn operations_on_one_machine_at_once_leave_it_in_one_state() {
    let served = Served::start().await;
    let mut dice = Dice(7);
    for _ in 0..15 {
        let id = served.create(json!({})).await;
        let path = format!("/v1/machines/{id}");
        let verbs = [
            "hibernate",
            "resume",
            "fork",
            "snapshots",
            "hibernate",
            "resume",
            "exec",
            "timeout",
        ];
        let paths: Vec<String> = (0..12)
            .map(|_| format!("{path}/{}", verbs[dice.roll(verbs.len())]))
            .collect();
        let ends = dice.roll(2) == 0;
        let calls = paths
            .iter()
            .map(|path| served.post(path, json!({ "command": "true", "timeout_ms": 60_000 })));
        let all = futures_util::future::join_all(calls);
        let (replies, _) = tokio::join!(all, async {
            if ends {
                served.delete(&path).await.expect(200);
            }
        });
        for (path, reply) in paths.iter().zip(replies) {
            assert!([200, 201, 404, 409].contains(&reply.status), "{path}: {reply:?}");
        }
        let reply = served.get(&path).await;
        if ends {
            reply.refused(404, "machine_not_found");
        } else {
            let status = reply.expect(200)["status"].clone();
            assert!(status == "running" || status == "paused", "{status}");
        }
    }
    let listed = served.get("/v1/machines?limit=1000").await.expect(200);
    assert_eq!(served.backend.alive(), listed["items"].as_array().unwrap().len());
    served.stop().await;
}
