//! Builds that start from an image: a registry on loopback, and machines that have the image's `/workspace` only.

use std::collections::BTreeSet;

use serde_json::{json, Value};

use crate::archives::{gzip, Archive};
use crate::registry::{digest, Fault, Registry, RegistryAccess, GZIP};
use crate::support::folders::holding;
use crate::support::{until, Served};
use crate::templates::{build, built, of_cache, run, started, status, until_status};

const PASSWORD: &str = "hunter2-of-the-registry";

/// Publishes an image of one layer that holds a file, and names the blob.
fn publish(registry: &Registry, tag: &str, content: &str) -> String {
    let archive = Archive::default()
        .directory("workspace/", 0o755)
        .file("workspace/hello", 0o644, content)
        .end();
    let packed = gzip(&archive);
    let blob = digest(&packed);
    let run = json!({
        "Env": ["GREETING=of the image", "PATH=/usr/local/bin:/usr/bin:/bin"],
        "Entrypoint": ["/bin/serve"], "Cmd": ["--all"],
    });
    registry.publish(tag, &[(GZIP, packed, archive)], run);
    format!("/blobs/{blob}")
}

fn body(image: &str, steps: Value) -> Value {
    json!({ "name": "app", "base_image": image, "steps": steps, "build_config": { "vcpus": 1, "memory_mib": 128 } })
}

fn basic(password: &str) -> Value {
    json!({ "kind": "basic", "username": "ann", "password": password })
}

async fn locked() -> Registry {
    let registry = Registry::start().await;
    registry.close_door(RegistryAccess::Basic {
        username: "ann".into(),
        password: PASSWORD.into(),
    });
    publish(&registry, "1", "one");
    registry
}

#[tokio::test]
async fn a_build_starts_from_an_image_and_its_steps_depend_on_the_digest() {
    let (served, registry) = (Served::start().await, Registry::start().await);
    let blob = publish(&registry, "1", "one");
    let steps = json!([run("cat hello > seen; echo \" $GREETING\" >> seen")]);
    let request = body(&registry.name("1"), steps.clone());

    let first = build(&served, request.clone()).await;
    let info = &first.last().unwrap()["result"];
    assert_eq!(info["name"], "app", "{first:#?}");
    assert!(info["runtime_defaults"]["start_cmd"].is_null(), "{info}");
    assert_eq!(info["runtime_defaults"]["default_workdir"], "/workspace");
    let said = |part: &str| {
        let is_it = |e: &&Value| e["message"].as_str().unwrap().contains(part);
        first.iter().filter(is_it).count()
    };
    assert_eq!(
        (
            said("1 layers"),
            said("came"),
            said("is unpacked"),
            said("give `start_cmd`")
        ),
        (1, 1, 1, 1),
        "{first:#?}"
    );
    let machine = served.create(json!({ "template": "app" })).await;
    let out = served.shell(&machine, "cat seen; echo $GREETING").await;
    assert_eq!(out["stdout"], "one of the image\nof the image\n");

    // The same image has the same digest, whatever it is called: no layer comes twice, no step runs twice.
    publish(&registry, "again", "one");
    let again = build(&served, body(&registry.name("again"), steps.clone())).await;
    assert_eq!(of_cache(&again, "layer", "hit").len(), 1, "{again:#?}");
    assert_eq!(registry.seen(&blob).len(), 1);

    // Another image under the same tag is another one.
    publish(&registry, "1", "two");
    let changed = build(&served, request).await;
    assert_eq!(of_cache(&changed, "layer", "hit").len(), 0, "{changed:#?}");
    let machine = served.create(json!({ "template": "app" })).await;
    assert_eq!(
        served.shell(&machine, "cat seen").await["stdout"],
        "two of the image\n"
    );

    let id = first[0]["build_id"].as_str().unwrap();
    let shown = status(&served, id).await;
    assert_eq!(shown["build"]["source_type"], "declarative");
    served.stop().await;
}

#[tokio::test]
async fn layers_stay_while_something_holds_them_and_go_with_a_prune() {
    let (served, registry) = (Served::start().await, Registry::start().await);
    publish(&registry, "1", "one");
    publish(&registry, "2", "two");
    // Makes nothing, so nothing holds its image afterwards.
    let failed = build(&served, body(&registry.name("2"), json!([run("exit 3")]))).await;
    assert_eq!(failed.last().unwrap()["kind"], "error", "{failed:#?}");
    let of_failed: BTreeSet<String> = served.backend.layers().into_iter().collect();
    assert_eq!(
        of_failed.len(),
        2,
        "the layer and the one above all: {of_failed:?}"
    );
    let (_, info) = built(&served, body(&registry.name("1"), json!([]))).await;

    let pruned = served.engine.prune(false).await.unwrap();
    assert_eq!(pruned.removed.keys().cloned().collect::<BTreeSet<_>>(), of_failed);
    assert_eq!(pruned.kept.len(), 2, "{pruned:?}");
    let machine = served
        .create(json!({ "template": info["id"].as_str().unwrap() }))
        .await;
    assert_eq!(served.shell(&machine, "cat hello").await["stdout"], "one");
    served.stop().await;
}

#[tokio::test]
async fn credentials_open_the_registry_are_asked_for_again_and_are_kept_nowhere() {
    let (served, registry) = (Served::start().await, locked().await);
    let without = body(&registry.name("1"), json!([run("true")]));
    let mut wrong = without.clone();
    wrong["base_image_auth"] = basic("wrong-password-1");
    let id = started(&served, wrong).await;
    let over = until_status(&served, &id, "error").await;
    let detail = &over["build"]["error_detail"];
    assert_eq!(
        (&detail["phase"], &detail["code"], &detail["details"]["reason"]),
        (&json!("auth"), &json!("unauthorized"), &json!("registry_refused")),
        "{over:#}"
    );
    assert!(detail["suggested_action"]
        .as_str()
        .unwrap()
        .contains("`username` and `password` of the registry"));
    assert!(served.backend.layers().is_empty());

    let retry = format!("/v1/templates/builds/{id}/retry");
    let message = served
        .post(&retry, json!({}))
        .await
        .refused(400, "invalid_request");
    assert!(
        message.contains("`base_image_auth`") && message.contains("again"),
        "{message}"
    );
    let of_other = json!({ "registry_auth": [{ "registry": "ghcr.io", "auth": basic(PASSWORD) }] });
    served
        .post(&retry, of_other)
        .await
        .refused(400, "invalid_request");
    let again = served
        .post(&retry, json!({ "base_image_auth": basic(PASSWORD) }))
        .await
        .expect(202);
    until_status(&served, again["build_id"].as_str().unwrap(), "ready").await;

    let mut by_registry = without.clone();
    by_registry["registry_auth"] = json!([
        { "registry": "ghcr.io", "auth": basic("no-such-password") },
        { "registry": registry.address.to_string(), "auth": basic(PASSWORD) },
    ]);
    let id = started(&served, by_registry).await;
    let over = until_status(&served, &id, "ready").await;
    let is_warning =
        |e: &&Value| e["kind"] == "warning" && e["message"].as_str().unwrap().contains("ghcr.io");
    assert_eq!(
        over["entries"]
            .as_array()
            .unwrap()
            .iter()
            .filter(is_warning)
            .count(),
        1
    );

    // As anybody: the image is here already, and is still not for anybody.
    let id = started(&served, without).await;
    until_status(&served, &id, "error").await;

    let (backend, state) = served.stop().await;
    drop(backend);
    for secret in [PASSWORD, "wrong-password-1", "no-such-password"] {
        assert_eq!(
            holding(state.path(), secret),
            Vec::<String>::new(),
            "{secret} is on the disk"
        );
    }
}

#[tokio::test]
async fn an_image_that_is_not_there_is_a_failure_that_says_so() {
    let (served, registry) = (Served::start().await, Registry::start().await);
    let name = registry.name("none");
    let entries = build(&served, body(&name, json!([run("true")]))).await;
    let end = entries.last().unwrap();
    let detail = &end["error_detail"];
    assert_eq!(
        (
            &detail["phase"],
            &detail["code"],
            &detail["details"]["reason"],
            &detail["retryable"]
        ),
        (
            &json!("prepare"),
            &json!("build_error"),
            &json!("base_not_found"),
            &json!(false)
        ),
        "{end:#}"
    );
    assert!(detail["step_index"].is_null(), "{end:#}");
    served
        .get("/v1/templates/app")
        .await
        .refused(404, "template_not_found");
    assert_eq!(
        served.backend.started.load(std::sync::atomic::Ordering::SeqCst),
        0
    );

    drop(registry);
    let mut request = body(&name, json!([]));
    request["base_image"] = json!("Not An Image");
    let message = served
        .post("/v1/templates/build", request)
        .await
        .refused(400, "invalid_request");
    assert!(
        message.contains("`base_image`") && message.contains("python:3.12-slim"),
        "{message}"
    );
    served.stop().await;
}

#[tokio::test]
async fn a_pull_is_cancelled_in_its_middle_and_leaves_nothing() {
    let (served, registry) = (Served::start().await, Registry::start().await);
    let blob = publish(&registry, "1", "one");
    registry.fail(&blob, [Fault::Silence]);
    let request = body(&registry.name("1"), json!([run("true")]));
    let id = started(&served, request.clone()).await;
    until("the layer is asked for", async || {
        !registry.seen(&blob).is_empty()
    })
    .await;
    let path = format!("/v1/templates/builds/{id}/cancel");
    served
        .post(&path, json!({ "reason": "too slow" }))
        .await
        .expect(200);
    let over = until_status(&served, &id, "cancelled").await;
    assert!(
        over["entries"].as_array().unwrap().last().unwrap()["message"]
            .as_str()
            .unwrap()
            .contains("too slow"),
        "{over:#}"
    );
    until("nothing is left", async || served.backend.layers().is_empty()).await;
    built(&served, request).await;
    served.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_dockerfile_is_said_with_its_line_before_anything_runs() {
    let (served, registry) = (Served::start().await, Registry::start().await);
    publish(&registry, "1", "one");
    let from = format!("FROM {}", registry.name("1"));
    let request = |text: &str| json!({ "name": "app", "dockerfile": text });
    for (text, line, part) in [
        (format!("{from}\nONBUILD RUN x"), 2, "ONBUILD"),
        (format!("{from}\nRUN --mount=type=ssh x"), 2, "type=secret"),
        (format!("{from}\nRUN x\nRUM y"), 3, "RUM"),
        ("FROM No Image".to_owned(), 1, "FROM"),
        ("FROM a AS b\nFROM UPPER".to_owned(), 2, "UPPER"),
    ] {
        let reply = served.post("/v1/templates/build", request(&text)).await;
        let body = reply.json();
        let message = body["error"].as_str().unwrap();
        assert_eq!(
            (reply.status, &body["code"]),
            (400, &json!("invalid_request")),
            "{message}"
        );
        assert!(
            message.contains(&format!("line {line}")) && message.contains(part),
            "{message}"
        );
        let valid = served
            .post("/v1/templates/validate", request(&text))
            .await
            .expect(200);
        assert_eq!(valid["valid"], false);
    }
    for (field, value) in [
        ("build_backend", json!("native")),
        ("build_target", json!("nope")),
        ("steps", json!([])),
    ] {
        let mut wrong = request(&from);
        wrong[field] = value;
        let message = served
            .post("/v1/templates/build", wrong)
            .await
            .refused(400, "invalid_request");
        assert!(message.contains(field), "{message}");
    }

    // What depends on the image or the files is found by the build, and still before anything runs.
    let packed = base64(&gzip(b"an archive"));
    for (text, line, part) in [
        (format!("{from}\nRUN true\nCOPY missing /x"), 3, "missing"),
        (format!("{from}\nRUN true\nADD app.tgz /x"), 3, "archive"),
        (
            format!("{from}\nRUN --mount=type=secret,id=token,required=true true"),
            2,
            "token",
        ),
    ] {
        let mut request = request(&text);
        request["build_context"] =
            json!({ "files": [{ "path": "app.tgz", "entry_type": "file", "content_base64": packed }] });
        let entries = build(&served, request).await;
        let detail = &entries.last().unwrap()["error_detail"];
        let message = detail["message"].as_str().unwrap();
        assert_eq!(
            (&detail["phase"], &detail["details"]["reason"]),
            (&json!("prepare"), &json!("dockerfile")),
            "{message}"
        );
        assert!(
            message.contains(&format!("line {line}")) && message.contains(part),
            "{message}"
        );
    }
    assert_eq!(
        served.backend.started.load(std::sync::atomic::Ordering::SeqCst),
        0
    );

    let mut request = request(&format!("{from} AS one\nRUN echo \\\n  one\nFROM one\nRUN two"));
    let plan = served
        .post("/v1/templates/plan", request.clone())
        .await
        .expect(200);
    assert_eq!(
        (
            &plan["source_type"],
            &plan["build_backend"],
            &plan["build_plan"]["base_template"]
        ),
        (
            &json!("dockerfile"),
            &json!("buildkit"),
            &json!(registry.name("1"))
        )
    );
    assert_eq!(
        plan["build_plan"]["run_steps"].as_array().unwrap().len(),
        2,
        "{plan}"
    );
    assert!(plan["dockerfile_digest"].as_str().unwrap().starts_with("sha256:"));
    request["build_target"] = json!("one");
    let plan = served.post("/v1/templates/plan", request).await.expect(200);
    assert_eq!(
        plan["build_plan"]["run_steps"].as_array().unwrap().len(),
        1,
        "{plan}"
    );
    served.stop().await;
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
