//! Builds through an engine that is killed.

use std::time::Duration;

use crate::nothing_is_left;
use crate::process::{holding, names, Engine};
use serde_json::{json, Value};

const SECRET: &str = "hunter2-5c1e9a7f";

fn body(last: &str) -> Value {
    json!({
        "name": "app", "base_image": "nullspace/base:latest",
        "build_config": { "vcpus": 1, "memory_mib": 256, "internet_access": false },
        "build_secrets": [{ "id": "token", "value": SECRET }],
        "steps": [
            { "action": "run", "command": "echo one > /workspace/one; echo etc > /etc/own; echo usr > /usr/local/own" },
            { "action": "run", "command": "--mount=type=secret,id=token cat /run/secrets/token; wc -c < /run/secrets/token > /workspace/length" },
            { "action": "run", "command": last },
        ]
    })
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn a_killed_engine_leaves_no_half_of_a_build_and_its_cache_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut engine = Engine::start(&state);
    let started = engine
        .post(
            "/v1/templates/builds",
            body("echo half > /workspace/half; sleep 300"),
        )
        .await;
    let build = started["build_id"].as_str().unwrap().to_owned();
    engine
        .until(&build, |now| {
            now["entries"]
                .as_array()
                .unwrap()
                .iter()
                .any(|e| e["kind"] == "message" && e["step_index"] == 2)
        })
        .await;
    // The machine of the last step is there, or is being made.
    tokio::time::sleep(Duration::from_millis(300)).await;
    engine.child.kill().unwrap();
    engine.child.wait().unwrap();
    drop(engine);

    let engine = Engine::start(&state);
    let over = engine.get(&format!("/v1/templates/builds/{build}")).await;
    assert_eq!(
        (&over["build"]["status"], &over["build"]["failure_phase"]),
        (&json!("error"), &json!("interrupted"))
    );
    nothing_is_left(&state);
    let layers = names(&state.join("machines/layers"));
    assert_eq!(layers.len(), 2, "the two steps that were done: {layers:?}");
    assert!(holding(&state.join("machines/layers"), "half").is_empty());

    // Secrets were not kept, so a retry asks for them.
    let refused = engine
        .post(&format!("/v1/templates/builds/{build}/retry"), json!({}))
        .await;
    assert!(refused["error"].as_str().unwrap().contains("token"), "{refused}");

    let started = engine
        .post(
            "/v1/templates/builds",
            body("cat /workspace/one > /workspace/two"),
        )
        .await;
    let build = started["build_id"].as_str().unwrap().to_owned();
    let over = engine
        .until(&build, |now| {
            !["waiting", "building"].contains(&now["build"]["status"].as_str().unwrap())
        })
        .await;
    assert_eq!(over["build"]["status"], "ready", "{over:#}");
    assert_eq!(over["build"]["cache_summary"]["layer_hits"], 2, "{over:#}");
    let machine = engine
        .post("/v1/machines", json!({ "template": "app", "memory_mb": 128 }))
        .await;
    let exec = json!({
        "command": "cat /workspace/one /workspace/two /workspace/length /etc/own /usr/local/own; ls /run/secrets 2>&1 | tail -c 26; ls /workspace/half 2>&1 | tail -c 26",
        "shell": true
    });
    let said = engine
        .post(
            &format!("/v1/machines/{}/exec", machine["id"].as_str().unwrap()),
            exec,
        )
        .await;
    let none = "No such file or directory\n";
    assert_eq!(
        said["stdout"],
        format!("one\none\n{}\netc\nusr\n{none}{none}", SECRET.len()),
        "{said}"
    );

    // Another machine of it starts from the same files, whatever the first one did to its own.
    let other = engine
        .post("/v1/machines", json!({ "template": "app", "memory_mb": 128 }))
        .await;
    let path = |machine: &Value| format!("/v1/machines/{}/exec", machine["id"].as_str().unwrap());
    engine
        .post(
            &path(&machine),
            json!({ "command": "rm /workspace/one /etc/own; echo bad > /usr/local/own", "shell": true }),
        )
        .await;
    let said = engine
        .post(
            &path(&other),
            json!({ "command": "cat /workspace/one /etc/own /usr/local/own", "shell": true }),
        )
        .await;
    assert_eq!(said["stdout"], "one\netc\nusr\n", "{said}");

    assert_eq!(
        holding(&state, SECRET),
        Vec::<String>::new(),
        "the secret is on the disk"
    );
}
