//! Builds from a Dockerfile.

use crate::archives::{gzip, with_program, Archive};
use crate::nothing_is_left;
use crate::process::{holding, names, Engine};
use crate::registry::{Registry, GZIP};
use serde_json::{json, Value};

const SECRET: &str = "hunter2-77ab01ce";

/// An image with a shell and a few programs, and one without any: both on loopback.
async fn published() -> Registry {
    let registry = Registry::start().await;
    let mut archive = Archive::default()
        .file(
            "etc/passwd",
            0o644,
            "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n",
        )
        .file("etc/group", 0o644, "root:x:0:\napp:x:1000:\n");
    for program in ["sh", "cat", "chown", "chmod", "mkdir", "ls", "stat", "ln"] {
        archive = with_program(archive, &format!("/bin/{program}"));
    }
    let plain = archive.end();
    let run = json!({ "Env": ["PATH=/usr/bin:/bin", "FROM_IMAGE=yes"], "Cmd": ["sh"] });
    registry.publish("tools", &[(GZIP, gzip(&plain), plain)], run);
    let plain = Archive::default()
        .file("data/of-image", 0o644, "of another image\n")
        .end();
    registry.publish("data", &[(GZIP, gzip(&plain), plain)], json!({}));
    registry
}

fn file(path: &str, content: &str) -> Value {
    use base64::Engine as _;
    let content = base64::engine::general_purpose::STANDARD.encode(content);
    json!({ "path": path, "entry_type": "file", "content_base64": content, "mode": "0640" })
}

fn body(dockerfile: &str) -> Value {
    json!({
        "name": "app", "dockerfile": dockerfile,
        "build_args": { "VERSION": "7" },
        "build_secrets": [{ "id": "token", "value": SECRET }],
        "build_config": { "vcpus": 1, "memory_mib": 256, "internet_access": false },
        "build_context": { "files": [
            file("src/a.txt", "a\n"), file("src/b.txt", "b\n"), file("src/c.md", "c\n"),
            { "path": "src/empty", "entry_type": "dir" }, file("Dockerfile", "x"),
        ] },
    })
}

async fn said(engine: &Engine, command: &str) -> String {
    let said = engine.said(command).await;
    assert_eq!(
        (&said["exit_code"], &said["stderr"]),
        (&json!(0), &json!("")),
        "{said}"
    );
    said["stdout"].as_str().unwrap().to_owned()
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn a_dockerfile_of_several_stages_becomes_a_template() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let engine = Engine::start(&state);
    let registry = published().await;
    let (tools, data) = (registry.name("tools"), registry.name("data"));
    let dockerfile = format!(
        r#"ARG BASE={tools}
FROM $BASE AS build
ARG VERSION=1
WORKDIR /out
RUN echo "version $VERSION, $FROM_IMAGE" > version && mkdir bin && echo tool > bin/tool && chmod 4755 bin/tool
RUN ["/bin/sh", "-c", "echo exec > form; echo own > mine; chown app:app mine; ln -s version link"]
RUN --mount=type=secret,id=token,env=TOKEN --mount=type=secret,id=token,target=/tmp/token,mode=0440,uid=1000 <<END
stat -c '%a %u' /run/secrets/token > secret
cat /tmp/token > /dev/null
echo ${{#TOKEN}} >> secret
END

FROM {tools} AS unused
RUN exit 3

FROM $BASE
ENV GREETING="hello world" PLACE=/srv/app
WORKDIR $PLACE
COPY src/*.txt ./text/
COPY --chown=app:app --chmod=0600 src all/
COPY --from=build /out ./out
COPY --from=build /out/bin/t* /out/form bin/
COPY --from={data} /data/of-image other
COPY <<END /etc/note
$GREETING
END
SHELL ["/bin/sh", "-e", "-c"]
USER app:app
RUN echo "$PWD" > where 2>/dev/null || echo not mine > /tmp/where
ENTRYPOINT ["/bin/sh", "-c", "echo \"$GREETING\" > /tmp/started; cat /dev/null"]
"#
    );
    let built = engine.over(body(&dockerfile)).await;
    assert_eq!(built["build"]["status"], "ready", "{built:#}");
    assert_eq!(built["build"]["source_type"], "dockerfile");
    let script = "echo \"$PWD $GREETING $FROM_IMAGE\"; [ -z \"$VERSION$TOKEN\" ]; cat out/version out/form out/secret out/link other /etc/note; \
        ls text; stat -c '%n %a %U:%G' all all/a.txt all/empty out/mine out/bin/tool bin/tool bin/form text/a.txt .";
    let out = said(&engine, script).await;
    let expected = format!(
        "/srv/app hello world yes\nversion 7, yes\nexec\n440 1000\n{}\nversion 7, yes\n",
        SECRET.len()
    );
    assert!(out.starts_with(&expected), "{out}");
    for line in [
        "of another image",
        "hello world",
        "a.txt",
        "b.txt",
        "all/a.txt 600 app:app",
        "out/mine 644 app:app",
        "out/bin/tool 4755 root:root",
        "bin/tool 4755 root:root",
        "bin/form 644 root:root",
        "text/a.txt 640 root:root",
    ] {
        assert!(out.lines().any(|one| one == line), "{line}: {out}");
    }
    assert!(!out.contains("c.md"), "{out}");
    let started = said(
        &engine,
        "until [ -s /tmp/started ]; do :; done; cat /tmp/started; stat -c %U /tmp/started",
    )
    .await;
    assert_eq!(started, "hello world\napp\n");

    // Nothing runs twice, and a change in the last stage leaves the first one alone.
    let again = engine.over(body(&dockerfile)).await;
    let counts = &again["build"]["cache_summary"];
    assert_eq!(
        (&counts["layer_misses"], &counts["final_artifact_hits"]),
        (&json!(0), &json!(1)),
        "{counts}"
    );
    let changed = dockerfile.replace("hello world", "bye");
    let changed = engine.over(body(&changed)).await;
    assert_eq!(changed["build"]["status"], "ready", "{changed:#}");
    assert!(
        changed["build"]["cache_summary"]["layer_hits"].as_u64().unwrap() >= 4,
        "{changed:#}"
    );

    assert_eq!(
        holding(&state, SECRET),
        Vec::<String>::new(),
        "the secret is on the disk"
    );
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn scratch_holds_what_is_copied_and_a_failed_step_names_its_command() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let engine = Engine::start(&state);
    let registry = published().await;
    let tools = registry.name("tools");
    let failed = engine
        .over(body(&format!(
            "FROM {tools}\nRUN true\nRUN echo on its way; exit 9\n"
        )))
        .await;
    let detail = &failed["build"]["error_detail"];
    assert_eq!(
        (
            &detail["details"]["reason"],
            &detail["details"]["exit_code"],
            &detail["step_index"]
        ),
        (&json!("command_failed"), &json!(9), &json!(1)),
        "{failed:#}"
    );
    assert!(detail["message"].as_str().unwrap().contains("exit 9"), "{detail}");

    let scratch = format!(
        "FROM {tools} AS all\nRUN echo kept > /kept\nFROM scratch\nENV PATH=/bin:/usr/bin\nCOPY --from=all / /\n"
    );
    let built = engine.over(body(&scratch)).await;
    assert_eq!(built["build"]["status"], "ready", "{built:#}");
    nothing_is_left(&state);
    assert_eq!(
        said(&engine, "cat /kept; echo \"[$FROM_IMAGE]\"").await,
        "kept\n[]\n"
    );
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn a_cancelled_dockerfile_leaves_no_machine_of_any_stage() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let engine = Engine::start(&state);
    let registry = published().await;
    let tools = registry.name("tools");
    let dockerfile =
        format!("FROM {tools} AS one\nRUN echo > /one\nFROM {tools}\nCOPY --from=one /one /two\nRUN while :; do :; done\n");
    let build = engine.post("/v1/templates/builds", body(&dockerfile)).await;
    let id = build["build_id"].as_str().unwrap();
    let is_in_last = |now: &Value| {
        let mut entries = now["entries"].as_array().unwrap().iter();
        entries.any(|entry| entry["step_index"] == 2 && entry["kind"] == "message")
    };
    engine.until(id, is_in_last).await;
    let path = format!("/v1/templates/builds/{id}/cancel");
    engine.post(&path, json!({})).await;
    engine
        .until(id, |now| now["build"]["status"] == "cancelled")
        .await;
    nothing_is_left(&state);
    let layers = names(&state.join("machines/layers"));
    let of_steps = layers.iter().filter(|name| !name.starts_with("image_")).count();
    assert_eq!(of_steps, 2, "the two steps that were done: {layers:?}");
}
