//! Commands on their WebSocket over a scripted transport: every order of frames, and cuts at every boundary.

use std::time::Duration;

use nullspace::client::machine::Ran;
use nullspace::client::stream::{Event, Running};
use nullspace::core::error::Kind;
use nullspace::core::exec;
use nullspace::core::frames::Stream;
use nullspace::core::options::Value;
use nullspace::script::{Script, Side};
use nullspace::transport::Unopened;
use proptest::prelude::*;
use serde_json::{json, Value as Json};

use crate::support::{error, given, machine};

const HANDLE: &str = r#"{"id":"mch_1","status":"running","config":{"vcpus":2,"memory_mb":512}}"#;
const SOCKET: &str = "/v1/machines/mch_1/ws?channel=exec";

fn script() -> Script {
    Script::new().on("POST", "/v1/machines/mch_1/resume", 200, HANDLE)
}

fn frame(frame: Json) -> Side {
    Side::Frame(frame.to_string())
}

/// Everything a server says of a command that prints twice and ends with 3.
fn whole() -> Vec<Side> {
    vec![
        Side::Awaits("exec_start"),
        frame(json!({ "type": "exec_started", "id": "x", "pid": 7 })),
        frame(json!({ "type": "exec_stdout", "id": "x", "pid": 7, "data": "one" })),
        frame(json!({ "type": "exec_stderr", "id": "x", "pid": 7, "data": "two" })),
        frame(json!({ "type": "exec_exit", "id": "x", "pid": 7, "exit_code": 3 })),
    ]
}

fn events() -> Vec<Event<Json>> {
    vec![
        Event::Started(7),
        Event::Output(Stream::Stdout, json!("one"), None),
        Event::Output(Stream::Stderr, json!("two"), None),
        Event::Exit(3),
    ]
}

fn start(script: &Script, options: Json) -> Running<Script> {
    let request = exec::stream(&Value::Text("make".to_owned()), Some(&given(options))).unwrap();
    script.run(machine(script).stream(&request)).unwrap()
}

#[test]
fn a_stream_gives_every_event_in_order_and_then_ends() {
    let script = script().on_socket(SOCKET, Ok(whole()));
    let running = start(
        &script,
        json!({ "args": ["all"], "timeout": 5, "envs": { "A": "b" } }),
    );
    let mut seen = Vec::new();
    while let Some(event) = script.run(running.next()).unwrap() {
        seen.push(event);
    }
    assert_eq!(seen, events());
    assert!(script.run(running.next()).unwrap().is_none());
    drop(running);
    // Nothing is killed that has ended.
    let expected = json!({ "type": "exec_start", "id": "uuid-1", "command": "make", "args": ["all"],
        "timeout_secs": 5, "envs": { "A": "b" } });
    assert_eq!(script.frames(), [expected]);
    script.finished();
}

#[test]
fn a_cut_at_any_frame_is_an_error_and_never_an_exit_code() {
    for cut in 1..whole().len() {
        let mut script = script().on_socket(SOCKET, Ok(whole()[..cut].to_vec()));
        if cut > 1 {
            // Nobody hears it any more, so it is ended, as far as it is known.
            script = script.on("POST", "/v1/machines/mch_1/processes/7/kill", 204, "");
        }
        let running = start(&script, json!({}));
        for expected in &events()[..cut - 1] {
            assert_eq!(script.run(running.next()).unwrap().as_ref(), Some(expected));
        }
        let failed = error(script.run(running.next()));
        assert_eq!(
            (failed.kind, failed.code.as_str()),
            (Kind::Transport, "transport_error"),
            "after {cut} frames"
        );
        assert!(
            failed.message.contains("how the command ended is not known"),
            "{}",
            failed.message
        );
        assert!(script.run(running.next()).unwrap().is_none());
        script.finished();
    }
}

#[test]
fn a_command_that_is_wanted_unheard_goes_on_after_a_cut() {
    let script = script().on_socket(SOCKET, Ok(whole()[..2].to_vec()));
    let running = start(&script, json!({}));
    running.stay();
    assert_eq!(script.run(running.next()).unwrap(), Some(Event::Started(7)));
    error(script.run(running.next()));
    script.finished();
}

#[test]
fn a_server_that_falls_silent_is_given_up_after_the_commands_time() {
    let mut sides = whole()[..2].to_vec();
    sides.push(Side::Hang);
    let script =
        script()
            .on_socket(SOCKET, Ok(sides))
            .on("POST", "/v1/machines/mch_1/processes/7/kill", 204, "");
    let running = start(&script, json!({ "timeout": 5 }));
    assert_eq!(script.run(running.next()).unwrap(), Some(Event::Started(7)));
    let failed = error(script.run(running.next()));
    assert_eq!(failed.kind, Kind::Transport);
    assert!(failed.message.contains("silence"), "{}", failed.message);
}

#[test]
fn leaving_a_stream_kills_its_command() {
    let script = script().on_socket(SOCKET, Ok(whole()));
    let running = start(&script, json!({}));
    assert_eq!(script.run(running.next()).unwrap(), Some(Event::Started(7)));
    drop(running);
    assert_eq!(
        script.frames()[1],
        json!({ "type": "exec_kill", "id": "uuid-1", "pid": 7 })
    );
}

#[test]
fn a_command_that_was_taken_up_goes_on_when_it_is_left() {
    let mut sides = whole();
    sides[0] = Side::Awaits("exec_connect");
    let script = script().on_socket(SOCKET, Ok(sides));
    let running = script.run(machine(&script).connect_command(7)).unwrap();
    assert_eq!(script.run(running.started()).unwrap(), 7);
    drop(running);
    assert_eq!(
        script.frames(),
        [json!({ "type": "exec_connect", "id": "uuid-1", "pid": 7 })]
    );
}

#[test]
fn the_input_of_a_process_is_closed_over_a_socket_of_its_own() {
    let sides = vec![
        Side::Awaits("exec_connect"),
        frame(json!({ "type": "exec_started", "id": "x", "pid": 7 })),
        Side::Awaits("exec_stdin_close"),
    ];
    let script = script().on_socket(SOCKET, Ok(sides));
    script.run(machine(&script).close_stdin(7)).unwrap();
    assert_eq!(
        script.frames()[1],
        json!({ "type": "exec_stdin_close", "id": "uuid-1", "pid": 7 })
    );
}

#[test]
fn a_line_that_was_given_as_a_program_is_told_how_to_be_one() {
    let failed = json!({ "type": "error", "message": "no such file" });
    for (command, options, is_told) in [
        ("ls -la", json!({}), true),
        ("ls", json!({}), false),
        ("ls -la", json!({ "args": ["."] }), false),
        ("ls -la", json!({ "shell": true }), false),
    ] {
        let sides = vec![Side::Awaits("exec_start"), frame(failed.clone())];
        let script = script().on_socket(SOCKET, Ok(sides));
        let request = exec::stream(&Value::Text(command.to_owned()), Some(&given(options))).unwrap();
        let running = script.run(machine(&script).stream(&request)).unwrap();
        let failed = error(script.run(running.next()));
        let hint = failed.suggested_action.as_ref();
        assert_eq!(
            hint.is_some_and(|text| text.contains("`shell: true`")),
            is_told,
            "{request:?}"
        );
    }
}

#[test]
fn an_error_frame_carries_its_code() {
    for (said, code, kind) in [
        (json!({ "message": "no such file" }), "exec_failed", Kind::Other),
        (
            json!({ "message": "gone", "code": "machine_not_found" }),
            "machine_not_found",
            Kind::NotFound,
        ),
    ] {
        let mut said = said;
        said["type"] = json!("error");
        let script = script().on_socket(SOCKET, Ok(vec![Side::Awaits("exec_start"), frame(said.clone())]));
        let running = start(&script, json!({}));
        let failed = error(script.run(running.next()));
        assert_eq!((failed.kind, failed.code.as_str()), (kind, code));
        assert_eq!(json!(failed.message), said["message"]);
    }
}

#[test]
fn frames_without_what_they_need_are_refused_by_name() {
    for (bad, what) in [
        (json!({}), "`type`"),
        (json!({ "type": "exec_started" }), "`pid`"),
        (json!({ "type": "exec_started", "pid": -1 }), "`pid`"),
        (json!({ "type": "exec_stdout" }), "`data`"),
        (json!({ "type": "exec_exit" }), "`exit_code`"),
        (json!({ "type": "exec_exit", "exit_code": "0" }), "`exit_code`"),
    ] {
        let script = script().on_socket(SOCKET, Ok(vec![Side::Awaits("exec_start"), frame(bad.clone())]));
        let running = start(&script, json!({}));
        let failed = error(script.run(running.next()));
        assert_eq!(failed.kind, Kind::InvalidResponse, "{bad}");
        assert!(failed.message.contains(what), "{}", failed.message);
    }
}

#[test]
fn output_that_is_no_text_comes_with_its_bytes() {
    let mut sides = whole();
    let bytes =
        json!({ "type": "exec_stdout", "id": "x", "pid": 7, "data": "a\u{fffd}", "data_base64": "Yf8=" });
    sides.insert(2, frame(bytes));
    let script = script().on_socket(SOCKET, Ok(sides));
    let running = start(&script, json!({}));
    assert_eq!(script.run(running.next()).unwrap(), Some(Event::Started(7)));
    assert_eq!(
        script.run(running.next()).unwrap(),
        Some(Event::Output(
            Stream::Stdout,
            json!("a\u{fffd}"),
            Some(json!("Yf8="))
        ))
    );
}

#[test]
fn frames_of_a_newer_server_are_passed_over() {
    let mut sides = whole();
    sides.insert(2, frame(json!({ "type": "exec_progress", "percent": 3 })));
    let script = script().on_socket(SOCKET, Ok(sides));
    let running = start(&script, json!({}));
    let mut seen = Vec::new();
    while let Some(event) = script.run(running.next()).unwrap() {
        seen.push(event);
    }
    assert_eq!(seen, events());
}

fn refused(status: u16, body: &str) -> Result<Vec<Side>, Unopened> {
    Err(Unopened::Refused {
        status,
        body: body.to_owned(),
        request_id: Some("req_1".to_owned()),
    })
}

#[test]
fn a_refused_socket_says_why_by_code_else_by_status() {
    for (status, body, kind, code) in [
        (401, "", Kind::Auth, "unauthorized"),
        (403, "no", Kind::Auth, "forbidden"),
        (
            404,
            r#"{"error":"gone","code":"machine_not_found"}"#,
            Kind::NotFound,
            "machine_not_found",
        ),
        (418, "tea", Kind::Other, "websocket_upgrade_error"),
        (429, "", Kind::RateLimit, "rate_limit_exceeded"),
        (501, "", Kind::NotImplemented, "not_implemented"),
    ] {
        let script = script().on_socket(SOCKET, refused(status, body));
        let request = exec::stream(&Value::Text("ls".to_owned()), None).unwrap();
        let failed = error(script.run(machine(&script).stream(&request)));
        assert_eq!(
            (failed.kind, failed.code.as_str(), failed.status),
            (kind, code, Some(status))
        );
        assert_eq!(failed.request_id.as_deref(), Some("req_1"));
        // None of them is tried again.
        assert_eq!(script.opened().len(), 1);
        assert!(script.slept().is_empty());
    }
}

#[test]
fn a_socket_that_does_not_open_is_tried_three_times() {
    let lost = || {
        Err(Unopened::Failed {
            reason: "connection refused".to_owned(),
        })
    };
    let three = script()
        .on_socket(SOCKET, lost())
        .on_socket(SOCKET, refused(502, "bad gateway"))
        .on_socket(SOCKET, lost());
    let request = exec::stream(&Value::Text("ls".to_owned()), None).unwrap();
    let failed = error(three.run(machine(&three).stream(&request)));
    assert_eq!(
        (failed.kind, failed.message.as_str()),
        (Kind::Transport, "execStream failed: connection refused")
    );
    assert_eq!(three.slept(), [250, 500]);
    three.finished();

    let second = script().on_socket(SOCKET, lost()).on_socket(SOCKET, Ok(whole()));
    assert_eq!(
        second.run(start(&second, json!({})).next()).unwrap(),
        Some(Event::Started(7))
    );
    assert_eq!(second.opened()[1].timeout, Duration::from_secs(15));
}

#[test]
fn a_runtime_without_websockets_is_told_which_option_helps() {
    let script = script().on_socket(
        SOCKET,
        Err(Unopened::Unusable {
            reason: "is needed here".to_owned(),
        }),
    );
    let request = exec::stream(&Value::Text("ls".to_owned()), None).unwrap();
    let failed = error(script.run(machine(&script).stream(&request)));
    assert_eq!(failed.message, "option `WebSocket` is needed here");
    assert_eq!(script.opened().len(), 1);
}

#[test]
fn callbacks_choose_the_socket_and_the_rest_does_not() {
    let heard = script().on_socket(SOCKET, Ok(whole()));
    let options = Value::Object(vec![(
        "onStdout".to_owned(),
        Value::Opaque("a function".to_owned()),
    )]);
    let ran = heard
        .run(machine(&heard).execute(exec::run(&Value::Text("make".to_owned()), Some(&options)).unwrap()))
        .unwrap();
    assert!(matches!(
        ran,
        Ran::Heard {
            background: false,
            ..
        }
    ));
    let wrong = exec::run(
        &Value::Text("make".to_owned()),
        Some(&given(json!({ "onStderr": "print" }))),
    );
    assert!(wrong
        .err()
        .unwrap()
        .message
        .contains("`onStderr` must be a function"));
}

proptest! {
    /// Whatever a server sends as a frame: an event or an error, never a panic, and an exit only where one was sent.
    #[test]
    fn fuzz_any_frame_is_read_or_refused(kind in "exec_(started|stdout|stderr|exit)|error|pty_(started|output|exited)|\\PC{0,8}", fields in prop::collection::btree_map("pid|data|exit_code|message|code|session_id|data_base64", "\\PC{0,6}|-?[0-9]{1,12}", 0..6), numbers in any::<bool>()) {
        let mut frame = json!({ "type": kind });
        for (name, text) in fields {
            frame[&name] = match text.parse::<f64>() {
                Ok(number) if numbers => json!(number),
                _ => json!(text),
            };
        }
        if let Ok(nullspace::core::frames::Exec::Exit(code)) = nullspace::core::frames::exec(&frame) {
            prop_assert_eq!(frame["exit_code"].as_f64(), Some(f64::from(code)));
        }
        let _ = nullspace::core::frames::pty(&frame);
    }
}
