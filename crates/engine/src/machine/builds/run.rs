//! Carries a build out. Each step runs in a machine of its own, over the layers of the steps before it: what a step leaves running,
//! in memory or under /run is in no layer. A step that the cache knows needs no machine at all.

use std::future::Future;
use std::sync::Arc;

use nullspace_wire::template::{
    BuildCacheSummary, BuildLogEntry, BuildLogKind, BuildLogLevel, BuildStatus, FailureDetail, ReadinessProbe,
};
use nullspace_wire::Envs;
use serde_json::{json, Value};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Duration;

use super::base::{not_pulled, Base, Defaults};
use super::definition::{hex, Definition};
use super::place;
use super::step::{Action, Run, Step, Who, SECRETS};
use super::{entry_key, Build, Stored};
use crate::images::{self, Auth};
use crate::isolation::files::Op;
use crate::isolation::{EgressRules, ExecSpec, IsolationError, Running, StartSpec};
use crate::machine::error::{Error, Kind, Result};
use crate::machine::exec::user_environment;
use crate::machine::files::{make_working_directory, within};
use crate::machine::layers::Pin;
use crate::machine::live::lock;
use crate::machine::record::canonical;
use crate::machine::start_command::StartCommand;
use crate::machine::templates::{Template, WORKSPACE};
use crate::machine::{clock, ids, Engine};
use crate::store::builds as store;

/// Raised when steps are carried out differently: what the cache has is made anew.
const FORMAT: u32 = 1;
/// A step may take so long.
const LONGEST_STEP: Duration = Duration::from_secs(3600);
/// How long output of a step is waited for that has ended, since what it left running may hold it open.
const LAST_OUTPUT: Duration = Duration::from_millis(500);
/// Bytes of output shown with the failure of a step.
const SHOWN: usize = 2000;
/// Bytes of a line of output; longer ones are cut.
const LONGEST_LINE: usize = 4096;
/// How often what the log says goes to the disk.
const FLUSH: Duration = Duration::from_secs(1);
/// What the cache keeps: steps, and bytes of their layers.
const MOST_CACHED: usize = 1000;
const MOST_CACHED_BYTES: u64 = 10 << 30;

/// Why a build ended early.
pub(super) enum Stop {
    Cancelled,
    Interrupted,
    Failed(Failure),
}

/// What went wrong, and where.
pub(super) struct Failure {
    phase: &'static str,
    step: Option<u32>,
    reason: &'static str,
    error: Error,
    details: Value,
}

impl Failure {
    pub(super) fn at(phase: &'static str, reason: &'static str, error: Error) -> Stop {
        Stop::Failed(Self {
            phase,
            step: None,
            reason,
            error,
            details: json!({}),
        })
    }
}

impl Stop {
    /// Says at which step it was.
    fn in_step(mut self, place: u32) -> Self {
        if let Stop::Failed(failure) = &mut self {
            failure.step = Some(place);
        }
        self
    }
}

pub(super) type Done<T> = std::result::Result<T, Stop>;

/// What the steps so far made.
pub(super) struct Scene {
    pub(super) key: String,
    pub(super) layers: Vec<String>,
    pub(super) whole_root: bool,
    pub(super) envs: Envs,
    pub(super) workdir: String,
    pub(super) user: Option<String>,
    pub(super) start: Option<StartCommand>,
    pub(super) readiness: Option<ReadinessProbe>,
    pub(super) size_bytes: u64,
    /// Steps of the build, for its log.
    pub(super) total: u32,
    /// Keeps the layers.
    pub(super) pins: Vec<Pin>,
}

fn hash(value: &Value) -> String {
    hex(&Sha256::digest(canonical(value).as_bytes()))
}

impl Engine {
    /// Runs a build to its end, whatever that is.
    pub(super) async fn run_build(self: &Arc<Self>, build: &Arc<Build>, definition: Definition) {
        let (engine, of) = (self.clone(), build.clone());
        // Who follows the build must hear of its end, even of one that is a fault of the engine.
        let ended = tokio::spawn(async move { engine.run_flushed(&of, &definition).await }).await;
        let stop = match ended {
            Ok(built) => built.err(),
            Err(error) => {
                let error = Error::internal("building a template", error);
                Some(Failure::at("build_step", "engine", error))
            }
        };
        if let Some(stop) = stop {
            self.stop_build(build, stop).await;
        }
        self.flush(build).await;
        build.log.close();
    }

    async fn run_flushed(self: &Arc<Self>, build: &Arc<Build>, definition: &Definition) -> Done<()> {
        let flushing = async {
            loop {
                tokio::time::sleep(FLUSH).await;
                self.flush(build).await;
            }
        };
        tokio::select! {
            built = self.build(build, definition) => built,
            stopped = flushing => stopped,
        }
    }

    /// Writes what is new of the log to the disk.
    async fn flush(&self, build: &Arc<Build>) {
        let new = build.log.take_new();
        if new.is_empty() {
            return;
        }
        let id = build.id.clone();
        let written = self.store.call(move |c| {
            let transaction = c.transaction()?;
            for (place, entry) in &new {
                store::add_entry(&transaction, &id, *place, entry)?;
            }
            transaction.commit()
        });
        if let Err(error) = written.await {
            tracing::warn!(build = %build.id, %error, "storing the log of a build failed");
        }
    }

    async fn save_build(&self, id: &str, stored: &Stored) {
        let (id, status, record) = (id.to_owned(), super::word(stored.shown.status), stored.to_json());
        let saved = self
            .store
            .call(move |c| store::update(c, &id, status, &record, None));
        if let Err(error) = saved.await {
            tracing::error!(build = %stored.shown.build_id, %error, "storing a build failed");
        }
    }

    /// Notes the end of a build that made nothing.
    async fn stop_build(&self, build: &Arc<Build>, stop: Stop) {
        let (status, kind, detail) = match stop {
            Stop::Cancelled => (BuildStatus::Cancelled, BuildLogKind::Cancelled, None),
            Stop::Interrupted => {
                let error = Error::new(
                    Kind::Build("interrupted"),
                    "the engine that ran the build was stopped",
                )
                .with_action("build it again: steps that were done are taken from the cache")
                .retryable(true);
                let failure = Failure {
                    phase: "interrupted",
                    step: None,
                    reason: "interrupted",
                    error,
                    details: json!({}),
                };
                (
                    BuildStatus::Error,
                    BuildLogKind::Error,
                    Some(detail(build, failure)),
                )
            }
            Stop::Failed(failure) => (
                BuildStatus::Error,
                BuildLogKind::Error,
                Some(detail(build, failure)),
            ),
        };
        let message = match &detail {
            Some(detail) => detail.message.clone(),
            None => match build.read(|stored| stored.shown.cancellation_reason.clone()) {
                Some(reason) => format!("the build was cancelled: {reason}"),
                None => "the build was cancelled".to_owned(),
            },
        };
        let mut stored = build.read(Clone::clone);
        let shown = &mut stored.shown;
        finish(shown, status);
        if let Some(detail) = &detail {
            shown.error = Some(detail.message.clone());
            shown.failure_phase = Some(detail.phase.clone());
            shown.error_detail = Some(detail.clone());
        }
        self.save_build(&build.id, &stored).await;
        build.log.add(kind, &message, |entry| {
            if let Some(detail) = detail {
                entry.phase = Some(detail.phase.clone());
                entry.step_index = detail.step_index;
                entry.error_detail = Some(detail);
            }
        });
        // Who sees the status finds the end in the log.
        *lock(&build.record) = stored;
    }

    /// Waits for work that can be given up at any time.
    async fn unless_stopped<T>(&self, build: &Build, work: impl Future<Output = T>) -> Done<T> {
        tokio::select! {
            biased;
            () = build.cancel.cancelled() => Err(Stop::Cancelled),
            () = self.closing.cancelled() => Err(Stop::Interrupted),
            done = work => Ok(done),
        }
    }

    async fn build(self: &Arc<Self>, build: &Arc<Build>, definition: &Definition) -> Done<()> {
        build
            .log
            .add(BuildLogKind::Message, "the build waits for its turn", |entry| {
                entry.level = BuildLogLevel::Debug;
                entry.phase = Some("prepare".into());
            });
        let turn = self.unless_stopped(build, self.builds.turns.acquire()).await?;
        let _turn = turn.map_err(|_| Stop::Interrupted)?;
        {
            let mut record = lock(&build.record);
            record.shown.status = BuildStatus::Building;
            record.shown.started_at = Some(clock::now());
            record.shown.updated_at = clock::now();
            record.shown.cache_summary = Some(BuildCacheSummary::default());
        }
        self.save_build(&build.id, &build.read(Clone::clone)).await;
        let total = definition.steps.len() as u32;
        let is_dockerfile = matches!(definition.base, Base::Dockerfile(_));
        let said = match is_dockerfile {
            true => format!("building a Dockerfile on {}", definition.base),
            false => format!("building on {}: {total} steps", definition.base),
        };
        build.log.add(BuildLogKind::Start, &said, |entry| {
            entry.total_steps = (!is_dockerfile).then_some(total);
        });
        for warning in &definition.warnings {
            build.log.add(BuildLogKind::Warning, warning, |_| ());
        }
        let mut scene = self.scene(build, definition).await?;
        let mut bypass = definition.skip_cache.then_some("whole_build_skip_cache");
        if !is_dockerfile {
            scene.total = total;
        }
        for (place, step) in definition.steps.iter().enumerate() {
            if step.action == Action::SkipCache {
                bypass = Some("builder_cache_boundary");
            }
            self.one_step(build, definition, &mut scene, step, place as u32, bypass)
                .await?;
        }
        let artifact = self.finish_artifact(build, definition, scene, bypass).await?;
        let (template, _pins) = artifact;
        let mut stored = build.read(Clone::clone);
        finish(&mut stored.shown, BuildStatus::Ready);
        stored.shown.runtime_defaults = Some(template.runtime_defaults());
        self.flush(build).await;
        let published = self.publish(&stored, &template).await;
        match published.map_err(|error| Failure::at("finalize", "not_published", error))? {
            Some(id) => {
                self.roll_pools(&id).await;
                let reference = format!("{id}:{}", build.id);
                let info = self.known(&reference).await.map(|known| known.info());
                let info = info.map_err(|error| Failure::at("finalize", "not_published", error))?;
                build.log.add(
                    BuildLogKind::End,
                    &format!("the template is ready: {}", stored.shown.canonical_ref),
                    |entry| entry.result = Some(info),
                );
                // Who sees the status finds the end in the log.
                *lock(&build.record) = stored;
                Ok(())
            }
            // Its template was deleted, and the build with it.
            None => Err(Stop::Cancelled),
        }
    }

    /// What the build starts from.
    async fn scene(self: &Arc<Self>, build: &Arc<Build>, definition: &Definition) -> Done<Scene> {
        match &definition.base {
            Base::Template(reference) => self.scene_of_template(reference).await,
            Base::Image { reference, auth } => self.scene_of_image(build, reference, auth.as_ref()).await,
            Base::Dockerfile(recipe) => self.scene_of_dockerfile(build, definition, recipe).await,
        }
    }

    pub(super) async fn scene_of_template(&self, reference: &str) -> Done<Scene> {
        let found = self.pinned_template(reference).await;
        let (parent, pin) = found.map_err(|error| Failure::at("prepare", "base_not_found", error))?;
        Ok(Scene {
            key: hash(&json!([FORMAT, parent.layers, parent.whole_root])),
            layers: parent.layers,
            whole_root: parent.whole_root,
            envs: parent.default_envs,
            workdir: parent.default_workdir,
            user: parent.user.map(|user| user.name),
            start: parent.start,
            readiness: parent.readiness,
            size_bytes: parent.size_bytes,
            total: 0,
            pins: vec![pin],
        })
    }

    async fn scene_of_image(
        &self,
        build: &Build,
        reference: &images::Reference,
        auth: Option<&Auth>,
    ) -> Done<Scene> {
        let (scene, config) = self.image_scene(build, reference, auth).await?;
        let defaults = Defaults::of(&config, |kind, text| {
            build
                .log
                .add(kind, &text, |entry| entry.phase = Some("prepare".into()));
        });
        let defaults = defaults.map_err(|error| Failure::at("prepare", "image_refused", error))?;
        Ok(Scene {
            envs: defaults.envs,
            workdir: defaults.workdir,
            user: defaults.user,
            ..scene
        })
    }

    /// What an image brings, and what it says of itself, which is not in the scene.
    pub(super) async fn image_scene(
        &self,
        build: &Build,
        reference: &images::Reference,
        auth: Option<&Auth>,
    ) -> Done<(Scene, images::ImageConfig)> {
        let pulled = self.unless_stopped(build, self.pull_base(build, reference, auth));
        let image = pulled.await?.map_err(|error| {
            let (phase, reason, error) = not_pulled(error);
            Failure::at(phase, reason, error)
        })?;
        for warning in &image.warnings {
            build.log.add(BuildLogKind::Warning, warning, |entry| {
                entry.phase = Some("prepare".into());
            });
        }
        Ok(self.scene_over(image).await)
    }

    /// What a build has that begins with nothing.
    pub(super) async fn scratch_scene(&self) -> Done<Scene> {
        let image = self.images.scratch().await.map_err(|error| {
            let (phase, reason, error) = not_pulled(error);
            Failure::at(phase, reason, error)
        })?;
        Ok(self.scene_over(image).await.0)
    }

    async fn scene_over(&self, image: images::Image) -> (Scene, images::ImageConfig) {
        // The image keeps its layers until nobody can be about to remove what the pin does not keep yet.
        let pin = {
            let _collector = self.layers.collector().await;
            self.layers.pin(&image.layers)
        };
        let scene = Scene {
            key: hash(&json!([FORMAT, "image", image.digest])),
            layers: image.layers.clone(),
            whole_root: true,
            envs: Envs::new(),
            workdir: WORKSPACE.to_owned(),
            user: None,
            start: None,
            readiness: None,
            size_bytes: image.size_bytes,
            total: 0,
            pins: vec![pin],
        };
        (scene, image.config)
    }

    /// A scene that another one begins with.
    pub(super) fn same_scene(&self, other: &Scene) -> Scene {
        Scene {
            key: other.key.clone(),
            layers: other.layers.clone(),
            whole_root: other.whole_root,
            envs: Envs::new(),
            workdir: WORKSPACE.to_owned(),
            user: None,
            start: None,
            readiness: None,
            size_bytes: other.size_bytes,
            total: other.total,
            pins: vec![self.layers.pin(&other.layers)],
        }
    }

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

    async fn step(
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

    /// What the cache has under a key: layers that stay as long as the pin, and the record of a whole build.
    async fn cached(&self, key: &str) -> Done<Option<(Vec<String>, Pin, String)>> {
        let _collector = self.layers.collector().await;
        let (wanted, now) = (key.to_owned(), clock::now_micros());
        let found = self.store.call(move |c| store::cached(c, &wanted, now)).await;
        let found = found.map_err(|error| Failure::at("build_step", "engine", error.into()))?;
        Ok(found.and_then(|(layers, record)| {
            let layers: Vec<String> = serde_json::from_str(&layers).ok()?;
            let pin = self.layers.pin(&layers);
            Some((layers, pin, record))
        }))
    }

    /// Starts a machine over what there is so far.
    async fn start_for(
        &self,
        build: &Build,
        definition: &Definition,
        (layers, whole_root): (&[String], bool),
        has_network: bool,
        phase: &'static str,
    ) -> Done<Arc<dyn Running>> {
        let spec = StartSpec {
            id: ids::machine(),
            layers: layers.to_vec(),
            whole_root,
            vcpus: definition.config.vcpus,
            memory_mb: definition.config.memory_mb,
            disk_mb: definition.config.disk_mb,
            egress: match definition.internet_access && has_network {
                true => EgressRules::allow_all(),
                false => EgressRules::deny_all(),
            },
            mounts: Vec::new(),
        };
        // Dropping a start leaves nothing.
        let started = self.unless_stopped(build, self.start_spec(spec)).await?;
        started.map_err(|error| Failure::at(phase, "machine_not_started", error))
    }

    /// Keeps what a machine wrote, under the key of its step.
    async fn keep_layer(
        self: &Arc<Self>,
        scene: &mut Scene,
        key: &str,
        running: &Arc<dyn Running>,
    ) -> Done<()> {
        // To its end whether or not the build is cancelled: a copy that is given up half-way would be nobody's.
        let failed = |error| Failure::at("snapshot", "layer_not_kept", error);
        self.refuse_without_room().await.map_err(failed)?;
        let (name, pin) = self.new_layer().await.map_err(failed)?;
        let layer = running.snapshot(&name).await;
        let layer = layer.map_err(|e| failed(Error::isolation("keeping what the step made", e)))?;
        scene.layers.insert(0, layer.name);
        scene.size_bytes += layer.size_bytes;
        scene.key = key.to_owned();
        scene.pins.push(pin);
        self.keep_in_cache(key, &scene.layers, "", layer.size_bytes)
            .await
            .map_err(failed)
    }

    async fn keep_in_cache(&self, key: &str, layers: &[String], record: &str, size_bytes: u64) -> Result<()> {
        let layers = serde_json::to_string(layers).map_err(|e| Error::internal("writing the cache", e))?;
        let (key, record) = (key.to_owned(), record.to_owned());
        let kept = self.store.call(move |c| {
            let transaction = c.transaction()?;
            store::cache(
                &transaction,
                &key,
                &layers,
                &record,
                size_bytes,
                clock::now_micros(),
            )?;
            store::trim_cache(&transaction, MOST_CACHED, MOST_CACHED_BYTES)?;
            transaction.commit()
        });
        Ok(kept.await?)
    }

    async fn carry_out(
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
    async fn run_program(
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
    async fn give_secrets(
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

    /// Makes what machines start from of the last layers: looks its user up, sees its start command become ready.
    async fn finish_artifact(
        self: &Arc<Self>,
        build: &Arc<Build>,
        definition: &Definition,
        mut scene: Scene,
        bypass: Option<&'static str>,
    ) -> Done<(Template, Vec<Pin>)> {
        let runtime = &definition.runtime;
        let mut envs = scene.envs.clone();
        envs.extend(runtime.default_envs.clone().unwrap_or_default());
        let workdir = runtime
            .default_workdir
            .clone()
            .unwrap_or_else(|| scene.workdir.clone());
        let user = runtime.default_user.clone().or_else(|| scene.user.clone());
        let user = user.filter(|name| name != "root" && name != "0");
        // A probe alone is one of what the Dockerfile starts.
        let is_probe_of_scene = |start: &StartCommand| {
            matches!(definition.base, Base::Dockerfile(_))
                && start.command.is_empty()
                && scene.start.is_some()
        };
        let start = definition.start.clone().filter(|start| !is_probe_of_scene(start));
        let start = start.or_else(|| scene.start.clone());
        let readiness = runtime
            .readiness
            .clone()
            .or_else(|| scene.readiness.clone().filter(|_| definition.start.is_none()));
        let key = hash(&json!([
            "template",
            scene.key,
            envs,
            workdir,
            user,
            start,
            definition.config
        ]));
        let says = |status: &str, reason| cache_says(build, status, &key, None, reason);
        match bypass {
            Some(reason) => says("bypass", Some(reason)),
            None => {
                if let Some((_, pin, record)) = self.cached(&key).await? {
                    if let Ok(template) = serde_json::from_str::<Template>(&record) {
                        says("hit", None);
                        let template = Template {
                            id: build.template_id.clone(),
                            build_id: Some(build.id.clone()),
                            readiness,
                            ..template
                        };
                        return Ok((template, vec![pin]));
                    }
                }
                says("miss", Some("missing_or_incompatible"));
            }
        }
        let merged = self.merge_long_chain(&scene.layers).await;
        if let Some((layers, pin)) =
            merged.map_err(|error| Failure::at("snapshot", "layer_not_kept", error))?
        {
            scene.layers = layers;
            scene.pins.push(pin);
        }
        let mut template = Template {
            id: build.template_id.clone(),
            name: definition.name.clone().unwrap_or_default(),
            layers: scene.layers.clone(),
            whole_root: scene.whole_root,
            default_envs: envs,
            default_workdir: workdir,
            start,
            created_at: Some(clock::now()),
            size_bytes: scene.size_bytes,
            config: Some(definition.config.clone()),
            readiness,
            build_id: Some(build.id.clone()),
            is_built: true,
            ..Template::base()
        };
        if user.is_some() || template.start.is_some() {
            let over = (scene.layers.as_slice(), scene.whole_root);
            let running = self.start_for(build, definition, over, true, "readiness").await?;
            let seen = self
                .unless_stopped(
                    build,
                    try_out(
                        &mut template,
                        definition.config.memory_mb,
                        user.as_deref(),
                        &running,
                    ),
                )
                .await;
            let _ = running.stop().await;
            seen?.map_err(|error| Failure::at("readiness", "not_ready", error))?;
        }
        let record = serde_json::to_string(&template)
            .map_err(|e| Failure::at("finalize", "engine", Error::internal("writing a template", e)))?;
        let kept = self.keep_in_cache(&key, &template.layers, &record, 0).await;
        kept.map_err(|error| Failure::at("finalize", "engine", error))?;
        says("stored", None);
        Ok((template, scene.pins))
    }
}

/// Counts and logs what the cache had for a step (its place and how many there are), or for the whole template.
fn cache_says(build: &Build, status: &str, key: &str, step: Option<(u32, u32)>, reason: Option<&str>) {
    {
        let mut record = lock(&build.record);
        let counts = record.shown.cache_summary.get_or_insert_default();
        let count = match (step, status) {
            (Some(_), "hit") => &mut counts.layer_hits,
            (Some(_), "miss") => &mut counts.layer_misses,
            (Some(_), "stored") => &mut counts.layer_stores,
            (Some(_), _) => &mut counts.layer_bypasses,
            (None, "hit") => &mut counts.final_artifact_hits,
            (None, "miss") => &mut counts.final_artifact_misses,
            (None, "stored") => &mut counts.final_artifact_stores,
            (None, _) => &mut counts.final_artifact_bypasses,
        };
        *count += 1;
    }
    let what = match step {
        Some((place, total)) => format!("step {} of {total}", place + 1),
        None => "the template".to_owned(),
    };
    let message = match status {
        "hit" => format!("{what} is taken from the cache"),
        "miss" => format!("{what} is not in the cache"),
        "stored" => format!("{what} is kept in the cache"),
        _ => format!("{what} is made without a look into the cache"),
    };
    build.log.add(BuildLogKind::Cache, &message, |entry| {
        if let Some((place, total)) = step {
            in_step(place, total)(entry);
        }
        entry.level = match status {
            "hit" => BuildLogLevel::Info,
            _ => BuildLogLevel::Debug,
        };
        let kind = if step.is_some() { "layer" } else { "final_artifact" };
        entry.cache_kind = Some(kind.to_owned());
        entry.cache_status = Some(status.to_owned());
        entry.cache_reason = reason.map(str::to_owned);
        entry.cache_subject = Some(key[..16].to_owned());
    });
}

/// Does in a machine what a create will do.
async fn try_out(
    template: &mut Template,
    memory_mb: u32,
    user: Option<&str>,
    running: &Arc<dyn Running>,
) -> Result<()> {
    if let Some(name) = user {
        let found = place::user(running, name).await;
        template.user = Some(found.map_err(|error| match error.kind {
            Kind::InvalidRequest => Error::invalid(
                "runtime_config.default_user",
                format_args!("cannot be used: {}", error.message),
            ),
            _ => error,
        })?);
    }
    if template.default_workdir != WORKSPACE {
        make_working_directory(running, &template.default_workdir).await?;
    }
    match &template.start {
        Some(start) => {
            let (envs, cwd) = (&template.default_envs, &template.default_workdir);
            start
                .run(running, memory_mb, envs, cwd, template.user.as_ref())
                .await
        }
        None => Ok(()),
    }
}

fn in_step(place: u32, total: u32) -> impl FnOnce(&mut BuildLogEntry) {
    move |entry| {
        entry.phase = Some("build_step".into());
        entry.step_index = Some(place);
        entry.total_steps = Some(total);
    }
}

/// Notes the end of a build.
fn finish(shown: &mut nullspace_wire::template::TemplateBuild, status: BuildStatus) {
    let now = clock::now();
    let micros = |at: &nullspace_wire::Timestamp| clock::unix_micros(&at.0);
    let begun = shown.started_at.as_ref().and_then(micros);
    shown.duration_ms = begun
        .zip(micros(&now))
        .map(|(from, to)| (to - from).max(0) as u64 / 1000);
    shown.status = status;
    shown.finished_at = Some(now.clone());
    shown.updated_at = now;
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

/// A failure in the words of the API. No secret is in it.
fn detail(build: &Build, failure: Failure) -> FailureDetail {
    let Failure {
        phase,
        step,
        reason,
        error,
        mut details,
    } = failure;
    details["reason"] = json!(reason);
    FailureDetail {
        code: match error.kind {
            Kind::Internal => "internal_error".into(),
            Kind::Unauthorized => "unauthorized".into(),
            _ => "build_error".into(),
        },
        message: build.secrets.hide(&error.message),
        phase: phase.into(),
        retryable: error.retryable.unwrap_or_else(|| error.kind.is_retryable()),
        suggested_action: match error.suggested_action.as_deref() {
            Some(action) => action.to_owned(),
            None => "mend what the message says and build again".to_owned(),
        },
        step_index: step,
        build_id: Some(build.id.clone()),
        details: details.as_object().cloned(),
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
