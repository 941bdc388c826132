//! What an engine that was killed leaves, and that the next one on its state removes all of it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::lab::{backend, processes, sh, shell, spec, traces, until, Lab};
use nullspace_engine::isolation::{Backend, Limit, StartSpec};

/// Names the state directory to the process that is going to be killed.
const STATE: &str = "NULLSPACE_TEST_STATE";

/// The engine that is going to be killed: one machine that works, one that is paused, one with a disk of its own, and
/// a layer half-made.
async fn victim(state: PathBuf) {
    let backend = backend(&state).await;
    let mut running = Vec::new();
    for name in ["works", "paused", "disk"] {
        let mut wanted = spec(name);
        if name == "disk" && backend.capabilities().enforces(Limit::Disk) {
            wanted = StartSpec {
                disk_mb: Some(64),
                ..wanted
            };
        }
        let id = wanted.id.clone();
        let machine = backend.start(wanted).await.unwrap();
        machine
            .exec(shell(
                "sleep 1000 & setsid sleep 1000 & touch /root/x; while :; do sleep 1; done",
            ))
            .await
            .unwrap();
        if name == "paused" {
            machine.freeze().await.unwrap();
        }
        println!("machine {id}");
        running.push(machine);
    }
    std::fs::create_dir_all(state.join("layers/half.new/root")).unwrap();
    println!("ready");
    std::future::pending::<()>().await;
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn what_a_killed_engine_left_is_removed_by_the_next() {
    // The same test in a process of its own plays the engine that is going to be killed.
    if let Some(state) = std::env::var_os(STATE) {
        return victim(state.into()).await;
    }
    let lab = Lab::open().await;
    let state = lab.state().to_owned();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "recovery::what_a_killed_engine_left_is_removed_by_the_next",
            "--nocapture",
        ])
        .env(STATE, &state)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ids = Vec::new();
    for line in BufReader::new(victim.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        // The test harness may have begun the line.
        if let Some((_, id)) = line.split_once("machine ") {
            ids.push(id.to_owned());
        }
        if line == "ready" {
            break;
        }
    }
    assert_eq!(ids.len(), 3, "{ids:?}");
    let pids: Vec<u32> = ids.iter().flat_map(|id| processes(id)).collect();
    assert!(pids.len() >= 9, "{pids:?}");
    victim.kill().unwrap();
    victim.wait().unwrap();

    let next = backend(&state).await;
    next.recover().await.unwrap();
    for id in &ids {
        assert_eq!(traces(&state, id), Vec::<String>::new());
    }
    assert_eq!(std::fs::read_dir(state.join("machines")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(state.join("layers")).unwrap().count(), 0);
    let alive = |pid: &u32| {
        // What nobody collects any more is dead all the same.
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    };
    until("every process is gone", || !pids.iter().any(alive));

    // And it works.
    let machine = next.start(spec("after")).await.unwrap();
    assert_eq!(sh(&machine, "echo works").await, "works");
    machine.stop().await.unwrap();
}
