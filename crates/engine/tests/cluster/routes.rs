//! Each path of the API as a gateway has it: the same as an engine.

use std::collections::BTreeMap;

use nullspace_wire::api::ROUTES;
use reqwest::Method;
use serde_json::Value;

use crate::cluster::Whole;
use crate::support::{Client, Served};

/// A path with something in place of its names.
fn filled(path: &str) -> String {
    let part = |part: &str| match part.starts_with('{') {
        true => "x".to_owned(),
        false => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Status and body, but for the id of the request.
async fn answer(client: &Client, method: &Method, path: &str) -> (u16, Value) {
    let reply = client.send(client.request(method.clone(), path)).await;
    let mut body = reply.json();
    assert!(body["request_id"].as_str().unwrap().starts_with("req_"), "{body}");
    body["request_id"].take();
    (reply.status, body)
}

#[tokio::test]
async fn wrong_methods_and_paths_are_answered_as_by_an_engine() {
    let whole = Whole::start(1, 1).await;
    let engine = Served::start().await;
    let mut paths: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for route in ROUTES {
        paths
            .entry(filled(route.path))
            .or_default()
            .push(route.verb.as_str());
    }
    for (path, methods) in &paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "PURGE"] {
            if methods.contains(&method) {
                continue;
            }
            let method: Method = method.parse().unwrap();
            let ours = answer(whole.gateway(), &method, path).await;
            assert_eq!(ours, answer(&engine, &method, path).await, "{method} {path}");
            assert_eq!(
                (ours.0, &ours.1["code"]),
                (405, &"invalid_request".into()),
                "{method} {path}"
            );
        }
        let path = format!("{path}/no/such/path");
        let ours = answer(whole.gateway(), &Method::GET, &path).await;
        assert_eq!(ours, answer(&engine, &Method::GET, &path).await, "{path}");
        assert_eq!((ours.0, &ours.1["code"]), (404, &"not_found".into()), "{path}");
    }
    engine.stop().await;
}
