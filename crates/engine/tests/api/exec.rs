//! Commands through real HTTP: foreground, background, input, logs, kill, limits.

use std::time::{Duration, Instant};

use crate::support::{until, Served};
use serde_json::json;

#[tokio::test]
async fn foreground_commands_answer_with_output_and_exit_code() {
    let served = Served::start().await;
    let id = served
        .create(json!({ "envs": { "A": "machine", "B": "machine" } }))
        .await;
    let path = format!("/v1/machines/{id}/exec");
    let shell = served.shell(&id, "echo out; echo err >&2; exit 3").await;
    assert_eq!(
        (&shell["stdout"], &shell["stderr"], &shell["exit_code"]),
        (&json!("out\n"), &json!("err\n"), &json!(3))
    );
    let argv = served
        .post(
            &path,
            json!({ "command": "printf", "args": ["%s|", "a b", "$HOME"] }),
        )
        .await
        .expect(200);
    assert_eq!(argv["stdout"], "a b|$HOME|");
    let body = json!({ "command": "echo $A $B $HOME; pwd", "shell": true, "cwd": "/tmp", "envs": { "B": "command" } });
    assert_eq!(
        served.post(&path, body).await.expect(200)["stdout"],
        "machine command /root\n/tmp\n"
    );
    let killed = served.shell(&id, "kill -9 $$").await;
    assert_eq!(killed["exit_code"], 137);
    let bytes = served.shell(&id, r"printf '\303\251\377'").await;
    assert_eq!(bytes["stdout"], "é\u{fffd}");

    for (body, field) in [
        (json!({ "command": "  " }), "command"),
        (json!({ "command": "ls", "shell": true, "args": ["-l"] }), "args"),
        (json!({ "command": "ls", "timeout_secs": 0 }), "timeout_secs"),
        (json!({ "command": "ls", "cwd": "relative" }), "cwd"),
        (json!({ "command": "ls", "envs": { "": "x" } }), "envs"),
        (json!({}), "command"),
    ] {
        let message = served.post(&path, body).await.refused(400, "invalid_request");
        assert!(message.contains(field), "{field}: {message}");
    }
    for body in [
        json!({ "command": "no-such-program" }),
        json!({ "command": "ls", "cwd": "/no/such/directory" }),
    ] {
        served.post(&path, body).await.refused(502, "exec_failed");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_command_over_its_limit_is_killed_with_its_children() {
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    let body = json!({ "command": "sleep 60 & echo $!; sleep 60", "shell": true, "timeout_secs": 1 });
    let begun = Instant::now();
    let reply = served.post(&format!("/v1/machines/{id}/exec"), body).await;
    let details = reply.json()["details"].clone();
    reply.refused(504, "exec_timeout");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let child = details["stdout"].as_str().unwrap().trim().to_owned();
    until("the child is gone", async || !is_running(&child)).await;
    served.stop().await;
}

#[tokio::test]
async fn a_command_that_ended_for_memory_says_so_in_every_way_of_running_it() {
    let served = Served::start().await;
    let id = served.create(json!({ "memory_mb": 64 })).await;
    let note = "[nullspace: killed at the machine's memory limit of 64 MiB]\n";
    let path = format!("/v1/machines/{id}/exec");
    let body = |background: bool| {
        json!({ "command": "echo a >&2; kill -9 $$", "shell": true, "background": background,
                "envs": { "TEST_OUT_OF_MEMORY": "1" } })
    };
    let answer = served.post(&path, body(false)).await.expect(200);
    assert_eq!(
        (&answer["exit_code"], &answer["stderr"]),
        (&json!(137), &json!(format!("a\n{note}")))
    );
    let started = served.post(&path, body(true)).await;
    let pid = started.json()["pid"].as_u64().unwrap();
    let logs = format!("/v1/machines/{id}/processes/{pid}/logs");
    until("the command has ended", async || {
        served.get(&logs).await.json()["exit_code"].is_number()
    })
    .await;
    assert_eq!(served.get(&logs).await.json()["stderr"], format!("a\n{note}"));
    // Ended by somebody else with the same code.
    let killed = served.shell(&id, "kill -9 $$").await;
    assert_eq!(
        (&killed["exit_code"], &killed["stderr"]),
        (&json!(137), &json!(""))
    );
    served.stop().await;
}

/// Whether a process of this computer runs and is no zombie.
fn is_running(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_foreground_command() {
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    let body = json!({ "command": "echo $$ > pid; sleep 60", "shell": true, "timeout_secs": 60 });
    let request = served.request(reqwest::Method::POST, &format!("/v1/machines/{id}/exec"));
    let impatient = request
        .json(&body)
        .timeout(Duration::from_millis(500))
        .send()
        .await;
    assert!(impatient.unwrap_err().is_timeout());
    let pid = served.shell(&id, "cat pid").await["stdout"]
        .as_str()
        .unwrap()
        .trim()
        .to_owned();
    until("the command is gone", async || !is_running(&pid)).await;
    served.stop().await;
}

#[tokio::test]
async fn background_commands_are_listed_read_fed_and_killed() {
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    let path = format!("/v1/machines/{id}");
    let body = json!({ "command": "while read x; do echo got $x; sleep 0.1; echo e >&2; done; exit 4", "shell": true, "background": true });
    let started = served
        .post(&format!("{path}/exec"), body.clone())
        .await
        .expect(200);
    let pid = started["pid"].as_u64().unwrap();
    assert_eq!(started, json!({ "pid": pid }));
    let listed = served.get(&format!("{path}/processes")).await.expect(200);
    assert_eq!(
        listed,
        json!([{ "pid": pid, "command": body["command"], "running": true }])
    );
    served
        .post(
            &format!("{path}/processes/{pid}/stdin"),
            json!({ "data": "one\n" }),
        )
        .await
        .expect(204);
    let logs_path = format!("{path}/processes/{pid}/logs");
    until("it answered", async || {
        served.get(&logs_path).await.expect(200)["stderr"] == "e\n"
    })
    .await;
    let logs = served.get(&logs_path).await.expect(200);
    assert_eq!(
        (&logs["stdout"], &logs["output"]),
        (&json!("got one\n"), &json!("got one\ne\n"))
    );
    assert!(logs.get("exit_code").is_none());

    served
        .post(&format!("{path}/processes/{pid}/kill"), json!({}))
        .await
        .expect(204);
    until("it ended", async || {
        served.get(&logs_path).await.expect(200)["exit_code"] == 137
    })
    .await;
    assert_eq!(served.get(&logs_path).await.expect(200)["stdout"], "got one\n");
    assert_eq!(
        served.get(&format!("{path}/processes")).await.expect(200)[0]["running"],
        false
    );
    served
        .post(&format!("{path}/processes/{pid}/kill"), json!({}))
        .await
        .expect(204);
    let stdin = served
        .post(&format!("{path}/processes/{pid}/stdin"), json!({ "data": "x" }))
        .await;
    stdin.refused(409, "conflict");
    for body in [
        json!({}),
        json!({ "data": "x", "data_base64": "eA==" }),
        json!({ "data_base64": "?" }),
    ] {
        let refused = served.post(&format!("{path}/processes/{pid}/stdin"), body).await;
        refused.refused(400, "invalid_request");
    }
    served
        .get(&format!("{path}/processes/999999/logs"))
        .await
        .refused(404, "not_found");
    served
        .get(&format!("{path}/processes/x/logs"))
        .await
        .refused(400, "invalid_request");
    served.stop().await;
}

#[tokio::test]
async fn a_child_that_holds_the_output_open_does_not_hold_up_the_answer() {
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    let begun = Instant::now();
    let answer = served.shell(&id, "sleep 30 & echo done").await;
    assert_eq!(answer["stdout"], "done\n");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    served.stop().await;
}

#[tokio::test]
async fn too_much_output_is_cut_and_the_answer_counts_what_is_missing() {
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    let answer = served.shell(&id, "head -c 20000000 /dev/zero | tr '\\0' x").await;
    assert_eq!(answer["stdout"].as_str().unwrap().len(), 20_000_000);
    assert!(answer.get("truncated").is_none());
    let answer = served
        .shell(&id, "echo e >&2; head -c 34000000 /dev/zero | tr '\\0' x; exit 3")
        .await;
    let text = answer["stdout"].as_str().unwrap();
    assert!(text.len() == 32 << 20 && text.bytes().all(|byte| byte == b'x'));
    assert_eq!(
        (&answer["stderr"], &answer["exit_code"], &answer["truncated"]),
        (&json!("e\n"), &json!(3), &json!(true))
    );
    assert_eq!(
        (&answer["dropped_stdout_bytes"], &answer["dropped_stderr_bytes"]),
        (&json!(34_000_000 - (32 << 20)), &json!(0))
    );
    served.stop().await;
}

#[tokio::test]
async fn a_long_log_says_what_is_missing_from_it() {
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    let body = json!({
        "command": "echo begin; head -c 20000000 /dev/zero | tr '\\0' x; echo e >&2; echo end",
        "shell": true, "background": true,
    });
    let path = format!("/v1/machines/{id}");
    let pid = served.post(&format!("{path}/exec"), body).await.expect(200)["pid"].clone();
    let logs_path = format!("{path}/processes/{pid}/logs");
    until("it ended", async || {
        served.get(&logs_path).await.expect(200)["exit_code"] == 0
    })
    .await;
    let logs = served.get(&logs_path).await.expect(200);
    let text = logs["stdout"].as_str().unwrap();
    assert!(
        text.starts_with('x') && text.ends_with("xend\n"),
        "as it was printed"
    );
    assert_eq!(logs["truncated"], true);
    assert_eq!(
        logs["dropped_stdout_bytes"].as_u64().unwrap() + text.len() as u64,
        20_000_000 + 10
    );
    assert_eq!(
        (&logs["stderr"], &logs["dropped_stderr_bytes"]),
        (&json!("e\n"), &json!(0))
    );
    served.stop().await;
}

#[tokio::test]
async fn the_result_of_a_background_command_outlasts_many_later_ones() {
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    let path = format!("/v1/machines/{id}");
    let begin = async |command: &str| {
        let body = json!({ "command": command, "shell": true, "background": true });
        served.post(&format!("{path}/exec"), body).await.expect(200)["pid"].clone()
    };
    let first = begin("echo first; echo e >&2; exit 5").await;
    for _ in 0..600 {
        begin(":").await;
    }
    let logs = served
        .get(&format!("{path}/processes/{first}/logs"))
        .await
        .expect(200);
    assert_eq!(
        (&logs["stdout"], &logs["stderr"], &logs["exit_code"]),
        (&json!("first\n"), &json!("e\n"), &json!(5))
    );
    assert!(logs.get("truncated").is_none());
    served.stop().await;
}

#[tokio::test]
async fn commands_of_a_destroyed_machine_end_with_an_error() {
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    let path = format!("/v1/machines/{id}");
    let exec_path = format!("{path}/exec");
    let exec = served.post(&exec_path, json!({ "command": "sleep", "args": ["60"] }));
    let kill = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        served.delete(&path).await.expect(200)
    };
    let (exec, _) = tokio::join!(exec, kill);
    exec.refused(409, "machine_not_ready");
    served.stop().await;
}

#[tokio::test]
async fn every_command_may_install_into_the_machines_own_python() {
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    let done = served.shell(&id, "echo $PIP_BREAK_SYSTEM_PACKAGES").await;
    assert_eq!(done["stdout"], "1\n");
    let id = served
        .create(json!({ "envs": { "PIP_BREAK_SYSTEM_PACKAGES": "0" } }))
        .await;
    let done = served.shell(&id, "echo $PIP_BREAK_SYSTEM_PACKAGES").await;
    assert_eq!(done["stdout"], "0\n");
    served.stop().await;
}

#[tokio::test]
async fn nodes_heap_fits_into_a_small_machine() {
    let served = Served::start().await;
    for (asked, expected) in [
        (json!({ "memory_mb": 256 }), "--max-old-space-size=160\n"),
        (json!({ "memory_mb": 2048 }), "\n"),
        (
            json!({ "memory_mb": 256, "envs": { "NODE_OPTIONS": "--no-warnings" } }),
            "--no-warnings\n",
        ),
    ] {
        let id = served.create(asked).await;
        assert_eq!(served.shell(&id, "echo $NODE_OPTIONS").await["stdout"], expected);
    }
    served.stop().await;
}

#[tokio::test]
async fn output_that_is_kept_is_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let served = Served::start().await;
    // As somebody may have made it.
    std::fs::set_permissions(served.state.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let id = served.create(json!({})).await;
    let body = json!({ "command": "head -c 300000 /dev/zero", "shell": true, "background": true });
    served
        .post(&format!("/v1/machines/{id}/exec"), body)
        .await
        .expect(200);
    let logs = served.state.path().join("logs");
    let first = |directory: &std::path::Path| {
        let entry = std::fs::read_dir(directory).ok()?.next()?;
        Some(entry.ok()?.path())
    };
    until("output is kept in a file", async || {
        first(&logs.join(&id)).is_some()
    })
    .await;
    let file = first(&logs.join(&id)).unwrap();
    for (path, mode) in [(&logs, 0o700), (&logs.join(&id), 0o700), (&file, 0o600)] {
        let found = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{}", path.display());
    }
    served.stop().await;
}
