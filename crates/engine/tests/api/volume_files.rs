//! Files of volumes over HTTP. Needs root: the backend of these tests makes the volume the root of a thread. What keeps links
//! of a machine inside is tested with the real backend, in `isolation`.

use crate::support::{until, Served};
use reqwest::Method;
use rustix::fs::{mknodat, FileType, Mode, CWD};
use serde_json::{json, Value};
use sha2::{Digest, Sha256};

/// An engine with one volume: it, the id, and where its files are.
async fn volume() -> (Served, String, std::path::PathBuf) {
    let served = Served::start().await;
    let made = served
        .post("/v1/volumes", json!({ "name": "v" }))
        .await
        .expect(200);
    let id = made["id"].as_str().unwrap().to_owned();
    let directory = served.state.path().join("volumes").join(&id);
    (served, id, directory)
}

async fn post(served: &Served, id: &str, call: &str, body: Value) -> crate::support::Reply {
    served.post(&format!("/v1/volumes/{id}/files/{call}"), body).await
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn files_of_a_volume_are_worked_on_without_a_machine() {
    let (served, id, directory) = volume().await;
    let written = post(
        &served,
        &id,
        "write",
        json!({ "path": "/a/b.txt", "content": "one two" }),
    )
    .await
    .expect(200);
    assert_eq!(
        (&written["path"], &written["owner"]),
        (&json!("/a/b.txt"), &json!("root"))
    );
    assert_eq!(
        std::fs::read_to_string(directory.join("a/b.txt")).unwrap(),
        "one two"
    );
    let read = post(&served, &id, "read", json!({ "path": "/a/./x/../b.txt" }))
        .await
        .expect(200);
    assert_eq!(
        read,
        json!({ "content": "one two", "encoding": "utf8", "size": 7 })
    );
    post(&served, &id, "mkdir", json!({ "path": "/c/d" }))
        .await
        .expect(204);
    let exists = post(&served, &id, "exists", json!({ "path": "/c/d" }))
        .await
        .expect(200);
    assert_eq!(exists, json!({ "exists": true }));
    let moved = post(
        &served,
        &id,
        "rename",
        json!({ "old_path": "/a/b.txt", "new_path": "/c/b.txt" }),
    )
    .await;
    assert_eq!(moved.expect(200)["path"], "/c/b.txt");
    post(
        &served,
        &id,
        "permissions",
        json!({ "path": "/c/b.txt", "permissions": "0600" }),
    )
    .await
    .expect(204);
    let info = post(&served, &id, "info", json!({ "path": "/c/b.txt" }))
        .await
        .expect(200);
    assert_eq!(info["mode"], "0600");
    let listed = served
        .get(&format!("/v1/volumes/{id}/files?depth=1"))
        .await
        .expect(200);
    let paths: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["/a", "/c", "/c/b.txt", "/c/d"]);
    let found = post(&served, &id, "find", json!({ "path": "/", "pattern": "two" }))
        .await
        .expect(200);
    assert_eq!(
        found,
        json!([{ "file": "/c/b.txt", "line": 1, "content": "one two" }])
    );
    let named = post(&served, &id, "search", json!({ "path": "/", "pattern": "*.txt" }))
        .await
        .expect(200);
    assert_eq!(named, json!(["/c/b.txt"]));
    let replace = |dry_run: bool| json!({ "files": ["/c/b.txt"], "pattern": "two", "replacement": "2", "dry_run": dry_run });
    let counted = post(&served, &id, "replace", replace(true)).await.expect(200);
    let expected = json!({ "dry_run": true, "replacements": 1, "files_modified": 1, "files_skipped": 0, "binary_files_skipped": 0 });
    assert_eq!(counted, expected);
    assert_eq!(
        std::fs::read_to_string(directory.join("c/b.txt")).unwrap(),
        "one two"
    );
    post(&served, &id, "replace", replace(false)).await.expect(200);
    assert_eq!(
        std::fs::read_to_string(directory.join("c/b.txt")).unwrap(),
        "one 2"
    );
    post(&served, &id, "remove", json!({ "path": "/c" }))
        .await
        .expect(204);
    assert!(!directory.join("c").exists());
    served.stop().await;
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn paths_of_a_volume_are_absolute_and_stay_inside() {
    let (served, id, _) = volume().await;
    for bad in ["a.txt", "./a", "/../a", "/a/../../b", ""] {
        let message = post(&served, &id, "info", json!({ "path": bad }))
            .await
            .refused(400, "invalid_request");
        assert!(message.contains("`path`"), "{bad:?}: {message}");
    }
    let user = post(&served, &id, "info", json!({ "path": "/", "user": "root" })).await;
    assert!(user.refused(400, "invalid_request").contains("`user`"));
    post(&served, &id, "read", json!({ "path": "/none" }))
        .await
        .refused(404, "not_found");
    post(&served, &id, "remove", json!({ "path": "/" }))
        .await
        .refused(409, "conflict");
    post(&served, "vol_none", "info", json!({ "path": "/" }))
        .await
        .refused(404, "not_found");
    served.stop().await;
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn signed_addresses_of_a_volume_need_no_key_and_lead_nowhere_else() {
    let (served, id, _) = volume().await;
    let other = served
        .post("/v1/volumes", json!({ "name": "file" }))
        .await
        .expect(200);
    let other = other["id"].as_str().unwrap();
    let url = post(&served, &id, "upload-url", json!({ "path": "/big.bin" }))
        .await
        .expect(200);
    assert_eq!(url.as_object().unwrap().len(), 1, "{url}");
    let upload = url["url"].as_str().unwrap();
    let put = served
        .http
        .put(upload)
        .body(vec![7; 300_000])
        .send()
        .await
        .unwrap();
    assert_eq!(put.status(), 204);
    let asked = json!({ "path": "/big.bin" });
    let url = post(&served, &id, "download-url", asked).await.expect(200)["url"]
        .as_str()
        .unwrap()
        .to_owned();
    let got = served.http.get(&url).send().await.unwrap();
    assert_eq!(got.bytes().await.unwrap(), vec![7; 300_000]);
    let part = served
        .http
        .get(&url)
        .header("range", "bytes=1-3")
        .send()
        .await
        .unwrap();
    assert_eq!(part.status(), 206);
    // Neither for the other verb, nor for another volume, nor without the grant, whatever the key.
    let elsewhere = url.replace(&id, other);
    for (method, address) in [
        (Method::PUT, url.as_str()),
        (Method::GET, upload),
        (Method::GET, elsewhere.as_str()),
        (Method::GET, url.split_once('?').unwrap().0),
    ] {
        let asked = served
            .http
            .request(method, address)
            .bearer_auth(crate::support::KEY)
            .send()
            .await
            .unwrap();
        assert_eq!(asked.status(), 401, "{address}");
    }
    // Also of what can be no volume, and with the key.
    for id in ["0", "%3C%16", "vol_no"] {
        for method in [Method::GET, Method::PUT] {
            let request = served.request(method, &format!("/v1/volumes/{id}/file?grant="));
            served.send(request).await.refused(401, "unauthorized");
        }
    }
    // A volume that is called like the end of such an address is found by its name, with the key.
    served.get("/v1/volumes/by-name/file").await.expect(200);
    served.stop().await;
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn a_directory_comes_as_an_archive() {
    let (served, id, directory) = volume().await;
    let long = "n".repeat(120);
    std::fs::create_dir_all(directory.join("d/e")).unwrap();
    std::fs::write(directory.join("d/e").join(&long), "long").unwrap();
    std::fs::write(directory.join("d/.nullspace-0000000000000000.tmp"), "half").unwrap();
    std::os::unix::fs::symlink("e", directory.join("d/link")).unwrap();
    mknodat(CWD, directory.join("d/pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let asked = json!({ "path": "/d", "archive_format": "tar" });
    let url = post(&served, &id, "download-url", asked).await.expect(200)["url"]
        .as_str()
        .unwrap()
        .to_owned();
    let bytes = served.http.get(&url).send().await.unwrap().bytes().await.unwrap();
    let mut archive = tar::Archive::new(&bytes[..]);
    let mut seen: Vec<(String, char, u64)> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let kind = char::from(entry.header().entry_type().as_byte());
            (entry.path().unwrap().display().to_string(), kind, entry.size())
        })
        .collect();
    seen.sort();
    let file = (format!("e/{long}"), '0', 4);
    assert_eq!(
        seen,
        [("e/".to_owned(), '5', 0), file, ("link".to_owned(), '2', 0)]
    );
    let file = json!({ "path": format!("/d/e/{long}"), "archive_format": "tar" });
    let url = post(&served, &id, "download-url", file).await.expect(200)["url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(served.http.get(&url).send().await.unwrap().status(), 400);
    served.stop().await;
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn an_upload_in_parts_appears_whole_and_keeps_to_its_limits() {
    let (served, id, directory) = volume().await;
    let base = format!("/v1/volumes/{id}/uploads");
    let bytes = vec![3_u8; 5_000_000];
    let digest = hex::encode(Sha256::digest(&bytes));
    let body = |conflict: &str| {
        json!({
            "kind": "file", "source_kind": "restartable_file", "target_path": "/in/up.bin", "content_length": bytes.len(),
            "conflict": conflict, "checksum_algorithm": "sha256", "whole_checksum_sha256": digest, "metadata": {},
        })
    };
    let begun = served.post(&base, body("error")).await.expect(200);
    let session = &begun["session"];
    let limits = session["limits"].as_object().unwrap();
    assert!(limits["staging_quota_bytes"].is_u64() && !limits.contains_key("machine_staging_quota_bytes"));
    let upload = format!("{base}/{}", session["upload_id"].as_str().unwrap());
    let size = session["part_size"].as_u64().unwrap() as usize;
    for (number, part) in bytes.chunks(size).enumerate() {
        let request = served
            .request(Method::PUT, &format!("{upload}/parts/{number}"))
            .body(part.to_vec());
        served.send(request).await.expect(200);
    }
    assert!(!directory.join("in/up.bin").exists());
    let done = served
        .post(&format!("{upload}/complete"), json!({}))
        .await
        .expect(200);
    assert_eq!(
        (&done["published_bytes"], &done["published_file_count"]),
        (&json!(bytes.len()), &json!(1))
    );
    assert_eq!(std::fs::read(directory.join("in/up.bin")).unwrap(), bytes);
    served
        .post(&base, body("error"))
        .await
        .refused(409, "file_upload_error");
    // Of this volume alone.
    let other = served
        .post("/v1/volumes", json!({ "name": "w" }))
        .await
        .expect(200);
    let elsewhere = upload.replace(&id, other["id"].as_str().unwrap());
    served.get(&elsewhere).await.refused(404, "not_found");
    // With the volume its uploads are over.
    let begun = served.post(&base, body("replace")).await.expect(200);
    let upload = format!("{base}/{}", begun["session"]["upload_id"].as_str().unwrap());
    served.delete(&format!("/v1/volumes/{id}")).await.expect(204);
    until("the upload is forgotten", async || {
        served.get(&upload).await.status == 404
    })
    .await;
    served.stop().await;
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn a_directory_is_uploaded_to_the_root_of_a_volume() {
    let (served, id, directory) = volume().await;
    std::fs::write(directory.join("stays"), "old").unwrap();
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o640);
    archive
        .append_data(&mut header, "sub/new.txt", &b"new"[..])
        .unwrap();
    let bytes = archive.into_inner().unwrap();
    let base = format!("/v1/volumes/{id}/uploads");
    let body = json!({
        "kind": "directory_tar", "source_kind": "directory_archive", "target_path": "/", "content_length": bytes.len(),
        "conflict": "merge", "checksum_algorithm": "sha256", "archive_format": "tar", "metadata": {},
    });
    let begun = served.post(&base, body).await.expect(200);
    let upload = format!("{base}/{}", begun["session"]["upload_id"].as_str().unwrap());
    served
        .send(
            served
                .request(Method::PUT, &format!("{upload}/parts/0"))
                .body(bytes),
        )
        .await
        .expect(200);
    served
        .post(&format!("{upload}/complete"), json!({}))
        .await
        .expect(200);
    let mut names: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["stays", "sub"]);
    assert_eq!(
        std::fs::read_to_string(directory.join("sub/new.txt")).unwrap(),
        "new"
    );
    served.stop().await;
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn a_volume_that_is_deleted_ends_what_is_under_way() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (served, id, directory) = volume().await;
    let url = post(&served, &id, "upload-url", json!({ "path": "/slow" }))
        .await
        .expect(200);
    let target = url["url"].as_str().unwrap().strip_prefix(&served.url).unwrap();
    let address = served.url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "PUT {target} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 8\r\nconnection: close\r\n\r\nhalf"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    until("it is being written", async || {
        std::fs::read_dir(&directory).unwrap().count() == 1
    })
    .await;
    served.delete(&format!("/v1/volumes/{id}")).await.expect(204);
    assert!(!directory.exists());
    stream.write_all(b"half").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 404 ") && answer.contains("not_found"),
        "{answer}"
    );
    served.stop().await;
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn what_an_earlier_engine_left_half_written_is_removed() {
    let (served, id, directory) = volume().await;
    let half = directory.join("d/.nullspace-0123456789abcdef.tmp");
    std::fs::create_dir_all(directory.join("d/.nullspace-upl_1.tmp/x")).unwrap();
    std::fs::write(&half, "half").unwrap();
    std::fs::write(directory.join("d/whole"), "whole").unwrap();
    let (backend, state) = served.stop().await;
    // Changed before the second in which the next engine starts.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let served = Served::start_with(backend, state).await;
    until("it is removed", async || {
        std::fs::read_dir(directory.join("d")).unwrap().count() == 1
    })
    .await;
    assert!(directory.join("d/whole").exists());
    post(&served, &id, "info", json!({ "path": "/d/whole" }))
        .await
        .expect(200);
    served.stop().await;
}
