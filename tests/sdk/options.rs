//! Options that are wrong, and what the error says. Nothing is sent here: the checks need no transport.

use nullspace::core::config::{self, Environment, CLIENT_OPTIONS};
use nullspace::core::error::{Error, Kind};
use nullspace::core::options::{self, Fields, Value};
use nullspace::core::shown::{Interface, Shown};
use nullspace::core::value::parse;
use nullspace::core::{egress, events, exec, git, lease, machine, monitor, terminals, uploads};
use nullspace::surface::pools;
use nullspace_wire::exec::ExecRequest;
use nullspace_wire::machine::CreateMachineRequest;
use serde_json::{json, Value as Json};

use crate::support::{given, request_body, wire_as};

fn create(options: Json) -> Result<Json, Error> {
    let options = given(options);
    let body = machine::create(&machine::create_fields(&options)?, &Runtime(None))?;
    Ok(wire_as::<CreateMachineRequest>(&body))
}

fn run(options: Json) -> Result<Json, Error> {
    let run = exec::run(&Value::Text("ls".into()), Some(&given(options)))?;
    Ok(wire_as::<ExecRequest>(&run.request))
}

fn pool(options: Json) -> Result<Json, Error> {
    request_body(&pools::CREATE, &[json!("base")], options)
}

fn list(options: Json) -> Result<machine::List, Error> {
    let options = given(options);
    machine::list(&machine::list_fields(&options)?)
}

/// No files; the environment holds a base URL at most.
struct Runtime(Option<&'static str>);

impl Environment for Runtime {
    fn env(&self, name: &str) -> Option<String> {
        self.0.filter(|_| name == "NULLSPACE_API_URL").map(str::to_owned)
    }
    fn read(&self, _: &str) -> Option<String> {
        None
    }
    fn home(&self) -> Option<String> {
        None
    }
    fn json(text: &str) -> Option<Value> {
        parse(text)
    }
}

fn client_in(runtime: &Runtime, options: Json) -> Result<(), Error> {
    let options = given(options);
    config::settings(&Fields::new("", Some(&options), &[&CLIENT_OPTIONS])?, runtime).map(drop)
}

fn client(options: Json) -> Result<(), Error> {
    client_in(&Runtime(None), options)
}

/// The option that must be named, and what was given.
type Row = (&'static str, Json);

fn assert_refused<T: std::fmt::Debug>(rows: Vec<Row>, read: impl Fn(Json) -> Result<T, Error>) {
    for (named, options) in rows {
        let shown = options.to_string();
        let error = match read(options) {
            Err(error) => error,
            Ok(read) => panic!("{shown} was taken as {read:?}"),
        };
        assert_eq!(
            (error.kind, error.code.as_str()),
            (Kind::InvalidRequest, "invalid_request"),
            "{shown}"
        );
        let quoted = format!("`{named}`");
        assert!(
            error.message.contains(&quoted),
            "{shown}: \"{}\" does not name {quoted}",
            error.message
        );
    }
}

fn egress(policy: Json) -> Json {
    json!({ "network": { "egress": policy } })
}

fn secret(name: &str, secret: Json) -> Json {
    json!({ "network": { "secrets": { name: secret } } })
}

fn volume(volume: Json) -> Json {
    json!({ "volumes": [volume] })
}

#[test]
fn a_malformed_create_names_the_option() {
    let nine: Vec<Json> = (0..9)
        .map(|index| json!({ "ref": "v", "mountPath": format!("/m{index}") }))
        .collect();
    let rows = vec![
        ("tempalte", json!({ "tempalte": "base" })),
        ("memoryMb", json!({ "memory_mb": 512 })),
        ("template", json!({ "template": null })),
        ("template", json!({ "template": "" })),
        ("template", json!({ "template": "a\0b" })),
        ("vcpus", json!({ "vcpus": "2" })),
        ("vcpus", json!({ "vcpus": 0 })),
        ("vcpus", json!({ "vcpus": -1 })),
        ("vcpus", json!({ "vcpus": 1.5 })),
        ("vcpus", json!({ "vcpus": null })),
        ("vcpus", json!({ "vcpus": 4_294_967_296_u64 })),
        ("memoryMb", json!({ "memoryMb": 0 })),
        ("memoryMb", json!({ "memoryMb": true })),
        ("diskMb", json!({ "diskMb": 511 })),
        ("diskMb", json!({ "diskMb": 131_073 })),
        ("diskMb", json!({ "diskMb": 1024.5 })),
        ("timeout", json!({ "timeout": 0 })),
        ("timeout", json!({ "timeout": 0.0001 })),
        ("timeout", json!({ "timeout": -300 })),
        ("timeout", json!({ "timeout": "5m" })),
        ("timeoutAction", json!({ "timeoutAction": "pause" })),
        ("onTimeout", json!({ "onTimeout": "hibernate" })),
        (
            "onTimeout",
            json!({ "onTimeout": "destroy", "timeoutAction": "hibernate" }),
        ),
        ("autoResume", json!({ "autoResume": true })),
        (
            "autoResume",
            json!({ "autoResume": true, "onTimeout": "destroy" }),
        ),
        (
            "ephemeral",
            json!({ "ephemeral": true, "timeoutAction": "hibernate" }),
        ),
        (
            "ephemeral",
            json!({ "ephemeral": true, "onTimeout": "pause", "autoResume": true }),
        ),
        ("ephemeral", json!({ "ephemeral": 1 })),
        ("inactivityTimeoutMs", json!({ "inactivityTimeoutMs": 0 })),
        ("autoDeleteAfterMs", json!({ "autoDeleteAfterMs": 1.5 })),
        ("cwd", json!({ "cwd": "" })),
        ("cwd", json!({ "cwd": ["/tmp"] })),
        ("envs", json!({ "envs": "A=b" })),
        ("envs.A", json!({ "envs": { "A": 1 } })),
        ("envs.A", json!({ "envs": { "A": null } })),
        ("envs.A", json!({ "envs": { "A": "nul\0" } })),
        ("envs.A=B", json!({ "envs": { "A=B": "c" } })),
        ("envs.", json!({ "envs": { "": "c" } })),
        ("metadata", json!({ "metadata": ["a"] })),
        ("metadata", json!({ "metadata": null })),
        ("network", json!({ "network": "deny_all" })),
        ("network.egres", json!({ "network": { "egres": {} } })),
        (
            "network.allowPublicTraffic",
            json!({ "network": { "allowPublicTraffic": "no" } }),
        ),
        (
            "network.maskRequestHost",
            json!({ "network": { "maskRequestHost": "a b" } }),
        ),
        (
            "network.maskRequestHost",
            json!({ "network": { "maskRequestHost": "http://a" } }),
        ),
        (
            "network.allowOut[0]",
            json!({ "network": { "allowOut": ["example.com"] } }),
        ),
        (
            "network.egress",
            json!({ "network": { "egress": { "mode": "deny_all" }, "denyOut": ["10.0.0.0/8"] } }),
        ),
        ("network.egress.mode", egress(json!({}))),
        ("network.egress.mode", egress(json!({ "mode": "allow-all" }))),
        (
            "network.egress.allowCidrs",
            egress(json!({ "mode": "deny_all", "allowCidrs": ["10.0.0.0/8"] })),
        ),
        (
            "network.egress.allowCidrs",
            egress(json!({ "mode": "custom", "allowCidrs": "10.0.0.0/8" })),
        ),
        (
            "network.egress.allowCidrs[2]",
            egress(json!({ "mode": "custom", "allowCidrs": ["10.0.0.0/8", "1.1.1.1", "10.0.0.0/33"] })),
        ),
        (
            "network.egress.denyCidrs[0]",
            egress(json!({ "mode": "custom", "denyCidrs": ["300.1.1.1"] })),
        ),
        (
            "network.egress.denyCidrs[1]",
            egress(json!({ "mode": "custom", "denyCidrs": ["10.0.0.0/8", "::/0"] })),
        ),
        (
            "network.egress.denyCidrs[0]",
            egress(json!({ "mode": "custom", "denyCidrs": [null] })),
        ),
        (
            "network.egress.allowDomains[1]",
            egress(json!({ "mode": "custom", "allowDomains": ["a.test", "https://a.test"] })),
        ),
        (
            "network.egress.denyDomains[0]",
            egress(json!({ "mode": "custom", "denyDomains": ["10.0.0.1"] })),
        ),
        (
            "network.egress.allowDomains",
            egress(json!({ "mode": "custom", "allowDomains": vec!["a.test"; 1001] })),
        ),
        (
            "network.egress.allowDomains",
            egress(json!({ "mode": "allow_all", "allowDomains": ["a.test"] })),
        ),
        ("network.egress.mode", egress(json!({ "mode": "domains" }))),
        (
            "network.egress.rateLimit",
            egress(json!({ "mode": "custom", "rateLimit": {} })),
        ),
        (
            "network.egress.rateLimit",
            egress(json!({ "mode": "custom", "rateLimit": { "burst": 5 } })),
        ),
        (
            "network.egress.rateLimit",
            egress(json!({ "mode": "custom", "rateLimit": { "kbitPerSec": 1, "pps": 1 } })),
        ),
        (
            "network.egress.rateLimit.kbitPerSec",
            egress(json!({ "mode": "custom", "rateLimit": { "kbitPerSec": 0 } })),
        ),
        (
            "network.egress.rateLimit.burst",
            egress(json!({ "mode": "custom", "rateLimit": { "pps": 10, "burst": -1 } })),
        ),
        ("network.secrets", json!({ "network": { "secrets": [] } })),
        (
            "network.secrets",
            secret("A-B", json!({ "value": "v", "hosts": ["a.test"] })),
        ),
        ("network.secrets.A", secret("A", json!("v"))),
        (
            "network.secrets.A.value",
            secret("A", json!({ "hosts": ["a.test"] })),
        ),
        (
            "network.secrets.A.value",
            secret("A", json!({ "value": "v", "env": "V", "hosts": ["a.test"] })),
        ),
        (
            "network.secrets.A.env",
            secret("A", json!({ "env": "V", "hosts": ["a.test"] })),
        ),
        ("network.secrets.A.hosts", secret("A", json!({ "value": "v" }))),
        (
            "network.secrets.A.hosts[0]",
            secret("A", json!({ "value": "v", "hosts": ["https://a.test"] })),
        ),
        (
            "network.secrets.A.headr",
            secret("A", json!({ "value": "v", "hosts": ["a.test"], "headr": "x" })),
        ),
        ("internetAccess", json!({ "internetAccess": "no" })),
        (
            "internetAccess",
            json!({ "internetAccess": false, "network": { "secrets": { "A": { "value": "v", "hosts": ["a.test"] } } } }),
        ),
        (
            "internetAccess",
            json!({ "internetAccess": false, "network": { "egress": { "mode": "allow_all" } } }),
        ),
        (
            "internetAccess",
            json!({ "internetAccess": false, "network": { "egress": { "mode": "custom", "allowCidrs": ["1.1.1.1"] } } }),
        ),
        (
            "internetAccess",
            json!({ "internetAccess": false, "network": { "egress": { "mode": "custom", "allowDomains": ["a.test"] } } }),
        ),
        (
            "internetAccess",
            json!({ "internetAccess": false, "network": { "allowOut": ["1.1.1.1"] } }),
        ),
        ("warmPool", json!({ "warmPool": "" })),
        ("warmPool", json!({ "warmPool": {} })),
        ("warmPool", json!({ "warmPool": 7 })),
        ("warmPool", json!({ "warmPoolMode": "prefer" })),
        ("warmPool", json!({ "warmPoolWaitMs": 100 })),
        (
            "warmPoolMode",
            json!({ "warmPool": "twp_1", "warmPoolMode": "always" }),
        ),
        (
            "warmPoolWaitMs",
            json!({ "warmPool": "twp_1", "warmPoolWaitMs": -1 }),
        ),
        ("snapshotId", json!({ "snapshotId": "" })),
        ("template", json!({ "snapshotId": "snap_1", "template": "base" })),
        ("vcpus", json!({ "snapshotId": "snap_1", "vcpus": 2 })),
        ("memoryMb", json!({ "snapshotId": "snap_1", "memoryMb": 512 })),
        ("diskMb", json!({ "snapshotId": "snap_1", "diskMb": 1024 })),
        ("cwd", json!({ "snapshotId": "snap_1", "cwd": "/tmp" })),
        ("envs", json!({ "snapshotId": "snap_1", "envs": {} })),
        ("warmPool", json!({ "snapshotId": "snap_1", "warmPool": "twp_1" })),
        (
            "internetAccess",
            json!({ "snapshotId": "snap_1", "internetAccess": false }),
        ),
        (
            "network",
            json!({ "snapshotId": "snap_1", "network": { "denyOut": ["0.0.0.0/0"] } }),
        ),
        ("volumes", json!({ "volumes": {} })),
        ("volumes", json!({ "volumes": [] })),
        ("volumes", json!({ "volumes": nine })),
        ("volumes[0]", json!({ "volumes": ["vol_1:/data"] })),
        ("volumes[0].ref", volume(json!({ "mountPath": "/data" }))),
        (
            "volumes[0].ref",
            volume(json!({ "ref": " ", "mountPath": "/data" })),
        ),
        ("volumes[0].mountPath", volume(json!({ "ref": "vol_1" }))),
        (
            "volumes[0].mountPath",
            volume(json!({ "ref": "vol_1", "mountPath": "data" })),
        ),
        (
            "volumes[0].mountPath",
            volume(json!({ "ref": "vol_1", "mountPath": "/" })),
        ),
        (
            "volumes[0].mountPath",
            volume(json!({ "ref": "vol_1", "mountPath": "//." })),
        ),
        (
            "volumes[0].mountPath",
            volume(json!({ "ref": "vol_1", "mountPath": "/data/../etc" })),
        ),
        (
            "volumes[0].mountPath",
            volume(json!({ "ref": "vol_1", "mountPath": "/workspace//.nullspace/x" })),
        ),
        (
            "volumes[0].subpath",
            volume(json!({ "ref": "vol_1", "mountPath": "/data", "subpath": "../x" })),
        ),
        (
            "volumes[0].readonly",
            volume(json!({ "ref": "vol_1", "mountPath": "/data", "readonly": true })),
        ),
        (
            "volumes[1].mountPath",
            json!({ "volumes": [{ "ref": "a", "mountPath": "/data" }, { "ref": "b", "mountPath": "/data/" }] }),
        ),
        ("desktop", json!({ "desktop": { "dpi": 96 } })),
        (
            "desktop.dpi",
            json!({ "template": "desktop", "desktop": { "dpi": 0 } }),
        ),
        (
            "desktop.resolution",
            json!({ "template": "desktop", "desktop": { "resolution": [1280] } }),
        ),
        (
            "desktop.resolution",
            json!({ "template": "desktop", "desktop": { "resolution": [1280, -1] } }),
        ),
        (
            "desktop.resolution.height",
            json!({ "template": "desktop", "desktop": { "resolution": { "width": 1280 } } }),
        ),
        (
            "desktop.display",
            json!({ "template": "desktop", "desktop": { "display": "0" } }),
        ),
    ];
    assert_refused(rows, create);
}

#[test]
fn a_malformed_run_names_the_option() {
    assert_refused(
        vec![
            ("args", json!({ "args": "-l" })),
            ("args[1]", json!({ "args": ["-l", 1] })),
            ("args[0]", json!({ "args": ["a\0b"] })),
            ("args", json!({ "args": ["-l"], "shell": true })),
            ("shell", json!({ "shell": "bash" })),
            ("cwd", json!({ "cwd": null })),
            ("envs.A", json!({ "envs": { "A": false } })),
            ("timeout", json!({ "timeout": 0.5 })),
            ("timeout", json!({ "timeout": 0 })),
            ("requestTimeout", json!({ "requestTimeout": -1 })),
            ("timeout", json!({ "timeot": 3 })),
        ],
        run,
    );
    for command in ["", "  ", "ls\0"] {
        let error = exec::run(&Value::Text(command.into()), None).err().unwrap();
        assert!(error.message.contains("`command`"), "{}", error.message);
    }
}

#[test]
fn a_malformed_pool_names_the_option() {
    assert_refused(
        vec![
            ("name", json!({ "name": "" })),
            ("minReady", json!({ "minReady": -1 })),
            ("maxReady", json!({ "minReady": 3, "maxReady": 2 })),
            ("diskMb", json!({ "diskMb": 100 })),
            ("idleTimeoutSeconds", json!({ "idleTimeoutSeconds": 0 })),
            ("checkoutPolicy", json!({ "checkoutPolicy": "maybe" })),
            ("versionPolicy", json!({ "versionPolicy": "latest" })),
            ("trackTag", json!({ "versionPolicy": "track_tag" })),
            (
                "trackTag",
                json!({ "versionPolicy": "pinned_build", "trackTag": "stable" }),
            ),
            ("labels", json!({ "labels": ["a=b"] })),
            ("maxReady", json!({ "maxready": 2 })),
        ],
        pool,
    );
}

#[test]
fn a_malformed_list_names_the_option() {
    assert_refused(
        vec![
            ("state", json!({ "state": "runing" })),
            ("state", json!({ "state": [] })),
            ("state", json!({ "state": "running,paused" })),
            (
                "query.state",
                json!({ "query": { "state": ["running", "gone"] } }),
            ),
            ("query.template", json!({ "query": { "template": 1 } })),
            ("query.metadata", json!({ "query": { "metadata": "x" } })),
            ("limit", json!({ "limit": 0 })),
            ("limit", json!({ "limit": "10" })),
            ("nextToken", json!({ "nextToken": "" })),
            ("fields", json!({ "fields": [] })),
            ("fields[1]", json!({ "fields": ["id", "a b"] })),
        ],
        list,
    );
}

#[test]
fn malformed_client_options_name_the_option_and_show_no_secret() {
    assert_refused(
        vec![
            ("apiKey", json!({ "apiKey": 7 })),
            ("apiKey", json!({ "apiKey": "line\nbreak" })),
            ("baseUrl", json!({ "apiKey": "k", "baseUrl": "localhost:3000" })),
            ("baseUrl", json!({ "apiKey": "k", "baseUrl": "http://a?b" })),
            ("requestTimeout", json!({ "apiKey": "k", "requestTimeout": 0 })),
            ("signal", json!({ "apiKey": "k", "signal": {} })),
            ("fetch", json!({ "apiKey": "k", "fetch": "node-fetch" })),
            (
                "headers.Authorization",
                json!({ "apiKey": "k", "headers": { "Authorization": "x" } }),
            ),
            (
                "headers.x-a",
                json!({ "apiKey": "k", "headers": { "x-a": "a\r\nb: c" } }),
            ),
            ("headers.a b", json!({ "apiKey": "k", "headers": { "a b": "c" } })),
        ],
        client,
    );
    for (options, secret) in [
        (json!({ "apiKey": "hunter2\n\u{1}" }), "hunter2"),
        (
            json!({ "apiKey": "k", "baseUrl": "http://user:hunter2@a" }),
            "hunter2",
        ),
        (
            json!({ "apiKey": "k", "headers": { "x-a": "hunter2\0" } }),
            "hunter2",
        ),
    ] {
        let error = client(options).unwrap_err();
        assert!(!error.message.contains(secret), "{}", error.message);
    }
    let error = create(json!({ "envs": { "TOKEN": "hunter2\0" } })).unwrap_err();
    assert!(!error.message.contains("hunter2"), "{}", error.message);
}

#[test]
fn a_bad_base_url_of_the_environment_is_told_from_the_option() {
    let error = client_in(&Runtime(Some("localhost:3000")), json!({ "apiKey": "k" })).unwrap_err();
    assert!(
        error.message.starts_with("the base URL in NULLSPACE_API_URL"),
        "{}",
        error.message
    );
}

#[test]
fn a_create_without_options_has_the_defaults_of_the_sdk() {
    assert_eq!(
        create(json!({})).unwrap(),
        json!({
            "template": "base", "vcpus": 2, "memory_mb": 512, "timeout_ms": 300_000,
            "envs": {}, "metadata": {}, "internet_access": true, "auto_resume": false,
            "network": null, "volumes": null, "cwd": null, "desktop": null
        })
    );
    for template in ["code-interpreter", "desktop"] {
        assert_eq!(
            create(json!({ "template": template })).unwrap()["memory_mb"],
            2048
        );
    }
    assert_eq!(
        create(json!({ "template": "desktop:v2" })).unwrap()["memory_mb"],
        512
    );
}

#[test]
fn a_create_from_a_snapshot_sends_what_the_snapshot_does_not_decide() {
    assert_eq!(
        create(json!({
            "snapshotId": "snap_1", "timeout": 60, "metadata": { "a": null },
            "network": { "egress": { "mode": "deny_all" } }, "internetAccess": true
        }))
        .unwrap(),
        json!({
            "snapshot_id": "snap_1", "timeout_ms": 60_000, "metadata": { "a": null }, "auto_resume": false,
            "network": { "egress": { "mode": "deny_all" } }, "volumes": null
        })
    );
}

#[test]
fn every_option_of_a_create_reaches_its_field() {
    assert_eq!(
        create(json!({
            "template": "team/app:stable", "vcpus": 4, "memoryMb": 1024, "diskMb": 2048, "timeout": 1.5,
            "timeoutAction": "hibernate", "onTimeout": "pause", "autoResume": true,
            "inactivityTimeoutMs": 1, "autoDeleteAfterMs": 2, "cwd": "/tmp", "envs": { "A": "" },
            "metadata": { "n": 1, "f": 0.5, "list": [null, true] },
            "network": {
                "maskRequestHost": "localhost:${PORT}", "allowPublicTraffic": false,
                "egress": {
                    "mode": "custom", "allowCidrs": ["10.0.0.0/8"], "denyCidrs": [],
                    "rateLimit": { "pps": 100, "burst": 10 }
                }
            },
            "warmPool": { "id": " twp_1 " }, "warmPoolMode": "require", "warmPoolWaitMs": 0,
            "volumes": [{ "ref": { "id": "vol_1" }, "mountPath": "/data", "subpath": "a/b", "readOnly": true }]
        }))
        .unwrap(),
        json!({
            "template": "team/app:stable", "vcpus": 4, "memory_mb": 1024, "disk_mb": 2048, "timeout_ms": 1500,
            "timeout_action": "hibernate", "lifecycle": { "on_timeout": "pause" }, "auto_resume": true,
            "inactivity_timeout_ms": 1, "auto_delete_after_ms": 2, "cwd": "/tmp", "envs": { "A": "" },
            "metadata": { "n": 1, "f": 0.5, "list": [null, true] }, "internet_access": true,
            "network": {
                "mask_request_host": "localhost:${PORT}", "allow_public_traffic": false,
                "egress": {
                    "mode": "custom", "allow_cidrs": ["10.0.0.0/8"],
                    "rate_limit": { "pps": 100, "burst": 10 }
                }
            },
            "warm_pool": { "id": "twp_1", "mode": "require", "wait_ms": 0 },
            "volumes": [{ "ref": "vol_1", "mount_path": "/data", "subpath": "a/b", "read_only": true }],
            "desktop": null
        })
    );
}

#[test]
fn an_id_cannot_become_another_path() {
    for bad in ["", " ", ".", "..", " .. "] {
        assert!(options::id("id", &Value::Text(bad.into())).is_err(), "{bad:?}");
    }
    assert_eq!(
        options::id("id", &Value::Text(" mch_1 ".into())).unwrap(),
        "mch_1"
    );
}

#[test]
fn messages_show_a_good_value() {
    for (options, message) in [
        (
            json!({ "diskMb": 100 }),
            "option `diskMb` must be a whole number from 512 to 131072, not 100",
        ),
        (
            egress(json!({ "mode": "custom", "denyCidrs": ["10.0.0.0/33"] })),
            "option `network.egress.denyCidrs[0]` must be an IPv4 range such as '10.0.0.0/8', not '10.0.0.0/33'",
        ),
        (
            volume(json!({ "ref": "vol_1", "mountPath": "data" })),
            "option `volumes[0].mountPath` must be an absolute path below `/`, such as '/data', not 'data'",
        ),
        (
            json!({ "network": { "egress": { "mode": "custom", "allowCidr": [] } } }),
            "option `network.egress.allowCidr` is not known; did you mean `network.egress.allowCidrs`?",
        ),
    ] {
        assert_eq!(create(options).unwrap_err().message, message);
    }
}

/// What an option with this type must refuse.
fn wrong(option: &Shown) -> Vec<Json> {
    let mut values = match option.typed {
        "string" | "boolean" => vec![json!(1)],
        typed if typed.starts_with("number") => vec![json!("many"), json!(true)],
        "FileMode" => vec![json!(true)],
        // One of several texts.
        typed if typed.starts_with('\'') => vec![json!("nonsense"), json!(1)],
        _ => vec![json!(1)],
    };
    if let Some(range) = option.range {
        values.extend([range.min.wrapping_sub(1) as f64, range.max as f64 + 1.0].map(Json::from));
    }
    values
}

/// Every option refuses what its type in index.d.ts does not have; those that another call reads are left out.
fn assert_checked_as_declared<T>(
    interface: &Interface,
    elsewhere: &[&str],
    read: impl Fn(Json) -> Result<T, Error>,
) {
    for option in interface.options {
        if elsewhere.contains(&option.name) {
            continue;
        }
        for value in wrong(option) {
            let shown = format!("{} {}: {value}", interface.name, option.name);
            let Err(error) = read(json!({ option.name: value })) else {
                panic!("{shown} was taken");
            };
            let named = [format!("`{}`", option.name), format!("`{}[", option.name)];
            let message = &error.message;
            assert!(
                named.iter().any(|name| message.contains(name)),
                "{shown}: {message}"
            );
        }
    }
}

#[test]
fn options_are_checked_as_index_d_ts_declares_them() {
    let none = Runtime(None);
    assert_checked_as_declared(&machine::CreateOptions, &["idempotencyKey"], create);
    assert_checked_as_declared(&machine::ListOptions, &[], list);
    assert_checked_as_declared(&machine::MachineQuery, &[], |query| {
        list(json!({ "query": query })).map_err(|error| unnested("query", error))
    });
    assert_checked_as_declared(&machine::DesktopOptions, &[], |desktop| {
        create(json!({ "template": "desktop", "desktop": desktop }))
            .map_err(|error| unnested("desktop", error))
    });
    assert_checked_as_declared(&egress::NetworkOptions, &[], |network| {
        create(json!({ "network": network })).map_err(|error| unnested("network", error))
    });
    assert_checked_as_declared(&machine::RunOnceOptions, &[], |options| {
        let options = given(options);
        let fields = machine::run_once_fields(&options)?;
        nullspace::client::machine::Once::read(&Value::Text("ls".into()), &fields, &none).map(drop)
    });
    assert_checked_as_declared(&lease::KeepAliveOptions, &[], |options| {
        lease::keep_alive(Some(&given(options)))
    });
    assert_checked_as_declared(&exec::CommandConnectOptions, &[], |options| {
        exec::connect(Some(&given(options)))
    });
    assert_checked_as_declared(&exec::CommandWaitOptions, &[], |options| {
        exec::wait(Some(&given(options))).map(drop)
    });
    assert_checked_as_declared(&exec::CodeRunOptions, &[], |options| {
        exec::code_run(&Value::Text("1".into()), Some(&given(options))).map(drop)
    });
    assert_checked_as_declared(&uploads::ResumeUploadOptions, &[], |options| {
        uploads::resumed(Some(&given(options)))
    });
    let source = uploads::Source {
        name: None,
        mode: None,
        size: Some(1.0),
        directory: false,
    };
    assert_checked_as_declared(&uploads::UploadOptions, &[], |options| {
        uploads::plan(&source, &Value::Text("/a".into()), Some(&given(options)))
    });
    assert_checked_as_declared(&git::GitConfigOptions, &[], |options| {
        git::get_config(&Value::Text("user.name".into()), Some(&given(options))).map(drop)
    });
    assert_checked_as_declared(&terminals::PtyOptions, &[], |options| {
        terminals::start(Some(&given(options)))
    });
    for scoped in [
        &events::MachineEventStreamOptions,
        &events::LifecycleStreamOptions,
    ] {
        assert_checked_as_declared(scoped, &[], |options| {
            let options = given(options);
            events::stream(&Fields::new(
                "",
                Some(&options),
                &[&events::STREAM, &events::SCOPE],
            )?)
        });
    }
    assert_checked_as_declared(&events::LifecycleSubscribeOptions, &[], |options| {
        let options = given(options);
        events::subscription(&Fields::new("", Some(&options), &[&events::SUBSCRIPTION])?)
    });
    assert_checked_as_declared(&monitor::MonitorOptions, &[], |options| {
        let options = given(options);
        monitor::subscribe(
            &Fields::new("", Some(&options), &[&monitor::SUBSCRIBE])?,
            "monitor_1",
        )
    });
}

/// The error without the name of the option that holds the others.
fn unnested(outer: &str, mut error: Error) -> Error {
    error.message = error.message.replace(&format!("`{outer}."), "`");
    error
}
