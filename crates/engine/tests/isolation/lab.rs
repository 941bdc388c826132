//! Real machines for tests, in a state directory of their own. They need root.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nullspace_engine::isolation::namespaces::{Namespaces, Options};
use nullspace_engine::isolation::{Backend, EgressRules, ExecSpec, Process, Running, Secrets, StartSpec};
use tokio::io::AsyncReadExt;

/// A backend on a directory that goes with it.
pub struct Lab {
    pub backend: Namespaces,
    folder: tempfile::TempDir,
}

impl Lab {
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend = backend(folder.path()).await;
        Self { backend, folder }
    }

    pub fn state(&self) -> &Path {
        self.folder.path()
    }

    pub async fn start(&self, spec: StartSpec) -> Arc<dyn Running> {
        self.backend.start(spec).await.unwrap()
    }
}

pub async fn backend(state: &Path) -> Namespaces {
    Namespaces::open(Options {
        state_dir: state.to_owned(),
        // What is in it, and the disk's time, every test would pay again.
        base_cache: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("base")),
        refused: Vec::new(),
        best_effort: false,
        durable: false,
        resolvers: Some(Vec::new()),
    })
    .await
    .unwrap()
}

/// A small machine that reaches nothing. `id` must be unlike those of other tests, which run beside.
pub fn spec(id: &str) -> StartSpec {
    StartSpec {
        id: format!("mch_{id}_{}", std::process::id()),
        layers: Vec::new(),
        whole_root: false,
        vcpus: 1,
        memory_mb: 256,
        disk_mb: None,
        egress: EgressRules::deny_all(),
        secrets: Secrets::default(),
        mounts: Vec::new(),
    }
}

/// A shell command as root.
pub fn shell(script: &str) -> ExecSpec {
    ExecSpec {
        argv: ["/bin/bash", "-c", script].map(str::to_owned).to_vec(),
        envs: BTreeMap::from([(
            "PATH".to_owned(),
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        )]),
        cwd: "/".to_owned(),
        ..ExecSpec::default()
    }
}

/// Exit code and output, each without white space around.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub code: i32,
    pub out_of_memory: bool,
    pub stdout: String,
    pub stderr: String,
}

/// Waits for the end of a process and of its output.
pub async fn finish(mut process: Process) -> Outcome {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let all = async {
        let (out, err) = tokio::join!(
            process.stdout.read_to_string(&mut stdout),
            process.stderr.read_to_string(&mut stderr)
        );
        out.unwrap();
        err.unwrap();
        process.exit.await.expect("the machine ended first")
    };
    let exit = tokio::time::timeout(Duration::from_secs(60), all)
        .await
        .expect("a command took more than a minute");
    Outcome {
        code: exit.code,
        out_of_memory: exit.out_of_memory,
        stdout: stdout.trim().to_owned(),
        stderr: stderr.trim().to_owned(),
    }
}

pub async fn run(machine: &Arc<dyn Running>, script: &str) -> Outcome {
    finish(machine.exec(shell(script)).await.unwrap()).await
}

/// The output of a command that must succeed.
pub async fn sh(machine: &Arc<dyn Running>, script: &str) -> String {
    let outcome = run(machine, script).await;
    assert_eq!(outcome.code, 0, "{script}: {outcome:?}");
    outcome.stdout
}

/// Control groups of this computer that are named after a machine.
pub fn groups(id: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name() == id {
                    found.push(entry.path());
                }
                folders.push(entry.path());
            }
        }
    }
    found
}

/// Host pids of the processes in the control groups of a machine.
pub fn processes(id: &str) -> Vec<u32> {
    let mut pids: Vec<u32> = groups(id)
        .iter()
        .flat_map(|group| {
            let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            text.lines()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// What a machine has on the host: to be empty once it has ended.
pub fn traces(state: &Path, id: &str) -> Vec<String> {
    let mut traces: Vec<String> = groups(id).iter().map(|path| path.display().to_string()).collect();
    let folder = state.join("machines").join(id);
    if folder.exists() {
        traces.push(folder.display().to_string());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let inside = state.display().to_string();
    traces.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&inside))
            .map(str::to_owned),
    );
    for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let file = fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
        if file.starts_with(folder.to_str().unwrap()) {
            traces.push(entry.path().display().to_string());
        }
    }
    traces
}

/// Waits up to 10 s.
#[track_caller]
pub fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "not within 10 s: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
