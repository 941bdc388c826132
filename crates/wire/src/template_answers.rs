//! What the SDK reads of templates and their builds: all that the schema has, where [`crate::template`] has what the local engine
//! writes. Enums are plain text: a newer server may have more of them. Source: PROTOCOL.md section 11.

use serde::{Deserialize, Serialize};

use crate::template::{ArtifactAvailability, BuildPromotability};
#[cfg(feature = "schema")]
use crate::template::{
    BuildBackend, BuildLogKind, BuildLogLevel, BuildSourceType, BuildStatus, TemplateVisibility,
};
use crate::{JsonObject, Timestamp};

/// A template.
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
    /// `namespace/name:tag`; what `Machine.create({ template })` takes.
    pub canonical_ref: String,
    /// The part of `canonical_ref` before the slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_slug: Option<String>,
    /// Who sees it.
    #[cfg_attr(feature = "schema", schemars(with = "TemplateVisibility"))]
    pub visibility: String,
    /// Names of its builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("readOnly" = true)))]
    pub tags: Option<Vec<String>>,
    /// The tag that a reference without one means.
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
    #[cfg_attr(feature = "schema", schemars(extend("readOnly" = true)))]
    pub default_env_keys: Option<Vec<String>>,
    /// Command that was started before the template was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_cmd: Option<String>,
    /// User that runs commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_user: Option<String>,
    /// Working directory of commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_workdir: Option<String>,
    /// When the start command counts as ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<TemplateReadiness>,
}

/// A probe that says when what a template starts counts as ready. Made by {@link waitForPort} and its like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateReadiness {
    /// `tcp`: a port accepts; `http`: it answers with 2xx or 3xx; `command`: it ends with 0; `timeout`: some time is over.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["tcp", "http", "command", "timeout"])))]
    pub kind: String,
    /// Of `tcp` and `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Of `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Of `command`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Milliseconds, of `timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Seconds until it is given up and the build fails; of all but `timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u64>,
    /// Milliseconds between two attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// Seconds before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_grace_secs: Option<u64>,
}

/// A build. Those of {@link Template.listBuilds} hold less.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "TemplateBuildInfo")
)]
pub struct TemplateBuild {
    /// `tb_...`
    pub build_id: String,
    /// `tmpl_...`
    pub template_id: String,
    /// Name of the template.
    pub name: String,
    /// Tags that it gets when it is ready.
    #[cfg_attr(feature = "schema", schemars(extend("readOnly" = true)))]
    pub tags: Vec<String>,
    /// How far it is.
    #[cfg_attr(feature = "schema", schemars(with = "BuildStatus"))]
    pub status: String,
    /// Who builds.
    #[cfg_attr(feature = "schema", schemars(with = "BuildBackend"))]
    pub build_backend: String,
    /// What it is made of.
    #[cfg_attr(feature = "schema", schemars(with = "BuildSourceType"))]
    pub source_type: String,
    /// `namespace/name:tag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical_ref: Option<String>,
    /// The part of `canonical_ref` before the slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_slug: Option<String>,
    /// Who sees the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<TemplateVisibility>"))]
    pub visibility: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
    /// Digest of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_digest: Option<String>,
    /// Digest of the files that came with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_digest: Option<String>,
    /// Digest of the Dockerfile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile_digest: Option<String>,
    /// Size and network of the machine that builds.
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
    /// Milliseconds from its begin to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Where it failed, as in `error_detail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_phase: Option<String>,
    /// Counts of what was not made again, as the wire has them: `layer_hits`, `file_blob_misses`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_summary: Option<JsonObject>,
    /// Whether machines can start from it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_availability: Option<ArtifactAvailability>,
    /// Whether it can get a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotability: Option<BuildPromotability>,
    /// When the server deletes what it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_expires_at: Option<Timestamp>,
    /// What its machines start with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_defaults: Option<TemplateRuntimeDefaults>,
    /// What the image says of itself, as the wire has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci_metadata: Option<JsonObject>,
    /// What it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("readOnly" = true)))]
    pub artifact_ids: Option<Vec<String>>,
    /// The build that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of_build_id: Option<String>,
    /// The first of a row of such builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_build_id: Option<String>,
    /// When somebody cancelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested_at: Option<Timestamp>,
    /// Who cancelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested_by: Option<String>,
    /// Why it was cancelled.
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
    /// MiB of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// Whether steps reach the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internet_access: Option<bool>,
    /// MiB: the smallest disk of machines that start from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_mb: Option<u64>,
}

/// Why a build failed, as the server says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateFailureDetail {
    /// Kind of the failure.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["build_error", "file_upload_error", "internal_error", "unauthorized"])))]
    pub code: String,
    /// What went wrong, as a sentence.
    pub message: String,
    /// Where: `auth`, `preflight`, `blob_upload`, `prepare`, `build_step`, `readiness`, `snapshot`, `finalize`, `interrupted`.
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
    /// Which attempt it was, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u64>,
    /// Attempts in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u64>,
    /// What the cache was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_subject: Option<String>,
    /// `tb_...`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// The server's name for the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Anything more, as the wire has it: `reason`, `command`, `exit_code`, `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<JsonObject>,
}

/// How far a build is, and what it said from an offset on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "TemplateBuildSnapshot")
)]
pub struct TemplateBuildStatusSnapshot {
    /// The build.
    pub build: TemplateBuild,
    /// Its log from the offset that was asked for.
    #[cfg_attr(feature = "schema", schemars(extend("readOnly" = true)))]
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
    /// When it was written.
    pub timestamp: Timestamp,
    /// `end`, `error` and `cancelled` are the last.
    #[cfg_attr(feature = "schema", schemars(with = "BuildLogKind"))]
    pub kind: String,
    /// How much it matters.
    #[cfg_attr(feature = "schema", schemars(with = "BuildLogLevel"))]
    pub level: String,
    /// The line.
    pub message: String,
    /// Of `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<TemplateFailureDetail>,
    /// Of `end`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<TemplateInfo>,
    /// Of `end`, as the wire has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_metadata: Option<JsonObject>,
    /// Where the build is, as in {@link TemplateFailureDetail.phase}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Which of the steps, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_index: Option<u64>,
    /// Steps in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_steps: Option<u64>,
    /// Of `retry`: which attempt, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u64>,
    /// Of `retry`: attempts in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u64>,
    /// Of `cache`: what is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["file_blob", "layer", "final_artifact"])))]
    pub cache_kind: Option<String>,
    /// Of `cache`: what the cache did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["hit", "miss", "stored", "bypass"])))]
    pub cache_status: Option<String>,
    /// Of `cache`: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_reason: Option<String>,
    /// Of `cache`: what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_subject: Option<String>,
}

/// A page of builds, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "TemplateBuildPage")
)]
pub struct TemplateBuildListResponse {
    /// Newest first.
    #[cfg_attr(feature = "schema", schemars(extend("readOnly" = true)))]
    pub builds: Vec<TemplateBuild>,
    /// Absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// What {@link Template.plan} says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "TemplatePlan")
)]
pub struct TemplateBuildPlanResponse {
    /// Who builds.
    #[cfg_attr(feature = "schema", schemars(with = "BuildBackend"))]
    pub build_backend: String,
    /// What it is made of: `declarative`, `dockerfile`, `oci_import` or `template_base`.
    pub source_type: String,
    /// As the wire has it: `base_template`, `run_steps`, `build_steps`, ...
    pub build_plan: JsonObject,
    /// What it builds all the same.
    #[cfg_attr(feature = "schema", schemars(extend("readOnly" = true)))]
    pub warnings: Vec<String>,
    /// Whether the image needs a user and a password.
    pub requires_base_image_auth: bool,
    /// Digest of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_digest: Option<String>,
    /// Digest of the Dockerfile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile_digest: Option<String>,
    /// The files that come with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_manifest: Option<TemplateContextManifest>,
}

/// The files of a build, by their digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateContextManifest {
    /// Its id.
    pub context_manifest_id: String,
    /// Digest of all files.
    pub context_digest: String,
    /// Number of files.
    pub file_count: u64,
}
