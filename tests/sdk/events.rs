//! Streams of lifecycle events and the monitor over a scripted transport: cuts at every frame, repeats, refusals.

use nullspace::client::events::Feed;
use nullspace::core::error::Kind;
use nullspace::core::options::Fields;
use nullspace::core::{events, monitor};
use nullspace::script::{Script, Side};
use nullspace::transport::Unopened;
use serde_json::{json, Value as Json};

use crate::support::{client, error, given};

const PATH: &str = "/v1/lifecycle/ws";

fn frame(frame: Json) -> Side {
    Side::Frame(frame.to_string())
}

fn subscribed() -> Side {
    frame(json!({ "type": "subscribed", "subscription": {}, "reconnect_mode": "cursor_replay" }))
}

fn event(id: &str) -> Side {
    frame(json!({ "type": "event", "event": {
        "id": id, "occurred_at": "2026-01-02T03:04:05Z", "audience": "customer", "operation": "create",
        "status": "succeeded", "actor_kind": "user", "metadata": {}, "machine_id": "mch_1"
    } }))
}

fn stream(script: &Script, options: Json) -> Feed<Script> {
    let options = given(options);
    let fields = Fields::new("", Some(&options), &[&events::STREAM, &events::SCOPE]).unwrap();
    Feed::events(client(script), events::stream(&fields).unwrap())
}

fn next(script: &Script, feed: &Feed<Script>) -> String {
    let event = script.run(feed.next()).unwrap().expect("an event");
    // Decoded: JavaScript's names.
    assert_eq!(event["machineId"], "mch_1");
    event["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_stream_asks_for_the_past_and_tells_events_in_order() {
    let sides = vec![
        Side::Awaits("subscribe"),
        subscribed(),
        event("e1"),
        event("e2"),
        Side::Hang,
    ];
    let script = Script::new().on_socket(PATH, Ok(sides));
    let feed = stream(
        &script,
        json!({ "operation": "create", "machineId": "mch_1", "metadata": { "a": 1 } }),
    );
    assert_eq!([next(&script, &feed), next(&script, &feed)], ["e1", "e2"]);
    let asked = json!({ "type": "subscribe", "operation": "create", "machine_id": "mch_1", "live_only": false,
        "replay_limit": 100, "metadata": { "a": 1 } });
    assert_eq!(script.frames(), [asked]);
    assert!(script.poll(feed.next()).is_none(), "it waits for more");
    feed.close();
    assert!(script.run(feed.next()).unwrap().is_none());
    script.finished();
}

#[test]
fn a_cut_after_any_frame_goes_on_behind_the_last_event_and_repeats_none() {
    let whole = [
        Side::Awaits("subscribe"),
        subscribed(),
        event("e1"),
        event("e2"),
        event("e3"),
    ];
    for cut in 2..=whole.len() {
        // The server repeats the last event, and then sends what is left.
        let heard = cut - 2;
        let mut rest = vec![Side::Awaits("subscribe"), subscribed()];
        rest.extend(whole[2 + heard.saturating_sub(1)..].iter().cloned());
        rest.push(event("e4"));
        let script = Script::new()
            .on_socket(PATH, Ok(whole[..cut].to_vec()))
            .on_socket(PATH, Ok(rest));
        let feed = stream(&script, json!({ "replayLimit": 7 }));
        let seen: Vec<String> = (0..4).map(|_| next(&script, &feed)).collect();
        assert_eq!(seen, ["e1", "e2", "e3", "e4"], "cut after {cut}");
        let again = &script.frames()[1];
        match heard {
            0 => assert_eq!(
                again,
                &json!({ "type": "subscribe", "live_only": false, "replay_limit": 7 })
            ),
            n => assert_eq!(
                again,
                &json!({ "type": "subscribe", "live_only": false, "replay_limit": 7,
                    "after_event_id": format!("e{n}") })
            ),
        }
        assert_eq!(script.slept(), [250]);
        script.finished();
    }
}

#[test]
fn waits_double_to_five_seconds_until_something_comes() {
    let mut script = Script::new().on_socket(PATH, Ok(vec![subscribed(), event("e1")]));
    for _ in 0..6 {
        script = script.on_socket(PATH, Ok(vec![subscribed()]));
    }
    script = script
        .on_socket(PATH, Ok(vec![subscribed(), event("e2")]))
        .on_socket(PATH, Ok(vec![subscribed(), event("e3")]));
    let feed = stream(&script, json!({}));
    for id in ["e1", "e2", "e3"] {
        assert_eq!(next(&script, &feed), id);
    }
    assert_eq!(script.slept(), [250, 500, 1000, 2000, 4000, 5000, 5000, 250]);
}

#[test]
fn a_server_that_is_away_for_a_while_is_waited_for() {
    let away = || Unopened::Failed {
        reason: "refused".into(),
    };
    let ill = || Unopened::Refused {
        status: 503,
        body: String::new(),
        request_id: None,
    };
    let mut script = Script::new().on_socket(PATH, Ok(vec![subscribed(), event("e1")]));
    // Each opening tries three times.
    for refusal in [away(), away(), away(), ill(), ill(), ill()] {
        script = script.on_socket(PATH, Err(refusal));
    }
    script = script.on_socket(PATH, Ok(vec![subscribed(), event("e2")]));
    let feed = stream(&script, json!({}));
    assert_eq!([next(&script, &feed), next(&script, &feed)], ["e1", "e2"]);
    script.finished();
}

#[test]
fn a_refusal_ends_a_stream_at_once() {
    let refused = |status| Unopened::Refused {
        status,
        body: String::new(),
        request_id: None,
    };
    for (status, kind) in [(401, Kind::Auth), (404, Kind::Other), (501, Kind::NotImplemented)] {
        let first = Script::new().on_socket(PATH, Err(refused(status)));
        assert_eq!(error(first.run(stream(&first, json!({})).next())).kind, kind);
        assert!(first.slept().is_empty());
        let later = Script::new()
            .on_socket(PATH, Ok(vec![subscribed(), event("e1")]))
            .on_socket(PATH, Err(refused(status)));
        let feed = stream(&later, json!({}));
        next(&later, &feed);
        assert_eq!(error(later.run(feed.next())).kind, kind);
    }
    // A first connection that cannot be made is an error, not a wait without end.
    let away = || {
        Err(Unopened::Failed {
            reason: "refused".into(),
        })
    };
    let script = Script::new()
        .on_socket(PATH, away())
        .on_socket(PATH, away())
        .on_socket(PATH, away());
    assert_eq!(
        error(script.run(stream(&script, json!({})).next())).kind,
        Kind::Transport
    );
}

#[test]
fn a_stream_with_an_idle_time_ends_when_nothing_comes() {
    let script = Script::new().on_socket(PATH, Ok(vec![subscribed(), event("e1"), Side::Hang]));
    let feed = stream(&script, json!({ "idleTimeout": 3 }));
    assert_eq!(next(&script, &feed), "e1");
    assert!(script.run(feed.next()).unwrap().is_none());
    script.finished();
}

#[test]
fn what_is_no_event_is_an_error_that_says_so() {
    let cases = [
        (
            json!({ "type": "error", "message": "no such operation" }),
            "no such operation",
        ),
        (json!({ "type": "resync_required" }), "resync_required"),
        (json!({ "type": "event" }), "event"),
        (json!({ "type": "event", "event": { "id": "e1" } }), "occurred_at"),
        (json!({ "event": {} }), "type"),
    ];
    for (bad, says) in cases {
        let script = Script::new().on_socket(PATH, Ok(vec![subscribed(), frame(bad.clone())]));
        let feed = stream(&script, json!({}));
        let failed = error(script.run(feed.next()));
        assert!(failed.message.contains(says), "{bad}: {}", failed.message);
        assert!(script.run(feed.next()).unwrap().is_none(), "it has ended");
        let script = Script::new().on_socket(PATH, Ok(vec![frame(bad)]));
        error(script.run(stream(&script, json!({})).next()));
    }
}

#[test]
fn a_subscription_that_has_begun_is_not_opened_again() {
    let script = Script::new().on_socket(
        PATH,
        Ok(vec![Side::Awaits("subscribe"), subscribed(), event("e1")]),
    );
    let feed = stream(&script, json!({}));
    script.run(feed.begin()).unwrap();
    script.run(feed.begin()).unwrap();
    assert_eq!(next(&script, &feed), "e1");
    script.finished();
}

const NEWEST: &str = "/v1/lifecycle/events?snapshot_id=snap_1&order=desc&limit=1";

/// A page of the list of events.
fn page(events: &[Side]) -> String {
    let events: Vec<Json> = events
        .iter()
        .map(|event| match event {
            Side::Frame(text) => serde_json::from_str::<Json>(text).unwrap()["event"].clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    json!({ "events": events, "offset": 0, "limit": 1, "has_more": false }).to_string()
}

fn subscription(script: &Script) -> Feed<Script> {
    let options = given(json!({ "snapshotId": "snap_1" }));
    let fields = Fields::new("", Some(&options), &[&events::SUBSCRIPTION]).unwrap();
    Feed::events(client(script), events::subscription(&fields).unwrap())
}

#[test]
fn a_subscription_that_is_cut_before_its_first_event_goes_on_behind_the_newest_one_before_it() {
    let script = Script::new()
        .on("GET", NEWEST, 200, &page(&[event("e0")]))
        .on_socket(PATH, Ok(vec![subscribed()]))
        .on_socket(PATH, Ok(vec![subscribed(), event("e0"), event("e1")]))
        .on_socket(PATH, Ok(vec![subscribed(), event("e1"), event("e2")]));
    let feed = subscription(&script);
    script.run(feed.begin()).unwrap();
    assert_eq!([next(&script, &feed), next(&script, &feed)], ["e1", "e2"]);
    let after = |id: &str| {
        json!({ "type": "subscribe", "snapshot_id": "snap_1", "live_only": false, "after_event_id": id,
            "replay_limit": 100 })
    };
    assert_eq!(
        script.frames(),
        [
            json!({ "type": "subscribe", "snapshot_id": "snap_1" }),
            after("e0"),
            after("e1")
        ]
    );
    script.finished();
}

#[test]
fn a_live_stream_without_any_event_before_it_asks_for_all_that_there_are_when_it_comes_back() {
    let script = Script::new()
        .on("GET", NEWEST, 200, &page(&[]))
        .on_socket(PATH, Ok(vec![subscribed()]))
        .on_socket(PATH, Ok(vec![subscribed(), event("e1")]));
    let feed = stream(&script, json!({ "snapshotId": "snap_1", "liveOnly": true }));
    assert_eq!(next(&script, &feed), "e1");
    assert_eq!(
        script.frames(),
        [
            json!({ "type": "subscribe", "snapshot_id": "snap_1", "live_only": true, "replay_limit": 100 }),
            json!({ "type": "subscribe", "snapshot_id": "snap_1", "live_only": false, "replay_limit": 1000 })
        ]
    );
    script.finished();
}

#[test]
fn a_live_stream_that_cannot_be_begun_says_why() {
    let gone = r#"{"error":"gone","code":"machine_not_found"}"#;
    let script = Script::new().on("GET", NEWEST, 404, gone);
    assert_eq!(
        error(script.run(subscription(&script).begin())).kind,
        Kind::NotFound
    );
    let refused = frame(json!({ "type": "error", "message": "no such operation" }));
    for sides in [vec![refused], vec![Side::Close], vec![], vec![Side::Hang]] {
        let script = Script::new()
            .on("GET", NEWEST, 200, &page(&[]))
            .on_socket(PATH, Ok(sides));
        error(script.run(subscription(&script).begin()));
        script.finished();
    }
}

const MONITOR: &str = "/v1/monitor/ws";

fn monitored(script: &Script, options: Json) -> Feed<Script> {
    let options = given(options);
    let fields = Fields::new("", Some(&options), &[&monitor::SUBSCRIBE]).unwrap();
    let first = monitor::subscribe(&fields, "m").unwrap();
    Feed::monitor(client(script), "m".to_owned(), first)
}

#[test]
fn a_monitor_has_begun_with_its_first_frame_which_is_told_like_the_others() {
    let about = |id: &str, more: Json| {
        let mut told = json!({ "type": "monitor_snapshot", "id": id, "machines": [] });
        told.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        frame(told)
    };
    let script = Script::new().on_socket(
        MONITOR,
        Ok(vec![
            about("other", json!({})),
            Side::Awaits("monitor_subscribe"),
            about("m", json!({})),
            about("m", json!({ "type": "monitor_error", "message": "later" })),
            Side::Hang,
        ]),
    );
    let feed = monitored(&script, json!({}));
    script.run(feed.begin()).unwrap();
    for kind in ["monitor_snapshot", "monitor_error"] {
        assert_eq!(script.run(feed.next()).unwrap().unwrap()["type"], kind);
    }
    let refused = about("m", json!({ "type": "monitor_error", "message": "too many" }));
    for (sides, says) in [
        (vec![refused], "too many"),
        (
            vec![about("other", json!({})), Side::Hang],
            "nothing was heard yet",
        ),
        (vec![], "nothing was heard yet"),
    ] {
        let script = Script::new().on_socket(MONITOR, Ok(sides));
        let failed = error(script.run(monitored(&script, json!({})).begin()));
        assert!(failed.message.contains(says), "{}", failed.message);
        script.finished();
    }
}

#[test]
fn a_monitor_subscribes_again_after_a_cut_and_says_goodbye() {
    let metrics = |id: &str, cpu: f64| {
        frame(
            json!({ "type": "monitor_metrics", "id": id, "machine_id": "mch_1", "metrics": { "cpu_percent": cpu } }),
        )
    };
    let script = Script::new()
        .on_socket(
            MONITOR,
            Ok(vec![
                Side::Awaits("monitor_subscribe"),
                metrics("other", 9.0),
                metrics("m", 1.0),
            ]),
        )
        .on_socket(
            MONITOR,
            Ok(vec![
                Side::Awaits("monitor_subscribe"),
                frame(json!({ "type": "monitor_of_tomorrow", "id": "m" })),
                metrics("m", 2.0),
                Side::Hang,
            ]),
        );
    let feed = monitored(&script, json!({ "intervalMs": 500, "includeProcesses": true }));
    for cpu in [1.0, 2.0] {
        let seen = script.run(feed.next()).unwrap().unwrap();
        assert_eq!(
            (&seen["machineId"], &seen["metrics"]["cpuPercent"]),
            (&json!("mch_1"), &json!(cpu))
        );
    }
    drop(feed);
    let asked =
        json!({ "type": "monitor_subscribe", "id": "m", "interval_ms": 500, "include_processes": true });
    let bye = json!({ "type": "monitor_unsubscribe", "id": "m" });
    assert_eq!(script.frames(), [asked.clone(), asked, bye]);
    script.finished();
}

#[test]
fn wrong_options_are_named() {
    let wrong = |options: Json, says: &str| {
        let options = given(options);
        let fields = Fields::new("", Some(&options), &[&monitor::SUBSCRIBE]).unwrap();
        let message = monitor::subscribe(&fields, "m").unwrap_err().message.clone();
        assert!(message.contains(says), "{message}");
    };
    wrong(json!({ "intervalMs": 5 }), "intervalMs");
    wrong(json!({ "includeProcesses": "yes" }), "includeProcesses");
    wrong(json!({ "onMetrics": 1 }), "onMetrics");
}
