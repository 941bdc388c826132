//! Carries steps out. Each runs in a machine of its own, over the layers of the steps before it: what a step leaves running, in
//! memory or under /run is in no layer. A step that the cache knows needs no machine at all.

use std::sync::Arc;

use nullspace_wire::template::BuildLogKind;
use nullspace_wire::Envs;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Duration;

use super::cache::cache_says;
use super::definition::Definition;
use super::place;
use super::plan::entry_key;
use super::run::{in_step, Done, Failure, Stop};
use super::scene::{hash, Scene};
use super::step::{Action, Run, Step, Who, SECRETS};
use super::Build;
use crate::isolation::files::Op;
use crate::isolation::{EgressRules, ExecSpec, IsolationError, Running, Secrets, StartSpec};
use crate::machine::commands::exec::user_environment;
use crate::machine::files::{make_working_directory, within};
use crate::machine::ground::sync::lock;
use crate::machine::ground::{Error, Kind, Result};
use crate::machine::templates::WORKSPACE;
use crate::machine::Engine;

/// A step may take so long.
const LONGEST_STEP: Duration = Duration::from_secs(3600);
/// How long output of a step is waited for that has ended, since what it left running may hold it open.
const LAST_OUTPUT: Duration = Duration::from_millis(500);
/// Bytes of output shown with the failure of a step.
const SHOWN: usize = 2000;
/// Bytes of a line of output; longer ones are cut.
const LONGEST_LINE: usize = 4096;

impl Engine {
    /// Says what a step is, and does it.
    pub(super) async fn one_step(
        self: &Arc<Self>,
        build: &Arc<Build>,
        definition: &Definition,
        scene: &mut Scene,
        step: &Step,
        place: u32,
        bypass: Option<&'static str>,
    ) -> Done<()> {
        if build.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        let total = scene.total;
        let said = format!(
            "step {} of {total}: {}",
            place + 1,
            build.secrets.hide(&step.shown)
        );
        build.log.add(BuildLogKind::Message, &said, in_step(place, total));
        if step.action == Action::SkipCache {
            return Ok(());
        }
        let bypass = bypass.or(definition.skip_cache.then_some("whole_build_skip_cache"));
        let done = self.step(build, definition, scene, step, place, bypass).await;
        done.map_err(|stop| stop.in_step(place))?;
        self.flush(build).await;
        Ok(())
    }

    pub(super) async fn step(
        self: &Arc<Self>,
        build: &Arc<Build>,
        definition: &Definition,
        scene: &mut Scene,
        step: &Step,
        place: u32,
        bypass: Option<&'static str>,
    ) -> Done<()> {
        // All that can make a difference. Of secrets only where they are put.
        let mut files = Vec::new();
        if let Action::Copy(copies) = &step.action {
            for source in copies.iter().flat_map(|copy| &copy.sources) {
                let source = source.trim_end_matches('/');
                let below = place::below(source);
                let own = definition.context.get_key_value(source).into_iter();
                let all = own.chain(
                    definition
                        .context
                        .range(below.clone()..)
                        .take_while(|(path, _)| path.starts_with(&below)),
                );
                files.extend(all.map(|(path, entry)| entry_key(path, entry)));
            }
        }
        let key = hash(&json!([
            scene.key,
            step.action,
            files,
            scene.workdir,
            scene.user,
            scene.envs,
            definition.build_envs,
            definition.internet_access,
        ]));
        match &step.action {
            Action::User(user) => {
                scene.user = (user != "root" && user != "0").then(|| user.clone());
                scene.key = key;
                return Ok(());
            }
            Action::Workdir(path) => {
                scene.workdir = place::absolute(&scene.workdir, path);
                if scene.workdir == WORKSPACE {
                    scene.key = key;
                    return Ok(());
                }
            }
            _ => {}
        }
        let total = scene.total;
        match bypass {
            Some(reason) => cache_says(build, "bypass", &key, Some((place, total)), Some(reason)),
            None => {
                if let Some((layers, pin, _)) = self.cached(&key).await? {
                    cache_says(build, "hit", &key, Some((place, total)), None);
                    (scene.layers, scene.key) = (layers, key);
                    scene.pins = vec![pin];
                    return Ok(());
                }
                cache_says(
                    build,
                    "miss",
                    &key,
                    Some((place, total)),
                    Some("missing_or_incompatible"),
                );
            }
        }
        let has_network = match &step.action {
            Action::Run(run) => run.has_network,
            _ => true,
        };
        let over = (scene.layers.as_slice(), scene.whole_root);
        let running = self
            .start_for(build, definition, over, has_network, "build_step")
            .await?;
        let done = self
            .carry_out(build, definition, scene, step, place, &running)
            .await;
        let kept = match done {
            Ok(()) if build.cancel.is_cancelled() => Err(Stop::Cancelled),
            Ok(()) => self.keep_layer(scene, &key, &running).await,
            Err(stop) => Err(stop),
        };
        let _ = running.stop().await;
        kept?;
        cache_says(build, "stored", &key, Some((place, total)), None);
        Ok(())
    }

    /// Starts a machine over what there is so far.
    pub(super) async fn start_for(
        &self,
        build: &Build,
        definition: &Definition,
        (layers, whole_root): (&[String], bool),
        has_network: bool,
        phase: &'static str,
    ) -> Done<Arc<dyn Running>> {
        let spec = StartSpec {
            id: self.ids.machine(),
            layers: layers.to_vec(),
            whole_root,
            vcpus: definition.config.vcpus,
            memory_mb: definition.config.memory_mb,
            disk_mb: definition.config.disk_mb,
            egress: match definition.internet_access && has_network {
                true => EgressRules::allow_all(),
                false => EgressRules::deny_all(),
            },
            secrets: Secrets::default(),
            mounts: Vec::new(),
        };
        // Dropping a start leaves nothing.
        let started = self.unless_stopped(build, self.start_spec(spec)).await?;
        started.map_err(|error| Failure::at(phase, "machine_not_started", error))
    }

    pub(super) async fn carry_out(
        &self,
        build: &Arc<Build>,
        definition: &Definition,
        scene: &Scene,
        step: &Step,
        place: u32,
        running: &Arc<dyn Running>,
    ) -> Done<()> {
        let failed = |error| Failure::at("build_step", "step_failed", error);
        match &step.action {
            Action::Run(run) => {
                self.run_program(build, definition, scene, step, run, place, running)
                    .await
            }
            Action::Copy(copies) => {
                for copy in copies {
                    let copied = place::copy(running, &definition.context, copy, &scene.workdir, |id| {
                        self.blob_path(id)
                    });
                    self.unless_stopped(build, copied).await?.map_err(failed)?;
                }
                Ok(())
            }
            Action::Workdir(_) => {
                let made = async {
                    make_working_directory(running, &scene.workdir).await?;
                    match &scene.user {
                        Some(user) => place::give(running, user, std::slice::from_ref(&scene.workdir)).await,
                        None => Ok(()),
                    }
                };
                self.unless_stopped(build, made).await?.map_err(failed)
            }
            Action::CopyFrom(copy) => {
                let over = (copy.layers.as_slice(), copy.whole_root);
                let source = self
                    .start_for(build, definition, over, false, "build_step")
                    .await?;
                let copied = self
                    .unless_stopped(build, place::copy_from(&source, running, copy))
                    .await;
                let _ = source.stop().await;
                copied?.map_err(failed)
            }
            Action::Write { files, owner, mode } => {
                let written = place::write(running, files, owner.as_deref(), *mode);
                self.unless_stopped(build, written).await?.map_err(failed)
            }
            Action::MakeDirectory { path, owner } => {
                let made = place::make_directory(running, path, owner.as_deref());
                self.unless_stopped(build, made).await?.map_err(failed)
            }
            Action::User(_) | Action::SkipCache => Ok(()),
        }
    }

    #[allow(clippy::too_many_arguments)] // all of them are the step
    pub(super) async fn run_program(
        &self,
        build: &Arc<Build>,
        definition: &Definition,
        scene: &Scene,
        step: &Step,
        run: &Run,
        place: u32,
        running: &Arc<dyn Running>,
    ) -> Done<()> {
        let failed = |error| Failure::at("build_step", "step_failed", error);
        let user = match &run.user {
            Who::Root => None,
            Who::Current => scene.user.clone(),
            Who::Named(name) => (name != "root" && name != "0").then(|| name.clone()),
        };
        let user = match user {
            Some(name) => {
                let found = self.unless_stopped(build, place::user(running, &name)).await?;
                Some(found.map_err(failed)?)
            }
            None => None,
        };
        let mut own = scene.envs.clone();
        own.extend(definition.build_envs.clone());
        let mut links = Vec::new();
        if !run.secrets.is_empty() {
            let owner = user.as_ref().map(|user| user.name.as_str());
            let given = self.give_secrets(build, run, owner, running, &mut own);
            links = self.unless_stopped(build, given).await?.map_err(failed)?;
        }
        let spec = ExecSpec {
            argv: run.argv.clone(),
            envs: user_environment(definition.config.memory_mb, user.as_ref(), own),
            cwd: scene.workdir.clone(),
            user: user.map(|user| user.name),
            ..Default::default()
        };
        let started = self.unless_stopped(build, running.exec(spec)).await?;
        let mut process = started.map_err(|error| failed(not_started(error)))?;
        let total = scene.total;
        let tail = std::sync::Mutex::new(Tail::default());
        let output = async {
            tokio::join!(
                pump(&mut process.stdout, build, place, total, &tail),
                pump(&mut process.stderr, build, place, total, &tail)
            )
        };
        let ended = async {
            let mut output = std::pin::pin!(output);
            tokio::select! {
                exit = &mut process.exit => {
                    let _ = tokio::time::timeout(LAST_OUTPUT, output).await;
                    exit
                }
                _ = &mut output => (&mut process.exit).await,
            }
        };
        let ended = self
            .unless_stopped(build, tokio::time::timeout(LONGEST_STEP, ended))
            .await?;
        let shown = build.secrets.hide(&step.shown);
        let wrong = |reason: &'static str, what: String, code: Option<i32>| {
            let end = lock(&tail).text();
            let said = if end.is_empty() {
                String::new()
            } else {
                format!("; its output ends: {end}")
            };
            let error = Error::new(
                Kind::Build("build_step"),
                format!("step {} of {total} ({shown}) {what}{said}", place + 1),
            )
            .retryable(false)
            .with_action("mend the step and build again: the steps before it are taken from the cache");
            Stop::Failed(Failure {
                phase: "build_step",
                step: Some(place),
                reason,
                error,
                details: json!({ "command": shown, "exit_code": code, "output": end }),
            })
        };
        match ended {
            Err(_) => {
                return Err(wrong(
                    "step_timeout",
                    format!("took longer than {} s", LONGEST_STEP.as_secs()),
                    None,
                ))
            }
            Ok(Err(_)) => return Err(wrong("machine_ended", "ended with its machine".into(), None)),
            Ok(Ok(exit)) if exit.out_of_memory => {
                let what = format!(
                    "was killed at the memory limit of {} MiB: give the build more with `build_config.memory_mib`",
                    definition.config.memory_mb
                );
                return Err(wrong("out_of_memory", what, Some(exit.code)));
            }
            Ok(Ok(exit)) if exit.code != 0 => {
                return Err(wrong(
                    "command_failed",
                    format!("ended with exit code {}", exit.code),
                    Some(exit.code),
                ));
            }
            Ok(Ok(_)) => {}
        }
        if !links.is_empty() {
            let removed = async {
                let mut files = place::files(running).await?;
                for path in links {
                    match within(files.ask(Op::Remove { path })).await {
                        Err(error) if error.kind != Kind::NotFound => return Err(error),
                        _ => {}
                    }
                }
                Ok(())
            };
            self.unless_stopped(build, removed).await?.map_err(failed)?;
        }
        Ok(())
    }

    /// Puts secrets where the step looks for them: files in the machine's memory, or variables of the one program. Answers links to
    /// them that must be gone before the layer is kept.
    pub(super) async fn give_secrets(
        &self,
        build: &Build,
        run: &Run,
        owner: Option<&str>,
        running: &Arc<dyn Running>,
        envs: &mut Envs,
    ) -> Result<Vec<String>> {
        let mut files = place::files(running).await?;
        let (mut links, mut written) = (Vec::new(), Vec::new());
        for mount in &run.secrets {
            let Some(value) = build.secrets.value(&mount.id) else {
                continue;
            };
            if let Some(name) = &mount.env {
                envs.insert(name.clone(), value.to_owned());
                if mount.target.is_none() {
                    continue;
                }
            }
            let path = format!("{SECRETS}/{}", mount.id);
            place::write_private(&mut files, &path, value).await?;
            if let Some(mode) = mount.mode {
                within(files.ask(Op::SetMode {
                    path: path.clone(),
                    mode,
                }))
                .await?;
            }
            match &mount.owner {
                Some(owner) => place::give(running, owner, std::slice::from_ref(&path)).await?,
                None => written.push(path.clone()),
            }
            if let Some(target) = mount.target.as_ref().filter(|target| **target != path) {
                let link = Op::Symlink {
                    target: path,
                    path: target.clone(),
                };
                within(files.ask(link)).await?;
                links.push(target.clone());
            }
        }
        if let Some(owner) = owner {
            place::give(running, owner, &written).await?;
        }
        Ok(links)
    }
}

fn not_started(error: IsolationError) -> Error {
    match error {
        IsolationError::Invalid(text) | IsolationError::Directory(text) | IsolationError::Failed(text) => {
            Error::new(
                Kind::Build("build_step"),
                format!("the command did not start: {text}"),
            )
            .retryable(false)
        }
        other => Error::isolation("starting a command", other),
    }
}

/// The end of what a step printed.
#[derive(Default)]
struct Tail(std::collections::VecDeque<String>, usize);

impl Tail {
    fn add(&mut self, line: &str) {
        self.1 += line.len() + 1;
        self.0.push_back(line.to_owned());
        while self.1 > SHOWN && self.0.len() > 1 {
            let Some(first) = self.0.pop_front() else { break };
            self.1 -= first.len() + 1;
        }
    }

    fn text(&self) -> String {
        let lines: Vec<&str> = self.0.iter().map(String::as_str).collect();
        lines.join("\n").trim().to_owned()
    }
}

/// Makes lines of output into entries of the log, without the build's secrets.
async fn pump(
    output: &mut (impl AsyncRead + Unpin + ?Sized),
    build: &Build,
    place: u32,
    total: u32,
    tail: &std::sync::Mutex<Tail>,
) {
    let mut line = Vec::new();
    let mut chunk = vec![0; 16 << 10];
    // Room for a secret that begins in what is shown: half of one would not be known as one.
    let longest = LONGEST_LINE + build.secrets.longest();
    let say = |line: &mut Vec<u8>| {
        let is_cut = line.len() == longest;
        let text = String::from_utf8_lossy(line);
        // A bar that is drawn again and again: its last state.
        let text = text.trim_end_matches(['\r', '\n']);
        let text = text.rsplit('\r').next().unwrap_or(text);
        let text = match is_cut {
            true => build.secrets.hide_cut(text),
            false => build.secrets.hide(text),
        };
        line.clear();
        if text.is_empty() {
            return;
        }
        lock(tail).add(&text);
        build.log.add(BuildLogKind::Message, &text, in_step(place, total));
    };
    loop {
        let read = match output.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        for byte in &chunk[..read] {
            if *byte == b'\n' {
                say(&mut line);
            } else if line.len() < longest {
                line.push(*byte);
            }
        }
        // Others want to go on too.
        if read == chunk.len() {
            tokio::task::yield_now().await;
        }
    }
    say(&mut line);
}
