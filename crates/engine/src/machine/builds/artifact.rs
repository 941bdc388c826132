//! The template that a build makes in the end, tried out before anybody has it.

use std::sync::Arc;

use serde_json::json;

use super::base::Base;
use super::cache::cache_says;
use super::definition::Definition;
use super::place;
use super::run::{Done, Failure};
use super::scene::{hash, Scene};
use super::Build;
use crate::isolation::Running;
use crate::machine::commands::start_command::StartCommand;
use crate::machine::files::make_working_directory;
use crate::machine::ground::{clock, Error, Kind, Result};
use crate::machine::templates::layers::Pin;
use crate::machine::templates::{Template, WORKSPACE};
use crate::machine::Engine;

impl Engine {
    /// Makes what machines start from of the last layers: looks its user up, sees its start command become ready.
    pub(super) async fn finish_artifact(
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
