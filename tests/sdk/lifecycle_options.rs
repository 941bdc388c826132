//! Options of leases, snapshots, previews, events and pool changes: what is refused, and what is sent.

use std::time::Duration;

use nullspace::core::error::{Error, Kind};
use nullspace::core::options::{Fields, Value};
use nullspace::core::{egress, events, lease};
use nullspace::surface::{kinds, lifecycle, machines, pools, previews, snapshots, webhooks};
use serde_json::{json, Value as Json};

use crate::support::{given, request, request_body, request_query, wire};

#[track_caller]
fn assert_names<T: std::fmt::Debug>(named: &str, read: Result<T, Error>) {
    let error = read.expect_err(named);
    assert_eq!(error.kind, Kind::InvalidRequest, "{}", error.message);
    assert!(
        error.message.contains(&format!("`{named}`")),
        "\"{}\" does not name {named}",
        error.message
    );
}

fn set_timeout(seconds: Json, options: Json) -> Result<Json, Error> {
    request_body(&machines::SET_TIMEOUT, &[seconds], options)
}

#[test]
fn a_lease_is_seconds_and_goes_out_in_milliseconds() {
    assert_eq!(
        set_timeout(json!(90), json!({})).unwrap(),
        json!({ "timeout_ms": 90_000 })
    );
    assert_eq!(
        set_timeout(json!(0.5), json!({ "timeoutAction": "hibernate" })).unwrap(),
        json!({ "timeout_ms": 500, "timeout_action": "hibernate" })
    );
    for bad in [json!(0), json!(-1), json!("300"), json!(null)] {
        assert_names("seconds", set_timeout(bad, json!({})));
    }
    assert_names(
        "timeoutAction",
        set_timeout(json!(1), json!({ "timeoutAction": "pause" })),
    );
    assert_names(
        "timeoutAction",
        set_timeout(json!(1), json!({ "timeoutActon": "destroy" })),
    );
}

#[test]
fn a_lease_is_renewed_at_its_half_but_not_more_than_once_a_second() {
    let every = |options: Json| lease::keep_alive(Some(&given(options))).map(|plan| plan.every);
    assert_eq!(lease::keep_alive(None).unwrap().every, Duration::from_secs(150));
    assert_eq!(every(json!({ "timeout": 60 })), Ok(Duration::from_secs(30)));
    assert_eq!(every(json!({ "timeout": 1.5 })), Ok(Duration::from_secs(1)));
    assert_eq!(
        every(json!({ "timeout": 60, "refreshEverySecs": 45 })),
        Ok(Duration::from_secs(45))
    );
    assert_names(
        "refreshEverySecs",
        every(json!({ "timeout": 60, "refreshEverySecs": 60 })),
    );
    assert_names("refreshEverySecs", every(json!({ "refreshEverySecs": 0 })));
}

#[test]
fn an_idempotency_key_must_fit_a_header() {
    let key = |options: Json| request(&machines::FORK, &[], options).map(|request| request.idempotency_key);
    assert_eq!(key(json!({})), Ok(None));
    assert_eq!(
        key(json!({ "idempotencyKey": "k-1" })),
        Ok(Some("k-1".to_owned()))
    );
    for bad in [json!(""), json!(7), json!("ä"), json!("a\nb"), json!(null)] {
        assert_names("idempotencyKey", key(json!({ "idempotencyKey": bad })));
    }
}

#[test]
fn a_list_of_snapshots_filters_by_machine_and_metadata() {
    let list = |options: Json| request_query(&snapshots::LIST, &[], options);
    assert_eq!(
        list(json!({ "machineId": "mch_1", "metadata": { "team": "a" } })),
        Ok(vec![
            ("machine_id".to_owned(), "mch_1".to_owned()),
            ("metadata".to_owned(), r#"{"team":"a"}"#.to_owned())
        ])
    );
    assert_names("machineId", list(json!({ "machineId": "" })));
    assert_names("machineId", list(json!({ "machine_id": "mch_1" })));
}

#[test]
fn a_policy_is_checked_before_it_replaces_another() {
    let update =
        |policy: Json| egress::update(&given(policy)).map(|body| serde_json::to_value(body).unwrap());
    assert_eq!(
        update(json!({ "mode": "custom", "denyCidrs": ["10.0.0.0/8"] })).unwrap(),
        json!({ "egress": { "mode": "custom", "deny_cidrs": ["10.0.0.0/8"] } })
    );
    assert_names("policy.mode", update(json!({})));
    assert_names(
        "policy.denyCidrs[0]",
        update(json!({ "mode": "custom", "denyCidrs": ["10.0.0/8"] })),
    );
    assert_names("policy", update(json!("deny_all")));
}

#[test]
fn ports_of_ssh_and_vnc_are_no_previews() {
    let port = |port: Value| kinds::port("port", &port);
    assert_eq!(port(Value::Number(8080.0)), Ok(Value::Number(8080.0)));
    for bad in [0.0, 22.0, 5900.0, 5999.0, 65_536.0, 80.5, f64::NAN] {
        assert_names("port", port(Value::Number(bad)));
    }
    assert_names("port", port(Value::Text("8080".into())));
}

#[test]
fn waiting_for_a_preview_outlives_the_wait_of_the_server() {
    let wait = |options: Json| request(&previews::WAIT, &[json!(8080)], options);
    let plain = wait(json!({})).unwrap();
    assert_eq!(
        wire(&plain.body),
        json!({ "kind": "tcp", "timeout_secs": 30, "interval_ms": 500 })
    );
    assert_eq!(plain.least, Duration::from_secs(40));
    assert_eq!(
        wire(
            &wait(json!({ "path": "/health", "timeout": 60, "intervalMs": 100 }))
                .unwrap()
                .body
        ),
        json!({ "kind": "http", "timeout_secs": 60, "interval_ms": 100, "path": "/health" })
    );
    assert_names("path", wait(json!({ "kind": "tcp", "path": "/" })));
    assert_names("path", wait(json!({ "path": "health" })));
    assert_names("kind", wait(json!({ "kind": "udp" })));
    assert_names("timeout", wait(json!({ "timeout": 0 })));
}

#[test]
fn signed_addresses_live_from_a_minute_to_a_day() {
    let signed = |options: Json| request_body(&previews::SIGNED, &[json!(8080)], options);
    assert_eq!(signed(json!({})), Ok(json!({})));
    assert_eq!(
        signed(json!({ "expiresInSeconds": 60 })),
        Ok(json!({ "expires_in_seconds": 60 }))
    );
    assert_names("expiresInSeconds", signed(json!({ "expiresInSeconds": 59 })));
    assert_names("expiresInSeconds", signed(json!({ "expiresInSeconds": 86_401 })));
}

#[test]
fn a_proxy_target_names_its_transports() {
    let target = |options: Json| request_body(&previews::PROXY_TARGET, &[json!(8080)], options);
    assert_eq!(
        target(json!({ "transports": ["http", "websocket"], "includeTrafficTokenHint": false })),
        Ok(json!({ "transports": ["http", "websocket"], "include_traffic_token_hint": false }))
    );
    assert_eq!(target(json!({ "includeTrafficTokenHint": true })), Ok(json!({})));
    assert_names("transports", target(json!({ "transports": [] })));
    assert_names("transports[1]", target(json!({ "transports": ["http", "ws"] })));
}

#[test]
fn a_private_key_is_not_sent() {
    let ssh = |options: Json| request_body(&previews::SSH_ACCESS, &[], options);
    assert_eq!(
        ssh(json!({ "publicKey": "ssh-ed25519 AAAA me\n", "user": "root", "expiresInMinutes": 5 })),
        Ok(json!({ "public_key": "ssh-ed25519 AAAA me", "user": "root", "expires_in_minutes": 5 }))
    );
    assert_names("publicKey", ssh(json!({})));
    assert_names("publicKey", ssh(json!({ "publicKey": "AAAA" })));
    let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----";
    let error = ssh(json!({ "publicKey": private })).unwrap_err();
    assert!(error.message.contains(".pub"), "{}", error.message);
    assert!(!error.message.contains("hunter2"), "{}", error.message);
}

fn event_list(options: Json) -> Result<Vec<(String, String)>, Error> {
    request_query(&lifecycle::LIST, &[], options)
}

#[test]
fn a_list_of_events_has_its_filters() {
    assert_eq!(event_list(json!({})), Ok(vec![]));
    let pairs = event_list(json!({
        "offset": 0, "limit": 10, "order": "asc", "operation": "fork", "status": "failed",
        "from": "2026-01-02T03:04:05Z", "to": "2026-01-02T03:04:05.5+01:00", "sourceMachineId": "mch_1"
    }))
    .unwrap();
    let pairs: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        pairs,
        [
            ("offset", "0"),
            ("limit", "10"),
            ("order", "asc"),
            ("operation", "fork"),
            ("status", "failed"),
            ("from", "2026-01-02T03:04:05Z"),
            ("to", "2026-01-02T03:04:05.5+01:00"),
            ("source_machine_id", "mch_1"),
        ]
    );
    for (named, options) in [
        ("limit", json!({ "limit": 0 })),
        ("offset", json!({ "offset": -1 })),
        ("order", json!({ "order": "newest" })),
        ("operation", json!({ "operation": "created" })),
        ("status", json!({ "status": "ok" })),
        ("from", json!({ "from": "yesterday" })),
        ("to", json!({ "to": "2026-01-02" })),
        ("to", json!({ "to": "2026-01-02T03:04:05" })),
        ("audience", json!({ "audience": "internal" })),
    ] {
        assert_names(named, event_list(options));
    }
}

#[test]
fn a_stream_replays_unless_it_is_live_only() {
    let stream = |options: Json| {
        let options = given(options);
        events::stream(&Fields::new("", Some(&options), &[&events::STREAM])?)
    };
    let plain = stream(json!({})).unwrap();
    assert_eq!((plain.live_only, plain.replay_limit), (false, 100));
    assert_eq!(stream(json!({ "replayLimit": 0 })).unwrap().replay_limit, 0);
    assert_names(
        "afterEventId",
        stream(json!({ "liveOnly": true, "afterEventId": "e1" })),
    );
    assert_names("metadata", stream(json!({ "metadata": "x" })));
}

#[test]
fn a_webhook_needs_address_operations_and_secret_and_shows_none() {
    let webhook = |options: Json, change| match change {
        true => request_body(&webhooks::UPDATE, &[json!("whk_1")], options),
        false => request_body(&webhooks::CREATE, &[], options),
    };
    let whole = json!({ "url": "https://a.example/h", "operations": ["create"], "signingSecret": "hunter2" });
    assert_eq!(
        webhook(whole.clone(), false).unwrap(),
        json!({ "url": "https://a.example/h", "operations": ["create"], "signing_secret": "hunter2" })
    );
    assert_eq!(
        webhook(json!({ "enabled": false }), true).unwrap(),
        json!({ "enabled": false })
    );
    for missing in ["url", "operations", "signingSecret"] {
        let mut some = whole.clone();
        some.as_object_mut().unwrap().remove(missing);
        let error = webhook(some, false).unwrap_err();
        assert!(!error.message.contains("hunter2"), "{}", error.message);
        assert_names(missing, Err::<(), _>(error));
    }
    assert_names("url", webhook(json!({ "url": "ftp://a" }), true));
    assert_names("operations", webhook(json!({ "operations": [] }), true));
    assert_names("operations[0]", webhook(json!({ "operations": ["*"] }), true));
    assert!(webhook(json!({}), true).is_err());
}

#[test]
fn a_change_of_one_size_sends_all_of_them() {
    let update = |options: Json| request_body(&pools::UPDATE, &[], options);
    let options = given(json!({ "memoryMb": 1024, "minReady": 0, "template": "app:v2" }));
    let fields = Fields::new("", Some(&options), &[&["memoryMb", "minReady", "template"]]).unwrap();
    assert!(pools::changes_size(&fields));
    assert_eq!(
        wire(
            &pools::resources(
                &fields,
                &given(json!({ "vcpus": 2, "memory_mb": 512, "disk_mb": 2048 }))
            )
            .unwrap()
        ),
        json!({ "vcpus": 2, "memory_mb": 1024, "disk_mb": 2048 })
    );
    assert_eq!(
        update(json!({ "memoryMb": 1024, "minReady": 0, "template": "app:v2" })).unwrap(),
        json!({ "min_ready": 0, "template_ref": "app:v2" })
    );
    assert_eq!(update(json!({ "name": "b" })).unwrap(), json!({ "name": "b" }));
    assert_names("maxReady", update(json!({ "minReady": 3, "maxReady": 1 })));
    assert_names(
        "trackTag",
        update(json!({ "versionPolicy": "pinned_build", "trackTag": "a" })),
    );
    assert_names("apiKey", update(json!({ "apiKey": "k" })));
    assert!(
        update(json!({ "requestTimeout": 5 })).is_err(),
        "it changes nothing"
    );
}
