//! Files of volumes into which machines put whatever they like: the real process that works on them.

use std::os::unix::fs::{symlink, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nullspace_engine::isolation::files::{FileError, Files, Op};
use nullspace_engine::isolation::{Backend, Mount, StartSpec, VolumeFiles};
use rustix::fs::{makedev, mknodat, FileType, Mode, CWD};
use tokio_util::sync::CancellationToken;

use crate::lab::{sh, spec, Lab};

fn volume(lab: &Lab, name: &str) -> PathBuf {
    let directory = lab.state().join("volumes").join(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

async fn open(lab: &Lab, directory: &Path) -> Files {
    let VolumeFiles { channel, .. } = lab
        .backend
        .volume_files(directory, CancellationToken::new())
        .await
        .unwrap();
    Files::new(channel).unwrap()
}

fn errno(error: FileError) -> i32 {
    match error {
        FileError::Fault(fault) => fault.errno,
        FileError::Broken(error) => panic!("{error}"),
    }
}

async fn write(files: &mut Files, path: &str, content: &str) -> Result<(), FileError> {
    use std::io::Write;
    let mut new = files.create(path.into()).await?;
    new.file.write_all(content.as_bytes()).unwrap();
    files.commit(new.token, true, None).await.map(drop)
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn links_of_a_machine_lead_nowhere_out_of_the_volume() {
    let lab = Lab::open().await;
    let directory = volume(&lab, "vol_links");
    let secret = lab.state().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    symlink(&secret, directory.join("absolute")).unwrap();
    symlink("../../secret", directory.join("relative")).unwrap();
    symlink("/", directory.join("root")).unwrap();
    symlink("/proc/self/root", directory.join("magic")).unwrap();
    let mut files = open(&lab, &directory).await;
    for path in [
        "/absolute",
        "/relative",
        "/magic/etc/passwd",
        "/../secret",
        "/root/etc/passwd",
    ] {
        assert_eq!(
            errno(files.read(path.into()).await.unwrap_err()),
            libc::ENOENT,
            "{path}"
        );
    }
    // Written through, they make files in the volume.
    write(&mut files, "/relative", "inside").await.unwrap();
    write(&mut files, "/root/also", "inside").await.unwrap();
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
    assert_eq!(
        std::fs::read_to_string(directory.join("secret")).unwrap(),
        "inside"
    );
    assert_eq!(std::fs::read_to_string(directory.join("also")).unwrap(), "inside");
    // Removing a link removes the link.
    files.ask(Op::Remove { path: "/root".into() }).await.unwrap();
    assert!(directory.join("also").exists());
    assert!(!Path::new("/also").exists());
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn pipes_and_devices_neither_block_nor_open() {
    let lab = Lab::open().await;
    let directory = volume(&lab, "vol_devices");
    for (name, kind, device) in [
        ("pipe", FileType::Fifo, 0),
        ("zero", FileType::CharacterDevice, makedev(1, 5)),
    ] {
        mknodat(CWD, directory.join(name), kind, Mode::RWXU, device).unwrap();
    }
    let mut files = open(&lab, &directory).await;
    let all = async {
        for path in ["/pipe", "/zero"] {
            assert!(
                [libc::EINVAL, libc::EACCES].contains(&errno(files.read(path.into()).await.unwrap_err())),
                "{path}"
            );
            assert_eq!(
                errno(files.create(path.into()).await.unwrap_err()),
                libc::EINVAL,
                "{path}"
            );
        }
        assert!(files.find("/".into(), "x".into()).await.unwrap().is_empty());
        assert_eq!(files.list("/".into(), 0).await.unwrap().len(), 2);
    };
    tokio::time::timeout(Duration::from_secs(30), all)
        .await
        .expect("something waited");
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn a_volume_has_the_same_owners_with_and_without_a_machine() {
    let lab = Lab::open().await;
    let directory = volume(&lab, "vol_owners");
    std::fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut files = open(&lab, &directory).await;
    write(&mut files, "/from-outside", "a").await.unwrap();
    assert_eq!(directory.join("from-outside").metadata().unwrap().uid(), 0);
    let machine = lab
        .start(StartSpec {
            mounts: vec![Mount {
                source: directory.clone(),
                subpath: None,
                target: "/data".into(),
                read_only: false,
            }],
            ..spec("owners")
        })
        .await;
    assert_eq!(
        sh(
            &machine,
            "stat -c %u /data/from-outside; echo b > /data/mine; chown 1000 /data/mine"
        )
        .await,
        "0"
    );
    let info = files.info("/mine".into()).await.unwrap();
    assert_eq!((info.owner.as_str(), info.size), ("1000", 2));
    // Rewritten, it still belongs to whom it belonged.
    write(&mut files, "/mine", "c").await.unwrap();
    assert_eq!(
        sh(&machine, "stat -c %u /data/mine; cat /data/mine").await,
        "1000\nc"
    );
    machine.stop().await.unwrap();
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn the_process_has_the_volume_and_no_rights_beside() {
    let lab = Lab::open().await;
    let directory = volume(&lab, "vol_confined");
    let _files = open(&lab, &directory).await;
    let own = std::process::id().to_string();
    let mut seen = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let mounts = std::fs::read_to_string(entry.path().join("mountinfo")).unwrap_or_default();
        if !status.contains(&format!("PPid:\t{own}\n")) || !mounts.contains("/vol_confined") {
            continue;
        }
        seen += 1;
        assert_eq!(mounts.lines().count(), 1, "{mounts}");
        for line in [
            "CapEff:\t000000000000001b",
            "CapBnd:\t000000000000001b",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
        ] {
            assert!(status.contains(line), "{line}: {status}");
        }
        assert!(!status.contains("Uid:\t0\t"), "{status}");
    }
    assert_eq!(seen, 1);
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn the_process_ends_with_its_session_and_when_it_is_told_to() {
    let lab = Lab::open().await;
    let directory = volume(&lab, "vol_ends");
    let over = CancellationToken::new();
    let first = lab.backend.volume_files(&directory, over.clone()).await.unwrap();
    let mut files = Files::new(first.channel).unwrap();
    // What is not committed goes with the session.
    let _new = files.create("/half".into()).await.unwrap();
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
    drop(files);
    let within = Duration::from_secs(10);
    let _ = tokio::time::timeout(within, first.ended)
        .await
        .expect("it did not end with its session");
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
    let second = lab.backend.volume_files(&directory, over.clone()).await.unwrap();
    over.cancel();
    let _ = tokio::time::timeout(within, second.ended)
        .await
        .expect("it did not end when it was told to");
    let mut files = Files::new(second.channel).unwrap();
    assert!(files.info("/".into()).await.is_err());
    // A directory that is not there starts nothing that stays.
    assert!(lab
        .backend
        .volume_files(&directory.join("none"), CancellationToken::new())
        .await
        .is_err());
}
