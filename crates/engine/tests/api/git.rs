//! Credentials of git: who is told them. Runs the git of this computer against servers on loopback.

use std::sync::{Arc, Mutex};

use crate::support::Served;
use axum::extract::State;
use axum::http::{header, HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::Router;
use serde_json::json;

/// base64 of `git-user:git-password`.
const SENT: &str = "Z2l0LXVzZXI6Z2l0LXBhc3N3b3Jk";

/// A server, and each `Authorization` that it got.
struct Server {
    address: String,
    got: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Sends everything on to another server, or asks for credentials and then repeats them.
    async fn start(on_to: Option<String>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let got = Arc::new(Mutex::new(Vec::new()));
        let router = Router::new().fallback(answer).with_state((on_to, got.clone()));
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { address, got }
    }
}

type Shared = State<(Option<String>, Arc<Mutex<Vec<String>>>)>;

async fn answer(State((on_to, got)): Shared, uri: Uri, headers: HeaderMap) -> Response {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    got.lock().unwrap().push(given.unwrap_or_default().to_owned());
    match (on_to, given) {
        (Some(host), _) => (
            StatusCode::FOUND,
            [(header::LOCATION, format!("http://{host}{uri}"))],
        )
            .into_response(),
        (None, None) => {
            let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"x\"")];
            (StatusCode::UNAUTHORIZED, ask).into_response()
        }
        (None, Some(given)) => (
            StatusCode::FORBIDDEN,
            [(header::CONTENT_TYPE, "text/plain")],
            format!("denied for {given}"),
        )
            .into_response(),
    }
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn credentials_go_to_the_site_of_the_remote_only_and_are_never_shown() {
    if std::process::Command::new("git")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("skipped: there is no git");
        return;
    }
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    let honest = Server::start(None).await;
    let elsewhere = Server::start(None).await;
    let cheat = Server::start(Some(elsewhere.address.clone())).await;
    let auth = json!({ "kind": "https", "username": "git-user", "password": "git-password" });
    let clone = async |server: &Server| {
        let body = json!({ "url": format!("http://{}/x.git", server.address), "path": "/workspace/x", "auth": auth });
        served.post(&format!("/v1/machines/{id}/git/clone"), body).await
    };
    let refused = clone(&honest).await;
    assert!(honest.got.lock().unwrap().contains(&format!("Basic {SENT}")));
    assert!(refused.text.contains("denied for Basic ***"), "{refused:?}");
    for secret in ["git-password", SENT] {
        assert!(!refused.text.contains(secret), "{refused:?}");
    }
    let refused = clone(&cheat).await;
    assert_ne!(refused.status, 200);
    let got = elsewhere.got.lock().unwrap().clone();
    assert!(!got.is_empty() && got.iter().all(String::is_empty), "{got:?}");

    // The same by the name of a remote, and for a push.
    let shell = format!(
        "git init -q r && cd r && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x && \
         git remote add origin http://{}/x.git && git remote add other http://{}/x.git && pwd",
        honest.address, cheat.address
    );
    let made = served.shell(&id, &shell).await;
    let path = made["stdout"].as_str().unwrap().trim().to_owned();
    honest.got.lock().unwrap().clear();
    for call in ["pull", "push"] {
        for remote in ["origin", "other"] {
            // A push of a branch that is not there ends before it asks.
            let branch = (call == "pull").then_some("main");
            let body = json!({ "path": path, "remote": remote, "branch": branch, "auth": auth });
            let refused = served.post(&format!("/v1/machines/{id}/git/{call}"), body).await;
            assert!(
                refused.status >= 400 && !refused.text.contains(SENT),
                "{refused:?}"
            );
        }
        let told = std::mem::take(&mut *honest.got.lock().unwrap());
        assert!(told.contains(&format!("Basic {SENT}")), "{call}: {told:?}");
    }
    assert!(elsewhere.got.lock().unwrap().iter().all(String::is_empty));
    served.stop().await;
}
