//! What the client sends, and sends again: over a scripted transport whose clock moves only when somebody waits.

use nullspace::client::machine::{Machine, Once, Ran};
use nullspace::client::page::page;
use nullspace::client::single::Planned;
use nullspace::client::warm_pool::wait_until_ready;
use nullspace::client::{Client, Failure};
use nullspace::core::config;
use nullspace::core::error::{Error, Kind};
use nullspace::core::exec;
use nullspace::core::machine::{self, create_fields, list, list_fields, run_once_fields};
use nullspace::core::options::{Fields, Value};
use nullspace::core::warm_pool::wait;
use nullspace::script::{Act, Script};
use nullspace::surface::{machines, pools};
use nullspace::transport::Phase;

use crate::support::Nowhere;

const MACHINE: &str = r#"{"id":"mch_1","status":"running","config":{"vcpus":2,"memory_mb":512},"template":"base","created_at":"2026-01-01T00:00:00Z","cwd":"/workspace"}"#;
const DONE: &str = r#"{"exit_code":0,"stdout":"hi\n","stderr":""}"#;
const BUSY: &str = r#"{"error":"busy","code":"transition_in_progress"}"#;
const LIMITED: &str = r#"{"error":"slow down","code":"rate_limit_exceeded"}"#;

fn object(fields: &[(&str, Value)]) -> Value {
    Value::Object(
        fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    )
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// A client with a key, or with a key function.
fn client(script: &Script, key: Value) -> Client<Script> {
    let options = object(&[("apiKey", key), ("baseUrl", text("http://server/"))]);
    let fields = Fields::new("", Some(&options), &[&config::CLIENT_OPTIONS]).unwrap();
    Client::new(config::settings(&fields, &Nowhere).unwrap(), script.clone())
}

fn plain(script: &Script) -> Client<Script> {
    client(script, text("key-1"))
}

fn id() -> [Option<Value>; 1] {
    [Some(text("mch_1"))]
}

/// A call that describes a machine.
fn describe(client: &Client<Script>) -> Planned<Script> {
    client.plan(&machines::GET_INFO_BY_ID, &id(), None)
}

fn creation(client: &Client<Script>, fields: &Fields<'_>) -> Planned<Script> {
    Machine::creation(client, fields, &machine::create(fields, &Nowhere)?)
}

fn create(client: &Client<Script>, options: &[(&str, Value)]) -> Result<Machine<Script>, Failure<String>> {
    let options = object(options);
    let fields = create_fields(&options).unwrap();
    client
        .transport()
        .clone()
        .run(Machine::create(creation(client, &fields)?))
}

/// Runs a command in the foreground to its end.
fn run(
    machine: &Machine<Script>,
    command: &str,
    options: Option<&Value>,
) -> Result<serde_json::Value, Failure<String>> {
    let execution = machine.execute(exec::run(&text(command), options)?);
    match machine.transport().clone().run(execution)? {
        Ran::Ended(result) => Ok(result),
        _ => panic!("it does not run in the foreground"),
    }
}

fn error<V>(result: Result<V, Failure<String>>) -> Error {
    match result {
        Err(Failure::Error(error)) => error,
        Err(Failure::Thrown(thrown)) => panic!("thrown: {thrown}"),
        Ok(_) => panic!("it worked"),
    }
}

#[test]
fn a_create_sends_the_sdk_defaults_with_a_fresh_key() {
    let script = Script::new().on("POST", "/v1/machines", 201, MACHINE);
    let options = object(&[]);
    let made = script.send(creation(&plain(&script), &create_fields(&options).unwrap()));
    let made = made.unwrap();
    assert_eq!(
        (&made["id"], &made["cwd"]),
        (&"mch_1".into(), &"/workspace".into())
    );
    let sent = &script.sent()[0];
    assert_eq!(Script::header(sent, "Idempotency-Key").as_deref(), Some("uuid-1"));
    assert_eq!(
        Script::header(sent, "Authorization").as_deref(),
        Some("Bearer key-1")
    );
    let body: serde_json::Value = serde_json::from_str(sent.body.as_ref().unwrap()).unwrap();
    assert_eq!(
        (
            &body["template"],
            &body["vcpus"],
            &body["memory_mb"],
            &body["timeout_ms"]
        ),
        (&"base".into(), &2.into(), &512.into(), &300_000.into())
    );
}

#[test]
fn a_create_answered_busy_is_sent_again_with_the_same_key_and_body() {
    let script = Script::new()
        .on("POST", "/v1/machines", 409, BUSY)
        .on("POST", "/v1/machines", 409, BUSY)
        .expect("POST", "/v1/machines", Act::Fail(Phase::Read))
        .on("POST", "/v1/machines", 201, MACHINE);
    create(&plain(&script), &[("idempotencyKey", text("mine"))]).unwrap();
    let sent = script.sent();
    assert_eq!(sent.len(), 4);
    for request in &sent {
        assert_eq!(
            Script::header(request, "Idempotency-Key").as_deref(),
            Some("mine")
        );
        assert_eq!(request.body, sent[0].body);
    }
    assert_eq!(script.slept(), [500, 1000, 2000]);
}

#[test]
fn a_create_gives_up_after_thirty_requests() {
    let mut script = Script::new();
    for _ in 0..30 {
        script = script.on("POST", "/v1/machines", 409, BUSY);
    }
    assert_eq!(error(create(&plain(&script), &[])).code, "transition_in_progress");
    assert_eq!(script.sent().len(), 30);
}

#[test]
fn a_create_is_not_repeated_without_a_connection_or_on_other_errors() {
    let script = Script::new().expect("POST", "/v1/machines", Act::Fail(Phase::Connect));
    let refused = error(create(&plain(&script), &[]));
    assert_eq!(
        (refused.kind, refused.code.as_str()),
        (Kind::Transport, "transport_error")
    );
    let full = r#"{"error":"No host","code":"no_eligible_runtime_host","retryable":true}"#;
    let script = Script::new()
        .on("POST", "/v1/machines", 503, full)
        .with_header("x-request-id", "rq");
    let error = error(create(&plain(&script), &[]));
    assert_eq!(
        (error.request_id.as_deref(), error.retryable),
        (Some("rq"), Some(true))
    );
}

#[test]
fn a_create_given_up_half_way_is_cleaned_up_with_the_same_key() {
    let script = Script::new()
        .expect("POST", "/v1/machines", Act::Hang)
        .on("POST", "/v1/machines", 201, MACHINE)
        .on("DELETE", "/v1/machines/mch_1", 200, "{}");
    let client = plain(&script);
    let options = object(&[]);
    let fields = create_fields(&options).unwrap();
    assert!(script
        .poll(Machine::create(creation(&client, &fields).ok().unwrap()))
        .is_none());
    script.run_tasks();
    script.finished();
    let sent = script.sent();
    assert_eq!(
        Script::header(&sent[0], "Idempotency-Key"),
        Script::header(&sent[1], "Idempotency-Key")
    );
}

#[test]
fn a_create_whose_answer_cannot_be_read_is_cleaned_up() {
    let script = Script::new()
        .on("POST", "/v1/machines", 201, r#"{"id":"mch_1","status":7}"#)
        .on("POST", "/v1/machines", 201, r#"{"id":"mch_1","status":7}"#)
        .on("DELETE", "/v1/machines/mch_1", 200, "{}");
    assert_eq!(error(create(&plain(&script), &[])).kind, Kind::InvalidResponse);
    script.finished();
}

#[test]
fn a_create_given_up_with_a_key_of_the_callers_own_is_left_to_the_caller() {
    let script = Script::new().expect("POST", "/v1/machines", Act::Hang);
    let client = plain(&script);
    let options = object(&[("idempotencyKey", text("job-42"))]);
    let fields = create_fields(&options).unwrap();
    assert!(script
        .poll(Machine::create(creation(&client, &fields).ok().unwrap()))
        .is_none());
    script.run_tasks();
    script.finished();
}

#[test]
fn a_fork_given_up_half_way_is_cleaned_up() {
    let fork = "/v1/machines/mch_1/fork";
    let child = r#"{"id":"mch_2","status":"running","config":{"vcpus":2,"memory_mb":512}}"#;
    let script = Script::new()
        .on("POST", "/v1/machines", 201, MACHINE)
        .expect("POST", fork, Act::Hang)
        .on("POST", fork, 201, child)
        .on("DELETE", "/v1/machines/mch_2", 200, "{}");
    let machine = create(&plain(&script), &[]).unwrap();
    assert!(script.poll(machine.forking(None).ok().unwrap().send()).is_none());
    script.run_tasks();
    script.finished();
}

#[test]
fn a_rate_limit_waits_as_told_then_gives_up() {
    let path = "/v1/machines/mch_1";
    let script = Script::new()
        .on("GET", path, 429, LIMITED)
        .with_header("retry-after", "0.1")
        .on("GET", path, 429, LIMITED)
        .on("GET", path, 200, MACHINE);
    let client = plain(&script);
    script.send(describe(&client)).unwrap();
    assert_eq!(script.slept(), [100, 1000]);

    let mut script = Script::new();
    for _ in 0..4 {
        script = script
            .on("GET", path, 429, LIMITED)
            .with_header("retry-after", "2");
    }
    let limited = error(script.send(describe(&plain(&script))));
    assert_eq!(
        (limited.kind, limited.retry_after, limited.status),
        (Kind::RateLimit, Some(2.0), Some(429))
    );
    script.finished();
}

#[test]
fn reads_and_kills_are_not_repeated() {
    let script = Script::new().expect("GET", "/v1/machines/mch_1", Act::Fail(Phase::Read));
    let failed = error(script.send(describe(&plain(&script))));
    assert_eq!(failed.message, "getMachine failed: scripted");
    let script = Script::new().on("DELETE", "/v1/machines/mch_1", 500, "oops");
    assert_eq!(
        error(script.send(plain(&script).plan(&machines::KILL_BY_ID, &id(), None))).code,
        "unknown"
    );
}

#[test]
fn a_key_function_is_asked_once_and_again_after_a_401() {
    let path = "/v1/machines/mch_1";
    let no = r#"{"error":"expired","code":"unauthorized"}"#;
    let script = Script::new()
        .keys(&[Ok("old"), Ok("new")])
        .on("GET", path, 401, no)
        .on("GET", path, 200, MACHINE)
        .on("GET", path, 200, MACHINE);
    let client = client(&script, Value::Opaque("a function".to_owned()));
    for _ in 0..2 {
        script.send(describe(&client)).unwrap();
    }
    let keys: Vec<_> = script
        .sent()
        .iter()
        .map(|r| Script::header(r, "Authorization").unwrap())
        .collect();
    assert_eq!(keys, ["Bearer old", "Bearer new", "Bearer new"]);
    assert_eq!(script.keys_asked(), 2);
}

#[test]
fn calls_at_once_share_one_question() {
    let path = "/v1/machines/mch_1";
    let script = Script::new()
        .keys(&[Ok("k")])
        .on("GET", path, 200, MACHINE)
        .on("GET", path, 200, MACHINE);
    let client = client(&script, Value::Opaque("a function".to_owned()));
    script.run(async {
        let mut first = std::pin::pin!(describe(&client).ok().unwrap().send());
        let mut second = std::pin::pin!(describe(&client).ok().unwrap().send());
        let mut done = [false, false];
        std::future::poll_fn(|context| {
            use std::future::Future;
            if !done[0] {
                done[0] = first.as_mut().poll(context).is_ready();
            }
            if !done[1] {
                done[1] = second.as_mut().poll(context).is_ready();
            }
            if done == [true, true] {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    });
    assert_eq!(script.keys_asked(), 1);
    script.finished();
}

#[test]
fn what_the_key_function_throws_passes_through_and_the_next_call_asks_again() {
    let script = Script::new()
        .keys(&[Err("boom"), Ok("k")])
        .on("GET", "/v1/machines/mch_1", 200, MACHINE);
    let client = client(&script, Value::Opaque("a function".to_owned()));
    match script.send(describe(&client)) {
        Err(Failure::Thrown(thrown)) => assert_eq!(thrown, "boom"),
        _ => panic!("nothing was thrown"),
    }
    script.send(describe(&client)).unwrap();
}

#[test]
fn connect_resumes_a_paused_machine_and_sets_the_lease() {
    let paused = MACHINE.replace("running", "paused");
    let handle = r#"{"id":"mch_1","status":"running","config":{"vcpus":2,"memory_mb":512}}"#;
    let lease = r#"{"timeout_ms":60000,"timeout_action":"destroy"}"#;
    let script = Script::new()
        .on("GET", "/v1/machines/mch_1", 200, &paused)
        .on("POST", "/v1/machines/mch_1/resume", 200, handle)
        .on("POST", "/v1/machines/mch_1/timeout", 200, lease);
    let minute = Value::Number(60.0);
    script
        .run(Machine::connect(&plain(&script), "mch_1", Some(&minute)))
        .unwrap();
    assert_eq!(script.sent()[1].timeout.as_secs(), 300);
    assert_eq!(script.sent()[2].body.as_deref(), Some(r#"{"timeout_ms":60000}"#));
    script.finished();
}

#[test]
fn the_dispatch_proof_is_repeated_on_exec_and_nowhere_else() {
    let script = Script::new()
        .on("POST", "/v1/machines", 201, MACHINE)
        .with_header("x-nullspace-dispatch-proof", "proof-abc")
        .on("POST", "/v1/machines/mch_1/exec", 200, DONE)
        .on("GET", "/v1/machines/mch_1", 200, MACHINE);
    let machine = create(&plain(&script), &[]).unwrap();
    run(&machine, "ls", None).unwrap();
    script.send(machine.plan(&machines::GET_INFO, &[], None)).unwrap();
    let proofs: Vec<_> = script
        .sent()
        .iter()
        .map(|r| Script::header(r, "X-Nullspace-Dispatch-Proof"))
        .collect();
    assert_eq!(proofs, [None, Some("proof-abc".to_owned()), None]);
}

#[test]
fn a_long_command_is_not_cut_by_the_http_limit_unless_one_was_given() {
    let script = Script::new()
        .on("POST", "/v1/machines", 201, MACHINE)
        .on("POST", "/v1/machines/mch_1/exec", 200, DONE)
        .on("POST", "/v1/machines/mch_1/exec", 200, DONE);
    let machine = create(&plain(&script), &[]).unwrap();
    let long = object(&[("timeout", Value::Number(600.0))]);
    run(&machine, "make", Some(&long)).unwrap();
    let limited = object(&[
        ("timeout", Value::Number(600.0)),
        ("requestTimeout", Value::Number(5.0)),
    ]);
    run(&machine, "make", Some(&limited)).unwrap();
    let limits: Vec<_> = script.sent().iter().map(|r| r.timeout.as_secs()).collect();
    assert_eq!(limits, [120, 610, 5]);
}

#[test]
fn run_once_tries_a_fresh_machine_five_times_and_always_destroys_it() {
    let failed = r#"{"error":"not yet","code":"exec_failed"}"#;
    let exec = "/v1/machines/mch_1/exec";
    let script = Script::new()
        .on("POST", "/v1/machines", 201, MACHINE)
        .on("POST", exec, 502, failed)
        .on("POST", exec, 200, DONE)
        .on("DELETE", "/v1/machines/mch_1", 200, "");
    let options = object(&[]);
    let fields = run_once_fields(&options).unwrap();
    script
        .run(Machine::run_once(
            &plain(&script),
            Once::read(&text("ls"), &fields, &Nowhere).unwrap(),
        ))
        .unwrap();
    assert_eq!(script.slept(), [250]);

    let mut script = Script::new().on("POST", "/v1/machines", 201, MACHINE);
    for _ in 0..5 {
        script = script.on("POST", exec, 502, failed);
    }
    script = script.on(
        "DELETE",
        "/v1/machines/mch_1",
        404,
        r#"{"error":"gone","code":"machine_not_found"}"#,
    );
    assert_eq!(
        error(script.run(Machine::run_once(
            &plain(&script),
            Once::read(&text("ls"), &fields, &Nowhere).unwrap()
        )))
        .code,
        "exec_failed"
    );
    script.finished();
}

#[test]
fn run_once_given_up_while_the_command_runs_destroys_its_machine() {
    let script = Script::new()
        .on("POST", "/v1/machines", 201, MACHINE)
        .expect("POST", "/v1/machines/mch_1/exec", Act::Hang)
        .on("DELETE", "/v1/machines/mch_1", 200, "");
    let client = plain(&script);
    let options = object(&[]);
    let fields = run_once_fields(&options).unwrap();
    assert!(script
        .poll(Machine::run_once(
            &client,
            Once::read(&text("sleep"), &fields, &Nowhere).unwrap()
        ))
        .is_none());
    script.run_tasks();
    script.finished();
}

#[test]
fn pages_repeat_the_filters_and_end_when_the_server_says_so() {
    let body = |rest: &str| format!(r#"{{"items":[{MACHINE}],{rest}}}"#);
    let script = Script::new()
        .on(
            "GET",
            "/v1/machines?limit=1&template=base",
            200,
            &body(r#""has_next":true,"next_token":"t 2""#),
        )
        .on(
            "GET",
            "/v1/machines?limit=1&template=base&next_token=t%202",
            200,
            &body(r#""has_next":false,"next_token":"t3""#),
        );
    let client = plain(&script);
    let query = object(&[("template", text("base"))]);
    let read = |more: &[(&str, Value)]| {
        let options = object(&[&[("limit", Value::Number(1.0)), ("query", query.clone())], more].concat());
        let list = list(&list_fields(&options).unwrap()).unwrap();
        script.send(page(&client, &list)).unwrap()
    };
    let first = read(&[]);
    assert_eq!(
        (&first["hasNext"], &first["nextToken"]),
        (&true.into(), &"t 2".into())
    );
    let last = read(&[("nextToken", text("t 2"))]);
    assert_eq!(
        (&last["items"][0]["id"], &last["hasNext"]),
        (&"mch_1".into(), &false.into())
    );
}

fn pool_of(script: &Script) -> Client<Script> {
    let client = plain(script);
    let id = [Some(text("twp_1"))];
    script.send(client.plan(&pools::GET, &id, None)).unwrap();
    client
}

#[test]
fn waiting_for_a_pool_looks_every_interval_and_ends_in_time() {
    let pool = |ready: u32| {
        format!(
            r#"{{"id":"twp_1","name":"p","template_ref":"base","resolved_template":"base","resources":{{"vcpus":2,"memory_mb":512}},"min_ready":2,"max_ready":2,"idle_timeout_seconds":600,"stale_after_seconds":900,"checkout_policy":"prefer","version_policy":"pinned_build","rollout_generation":0,"rollout_status":{{}},"status":{{"target":2,"ready":{ready},"warming":0,"claimed":0,"draining":0,"failed":0,"expired":0,"unavailable":0}},"state":"enabled","labels":{{}},"metadata":{{}},"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z"}}"#
        )
    };
    let path = "/v1/template-warm-pools/twp_1";
    let mut script = Script::new();
    for ready in [0, 0, 1, 2] {
        script = script.on("GET", path, 200, &pool(ready));
    }
    let found = pool_of(&script);
    let looks = std::cell::Cell::new(0);
    let options = object(&[]);
    let usual = wait(Some(&options)).unwrap();
    let info = script.run(wait_until_ready(&found, "twp_1", &usual, |_| {
        looks.set(looks.get() + 1);
        Ok(())
    }));
    assert_eq!(info.unwrap()["status"]["ready"], 2);
    assert_eq!((looks.get(), script.slept()), (3, vec![1000, 1000]));

    let mut script = Script::new();
    for _ in 0..4 {
        script = script.on("GET", path, 200, &pool(1));
    }
    let found = pool_of(&script);
    let short = object(&[("timeout", Value::Number(1.5))]);
    let short = wait(Some(&short)).unwrap();
    let late = error(script.run(wait_until_ready(&found, "twp_1", &short, |_| Ok(()))));
    assert_eq!((late.kind, late.code.as_str()), (Kind::Timeout, "timeout"));
    script.finished();
}
