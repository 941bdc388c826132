//! What operators see: numbers for Prometheus, logs, TLS between all parts, and a node that drains when it is told to end.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Request;
use nullspace_engine::cluster::db::Db;
use nullspace_engine::cluster::{keys, operate};
use nullspace_engine::metrics::METRICS;
use nullspace_engine::node::client::Client;
use nullspace_engine::server::scrape;
use nullspace_engine::tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{json, Value};

use crate::cluster::{Whole, TOKEN};
use crate::postgres::Postgres;
use crate::support::until;

/// The first number whose line begins so.
pub fn number(text: &str, start: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(start))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[tokio::test]
async fn a_gateway_tells_its_numbers_also_while_the_database_is_away() {
    let mut postgres = Postgres::start();
    let limits = nullspace_engine::cluster::nodes::Limits::default();
    let whole = Whole::over(postgres.database(), limits, 1, 2).await;
    let gateway = whole.gateway();
    let id = gateway
        .create(json!({ "template": "base", "memory_mb": 256 }))
        .await;
    gateway.get(&format!("/v1/machines/{id}")).await.expect(200);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    let cluster = gateway.cluster.clone();
    tokio::spawn(scrape::serve(listener, move || cluster.clone().readings()));
    let ask = async || {
        let answer = gateway.http.get(&url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap()
    };
    let text = ask().await;
    let node = whole.node(&crate::cluster::tag(&id));
    for (start, least) in [
        ("nullspace_nodes{state=\"ready\"}", 2.0),
        ("nullspace_database_up ", 1.0),
        ("nullspace_creates_total{result=\"made\"}", 1.0),
        (
            &format!("nullspace_machines{{node=\"{}\",state=\"running\"}}", node.name),
            1.0,
        ),
        (
            &format!("nullspace_proxy_seconds_count{{node=\"{}\"}}", node.name),
            2.0,
        ),
        (
            &format!("nullspace_node_memory_mb{{node=\"{}\",of=\"total\"}}", node.name),
            65536.0,
        ),
    ] {
        let found = number(&text, start);
        assert!(
            found.is_some_and(|found| found >= least),
            "{start}: {found:?} in\n{text}"
        );
    }
    postgres.stop();
    let text = ask().await;
    assert_eq!(number(&text, "nullspace_database_up "), Some(0.0), "{text}");
    assert_eq!(
        number(&text, "nullspace_nodes{state=\"ready\"}"),
        Some(2.0),
        "{text}"
    );
    assert!(number(&text, "nullspace_machines{").is_none(), "{text}");
    // An engine tells of its own machines, with nobody's help.
    let text = METRICS.text(node.engine.clone().readings().await);
    assert_eq!(
        number(&text, "nullspace_machines{state=\"running\"}"),
        Some(1.0),
        "{text}"
    );
}

/// A part of the cluster that is a process of its own, with all that it logged. It ends with the test.
pub struct Part {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Part {
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_nullspace-engine"))
            .args(arguments)
            .args(["--log", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let said: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for stream in said {
            let log = log.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    *log.lock().unwrap() += &format!("{line}\n");
                }
            });
        }
        Self { child, log }
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// What follows a text in what it said.
    pub async fn says(&mut self, start: &str) -> String {
        let mut found = None;
        until(start, async || {
            let log = self.log();
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {log}");
            found = log.split_once(start).and_then(|(_, rest)| {
                let (word, _) = rest.split_once(['\n', '"'])?;
                Some(word.to_owned())
            });
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// What it holds in memory.
    pub fn memory_mib(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
    }

    /// Ids of the requests that it answered.
    fn answered(&self) -> Vec<String> {
        let log = self.log();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|line| line["message"] == "answered")
            .filter_map(|line| Some(line["span"]["id"].as_str()?.to_owned()))
            .collect()
    }
}

/// An authority, and what it signed for 127.0.0.1.
fn certificates(directory: &Path) -> [PathBuf; 3] {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let shown = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let files = ["ca.pem", "cert.pem", "key.pem"].map(|name| directory.join(name));
    for (file, text) in files
        .iter()
        .zip([authority.pem(), shown.pem(), key.serialize_pem()])
    {
        std::fs::write(file, text).unwrap();
    }
    files
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[tokio::test]
async fn parts_with_certificates_speak_tls_and_name_a_request_alike_and_a_node_drains_when_it_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let [ca, certificate, key_file] = certificates(directory.path());
    let [ca, certificate, key_file] = [&ca, &certificate, &key_file].map(|file| file.to_str().unwrap());
    std::fs::set_permissions(key_file, Permissions::from_mode(0o600)).unwrap();
    let settings = [
        "ssl=on".into(),
        format!("ssl_cert_file={certificate}"),
        format!("ssl_key_file={key_file}"),
    ];
    let postgres = Postgres::start_with(settings.into());
    let database = postgres.database().replace("sslmode=disable", "sslmode=require");
    let untrusted = Db::open(&database).unwrap().get().await;
    assert!(untrusted.is_err(), "a database whose certificate nobody knows");
    let shared = [
        "--join-token",
        TOKEN,
        "--cluster-ca",
        ca,
        "--metrics",
        "127.0.0.1:0",
    ];
    let shown = ["--tls-cert", certificate, "--tls-key", key_file];
    let gateway = ["gateway", "--database", &database, "--listen", "127.0.0.1:0"];
    let mut gateway = Part::start(&[&gateway[..], &shared, &shown].concat());
    let url = gateway.says("NULLSPACE_API_URL=").await;
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let address = format!("127.0.0.1:{}", free_port());
    let advertised = format!("https://{address}");
    let state = directory.path().join("state");
    let node = [
        "serve",
        "--join",
        &url,
        "--advertise",
        &advertised,
        "--listen",
        &address,
    ];
    let more = [
        "--drain-within",
        "1m",
        "--node-name",
        "n",
        "--best-effort",
        "--state",
        state.to_str().unwrap(),
    ];
    let mut node = Part::start(&[&node[..], &more, &shared, &shown].concat());
    let tag = node.says("nullspace-engine: node ").await;
    let tag = &tag[..4];

    tls::trust(Path::new(ca)).unwrap();
    let db = Db::open(&database).unwrap();
    let key = keys::add(&db, "tests", None).await.unwrap();
    let client = Client::new();
    let path = format!("{url}/v1/machines/mch_{tag}0000000000000000");
    let ask = async || {
        let request = Request::get(&path)
            .header("authorization", format!("Bearer {key}"))
            .body(Body::empty())
            .unwrap();
        let answer = client.send(request).await.unwrap();
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        (answer.status().as_u16(), id)
    };
    // The gateway reads keys and nodes each second; then the node says that there is no such machine.
    let mut id = String::new();
    until("the node is asked", async || {
        id = ask().await.1;
        node.answered().contains(&id)
    })
    .await;
    until("the gateway tells of the same request", async || {
        gateway.answered().contains(&id)
    })
    .await;
    assert_eq!(ask().await.0, 404);
    // Without TLS nobody is heard, and who does not know the authority does not trust.
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let plain = path.replace("https://", "http://");
    assert!(http.get(plain).send().await.is_err());
    let metrics = gateway.says("metrics are told on ").await;
    let text = http.get(metrics).send().await.unwrap().text().await.unwrap();
    assert_eq!(
        number(&text, "nullspace_nodes{state=\"ready\"}"),
        Some(1.0),
        "{text}"
    );
    assert!(
        number(&text, "nullspace_proxy_seconds_count{node=\"n\"}").is_some(),
        "{text}"
    );
    let metrics = node.says("metrics are told on ").await;
    let text = http.get(metrics).send().await.unwrap().text().await.unwrap();
    assert!(
        number(&text, "nullspace_request_seconds_count{status=\"4xx\"}").is_some(),
        "{text}"
    );

    // Told to end, it tells the cluster that it drains; it is empty, so it ends.
    let pid = rustix::process::Pid::from_child(&node.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    until("the node ended", async || {
        node.child.try_wait().unwrap().is_some()
    })
    .await;
    assert!(node.log().contains("drained: the node ends"), "{}", node.log());
    let nodes = operate::list(&db).await.unwrap();
    let states: Vec<_> = nodes
        .iter()
        .map(|node| (node.name.as_str(), node.state))
        .collect();
    assert_eq!(states, [("n", "draining")]);
}
