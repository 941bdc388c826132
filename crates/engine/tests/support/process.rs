//! An engine that is a process of its own, over real machines.
#![allow(dead_code)] // each test file uses a part

#[path = "folders.rs"]
mod folders;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use folders::holding;
use serde_json::{json, Value};

const KEY: &str = "test-key";

/// An engine that is a process of its own, killed with the test.
pub struct Engine {
    pub child: Child,
    url: String,
    http: reqwest::Client,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Engine {
    pub fn start(state: &Path) -> Self {
        Self::trusting(state, None)
    }

    /// One that trusts an authority, instead of those of the system.
    pub fn trusting(state: &Path, authority: Option<&Path>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_nullspace-engine"))
            .args(["serve", "--listen", "127.0.0.1:0", "--api-key", KEY, "--state"])
            .arg(state)
            .env_remove("SSL_CERT_DIR")
            .env_remove("SSL_CERT_FILE")
            .envs(authority.map(|file| ("SSL_CERT_FILE", file)))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines
            .map(|line| line.unwrap())
            .find_map(|line| line.strip_prefix("NULLSPACE_API_URL=").map(str::to_owned))
            .expect("the engine gave no address");
        Self {
            child,
            url,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self
            .http
            .get(format!("{}{path}", self.url))
            .bearer_auth(KEY)
            .send()
            .await
            .unwrap();
        answer.json().await.unwrap()
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        let request = self
            .http
            .post(format!("{}{path}", self.url))
            .bearer_auth(KEY)
            .json(&body);
        request.send().await.unwrap().json().await.unwrap()
    }

    /// A build once it is over.
    pub async fn over(&self, body: Value) -> Value {
        let build = self.post("/v1/templates/builds", body).await;
        let Some(id) = build["build_id"].as_str() else {
            panic!("{build:#}");
        };
        let is_over =
            |now: &Value| !["waiting", "building"].contains(&now["build"]["status"].as_str().unwrap());
        self.until(id, is_over).await
    }

    /// What a command says in a new machine of the template `app`.
    pub async fn said(&self, command: &str) -> Value {
        let machine = json!({ "template": "app", "memory_mb": 128 });
        let machine = self.post("/v1/machines", machine).await;
        let path = format!("/v1/machines/{}/exec", machine["id"].as_str().unwrap());
        self.post(&path, json!({ "command": command, "shell": true }))
            .await
    }

    /// A build as it is once it has this status.
    pub async fn until(&self, build: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let now = self.get(&format!("/v1/templates/builds/{build}")).await;
            if is_so(&now) {
                return now;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{now:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Names in a directory; none if it is not there.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}
