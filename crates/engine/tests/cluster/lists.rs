//! Lists over all nodes.

use std::collections::BTreeSet;

use serde_json::{json, Value};

use crate::cluster::{tag, Whole};

fn ids(page: &Value) -> Vec<String> {
    page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn pages_hold_each_machine_once_newest_first_while_machines_come_and_go() {
    let whole = Whole::start(2, 3).await;
    let mut made = Vec::new();
    for _ in 0..25 {
        made.push(
            whole
                .gateway()
                .create(json!({ "metadata": { "of": "the test" } }))
                .await,
        );
    }
    let mut seen = Vec::new();
    let mut token: Option<String> = None;
    let mut turn = 0;
    loop {
        let next = token.map_or(String::new(), |token| format!("&next_token={token}"));
        let page = whole.gateways[turn % 2]
            .get(&format!("/v1/machines?limit=4{next}"))
            .await
            .expect(200);
        seen.extend(ids(&page));
        // One that was seen goes, and a new one comes.
        whole
            .gateway()
            .delete(&format!("/v1/machines/{}", seen[turn]))
            .await
            .expect(200);
        whole.gateway().create(json!({})).await;
        turn += 1;
        token = page["next_token"].as_str().map(str::to_owned);
        assert_eq!(token.is_some(), page["has_next"] == true);
        if token.is_none() {
            break;
        }
    }
    made.reverse();
    assert_eq!(seen, made);
}

#[tokio::test]
async fn filters_fields_and_limits_are_those_of_an_engine() {
    let whole = Whole::start(1, 2).await;
    let gateway = whole.gateway();
    for n in 0..6 {
        gateway
            .create(json!({ "metadata": { "even": n % 2 == 0 } }))
            .await;
    }
    let even = gateway
        .get("/v1/machines?metadata=%7B%22even%22%3Atrue%7D&fields=id,metadata")
        .await
        .expect(200);
    assert_eq!(even["items"].as_array().unwrap().len(), 3);
    assert_eq!(even["items"][0].as_object().unwrap().len(), 2);
    gateway
        .get("/v1/machines?limit=0")
        .await
        .refused(400, "invalid_request");
    gateway
        .get("/v1/machines?state=runing")
        .await
        .refused(400, "invalid_request");
    gateway
        .get("/v1/machines?next_token=bTE6NDI")
        .await
        .refused(400, "invalid_request");
    let all = gateway.get("/v1/machines?limit=6").await.expect(200);
    assert_eq!(all["has_next"], false);
}

#[tokio::test]
async fn volumes_have_names_of_the_cluster_and_machines_go_to_them() {
    let whole = Whole::start(1, 3).await;
    let gateway = whole.gateway();
    let mut volumes = Vec::new();
    for n in 0..6 {
        let made = gateway
            .post("/v1/volumes", json!({ "name": format!("data-{n}") }))
            .await
            .expect(200);
        volumes.push(made["id"].as_str().unwrap().to_owned());
    }
    let tags: BTreeSet<String> = volumes.iter().map(|id| tag(id)).collect();
    assert!(tags.len() > 1, "all volumes on one node");
    gateway
        .post("/v1/volumes", json!({ "name": "data-3" }))
        .await
        .refused(409, "conflict");
    let listed = gateway.get("/v1/volumes").await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 6);
    let named = gateway
        .get("/v1/volumes/by-name/data-3?fields=id")
        .await
        .expect(200);
    assert_eq!(named, json!({ "id": volumes[3] }));
    gateway
        .get("/v1/volumes/by-name/none")
        .await
        .refused(404, "not_found");
    for (n, volume) in volumes.iter().enumerate() {
        let mount = json!({ "ref": format!("data-{n}"), "mount_path": "/data" });
        let machine = gateway.create(json!({ "volumes": [mount] })).await;
        assert_eq!(tag(&machine), tag(volume));
        // A running machine gets those of its node; of others it is told where they are.
        for (m, there) in volumes.iter().enumerate().filter(|(m, _)| *m != n) {
            for reference in [there.clone(), format!("data-{m}")] {
                let mount = json!({ "ref": reference, "mount_path": "/more" });
                let path = format!("/v1/machines/{machine}/volumes");
                let answer = gateway.post(&path, mount).await;
                if tag(there) == tag(&machine) {
                    // These nodes isolate nothing, so that they cannot; but they were asked.
                    assert!(!answer.text.contains("a volume of node"), "{}", answer.text);
                } else {
                    let text = answer.refused(400, "invalid_request");
                    assert!(
                        text.contains(&format!("{reference:?}, a volume of node")),
                        "{text}"
                    );
                }
            }
        }
    }
    let other = volumes.iter().position(|id| tag(id) != tag(&volumes[0])).unwrap();
    let both = [0, other].map(|n| json!({ "ref": volumes[n], "mount_path": format!("/data{n}") }));
    let refused = gateway
        .post("/v1/machines", json!({ "volumes": both }))
        .await
        .refused(400, "invalid_request");
    assert!(refused.contains("different nodes"), "{refused}");
}
