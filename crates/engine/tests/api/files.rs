//! Files of a machine over HTTP. Needs root: the backend of these tests mounts a directory as `/workspace`.

use crate::support::Served;
use reqwest::Method;
use serde_json::{json, Value};

/// An engine with one machine.
async fn machine() -> (Served, String) {
    let served = Served::start().await;
    let id = served.create(json!({})).await;
    (served, format!("/v1/machines/{id}"))
}

async fn post(served: &Served, base: &str, call: &str, body: Value) -> crate::support::Reply {
    served.post(&format!("{base}/files/{call}"), body).await
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
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
#[cfg_attr(not_root, ignore = "needs root")]
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
#[cfg_attr(not_root, ignore = "needs root")]
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
#[cfg_attr(not_root, ignore = "needs root")]
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
#[cfg_attr(not_root, ignore = "needs root")]
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
#[cfg_attr(not_root, ignore = "needs root")]
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
        crate::support::KEY
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    crate::support::until("the upload has begun", async || {
        let list = served
            .get(&format!("{base}/files?path=/workspace"))
            .await
            .expect(200);
        list.as_array().unwrap().len() == 2
    })
    .await;
    drop(stream);
    crate::support::until("what came is removed", async || {
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

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn a_written_file_gets_the_permissions_that_are_asked_for() {
    let (served, base) = machine().await;
    let mode = async |path: &str| {
        let info = post(&served, &base, "info", json!({ "path": path }))
            .await
            .expect(200);
        info["mode"].as_str().unwrap().to_owned()
    };
    let body = json!({ "path": "a", "content": "#!/bin/sh", "mode": "0755" });
    assert_eq!(
        post(&served, &base, "write", body).await.expect(200)["mode"],
        "0755"
    );
    let put = served.request(Method::PUT, &format!("{base}/file?path=b&mode=750"));
    assert_eq!(served.send(put.body("x")).await.status, 204);
    assert_eq!(mode("b").await, "0750");
    // Without one it keeps those that it has.
    let put = served.request(Method::PUT, &format!("{base}/file?path=b"));
    assert_eq!(served.send(put.body("y")).await.status, 204);
    assert_eq!(mode("b").await, "0750");

    let manifest = json!({ "files": [
        { "path": "c", "field": "c", "mode": "0700" }, { "path": "d", "field": "d" }, { "path": "e", "field": "e", "mode": "9" }
    ] });
    let part = |name: &str, content: &str| {
        format!("--XX\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
    };
    let form = [
        part("manifest", &manifest.to_string()),
        part("c", "1"),
        part("d", "2"),
        part("e", "3"),
        "--XX--\r\n".to_owned(),
    ]
    .concat();
    let request = served
        .request(Method::POST, &format!("{base}/files/batch-write"))
        .header("content-type", "multipart/form-data; boundary=XX")
        .body(form);
    let results = served.send(request).await.expect(200)["results"].clone();
    assert_eq!(results[2]["status"], "error");
    assert_eq!((mode("c").await, mode("d").await), ("0700".into(), "0644".into()));

    for wrong in ["", "rwx", "0o755", "17777", "+644", "0888"] {
        let body = json!({ "path": "f", "content": "", "mode": wrong });
        post(&served, &base, "write", body)
            .await
            .refused(400, "invalid_request");
        let path = format!("{base}/file?path=f&mode={}", wrong.replace('+', "%2B"));
        let put = served.request(Method::PUT, &path).body("x");
        if !wrong.is_empty() {
            served.send(put).await.refused(400, "invalid_request");
        }
    }
}

/// Begins an upload of these bytes and sends them.
async fn begin(served: &Served, base: &str, bytes: &[u8], change: Value) -> crate::support::Reply {
    let mut body = json!({
        "kind": "directory_tar", "source_kind": "directory_archive", "archive_format": "tar", "conflict": "merge",
        "target_path": "/workspace/target", "content_length": bytes.len(), "checksum_algorithm": "sha256"
    });
    for (name, value) in change.as_object().unwrap() {
        body[name] = value.clone();
    }
    let begun = served.post(&format!("{base}/uploads"), body).await;
    if begun.status != 200 {
        return begun;
    }
    let id = begun.json()["session"]["upload_id"].as_str().unwrap().to_owned();
    let part = served.request(Method::PUT, &format!("{base}/uploads/{id}/parts/0"));
    served.send(part.body(bytes.to_vec())).await.expect(200);
    served
        .post(&format!("{base}/uploads/{id}/complete"), json!({}))
        .await
}

/// A tar archive; `None` as content is a directory, `Err` a symlink.
fn archive(entries: &[(&str, Option<Result<&str, &str>>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        let bytes = match content {
            None => {
                header.set_entry_type(tar::EntryType::Directory);
                ""
            }
            Some(Ok(text)) => text,
            Some(Err(link)) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_link_name_literal(link).unwrap();
                ""
            }
        };
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, path, bytes.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn an_archive_stays_inside_its_target_whatever_its_links_say() {
    let (served, base) = machine().await;
    let reason = |reply: crate::support::Reply| {
        let body = reply.json();
        assert_eq!(
            (reply.status, &body["code"]),
            (400, &json!("file_upload_error")),
            "{reply:?}"
        );
        body["error_detail"]["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let chain = archive(&[
        ("deep", None),
        ("deep/link", Some(Err(".."))),
        ("esc", Some(Err("deep/link/.."))),
        ("esc/evil", Some(Ok("escaped"))),
    ]);
    assert!(reason(begin(&served, &base, &chain, json!({})).await).contains("extract_invalid"));
    // In steps: each archive alone stays inside.
    let first = archive(&[("deep", None), ("deep/link", Some(Err("..")))]);
    begin(&served, &base, &first, json!({})).await.expect(200);
    let second = archive(&[("esc", Some(Err("deep/link/..")))]);
    begin(&served, &base, &second, json!({})).await.expect(200);
    let third = archive(&[("esc/evil", Some(Ok("escaped")))]);
    let refused = begin(&served, &base, &third, json!({})).await;
    assert_eq!(
        (refused.status, refused.json()["code"].as_str()),
        (409, Some("file_upload_error"))
    );
    let exists = post(&served, &base, "exists", json!({ "path": "/workspace/evil" })).await;
    assert_eq!(exists.expect(200)["exists"], false);
    // Directories are joined as before.
    let plain = archive(&[("src", None), ("src/a", Some(Ok("1"))), ("src/b", Some(Err("a")))]);
    for _ in 0..2 {
        begin(&served, &base, &plain, json!({})).await.expect(200);
    }
    served.stop().await;
}

#[tokio::test]
async fn an_archive_that_promises_more_than_it_holds_is_refused() {
    let (served, base) = machine().await;
    for size in ["4096", "18446744073709551615", "9223372036854775807"] {
        // An extended header that overrides the size of the entry behind it.
        let record = format!(" size={size}\n");
        let length = (record.len() + 1..)
            .find(|n| record.len() + n.to_string().len() == *n)
            .unwrap();
        let record = format!("{length}{record}");
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_size(record.len() as u64);
        builder
            .append_data(&mut header, "pax", record.as_bytes())
            .unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(4);
        builder.append_data(&mut header, "file", &b"data"[..]).unwrap();
        let bytes = builder.into_inner().unwrap();
        let refused = begin(&served, &base, &bytes, json!({})).await;
        refused.refused(400, "file_upload_error");
    }
    served.stop().await;
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn a_single_upload_has_its_permissions_and_a_source_that_is_named() {
    let (served, base) = machine().await;
    let file = json!({
        "kind": "file", "archive_format": null, "source_kind": "restartable_file", "conflict": "replace",
        "target_path": "/workspace/run.sh", "mode": "0755"
    });
    begin(&served, &base, b"#!/bin/sh", file).await.expect(200);
    let info = post(&served, &base, "info", json!({ "path": "run.sh" }))
        .await
        .expect(200);
    assert_eq!(info["mode"], "0755");
    // A word that the schema does not have is told in one that it has.
    let other = json!({
        "kind": "directory_tar", "archive_format": "tar", "source_kind": "directory", "target_path": "/workspace/d",
        "content_length": 1024, "conflict": "merge", "checksum_algorithm": "sha256",
    });
    let begun = served.post(&format!("{base}/uploads"), other).await.expect(200);
    assert_eq!(begun["session"]["source_kind"], "directory_archive");
    for wrong in [
        json!({ "source_kind": "" }),
        json!({ "source_kind": " " }),
        json!({ "source_kind": "a".repeat(65) }),
        json!({ "mode": "0644" }),
    ] {
        let refused = begin(&served, &base, &archive(&[]), wrong).await;
        refused.refused(400, "invalid_request");
    }
    served.stop().await;
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn an_address_for_writing_tells_nothing_of_the_file() {
    let (served, base) = machine().await;
    post(
        &served,
        &base,
        "write",
        json!({ "path": "f", "content": "secret" }),
    )
    .await
    .expect(200);
    let address = async |call: &str| {
        let made = post(&served, &base, call, json!({ "path": "f" }))
            .await
            .expect(200);
        made["url"].as_str().unwrap().to_owned()
    };
    let (read, write) = (address("download-url").await, address("upload-url").await);
    let status = async |method: Method, url: &str| {
        let answer = served.http.request(method, url).send().await.unwrap();
        (answer.status().as_u16(), answer.content_length())
    };
    assert_eq!(status(Method::GET, &read).await, (200, Some(6)));
    assert_eq!(status(Method::HEAD, &read).await.0, 200);
    for method in [Method::GET, Method::HEAD] {
        assert_eq!(status(method, &write).await.0, 401);
    }
    for method in [Method::PUT, Method::POST] {
        assert_eq!(status(method, &read).await.0, 401);
    }
    served.stop().await;
}
