//! WebSockets over real connections: streamed commands, terminals, lifecycle events.

use std::time::{Duration, Instant};

use crate::support::{until, Served, KEY};
use base64::Engine as _;
use futures_util::{SinkExt, StreamExt};
use serde_json::{json, Value};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{connect_async, MaybeTlsStream, WebSocketStream};

/// A client socket that knows JSON frames.
struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn try_open(
        served: &Served,
        path: &str,
        headers: &[(&'static str, String)],
    ) -> Result<Self, SocketError> {
        let mut request = format!("{}{path}", served.url.replace("http", "ws"))
            .into_client_request()
            .unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        Ok(Self(connect_async(request).await?.0))
    }

    async fn open(served: &Served, path: &str) -> Self {
        Self::try_open(served, path, &[("authorization", format!("Bearer {KEY}"))])
            .await
            .unwrap()
    }

    async fn send(&mut self, frame: Value) {
        self.0
            .send(Message::Text(frame.to_string().into()))
            .await
            .unwrap();
    }

    /// The next frame; `None` after the close.
    async fn next(&mut self) -> Option<Value> {
        let next = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => {
                        assert!(text.len() < 1 << 20, "clients refuse frames of 1 MiB");
                        return Some(serde_json::from_str(&text).unwrap());
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(_)) => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), next)
            .await
            .expect("a frame in time")
    }

    /// All frames until the close; output of each stream joined.
    async fn rest(&mut self) -> (String, String, Vec<Value>) {
        let (mut out, mut err, mut others) = (String::new(), String::new(), Vec::new());
        while let Some(frame) = self.next().await {
            match frame["type"].as_str().unwrap() {
                "exec_stdout" => out.push_str(frame["data"].as_str().unwrap()),
                "exec_stderr" => err.push_str(frame["data"].as_str().unwrap()),
                _ => others.push(frame),
            }
        }
        (out, err, others)
    }
}

fn shell(text: &str) -> Value {
    json!({ "type": "exec_start", "id": "exec_1", "command": text, "args": [], "timeout_secs": 30, "shell": true })
}

async fn exec_socket(served: &Served) -> (String, Client) {
    let id = served.create(json!({})).await;
    let client = Client::open(served, &format!("/v1/machines/{id}/ws?channel=exec")).await;
    (id, client)
}

#[tokio::test]
async fn a_streamed_command_prints_as_it_runs_and_ends_with_its_code() {
    let served = Served::start().await;
    let (id, mut client) = exec_socket(&served).await;
    client
        .send(shell("echo one; sleep 0.3; echo two >&2; exit 5"))
        .await;
    let started = client.next().await.unwrap();
    let pid = started["pid"].as_u64().unwrap();
    assert_eq!(
        started,
        json!({ "type": "exec_started", "id": "exec_1", "pid": pid })
    );
    let begun = Instant::now();
    let first = client.next().await.unwrap();
    assert_eq!(
        first,
        json!({ "type": "exec_stdout", "id": "exec_1", "pid": pid, "data": "one\n" })
    );
    assert!(
        begun.elapsed() < Duration::from_millis(250),
        "output waited for the end"
    );
    let (_, err, others) = client.rest().await;
    assert_eq!(err, "two\n");
    assert_eq!(
        others,
        [json!({ "type": "exec_exit", "id": "exec_1", "pid": pid, "exit_code": 5 })]
    );
    let logs = served
        .get(&format!("/v1/machines/{id}/processes/{pid}/logs"))
        .await
        .expect(200);
    assert_eq!(
        logs,
        json!({ "stdout": "one\n", "stderr": "two\n", "output": "one\ntwo\n", "exit_code": 5 })
    );
    served.stop().await;
}

#[tokio::test]
async fn characters_arrive_whole_and_nothing_is_lost_in_much_output() {
    let served = Served::start().await;
    let (_, mut client) = exec_socket(&served).await;
    // 3 bytes a character: no buffer size of the way is a multiple of it.
    client.send(shell("yes € | head -c 3000000 | tr -d '\\n'")).await;
    let (out, _, others) = client.rest().await;
    assert!(out.chars().all(|c| c == '€'), "a character was split");
    assert_eq!(out.len(), 3_000_000 / 4 * 3);
    assert_eq!(others.last().unwrap()["exit_code"], 0);
    served.stop().await;
}

#[tokio::test]
async fn a_slow_client_slows_the_command_down_and_misses_nothing() {
    let served = Served::start().await;
    let (id, mut client) = exec_socket(&served).await;
    client
        .send(shell("head -c 20000000 /dev/zero | tr '\\0' x; touch done"))
        .await;
    client.next().await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    // Nobody read: the command cannot be through, since only a few buffers are between.
    assert_eq!(served.shell(&id, "ls").await["stdout"], "");
    let (out, _, others) = client.rest().await;
    assert_eq!((out.len(), &others[0]["exit_code"]), (20_000_000, &json!(0)));
    served.stop().await;
}

#[tokio::test]
async fn input_reaches_the_command_and_its_end_too() {
    let served = Served::start().await;
    let (_, mut client) = exec_socket(&served).await;
    client.send(shell("cat; echo end")).await;
    let pid = client.next().await.unwrap()["pid"].clone();
    client
        .send(json!({ "type": "exec_stdin", "id": "exec_1", "pid": pid, "data": "héllo" }))
        .await;
    assert_eq!(client.next().await.unwrap()["data"], "héllo");
    client
        .send(json!({ "type": "exec_stdin_close", "id": "exec_1", "pid": pid }))
        .await;
    let (out, _, others) = client.rest().await;
    assert_eq!((out.as_str(), &others[0]["exit_code"]), ("end\n", &json!(0)));
    served.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_text_pass_unchanged_both_ways() {
    let served = Served::start().await;
    let (_, mut client) = exec_socket(&served).await;
    client.send(shell("cat; printf 'e\\377' >&2")).await;
    let pid = client.next().await.unwrap()["pid"].clone();
    // The bytes 61 ff 62 0a.
    client
        .send(json!({ "type": "exec_stdin", "id": "exec_1", "pid": pid, "data_base64": "Yf9iCg==" }))
        .await;
    assert_eq!(
        client.next().await.unwrap(),
        json!({ "type": "exec_stdout", "id": "exec_1", "pid": pid, "data": "a\u{fffd}b\n", "data_base64": "Yf9iCg==" })
    );
    client
        .send(json!({ "type": "exec_stdin", "id": "exec_1", "pid": pid, "data_base64": "no base64" }))
        .await;
    assert_eq!(client.next().await.unwrap()["code"], "invalid_request");
    client
        .send(json!({ "type": "exec_stdin", "id": "exec_1", "pid": pid, "data": "text\n" }))
        .await;
    assert_eq!(
        client.next().await.unwrap(),
        json!({ "type": "exec_stdout", "id": "exec_1", "pid": pid, "data": "text\n" })
    );
    client
        .send(json!({ "type": "exec_stdin_close", "id": "exec_1", "pid": pid }))
        .await;
    assert_eq!(
        client.next().await.unwrap(),
        json!({ "type": "exec_stderr", "id": "exec_1", "pid": pid, "data": "e\u{fffd}", "data_base64": "Zf8=" })
    );
    served.stop().await;
}

#[tokio::test]
async fn output_that_is_wanted_as_bytes_comes_as_it_is_printed() {
    let served = Served::start().await;
    let (_, mut client) = exec_socket(&served).await;
    let mut start = shell("printf 'a\\303'; sleep 0.3; printf '\\251\\377'");
    start["encoding"] = "base64".into();
    client.send(start).await;
    let pid = client.next().await.unwrap()["pid"].clone();
    // Half a character does not wait for the other half.
    for bytes in ["YcM=", "qf8="] {
        assert_eq!(
            client.next().await.unwrap(),
            json!({ "type": "exec_stdout", "id": "exec_1", "pid": pid, "data": "", "data_base64": bytes })
        );
    }
    assert_eq!(client.next().await.unwrap()["exit_code"], 0);
    let (_, mut client) = exec_socket(&served).await;
    let mut start = shell("true");
    start["encoding"] = "utf8".into();
    client.send(start).await;
    assert_eq!(client.next().await.unwrap()["code"], "invalid_request");
    served.stop().await;
}

#[tokio::test]
async fn a_command_outlives_its_socket_and_can_be_attached_and_killed() {
    let served = Served::start().await;
    let (id, mut client) = exec_socket(&served).await;
    client
        .send(shell(
            "echo first; while [ ! -e go ]; do sleep 0.05; done; echo second; sleep 60",
        ))
        .await;
    let pid = client.next().await.unwrap()["pid"].clone();
    assert_eq!(client.next().await.unwrap()["data"], "first\n");
    drop(client);
    let path = format!("/v1/machines/{id}/ws?channel=exec");
    let mut again = Client::open(&served, &path).await;
    again
        .send(json!({ "type": "exec_connect", "id": "exec_2", "pid": pid }))
        .await;
    assert_eq!(
        again.next().await.unwrap(),
        json!({ "type": "exec_started", "id": "exec_2", "pid": pid })
    );
    served.shell(&id, "touch go").await;
    assert_eq!(again.next().await.unwrap()["data"], "second\n");
    again
        .send(json!({ "type": "exec_kill", "id": "exec_2", "pid": pid }))
        .await;
    let (_, _, others) = again.rest().await;
    assert_eq!(
        others,
        [json!({ "type": "exec_exit", "id": "exec_2", "pid": pid, "exit_code": 137 })]
    );

    // A command that has ended is told so at once; one that never was is an error.
    let mut late = Client::open(&served, &path).await;
    late.send(json!({ "type": "exec_connect", "id": "exec_3", "pid": pid }))
        .await;
    let (_, _, others) = late.rest().await;
    assert_eq!(others[1]["exit_code"], 137);
    let mut lost = Client::open(&served, &path).await;
    lost.send(json!({ "type": "exec_connect", "id": "exec_4", "pid": 99_999_999 }))
        .await;
    let error = lost.next().await.unwrap();
    assert_eq!(
        (&error["type"], &error["id"], &error["code"]),
        (&json!("error"), &json!("exec_4"), &json!("not_found"))
    );
    served.stop().await;
}

#[tokio::test]
async fn a_streamed_command_over_its_limit_ends_with_an_error_frame() {
    let served = Served::start().await;
    let (_, mut client) = exec_socket(&served).await;
    let mut start = shell("echo before; sleep 60");
    start["timeout_secs"] = json!(1);
    client.send(start).await;
    let (out, _, others) = client.rest().await;
    assert_eq!(out, "before\n");
    assert_eq!(
        (&others[1]["type"], &others[1]["code"]),
        (&json!("error"), &json!("exec_timeout"))
    );
    served.stop().await;
}

#[tokio::test]
async fn wrong_frames_are_answered_and_do_not_end_the_socket() {
    let served = Served::start().await;
    let (_, mut client) = exec_socket(&served).await;
    for (frame, word) in [
        (json!("no object"), "exec_start"),
        (json!({ "type": "exec_stdin", "id": "x" }), "exec_start"),
        (json!({ "type": "exec_start", "id": "x" }), "command"),
        (
            json!({ "type": "exec_start", "id": "x", "command": "ls", "args": ["-l"], "shell": true }),
            "args",
        ),
        (
            json!({ "type": "exec_connect", "id": "x", "pid": "seven" }),
            "pid",
        ),
    ] {
        client.send(frame).await;
        let error = client.next().await.unwrap();
        assert_eq!(error["type"], "error");
        assert!(error["message"].as_str().unwrap().contains(word), "{error}");
    }
    client.send(shell("echo fine")).await;
    assert_eq!(client.rest().await.0, "fine\n");
    served.stop().await;
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn changes_of_files_are_told() {
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    let mut client = Client::open(&served, &format!("/v1/machines/{id}/ws")).await;
    let watch = |path: &str| json!({ "type": "file_watch", "id": "w", "path": path, "user": null, "recursive": true });
    client.send(watch("missing")).await;
    assert_eq!(client.next().await.unwrap()["type"], "error");
    client.send(watch("/workspace")).await;
    let started = client.next().await.unwrap();
    assert_eq!(started, json!({ "type": "file_watch_started", "id": "w" }));
    served.shell(&id, "mkdir d && sleep 0.2 && echo x > d/f").await;
    let created = json!({ "type": "file_event", "id": "w", "event": "create", "name": "d/f", "path": "/workspace/d/f" });
    while client.next().await.expect("the event") != created {}
}

#[tokio::test]
async fn refusals_come_before_the_upgrade_with_their_status() {
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    let path = format!("/v1/machines/{id}/ws?channel=exec");
    let bearer = || ("authorization", format!("Bearer {KEY}"));
    let status = |result: Result<Client, SocketError>| match result.err().expect("a refusal") {
        SocketError::Http(response) => response.status().as_u16(),
        other => panic!("{other}"),
    };
    assert_eq!(status(Client::try_open(&served, &path, &[]).await), 401);
    let foreign = ("origin", "https://evil.example".to_owned());
    assert_eq!(
        status(Client::try_open(&served, &path, &[bearer(), foreign]).await),
        403
    );
    let missing = Client::try_open(&served, "/v1/machines/mch_0/ws?channel=exec", &[bearer()]).await;
    assert_eq!(status(missing), 404);
    let unknown = Client::try_open(&served, &format!("/v1/machines/{id}/ws?channel=x"), &[bearer()]).await;
    assert_eq!(status(unknown), 400);

    // A browser cannot set headers: it sends the key as a subprotocol and is answered with the other one.
    let offer = |key: &str| {
        let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key);
        (
            "sec-websocket-protocol",
            format!("nullspace.v1, nullspace.bearer.{encoded}"),
        )
    };
    assert_eq!(
        status(Client::try_open(&served, &path, &[offer("wrong")]).await),
        401
    );
    let mut client = Client::try_open(&served, &path, &[offer(KEY)]).await.unwrap();
    client.send(shell("echo in")).await;
    assert_eq!(client.rest().await.0, "in\n");
    served.stop().await;
}

#[tokio::test]
async fn the_end_of_the_machine_ends_its_sockets() {
    let served = Served::start().await;
    let (id, mut client) = exec_socket(&served).await;
    client.send(shell("sleep 60")).await;
    client.next().await.unwrap();
    served.delete(&format!("/v1/machines/{id}")).await.expect(200);
    let (_, _, others) = client.rest().await;
    assert_eq!(
        (&others[0]["type"], &others[0]["code"]),
        (&json!("error"), &json!("machine_not_ready"))
    );
    served.stop().await;
}

#[tokio::test]
async fn the_end_of_the_engine_ends_open_sockets() {
    let served = Served::start().await;
    let (_, mut client) = exec_socket(&served).await;
    client.send(shell("sleep 60")).await;
    client.next().await.unwrap();
    served.stop().await;
    assert!(client.rest().await.2.iter().all(|frame| frame["type"] == "error"));
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn a_terminal_survives_its_socket() {
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    let path = format!("/v1/machines/{id}/ws?channel=pty");
    let mut client = Client::open(&served, &path).await;
    client
        .send(json!({ "type": "pty_start", "id": "pty_1", "cols": 80, "rows": 24, "envs": { "T": "1" } }))
        .await;
    let started = client.next().await.unwrap();
    let session = started["session_id"].as_str().unwrap().to_owned();
    assert_eq!(
        (&started["type"], &started["cols"], &started["rows"]),
        (&json!("pty_started"), &json!(80), &json!(24))
    );
    let listed = served.get(&format!("/v1/machines/{id}/pty")).await.expect(200);
    assert_eq!(
        (&listed[0]["session_id"], &listed[0]["pid"]),
        (&json!(session), &started["pid"])
    );
    drop(client);

    let mut again = Client::open(&served, &path).await;
    again
        .send(json!({ "type": "pty_connect", "id": "pty_2", "session_id": session }))
        .await;
    assert_eq!(again.next().await.unwrap()["session_id"], session.as_str());
    let input = base64::engine::general_purpose::STANDARD.encode("echo t=$T\n");
    let frame = |kind: &str| json!({ "type": kind, "id": "pty_2", "session_id": session });
    let mut typed = frame("pty_input");
    typed["data_base64"] = input.into();
    again.send(typed).await;
    let output = again.next().await.unwrap();
    assert_eq!(
        (&output["type"], &output["data"]),
        (&json!("pty_output"), &json!("t=1\n"))
    );
    assert_eq!(
        output["data_base64"],
        base64::engine::general_purpose::STANDARD.encode("t=1\n")
    );

    let mut resized = frame("pty_resize");
    (resized["cols"], resized["rows"]) = (json!(100), json!(40));
    again.send(resized).await;
    let one = format!("/v1/machines/{id}/pty/{session}");
    until("it has the new size", async || {
        served.get(&one).await.expect(200)["cols"] == 100
    })
    .await;
    served
        .post(&format!("{one}/resize"), json!({ "cols": 10, "rows": 10 }))
        .await
        .expect(204);
    assert_eq!(served.get(&one).await.expect(200)["rows"], 10);
    served
        .post(&format!("{one}/resize"), json!({ "cols": 0, "rows": 10 }))
        .await
        .refused(400, "invalid_request");

    again.send(frame("pty_kill")).await;
    let exited = again.next().await.unwrap();
    assert_eq!(
        exited,
        json!({ "type": "pty_exited", "id": "pty_2", "session_id": session, "exit_code": 137 })
    );
    served.get(&one).await.refused(404, "not_found");
    assert_eq!(
        served.get(&format!("/v1/machines/{id}/pty")).await.expect(200),
        json!([])
    );

    let mut wrong = Client::open(&served, &path).await;
    for frame in [
        json!({ "type": "pty_start", "id": "x", "cols": 0 }),
        json!({ "type": "pty_connect", "id": "x" }),
        json!({ "type": "pty_connect", "id": "x", "session_id": "pty_0" }),
    ] {
        wrong.send(frame).await;
        assert_eq!(wrong.next().await.unwrap()["type"], "error");
    }
    served.stop().await;
}

#[tokio::test]
async fn lifecycle_events_come_live_and_go_on_after_the_last_one_seen() {
    let served = Served::start().await;
    let mut live = Client::open(&served, "/v1/lifecycle/ws").await;
    live.send(json!({ "type": "subscribe", "live_only": true, "replay_limit": 100 }))
        .await;
    let subscribed = live.next().await.unwrap();
    assert_eq!(subscribed["type"], "subscribed");
    assert_eq!(
        subscribed["subscription"],
        json!({ "live_only": true, "replay_limit": 100 })
    );
    let id = served.create(json!({})).await;
    let first = live.next().await.unwrap();
    assert_eq!(
        (&first["type"], &first["event"]["operation"]),
        (&json!("event"), &json!("create"))
    );
    assert_eq!(first["event"]["machine_id"], id.as_str());
    drop(live);
    served
        .post(
            &format!("/v1/machines/{id}/timeout"),
            json!({ "timeout_ms": 60_000 }),
        )
        .await
        .expect(200);

    let mut again = Client::open(&served, &format!("/v1/machines/{id}/lifecycle/ws")).await;
    again
        .send(json!({ "type": "subscribe", "live_only": false, "after_event_id": first["event"]["id"] }))
        .await;
    again.next().await.unwrap();
    assert_eq!(
        again.next().await.unwrap()["event"]["operation"],
        "timeout_updated"
    );
    served.create(json!({})).await;
    served.delete(&format!("/v1/machines/{id}")).await.expect(200);
    assert_eq!(
        again.next().await.unwrap()["event"]["operation"],
        "destroy",
        "other machines are not heard"
    );

    let mut replay = Client::open(&served, "/v1/lifecycle/ws").await;
    replay
        .send(json!({ "type": "subscribe", "operation": "explode" }))
        .await;
    assert_eq!(replay.next().await.unwrap()["type"], "error");
    replay
        .send(json!({ "type": "subscribe", "live_only": false, "replay_limit": 2 }))
        .await;
    replay.next().await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(replay.next().await.unwrap()["event"]["operation"].clone());
    }
    assert_eq!(seen, ["create", "destroy"]);
    served.stop().await;
}

#[tokio::test]
async fn a_cursor_leaves_no_hole_however_small_the_replay_limit() {
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    let first = served.get("/v1/lifecycle/events").await.expect(200)["events"][0]["id"].clone();
    for secs in 1..=7 {
        let body = json!({ "timeout_ms": 100_000 + secs });
        served
            .post(&format!("/v1/machines/{id}/timeout"), body)
            .await
            .expect(200);
    }
    let mut client = Client::open(&served, "/v1/lifecycle/ws").await;
    client
        .send(json!({ "type": "subscribe", "live_only": false, "after_event_id": first, "replay_limit": 2 }))
        .await;
    assert_eq!(client.next().await.unwrap()["type"], "subscribed");
    for _ in 1..=7 {
        assert_eq!(
            client.next().await.unwrap()["event"]["operation"],
            "timeout_updated"
        );
    }
    // An id that is gone is no cursor: the newest of the past, in order, up to the limit.
    let mut lost = Client::open(&served, "/v1/lifecycle/ws").await;
    lost.send(
        json!({ "type": "subscribe", "live_only": false, "after_event_id": "gone", "replay_limit": 2 }),
    )
    .await;
    lost.next().await.unwrap();
    for _ in 1..=2 {
        assert_eq!(
            lost.next().await.unwrap()["event"]["operation"],
            "timeout_updated"
        );
    }
    served.delete(&format!("/v1/machines/{id}")).await;
    assert_eq!(lost.next().await.unwrap()["event"]["operation"], "destroy");
    served.stop().await;
}

#[tokio::test]
async fn a_stream_can_ask_for_the_machines_of_a_project() {
    let served = Served::start().await;
    let other = served.create(json!({ "metadata": { "project": "other" } })).await;
    let docs = served
        .create(json!({ "metadata": { "project": "docs", "n": 1 } }))
        .await;
    let ask = json!({ "type": "subscribe", "live_only": false, "metadata": { "project": "docs" } });
    let mut client = Client::open(&served, "/v1/lifecycle/ws").await;
    client.send(json!({ "type": "subscribe", "metadata": 7 })).await;
    assert_eq!(client.next().await.unwrap()["type"], "error");
    client.send(ask).await;
    assert_eq!(client.next().await.unwrap()["type"], "subscribed");
    for id in [&other, &docs] {
        served.delete(&format!("/v1/machines/{id}")).await;
    }
    for operation in ["create", "destroy"] {
        let event = client.next().await.unwrap()["event"].clone();
        assert_eq!(
            (&event["operation"], &event["machine_id"]),
            (&json!(operation), &json!(docs))
        );
        assert_eq!(event["metadata"], json!({ "project": "docs", "n": 1 }));
    }
    served.stop().await;
}
