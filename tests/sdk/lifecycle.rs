//! Leases, pauses, forks, snapshots, policies, events, pools and background commands over a scripted transport.

use std::time::Duration;

use nullspace::client::machine::{Machine, Ran};
use nullspace::client::single::Planned;
use nullspace::client::warm_pool;
use nullspace::core::error::Kind;
use nullspace::core::options::Value;
use nullspace::core::{exec, lease};
use nullspace::script::{Act, Script};
use nullspace::surface::{lifecycle, machines, pools, previews, processes, snapshots, Operation};
use nullspace::transport::Phase;
use serde_json::{json, Value as Json};

use crate::support::{args, body, client, error, given, machine};

const HANDLE: &str = r#"{"id":"mch_1","status":"running","config":{"vcpus":2,"memory_mb":512}}"#;
const FORKED: &str =
    r#"{"id":"mch_2","status":"running","config":{"vcpus":2,"memory_mb":512},"cwd":"/workspace"}"#;
const SNAPSHOT: &str =
    r#"{"id":"snap_1","machine_id":"mch_1","size_bytes":4096,"created_at":"2026-01-01T00:00:00Z"}"#;
const EVENTS: &str = r#"{"events":[],"offset":0,"limit":50,"has_more":false}"#;
const RUNNING: &str = r#"[{"pid":7,"command":"sleep","running":true}]"#;
const ENDED: &str = r#"[{"pid":7,"command":"sleep","running":false}]"#;

/// A script whose first request takes a machine up.
fn script() -> Script {
    Script::new().on("POST", "/v1/machines/mch_1/resume", 200, HANDLE)
}

/// A call of the table on a machine.
fn on(
    machine: &Machine<Script>,
    operation: &'static Operation,
    all: &[Json],
    options: Json,
) -> Planned<Script> {
    machine.plan(operation, &args(all), Some(&given(options)))
}

#[test]
fn a_lease_is_moved_and_the_new_one_comes_back() {
    let script = script().on(
        "POST",
        "/v1/machines/mch_1/timeout",
        200,
        r#"{"timeout_ms":60000,"timeout_action":"destroy","remaining_ms":60000}"#,
    );
    let machine = machine(&script);
    let lease = script
        .send(on(&machine, &machines::SET_TIMEOUT, &[json!(60)], json!({})))
        .unwrap();
    assert_eq!(lease["timeoutMs"], 60_000);
    let sent = &script.sent()[1];
    assert_eq!(body(sent), json!({ "timeout_ms": 60_000 }));
    assert_eq!(sent.timeout, Duration::from_secs(30));
    script.finished();
}

#[test]
fn a_pause_has_five_minutes_unless_told_otherwise() {
    let script = script()
        .on("POST", "/v1/machines/mch_1/hibernate", 200, SNAPSHOT)
        .on("POST", "/v1/machines/mch_1/hibernate", 200, SNAPSHOT);
    let machine = machine(&script);
    let info = script
        .send(on(&machine, &machines::PAUSE, &[], json!({})))
        .unwrap();
    assert_eq!(info["machineId"], "mch_1");
    script
        .send(on(
            &machine,
            &machines::PAUSE,
            &[],
            json!({ "requestTimeout": 5 }),
        ))
        .unwrap();
    let times: Vec<Duration> = script.sent()[1..].iter().map(|sent| sent.timeout).collect();
    assert_eq!(times, [Duration::from_secs(300), Duration::from_secs(5)]);
}

#[test]
fn a_fork_is_another_machine_with_a_key_of_its_own() {
    let script = script().on("POST", "/v1/machines/mch_1/fork", 201, FORKED).on(
        "POST",
        "/v1/machines/mch_1/fork",
        201,
        FORKED,
    );
    let machine = machine(&script);
    let fork = |options: Json| script.send(on(&machine, &machines::FORK, &[], options));
    let forked = fork(json!({})).unwrap();
    let made = Machine::taken_up(&client(&script), &forked).unwrap();
    assert_eq!(
        (made.id.as_str(), &forked["cwd"]),
        ("mch_2", &json!("/workspace"))
    );
    fork(json!({ "idempotencyKey": "mine" })).unwrap();
    let sent = script.sent();
    let keys: Vec<_> = sent[1..]
        .iter()
        .map(|sent| Script::header(sent, "Idempotency-Key"))
        .collect();
    assert_eq!(keys, [Some("uuid-1".to_owned()), Some("mine".to_owned())]);
    assert_eq!(sent[1].body, None);
}

#[test]
fn snapshots_are_made_listed_described_and_deleted() {
    let script = script()
        .on("POST", "/v1/machines/mch_1/snapshots", 201, SNAPSHOT)
        .on(
            "GET",
            "/v1/snapshots?machine_id=mch_1",
            200,
            &format!("[{SNAPSHOT}]"),
        )
        .on("GET", "/v1/snapshots/snap_1", 200, SNAPSHOT)
        .on("DELETE", "/v1/snapshots/snap_1", 204, "");
    let machine = machine(&script);
    let client = client(&script);
    let made = script
        .send(on(&machine, &machines::CREATE_SNAPSHOT, &[], json!({})))
        .unwrap();
    assert_eq!(made["sizeBytes"], 4096);
    let options = given(json!({ "machineId": "mch_1" }));
    let list = script
        .send(client.plan(&snapshots::LIST, &[], Some(&options)))
        .unwrap();
    assert_eq!(list[0]["id"], "snap_1");
    let id = args(&[json!("snap_1")]);
    script.send(client.plan(&snapshots::GET, &id, None)).unwrap();
    script.send(client.plan(&snapshots::DELETE, &id, None)).unwrap();
    script.finished();
}

#[test]
fn a_policy_is_replaced_and_the_new_one_comes_back() {
    let script = script().on(
        "PATCH",
        "/v1/machines/mch_1/egress",
        200,
        r#"{"machine_id":"mch_1","egress":{"mode":"custom","deny_cidrs":["10.0.0.0/8"]}}"#,
    );
    let machine = machine(&script);
    let update = |policy: Json| script.send(on(&machine, &machines::UPDATE_EGRESS, &[policy], json!({})));
    let now = update(json!({ "mode": "custom", "denyCidrs": ["10.0.0.0/8"] })).unwrap();
    assert_eq!(now["denyCidrs"], json!(["10.0.0.0/8"]));
    let refused = error(update(json!({ "mode": "custom", "denyCidrs": ["10.0.0.0/99"] })));
    assert!(
        refused.message.contains("policy.denyCidrs[0]"),
        "{}",
        refused.message
    );
    assert_eq!(script.sent().len(), 2, "nothing was sent for the wrong one");
}

#[test]
fn events_of_one_machine_and_of_all_are_asked_for_by_page() {
    let script = script()
        .on(
            "GET",
            "/v1/machines/mch_1/lifecycle?limit=2&order=asc",
            200,
            EVENTS,
        )
        .on(
            "GET",
            "/v1/lifecycle/events?operation=fork&snapshot_id=snap_1",
            200,
            EVENTS,
        );
    let machine = machine(&script);
    let page = script
        .send(on(
            &machine,
            &lifecycle::LIST_OWN,
            &[],
            json!({ "limit": 2, "order": "asc" }),
        ))
        .unwrap();
    assert_eq!(page["hasMore"], false);
    let options = given(json!({ "operation": "fork", "snapshotId": "snap_1" }));
    script
        .send(client(&script).plan(&lifecycle::LIST, &[], Some(&options)))
        .unwrap();
    script.finished();
}

#[test]
fn a_pool_is_changed_and_turned() {
    let pool = r#"{"id":"twp_1","name":"p","template_ref":"base","resolved_template":"base",
        "resources":{"vcpus":4,"memory_mb":512},"min_ready":1,"max_ready":2,"idle_timeout_seconds":600,
        "stale_after_seconds":900,"checkout_policy":"prefer","version_policy":"pinned_build","rollout_generation":0,
        "rollout_status":{},"state":"enabled","labels":{},"metadata":{},"created_at":"2026-01-01T00:00:00Z",
        "updated_at":"2026-01-01T00:00:00Z","status":{"target":1,"ready":1,"warming":0,"claimed":0,"draining":0,
        "failed":0,"expired":0,"unavailable":0}}"#;
    let path = "/v1/template-warm-pools/twp_1";
    let script = Script::new()
        .on("GET", path, 200, pool)
        .on("PATCH", path, 200, pool)
        .on("GET", path, 200, pool)
        .on("PATCH", path, 200, pool)
        .on("POST", &format!("{path}/enable"), 200, pool)
        .on("POST", &format!("{path}/disable"), 200, pool)
        .on("POST", &format!("{path}/drain"), 200, pool)
        .on("POST", &format!("{path}/reconcile"), 200, pool);
    let client = client(&script);
    script
        .send(client.plan(&pools::GET, &args(&[json!("twp_1")]), None))
        .unwrap();
    for change in [json!({ "maxReady": 5 }), json!({ "memoryMb": 1024 })] {
        script
            .run(warm_pool::update(&client, "twp_1", Some(&given(change))))
            .unwrap();
    }
    for turn in [&pools::ENABLE, &pools::DISABLE, &pools::DRAIN, &pools::RECONCILE] {
        script.send(client.plan_on(turn, &["twp_1"], &[], None)).unwrap();
    }
    script.finished();
    let sent = script.sent();
    assert_eq!(body(&sent[1]), json!({ "max_ready": 5 }));
    assert_eq!(
        body(&sent[3]),
        json!({ "resources": { "vcpus": 4, "memory_mb": 1024 } })
    );
}

fn exec_wait(options: Json) -> exec::Wait {
    exec::wait(Some(&given(options))).unwrap()
}

#[test]
fn a_background_command_is_started_fed_and_ended() {
    let script = script()
        .on("POST", "/v1/machines/mch_1/exec", 200, r#"{"pid":7}"#)
        .on("POST", "/v1/machines/mch_1/processes/7/stdin", 204, "")
        .on(
            "GET",
            "/v1/machines/mch_1/processes/7/logs",
            200,
            r#"{"stdout":"a","stderr":"","output":"a"}"#,
        )
        .on("POST", "/v1/machines/mch_1/processes/7/kill", 204, "");
    let machine = machine(&script);
    let options = given(json!({ "background": true, "timeout": 3600 }));
    let ran = script
        .run(machine.execute(exec::run(&Value::Text("cat".into()), Some(&options)).unwrap()))
        .unwrap();
    let Ran::Started(pid) = ran else {
        panic!("it was not started")
    };
    assert_eq!(pid, 7);
    script
        .send(on(
            &machine,
            &processes::SEND_STDIN,
            &[json!(7), json!("hi\n")],
            json!({}),
        ))
        .unwrap();
    let logs = script.send(on(&machine, &processes::LOGS, &[json!(7)], json!({})));
    assert_eq!(logs.unwrap()["output"], "a");
    script
        .send(on(&machine, &processes::KILL, &[json!(7)], json!({})))
        .unwrap();
    let sent = script.sent();
    assert_eq!(
        body(&sent[1]),
        json!({ "command": "cat", "timeout_secs": 3600, "background": true })
    );
    assert_eq!(sent[1].timeout, Duration::from_secs(30), "nobody waits for it");
    assert_eq!(body(&sent[2]), json!({ "data": "hi\n" }));
    script.finished();
}

#[test]
fn waiting_looks_at_the_list_until_the_command_ends_then_at_its_logs() {
    let list = "/v1/machines/mch_1/processes";
    let logs = "/v1/machines/mch_1/processes/7/logs";
    let script = script()
        .on("GET", list, 200, RUNNING)
        .on("GET", list, 200, RUNNING)
        .on("GET", list, 200, ENDED)
        .on(
            "GET",
            logs,
            200,
            r#"{"stdout":"","stderr":"","output":"","exit_code":null}"#,
        )
        .on(
            "GET",
            logs,
            200,
            r#"{"stdout":"x","stderr":"","output":"x","exit_code":3}"#,
        );
    let machine = machine(&script);
    let done = script.run(machine.wait(7, &exec_wait(json!({})))).unwrap();
    assert_eq!(done["exitCode"], 3);
    assert_eq!(script.slept(), [250, 250, 100]);
    script.finished();
}

#[test]
fn waiting_ends_with_its_time_and_leaves_the_command_alone() {
    let mut script = script();
    for _ in 0..5 {
        script = script.on("GET", "/v1/machines/mch_1/processes", 200, RUNNING);
    }
    let machine = machine(&script);
    let late = error(script.run(machine.wait(7, &exec_wait(json!({ "timeout": 1 })))));
    assert_eq!((late.kind, late.code.as_str()), (Kind::Timeout, "timeout"));
    assert_eq!(script.slept(), [250, 250, 250, 250]);
    script.finished();
}

#[test]
fn an_ended_command_without_an_exit_code_is_an_error_after_five_seconds() {
    let mut script = script().on("GET", "/v1/machines/mch_1/processes", 200, "[]");
    for _ in 0..50 {
        let logs = r#"{"stdout":"","stderr":"","output":""}"#;
        script = script.on("GET", "/v1/machines/mch_1/processes/7/logs", 200, logs);
    }
    let machine = machine(&script);
    let lost = error(script.run(machine.wait(7, &exec_wait(json!({})))));
    assert_eq!(lost.kind, Kind::InvalidResponse);
    assert_eq!(script.slept().iter().sum::<u128>(), 5000);
    script.finished();
}

fn keep_alive(options: Json) -> lease::KeepAlive {
    lease::keep_alive(Some(&given(options))).unwrap()
}

const LEASE: &str = r#"{"timeout_ms":60000,"timeout_action":"destroy"}"#;

#[test]
fn a_lease_is_renewed_until_the_server_says_that_the_machine_is_gone() {
    let gone = r#"{"error":"gone","code":"machine_not_found"}"#;
    let path = "/v1/machines/mch_1/timeout";
    let script = script()
        .on("POST", path, 200, LEASE)
        .on("POST", path, 200, LEASE)
        .expect("POST", path, Act::Fail(Phase::Read))
        .on("POST", path, 200, LEASE)
        .on("POST", path, 404, gone);
    let machine = machine(&script);
    let renewal = script
        .run(machine.keep_alive(&keep_alive(json!({ "timeout": 60 }))))
        .unwrap();
    let failed = error(script.run(renewal.ended()));
    assert_eq!(failed.kind, Kind::NotFound);
    // Half of the lease, and a quarter of that after an answer that did not come.
    assert_eq!(script.slept(), [30_000, 30_000, 7_500, 30_000]);
    script.finished();
}

#[test]
fn a_renewal_without_any_answer_ends_with_the_lease() {
    let path = "/v1/machines/mch_1/timeout";
    let mut script = script().on("POST", path, 200, LEASE);
    for _ in 0..5 {
        script = script.expect("POST", path, Act::Fail(Phase::Connect));
    }
    let machine = machine(&script);
    let renewal = script
        .run(machine.keep_alive(&keep_alive(json!({ "timeout": 60 }))))
        .unwrap();
    assert_eq!(error(script.run(renewal.ended())).kind, Kind::Transport);
    assert_eq!(script.slept(), [30_000, 7_500, 7_500, 7_500, 7_500]);
    script.finished();
}

#[test]
fn a_first_renewal_that_fails_starts_nothing() {
    let script = script().on(
        "POST",
        "/v1/machines/mch_1/timeout",
        409,
        r#"{"error":"no","code":"conflict"}"#,
    );
    let machine = machine(&script);
    assert_eq!(
        error(script.run(machine.keep_alive(&keep_alive(json!({}))))).kind,
        Kind::Conflict
    );
    assert!(script.slept().is_empty());
}

#[test]
fn an_address_without_a_public_name_has_the_scheme_of_the_server() {
    let path = "/v1/machines/mch_1/host";
    let local = r#"{"host":"127.0.0.1:4000"}"#;
    let script = script()
        .on("POST", path, 200, local)
        .on("POST", path, 200, local)
        .on("POST", path, 200, r#"{"host":"h","url":"https://h.example"}"#);
    let machine = machine(&script);
    let port = Value::Number(8080.0);
    assert_eq!(
        script
            .run(machine.asking_for_url(&port, false, None).ok().unwrap())
            .unwrap(),
        "http://127.0.0.1:4000"
    );
    assert_eq!(
        script
            .run(machine.asking_for_url(&port, true, None).ok().unwrap())
            .unwrap(),
        "ws://127.0.0.1:4000"
    );
    assert_eq!(
        script
            .run(machine.asking_for_url(&port, false, None).ok().unwrap())
            .unwrap(),
        "https://h.example"
    );
    assert_eq!(body(&script.sent()[1]), json!({ "port": 8080 }));
}

#[test]
fn a_program_is_an_argument_of_its_interpreter() {
    let run = |code: Json, options: Json| {
        exec::code_run(&given(code), Some(&given(options)))
            .map(|run| serde_json::to_value(run.request).unwrap())
    };
    assert_eq!(
        run(json!("print(1)"), json!({})).unwrap(),
        json!({ "command": "python3", "args": ["-c", "print(1)"], "timeout_secs": 30, "background": false })
    );
    for (language, program, flag) in [
        ("node", "node", "-e"),
        ("javascript", "node", "-e"),
        ("ruby", "ruby", "-e"),
        ("bash", "bash", "-c"),
        ("sh", "sh", "-c"),
        ("python3.12", "python3.12", "-c"),
    ] {
        let request = run(json!("x"), json!({ "language": language })).unwrap();
        assert_eq!(
            (&request["command"], &request["args"][0]),
            (&json!(program), &json!(flag))
        );
    }
    for (named, code, options) in [
        ("code", json!(""), json!({})),
        ("code", json!(7), json!({})),
        ("code", json!("a\0"), json!({})),
        ("code", json!("x".repeat(131_072)), json!({})),
        ("language", json!("x"), json!({ "language": "-rf" })),
        ("language", json!("x"), json!({ "language": "../sh" })),
        ("language", json!("x"), json!({ "language": "a b" })),
        ("timeout", json!("x"), json!({ "timeout": 0 })),
        ("args", json!("x"), json!({ "args": ["a"] })),
    ] {
        let error = run(code, options).unwrap_err();
        assert!(error.message.contains(&format!("`{named}`")), "{}", error.message);
    }
    assert!(run(json!("x".repeat(131_071)), json!({})).is_ok());
}

#[test]
fn a_long_program_outlives_the_http_limit() {
    let script = script().on(
        "POST",
        "/v1/machines/mch_1/exec",
        200,
        r#"{"exit_code":0,"stdout":"","stderr":""}"#,
    );
    let machine = machine(&script);
    let options = given(json!({ "timeout": 600 }));
    script
        .send(machine.code_run(&Value::Text("x".into()), Some(&options)))
        .unwrap();
    assert_eq!(script.sent()[1].timeout, Duration::from_secs(610));
}

#[test]
fn a_wait_for_a_service_outlives_the_http_limit_unless_one_was_asked_for() {
    let path = "/v1/machines/mch_1/ports/8080/readiness";
    let ready = r#"{"ready":false,"route_ready":true,"service_ready":false,"machine_id":"mch_1","port":8080,
        "kind":"tcp","checked_at":"2026-01-01T00:00:00Z","elapsed_ms":60000,"attempts":9}"#;
    let script = script().on("POST", path, 200, ready).on("POST", path, 200, ready);
    let machine = machine(&script);
    for options in [
        json!({ "timeout": 60 }),
        json!({ "timeout": 60, "requestTimeout": 5 }),
    ] {
        let answer = script
            .send(on(&machine, &previews::WAIT, &[json!(8080)], options))
            .unwrap();
        assert_eq!(answer["ready"], false);
    }
    let times: Vec<Duration> = script.sent()[1..].iter().map(|sent| sent.timeout).collect();
    assert_eq!(times, [Duration::from_secs(70), Duration::from_secs(5)]);
}

#[test]
fn grants_are_listed_by_port_and_revoked_by_id() {
    let script = script()
        .on("GET", "/v1/machines/mch_1/preview-urls", 200, r#"{"items":[]}"#)
        .on(
            "GET",
            "/v1/machines/mch_1/preview-urls?port=8080",
            200,
            r#"{"items":[]}"#,
        )
        .on(
            "DELETE",
            "/v1/machines/mch_1/preview-urls/pvg_%2F1",
            404,
            r#"{"error":"no","code":"preview_grant_not_found"}"#,
        );
    let machine = machine(&script);
    let list = |options: Json| script.send(on(&machine, &previews::LIST, &[], options));
    assert_eq!(list(json!({})).unwrap(), json!([]));
    list(json!({ "port": 8080 })).unwrap();
    let gone = error(script.send(on(&machine, &previews::REVOKE, &[json!("pvg_/1")], json!({}))));
    assert_eq!(gone.kind, Kind::NotFound);
    script.finished();
}
