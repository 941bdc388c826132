//! What the steps of a build have made so far, and what they begin with.

use std::sync::Arc;

use nullspace_wire::template::{BuildLogKind, ReadinessProbe};
use nullspace_wire::Envs;
use serde_json::{json, Value};
use sha2::{Digest, Sha256};

use super::base::{not_pulled, Base, Defaults};
use super::definition::Definition;
use super::run::{Done, Failure};
use super::Build;
use crate::images::{self, Auth};
use crate::machine::commands::start_command::StartCommand;
use crate::machine::ground::json::canonical;
use crate::machine::templates::layers::Pin;
use crate::machine::templates::WORKSPACE;
use crate::machine::Engine;

/// Raised when steps are carried out differently: what the cache has is made anew.
const FORMAT: u32 = 1;

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

pub(super) fn hash(value: &Value) -> String {
    hex::encode(Sha256::digest(canonical(value).as_bytes()))
}

impl Engine {
    /// What the build starts from.
    pub(super) async fn scene(self: &Arc<Self>, build: &Arc<Build>, definition: &Definition) -> Done<Scene> {
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

    pub(super) async fn scene_of_image(
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

    pub(super) async fn scene_over(&self, image: images::Image) -> (Scene, images::ImageConfig) {
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
}
