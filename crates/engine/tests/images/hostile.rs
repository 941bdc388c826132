//! Layers that want to be elsewhere, or more than there is room for.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nullspace_engine::images::{Kind, Limits, Options};

use crate::archives::{Archive, Entry};
use crate::Place;

#[track_caller]
fn outside() -> tempfile::TempDir {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "not for images").unwrap();
    outside
}

#[track_caller]
fn is_untouched(outside: &Path) {
    let names: Vec<_> = fs::read_dir(outside)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["secret"]);
    assert_eq!(
        fs::read_to_string(outside.join("secret")).unwrap(),
        "not for images"
    );
}

#[tokio::test]
async fn what_cannot_be_unpacked_safely_is_refused_and_leaves_nothing() {
    let place = Place::new().await;
    let outside = outside();
    let secret = outside.path().join("secret").display().to_string();
    let up = |path: &str| {
        Archive::default().raw(&Entry {
            path: path.as_bytes(),
            ..Entry::default()
        })
    };
    let long = format!("{}x", "d/".repeat(2100));
    let name = "n".repeat(256);
    let cases: Vec<(&str, Archive, &str)> = vec![
        ("up", up("../file"), "`..`"),
        ("up-later", up("a/b/../../../file"), "`..`"),
        ("up-dir", Archive::default().directory("a/..", 0o755), "`..`"),
        ("up-whiteout", up("a/.wh..."), "without a name"),
        ("whiteout-nothing", up(".wh."), "without a name"),
        (
            "link-up",
            Archive::default().hard_link("link", "../../etc/passwd"),
            "`..`",
        ),
        (
            "link-out",
            Archive::default().hard_link("link", &secret),
            "no file of the same layer",
        ),
        (
            "link-through",
            Archive::default()
                .symlink("out", &outside.path().display().to_string())
                .hard_link("link", "out/secret"),
            "no file of the same layer",
        ),
        (
            "link-directory",
            Archive::default().directory("d", 0o755).hard_link("link", "d"),
            "no file",
        ),
        (
            "link-nothing",
            Archive::default().hard_link("link", ""),
            "no file of the same layer",
        ),
        (
            "symlink-nothing",
            Archive::default().symlink("link", ""),
            "leads nowhere",
        ),
        ("long", up(&long), "4095 bytes"),
        ("long-name", up(&name), "entry"),
        ("no-name", up("/"), "has no name"),
        ("below-file", up("file").file("file/below", 0o644, ""), "entry"),
        (
            "circle",
            Archive::default()
                .symlink("a", "b")
                .symlink("b", "a")
                .file("a/x", 0o644, ""),
            "entry",
        ),
        (
            "unknown",
            Archive::default().raw(&Entry {
                kind: b'Z',
                ..Entry::default()
            }),
            "unknown kind",
        ),
        (
            "sparse",
            Archive::default()
                .extended(&[("GNU.sparse.major", b"1")])
                .file("x", 0o644, ""),
            "sparse",
        ),
        (
            "sparse-gnu",
            Archive::default().raw(&Entry {
                kind: b'S',
                ..Entry::default()
            }),
            "sparse",
        ),
        (
            "header",
            Archive::default()
                .extended(&[("comment", &vec![b'x'; 2 << 20])])
                .file("x", 0o644, ""),
            "described by more than",
        ),
    ];
    for (tag, archive, words) in cases {
        place.publish_one(tag, archive.end());
        let error = place.refusal(tag).await;
        assert_eq!(error.kind, Kind::Refused, "{tag}: {error}");
        assert!(error.message.contains(words), "{tag}: {error}");
        assert!(
            error.message.starts_with("layer sha256:") && error.message.len() < 800,
            "{tag}: {error}"
        );
        assert_eq!(place.on_disk(), [""; 0], "{tag}");
    }
    for (tag, bytes) in [
        ("garbage", vec![7; 2000]),
        (
            "cut",
            Archive::default().file("x", 0o644, "x").end()[..512].to_vec(),
        ),
    ] {
        place.publish_one(tag, bytes);
        assert_eq!(place.refusal(tag).await.kind, Kind::Refused, "{tag}");
    }
    is_untouched(outside.path());
}

#[tokio::test]
async fn an_archive_may_lack_the_zeros_at_its_end() {
    let place = Place::new().await;
    for length in [513, 700, 1024, 1536] {
        let archive = Archive::default().file("x", 0o644, "x").end()[..length].to_vec();
        place.publish_one("short", archive);
        let image = place.pull("short").await.unwrap();
        assert_eq!(fs::read_to_string(place.root(&image, 0).join("x")).unwrap(), "x");
    }
}

#[tokio::test]
async fn links_are_followed_inside_the_layer_only() {
    let place = Place::new().await;
    let outside = outside();
    let out = outside.path().display().to_string();
    let far = format!("{}{out}", "../".repeat(40));
    let archive = Archive::default()
        .symlink("absolute", &out)
        .file("absolute/secret", 0o644, "written")
        .symlink("relative", &far)
        .file("relative/secret", 0o644, "written again")
        .symlink("secret", &format!("{out}/secret"))
        .file("secret", 0o644, "in its place")
        .symlink("whole", "/")
        .file("whole/top", 0o644, "")
        .symlink("gone", &out)
        .file("gone/.wh.secret", 0, "");
    // The links lead to where the layer itself has such a directory.
    let archive = Archive::default()
        .directory(out.trim_start_matches('/'), 0o755)
        .end()[..512]
        .to_vec()
        .into_iter()
        .chain(archive.end())
        .collect::<Vec<u8>>();
    place.publish_one("links", archive);
    let image = place.pull("links").await.unwrap();
    is_untouched(outside.path());
    let root = place.root(&image, 0);
    let inside = root.join(out.trim_start_matches('/')).join("secret");
    assert_eq!(fs::read_to_string(inside).unwrap(), "written again");
    assert_eq!(fs::read_link(root.join("absolute")).unwrap(), Path::new(&out));
    assert_eq!(fs::read_to_string(root.join("secret")).unwrap(), "in its place");
    assert!(root.join("top").exists());
}

#[tokio::test]
async fn what_comes_later_replaces_and_writes_through_nothing() {
    let place = Place::new().await;
    let archive = Archive::default()
        .file("first", 0o644, "first")
        .hard_link("second", "first")
        .file("second", 0o644, "second")
        .directory("d", 0o755)
        .file("d/x", 0o644, "")
        .file("d", 0o644, "a file now")
        .file("e", 0o644, "")
        .directory("e", 0o700)
        .file("e/x", 0o644, "")
        .directory("e", 0o711)
        .hard_link("first", "first")
        .file("both/.wh.x", 0, "")
        .directory("both/x", 0o755)
        .file("both/x/y", 0o644, "")
        .end();
    place.publish_one("later", archive);
    let image = place.pull("later").await.unwrap();
    let root = place.root(&image, 0);
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    assert_eq!(
        (read("second"), read("d")),
        ("second".into(), "a file now".into())
    );
    assert_eq!(read("first"), "first");
    assert!(root.join("e/x").exists() && root.join("both/x/y").exists());
    use std::os::unix::fs::MetadataExt;
    assert_eq!(root.join("e").metadata().unwrap().mode() & 0o7777, 0o711);
}

#[tokio::test]
async fn names_of_any_bytes_are_kept() {
    let place = Place::new().await;
    let long = format!("{}/{}", "l".repeat(200), "m".repeat(200));
    let names: [&[u8]; 5] = [b"a\nb", b"\xff\xfe", b" ", b"-rf", long.as_bytes()];
    let archive = names.iter().fold(Archive::default(), |archive, path| {
        archive.raw(&Entry {
            path,
            ..Entry::default()
        })
    });
    place.publish_one("names", archive.end());
    let image = place.pull("names").await.unwrap();
    for name in names {
        let path = place.root(&image, 0).join(std::ffi::OsStr::from_bytes(name));
        assert!(path.is_file(), "{path:?}");
    }
    // In an error they are on one line.
    place.publish_one(
        "bad",
        Archive::default()
            .raw(&Entry {
                path: b"a\n\x1b[31m/../b",
                ..Entry::default()
            })
            .end(),
    );
    let error = place.refusal("bad").await.message;
    assert!(
        !error.contains(['\n', '\x1b']) && error.contains("\\n"),
        "{error}"
    );
}

#[tokio::test]
async fn a_layer_that_grows_without_end_is_stopped() {
    let limits = Limits {
        free_bytes: 1 << 20,
        growth: 2,
        ..Limits::default()
    };
    let place = Place::with(Options {
        limits,
        ..Options::default()
    })
    .await;
    let zeros = Archive::default().file("zeros", 0o644, vec![0; 64 << 20]).end();
    place.publish_one("bomb", zeros.clone());
    let error = place.refusal("bomb").await;
    assert_eq!(error.kind, Kind::Refused);
    assert!(error.message.contains("1 MiB when unpacked"), "{error}");
    place.publish(
        "zstd",
        &[(crate::ZSTD, crate::archives::zstd(&zeros), zeros)],
        serde_json::json!({}),
    );
    assert_eq!(place.refusal("zstd").await.kind, Kind::Refused);
    // Behind the end of the archive too.
    let behind = [Archive::default().end(), vec![0; 64 << 20]].concat();
    place.publish_one("behind", behind);
    assert_eq!(place.refusal("behind").await.kind, Kind::Refused);
    assert_eq!(place.on_disk(), [""; 0]);
}

#[tokio::test]
async fn a_layer_of_too_many_files_is_stopped() {
    let limits = Limits {
        entries: 1000,
        ..Limits::default()
    };
    let place = Place::with(Options {
        limits,
        ..Options::default()
    })
    .await;
    // One is the directory.
    let many = |count: usize| {
        (0..count)
            .fold(Archive::default(), |archive, number| {
                archive.file(&format!("d/{number}"), 0o644, "")
            })
            .end()
    };
    place.publish_one("some", many(999));
    place.pull("some").await.unwrap();
    place.publish_one("many", many(1000));
    let error = place.refusal("many").await;
    assert_eq!(error.kind, Kind::Refused);
    assert!(error.message.contains("more than 1000 entries"), "{error}");
    // Directories that are only named count too.
    let named = |number: u32| format!("{number}/{}x", "d/".repeat(600));
    let archive = Archive::default()
        .file(&named(1), 0o644, "")
        .file(&named(2), 0o644, "");
    place.publish_one("named", archive.end());
    let error = place.refusal("named").await;
    assert!(error.message.contains("more than 1000 entries"), "{error}");
}

#[tokio::test]
async fn a_device_that_would_hide_something_is_left_out() {
    let place = Place::new().await;
    let archive = Archive::default()
        .raw(&Entry {
            path: b"etc/passwd",
            kind: b'3',
            ..Entry::default()
        })
        .raw(&Entry {
            path: b"sda",
            kind: b'4',
            ..Entry::default()
        })
        .end();
    place.publish_one("devices", archive);
    let image = place.pull("devices").await.unwrap();
    for name in ["etc/passwd", "sda"] {
        let found = place.root(&image, 0).join(name).symlink_metadata();
        assert!(
            found.is_err() || !found.unwrap().file_type().is_char_device(),
            "{name}"
        );
    }
    assert!(image.warnings[0].contains("2 devices"), "{:?}", image.warnings);
}
