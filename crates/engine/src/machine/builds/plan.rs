//! What a request for a build would do, and the digests of what it is made of. Runs nothing, and asks no registry.

use nullspace_wire::template::{BuildValidation, CreateTemplateRequest, ValidationError};
use serde_json::{json, Value};
use sha2::{Digest, Sha256};

use super::base::Base;
use super::definition::{self, Content, Definition, Entry};
use super::step::{Action, Step};
use crate::machine::ground::json::canonical;
use crate::machine::ground::{Kind, Result};
use crate::machine::validate::sizes::Asked;
use crate::machine::Engine;

impl Engine {
    /// What a build starts from in full, and what of it goes into the digest of its source. Asks no registry.
    pub(super) async fn look_at_base(&self, base: &Base) -> Result<(String, Value)> {
        let reference = match base {
            Base::Template(reference) => reference,
            Base::Image { .. } => return Ok((base.to_string(), json!(base.to_string()))),
            Base::Dockerfile(recipe) => return Ok((base.to_string(), json!(recipe.text))),
        };
        let known = self.known(reference).await.map_err(|error| match error.kind {
            Kind::TemplateNotFound => error.with_details(json!({ "field": "base_image" })),
            _ => error,
        })?;
        Ok((known.info().canonical_ref, json!(known.template.layers)))
    }

    /// Says what is wrong with a request, and runs nothing.
    pub async fn validate_build(&self, request: CreateTemplateRequest) -> Result<BuildValidation> {
        let mut warnings = Vec::new();
        let checked = match definition::check(request, false) {
            Ok((definition, _)) => {
                warnings = definition.warnings;
                match Asked::in_build(&definition.config).check(self.backend.capabilities()) {
                    Ok(()) => self.look_at_base(&definition.base).await.map(drop),
                    refused => refused,
                }
            }
            Err(error) => Err(error),
        };
        let errors: Vec<ValidationError> = match checked {
            Err(error) if error.kind == Kind::Internal => return Err(error),
            Err(error) => vec![ValidationError {
                code: error.kind.code().into(),
                message: error.message,
                phase: Some("prepare".into()),
            }],
            Ok(()) => Vec::new(),
        };
        Ok(BuildValidation {
            valid: errors.is_empty(),
            errors,
            warnings,
        })
    }

    /// Says what a request would do, and runs nothing.
    pub async fn plan_build(&self, request: CreateTemplateRequest) -> Result<Value> {
        let (definition, _) = definition::check(request, false)?;
        let (base, source) = self.look_at_base(&definition.base).await?;
        let runs = |step: &&Step| matches!(step.action, Action::Run(_));
        let commands = match &definition.base {
            Base::Dockerfile(recipe) => recipe.plan.commands(),
            Base::Template(_) | Base::Image { .. } => {
                let all = definition.steps.iter().filter(runs);
                all.map(|step| step.shown.clone()).collect()
            }
        };
        let mut plan = json!({
            "base_template": base,
            "run_steps": commands,
            "build_steps": definition.kept.steps.clone().unwrap_or_default(),
            "build_envs": definition.build_envs,
            "env_assignments": definition.build_envs.iter().map(|(k, v)| [k, v]).collect::<Vec<_>>(),
            "ignored_instructions": [],
        });
        if let Some(command) = &definition.kept.start_cmd {
            plan["start_cmd"] = json!(command);
        }
        if let Some(user) = &definition.runtime.default_user {
            plan["default_user"] = json!(user);
        }
        if let Some(path) = &definition.runtime.default_workdir {
            plan["default_workdir"] = json!(path);
        }
        if let Some(probe) = &definition.runtime.readiness {
            plan["readiness"] = json!(probe);
        }
        let mut answer = json!({
            "build_backend": definition.backend,
            "source_type": definition.source_type,
            "build_plan": plan,
            "warnings": definition.warnings,
            "requires_base_image_auth": false,
            "source_digest": source_digest(&source, &definition),
        });
        if let Some(digest) = dockerfile_digest(&definition) {
            answer["dockerfile_digest"] = json!(digest);
        }
        if let Some(digest) = context_digest(&definition) {
            answer["context_manifest"] = json!({
                "context_manifest_id": format!("ctx_{}", &digest["sha256:".len()..][..20]),
                "context_digest": digest,
                "file_count": definition.context.values().filter(|e| matches!(e, Entry::File { .. })).count(),
            });
        }
        Ok(answer)
    }
}

/// `sha256:` and the digits of the canonical JSON.
fn digest(value: &Value) -> String {
    format!(
        "sha256:{}",
        hex::encode(Sha256::digest(canonical(value).as_bytes()))
    )
}

/// What a build starts from, and what it does to it.
pub(super) fn source_digest(source: &Value, definition: &Definition) -> String {
    digest(&json!([source, definition.kept.steps, definition.build_envs]))
}

pub(super) fn dockerfile_digest(definition: &Definition) -> Option<String> {
    match &definition.base {
        Base::Dockerfile(recipe) => {
            let digits = hex::encode(Sha256::digest(recipe.text.as_bytes()));
            Some(format!("sha256:{digits}"))
        }
        Base::Template(_) | Base::Image { .. } => None,
    }
}

pub(super) fn context_digest(definition: &Definition) -> Option<String> {
    if definition.context.is_empty() {
        return None;
    }
    let entries: Vec<Value> = definition
        .context
        .iter()
        .map(|(path, entry)| entry_key(path, entry))
        .collect();
    Some(digest(&Value::Array(entries)))
}

/// All of an entry of a context that can make a difference.
pub(super) fn entry_key(path: &str, entry: &Entry) -> Value {
    match entry {
        Entry::Dir(mode) => json!([path, "dir", mode]),
        Entry::File {
            blob: Content::Blob(id) | Content::Inline(id, _),
            mode,
        } => json!([path, id, mode]),
    }
}
