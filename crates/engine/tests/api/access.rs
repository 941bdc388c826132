//! Who is let in, and what everybody is answered.

use std::sync::Arc;

use crate::support::{Plain, Served, KEY};
use reqwest::Method;
use serde_json::{json, Value};

#[tokio::test]
async fn without_the_key_nothing_but_health_is_answered() {
    let served = Served::start().await;
    let bare = |path: &str| served.http.get(format!("{}{path}", served.url));
    assert_eq!(
        served.send(bare("/healthz")).await.expect(200),
        json!({ "status": "ok" })
    );
    served
        .send(bare("/v1/machines"))
        .await
        .refused(401, "unauthorized");
    served
        .send(bare("/no/such/path"))
        .await
        .refused(401, "unauthorized");
    for key in ["wrong", "", "test-key2", "test-ke"] {
        let reply = served.send(bare("/v1/machines").bearer_auth(key)).await;
        assert!(!reply.text.contains(KEY), "{reply:?}");
        reply.refused(401, "unauthorized");
    }
    served
        .send(bare("/v1/machines").header("authorization", format!("bearer {KEY}")))
        .await
        .expect(200);
    served
        .send(bare("/v1/machines").header("authorization", format!("Basic {KEY}")))
        .await
        .refused(401, "unauthorized");
    served.stop().await;
}

#[tokio::test]
async fn a_foreign_host_header_is_refused_even_with_the_key() {
    let served = Served::start().await;
    for path in ["/v1/machines", "/healthz"] {
        for host in ["evil.example", "localhost:1", "evil.example:3000"] {
            let request = served.request(Method::GET, path).header("host", host);
            served.send(request).await.refused(403, "permission_denied");
        }
    }
    let port = served.url.rsplit(':').next().unwrap();
    let request = served
        .request(Method::GET, "/v1/machines")
        .header("host", format!("localhost:{port}"));
    served.send(request).await.expect(200);
    served.stop().await;
}

/// The status of a request as it is written here.
async fn status_of(served: &Served, head: &str) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = served.url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let text = format!("{head}authorization: Bearer {KEY}\r\nconnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_header_that_comes_twice_is_looked_at_twice() {
    let served = Served::start().await;
    let own = served.url.strip_prefix("http://").unwrap();
    for (hosts, expected) in [
        (vec![own], 200),
        (vec![own, "evil.example"], 400),
        (vec!["evil.example", own], 400),
        (vec![own, own], 400),
        (vec![], 403),
    ] {
        let lines: String = hosts.iter().map(|host| format!("host: {host}\r\n")).collect();
        let head = format!("GET /v1/machines HTTP/1.1\r\n{lines}");
        assert_eq!(status_of(&served, &head).await, expected, "{hosts:?}");
    }
    let absolute = format!("GET http://evil.example/v1/machines HTTP/1.1\r\nhost: {own}\r\n");
    assert_eq!(status_of(&served, &absolute).await, 403);
    served.stop().await;

    let allowed = "http://localhost:5173";
    let open = |access: nullspace_engine::server::access::Access| access.with_origins([allowed.to_owned()]);
    let served = Served::start_open(Plain::new(), Arc::new(tempfile::tempdir().unwrap()), open).await;
    let own = served.url.strip_prefix("http://").unwrap();
    let head = format!(
        "GET /v1/machines HTTP/1.1\r\nhost: {own}\r\norigin: {allowed}\r\norigin: http://evil.example\r\n"
    );
    assert_eq!(status_of(&served, &head).await, 403);
    served.stop().await;
}

#[tokio::test]
async fn pages_are_let_in_only_from_allowed_origins() {
    let origin = "http://localhost:5173";
    let state = Arc::new(tempfile::tempdir().unwrap());
    let open = |access: nullspace_engine::server::access::Access| access.with_origins([origin.to_owned()]);
    let served = Served::start_open(Plain::new(), state, open).await;
    let list = |origin: &str| {
        served
            .request(Method::GET, "/v1/machines")
            .header("origin", origin)
    };
    for foreign in ["https://evil.example", "http://localhost:5174", "null"] {
        let reply = served.send(list(foreign)).await;
        assert!(!reply.headers.contains_key("access-control-allow-origin"));
        reply.refused(403, "permission_denied");
    }
    let reply = served.send(list(origin)).await;
    assert_eq!(reply.headers["access-control-allow-origin"], origin);
    let exposed = reply.headers["access-control-expose-headers"]
        .to_str()
        .unwrap()
        .to_owned();
    for name in ["x-request-id", "retry-after", "x-nullspace-dispatch-proof"] {
        assert!(exposed.contains(name), "{exposed}");
    }
    reply.expect(200);
    // A page must be able to read why it failed.
    let reply = served
        .send(
            served
                .request(Method::GET, "/v1/machines/mch_0")
                .header("origin", origin),
        )
        .await;
    assert_eq!(reply.headers["access-control-allow-origin"], origin);
    reply.refused(404, "machine_not_found");

    let preflight = |origin: &str| {
        let request = served
            .http
            .request(Method::OPTIONS, format!("{}/v1/machines", served.url));
        request
            .header("origin", origin)
            .header("access-control-request-method", "POST")
    };
    let reply = served.send(preflight(origin)).await;
    assert_eq!(reply.status, 204);
    assert!(reply.headers["access-control-allow-headers"]
        .to_str()
        .unwrap()
        .contains("idempotency-key"));
    assert!(reply.headers["access-control-allow-methods"]
        .to_str()
        .unwrap()
        .contains("PATCH"));
    served
        .send(preflight("https://evil.example"))
        .await
        .refused(403, "permission_denied");
    served.stop().await;
}

#[tokio::test]
async fn every_operation_of_the_schema_is_built_or_answers_501_with_its_name() {
    let served = Served::start().await;
    let schema: Value = serde_json::from_str(include_str!("../../../../spec/openapi.json")).unwrap();
    let mut not_built = 0;
    for (path, methods) in schema["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let Ok(verb) = Method::from_bytes(method.to_uppercase().as_bytes()) else {
                continue;
            };
            if ![
                Method::GET,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
            ]
            .contains(&verb)
            {
                continue;
            }
            let filled = path
                .replace("{port}", "8080")
                .replace("{pid}", "1")
                .replace(['{', '}'], "");
            let reply = served.send(served.request(verb, &filled).body("{}")).await;
            assert_ne!(reply.status, 405, "{method} {path}");
            if reply.status == 404 {
                assert!(!reply.text.contains("the API has no path"), "{method} {path}");
            }
            if reply.status == 501 {
                not_built += 1;
                let message = reply.refused(501, "not_implemented");
                assert!(
                    message.starts_with("the local engine does not have "),
                    "{method} {path}: {message}"
                );
            }
        }
    }
    println!("{not_built} operations answer 501");
    served.get("/v1/nothing/here").await.refused(404, "not_found");
    served
        .send(served.request(Method::PUT, "/v1/machines"))
        .await
        .refused(405, "invalid_request");
    served.stop().await;
}

#[tokio::test]
async fn templates_show_what_is_here() {
    let served = Served::start().await;
    let all = served.get("/v1/templates").await.expect(200);
    assert_eq!(
        (&all[0]["name"], &all[0]["builtin"]),
        (&json!("base"), &json!(true))
    );
    let one = served
        .get("/v1/templates/refs/nullspace%2Fbase%3Alatest")
        .await
        .expect(200);
    assert_eq!(one["canonical_ref"], "nullspace/base:latest");
    served
        .get("/v1/templates/nope")
        .await
        .refused(404, "template_not_found");
    served.stop().await;
}
