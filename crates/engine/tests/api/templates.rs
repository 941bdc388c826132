//! Builds of templates through real HTTP: logs, layers, the cache, names, files, secrets, failures, restarts.

use std::time::Duration;

use crate::support::{until, Served};
use reqwest::Method;
use serde_json::{json, Value};

/// A build body on `base`.
fn body(name: &str, steps: Value) -> Value {
    json!({ "name": name, "base_image": "nullspace/base:latest", "steps": steps, "build_config": { "vcpus": 2, "memory_mib": 512 } })
}

pub fn run(command: &str) -> Value {
    json!({ "action": "run", "command": command })
}

/// The entries of a stream of server-sent events.
pub fn entries(text: &str) -> Vec<Value> {
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub async fn build(served: &Served, body: Value) -> Vec<Value> {
    let reply = served.post("/v1/templates/build", body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.headers["content-type"], "text/event-stream");
    let entries = entries(&reply.text);
    for (place, entry) in entries.iter().enumerate() {
        assert_eq!(entry["offset"], place as u64, "{entry}");
        assert_eq!(entry["build_id"], entries[0]["build_id"]);
        assert_eq!(entry["template_id"], entries[0]["template_id"]);
    }
    entries
}

/// Builds what must succeed, and gives the id of the build and the template.
pub async fn built(served: &Served, body: Value) -> (String, Value) {
    let entries = build(served, body).await;
    let end = entries.last().unwrap();
    assert_eq!(end["kind"], "end", "{entries:#?}");
    (
        end["build_id"].as_str().unwrap().to_owned(),
        end["result"].clone(),
    )
}

/// Starts a build and gives its id.
pub async fn started(served: &Served, body: Value) -> String {
    let build = served.post("/v1/templates/builds", body).await.expect(202);
    build["build_id"].as_str().unwrap().to_owned()
}

pub async fn status(served: &Served, id: &str) -> Value {
    served
        .get(&format!("/v1/templates/builds/{id}"))
        .await
        .expect(200)
}

pub async fn until_status(served: &Served, id: &str, wanted: &str) -> Value {
    until(&format!("the build is {wanted}"), async || {
        status(served, id).await["build"]["status"] == wanted
    })
    .await;
    status(served, id).await
}

pub fn of_cache<'a>(entries: &'a [Value], kind: &str, status: &str) -> Vec<&'a Value> {
    entries
        .iter()
        .filter(|e| e["kind"] == "cache" && e["cache_kind"] == kind && e["cache_status"] == status)
        .collect()
}

#[tokio::test]
async fn a_build_runs_its_steps_and_machines_start_from_what_they_made() {
    let served = Served::start().await;
    let mut request = body(
        "app",
        json!([run("echo one > one; echo said"), run("cat one one > two")]),
    );
    request["build_envs"] = json!({ "ONLY_BUILD": "1" });
    request["runtime_config"] = json!({ "default_envs": { "GREETING": "hi" } });
    let entries = build(&served, request).await;
    let kinds: Vec<&str> = entries.iter().map(|e| e["kind"].as_str().unwrap()).collect();
    assert!(
        kinds.contains(&"start") && kinds.last() == Some(&"end"),
        "{entries:#?}"
    );
    assert!(
        entries
            .iter()
            .any(|e| e["message"] == "said" && e["step_index"] == 0),
        "{entries:#?}"
    );
    let info = &entries.last().unwrap()["result"];
    assert_eq!(
        (&info["name"], &info["tags"]),
        (&json!("app"), &json!(["latest"]))
    );
    assert_eq!(info["runtime_defaults"]["default_env_keys"], json!(["GREETING"]));
    assert_eq!(served.backend.alive(), 0, "machines of the build are left");

    for reference in [
        "app",
        "app:latest",
        "nullspace/app:latest",
        info["id"].as_str().unwrap(),
    ] {
        let machine = served.create(json!({ "template": reference })).await;
        let said = served
            .shell(&machine, "cat two; echo $GREETING-$ONLY_BUILD")
            .await;
        assert_eq!(said["stdout"], "one\none\nhi-\n");
        let info = served.get(&format!("/v1/machines/{machine}")).await.expect(200);
        assert_eq!(
            info["config"],
            json!({ "vcpus": 2, "memory_mb": 512 }),
            "sizes of the build"
        );
    }
    served.stop().await;
}

#[tokio::test]
async fn the_same_steps_are_taken_from_the_cache_until_one_differs() {
    let served = Served::start().await;
    let marks = tempfile::tempdir().unwrap();
    // Leaves a mark on this computer each time that it really runs.
    let mark = |name: &str| {
        run(&format!(
            "echo x >> {}/{name}; echo {name} > {name}",
            marks.path().display()
        ))
    };
    let times =
        |name: &str| std::fs::read_to_string(marks.path().join(name)).map_or(0, |text| text.lines().count());

    built(&served, body("app", json!([mark("a"), mark("b")]))).await;
    let entries = build(&served, body("other", json!([mark("a"), mark("b")]))).await;
    assert_eq!(of_cache(&entries, "layer", "hit").len(), 2, "{entries:#?}");
    assert_eq!(
        of_cache(&entries, "final_artifact", "hit").len(),
        1,
        "{entries:#?}"
    );
    assert_eq!((times("a"), times("b")), (1, 1));

    let entries = build(&served, body("app", json!([mark("a"), mark("c")]))).await;
    assert_eq!(of_cache(&entries, "layer", "hit").len(), 1);
    assert_eq!((times("a"), times("b"), times("c")), (1, 1, 1));

    // The environment of the build is part of what goes into a step.
    let mut request = body("app", json!([mark("a")]));
    request["build_envs"] = json!({ "A": "1" });
    built(&served, request).await;
    assert_eq!(times("a"), 2);

    // From its place on.
    let entries = build(
        &served,
        body("app", json!([mark("a"), { "action": "skip_cache" }, mark("b")])),
    )
    .await;
    assert_eq!(of_cache(&entries, "layer", "hit").len(), 1);
    assert_eq!(
        of_cache(&entries, "layer", "bypass")[0]["cache_reason"],
        "builder_cache_boundary"
    );
    assert_eq!((times("a"), times("b")), (2, 2));

    let mut request = body("app", json!([mark("a"), mark("b")]));
    request["skip_cache"] = json!(true);
    let (id, _) = built(&served, request).await;
    assert_eq!((times("a"), times("b")), (3, 3));
    let summary = &status(&served, &id).await["build"]["cache_summary"];
    assert_eq!(
        (&summary["layer_bypasses"], &summary["layer_stores"]),
        (&json!(2), &json!(2))
    );

    // After a restart too.
    let (backend, state) = served.stop().await;
    let served = Served::start_with(backend, state).await;
    let entries = build(&served, body("app", json!([mark("a"), mark("b")]))).await;
    assert_eq!(of_cache(&entries, "layer", "hit").len(), 2, "{entries:#?}");
    assert_eq!((times("a"), times("b")), (3, 3));
    served.stop().await;
}

#[tokio::test]
async fn a_failed_step_says_what_it_was_and_leaves_the_old_template() {
    let served = Served::start().await;
    built(&served, body("app", json!([run("echo old > file")]))).await;
    let layers = served.backend.layers().len();
    let entries = build(
        &served,
        body(
            "app",
            json!([
                run("echo old > file"),
                run("echo new > file; echo oh no >&2; exit 7")
            ]),
        ),
    )
    .await;
    let end = entries.last().unwrap();
    assert_eq!((&end["kind"], &end["level"]), (&json!("error"), &json!("error")));
    let detail = &end["error_detail"];
    assert_eq!(
        (&detail["code"], &detail["phase"], &detail["step_index"]),
        (&json!("build_error"), &json!("build_step"), &json!(1))
    );
    assert_eq!(detail["details"]["exit_code"], 7);
    assert_eq!(detail["details"]["reason"], "command_failed");
    let message = detail["message"].as_str().unwrap();
    for part in ["step 2 of 2", "exit 7", "exit code 7", "oh no"] {
        assert!(message.contains(part), "{message}");
    }
    until("the layer of the failed step is gone", async || {
        served.backend.layers().len() == layers
    })
    .await;
    assert_eq!(served.backend.alive(), 0);
    let machine = served.create(json!({ "template": "app" })).await;
    assert_eq!(served.shell(&machine, "cat file").await["stdout"], "old\n");

    // A name that never had a good build is no template, and its builds are known all the same.
    build(&served, body("never", json!([run("exit 1")]))).await;
    served
        .get("/v1/templates/never")
        .await
        .refused(404, "template_not_found");
    let list = served.get("/v1/templates/refs/never/builds").await.expect(200);
    assert_eq!(list["builds"][0]["status"], "error");
    served.stop().await;
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn files_of_the_context_are_uploaded_once_and_copied() {
    let served = Served::start().await;
    let sha = "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"; // of "hi"
    let preflight = json!({ "files": [
        { "path": "src", "entry_type": "dir", "mode": "0755" },
        { "path": "src/a.txt", "entry_type": "file", "mode": "0600", "sha256": sha, "size_bytes": 2 },
    ] });
    let answer = served
        .post("/v1/templates/blobs/preflight", preflight.clone())
        .await
        .expect(200);
    assert_eq!(
        answer["files"][0],
        json!({ "path": "src", "entry_type": "dir", "missing": false, "mode": "0755" })
    );
    assert_eq!(answer["files"][1]["missing"], true);
    let blob = answer["files"][1]["blob_id"].as_str().unwrap().to_owned();
    let put = async |id: &str, bytes: &'static str| {
        served
            .send(
                served
                    .request(Method::PUT, &format!("/v1/templates/blobs/{id}"))
                    .body(bytes),
            )
            .await
    };
    for (id, bytes, part) in [
        (blob.as_str(), "ho", "SHA-256"),
        (blob.as_str(), "h", "1 bytes"),
        (blob.as_str(), "hii", "3 bytes"),
        ("blob_0", "hi", "no preflight"),
    ] {
        let reply = put(id, bytes).await;
        let detail = reply.json()["error_detail"].clone();
        assert_eq!(
            (&detail["code"], &detail["phase"]),
            (&json!("file_upload_error"), &json!("blob_upload"))
        );
        let message = reply.refused(400, "file_upload_error");
        assert!(message.contains(part), "{message}");
    }
    let kept = || {
        std::fs::read_dir(served.state.path().join("blobs"))
            .unwrap()
            .count()
    };
    assert_eq!(kept(), 0, "parts of refused uploads are left");
    assert_eq!(put(&blob, "hi").await.status, 204);
    let again = served
        .post("/v1/templates/blobs/preflight", preflight)
        .await
        .expect(200);
    assert_eq!(again["files"][1]["missing"], false);

    let context = json!({ "files": [
        { "path": "src", "entry_type": "dir" },
        { "path": "src/a.txt", "entry_type": "file", "blob_id": blob, "mode": "0600" },
        { "path": "src/deep/b.txt", "entry_type": "file", "content_base64": "Ynll" },
        { "path": "one.sh", "entry_type": "file", "content_base64": "Ynll" },
    ] });
    let steps = json!([
        { "action": "copy", "sources": ["src"], "dst": "app" },
        { "action": "copy", "sources": ["one.sh"], "dst": "bin/", "mode": "0755" },
        { "action": "copy_items", "items": [{ "sources": ["one.sh"], "dst": "two.sh" }] },
    ]);
    let mut request = body("app", steps);
    request["build_context"] = context.clone();
    built(&served, request.clone()).await;
    let machine = served.create(json!({ "template": "app" })).await;
    let said = served
        .shell(
            &machine,
            "cat app/a.txt app/deep/b.txt bin/one.sh two.sh; stat -c ' %a' app/a.txt bin/one.sh",
        )
        .await;
    assert_eq!(said["stdout"], "hibyebyebye 600\n 755\n");

    // Other bytes are another step; the same ones under another name of the build are not.
    let entries = build(&served, request.clone()).await;
    assert_eq!(of_cache(&entries, "layer", "hit").len(), 3);
    request["build_context"]["files"][3]["content_base64"] = json!("aGk=");
    let entries = build(&served, request).await;
    assert_eq!(of_cache(&entries, "layer", "hit").len(), 1, "{entries:#?}");

    let mut request = body("app", json!([{ "action": "copy", "sources": ["x"], "dst": "x" }]));
    request["build_context"] =
        json!({ "files": [{ "path": "x", "entry_type": "file", "blob_id": format!("blob_{:064}", 0) }] });
    served
        .post("/v1/templates/build", request)
        .await
        .refused(400, "file_upload_error");
    served.stop().await;
}

#[tokio::test]
async fn a_background_build_is_polled_followed_cancelled_and_tried_again() {
    let served = Served::start().await;
    let id = started(&served, body("app", json!([run("echo first; sleep 60")]))).await;
    until("the step has said something", async || {
        let snapshot = status(&served, &id).await;
        snapshot["entries"]
            .as_array()
            .unwrap()
            .iter()
            .any(|e| e["message"] == "first")
    })
    .await;
    assert_eq!(status(&served, &id).await["build"]["status"], "building");
    let all = status(&served, &id).await;
    let next = all["next_offset"].as_u64().unwrap();
    let rest = served
        .get(&format!("/v1/templates/builds/{id}?offset={next}"))
        .await
        .expect(200);
    assert_eq!(rest["entries"], json!([]));
    // Without `follow` the stream ends with what there is.
    let log = served
        .get(&format!("/v1/templates/builds/{id}/logs?follow=False&offset=1"))
        .await;
    assert_eq!(entries(&log.text)[0]["offset"], 1);

    let path = format!("/v1/templates/builds/{id}/logs?follow=true");
    let following = served.get(&path);
    let cancelling = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        served
            .post(
                &format!("/v1/templates/builds/{id}/cancel"),
                json!({ "reason": "changed my mind" }),
            )
            .await
            .expect(200)
    };
    let (followed, _) = tokio::join!(following, cancelling);
    let followed = entries(&followed.text);
    assert_eq!(followed.last().unwrap()["kind"], "cancelled");
    let over = until_status(&served, &id, "cancelled").await;
    assert_eq!(over["build"]["cancellation_reason"], "changed my mind");
    assert_eq!(over["entries"].as_array().unwrap().len(), followed.len());
    assert_eq!(served.backend.alive(), 0);
    // Once more is no error.
    served
        .post(&format!("/v1/templates/builds/{id}/cancel"), json!({}))
        .await
        .expect(200);
    served
        .get("/v1/templates/app")
        .await
        .refused(404, "template_not_found");

    let good = started(&served, body("app", json!([run("echo good > file")]))).await;
    until_status(&served, &good, "ready").await;
    let again = served
        .post(
            &format!("/v1/templates/builds/{good}/retry"),
            json!({ "tags": ["again"] }),
        )
        .await
        .expect(202);
    let retried = again["build_id"].as_str().unwrap();
    assert_eq!(
        (&again["retry_of_build_id"], &again["original_build_id"]),
        (&json!(good), &json!(good))
    );
    until_status(&served, retried, "ready").await;
    let tags = served.get("/v1/templates/app/tags").await.expect(200);
    let tags: Vec<(&str, &str)> = tags
        .as_array()
        .unwrap()
        .iter()
        .map(|t| (t["tag"].as_str().unwrap(), t["build_id"].as_str().unwrap()))
        .collect();
    assert_eq!(tags, [("again", retried), ("latest", good.as_str())]);
    served
        .get("/v1/templates/builds/tb_0")
        .await
        .refused(404, "not_found");
    served.stop().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_its_build() {
    let served = Served::start().await;
    let request = served
        .request(Method::POST, "/v1/templates/build")
        .json(&body("app", json!([run("sleep 60")])));
    let mut response = request.send().await.unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    let first = entries(std::str::from_utf8(&first).unwrap());
    let id = first[0]["build_id"].as_str().unwrap().to_owned();
    drop(response);
    until_status(&served, &id, "cancelled").await;
    assert_eq!(served.backend.alive(), 0);
    served.stop().await;
}

#[tokio::test]
async fn only_some_builds_run_at_once() {
    let served = Served::start().await;
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(started(&served, body(&format!("app{number}"), json!([run("sleep 60")]))).await);
    }
    until("two of them run", async || {
        let mut running = 0;
        for id in &ids {
            running += usize::from(status(&served, id).await["build"]["status"] == "building");
        }
        running == 2
    })
    .await;
    assert_eq!(status(&served, &ids[2]).await["build"]["status"], "waiting");
    // One that waits is cancelled at once, one that ends lets the next begin.
    let waiting = started(&served, body("app3", json!([run("true")]))).await;
    served
        .post(&format!("/v1/templates/builds/{waiting}/cancel"), json!({}))
        .await
        .expect(200);
    until_status(&served, &waiting, "cancelled").await;
    served
        .post(&format!("/v1/templates/builds/{}/cancel", ids[0]), json!({}))
        .await
        .expect(200);
    until_status(&served, &ids[2], "building").await;
    served.stop().await;
}

#[tokio::test]
async fn tags_names_and_builds_of_a_template() {
    let served = Served::start().await;
    let mut request = body("app", json!([run("echo 1 > v")]));
    request["tags"] = json!(["stable", "v1"]);
    let (first, info) = built(&served, request).await;
    assert_eq!(info["tags"], json!(["stable", "v1"]));
    let (second, _) = built(&served, body("app", json!([run("echo 2 > v")]))).await;
    let version = async |reference: &str| {
        let machine = served.create(json!({ "template": reference })).await;
        served.shell(&machine, "cat v").await["stdout"]
            .as_str()
            .unwrap()
            .trim()
            .to_owned()
    };
    for (reference, wanted) in [
        ("app", "2"),
        ("app:stable", "1"),
        ("local/app:v1", "1"),
        (&format!("app:{first}"), "1"),
        (&format!("app:{second}"), "2"),
    ] {
        assert_eq!(version(reference).await, wanted, "{reference}");
    }
    let message = served
        .post("/v1/machines", json!({ "template": "app:nope" }))
        .await
        .refused(404, "template_not_found");
    assert!(message.contains("latest, stable, v1"), "{message}");

    // As one segment of a path.
    let moved = served
        .post(
            "/v1/templates/refs/local%2Fapp%3Alatest/tags",
            json!({ "tags": ["stable"] }),
        )
        .await
        .expect(200);
    assert_eq!(moved["tags"], json!(["latest", "stable", "v1"]));
    assert_eq!(version("app:stable").await, "2");
    served
        .post(
            &format!("/v1/templates/builds/{first}/promote"),
            json!({ "tag": "old" }),
        )
        .await
        .expect(200);
    assert_eq!(version("app:old").await, "1");
    assert_eq!(served.delete("/v1/templates/refs/app/tags/old").await.status, 204);
    served
        .delete("/v1/templates/refs/app/tags/old")
        .await
        .refused(404, "not_found");
    served
        .post("/v1/templates/app/tags", json!({ "tags": [] }))
        .await
        .refused(400, "invalid_request");
    served
        .get("/v1/templates/base/tags")
        .await
        .refused(409, "conflict");

    let renamed = served
        .post("/v1/templates/refs/app/rename", json!({ "new_name": "web" }))
        .await
        .expect(200);
    assert_eq!(renamed["name"], "web");
    assert_eq!(
        (version("web").await, version("app:v1").await),
        ("2".into(), "1".into())
    );
    let aliases = served.get("/v1/templates/web/aliases").await.expect(200);
    assert_eq!(aliases[0]["alias_ref"], "local/app");
    assert_eq!(
        served.delete("/v1/templates/refs/web/aliases/app").await.status,
        204
    );
    served
        .get("/v1/templates/app")
        .await
        .refused(404, "template_not_found");

    let seen = served
        .patch(
            "/v1/templates/refs/web/visibility",
            json!({ "visibility": "public" }),
        )
        .await
        .expect(200);
    assert_eq!(seen["visibility"], "public");
    let fields = served
        .get("/v1/templates?fields=name,visibility")
        .await
        .expect(200);
    assert!(
        fields
            .as_array()
            .unwrap()
            .contains(&json!({ "name": "web", "visibility": "public" })),
        "{fields}"
    );

    let page = served
        .get("/v1/templates/refs/web/builds?limit=1")
        .await
        .expect(200);
    assert_eq!(page["builds"][0]["build_id"], second.as_str());
    let cursor = page["next_cursor"].as_str().unwrap();
    let page = served
        .get(&format!("/v1/templates/refs/web/builds?limit=1&cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!(page["builds"][0]["build_id"], first.as_str());
    assert!(page["next_cursor"].is_null());
    served
        .get("/v1/templates/web/builds?status=done")
        .await
        .refused(400, "invalid_request");

    // All of it goes with the template, its files too once the cache forgets them.
    assert_eq!(served.delete("/v1/templates/refs/web").await.status, 204);
    served
        .get("/v1/templates/web")
        .await
        .refused(404, "template_not_found");
    served
        .get(&format!("/v1/templates/builds/{first}"))
        .await
        .refused(404, "not_found");
    served.delete("/v1/templates/base").await.refused(409, "conflict");
    served.stop().await;
}

#[tokio::test]
async fn the_machines_of_a_build_have_its_network_policy() {
    use nullspace_engine::isolation::EgressRules;
    let served = Served::start().await;
    for (given, rules) in [
        (json!(false), EgressRules::deny_all()),
        (json!(true), EgressRules::allow_all()),
    ] {
        let mut request = body("app", json!([run("sleep 60")]));
        request["build_config"]["internet_access"] = given;
        let id = started(&served, request).await;
        until("the machine runs", async || served.backend.alive() == 1).await;
        let machine = served.backend.ids().remove(0);
        assert_eq!(*served.backend.machine(&machine).egress.lock().unwrap(), rules);
        served
            .post(&format!("/v1/templates/builds/{id}/cancel"), json!({}))
            .await
            .expect(200);
        until("the machine is gone", async || served.backend.alive() == 0).await;
    }
    served.stop().await;
}

#[tokio::test]
async fn names_are_kept_for_who_has_the_token() {
    let served = Served::start().await;
    let claim = served
        .post("/v1/templates/claims", json!({ "template_ref": "app" }))
        .await
        .expect(201);
    assert_eq!(claim["canonical_ref"], "local/app");
    let token = claim["claim_token"].as_str().unwrap().to_owned();
    served
        .post("/v1/templates/claims", json!({ "template_ref": "app" }))
        .await
        .refused(409, "conflict");
    let mut request = body("app", json!([run("true")]));
    served
        .post("/v1/templates/builds", request.clone())
        .await
        .refused(409, "conflict");
    request["claim_token"] = json!(token);
    built(&served, request).await;
    served
        .delete(&format!("/v1/templates/claims/{token}"))
        .await
        .refused(404, "not_found");
    let other = served
        .post("/v1/templates/claims", json!({ "template_ref": "web" }))
        .await
        .expect(201);
    let path = format!("/v1/templates/claims/{}", other["claim_token"].as_str().unwrap());
    assert_eq!(served.delete(&path).await.status, 204);
    served
        .post("/v1/templates/claims", json!({ "template_ref": "base" }))
        .await
        .refused(409, "conflict");
    let namespace = served.get("/v1/templates/namespaces/local").await.expect(200);
    assert_eq!(
        namespace,
        json!({ "slug": "local", "kind": "user", "is_default": true })
    );
    served
        .get("/v1/templates/namespaces/team")
        .await
        .refused(404, "not_found");
    served.stop().await;
}

#[tokio::test]
async fn a_request_is_checked_and_planned_without_running_anything() {
    let served = Served::start().await;
    let good = body(
        "app",
        json!([run("true"), { "action": "workdir", "path": "/srv" }]),
    );
    let valid = served
        .post("/v1/templates/validate", good.clone())
        .await
        .expect(200);
    assert_eq!(valid, json!({ "valid": true, "errors": [], "warnings": [] }));
    let bad = served
        .post("/v1/templates/validate", body("app", json!([run(" ")])))
        .await
        .expect(200);
    assert_eq!(
        (&bad["valid"], &bad["errors"][0]["code"]),
        (&json!(false), &json!("invalid_request"))
    );
    let planned = served.post("/v1/templates/plan", good.clone()).await.expect(200);
    assert_eq!(planned["build_plan"]["base_template"], "nullspace/base:latest");
    assert_eq!(planned["build_plan"]["run_steps"], json!(["run true"]));
    assert_eq!(
        (&planned["build_backend"], &planned["source_type"]),
        (&json!("native"), &json!("declarative"))
    );
    // Registries are not asked before the build runs.
    let image = json!({ "base_image": "python:3.12-slim", "name": "a" });
    let valid = served
        .post("/v1/templates/validate", image.clone())
        .await
        .expect(200);
    assert_eq!(valid["valid"], true);
    let plan = served.post("/v1/templates/plan", image).await.expect(200);
    assert_eq!(
        (&plan["build_plan"]["base_template"], &plan["source_type"]),
        (&json!("docker.io/library/python:3.12-slim"), &json!("oci_import"))
    );
    let unknown = json!({ "name": "a", "base_image": "nullspace/nope:latest" });
    served
        .post("/v1/templates/build", unknown)
        .await
        .refused(404, "template_not_found");
    served
        .post("/v1/templates/build", body("base", json!([])))
        .await
        .refused(409, "conflict");
    assert_eq!(
        served.backend.started.load(std::sync::atomic::Ordering::SeqCst),
        0
    );

    let build = served.post("/v1/templates/builds", good).await.expect(202);
    assert_eq!(build["source_digest"], planned["source_digest"]);
    served.stop().await;
}

#[tokio::test]
async fn a_pool_follows_its_tag_or_stays_with_its_build() {
    let served = Served::start().await;
    let (first, _) = built(&served, body("app", json!([run("echo 1 > v")]))).await;
    let pool = async |policy: &str| {
        let request = json!({
            "name": policy, "template_ref": "app:latest", "min_ready": 1, "max_ready": 1, "version_policy": policy,
            "resources": { "vcpus": 2, "memory_mb": 512 }
        });
        let made = served.post("/v1/template-warm-pools", request).await.expect(201);
        let id = made["id"].as_str().unwrap().to_owned();
        served.until_ready(&id, 1).await;
        id
    };
    let (pinned, following) = (pool("pinned_build").await, pool("track_tag").await);
    let (second, _) = built(&served, body("app", json!([run("echo 2 > v")]))).await;
    let show = async |id: &str| {
        served
            .get(&format!("/v1/template-warm-pools/{id}"))
            .await
            .expect(200)
    };
    assert_eq!(
        show(&following).await["resolved_template_build_id"],
        second.as_str()
    );
    assert_eq!(show(&pinned).await["resolved_template_build_id"], first.as_str());
    assert_eq!(show(&following).await["rollout_generation"], 2);
    served.until_ready(&following, 1).await;
    let from = async |pool: &str, template: &str| {
        let request = json!({
            "template": template, "vcpus": 2, "memory_mb": 512, "warm_pool": { "id": pool, "mode": "require", "wait_ms": 5000 }
        });
        let machine = served.create(request).await;
        served.shell(&machine, "cat v").await["stdout"]
            .as_str()
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(from(&following, "app").await, "2");
    assert_eq!(from(&pinned, &format!("app:{first}")).await, "1");
    served.delete("/v1/templates/app").await.refused(409, "conflict");
    served.stop().await;
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn a_start_command_is_seen_to_become_ready_in_the_build_and_in_machines() {
    let served = Served::start().await;
    let mut request = body("app", json!([run("true")]));
    request["start_cmd"] = json!("echo started > mark; sleep 60");
    request["runtime_config"] =
        json!({ "readiness": { "kind": "command", "command": "test -e mark", "interval_ms": 10 } });
    let (_, info) = built(&served, request.clone()).await;
    assert_eq!(
        info["runtime_defaults"]["start_cmd"],
        "echo started > mark; sleep 60"
    );
    assert_eq!(info["runtime_defaults"]["readiness"]["kind"], "command");
    let machine = served.create(json!({ "template": "app" })).await;
    assert_eq!(served.shell(&machine, "cat mark").await["stdout"], "started\n");

    request["start_cmd"] = json!("echo went wrong; exit 3");
    let entries = build(&served, request).await;
    let detail = &entries.last().unwrap()["error_detail"];
    assert_eq!(detail["phase"], "readiness", "{entries:#?}");
    assert!(
        detail["message"].as_str().unwrap().contains("exit code 3"),
        "{detail}"
    );
    // The old build is what machines start from.
    let machine = served.create(json!({ "template": "app" })).await;
    assert_eq!(served.shell(&machine, "cat mark").await["stdout"], "started\n");
    served.stop().await;
}

#[tokio::test]
async fn a_disk_is_as_large_as_it_was_built() {
    let served = Served::start().await;
    let mut request = body("app", json!([]));
    request["build_config"]["disk_mb"] = json!(1024);
    built(&served, request).await;
    let machine = served.create(json!({ "template": "app" })).await;
    let info = served.get(&format!("/v1/machines/{machine}")).await.expect(200);
    assert_eq!(info["config"]["disk_mb"], 1024);
    let larger = json!({ "template": "app", "disk_mb": 2048 });
    let message = served
        .post("/v1/machines", larger)
        .await
        .refused(400, "invalid_request");
    assert!(
        message.contains("disk_mb") && message.contains("1024"),
        "{message}"
    );
    served.stop().await;
}

#[tokio::test]
async fn a_build_that_an_engine_did_not_finish_is_an_error_in_the_next() {
    let served = Served::start().await;
    let id = started(
        &served,
        body("app", json!([run("echo done > one"), run("sleep 60")])),
    )
    .await;
    until("the second step runs", async || {
        let snapshot = status(&served, &id).await;
        snapshot["entries"]
            .as_array()
            .unwrap()
            .iter()
            .any(|e| e["step_index"] == 1)
    })
    .await;
    let (backend, state) = served.stop().await;
    let served = Served::start_with(backend, state).await;
    let over = status(&served, &id).await;
    assert_eq!(
        (&over["build"]["status"], &over["build"]["failure_phase"]),
        (&json!("error"), &json!("interrupted"))
    );
    assert_eq!(
        over["entries"].as_array().unwrap().last().unwrap()["kind"],
        "error"
    );
    let entries = build(&served, body("app", json!([run("echo done > one"), run("true")]))).await;
    assert_eq!(of_cache(&entries, "layer", "hit").len(), 1, "{entries:#?}");
    served.stop().await;
}

#[tokio::test]
async fn a_secret_is_in_no_log_no_error_and_no_database() {
    const SECRET: &str = "hunter2-9c1f5e2a7b3d";
    let served = Served::start().await;
    let with = |command: &str, secrets: Value| {
        let mut request = body("app", json!([run(command)]));
        request["build_secrets"] = secrets;
        request
    };
    let given = json!([{ "id": "token", "value": SECRET, "source": "value" }]);
    let mounted = "--mount=type=secret,id=token,env=TOKEN";
    // As it is, in the middle of other output, and across the place where a long line is cut.
    let shows =
        format!("{mounted} echo $TOKEN; echo a${{TOKEN}}b >&2; printf %04090d$TOKEN$TOKEN$TOKEN 0; exit 3");
    let entries = build(&served, with(&shows, given.clone())).await;
    let end = entries.last().unwrap();
    assert_eq!(end["error_detail"]["details"]["exit_code"], 3, "{entries:#?}");
    assert!(entries.iter().any(|e| e["message"] == "a***b"), "{entries:#?}");
    let all = serde_json::to_string(&entries).unwrap();
    assert!(!all.contains("hunter2"), "{all}");

    let id = end["build_id"].as_str().unwrap();
    let retry = format!("/v1/templates/builds/{id}/retry");
    let message = served
        .post(&retry, json!({}))
        .await
        .refused(400, "invalid_request");
    assert!(message.contains("token"), "{message}");
    let again = served
        .post(&retry, json!({ "build_secrets": given }))
        .await
        .expect(202);
    until_status(&served, again["build_id"].as_str().unwrap(), "error").await;
    let message = served
        .post("/v1/templates/build", with(&format!("{mounted} true"), json!([])))
        .await
        .refused(400, "invalid_request");
    assert!(message.contains("build_secrets"), "{message}");

    // Another value is the same step: it is no part of the key.
    built(&served, with(&format!("{mounted} test -n $TOKEN"), given)).await;
    let other = json!([{ "id": "token", "value": "another-one-1234" }]);
    let entries = build(&served, with(&format!("{mounted} test -n $TOKEN"), other)).await;
    assert_eq!(of_cache(&entries, "layer", "hit").len(), 1, "{entries:#?}");

    let (_, state) = served.stop().await;
    let found = std::process::Command::new("grep")
        .args(["-rlaF", "--", "hunter2"])
        .arg(state.path())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&found.stdout),
        "",
        "the secret is on the disk"
    );
}
