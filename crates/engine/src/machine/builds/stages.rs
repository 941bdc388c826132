//! Carries out a Dockerfile: first all images are had and all stages looked through, then the stages run in turn.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;

use nullspace_wire::template::{BuildLogKind, BuildLogLevel};

use super::definition::{Definition, Entry, MOST_STEPS};
use super::recipe::{self, Named, Outcome, Planned, Recipe};
use super::run::{Done, Failure, Stop};
use super::scene::Scene;
use super::step::Action;
use super::Build;
use crate::dockerfile::{Base, Config, CopyFrom};
use crate::images::ImageConfig;
use crate::machine::commands::start_command::StartCommand;
use crate::machine::ground::{Error, Result};
use crate::machine::Engine;

/// A stage that is ready to run.
struct Stage {
    number: usize,
    shown: String,
    base: Begin,
    steps: Vec<Planned>,
}

enum Begin {
    /// With what another stage made.
    Stage(usize),
    With(Box<Scene>),
}

fn refused(error: Error) -> Stop {
    Failure::at("prepare", "dockerfile", error)
}

impl Engine {
    /// Builds a Dockerfile up to what its last stage made.
    pub(super) async fn scene_of_dockerfile(
        self: &Arc<Self>,
        build: &Arc<Build>,
        definition: &Definition,
        recipe: &Recipe,
    ) -> Done<Scene> {
        let mut configs: BTreeMap<usize, Config> = BTreeMap::new();
        let mut stages = Vec::new();
        let mut images: BTreeMap<String, Scene> = BTreeMap::new();
        for number in recipe.plan.needed() {
            let stage = &recipe.plan.stages[number];
            let (base, config) = match &stage.base {
                Base::Stage(other) => (
                    Begin::Stage(*other),
                    configs.get(other).cloned().unwrap_or_default(),
                ),
                Base::Scratch => (
                    Begin::With(Box::new(self.scratch_scene().await?)),
                    Config::default(),
                ),
                Base::Image(name) => {
                    let (scene, config) = self.named_scene(build, recipe, stage.line, name).await?;
                    (Begin::With(Box::new(scene)), config)
                }
            };
            let mut built = stage
                .resolve(&config)
                .map_err(|fault| refused(recipe::wrong(&fault)))?;
            configs.insert(number, std::mem::take(&mut built.config));
            let steps = recipe::steps(built, &definition.context, &build.secrets).map_err(refused)?;
            for planned in &steps {
                self.refuse_archives(definition, planned).await.map_err(refused)?;
                if let Some(CopyFrom::Image(name)) = &planned.from {
                    if !images.contains_key(name) {
                        let (scene, _) = self.named_scene(build, recipe, planned.line, name).await?;
                        images.insert(name.clone(), scene);
                    }
                }
            }
            stages.push(Stage {
                number,
                shown: stage.name.clone().unwrap_or_else(|| number.to_string()),
                base,
                steps,
            });
        }
        let total = stages.iter().map(|stage| stage.steps.len()).sum::<usize>();
        if total > MOST_STEPS {
            let text = format!("has {total} steps: at most {MOST_STEPS} are taken");
            return Err(refused(Error::invalid("dockerfile", text)));
        }
        // Of the last stage: of another one it may be nobody's wish.
        let last = recipe.plan.stages.len() - 1;
        let line = recipe.plan.stages[last].line;
        let config = configs.remove(&last).unwrap_or_default();
        let outcome = Outcome::of(line, &config.run).map_err(refused)?;

        let mut scene = self
            .run_stages(build, definition, stages, &images, total as u32)
            .await?;
        (scene.envs, scene.workdir, scene.user) = (outcome.envs, outcome.workdir, outcome.user);
        (scene.start, scene.readiness) = (None, None);
        if definition.kept.start_cmd.is_none() {
            let probe = definition.runtime.readiness.as_ref();
            scene.start = config
                .start_command()
                .map(|text| StartCommand::of_probe(&text, probe));
        }
        Ok(scene)
    }

    async fn run_stages(
        self: &Arc<Self>,
        build: &Arc<Build>,
        definition: &Definition,
        stages: Vec<Stage>,
        images: &BTreeMap<String, Scene>,
        total: u32,
    ) -> Done<Scene> {
        let mut done: BTreeMap<usize, Scene> = BTreeMap::new();
        let mut place = 0;
        let mut last = 0;
        for stage in stages {
            last = stage.number;
            build.log.add(
                BuildLogKind::Message,
                &format!("stage {}", stage.shown),
                |entry| {
                    entry.level = BuildLogLevel::Debug;
                },
            );
            let mut scene = match stage.base {
                Begin::With(scene) => *scene,
                Begin::Stage(number) => match done.get(&number) {
                    Some(other) => self.same_scene(other),
                    None => return Err(Stop::Interrupted),
                },
            };
            scene.total = total;
            for Planned {
                mut step,
                place: where_it_runs,
                from,
                ..
            } in stage.steps
            {
                if let Action::CopyFrom(copy) = &mut step.action {
                    let source = match &from {
                        Some(CopyFrom::Stage(number)) => done.get(number),
                        Some(CopyFrom::Image(name)) => images.get(name),
                        Some(CopyFrom::Context) | None => None,
                    };
                    if let Some(source) = source {
                        copy.key.clone_from(&source.key);
                        copy.layers.clone_from(&source.layers);
                        copy.whole_root = source.whole_root;
                    }
                }
                // Only programs depend on them: what a step of files made is the same in any place.
                (scene.envs, scene.workdir, scene.user) =
                    where_it_runs.unwrap_or_else(|| (Default::default(), "/".to_owned(), None));
                self.one_step(build, definition, &mut scene, &step, place, None)
                    .await?;
                place += 1;
            }
            done.insert(stage.number, scene);
        }
        done.remove(&last).ok_or(Stop::Interrupted)
    }

    /// What a name begins a stage with.
    async fn named_scene(
        &self,
        build: &Build,
        recipe: &Recipe,
        line: usize,
        name: &str,
    ) -> Done<(Scene, Config)> {
        match recipe.named(line, name).map_err(refused)? {
            Named::Template(reference) => {
                let scene = self.scene_of_template(&reference).await?;
                let config = ImageConfig {
                    envs: scene.envs.clone(),
                    workdir: scene.workdir.clone(),
                    user: scene.user.clone().unwrap_or_default(),
                    ..ImageConfig::default()
                };
                Ok((scene, config.into()))
            }
            Named::Image(reference, auth) => {
                let (scene, config) = self.image_scene(build, &reference, auth.as_ref()).await?;
                Ok((scene, config.into()))
            }
        }
    }

    /// `ADD` unpacks archives, and that is not there.
    async fn refuse_archives(&self, definition: &Definition, planned: &Planned) -> Result<()> {
        for path in &planned.no_archives {
            let Some(Entry::File { blob, .. }) = definition.context.get(path) else {
                continue;
            };
            let file = self.blob_path(blob.id());
            let read = tokio::task::spawn_blocking(move || {
                let mut head = Vec::new();
                std::fs::File::open(file)?.take(512).read_to_end(&mut head)?;
                std::io::Result::Ok(head)
            });
            let head = read
                .await
                .map_err(|e| Error::internal("reading a file of the context", e))?;
            let head = head.map_err(|e| Error::internal("reading a file of the context", e))?;
            if recipe::is_archive(&head) {
                return Err(recipe::archive(planned.line, path));
            }
        }
        Ok(())
    }
}
