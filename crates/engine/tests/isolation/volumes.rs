//! Volumes in machines whose programs rename everything that a volume is known by.

use std::path::PathBuf;
use std::sync::Arc;

use crate::lab::{sh, shell, spec, Lab};
use nullspace_engine::isolation::{IsolationError, Mount, Running, StartSpec};

fn volume(lab: &Lab, name: &str) -> PathBuf {
    let directory = lab.state().join("volumes").join(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

fn mount(source: &std::path::Path, subpath: Option<&str>, target: &str) -> Mount {
    Mount {
        source: source.to_owned(),
        subpath: subpath.map(str::to_owned),
        target: target.to_owned(),
        read_only: false,
    }
}

/// Mounts of a volume that a machine sees.
async fn mounts(machine: &Arc<dyn Running>, name: &str) -> String {
    sh(
        machine,
        &format!("grep -c /volumes/{name} /proc/self/mountinfo || true"),
    )
    .await
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn a_volume_is_taken_away_whatever_was_renamed() {
    let lab = Lab::open().await;
    let directory = volume(&lab, "vol_renamed");
    let whole = mount(&directory, None, "/all");
    let machine = lab
        .start(StartSpec {
            mounts: vec![whole.clone()],
            ..spec("renames")
        })
        .await;
    let part = mount(&directory, Some("a/b"), "/data/b");
    machine.mount(&part).await.unwrap();
    assert_eq!(machine.is_mounted(&part).await.unwrap(), Some(true));
    assert_eq!(mounts(&machine, "vol_renamed").await, "2");
    sh(
        &machine,
        "mv /all/a/b /all/a/other; mv /all/a /all/z; mv /data $'/d\\xff\\n'; echo x > $'/d\\xff\\n/b/file'",
    )
    .await;
    assert_eq!(machine.is_mounted(&part).await.unwrap(), Some(false));
    machine.unmount(&part, false).await.unwrap();
    assert_eq!(mounts(&machine, "vol_renamed").await, "1");
    assert!(directory.join("z/other/file").exists());

    // What it began with, too; and what is in use stays.
    let stays = machine
        .exec(shell("cd /all && echo in && sleep 1000"))
        .await
        .unwrap();
    sh(
        &machine,
        "until ls -l /proc/*/cwd 2>/dev/null | grep -q /all; do sleep 0.05; done",
    )
    .await;
    let busy = machine.unmount(&whole, false).await.unwrap_err();
    assert!(matches!(busy, IsolationError::Busy(_)), "{busy}");
    machine.signal(stays.pid, 9).await.unwrap();
    let _ = stays.exit.await;
    machine.unmount(&whole, false).await.unwrap();
    assert_eq!(mounts(&machine, "vol_renamed").await, "0");
    machine.stop().await.unwrap();
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn a_volume_that_is_not_mounted_is_not_called_released() {
    let lab = Lab::open().await;
    let directory = volume(&lab, "vol_lost");
    let machine = lab.start(spec("lost")).await;
    let place = mount(&directory, None, "/data");
    let lost = machine.unmount(&place, true).await.unwrap_err();
    assert!(matches!(lost, IsolationError::Lost(_)), "{lost}");
    machine.mount(&place).await.unwrap();
    machine.unmount(&place, false).await.unwrap();
    let lost = machine.unmount(&place, false).await.unwrap_err();
    assert!(matches!(lost, IsolationError::Lost(_)), "{lost}");
    machine.stop().await.unwrap();
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn a_volume_is_never_left_behind_while_its_place_is_being_moved() {
    let lab = Lab::open().await;
    let directory = volume(&lab, "vol_moving");
    let machine = lab.start(spec("moving")).await;
    sh(&machine, "mkdir -p /data/in").await;
    let mover = machine
        .exec(shell(
            "while :; do mv /data /other; mv /other /data; done 2>/dev/null",
        ))
        .await
        .unwrap();
    let place = mount(&directory, None, "/data/in");
    for _ in 0..20 {
        match machine.mount(&place).await {
            Ok(()) => {}
            // Its directory was somewhere else at this moment.
            Err(IsolationError::Invalid(_)) => continue,
            Err(other) => panic!("{other}"),
        }
        loop {
            match machine.unmount(&place, true).await {
                Ok(()) => break,
                Err(IsolationError::Busy(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(mounts(&machine, "vol_moving").await, "0");
    }
    machine.signal(mover.pid, 9).await.unwrap();
    machine.stop().await.unwrap();
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn two_volumes_on_one_directory_are_refused() {
    let lab = Lab::open().await;
    let template = lab.start(spec("alias")).await;
    sh(&template, "mkdir /real; ln -s real /alias").await;
    template.snapshot("alias").await.unwrap();
    template.stop().await.unwrap();
    let directory = volume(&lab, "vol_alias");
    let wanted = StartSpec {
        layers: vec!["alias".to_owned()],
        mounts: vec![
            mount(&directory, None, "/alias/v"),
            mount(&directory, Some("b"), "/real/v"),
        ],
        ..spec("aliased")
    };
    let refused = nullspace_engine::isolation::Backend::start(&lab.backend, wanted)
        .await
        .err();
    let Some(IsolationError::Invalid(text)) = refused else {
        panic!("{refused:?}");
    };
    assert!(text.contains("/alias/v") && text.contains("/real/v"), "{text}");
}
