//! Real machines of two nodes, which are processes like the gateway: needs root; without, the test says so and passes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nullspace_engine::cluster::{db::Db, keys};
use serde_json::{json, Value};

use crate::cluster::tag;
use crate::postgres;
use crate::support::until;

const TOKEN: &str = "a-join-token-for-tests";

/// A process that is ended with the test, as kill -9 does.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program, and gives the line that begins so.
fn start(arguments: &[&str], begin: &str) -> (Program, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_nullspace-engine"))
        .args(arguments)
        .env("NULLSPACE_JOIN_TOKEN", TOKEN)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.find_map(|line| line.unwrap().strip_prefix(begin).map(str::to_owned));
    (Program(child), line.expect("the program says where it is"))
}

fn node(gateway: &str, state: &Path) -> (Program, String) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let (program, line) = start(
        &[
            "serve",
            "--state",
            state.to_str().unwrap(),
            "--listen",
            &address,
            "--join",
            gateway,
            "--advertise",
            &format!("http://{address}"),
        ],
        "nullspace-engine: node ",
    );
    (program, line[..4].to_owned())
}

struct Api {
    url: String,
    key: String,
    http: reqwest::Client,
}

impl Api {
    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.url));
        let answer = request.bearer_auth(&self.key).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn create(&self, body: Value) -> String {
        let (status, made) = self.post("/v1/machines", body).await;
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().unwrap().to_owned()
    }

    async fn shell(&self, id: &str, text: &str) -> String {
        let body = json!({ "command": text, "shell": true });
        let (status, ran) = self.post(&format!("/v1/machines/{id}/exec"), body).await;
        assert_eq!((status, &ran["exit_code"]), (200, &json!(0)), "{ran}");
        ran["stdout"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn files_of_a_real_machine_are_the_same_on_another_node() {
    let url = postgres::database();
    let db = Db::open(&url).unwrap();
    db.migrate().await.unwrap();
    let key = keys::add(&db, "tests", None).await.unwrap();
    let limits = ["--unreachable-after", "8", "--lost-after", "16", "--copies", "2"];
    let mut arguments = vec!["gateway", "--database", &url, "--listen", "127.0.0.1:0"];
    arguments.extend(limits);
    let (_gateway, url) = start(&arguments, "NULLSPACE_API_URL=");
    let states = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut nodes: Vec<_> = states.iter().map(|state| node(&url, state.path())).collect();
    let api = Api {
        url,
        key,
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
    };
    until("both nodes take machines", async || {
        let (_, made) = api
            .post("/v1/machines", json!({ "template": "base", "memory_mb": 128 }))
            .await;
        let Some(id) = made["id"].as_str() else {
            return false;
        };
        nodes.iter().any(|(_, node)| tag(id) == *node) && api.shell(id, "id -u").await == "0\n"
    })
    .await;

    let first = api.create(json!({ "template": "base", "memory_mb": 128 })).await;
    let make = "useradd -m someone 2>/dev/null || { echo someone:x:1234:1234::/:/bin/sh >> /etc/passwd; }\n\
        mkdir -p /opt/d && echo one > /opt/d/file && ln /opt/d/file /opt/link && ln -s d/file /opt/soft && chown 1234:1234 /opt/d/file\n\
        chmod 4751 /opt/d/file; rm /etc/debian_version /usr/share/common-licenses/* 2>/dev/null; rm -rf /usr/games; mkdir /usr/games; echo new > /usr/games/new\n\
        rm -rf /var/log; mkdir /var/log; truncate -s 1G /opt/sparse; echo kept > /workspace/kept";
    api.shell(&first, make).await;
    let look = "stat -c '%n %a %u %g %h %s %F' /opt/d /opt/d/file /opt/link /opt/soft /opt/sparse /usr/games/new; \
        ls -A /usr/games /var/log /etc | sort; cat /opt/soft /workspace/kept; test -e /etc/debian_version || echo gone; grep someone /etc/passwd; \
        du -k /opt/sparse | cut -f1";
    let (status, taken) = api
        .post(&format!("/v1/machines/{first}/snapshots"), json!({}))
        .await;
    assert_eq!(status, 201, "{taken}");
    let taken = taken["id"].as_str().unwrap();
    let body = json!({
        "name": "app", "base_image": "nullspace/base:latest",
        "steps": [{ "action": "run", "command": "echo built > /usr/local/built" }],
        "start_cmd": "touch /run/mark; sleep 1000",
        "readiness": { "kind": "command", "command": "test -e /run/mark", "interval_ms": 50 },
        "build_config": { "vcpus": 1, "memory_mib": 256, "internet_access": false },
    });
    let (status, built) = api.post("/v1/templates", body).await;
    assert_eq!(status, 201, "{built}");

    let home = tag(&first);
    let copied = |index: usize| {
        let layers = std::fs::read_dir(states[index].path().join("machines/layers")).unwrap();
        layers
            .flatten()
            .filter(|layer| layer.path().extension().is_none_or(|e| e != "new"))
            .count()
    };
    until("both nodes have all layers", async || {
        copied(0) >= 2 && copied(1) >= 2
    })
    .await;
    // The copies are stored once their layers are there, and told of with the next heartbeat.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let seen = api.shell(&first, look).await;
    assert!(
        seen.contains("/opt/d/file 4751 1234 1234 2 4 regular file"),
        "{seen}"
    );
    let index = nodes.iter().position(|(_, node)| *node == home).unwrap();
    drop(nodes.remove(index));
    let (_, other) = &nodes[0];
    let second = api.create(json!({ "snapshot_id": taken })).await;
    assert_eq!(tag(&second), *other);
    assert_eq!(api.shell(&second, look).await, seen);
    let mut made = None;
    until("templates have a home again", async || {
        let (status, answer) = api.post("/v1/machines", json!({ "template": "app" })).await;
        assert!(matches!(status, 201 | 503), "{answer}");
        made = answer["id"].as_str().map(str::to_owned);
        made.is_some()
    })
    .await;
    let made = made.unwrap();
    let started = "cat /usr/local/built; test -e /run/mark && echo started";
    assert_eq!(api.shell(&made, started).await, "built\nstarted\n");
}
