//! What the SDK reads of templates and their builds: all that the schema has, where [`crate::template`] has what the local engine
//! writes. Enums are plain text: a newer server may have more of them. Source: PROTOCOL.md section 11.

use serde::{Deserialize, Serialize};

use crate::template::{ArtifactAvailability, BuildPromotability};
use crate::{JsonObject, Timestamp};

/// What machines can start from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateInfo {
    /// `tmpl_...`
    pub id: String,
    /// Without namespace and tag.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// Whether the server brings it.
    pub builtin: bool,
    /// `namespace/name:tag`.
    pub canonical_ref: String,
    /// The part before the slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_slug: Option<String>,
    /// `private` or `public`.
    pub visibility: String,
    /// Names of its builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// The one that a reference without a tag means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_tag: Option<String>,
    /// What its machines start with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_defaults: Option<TemplateRuntimeDefaults>,
}

/// What machines of a template start with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateRuntimeDefaults {
    /// Names of variables, never their values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_env_keys: Option<Vec<String>>,
    /// What was started before the template was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_cmd: Option<String>,
    /// Who runs commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_user: Option<String>,
    /// Where they run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_workdir: Option<String>,
    /// When what was started counts as ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<TemplateReadiness>,
}

/// A probe. `kind` says which of the other fields it has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateReadiness {
    /// `tcp`, `http`, `command` or `timeout`.
    pub kind: String,
    /// Of `tcp` and `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Of `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Of `command`; it is ready when that ends with 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Of `timeout`: how long is waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Of all others: when it is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u64>,
    /// Between two tries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// Before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_grace_secs: Option<u64>,
}

/// A build. Lists of builds leave some of it out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateBuild {
    /// `tb_...`
    pub build_id: String,
    /// `tmpl_...`
    pub template_id: String,
    /// Of the template.
    pub name: String,
    /// That it gets when it is ready.
    pub tags: Vec<String>,
    /// `waiting`, `building`, `ready`, `error` or `cancelled`.
    pub status: String,
    /// `native` or `buildkit`.
    pub build_backend: String,
    /// `declarative`, `dockerfile`, `oci_import` or `template_base`.
    pub source_type: String,
    /// `namespace/name:tag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical_ref: Option<String>,
    /// The part before the slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_slug: Option<String>,
    /// `private` or `public`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
    /// Of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_digest: Option<String>,
    /// Of the files that came with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_digest: Option<String>,
    /// Of the Dockerfile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile_digest: Option<String>,
    /// Size of its machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_config: Option<TemplateBuildConfig>,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub triggered_by: Option<String>,
    /// When it was put into the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<Timestamp>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// From the one to the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_phase: Option<String>,
    /// What was not made again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_summary: Option<JsonObject>,
    /// Whether machines can start from it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_availability: Option<ArtifactAvailability>,
    /// Whether it can get a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotability: Option<BuildPromotability>,
    /// Until when it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_expires_at: Option<Timestamp>,
    /// What its machines start with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_defaults: Option<TemplateRuntimeDefaults>,
    /// What the image said of itself, as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci_metadata: Option<JsonObject>,
    /// What it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_ids: Option<Vec<String>>,
    /// The build that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of_build_id: Option<String>,
    /// The first of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_build_id: Option<String>,
    /// When somebody wanted it to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested_at: Option<Timestamp>,
    /// Who did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested_by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancellation_reason: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The same in parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<TemplateFailureDetail>,
}

/// Size of the machine that builds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateBuildConfig {
    /// Processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u32>,
    /// MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// Whether steps reach the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internet_access: Option<bool>,
    /// MiB; the least disk of machines that start from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_mb: Option<u64>,
}

/// Why a build failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateFailureDetail {
    /// `build_error`, `file_upload_error`, `internal_error` or `unauthorized`.
    pub code: String,
    /// For people.
    pub message: String,
    /// `auth`, `preflight`, `blob_upload`, `prepare`, `build_step`, `readiness`, `snapshot`, `finalize` or `interrupted`.
    pub phase: String,
    /// Whether the same may work later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggested_action: Option<String>,
    /// Which of the steps, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_index: Option<u64>,
    /// From 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u64>,
    /// How many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u64>,
    /// What was looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_subject: Option<String>,
    /// `tb_...`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// The server's name for the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Always with `reason`, and what the phase has: `command`, `exit_code`, `blob_id`, `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<JsonObject>,
}

/// How far a build is, and what it said from an offset on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateBuildStatusSnapshot {
    /// The build.
    pub build: TemplateBuild,
    /// From the offset that was asked for.
    pub entries: Vec<TemplateBuildLogEntry>,
    /// To be asked for next.
    pub next_offset: u64,
}

/// A line of a build's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateBuildLogEntry {
    /// `tb_...`
    pub build_id: String,
    /// `tmpl_...`
    pub template_id: String,
    /// Counts from 0.
    pub offset: u64,
    /// When it was said.
    pub timestamp: Timestamp,
    /// `start`, `message`, `cache`, `retry`, `warning`, `error`, `cancelled` or `end`.
    pub kind: String,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// For people.
    pub message: String,
    /// Of `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<TemplateFailureDetail>,
    /// Of `end`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<TemplateInfo>,
    /// Of `end`, as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_metadata: Option<JsonObject>,
    /// As in a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// From 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_index: Option<u64>,
    /// How many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_steps: Option<u64>,
    /// Of `retry`, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u64>,
    /// How many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u64>,
    /// Of `cache`: `file_blob`, `layer` or `final_artifact`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_kind: Option<String>,
    /// Of `cache`: `hit`, `miss`, `stored` or `bypass`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_status: Option<String>,
    /// Of `cache`: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_reason: Option<String>,
    /// Of `cache`: what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_subject: Option<String>,
}

/// A page of builds, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateBuildListResponse {
    /// Its builds.
    pub builds: Vec<TemplateBuild>,
    /// Of the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// What a server would do with a definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateBuildPlanResponse {
    /// `native` or `buildkit`.
    pub build_backend: String,
    /// `declarative`, `dockerfile`, `oci_import` or `template_base`.
    pub source_type: String,
    /// Its steps, as they came.
    pub build_plan: JsonObject,
    /// What it does all the same.
    pub warnings: Vec<String>,
    /// Whether the image needs a user and a password.
    pub requires_base_image_auth: bool,
    /// Of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_digest: Option<String>,
    /// Of the Dockerfile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile_digest: Option<String>,
    /// Of the files that come with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_manifest: Option<TemplateContextManifest>,
}

/// The files of a build, by their digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateContextManifest {
    /// Its name.
    pub context_manifest_id: String,
    /// Of all of it.
    pub context_digest: String,
    /// How many there are.
    pub file_count: u64,
}
