//! Directories that a machine made so that they cannot be copied, counted or removed.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::lab::{backend, sh, spec, Lab};
use nullspace_engine::isolation::{Backend, StartSpec};
use rustix::mount::{mount, unmount, MountFlags, UnmountFlags};

/// Nests 3 600 directories in each other below /root/old: more than a path can name, or a recursion survives.
const NEST: &str = "cd /root; p=$(printf 'd/%.0s' {1..1200}); mkdir old; \
                    for i in 1 2 3; do mkdir -p new/$p; mv old new/$p; mv new old; done";
const COUNT: &str = "find /root/old -name d | wc -l";

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

/// Waits for a removal, which takes its time on a disk that is busy.
#[track_caller]
fn emptied(trash: &Path) {
    let begun = Instant::now();
    while !is_empty(trash) {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "what is in {trash:?} is not removed"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn directories_nested_by_the_thousand_are_copied_merged_and_removed() {
    let lab = Lab::open().await;
    let parent = lab.start(spec("nested")).await;
    sh(&parent, NEST).await;
    assert_eq!(sh(&parent, COUNT).await, "3600");
    parent.usage().await.unwrap();
    parent.snapshot("first").await.unwrap();
    parent.stop().await.unwrap();
    let child = lab
        .start(StartSpec {
            layers: vec!["first".to_owned()],
            ..spec("nested-child")
        })
        .await;
    sh(&child, "mkdir /root/more; echo x > /root/old/d/file").await;
    child.snapshot("second").await.unwrap();
    child.stop().await.unwrap();
    let layers = ["second", "first"].map(str::to_owned);
    let merged = lab.backend.merge_layers("merged", &layers).await.unwrap();
    assert!(merged.is_some());
    for name in &layers {
        lab.backend.remove_layer(name).await.unwrap();
    }
    let last = lab
        .start(StartSpec {
            layers: vec!["merged".to_owned()],
            ..spec("nested-merged")
        })
        .await;
    assert_eq!(sh(&last, COUNT).await, "3600");
    assert_eq!(
        sh(&last, "cat /root/old/d/file; ls -d /root/more").await,
        "x\n/root/more"
    );
    last.stop().await.unwrap();
    lab.backend.remove_layer("merged").await.unwrap();
    assert!(is_empty(&lab.state().join("machines")));
    assert!(is_empty(&lab.state().join("layers")));
    emptied(&lab.state().join("trash"));
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn a_machine_ends_before_its_files_are_removed_and_the_next_start_goes_on() {
    let lab = Lab::open().await;
    let machine = lab.start(spec("full")).await;
    sh(
        &machine,
        "mkdir /root/x; cd /root/x; seq 20000 | xargs touch; cp /bin/true fixed; mkdir -p $'\\xff\\n/\\xfe'",
    )
    .await;
    let upper = lab
        .state()
        .join("machines")
        .join(spec("full").id)
        .join("u/ur/root/x");
    // What only root of the computer can set; not every file system has it.
    let _ = std::process::Command::new("chattr")
        .arg("+i")
        .arg(upper.join("fixed"))
        .output();
    machine.stop().await.unwrap();
    assert!(is_empty(&lab.state().join("machines")));
    let state = lab.state().to_owned();
    let Lab { backend: first, .. } = &lab;
    first.recover().await.unwrap();
    let next = backend(&state).await;
    next.recover().await.unwrap();
    let machine = next.start(spec("full")).await.unwrap();
    assert_eq!(sh(&machine, "ls /root | wc -l").await, "0");
    machine.stop().await.unwrap();
    emptied(&state.join("trash"));
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn what_cannot_be_removed_stops_no_start() {
    let lab = Lab::open().await;
    let held = lab.state().join("machines/mch_left/held");
    fs::create_dir_all(&held).unwrap();
    mount("t", &held, "tmpfs", MountFlags::empty(), None).unwrap();
    let recovered = lab.backend.recover().await;
    let started = lab.backend.start(spec("beside")).await;
    let at = fs::read_dir(lab.state().join("trash"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("held"))
        .find(|path| path.exists());
    unmount(at.as_deref().unwrap_or(&held), UnmountFlags::empty()).unwrap();
    recovered.unwrap();
    started.unwrap().stop().await.unwrap();
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn what_a_machine_uses_is_told_in_a_moment_however_many_files_it_has() {
    let lab = Lab::open().await;
    let machine = lab.start(spec("many")).await;
    sh(&machine, "cd /root; for d in {1..20}; do mkdir $d; (cd $d; seq 1000 | xargs touch); done; dd if=/dev/zero of=x bs=1M count=8 2>&1").await;
    let mut longest = Duration::ZERO;
    let begun = Instant::now();
    loop {
        let asked = Instant::now();
        let usage = machine.usage().await.unwrap();
        longest = longest.max(asked.elapsed());
        if usage.disk_bytes >= 8 << 20 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{usage:?}");
    }
    // Far above what is meant, for computers that do something else meanwhile.
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    machine.stop().await.unwrap();
}
