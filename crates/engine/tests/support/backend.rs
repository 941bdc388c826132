//! A backend that isolates nothing: commands are processes of this computer in a temporary directory that stands for
//! `/workspace`. Processes, groups, pipes, signals and files are real, so the rooms above are tested with them.

#[path = "layers.rs"]
mod layers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use nullspace_engine::isolation::{
    Backend, Capabilities, EgressRules, ExecSpec, Exit, Fill, IsolationError, Layer, Mount, Process, PtySize,
    Result, RootFiles, Running, StartSpec, Usage, VolumeFiles,
};
use rustix::mount::{mount_bind, mount_change, MountPropagationFlags};
use rustix::process::{chroot, kill_process_group, Pid, Signal};
use rustix::thread::{unshare_unsafe, UnshareFlags};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// The backend, and what tests want to see and break.
pub struct Plain {
    capabilities: Capabilities,
    layers: TempDir,
    machines: Mutex<BTreeMap<String, Weak<Machine>>>,
    /// Starts so far.
    pub started: AtomicUsize,
    /// So many next starts fail.
    pub failing: AtomicUsize,
    /// Each start takes so long.
    pub delay: Mutex<Duration>,
}

pub struct Machine {
    directory: TempDir,
    /// What file sessions see as `/`; `directory` is mounted in it.
    root: TempDir,
    layers: PathBuf,
    groups: Mutex<BTreeSet<u32>>,
    pub egress: Mutex<EgressRules>,
    /// Where volumes are mounted.
    pub mounts: Mutex<BTreeSet<String>>,
    /// Whether volumes are in use.
    pub busy: AtomicBool,
    gone: CancellationToken,
}

impl Plain {
    pub fn new() -> Arc<Self> {
        Self::on(Capabilities::default())
    }

    /// On a computer that can do this much.
    pub fn on(capabilities: Capabilities) -> Arc<Self> {
        Arc::new(Self {
            capabilities: Capabilities {
                backend: "plain".into(),
                ..capabilities
            },
            layers: tempfile::tempdir().unwrap(),
            machines: Mutex::default(),
            started: AtomicUsize::new(0),
            failing: AtomicUsize::new(0),
            delay: Mutex::default(),
        })
    }

    /// Machines that run or are paused.
    pub fn alive(&self) -> usize {
        let machines = self.machines.lock().unwrap();
        machines
            .values()
            .filter_map(Weak::upgrade)
            .filter(|m| !m.gone.is_cancelled())
            .count()
    }

    /// Ids of machines that run or are paused.
    pub fn ids(&self) -> Vec<String> {
        let machines = self.machines.lock().unwrap();
        let is_alive = |m: &Weak<Machine>| m.upgrade().is_some_and(|m| !m.gone.is_cancelled());
        machines
            .iter()
            .filter(|(_, m)| is_alive(m))
            .map(|(id, _)| id.clone())
            .collect()
    }

    pub fn machine(&self, id: &str) -> Arc<Machine> {
        self.machines.lock().unwrap()[id].upgrade().unwrap()
    }

    /// Names of the layers on the disk.
    pub fn layers(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.layers.path()).unwrap();
        entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

impl Machine {
    /// Ends it as a crash of its first process would.
    pub fn crash(&self) {
        self.signal_all(Signal::KILL);
        self.gone.cancel();
    }

    fn signal_all(&self, signal: Signal) {
        for group in self.groups.lock().unwrap().iter() {
            let _ = kill_process_group(Pid::from_raw(*group as i32).unwrap(), signal);
        }
    }

    fn inside(&self, path: &str) -> PathBuf {
        match path.strip_prefix("/workspace") {
            Some(rest) => self.directory.path().join(rest.trim_start_matches('/')),
            None => path.into(),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.crash();
    }
}

fn root() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for name in ["workspace", "etc", "dev"] {
        std::fs::create_dir(root.path().join(name)).unwrap();
    }
    std::fs::write(root.path().join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    root
}

fn copy(from: &Path, to: &Path) {
    let source = format!("{}/.", from.display());
    let done = std::process::Command::new("cp")
        .arg("-a")
        .arg(source)
        .arg(to)
        .status()
        .unwrap();
    assert!(done.success());
}

#[async_trait]
impl Backend for Plain {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn start(&self, spec: StartSpec) -> Result<Arc<dyn Running>> {
        let delay = *self.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        self.started.fetch_add(1, Ordering::SeqCst);
        let fails = self
            .failing
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if fails.is_ok() {
            return Err(IsolationError::Failed("told to fail".into()));
        }
        let machine = Arc::new(Machine {
            directory: tempfile::tempdir().unwrap(),
            root: root(),
            layers: self.layers.path().into(),
            groups: Mutex::default(),
            egress: Mutex::new(spec.egress),
            mounts: Mutex::new(spec.mounts.into_iter().map(|m| m.target).collect()),
            busy: AtomicBool::new(false),
            gone: CancellationToken::new(),
        });
        for layer in spec.layers.iter().rev() {
            let folder = self.layers.path().join(layer);
            // Those of images are whole root file systems, of which machines here have one directory.
            match layer.starts_with("image_") {
                false => copy(&folder, machine.directory.path()),
                true if folder.join("root/workspace").is_dir() => {
                    copy(&folder.join("root/workspace"), machine.directory.path())
                }
                true => {}
            }
        }
        self.machines
            .lock()
            .unwrap()
            .insert(spec.id, Arc::downgrade(&machine));
        Ok(machine)
    }

    async fn recover(&self) -> Result<()> {
        Ok(())
    }

    async fn import_layer(&self, name: &str, source: RootFiles) -> Result<Layer> {
        let target = self.layers.path().join(name);
        std::fs::create_dir(&target).unwrap();
        match source {
            RootFiles::Directory(source) => copy(&source, &target),
            RootFiles::Packed(unpack) => unpack(&target)?,
        }
        Ok(Layer {
            name: name.into(),
            size_bytes: 1,
        })
    }

    async fn make_layer(&self, name: &str, fill: Fill) -> Result<Layer> {
        layers::make_layer(self.layers.path(), name, fill, 4096).await
    }

    fn layer_folder(&self, name: &str) -> Option<PathBuf> {
        Some(self.layers.path().join(name))
    }

    async fn layer_names(&self) -> Result<Vec<String>> {
        Ok(self.layers())
    }

    async fn merge_layers(&self, name: &str, layers: &[String]) -> Result<Option<Layer>> {
        let target = self.layers.path().join(name);
        std::fs::create_dir(&target).unwrap();
        for layer in layers.iter().rev() {
            copy(&self.layers.path().join(layer), &target);
        }
        Ok(Some(Layer {
            name: name.into(),
            size_bytes: 1,
        }))
    }

    async fn remove_layer(&self, name: &str) -> Result<()> {
        let _ = std::fs::remove_dir_all(self.layers.path().join(name));
        Ok(())
    }

    async fn volume_files(&self, directory: &Path, over: CancellationToken) -> Result<VolumeFiles> {
        let (channel, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let (gone, ended) = tokio::sync::oneshot::channel();
        let (root, end) = (directory.to_owned(), theirs.try_clone().unwrap());
        // A thread that has the volume as its root.
        std::thread::spawn(move || {
            unshare(UnshareFlags::FS);
            chroot(&root).expect("needs root");
            std::env::set_current_dir("/").unwrap();
            nullspace_agent::files::serve_volume(theirs);
            drop(gone);
        });
        tokio::spawn(async move {
            over.cancelled().await;
            let _ = end.shutdown(std::net::Shutdown::Both);
        });
        Ok(VolumeFiles { channel, ended })
    }
}

/// Gives this thread what `parts` says for itself.
fn unshare(parts: UnshareFlags) {
    // SAFETY: descriptors stay shared.
    unsafe { unshare_unsafe(parts) }.expect("needs root");
}

#[async_trait]
impl Running for Machine {
    fn warnings(&self) -> &[String] {
        &[]
    }

    async fn exec(&self, spec: ExecSpec) -> Result<Process> {
        if self.gone.is_cancelled() {
            return Err(IsolationError::Gone);
        }
        let mut command = tokio::process::Command::new(&spec.argv[0]);
        command
            .args(&spec.argv[1..])
            .env_clear()
            .envs(&spec.envs)
            .current_dir(self.inside(&spec.cwd))
            .process_group(0)
            .stdin(if spec.stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|e| IsolationError::Invalid(format!("{}: {e}", spec.argv[0])))?;
        let pid = child.id().unwrap();
        self.groups.lock().unwrap().insert(pid);
        let is_starved = spec.envs.contains_key("TEST_OUT_OF_MEMORY");
        let (sender, exit) = tokio::sync::oneshot::channel();
        let process = Process {
            pid,
            stdout: Box::new(child.stdout.take().unwrap()),
            stderr: Box::new(child.stderr.take().unwrap()),
            stdin: child.stdin.take().map(|s| Box::new(s) as _),
            exit,
        };
        tokio::spawn(async move {
            use std::os::unix::process::ExitStatusExt;
            let status = child.wait().await.unwrap();
            let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
            let _ = sender.send(Exit {
                code,
                out_of_memory: is_starved && code == 137,
            });
        });
        Ok(process)
    }

    async fn files(&self, user: Option<&str>) -> Result<std::os::unix::net::UnixStream> {
        if let Some(user) = user.filter(|user| *user != "root") {
            return Err(IsolationError::Invalid(format!(
                "there is no user `{user}` in the machine"
            )));
        }
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let (workspace, root) = (self.directory.path().to_owned(), self.root.path().to_owned());
        // A thread that sees the directory as `/workspace`, and nothing else of this computer.
        std::thread::spawn(move || {
            unshare(UnshareFlags::NEWNS | UnshareFlags::FS);
            let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
            mount_change("/", private).unwrap();
            mount_bind(&workspace, root.join("workspace")).unwrap();
            mount_bind("/dev", root.join("dev")).unwrap(); // urandom
            chroot(&root).unwrap();
            std::env::set_current_dir("/").unwrap();
            nullspace_agent::files::serve(theirs);
        });
        Ok(ours)
    }

    async fn signal(&self, pid: u32, signal: i32) -> Result<()> {
        let signal = Signal::from_named_raw(signal).unwrap();
        kill_process_group(Pid::from_raw(pid as i32).unwrap(), signal)
            .map_err(|e| IsolationError::Invalid(e.to_string()))
    }

    async fn end(&self, pid: u32) -> Result<()> {
        self.signal(pid, Signal::KILL.as_raw()).await
    }

    async fn resize(&self, _: u32, _: PtySize) -> Result<()> {
        Ok(())
    }

    async fn freeze(&self) -> Result<()> {
        self.signal_all(Signal::STOP);
        Ok(())
    }

    async fn thaw(&self) -> Result<()> {
        self.signal_all(Signal::CONT);
        Ok(())
    }

    async fn snapshot(&self, name: &str) -> Result<Layer> {
        let target = self.layers.join(name);
        std::fs::create_dir(&target).unwrap();
        copy(self.directory.path(), &target);
        Ok(Layer {
            name: name.into(),
            size_bytes: 4096,
        })
    }

    async fn set_egress(&self, rules: EgressRules) -> Result<()> {
        *self.egress.lock().unwrap() = rules;
        Ok(())
    }

    async fn dial(&self, port: u16) -> Result<tokio::net::TcpStream> {
        let dialled = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
        dialled.map_err(|e| IsolationError::Invalid(e.to_string()))
    }

    async fn mount(&self, mount: &Mount) -> Result<()> {
        self.mounts.lock().unwrap().insert(mount.target.clone());
        Ok(())
    }

    async fn unmount(&self, mount: &Mount, by_force: bool) -> Result<()> {
        if self.busy.load(Ordering::SeqCst) && !by_force {
            return Err(IsolationError::Busy("told to be busy".into()));
        }
        self.mounts.lock().unwrap().remove(&mount.target);
        Ok(())
    }

    async fn is_mounted(&self, mount: &Mount) -> Result<Option<bool>> {
        Ok(Some(self.mounts.lock().unwrap().contains(&mount.target)))
    }

    async fn usage(&self) -> Result<Usage> {
        Ok(Usage {
            memory_bytes: 1 << 20,
            disk_total_bytes: 1 << 30,
            ..Default::default()
        })
    }

    async fn stop(&self) -> Result<()> {
        self.crash();
        Ok(())
    }

    async fn ended(&self) {
        self.gone.cancelled().await;
    }
}
