//! Files of a machine over HTTP. Needs root: the backend of these tests mounts a directory as `/workspace`.

mod support;

use reqwest::Method;
use serde_json::{json, Value};
use support::Served;

/// An engine with one machine.
async fn machine() -> (Served, String) {
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    (served, format!("/v1/machines/{id}"))
}

async fn post(served: &Served, base: &str, call: &str, body: Value) -> support::Reply {
    served.post(&format!("{base}/files/{call}"), body).await
}

#[tokio::test]
async fn text_and_bytes_are_written_read_and_described() {
    let (served, base) = machine().await;
    let info = post(
        &served,
        &base,
        "write",
        json!({ "path": "a/b.txt", "content": "héllo", "user": null }),
    )
    .await
    .expect(200);
    assert_eq!(
        (info["path"].as_str(), info["size"].as_u64()),
        (Some("/workspace/a/b.txt"), Some(6))
    );
    assert_eq!(
        (info["type"].as_str(), info["is_dir"].as_bool()),
        (Some("file"), Some(false))
    );
    assert_eq!(
        (info["mode"].as_str(), info["permissions"].as_str()),
        (Some("0644"), Some("rw-r--r--"))
    );
    assert_eq!(info["owner"], "root");
    assert!(info["modified_time"].as_str().unwrap().ends_with('Z'));

    let read = post(
        &served,
        &base,
        "read",
        json!({ "path": "/workspace/a/../a/b.txt" }),
    )
    .await
    .expect(200);
    assert_eq!(read, json!({ "content": "héllo", "encoding": "utf8", "size": 6 }));
    let bytes = json!({ "path": "c", "content": "AP+A", "encoding": "base64" });
    post(&served, &base, "write", bytes).await.expect(200);
    let read = post(
        &served,
        &base,
        "read",
        json!({ "path": "c", "encoding": "base64" }),
    )
    .await
    .expect(200);
    assert_eq!(read["content"], "AP+A");
    let message = post(&served, &base, "read", json!({ "path": "c" }))
        .await
        .refused(400, "invalid_request");
    assert!(message.contains("base64"), "{message}");
    post(
        &served,
        &base,
        "write",
        json!({ "path": "c", "content": "!", "encoding": "base64" }),
    )
    .await
    .refused(400, "invalid_request");
}

#[tokio::test]
async fn directories_are_made_listed_renamed_and_removed() {
    let (served, base) = machine().await;
    assert_eq!(
        post(&served, &base, "mkdir", json!({ "path": "d/e" }))
            .await
            .status,
        204
    );
    post(
        &served,
        &base,
        "write",
        json!({ "path": "d/e/f", "content": "1" }),
    )
    .await
    .expect(200);
    let paths = |list: Value| -> Vec<String> {
        let entries = list.as_array().unwrap().iter();
        entries.map(|e| e["path"].as_str().unwrap().to_owned()).collect()
    };
    let list = served
        .get(&format!("{base}/files?path=/workspace"))
        .await
        .expect(200);
    assert_eq!(paths(list), ["/workspace/d"]);
    let list = served
        .get(&format!("{base}/files?path=/workspace&depth=2"))
        .await
        .expect(200);
    assert_eq!(
        paths(list),
        ["/workspace/d", "/workspace/d/e", "/workspace/d/e/f"]
    );
    let moved = post(
        &served,
        &base,
        "rename",
        json!({ "old_path": "d/e/f", "new_path": "g" }),
    )
    .await
    .expect(200);
    assert_eq!(moved["path"], "/workspace/g");
    assert_eq!(
        post(
            &served,
            &base,
            "permissions",
            json!({ "path": "g", "permissions": "0750" })
        )
        .await
        .status,
        204
    );
    assert_eq!(
        post(&served, &base, "info", json!({ "path": "g" }))
            .await
            .expect(200)["permissions"],
        "rwxr-x---"
    );
    assert_eq!(
        post(&served, &base, "remove", json!({ "path": "d" }))
            .await
            .status,
        204
    );
    assert_eq!(
        post(&served, &base, "exists", json!({ "path": "d" }))
            .await
            .expect(200),
        json!({ "exists": false })
    );
    assert_eq!(
        post(&served, &base, "exists", json!({ "path": "g" }))
            .await
            .expect(200),
        json!({ "exists": true })
    );
}

#[tokio::test]
async fn failures_have_their_status_and_code() {
    let (served, base) = machine().await;
    let cases = [
        ("read", json!({ "path": "missing" }), 404, "not_found"),
        ("info", json!({ "path": "missing" }), 404, "not_found"),
        ("remove", json!({ "path": "missing" }), 404, "not_found"),
        ("read", json!({ "path": "." }), 400, "invalid_request"),
        ("read", json!({ "path": "" }), 400, "invalid_request"),
        (
            "read",
            json!({ "path": "a", "user": "nobody-here" }),
            400,
            "invalid_request",
        ),
        (
            "write",
            json!({ "path": "/workspace/.nullspace/x", "content": "" }),
            403,
            "permission_denied",
        ),
        ("mkdir", json!({ "path": ".nullspace" }), 403, "permission_denied"),
        (
            "permissions",
            json!({ "path": ".", "permissions": "rwx" }),
            400,
            "invalid_request",
        ),
        (
            "find",
            json!({ "path": ".", "pattern": "" }),
            400,
            "invalid_request",
        ),
    ];
    for (call, body, status, code) in cases {
        post(&served, &base, call, body).await.refused(status, code);
    }
    served
        .get("/v1/machines/mch_none/files")
        .await
        .refused(404, "machine_not_found");
    served
        .get(&format!("{base}/file"))
        .await
        .refused(400, "invalid_request");
}

#[tokio::test]
async fn content_is_searched_and_replaced() {
    let (served, base) = machine().await;
    post(
        &served,
        &base,
        "write",
        json!({ "path": "x.py", "content": "a\nfoo foo\n" }),
    )
    .await
    .expect(200);
    post(
        &served,
        &base,
        "write",
        json!({ "path": "y.txt", "content": "bar" }),
    )
    .await
    .expect(200);
    let found = post(&served, &base, "find", json!({ "path": ".", "pattern": "foo" }))
        .await
        .expect(200);
    assert_eq!(
        found,
        json!([{ "file": "/workspace/x.py", "line": 2, "content": "foo foo" }])
    );
    let found = post(
        &served,
        &base,
        "search",
        json!({ "path": ".", "pattern": "*.py" }),
    )
    .await
    .expect(200);
    assert_eq!(found, json!(["/workspace/x.py"]));
    let body = json!({ "files": ["x.py", "y.txt"], "pattern": "foo", "replacement": "2" });
    let done = post(&served, &base, "replace", body).await.expect(200);
    let expected =
        json!({ "replacements": 2, "files_modified": 1, "files_skipped": 1, "binary_files_skipped": 0 });
    assert_eq!(done, expected);
    // A name that is wrong leaves all files as they were, whichever comes first.
    for files in [
        json!(["x.py", "missing"]),
        json!(["missing", "x.py"]),
        json!(["x.py", "/workspace"]),
    ] {
        let body = json!({ "files": files, "pattern": "2", "replacement": "3" });
        let answer = post(&served, &base, "replace", body).await;
        assert!(answer.status >= 400, "{answer:?}");
        let body = json!({ "path": "x.py" });
        let read = post(&served, &base, "read", body).await.expect(200);
        assert_eq!(read["content"], "a\n2 2\n");
    }
}

#[tokio::test]
async fn files_are_streamed_both_ways_with_ranges() {
    let (served, base) = machine().await;
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let path = format!("{base}/file?path=big.bin&user=root");
    let put = served.request(Method::PUT, &path).body(content.clone());
    assert_eq!(served.send(put).await.status, 204);
    let whole = served.request(Method::GET, &path).send().await.unwrap();
    if whole.status() != 200 {
        panic!("{:?}", whole.text().await);
    }
    assert_eq!(whole.headers()["content-length"], "3000000");
    assert!(whole.bytes().await.unwrap() == content);
    let part = served
        .request(Method::GET, &path)
        .header("range", "bytes=1000-1999")
        .send()
        .await
        .unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], "bytes 1000-1999/3000000");
    assert!(part.bytes().await.unwrap() == content[1000..2000]);
    let none = served
        .request(Method::GET, &path)
        .header("range", "bytes=3000000-")
        .send()
        .await
        .unwrap();
    assert_eq!(none.status(), 416);
}

#[tokio::test]
async fn an_upload_that_is_cut_leaves_the_old_file() {
    use tokio::io::AsyncWriteExt;
    let (served, base) = machine().await;
    post(&served, &base, "write", json!({ "path": "f", "content": "old" }))
        .await
        .expect(200);
    let address = served.url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "PUT {base}/file?path=f HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\ncontent-length: 1000\r\n\r\nhalf",
        support::KEY
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    support::until("the upload has begun", async || {
        let list = served
            .get(&format!("{base}/files?path=/workspace"))
            .await
            .expect(200);
        list.as_array().unwrap().len() == 2
    })
    .await;
    drop(stream);
    support::until("what came is removed", async || {
        let list = served
            .get(&format!("{base}/files?path=/workspace"))
            .await
            .expect(200);
        list.as_array().unwrap().len() == 1
    })
    .await;
    assert_eq!(
        post(&served, &base, "read", json!({ "path": "f" }))
            .await
            .expect(200)["content"],
        "old"
    );
}
