//! Preview ports: the way to a service inside a machine, and who may take it.

use std::sync::Arc;

use crate::support::{Plain, Served};
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::routing::get;
use axum::Router;
use futures_util::{SinkExt, StreamExt};
use nullspace_engine::server::preview_hosts::Domain;
use serde_json::{json, Value};
use tokio_tungstenite::tungstenite::Message as ClientMessage;

/// A service on a free port of this computer, which is what the plain backend dials: it tells which headers and which
/// address it saw, and echoes on WebSockets.
async fn service() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = |headers: HeaderMap, uri: axum::http::Uri| async move {
        let mut all: Vec<String> = headers
            .iter()
            .map(|(k, v)| format!("{k}: {}", v.to_str().unwrap()))
            .collect();
        all.sort();
        format!("{uri}\n{}", all.join("\n"))
    };
    let echo = |upgrade: WebSocketUpgrade| async {
        upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(Message::Text(text))) = socket.recv().await {
                socket
                    .send(Message::Text(format!("echo {text}").into()))
                    .await
                    .unwrap();
            }
        })
    };
    let router = Router::new().route("/ws", get(echo)).fallback(seen);
    tokio::spawn(async { axum::serve(listener, router).await });
    port
}

/// A plain request to the preview, without following anything.
async fn visit(
    served: &Served,
    url: &str,
    headers: &[(&str, &str)],
) -> (u16, String, reqwest::header::HeaderMap) {
    let mut request = served.http.get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, response.text().await.unwrap(), headers)
}

fn code(body: &str) -> String {
    serde_json::from_str::<Value>(body).unwrap()["code"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The cookie that an answer sets, as a visitor sends it back.
fn cookie_of(headers: &reqwest::header::HeaderMap) -> String {
    let text = headers["set-cookie"].to_str().unwrap();
    text.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_port_is_reached_at_an_address_of_its_own() {
    let served = Served::start().await;
    let port = service().await;
    let id = served
        .create(json!({ "network": { "mask_request_host": "localhost:${PORT}" } }))
        .await;
    let path = format!("/v1/machines/{id}/host");
    let answer = served.post(&path, json!({ "port": port })).await.expect(200);
    let host = answer["host"].as_str().unwrap().to_owned();
    assert_eq!(answer, json!({ "host": host }));
    assert!(host.starts_with("127.0.0.1:") && !host.ends_with(&format!(":{port}")));
    assert_eq!(
        served.post(&path, json!({ "port": port })).await.expect(200)["host"],
        host.as_str(),
        "one address a port"
    );
    let (status, body, _) = visit(
        &served,
        &format!("http://{host}/a%20b?x=1&y=2"),
        &[("cookie", "theirs=1")],
    )
    .await;
    assert_eq!(status, 200);
    assert!(body.starts_with("/a%20b?x=1&y=2\n"), "{body}");
    assert!(body.contains(&format!("host: localhost:{port}")), "{body}");
    assert!(
        body.contains("cookie: theirs=1") && body.contains(&format!("x-forwarded-host: {host}")),
        "{body}"
    );
    let (status, body, _) = visit(&served, &format!("http://{host}/"), &[("host", "evil.example")]).await;
    assert_eq!((status, code(&body).as_str()), (403, "permission_denied"));
    for reserved in [22, 5900, 5999, 0] {
        served
            .post(&path, json!({ "port": reserved }))
            .await
            .refused(400, "invalid_request");
    }
    served
        .post("/v1/machines/mch_0/host", json!({ "port": port }))
        .await
        .refused(404, "machine_not_found");
    served.delete(&format!("/v1/machines/{id}")).await.expect(200);
    crate::support::until("the address is closed", async || {
        served.http.get(format!("http://{host}/")).send().await.is_err()
    })
    .await;
    served.stop().await;
}

#[tokio::test]
async fn signed_urls_open_the_port_until_they_are_taken_back() {
    let served = Served::start().await;
    let port = service().await;
    let id = served.create(json!({})).await;
    let ports = format!("/v1/machines/{id}/ports/{port}");
    let body = json!({ "expires_in_seconds": 900 });
    let signed = served
        .post(&format!("{ports}/signed-preview-url"), body)
        .await
        .expect(200);
    let (url, grant) = (
        signed["url"].as_str().unwrap(),
        signed["grant"]["id"].as_str().unwrap(),
    );
    let (status, body, headers) = visit(&served, url, &[]).await;
    assert_eq!(status, 200);
    assert!(!body.contains("edge_token"), "the service sees no token: {body}");
    let cookie = cookie_of(&headers);
    let (bare, _) = url.split_once('?').unwrap();
    let (status, body, _) = visit(&served, bare, &[("cookie", &cookie)]).await;
    assert_eq!(status, 200);
    assert!(!body.contains("cookie"), "nor the cookie: {body}");

    let socket_url = signed["websocket_url"].as_str().unwrap().replace("/?", "/ws?");
    let (mut socket, _) = tokio_tungstenite::connect_async(&socket_url).await.unwrap();
    socket.send(ClientMessage::Text("hi".into())).await.unwrap();
    assert_eq!(
        socket.next().await.unwrap().unwrap(),
        ClientMessage::Text("echo hi".into())
    );
    let wrong = url.replace("http", "ws").replace("/?", "/ws?");
    assert!(
        tokio_tungstenite::connect_async(&wrong).await.is_err(),
        "the token is for HTTP"
    );

    let listed = served
        .get(&format!("/v1/machines/{id}/preview-urls?port={port}"))
        .await
        .expect(200);
    let item = &listed["items"][0];
    assert_eq!(
        (&item["id"], &item["http_request_count"]),
        (&json!(grant), &json!(2))
    );
    assert_eq!(item["websocket_connection_count"], 1);
    assert!(!listed.to_string().contains("edge_"), "tokens are never listed");

    let revoked = served
        .delete(&format!("/v1/machines/{id}/preview-urls/{grant}"))
        .await
        .expect(200);
    assert_eq!(
        (&revoked["success"], &revoked["grant"]["status"]),
        (&json!(true), &json!("revoked"))
    );
    for headers in [vec![], vec![("cookie", cookie.as_str())]] {
        let target = if headers.is_empty() { url } else { bare };
        let (status, body, _) = visit(&served, target, &headers).await;
        assert_eq!((status, code(&body).as_str()), (401, "preview_grant_revoked"));
    }
    let (status, body, _) = visit(&served, &format!("{bare}?edge_token=made-up"), &[]).await;
    assert_eq!((status, code(&body).as_str()), (401, "edge_token_invalid"));
    for seconds in [59, 86_401] {
        let body = json!({ "expires_in_seconds": seconds });
        served
            .post(&format!("{ports}/signed-preview-url"), body)
            .await
            .refused(400, "invalid_request");
    }
    served.get(&format!("{ports}/preview-url")).await.expect(200);
    served
        .delete(&format!("/v1/machines/{id}/preview-urls/pvg_0"))
        .await
        .refused(404, "not_found");
    served.stop().await;
}

#[tokio::test]
async fn private_machines_and_proxies_need_their_tokens() {
    let served = Served::start().await;
    let port = service().await;
    let body = json!({ "network": { "allow_public_traffic": false } });
    let made = served.post("/v1/machines", body).await.expect(201);
    let (id, token) = (
        made["id"].as_str().unwrap(),
        made["traffic_access_token"].as_str().unwrap(),
    );
    assert!(served
        .get(&format!("/v1/machines/{id}"))
        .await
        .expect(200)
        .get("traffic_access_token")
        .is_none());
    let path = format!("/v1/machines/{id}/ports/{port}/preview-proxy-target");
    let target = served
        .post(&path, json!({ "transports": ["http"] }))
        .await
        .expect(200);
    let url = target["http_url"].as_str().unwrap();
    assert!(url.ends_with("__ns_preview_transport=header") && target.get("websocket_url").is_none());
    assert_eq!(target["traffic_access_required"], true);
    let proxy = target["http_token"].as_str().unwrap();
    let names = (
        "x-nullspace-traffic-access-token",
        "x-nullspace-preview-proxy-token",
    );
    for (headers, expected) in [
        (vec![], "edge_token_missing"),
        (vec![(names.0, "wrong")], "edge_token_missing"),
        (vec![(names.0, token)], "preview_proxy_token_missing"),
        (
            vec![(names.0, token), (names.1, "wrong")],
            "preview_proxy_token_invalid",
        ),
    ] {
        let (status, body, _) = visit(&served, url, &headers).await;
        assert_eq!((status, code(&body).as_str()), (401, expected));
    }
    let (status, body, _) = visit(&served, url, &[(names.0, token), (names.1, proxy)]).await;
    assert_eq!(status, 200);
    assert!(!body.contains(token) && !body.contains(proxy), "{body}");
    served
        .post(&path, json!({ "transports": [] }))
        .await
        .refused(400, "invalid_request");
    served.stop().await;
}

#[tokio::test]
async fn traffic_wakes_only_machines_that_say_so() {
    let served = Served::start().await;
    let port = service().await;
    for wakes in [false, true] {
        let id = served
            .create(json!({ "timeout_action": "hibernate", "auto_resume": wakes }))
            .await;
        let host = served
            .post(&format!("/v1/machines/{id}/host"), json!({ "port": port }))
            .await
            .expect(200);
        served
            .post(&format!("/v1/machines/{id}/hibernate"), json!({}))
            .await
            .expect(200);
        let (status, body, headers) = visit(
            &served,
            &format!("http://{}/", host["host"].as_str().unwrap()),
            &[],
        )
        .await;
        if wakes {
            assert_eq!(status, 200);
            assert_eq!(
                served.get(&format!("/v1/machines/{id}")).await.expect(200)["status"],
                "running"
            );
        } else {
            assert_eq!(
                (status, code(&body).as_str()),
                (503, "machine_paused_auto_resume_disabled")
            );
            assert_eq!(headers["retry-after"], "5");
        }
    }
    served.stop().await;
}

#[tokio::test]
async fn readiness_waits_for_the_service_and_says_when_there_is_none() {
    let served = Served::start().await;
    let port = service().await;
    let id = served.create(json!({})).await;
    let path = |port: u16| format!("/v1/machines/{id}/ports/{port}/readiness");
    let ready = served
        .post(&path(port), json!({ "kind": "tcp", "timeout_secs": 5 }))
        .await
        .expect(200);
    assert_eq!(
        (&ready["ready"], &ready["attempts"], &ready["kind"]),
        (&json!(true), &json!(1), &json!("tcp"))
    );
    let ready = served
        .post(&path(port), json!({ "kind": "http", "path": "/x" }))
        .await
        .expect(200);
    assert_eq!((&ready["ready"], &ready["path"]), (&json!(true), &json!("/x")));
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let none = served
        .post(&path(unused), json!({ "timeout_secs": 1, "interval_ms": 100 }))
        .await
        .expect(200);
    assert_eq!(
        (&none["ready"], &none["route_ready"], &none["service_ready"]),
        (&json!(false), &json!(true), &json!(false))
    );
    assert!(none["attempts"].as_u64().unwrap() > 2, "{none}");
    let (kind, words) = (json!({ "kind": "udp" }), json!({ "kind": "http", "path": "x y" }));
    for body in [kind, words, json!({ "timeout_secs": -1 })] {
        served
            .post(&path(port), body)
            .await
            .refused(400, "invalid_request");
    }
    served.stop().await;
}

/// A machine, and the address of a port of it at which `service` answers.
async fn preview(served: &Served, port: u16) -> (String, String) {
    let id = served.create(json!({})).await;
    let body = json!({ "port": port });
    let answer = served
        .post(&format!("/v1/machines/{id}/host"), body)
        .await
        .expect(200);
    let host = answer["host"].as_str().unwrap().to_owned();
    (id, host)
}

async fn signed(served: &Served, id: &str, port: u16) -> String {
    let path = format!("/v1/machines/{id}/ports/{port}/signed-preview-url");
    let signed = served.post(&path, json!({})).await.expect(200);
    signed["url"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_service_sees_no_token_and_no_cookie_that_is_ours() {
    let served = Served::start().await;
    let port = service().await;
    let ((a, host), (_, other)) = (preview(&served, port).await, preview(&served, port).await);
    let url = signed(&served, &a, port).await;
    let token = url.split_once("edge_token=").unwrap().1.to_owned();
    let (_, _, headers) = visit(&served, &url, &[]).await;
    let cookie = cookie_of(&headers);

    let both = format!("theirs=1; {cookie}");
    let (status, body, _) = visit(&served, &format!("http://{other}/"), &[("cookie", &both)]).await;
    assert_eq!(status, 200);
    assert!(
        body.contains("cookie: theirs=1") && !body.contains("__ns_preview_"),
        "{body}"
    );

    for spelt in ["edge%5Ftoken", "%65dge_token", "edge_token"] {
        let url = format!("http://{host}/?x=1&{spelt}={token}&y=2");
        let (status, body, _) = visit(&served, &url, &[]).await;
        assert_eq!(status, 200);
        assert!(
            body.starts_with("/?x=1&y=2\n") && !body.contains(&token),
            "{spelt}: {body}"
        );
    }
    let (_, body, _) = visit(&served, &format!("http://{host}/style.css"), &[("referer", &url)]).await;
    assert!(
        body.contains("referer: http://") && !body.contains(&token),
        "{body}"
    );
    served.stop().await;
}

#[tokio::test]
async fn headers_of_one_connection_end_with_it() {
    let served = Served::start().await;
    let (_, host) = preview(&served, service().await).await;
    let sent = [
        ("connection", "x-hop, keep-alive"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("proxy-authorization", "Basic secret"),
        ("x-end-to-end", "1"),
    ];
    let (status, body, _) = visit(&served, &format!("http://{host}/"), &sent).await;
    assert_eq!(status, 200);
    for name in ["x-hop", "keep-alive", "te:", "proxy-authorization"] {
        assert!(!body.contains(name), "{name}: {body}");
    }
    assert!(body.contains("x-end-to-end: 1"), "{body}");
    served.stop().await;
}

#[tokio::test]
async fn pages_of_others_need_a_token() {
    let state = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let allowed = "http://localhost:5173";
    let open = |access: nullspace_engine::server::access::Access| access.with_origins([allowed.to_owned()]);
    let served = Served::start_open(crate::support::Plain::new(), state, open).await;
    let (port, second) = (service().await, service().await);
    let (id, host) = preview(&served, port).await;
    let body = json!({ "port": second });
    let sibling = served
        .post(&format!("/v1/machines/{id}/host"), body)
        .await
        .expect(200);
    let (_, stranger) = preview(&served, port).await;
    let url = signed(&served, &id, port).await;
    let (_, _, headers) = visit(&served, &url, &[]).await;
    let cookie = cookie_of(&headers);
    let bare = format!("http://{host}/");
    let localhost = host.replace("127.0.0.1", "localhost");

    let own = [format!("http://{host}"), format!("http://{localhost}")];
    let own = own.into_iter().chain([
        format!("http://{}", sibling["host"].as_str().unwrap()),
        allowed.to_owned(),
    ]);
    for origin in own {
        assert_eq!(
            visit(&served, &bare, &[("origin", &origin)]).await.0,
            200,
            "{origin}"
        );
        assert!(socket(&host, &origin).await.is_ok(), "{origin}");
    }
    for origin in [
        "http://evil.example",
        "null",
        "https://localhost:5173",
        &format!("http://{stranger}"),
    ] {
        for headers in [
            vec![("origin", origin)],
            vec![("origin", origin), ("cookie", cookie.as_str())],
        ] {
            let (status, body, _) = visit(&served, &bare, &headers).await;
            assert_eq!(
                (status, code(&body).as_str()),
                (403, "permission_denied"),
                "{origin}"
            );
        }
        assert!(socket(&host, origin).await.is_err(), "{origin}");
        assert_eq!(
            visit(&served, &url, &[("origin", origin)]).await.0,
            200,
            "{origin}"
        );
    }
    served.stop().await;
}

/// Opens a WebSocket as a page of an origin does.
async fn socket(host: &str, origin: &str) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    let mut request = format!("ws://{host}/ws").into_client_request().unwrap();
    request.headers_mut().insert("origin", origin.parse().unwrap());
    tokio_tungstenite::connect_async(request).await.map(drop)
}

#[tokio::test]
async fn an_answer_that_is_streamed_keeps_its_machine_awake() {
    let served = Served::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let drip = || async {
        let pieces = futures_util::stream::unfold(0, |n| async move {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            (n < 20).then(|| (Ok::<_, std::io::Error>("piece "), n + 1))
        });
        axum::body::Body::from_stream(pieces)
    };
    let router = Router::new().fallback(drip);
    tokio::spawn(async { axum::serve(listener, router).await });
    let id = served
        .create(json!({ "inactivity_timeout_ms": 500, "timeout_action": "hibernate" }))
        .await;
    let body = json!({ "port": port });
    let answer = served
        .post(&format!("/v1/machines/{id}/host"), body)
        .await
        .expect(200);
    let (status, body, _) = visit(
        &served,
        &format!("http://{}/", answer["host"].as_str().unwrap()),
        &[],
    )
    .await;
    let machine = async || served.get(&format!("/v1/machines/{id}")).await.expect(200)["status"].clone();
    assert_eq!(
        (status, body.len(), machine().await),
        (200, 20 * 6, json!("running"))
    );
    crate::support::until("it is paused once nothing passes", async || {
        machine().await == "paused"
    })
    .await;
    served.stop().await;
}

#[tokio::test]
async fn with_a_domain_ports_have_names_on_the_one_port() {
    let domain = Domain::parse("previews.example.com", 0).unwrap();
    let state = Arc::new(tempfile::tempdir().unwrap());
    let served = Served::start_open(Plain::new(), state, |access| {
        access.with_preview_domain(Some(domain))
    })
    .await;
    let port = service().await;
    let id = served.create(json!({})).await;
    let answer = served
        .post(&format!("/v1/machines/{id}/host"), json!({ "port": port }))
        .await
        .expect(200);
    let host = format!("{port}-{id}.previews.example.com");
    let urls =
        json!({ "host": host, "url": format!("https://{host}"), "websocket_url": format!("wss://{host}") });
    assert_eq!(answer, urls);

    // Something in front of the engine ends TLS, and says who asked.
    let named = [("host", host.as_str()), ("x-forwarded-for", "192.0.2.7")];
    let (status, body, _) = visit(&served, &format!("{}/page", served.url), &named).await;
    assert!(status == 200 && body.starts_with("/page\n"), "{status} {body}");
    assert!(
        body.contains("x-forwarded-proto: https") && body.contains("x-forwarded-for: 192.0.2.7"),
        "{body}"
    );
    let body = json!({ "expires_in_seconds": 60 });
    let path = format!("/v1/machines/{id}/ports/{port}/signed-preview-url");
    let signed = served.post(&path, body).await.expect(200);
    let query = signed["url"]
        .as_str()
        .unwrap()
        .strip_prefix(&format!("https://{host}/"))
        .unwrap()
        .to_owned();
    let (status, _, headers) = visit(&served, &format!("{}/{query}", served.url), &named).await;
    let cookie = headers["set-cookie"].to_str().unwrap();
    assert!(status == 200 && cookie.ends_with("; Secure"), "{status} {cookie}");
    let page = [("host", host.as_str()), ("origin", "http://previews.example.com")];
    assert_eq!(visit(&served, &served.url, &page).await.0, 403);

    // Two names in one request must lead to the same place; what leads nowhere is not the API either.
    let twice = [("host", host.as_str()), ("host", "localhost")];
    assert_eq!(visit(&served, &served.url, &twice).await.0, 400);
    let (status, body, _) = visit(&served, &served.url, &[("host", "previews.example.com")]).await;
    assert_eq!((status, code(&body).as_str()), (403, "permission_denied"));
    served.get("/v1/machines").await.expect(200);
    // What a gateway would say to a node is nothing to an engine.
    let forged = [
        ("host", "8080-mch_0.evil.example"),
        ("x-nullspace-preview-domain", "http://evil.example"),
        ("x-nullspace-node-key", crate::support::KEY),
    ];
    assert_eq!(visit(&served, &served.url, &forged).await.0, 403);
    served.stop().await;
}
