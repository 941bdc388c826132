//! What a build is to do: a request, checked. Nothing here has been looked up yet: neither the parent nor the files.

use std::collections::{BTreeMap, BTreeSet};

use base64::prelude::{Engine as _, BASE64_STANDARD};
use nullspace_wire::machine::MachineConfig;
use nullspace_wire::template::{
    BuildBackend, BuildSourceType, ContextEntryType, ContextFile, CreateTemplateRequest, ReadinessProbe,
    RuntimeConfig,
};
use nullspace_wire::Envs;
use sha2::{Digest, Sha256};

use super::base::Base;
use super::secrets::Secrets;
use super::step::{self, Action, Step};
use crate::machine::commands::start_command::StartCommand;
use crate::machine::files::permission_bits;
use crate::machine::ground::{Error, Result};
use crate::machine::templates::{check_name, check_tag, LATEST};
use crate::machine::validate;

/// Most steps of a build.
pub const MOST_STEPS: usize = 200;
/// Most entries of a build context.
const MOST_FILES: usize = 20_000;
/// Size of the machines of a build that does not say. Source: PROTOCOL.md section 11.
const VCPUS: u32 = 2;
const MEMORY_MB: u32 = 512;

/// A checked build.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Name of the template; absent only in requests that are looked at and not built.
    pub name: Option<String>,
    /// Tags that will mean the build.
    pub tags: Vec<String>,
    /// What it starts from.
    pub base: Base,
    /// What it does.
    pub steps: Vec<Step>,
    /// Environment of the steps.
    pub build_envs: Envs,
    /// Size of its machines, and of those that are made from it.
    pub config: MachineConfig,
    /// `false`: the build reaches nothing.
    pub internet_access: bool,
    /// Defaults of machines.
    pub runtime: RuntimeConfig,
    /// What runs in them, and how they show that they are ready.
    pub start: Option<StartCommand>,
    /// Files of the context by path.
    pub context: BTreeMap<String, Entry>,
    /// Take nothing from the cache.
    pub skip_cache: bool,
    /// How it is built.
    pub backend: BuildBackend,
    /// What it starts from.
    pub source_type: BuildSourceType,
    /// What the caller should know.
    pub warnings: Vec<String>,
    /// The request without what is secret and without content of files: what a retry starts from.
    pub kept: CreateTemplateRequest,
}

/// An entry of a build context.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A directory and its permission bits.
    Dir(Option<u32>),
    /// A file.
    File {
        /// Where its bytes are.
        blob: Content,
        /// Its permission bits.
        mode: Option<u32>,
    },
}

/// Bytes of a file of a context.
#[derive(Debug, Clone)]
pub enum Content {
    /// Uploaded before.
    Blob(String),
    /// Came with the request, under the name that it gets.
    Inline(String, Vec<u8>),
}

impl Content {
    /// Its name, which is the hash of its bytes.
    pub fn id(&self) -> &str {
        match self {
            Content::Blob(id) | Content::Inline(id, _) => id,
        }
    }
}

/// Name of the file with these bytes.
pub fn blob_id(bytes: &[u8]) -> String {
    format!("blob_{}", hex::encode(Sha256::digest(bytes)))
}

/// Checks a request. The secrets are for this one build and are given apart.
pub fn check(mut request: CreateTemplateRequest, needs_name: bool) -> Result<(Definition, Secrets)> {
    let secrets = Secrets::check(request.build_secrets.take().unwrap_or_default())?;
    let name = request.name.clone().or_else(|| request.alias.clone());
    match &name {
        Some(name) => check_name("name", name)?,
        None if needs_name => {
            return Err(Error::invalid("name", "is missing: give one such as \"web\""));
        }
        None => {}
    }
    let tags = match &request.tags {
        None => vec![LATEST.to_owned()],
        Some(tags) if tags.is_empty() => {
            return Err(Error::invalid(
                "tags",
                "is empty: leave it out, or give some such as [\"stable\"]",
            ));
        }
        Some(tags) => {
            let mut once = BTreeSet::new();
            for tag in tags {
                check_tag("tags", tag)?;
                once.insert(tag);
            }
            tags.iter().filter(|tag| once.remove(tag)).cloned().collect()
        }
    };
    let mut warnings = Vec::new();
    let base = Base::check(&request, &mut warnings)?;
    if matches!(base, Base::Dockerfile(_)) && request.build_backend == Some(BuildBackend::Native) {
        return Err(Error::invalid(
            "build_backend",
            "is \"native\", which builds no Dockerfile: leave it out",
        ));
    }
    let config = config(&request)?;
    let context = context(
        request
            .build_context
            .as_ref()
            .map_or(&[][..], |context| &context.files),
    )?;
    let asked = request.steps.clone().unwrap_or_default();
    if asked.len() > MOST_STEPS {
        let text = format!(
            "has {} steps: give at most {MOST_STEPS}, or build on a template of the first ones",
            asked.len()
        );
        return Err(Error::invalid("steps", text));
    }
    let mut steps = Vec::new();
    for (place, asked) in asked.iter().enumerate() {
        let step = step::plan(asked, place)?;
        if let Action::Copy(copies) = &step.action {
            for source in copies.iter().flat_map(|copy| &copy.sources) {
                if !is_in(&context, source) {
                    return Err(Error::invalid(
                        &format!("steps[{place}].sources"),
                        format_args!("names {source:?}, which `build_context.files` does not have"),
                    ));
                }
            }
        }
        steps.push(step);
    }
    let mounted: BTreeSet<&str> = steps
        .iter()
        .flat_map(|step| step.secrets().iter().map(|s| s.id.as_str()))
        .collect();
    for (place, step) in steps.iter().enumerate() {
        let mut missing = step
            .secrets()
            .iter()
            .filter(|mount| mount.required && !secrets.has(&mount.id));
        if let Some(mount) = missing.next() {
            return Err(Error::invalid(
                "build_secrets",
                format_args!("has no {:?}, which steps[{place}] mounts: add it", mount.id),
            ));
        }
    }
    // Which ones a Dockerfile mounts is known once its images are.
    let is_dockerfile = matches!(base, Base::Dockerfile(_));
    for id in secrets.ids().filter(|id| !is_dockerfile && !mounted.contains(id)) {
        warnings.push(format!(
            "no step mounts the secret {id:?}: begin a command with --mount=type=secret,id={id}"
        ));
    }
    let build_envs = request.build_envs.clone().unwrap_or_default();
    validate::check_envs("build_envs", &build_envs)?;
    let mut runtime = request.runtime_config.clone().unwrap_or_default();
    if let Some(envs) = &runtime.default_envs {
        validate::check_envs("runtime_config.default_envs", envs)?;
    }
    if let Some(path) = &runtime.default_workdir {
        runtime.default_workdir = Some(validate::absolute("runtime_config.default_workdir", path)?);
    }
    if let Some(user) = &runtime.default_user {
        step::check_user("runtime_config.default_user", user)?;
    }
    let start = start(request.start_cmd.as_deref(), runtime.readiness.as_ref())?;
    let internet_access = request
        .build_config
        .as_ref()
        .and_then(|c| c.internet_access)
        .unwrap_or(true);
    let has_steps = !steps.is_empty();
    let kept = CreateTemplateRequest {
        build_context: request.build_context.as_ref().map(|context| {
            let mut context = context.clone();
            for file in &mut context.files {
                if let Some(text) = file.content_base64.take() {
                    file.blob_id = BASE64_STANDARD.decode(text).ok().map(|bytes| blob_id(&bytes));
                }
            }
            context
        }),
        claim_token: None,
        base_image_auth: None,
        registry_auth: None,
        ..request.clone()
    };
    Ok((
        Definition {
            name,
            tags,
            source_type: match (&base, has_steps) {
                (Base::Dockerfile(_), _) => BuildSourceType::Dockerfile,
                (_, true) => BuildSourceType::Declarative,
                (Base::Template(_), false) => BuildSourceType::TemplateBase,
                (Base::Image { .. }, false) => BuildSourceType::OciImport,
            },
            base,
            steps,
            build_envs,
            config,
            internet_access,
            runtime,
            start,
            context,
            skip_cache: request.skip_cache.unwrap_or(false),
            // As hosted Nullspace says it. Source: schema, TemplateBuildPlanResponse.
            backend: match is_dockerfile {
                true => BuildBackend::Buildkit,
                false => request.build_backend.unwrap_or(BuildBackend::Native),
            },
            warnings,
            kept,
        },
        secrets,
    ))
}

fn config(request: &CreateTemplateRequest) -> Result<MachineConfig> {
    let given = request.build_config.clone().unwrap_or_default();
    let vcpus = given.vcpus.unwrap_or(VCPUS);
    if !(1..=validate::MAX_VCPUS).contains(&vcpus) {
        return Err(Error::invalid(
            "build_config.vcpus",
            format_args!("is {vcpus}: give 1 to {}, such as 2", validate::MAX_VCPUS),
        ));
    }
    let memory_mb = given.memory_mib.unwrap_or(MEMORY_MB);
    if !(1..=validate::MAX_MEMORY_MB).contains(&memory_mb) {
        return Err(Error::invalid(
            "build_config.memory_mib",
            format_args!("is {memory_mb}: give MiB such as 512"),
        ));
    }
    Ok(MachineConfig {
        vcpus,
        memory_mb,
        disk_mb: given.disk_mb.map(validate::disk_mb).transpose()?,
    })
}

fn context(files: &[ContextFile]) -> Result<BTreeMap<String, Entry>> {
    if files.len() > MOST_FILES {
        let text = format!(
            "has {} entries: give at most {MOST_FILES}, or leave some out with a .dockerignore",
            files.len()
        );
        return Err(Error::invalid("build_context.files", text));
    }
    let mut all = BTreeMap::new();
    for (place, file) in files.iter().enumerate() {
        let field = |name: &str| format!("build_context.files[{place}].{name}");
        if !is_plain_path(&file.path) {
            return Err(Error::invalid(
                &field("path"),
                format_args!("is {:?}: give a relative path such as \"src/app.py\"", file.path),
            ));
        }
        let mode = file
            .mode
            .as_deref()
            .map(|mode| permission_bits(&field("mode"), mode))
            .transpose()?;
        let entry = match (file.entry_type, &file.blob_id, &file.content_base64) {
            (ContextEntryType::Dir, None, None) => Entry::Dir(mode),
            (ContextEntryType::Dir, _, _) => {
                return Err(Error::invalid(
                    &field("entry_type"),
                    "is \"dir\", which has no content",
                ));
            }
            (ContextEntryType::File, Some(blob), None) => Entry::File {
                blob: Content::Blob(blob.clone()),
                mode,
            },
            (ContextEntryType::File, None, Some(text)) => {
                let bytes = BASE64_STANDARD
                    .decode(text)
                    .map_err(|_| Error::invalid(&field("content_base64"), "is no base64"))?;
                Entry::File {
                    blob: Content::Inline(blob_id(&bytes), bytes),
                    mode,
                }
            }
            (ContextEntryType::File, _, _) => {
                return Err(Error::invalid(
                    &field("blob_id"),
                    "and `content_base64` exclude each other, and a file needs one of them",
                ));
            }
        };
        if all.insert(file.path.clone(), entry).is_some() {
            return Err(Error::invalid(
                &field("path"),
                format_args!("is {:?}, which is there twice", file.path),
            ));
        }
    }
    Ok(all)
}

fn is_plain_path(path: &str) -> bool {
    let is_good = |part: &str| !part.is_empty() && part != "." && part != "..";
    path.len() <= 4096 && !path.contains('\0') && path.split('/').all(is_good)
}

/// Whether a context has a file or a directory of this path.
pub fn is_in(context: &BTreeMap<String, Entry>, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let below = format!("{path}/");
    context.contains_key(path)
        || context
            .range(below.clone()..)
            .next()
            .is_some_and(|(found, _)| found.starts_with(&below))
}

/// What runs in machines of the template.
fn start(command: Option<&str>, probe: Option<&ReadinessProbe>) -> Result<Option<StartCommand>> {
    if let Some(command) = command.filter(|command| command.trim().is_empty()) {
        return Err(Error::invalid(
            "start_cmd",
            format_args!("is {command:?}: give one such as \"node /srv/server.js\", or leave it out"),
        ));
    }
    if command.is_none() && probe.is_none() {
        return Ok(None);
    }
    let start = StartCommand::of_probe(command.unwrap_or_default(), probe);
    start.check_probe()?;
    Ok(Some(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(body: serde_json::Value) -> Result<Definition> {
        check(serde_json::from_value(body).unwrap(), true).map(|(definition, _)| definition)
    }

    #[test]
    fn a_wrong_request_names_its_field_and_a_good_value() {
        let base = "nullspace/base:latest";
        for (body, start, good) in [
            (json!({ "base_image": base }), "`name` is missing", "\"web\""),
            (json!({ "name": "a b", "base_image": base }), "`name`", "\"web\""),
            (
                json!({ "name": "a" }),
                "`base_image` is missing",
                "nullspace/base:latest",
            ),
            (
                json!({ "name": "a", "base_image": base, "tags": [] }),
                "`tags` is empty",
                "stable",
            ),
            (
                json!({ "name": "a", "base_image": base, "tags": ["tb_1"] }),
                "`tags`",
                "stable",
            ),
            (
                json!({ "name": "a", "base_image": base, "build_config": { "memory_mib": 0 } }),
                "`build_config.memory_mib`",
                "512",
            ),
            (
                json!({ "name": "a", "base_image": base, "build_config": { "disk_mb": 1 } }),
                "`disk_mb`",
                "2048",
            ),
            (
                json!({ "name": "a", "base_image": base, "start_cmd": " " }),
                "`start_cmd`",
                "node",
            ),
            (
                json!({ "name": "a", "base_image": base, "steps": [{ "action": "copy", "sources": ["x"], "dst": "/y" }] }),
                "`steps[0].sources`",
                "build_context",
            ),
            (
                json!({ "name": "a", "base_image": base, "build_context": { "files": [{ "path": "../x", "entry_type": "dir" }] } }),
                "`build_context.files[0].path`",
                "src/app.py",
            ),
        ] {
            let message = checked(body).unwrap_err().message;
            assert!(message.starts_with(start) && message.contains(good), "{message}");
        }
    }

    #[test]
    fn what_is_kept_for_a_retry_has_neither_secrets_nor_content() {
        let body = json!({
            "name": "a", "base_image": "nullspace/base:latest",
            "steps": [{ "action": "run", "command": "--mount=type=secret,id=token cat /run/secrets/token" }],
            "build_secrets": [{ "id": "token", "value": "hunter2hunter2" }],
            "build_context": { "files": [{ "path": "a.txt", "entry_type": "file", "content_base64": "aGk=" }] }
        });
        let definition = checked(body).unwrap();
        let kept = serde_json::to_string(&definition.kept).unwrap();
        assert!(!kept.contains("hunter2") && !kept.contains("aGk="), "{kept}");
        assert!(
            kept.contains("blob_8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"),
            "{kept}"
        );
        assert!(!format!("{definition:?}").contains("hunter2"));
    }
}
