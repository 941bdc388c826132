//! An engine behind real HTTP on a free port, over a backend that isolates nothing, and short ways to ask it.
#![allow(dead_code)] // each test file uses a part

pub mod backend;
pub mod folders;

use std::sync::Arc;
use std::time::{Duration, Instant};

use nullspace_engine::machine::{Engine, Ids};
use nullspace_engine::server::{self, access::Access, faults::Faults};
use nullspace_engine::store::Store;
use nullspace_engine::webhooks::Webhooks;
use reqwest::Method;
use serde_json::{json, Value};
use tempfile::TempDir;

pub use backend::Plain;

pub const KEY: &str = "test-key";

/// A served engine. Its state is removed with it.
pub struct Served {
    pub engine: Arc<Engine>,
    #[allow(dead_code)] // not every test file needs them
    pub webhooks: Arc<Webhooks>,
    pub backend: Arc<Plain>,
    pub state: Arc<TempDir>,
    client: Client,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Reply {
    /// Its body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Checks the status and gives the body.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// Checks that it is an error of this status and code, whole as the envelope asks, and gives its message.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> String {
        let body = self.json();
        assert_eq!(
            (self.status, body["code"].as_str()),
            (status, Some(code)),
            "{self:?}"
        );
        let id = body["request_id"].as_str().unwrap();
        assert!(id.starts_with("req_"), "{self:?}");
        assert_eq!(self.headers["x-request-id"], id);
        assert!(body["retryable"].is_boolean(), "{self:?}");
        body["error"].as_str().unwrap().to_owned()
    }
}

impl std::ops::Deref for Served {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// Who asks an engine, or a gateway.
pub struct Client {
    pub url: String,
    pub key: String,
    pub http: reqwest::Client,
}

impl Client {
    pub fn new(url: String, key: &str) -> Self {
        Self {
            url,
            key: key.to_owned(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(&self.key)
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let reply = Reply {
            status,
            headers,
            text: response.text().await.unwrap(),
        };
        assert!(reply.headers.contains_key("x-request-id"), "{reply:?}");
        reply
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        self.send(self.request(Method::PATCH, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub async fn post_with_key(&self, path: &str, key: &str, body: Value) -> Reply {
        self.send(
            self.request(Method::POST, path)
                .header("idempotency-key", key)
                .json(&body),
        )
        .await
    }

    /// Makes a machine and gives its id.
    pub async fn create(&self, body: Value) -> String {
        let made = self.post("/v1/machines", body).await.expect(201);
        made["id"].as_str().unwrap().to_owned()
    }

    /// Runs shell text and gives the answer.
    pub async fn shell(&self, id: &str, text: &str) -> Value {
        let body = json!({ "command": text, "shell": true });
        self.post(&format!("/v1/machines/{id}/exec"), body)
            .await
            .expect(200)
    }
}

impl Served {
    pub async fn start() -> Self {
        Self::start_with(Plain::new(), Arc::new(tempfile::tempdir().unwrap())).await
    }

    pub async fn start_with(backend: Arc<Plain>, state: Arc<TempDir>) -> Self {
        Self::start_open(backend, state, |access| access).await
    }

    pub async fn start_open(
        backend: Arc<Plain>,
        state: Arc<TempDir>,
        open: impl FnOnce(Access) -> Access,
    ) -> Self {
        Self::start_with_faults(backend, state, open, Some(Faults::new())).await
    }

    /// Without the way to make requests fail, connections are served as users have them.
    #[allow(dead_code)] // not every test file needs it
    pub async fn start_without_faults() -> Self {
        let state = Arc::new(tempfile::tempdir().unwrap());
        Self::start_with_faults(Plain::new(), state, |access| access, None).await
    }

    async fn start_with_faults(
        backend: Arc<Plain>,
        state: Arc<TempDir>,
        open: impl FnOnce(Access) -> Access,
        faults: Option<Arc<Faults>>,
    ) -> Self {
        // Connections of an engine that just ended may hold it, and so its lock, a moment longer.
        let begun = Instant::now();
        let store = loop {
            match Store::open(state.path()) {
                Ok(store) => break store,
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(5), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let engine = Engine::open(store, backend.clone(), Ids::default())
            .await
            .unwrap();
        let webhooks = Webhooks::open(engine.clone()).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let access = open(Access::new(KEY, address));
        let serving = tokio::spawn(server::serve(
            listener,
            engine.clone(),
            webhooks.clone(),
            access,
            faults,
        ));
        Self {
            engine,
            webhooks,
            backend,
            state,
            client: Client::new(format!("http://{address}"), KEY),
            serving,
        }
    }

    /// Ends the engine as SIGTERM does and gives what the next one starts from.
    pub async fn stop(self) -> (Arc<Plain>, Arc<TempDir>) {
        self.engine.shutdown().await;
        drop(self.client);
        tokio::time::timeout(Duration::from_secs(5), self.serving)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(self.backend.alive(), 0, "machines were left");
        (self.backend, self.state)
    }

    /// Makes a pool and waits until it is filled.
    pub async fn pool(&self, min_ready: u32, max_ready: u32) -> String {
        let resources = json!({ "vcpus": 2, "memory_mb": 512 });
        let body = json!({
            "name": "p", "template_ref": "base", "min_ready": min_ready, "max_ready": max_ready, "resources": resources
        });
        let made = self.post("/v1/template-warm-pools", body).await.expect(201);
        let id = made["id"].as_str().unwrap().to_owned();
        self.until_ready(&id, min_ready).await;
        id
    }

    /// Waits until a pool has so many ready machines.
    pub async fn until_ready(&self, pool: &str, count: u32) {
        until("the pool is ready", async || {
            let pool = self
                .get(&format!("/v1/template-warm-pools/{pool}"))
                .await
                .expect(200);
            pool["status"]["ready"] == count && pool["status"]["warming"] == 0
        })
        .await;
    }
}

/// Asks again until it is so; at most a minute.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "not so in time: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
