//! What a well-made image becomes.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use nullspace_engine::images::{Auth, Kind, Options, Platform};
use nullspace_engine::isolation::{Running, StartSpec};
use serde_json::json;

use crate::archives::{gzip, with_program, zstd, Archive, Entry, MOMENT};
use crate::registry::{basic, Fault, Registry, RegistryAccess, TOKEN};
use crate::{lab, Place, CONFIG, GZIP, INDEX, MANIFEST, TAR, ZSTD};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0; 64];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    Some(value[..length].to_vec())
}

#[tokio::test]
async fn layers_of_every_compression_become_directories_for_overlay() {
    let place = Place::new().await;
    let low = Archive::default()
        .directory("etc/", 0o750)
        .file("./etc/gone", 0o644, "old")
        .file("/usr/bin/tool", 0o4755, "#!")
        .hard_link("usr/bin/same", "usr/bin/tool")
        .symlink("bin", "usr/bin")
        .file("bin/through", 0o755, "by the link")
        .raw(&Entry {
            path: b"usr/of-others",
            owner: (1000, 42),
            ..Entry::default()
        })
        .end();
    let middle = Archive::default()
        .file("etc/.wh.gone", 0o644, "")
        .directory("opt", 0o755)
        .file("opt/.wh..wh..opq", 0o644, "")
        .file("opt/new", 0o600, "new")
        .file(".wh..wh.plnk", 0o644, "")
        .end();
    let high = Archive::default()
        .extended(&[
            ("SCHILY.xattr.user.kept", b"yes"),
            ("SCHILY.xattr.user.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ])
        .file("marked", 0o644, "")
        .raw(&Entry {
            path: b"pipe",
            kind: b'6',
            ..Entry::default()
        })
        .raw(&Entry {
            path: b"dev/sda",
            kind: b'4',
            ..Entry::default()
        })
        .raw(&Entry {
            path: b"far",
            owner: (197_609, 0),
            ..Entry::default()
        })
        .end();
    let layers = [
        (GZIP, gzip(&low), low.clone()),
        (ZSTD, zstd(&middle), middle.clone()),
        (TAR, high.clone(), high.clone()),
    ];
    place.publish(
        "all",
        &layers,
        json!({
            "Env": ["PATH=/usr/bin", "EMPTY=", "A=b=c"], "WorkingDir": "/srv", "User": "app:app",
            "Entrypoint": ["/usr/bin/tool"], "Cmd": null, "Labels": { "a": "b" }, "OnBuild": null,
        }),
    );
    let image = place.pull("all").await.unwrap();
    assert_eq!(image.layers.len(), 4);
    assert_eq!(image.config.envs.get("A").unwrap(), "b=c");
    assert_eq!(image.config.envs.get("EMPTY").unwrap(), "");
    assert_eq!(
        (image.config.workdir.as_str(), image.config.user.as_str()),
        ("/srv", "app:app")
    );
    assert_eq!(image.config.entrypoint, ["/usr/bin/tool"]);
    assert!(image.config.cmd.is_empty() && image.size_bytes > 0);
    assert_eq!(image.warnings.len(), 2, "{:?}", image.warnings);

    let low = place.root(&image, 2);
    let tool = low.join("usr/bin/tool").metadata().unwrap();
    let kept = if is_root() { 0o4755 } else { 0o755 };
    assert_eq!(
        (tool.mode() & 0o7777, tool.nlink(), tool.mtime()),
        (kept, 2, MOMENT as i64)
    );
    assert_eq!(fs::read_link(low.join("bin")).unwrap(), Path::new("usr/bin"));
    assert_eq!(
        fs::read_to_string(low.join("usr/bin/through")).unwrap(),
        "by the link"
    );
    assert_eq!(low.join("etc").metadata().unwrap().mode() & 0o7777, 0o750);
    assert_eq!(low.join("etc").metadata().unwrap().mtime(), MOMENT as i64);
    if is_root() {
        let found = low.join("usr/of-others").metadata().unwrap();
        assert_eq!((found.uid(), found.gid()), (1000, 42));
    }
    let middle = place.root(&image, 1);
    let whiteout = middle.join("etc/gone").symlink_metadata().unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    let name = if is_root() {
        "trusted.overlay.opaque"
    } else {
        "user.overlay.opaque"
    };
    assert_eq!(attribute(&middle.join("opt"), name).as_deref(), Some(&b"y"[..]));
    assert!(!middle.join(".wh..wh.plnk").exists() && middle.join("opt/new").exists());
    let high = place.root(&image, 0);
    assert!(high
        .join("pipe")
        .symlink_metadata()
        .unwrap()
        .file_type()
        .is_fifo());
    assert!(!high.join("dev/sda").exists());
    for name in ["user.overlay.redirect", "trusted.overlay.opaque"] {
        assert_eq!(attribute(&high.join("marked"), name), None, "{name}");
    }
    if let Some(value) = attribute(&high.join("marked"), "user.kept") {
        assert_eq!(value, b"yes");
    }
    if is_root() {
        assert_eq!(high.join("far").metadata().unwrap().uid(), 65_534);
    }
    let told = place.told.lock().unwrap().join("\n");
    assert!(
        told.contains("3 layers") && told.contains("is unpacked"),
        "{told}"
    );
}

#[tokio::test]
async fn an_index_has_one_image_for_each_platform() {
    let place = Place::new().await;
    let archive = Archive::default().file("mine", 0o644, "").end();
    let mut mine = place.publish_one("mine", archive);
    let host = Platform::host();
    mine["platform"] = json!({ "os": "linux", "architecture": host.architecture, "variant": "v8" });
    let other = json!({
        "mediaType": MANIFEST, "digest": format!("sha256:{}", "0".repeat(64)), "size": 2,
        "platform": { "os": "linux", "architecture": "s390x" },
    });
    let attestation = json!({
        "mediaType": MANIFEST, "digest": format!("sha256:{}", "1".repeat(64)), "size": 2,
        "platform": { "os": "unknown", "architecture": "unknown" },
    });
    let index = |manifests| json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    place
        .registry
        .manifest(Some("both"), INDEX, &index(json!([other, attestation, mine])));
    place
        .registry
        .manifest(Some("other"), INDEX, &index(json!([other, attestation])));
    let image = place.pull("both").await.unwrap();
    assert_eq!(image.digest, mine["digest"].as_str().unwrap());
    let error = place.refusal("other").await;
    assert_eq!(error.kind, Kind::NotFound);
    assert!(
        error.message.contains("linux/s390x") && !error.message.contains("unknown"),
        "{error}"
    );

    let config = json!({ "os": "linux", "architecture": "s390x", "rootfs": { "diff_ids": [] } });
    let config = place.registry.blob(CONFIG, config.to_string());
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [] });
    place.registry.manifest(Some("single"), MANIFEST, &manifest);
    let error = place.refusal("single").await;
    assert_eq!(error.kind, Kind::NotFound);
    assert!(error.message.contains("linux/s390x"), "{error}");
}

#[tokio::test]
async fn a_layer_is_kept_once_whatever_it_came_packed_in() {
    let place = Place::new().await;
    let shared = Archive::default().file("shared", 0o644, "x").end();
    let own = Archive::default().file("own", 0o644, "y").end();
    let empty = Archive::default().end();
    place.publish("one", &[(GZIP, gzip(&shared), shared.clone())], json!({}));
    let again = (ZSTD, zstd(&shared), shared.clone());
    let nothing = (GZIP, gzip(&empty), empty.clone());
    place.publish(
        "two",
        &[again, nothing.clone(), (GZIP, gzip(&own), own), nothing],
        json!({}),
    );
    let one = place.pull("one").await.unwrap();
    let two = place.pull("two").await.unwrap();
    assert_eq!(one.layers[1], two.layers[3], "{two:?}");
    assert_eq!(two.layers.len(), 4, "the empty layer is there once: {two:?}");
    let before = place.registry.seen("/blobs/").len();
    let again = place.pull("two").await.unwrap();
    assert_eq!(again.layers, two.layers);
    assert_eq!(
        place.registry.seen("/blobs/").len(),
        before + 1,
        "only the configuration is asked for again"
    );
}

#[tokio::test]
async fn an_image_without_layers_is_what_every_machine_needs() {
    let place = Place::new().await;
    place.publish("empty", &[], json!({}));
    let image = place.pull("empty").await.unwrap();
    assert_eq!(image.layers.len(), 1);
    assert_eq!(image.config.workdir, "/");
    let root = place.backend.layer_folder(&image.layers[0]).unwrap().join("root");
    assert!(root.join("workspace").is_dir() && root.join("etc/resolv.conf").is_file());
}

#[tokio::test]
async fn two_pulls_of_one_image_bring_each_layer_once() {
    let place = Place::new().await;
    let archive = Archive::default().file("file", 0o644, vec![7; 1 << 20]).end();
    place.publish("app", &[(GZIP, gzip(&archive), archive.clone())], json!({}));
    let (one, two, three) = tokio::join!(place.pull("app"), place.pull("app"), place.pull("app"));
    assert_eq!(one.unwrap().layers, two.unwrap().layers);
    three.unwrap();
    let blob = crate::registry::digest(&gzip(&archive));
    assert_eq!(place.registry.seen(&blob).len(), 1);
}

#[tokio::test]
async fn credentials_go_to_the_token_server_and_nowhere_else() {
    let place = Place::new().await;
    let archive = Archive::default().file("file", 0o644, "").end();
    place.publish_one("app", archive.clone());
    let elsewhere = Registry::start().await;
    elsewhere.put("/blob", "application/octet-stream", gzip(&archive));
    let blob = crate::registry::digest(&gzip(&archive));
    place.registry.fail(
        &blob,
        [Fault::Redirect(format!("http://{}/blob", elsewhere.address))],
    );
    place.registry.close_door(RegistryAccess::Token {
        username: "ann".into(),
        password: "s3cret".into(),
    });
    let auth = Auth::Basic {
        username: "ann".into(),
        password: "s3cret".into(),
    };
    place.pull_as("app", Some(auth)).await.unwrap();
    let asked = place.registry.seen("/token");
    assert_eq!(asked.len(), 1);
    assert_eq!(
        asked[0].path,
        "/token?service=the+registry&scope=repository%3Aapp%3Apull"
    );
    assert_eq!(asked[0].authorization, Some(basic("ann", "s3cret")));
    let shown: Vec<_> = place
        .registry
        .seen("/v2/")
        .into_iter()
        .filter_map(|seen| seen.authorization)
        .collect();
    assert!(!shown.is_empty() && shown.iter().all(|shown| *shown == format!("Bearer {TOKEN}")));
    assert_eq!(elsewhere.seen("/blob")[0].authorization, None);
    assert!(!place.told.lock().unwrap().join("").contains("s3cret"));
}

#[tokio::test]
async fn each_kind_of_credentials_opens_its_registry() {
    let place = Place::new().await;
    place.publish_one("app", Archive::default().end());
    place.registry.close_door(RegistryAccess::PublicToken);
    place.pull("app").await.unwrap();

    place.registry.close_door(RegistryAccess::Basic {
        username: "ann".into(),
        password: "s3cret".into(),
    });
    let auth = Auth::Basic {
        username: "ann".into(),
        password: "s3cret".into(),
    };
    place.pull_as("app", Some(auth)).await.unwrap();

    let key = r#"{"type":"service_account","private_key":"k"}"#;
    place.registry.close_door(RegistryAccess::Basic {
        username: "_json_key".into(),
        password: key.into(),
    });
    let auth = Auth::GcpArtifactRegistry {
        service_account_json: key.into(),
    };
    place.pull_as("app", Some(auth)).await.unwrap();
}

#[tokio::test]
async fn an_access_key_of_aws_is_exchanged_for_a_password() {
    let aws = Registry::start().await;
    let token = basic("AWS", "from-aws").trim_start_matches("Basic ").to_owned();
    let answer = json!({ "authorizationData": [{ "authorizationToken": token }] });
    aws.put("/", "application/x-amz-json-1.1", answer.to_string().into_bytes());
    let endpoint = format!("http://{}", aws.address);
    let place = Place::with(Options {
        ecr_endpoint: Some(endpoint),
        ..Options::default()
    })
    .await;
    place.publish_one("app", Archive::default().end());
    place.registry.close_door(RegistryAccess::Basic {
        username: "AWS".into(),
        password: "from-aws".into(),
    });
    let auth = |session: Option<&str>| Auth::AwsEcr {
        access_key_id: "AKIDEXAMPLE".into(),
        secret_access_key: "s3cret".into(),
        region: "eu-central-1".into(),
        session_token: session.map(Into::into),
    };
    place.pull_as("app", Some(auth(Some("session")))).await.unwrap();
    let seen = &aws.seen("/")[0];
    let authorization = seen.authorization.as_ref().unwrap();
    assert!(
        authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"),
        "{authorization}"
    );
    assert!(authorization.contains("/eu-central-1/ecr/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, "));
    assert_eq!(
        seen.headers["x-amz-target"],
        "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
    );
    assert_eq!(seen.headers["x-amz-security-token"], "session");

    // The first answer is of no use, so it is asked again; the next one says no.
    aws.fail("/", [Fault::Status(500), Fault::Status(400)]);
    let error = place.pull_as("app", Some(auth(None))).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unauthorized);
    assert!(
        error.message.contains("access_key_id") && !error.message.contains("s3cret"),
        "{error}"
    );
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn a_machine_is_made_of_an_image() {
    let place = Place::real().await;
    let low = with_program(Archive::default(), "/bin/sh")
        .file("etc/gone", 0o644, "")
        .file("opt/gone", 0o644, "")
        .file("usr/share/kept", 0o640, "of the image")
        .raw(&Entry {
            path: b"usr/bin/suid",
            mode: 0o4755,
            ..Entry::default()
        })
        .raw(&Entry {
            path: b"home/ann/",
            kind: b'5',
            mode: 0o700,
            owner: (1000, 1000),
            ..Entry::default()
        })
        .end();
    let high = Archive::default()
        .file("etc/.wh.gone", 0, "")
        .file("opt/.wh..wh..opq", 0, "")
        .file("opt/new", 0o644, "")
        .end();
    place.publish(
        "app",
        &[(GZIP, gzip(&low), low), (ZSTD, zstd(&high), high)],
        json!({}),
    );
    let image = place.pull("app").await.unwrap();
    let machine: Arc<dyn Running> = place
        .backend
        .start(StartSpec {
            layers: image.layers.clone(),
            whole_root: true,
            ..lab::spec("image")
        })
        .await
        .unwrap();
    let script = "set -e; cd /; [ ! -e etc/gone ]; [ ! -e opt/gone ]; [ -e opt/new ]; [ -u usr/bin/suid ]; [ -O usr/bin/suid ]; \
         [ ! -O home/ann ]; [ -d workspace ]; echo x > tmp/x; echo y >> usr/share/kept; \
         while read -r line; do echo \"$line\"; done < usr/share/kept";
    let mut exec = lab::shell(script);
    exec.argv[0] = "/bin/sh".into();
    let outcome = lab::finish(machine.exec(exec).await.unwrap()).await;
    machine.stop().await.unwrap();
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (0, "of the imagey"),
        "{outcome:?}"
    );
    // What the machine wrote is not in the layers.
    let kept = fs::read_to_string(place.root(&image, 1).join("usr/share/kept")).unwrap();
    assert_eq!(kept, "of the image");
}
