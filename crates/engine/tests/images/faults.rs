//! Registries that fail, and those that lie.

use std::time::Duration;

use nullspace_engine::images::{Auth, Error, Kind};
use serde_json::json;

use crate::archives::{gzip, Archive};
use crate::registry::{digest, Fault, RegistryAccess};
use crate::{Place, CONFIG, GZIP, MANIFEST};

/// Tries of a request. Source: `client`, `TRIES`.
const TRIES: usize = 5;

fn archive() -> Vec<u8> {
    // Not so small that one piece holds it, and nothing that gets smaller.
    let mut state = 1_u32;
    let data: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(300_000)
    .collect();
    Archive::default().file("file", 0o644, data).end()
}

fn blob() -> String {
    digest(&gzip(&archive()))
}

#[track_caller]
fn assert_says(error: &Error, kind: Kind, words: &[&str]) {
    assert_eq!(error.kind, kind, "{error}");
    for word in words {
        assert!(error.message.contains(word), "{word:?} is not in {error}");
    }
    assert!(
        !error.message.contains('\n') && !error.message.contains("s3cret"),
        "{error}"
    );
}

#[tokio::test]
async fn who_is_not_let_in_is_told_what_to_give() {
    let place = Place::new().await;
    place.publish_one("app", archive());
    for door in [
        RegistryAccess::Token {
            username: "ann".into(),
            password: "right".into(),
        },
        RegistryAccess::Basic {
            username: "ann".into(),
            password: "right".into(),
        },
    ] {
        place.registry.close_door(door);
        assert_says(
            &place.refusal("app").await,
            Kind::Unauthorized,
            &["401", "give username and password"],
        );
        let auth = Auth::Basic {
            username: "ann".into(),
            password: "s3cret".into(),
        };
        let error = place.pull_as("app", Some(auth)).await.unwrap_err();
        assert_says(
            &error,
            Kind::Unauthorized,
            &["401", "check username and password"],
        );
    }
    // Nothing of it is tried again.
    assert_eq!(place.registry.seen("/token").len(), 2);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let place = Place::new().await;
    let error = place.refusal("none").await;
    assert_says(&error, Kind::NotFound, &[&place.registry.name("none")]);
    assert_eq!(place.registry.seen("manifests").len(), 1);
}

#[tokio::test]
async fn errors_that_pass_are_waited_for() {
    let place = Place::new().await;
    place.publish_one("app", archive());
    place.registry.fail(
        "manifests",
        [Fault::Status(500), Fault::Status(503), Fault::RetryAfter(0)],
    );
    place
        .registry
        .fail(&blob(), [Fault::Status(502), Fault::Status(429)]);
    place.pull("app").await.unwrap();
    let told = place.told.lock().unwrap().join("\n");
    assert!(
        told.contains("429") && told.contains("502") && told.contains("503"),
        "{told}"
    );
}

#[tokio::test]
async fn a_registry_is_asked_to_wait_as_long_as_it_says() {
    let place = Place::new().await;
    place.publish_one("app", archive());
    place.registry.fail("manifests", [Fault::RetryAfter(1)]);
    let begun = std::time::Instant::now();
    place.pull("app").await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn errors_that_stay_end_after_a_few_tries() {
    let place = Place::new().await;
    place.publish_one("app", archive());
    place.registry.fail("manifests", vec![Fault::Status(429); 20]);
    assert_says(&place.refusal("app").await, Kind::RateLimited, &["429", "log in"]);
    assert_eq!(place.registry.seen("manifests").len(), TRIES);

    let place = Place::new().await;
    place.publish_one("app", archive());
    place.registry.fail(&blob(), vec![Fault::Status(500); 20]);
    assert_says(&place.refusal("app").await, Kind::Unreachable, &["500"]);
    assert_eq!(place.registry.seen(&blob()).len(), TRIES);
    assert_eq!(place.on_disk(), [""; 0]);
}

#[tokio::test]
async fn a_connection_that_is_cut_goes_on_where_it_was() {
    let place = Place::new().await;
    place.publish_one("app", archive());
    place
        .registry
        .fail(&blob(), [Fault::Cut(100_000), Fault::Cut(50_000)]);
    place.registry.fail("manifests", [Fault::Cut(10)]);
    let image = place.pull("app").await.unwrap();
    let whole = std::fs::read(place.root(&image, 0).join("file")).unwrap();
    assert_eq!(whole.len(), 300_000);
    let ranges: Vec<_> = place
        .registry
        .seen(&blob())
        .into_iter()
        .map(|seen| seen.range)
        .collect();
    assert_eq!(ranges.len(), 3, "{ranges:?}");
    assert_eq!(
        (&ranges[0], ranges[1].as_deref(), ranges[2].as_deref()),
        (&None, Some("bytes=100000-"), Some("bytes=150000-"))
    );
}

#[tokio::test]
async fn a_registry_without_ranges_sends_again_what_is_here() {
    let place = Place::new().await;
    place.publish_one("app", archive());
    place
        .registry
        .fail(&blob(), [Fault::Cut(100_000), Fault::NoRange]);
    let image = place.pull("app").await.unwrap();
    let file = std::fs::read(place.root(&image, 0).join("file")).unwrap();
    assert_eq!(Archive::default().file("file", 0o644, file).end(), archive());
    assert_eq!(place.registry.seen(&blob()).len(), 2);
}

#[tokio::test]
async fn a_connection_that_is_always_cut_is_given_up() {
    let place = Place::new().await;
    place.publish_one("app", archive());
    place.registry.fail(&blob(), vec![Fault::Cut(0); 20]);
    assert_says(
        &place.refusal("app").await,
        Kind::Unreachable,
        &["cut off", &blob()],
    );
    assert_eq!(place.registry.seen(&blob()).len(), TRIES);
    assert_eq!(place.on_disk(), [""; 0]);
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let place = Place::new().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = listener.local_addr().unwrap();
    drop(listener);
    let wanted = nullspace_engine::images::Pull {
        reference: nullspace_engine::images::Reference::parse(&format!("{gone}/app")).unwrap(),
        auth: None,
        platform: nullspace_engine::images::Platform::host(),
    };
    let error = place.images.pull(&wanted, &|_| {}).await.unwrap_err();
    assert_says(&error, Kind::Unreachable, &["127.0.0.1", "refused"]);
}

#[tokio::test]
async fn digests_and_sizes_that_lie_are_found_out() {
    let place = Place::new().await;
    let described = place.publish_one("app", archive());
    let pinned = described["digest"].as_str().unwrap().to_owned();

    // The archive: other bytes of the same length, fewer, more.
    let sent = gzip(&archive());
    let mut other = sent.clone();
    other[1000] ^= 1;
    place.registry.fail(&blob(), [Fault::Lie(other)]);
    assert_says(
        &place.refusal("app").await,
        Kind::Refused,
        &["it lies, or is broken", &blob()],
    );
    place
        .registry
        .fail(&blob(), [Fault::Lie([&sent[..], b"more"].concat())]);
    assert_says(&place.refusal("app").await, Kind::Refused, &["longer than"]);
    place
        .registry
        .fail(&blob(), vec![Fault::Lie(sent[..5000].to_vec()); TRIES]);
    assert_says(&place.refusal("app").await, Kind::Unreachable, &["5000 of"]);

    // The manifest of a digest.
    let path = format!("/v2/app/manifests/{pinned}");
    place
        .registry
        .put(&path, MANIFEST, b"{\"schemaVersion\":2}".to_vec());
    let reference = format!("{}/app@{pinned}", place.registry.address);
    let wanted = nullspace_engine::images::Pull {
        reference: nullspace_engine::images::Reference::parse(&reference).unwrap(),
        auth: None,
        platform: nullspace_engine::images::Platform::host(),
    };
    let error = place.images.pull(&wanted, &|_| {}).await.unwrap_err();
    assert_says(&error, Kind::Refused, &["it lies, or is broken", &pinned]);

    // The layer when unpacked.
    let wrong = Archive::default().file("other", 0o644, "").end();
    place.publish("unpacked", &[(GZIP, gzip(&archive()), wrong)], json!({}));
    assert_says(
        &place.refusal("unpacked").await,
        Kind::Refused,
        &["it unpacks to", &digest(&archive())],
    );
    assert_eq!(place.on_disk(), [""; 0]);
}

#[tokio::test]
async fn documents_that_are_no_images_are_refused() {
    let place = Place::new().await;
    let config = place.registry.blob(CONFIG, "{\"rootfs\":{}}");
    let layer = |kind: &str| json!({ "mediaType": kind, "digest": digest(b""), "size": 0 });
    for (tag, document, words) in [
        ("old", json!({ "schemaVersion": 1, "fsLayers": [] }), "version 1"),
        ("neither", json!({ "schemaVersion": 2 }), "neither"),
        (
            "chart",
            json!({ "schemaVersion": 2, "config": config, "layers": [layer("application/vnd.cncf.helm.chart.content.v1.tar+gzip")] }),
            "helm",
        ),
        (
            "foreign",
            json!({ "schemaVersion": 2, "config": config, "layers": [layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")] }),
            "foreign",
        ),
        (
            "digest",
            json!({ "schemaVersion": 2, "config": config, "layers": [{ "mediaType": GZIP, "digest": "sha512:../../x", "size": 1 }] }),
            "sha256",
        ),
        (
            "many",
            json!({ "schemaVersion": 2, "config": config, "layers": vec![layer(GZIP); 257] }),
            "257 layers",
        ),
        (
            "large",
            json!({ "schemaVersion": 2, "config": { "digest": digest(b""), "size": 1_u64 << 40 }, "layers": [] }),
            "1099511627776",
        ),
    ] {
        place.registry.manifest(Some(tag), MANIFEST, &document);
        assert_says(&place.refusal(tag).await, Kind::Refused, &[words]);
    }
    place
        .registry
        .put("/v2/app/manifests/huge", MANIFEST, vec![b' '; 5 << 20]);
    assert_says(
        &place.refusal("huge").await,
        Kind::Refused,
        &["over 4194304 bytes"],
    );
    place
        .registry
        .put("/v2/app/manifests/text", MANIFEST, b"<html>".to_vec());
    assert_says(&place.refusal("text").await, Kind::Refused, &["cannot be read"]);
}

#[tokio::test]
async fn nothing_is_asked_without_encryption_on_other_computers() {
    let place = Place::new().await;
    place.publish_one("app", archive());
    place
        .registry
        .fail(&blob(), [Fault::Redirect("http://192.0.2.1/blob".into())]);
    assert_says(
        &place.refusal("app").await,
        Kind::Refused,
        &["192.0.2.1", "without encryption"],
    );
    place.registry.fail(
        &blob(),
        vec![Fault::Redirect(format!("/v2/app/blobs/{}", blob())); 20],
    );
    assert_says(&place.refusal("app").await, Kind::Refused, &["more than 5 times"]);
    place
        .registry
        .close_door(RegistryAccess::Realm("http://192.0.2.1/token".into()));
    let auth = Auth::Basic {
        username: "ann".into(),
        password: "s3cret".into(),
    };
    let error = place.pull_as("app", Some(auth)).await.unwrap_err();
    assert_says(&error, Kind::Refused, &["192.0.2.1", "without encryption"]);
}

#[tokio::test]
async fn a_pull_that_is_given_up_leaves_nothing() {
    let place = Place::new().await;
    place.publish_one("app", archive());
    place.registry.fail(&blob(), [Fault::Silence]);
    let waited = tokio::time::timeout(Duration::from_millis(300), place.pull("app")).await;
    waited.unwrap_err();
    let begun = std::time::Instant::now();
    while !place.on_disk().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", place.on_disk());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let names: Vec<_> = std::fs::read_dir(place.folder())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["machines"]);
    // And keeps nobody from the layer.
    place.pull("app").await.unwrap();
}
