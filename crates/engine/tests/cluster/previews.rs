//! Ports of machines through a gateway, by their names.

use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::routing::get;
use axum::Router;
use futures_util::{SinkExt, StreamExt};
use nullspace_engine::machine::network::previews::Ports;
use serde_json::{json, Value};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::Message as ClientMessage;

use crate::cluster::{tag, Whole, QUICK};
use crate::postgres;

/// A service on a free port of this computer, which is what nodes without isolation dial: it tells the headers that it saw, and
/// echoes on WebSockets.
async fn service() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = |headers: HeaderMap, uri: axum::http::Uri| async move {
        let all = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()));
        format!("{uri}\n{}", all.collect::<String>())
    };
    let echo = |upgrade: WebSocketUpgrade| async {
        upgrade
            .protocols(["nullspace.bearer.theirs"])
            .on_upgrade(|mut socket| async move {
                while let Some(Ok(Message::Text(text))) = socket.recv().await {
                    let answer = Message::Text(format!("echo {text}").into());
                    socket.send(answer).await.unwrap();
                }
            })
    };
    let router = Router::new().route("/ws", get(echo)).fallback(seen);
    tokio::spawn(async { axum::serve(listener, router).await });
    port
}

/// What the gateway answers to a request for a name.
async fn visit(whole: &Whole, host: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String, HeaderMap) {
    let gateway = whole.gateway();
    // Names below localhost are those of this computer, which not every C library knows.
    let mut request = gateway
        .http
        .get(format!("{}{path}", gateway.url))
        .header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, response.text().await.unwrap(), headers)
}

fn code(text: &str) -> String {
    let body: Value = serde_json::from_str(text).unwrap();
    body["code"].as_str().unwrap().to_owned()
}

/// Path and query of a URL that the API gave.
fn path_of(url: &Value) -> String {
    let url = url.as_str().unwrap();
    let (_, rest) = url.split_once("://").unwrap();
    rest[rest.find('/').unwrap()..].to_owned()
}

async fn opened(whole: &Whole, id: &str, port: u16) -> Value {
    let path = format!("/v1/machines/{id}/host");
    whole
        .gateway()
        .post(&path, json!({ "port": port }))
        .await
        .expect(200)
}

/// The name of a port of a machine, which is opened by that.
async fn host_of(whole: &Whole, id: &str, port: u16) -> String {
    opened(whole, id, port).await["host"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_port_is_reached_by_its_name_at_the_gateway_and_sees_what_was_sent_to_it() {
    let whole = Whole::start(2, 2).await;
    let port = service().await;
    let id = whole.gateway().create(json!({})).await;
    let own = whole.gateway().url.rsplit(':').next().unwrap().to_owned();
    let host = format!("{port}-{id}.localhost:{own}");
    let (status, text, _) = visit(&whole, &host, "/", &[]).await;
    assert_eq!(
        (status, code(&text).as_str()),
        (404, "not_found"),
        "nobody asked for the port yet"
    );
    let answer = opened(&whole, &id, port).await;
    let urls =
        json!({ "host": host, "url": format!("http://{host}"), "websocket_url": format!("ws://{host}") });
    assert_eq!(answer, urls);

    let theirs = [
        ("authorization", "Basic dGhlaXJz"),
        ("cookie", "theirs=1"),
        ("x-nullspace-node-key", "forged"),
        ("x-nullspace-preview-domain", "http://evil.example"),
    ];
    let (status, text, _) = visit(&whole, &host, "/a%20b?x=1&y=2", &theirs).await;
    assert_eq!(status, 200, "{text}");
    assert!(text.starts_with("/a%20b?x=1&y=2\n"), "{text}");
    for line in [
        format!("host: {host}"),
        format!("x-forwarded-host: {host}"),
        "x-forwarded-proto: http".into(),
        "authorization: Basic dGhlaXJz".into(),
        "cookie: theirs=1".into(),
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} in {text}");
    }
    assert!(
        !text.contains("x-nullspace-") && !text.contains("x-request-id"),
        "{text}"
    );

    // Names say nothing about the case, and another gateway may have been asked.
    let gateway = &whole.gateways[1];
    let request = gateway.http.get(&gateway.url).header("host", host.to_uppercase());
    assert_eq!(request.send().await.unwrap().status(), 200);

    // The API stays where it is, and no name is a way around its key.
    assert_eq!(
        whole.gateway().get(&format!("/v1/machines/{id}")).await.status,
        200
    );
    for foreign in [
        format!("{port}-{id}.evil.example:{own}"),
        format!("{port}-vol_0123.localhost:{own}"),
    ] {
        let (status, text, _) = visit(&whole, &foreign, "/v1/machines", &[]).await;
        assert_eq!(
            (status, code(&text).as_str()),
            (403, "permission_denied"),
            "{foreign}"
        );
    }
    let nobody = format!("{port}-mch_{}0000000000000000.localhost:{own}", tag(&id));
    assert_eq!(visit(&whole, &nobody, "/", &[]).await.0, 404);
    let unknown = format!("{port}-mch_00000000000000000000.localhost:{own}");
    assert_eq!(visit(&whole, &unknown, "/", &[]).await.0, 404);
    whole
        .gateway()
        .delete(&format!("/v1/machines/{id}"))
        .await
        .expect(200);
    assert_ne!(visit(&whole, &host, "/", &[]).await.0, 200);
}

#[tokio::test]
async fn a_node_leads_nobody_to_a_port_but_gateways() {
    let whole = Whole::start(1, 1).await;
    let port = service().await;
    let id = whole.gateway().create(json!({})).await;
    let host = host_of(&whole, &id, port).await;
    let node = &whole.nodes[0];
    let ask = |key: &str| {
        let request = whole.gateway().http.get(&node.url).header("host", &host);
        request
            .header("x-nullspace-preview-domain", "http://localhost")
            .header("x-nullspace-node-key", key)
    };
    let wrong = whole.gateway().key.clone();
    for key in ["", "forged", wrong.as_str()] {
        assert_eq!(ask(key).send().await.unwrap().status(), 401, "{key}");
    }
}

#[tokio::test]
async fn tokens_cookies_and_origins_are_checked_as_at_addresses() {
    let whole = Whole::start(1, 2).await;
    let port = service().await;
    let gateway = whole.gateway();
    let id = gateway.create(json!({})).await;
    let other = gateway.create(json!({})).await;
    let host = host_of(&whole, &id, port).await;
    let foreign = host_of(&whole, &other, port).await;

    // Pages: the machine's own ports may, others need a token.
    let own = format!("http://{}", host.replacen(&port.to_string(), "3000", 1));
    for (origin, status) in [
        (own, 200),
        (format!("http://{foreign}"), 403),
        ("https://evil.example".into(), 403),
    ] {
        assert_eq!(
            visit(&whole, &host, "/", &[("origin", &origin)]).await.0,
            status,
            "{origin}"
        );
    }

    let ports = format!("/v1/machines/{id}/ports/{port}");
    let body = json!({ "expires_in_seconds": 60 });
    let signed = gateway
        .post(&format!("{ports}/signed-preview-url"), body)
        .await
        .expect(200);
    assert!(
        signed["url"]
            .as_str()
            .unwrap()
            .starts_with(&format!("http://{host}/?edge_token=")),
        "{signed}"
    );
    let evil = [("origin", "https://evil.example")];
    let (status, text, headers) = visit(&whole, &host, &path_of(&signed["url"]), &evil).await;
    assert!(status == 200 && !text.contains("edge_token"), "{status} {text}");
    let cookie = headers["set-cookie"].to_str().unwrap();
    assert!(
        cookie.starts_with(&format!("__ns_preview_{id}_{port}=")) && !cookie.contains("Domain"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().unwrap().to_owned();
    assert_eq!(visit(&whole, &host, "/", &[("cookie", &cookie)]).await.0, 200);
    let grant = signed["grant"]["id"].as_str().unwrap();
    gateway
        .delete(&format!("/v1/machines/{id}/preview-urls/{grant}"))
        .await
        .expect(200);
    for headers in [vec![], vec![("cookie", cookie.as_str())]] {
        let path = if headers.is_empty() {
            path_of(&signed["url"])
        } else {
            "/".into()
        };
        let (status, text, _) = visit(&whole, &host, &path, &headers).await;
        assert_eq!((status, code(&text).as_str()), (401, "preview_grant_revoked"));
    }

    // A machine that takes no public traffic.
    let body = json!({ "network": { "allow_public_traffic": false } });
    let made = gateway.post("/v1/machines", body).await.expect(201);
    let private = made["id"].as_str().unwrap();
    let token = made["traffic_access_token"].as_str().unwrap();
    let host = host_of(&whole, private, port).await;
    let header = "x-nullspace-traffic-access-token";
    for (headers, status) in [
        (vec![], 401),
        (vec![(header, "no")], 401),
        (vec![(header, token)], 200),
    ] {
        assert_eq!(visit(&whole, &host, "/", &headers).await.0, status, "{headers:?}");
    }
    let path = format!("/v1/machines/{private}/ports/{port}/preview-proxy-target");
    let target = gateway
        .post(&path, json!({ "transports": ["http"] }))
        .await
        .expect(200);
    assert_eq!(target["warnings"], json!([]));
    let proxy = [
        (header, token),
        (
            "x-nullspace-preview-proxy-token",
            target["http_token"].as_str().unwrap(),
        ),
    ];
    let path = path_of(&target["http_url"]);
    assert_eq!(visit(&whole, &host, &path, &proxy).await.0, 200);
    let (status, text, _) = visit(&whole, &host, &path, &proxy[..1]).await;
    assert_eq!(
        (status, code(&text).as_str()),
        (401, "preview_proxy_token_missing")
    );
}

#[tokio::test]
async fn websockets_go_through_with_their_subprotocols() {
    let whole = Whole::start(1, 1).await;
    let port = service().await;
    let id = whole.gateway().create(json!({})).await;
    let host = host_of(&whole, &id, port).await;
    let address = whole.gateway().url.strip_prefix("http://").unwrap().to_owned();
    let connect = async |origin: &str| {
        let mut request = format!("ws://{host}/ws").into_client_request().unwrap();
        let headers = request.headers_mut();
        // A service may call its protocols as it likes.
        headers.insert(
            "sec-websocket-protocol",
            "nullspace.bearer.theirs".parse().unwrap(),
        );
        headers.insert("origin", origin.parse().unwrap());
        let stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        tokio_tungstenite::client_async(request, stream).await
    };
    let (mut socket, answer) = connect(&format!("http://{host}")).await.unwrap();
    assert_eq!(
        answer.headers()["sec-websocket-protocol"],
        "nullspace.bearer.theirs"
    );
    socket.send(ClientMessage::text("hello")).await.unwrap();
    assert_eq!(
        socket.next().await.unwrap().unwrap(),
        ClientMessage::text("echo hello")
    );
    assert!(connect("https://evil.example").await.is_err());
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_a_503_and_a_lost_one_says_what_became_of_the_machine() {
    let whole = Whole::over(postgres::database(), QUICK, 1, 2).await;
    let port = service().await;
    let id = whole.gateway().create(json!({})).await;
    let host = host_of(&whole, &id, port).await;
    whole.node(&tag(&id)).kill().await;
    let (status, text, _) = visit(&whole, &host, "/", &[]).await;
    assert_eq!((status, code(&text).as_str()), (503, "node_unreachable"));
    whole.until_state(&tag(&id), "lost").await;
    let (status, text, _) = visit(&whole, &host, "/", &[]).await;
    assert!(
        status != 200 && text.contains("its node was lost"),
        "{status} {text}"
    );
}

#[tokio::test]
async fn ssh_leads_to_the_node_under_the_name_that_it_advertises() {
    let whole = Whole::start(1, 1).await;
    whole.nodes[0].engine.use_ports(Ports {
        host: Some("node-7.example".into()),
        ..Ports::default()
    });
    let id = whole.gateway().create(json!({})).await;
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqSQ8JH0WwRGDq7bNrZVKYeKmkFo2xF7Vm0O4X4yQ4M";
    let body = json!({ "public_key": key });
    let access = whole
        .gateway()
        .post(&format!("/v1/machines/{id}/ssh-access"), body)
        .await
        .expect(200);
    assert_eq!(access["host"], "node-7.example");
    let port = access["port"].as_u64().unwrap();
    assert_eq!(access["command"], format!("ssh -p {port} root@node-7.example"));
    // It is the node that listens.
    tokio::net::TcpStream::connect(("127.0.0.1", port as u16))
        .await
        .unwrap();
}
