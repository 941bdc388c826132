//! Templates and their builds. Source: PROTOCOL.md section 11.

use serde::{Deserialize, Serialize};

use crate::{Envs, JsonObject, Timestamp};

/// Permission bits: octal text such as `"0644"`, or the number that it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum StepMode {
    /// The bits themselves.
    Number(u32),
    /// Octal digits.
    Text(String),
}

/// Files of the build context that go into the template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CopyItem {
    /// Paths of the build context.
    pub sources: Vec<String>,
    /// Path in the template.
    pub dst: String,
    /// Owner; root when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Permission bits of the files; their own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<StepMode>,
    /// Upload the files again even if the engine has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_upload: Option<bool>,
}

/// A step of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "action", rename_all = "snake_case")]
#[allow(missing_docs)] // the names of the fields say it
pub enum TemplateStep {
    AptInstall {
        packages: Vec<String>,
    },
    PipInstall {
        packages: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        g: Option<bool>,
    },
    NpmInstall {
        packages: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        g: Option<bool>,
    },
    BunInstall {
        packages: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        g: Option<bool>,
    },
    Run {
        command: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
    },
    Copy(CopyItem),
    CopyItems {
        items: Vec<CopyItem>,
    },
    GitClone {
        url: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        branch: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        depth: Option<u32>,
    },
    Workdir {
        path: String,
    },
    User {
        user: String,
    },
    Remove {
        path: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recursive: Option<bool>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        force: Option<bool>,
    },
    Rename {
        src: String,
        dst: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        force: Option<bool>,
    },
    MakeDir {
        path: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<StepMode>,
    },
    MakeSymlink {
        target: String,
        path: String,
    },
    SkipCache,
}

/// What an entry of a build context is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ContextEntryType {
    File,
    Dir,
}

/// An entry of a build context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ContextFile {
    /// Relative path.
    pub path: String,
    /// What it is.
    pub entry_type: ContextEntryType,
    /// Bytes of a file; excludes `blob_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_base64: Option<String>,
    /// Bytes that were uploaded before; excludes `content_base64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob_id: Option<String>,
    /// Octal permission bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// Files that `copy` steps take from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BuildContext {
    /// Its entries.
    pub files: Vec<ContextFile>,
}

/// Size and network of the machines of a build.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BuildConfig {
    /// Processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u32>,
    /// MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// `false`: the build reaches nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internet_access: Option<bool>,
    /// MiB of disk, inherited by every machine of the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_mb: Option<u32>,
}

/// What shows that a machine of a template is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs)] // as `spec/openapi.json` names them
pub enum ReadinessProbe {
    Tcp {
        port: u16,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_secs: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interval_ms: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        startup_grace_secs: Option<u64>,
    },
    Http {
        port: u16,
        path: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_secs: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interval_ms: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        startup_grace_secs: Option<u64>,
    },
    Command {
        command: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_secs: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interval_ms: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        startup_grace_secs: Option<u64>,
    },
    Timeout {
        timeout_ms: u64,
    },
}

/// Defaults of machines of a template.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RuntimeConfig {
    /// Who runs commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_user: Option<String>,
    /// Where commands start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_workdir: Option<String>,
    /// Environment of commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_envs: Option<Envs>,
    /// What shows that a machine is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<ReadinessProbe>,
}

/// A secret of one build.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BuildSecret {
    /// Letters, digits, `.`, `_` and `-`.
    pub id: String,
    /// Never stored.
    pub value: String,
    /// Where the client took the value from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl std::fmt::Debug for BuildSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BuildSecret({})", self.id)
    }
}

/// Credentials for the registry of a base image.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs)] // as `spec/openapi.json` names them
pub enum ImageAuth {
    Basic {
        username: String,
        password: String,
    },
    GcpArtifactRegistry {
        service_account_json: serde_json::Value,
    },
    AwsEcr {
        access_key_id: String,
        secret_access_key: String,
        region: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_token: Option<String>,
    },
}

impl std::fmt::Debug for ImageAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ImageAuth")
    }
}

/// Credentials for a registry by its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RegistryAuth {
    /// Host of the registry.
    pub registry: String,
    /// What opens it.
    pub auth: ImageAuth,
}

/// Body of a build: `dockerfile`, or `base_image` with `steps`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[allow(missing_docs)] // as `spec/openapi.json` names them
pub struct CreateTemplateRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<TemplateStep>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile_path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_args: Option<Envs>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_envs: Option<Envs>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_cmd: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_context: Option<BuildContext>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_config: Option<BuildConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_backend: Option<BuildBackend>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_config: Option<RuntimeConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_image_auth: Option<ImageAuth>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_auth: Option<Vec<RegistryAuth>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_secrets: Option<Vec<BuildSecret>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_cache: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_token: Option<String>,
}

/// How a template is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum BuildBackend {
    Native,
    Buildkit,
}

/// What a build starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum BuildSourceType {
    Declarative,
    Dockerfile,
    OciImport,
    TemplateBase,
}

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "TemplateBuildStatus")
)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum BuildStatus {
    Waiting,
    Building,
    Ready,
    Error,
    Cancelled,
}

/// Who sees a template: its owner, or everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum TemplateVisibility {
    #[default]
    Private,
    Public,
}

/// Defaults of a template as shown: names of variables, never values.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct RuntimeDefaults {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_env_keys: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_cmd: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_workdir: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<ReadinessProbe>,
}

/// A template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateInfo {
    /// `tmpl_...`
    pub id: String,
    /// Name without namespace and tag.
    pub name: String,
    /// For people.
    pub description: String,
    /// Whether it comes with the engine.
    pub builtin: bool,
    /// `<namespace>/<name>:<tag>`
    pub canonical_ref: String,
    /// Namespace of its name.
    pub namespace_slug: String,
    /// Who sees it.
    pub visibility: TemplateVisibility,
    /// Tags that mean a build of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// What a name without a tag means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_tag: Option<String>,
    /// Defaults of its machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_defaults: Option<RuntimeDefaults>,
}

/// A tag of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateTagInfo {
    /// Its name.
    pub tag: String,
    /// The build that it names.
    pub build_id: String,
    /// When it was set or moved.
    pub created_at: Timestamp,
}

/// Another name of a template, such as the one before a rename.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateAliasInfo {
    /// `namespace/name`.
    pub alias_ref: String,
    /// When the template was renamed.
    pub created_at: Timestamp,
}

/// A name that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateNameClaim {
    /// For {@link Template.releaseNameClaim}; a secret.
    pub claim_token: String,
    /// `namespace/name`.
    pub canonical_ref: String,
    /// Until when the name is kept.
    pub expires_at: Timestamp,
}

/// A namespace of templates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateNamespaceInfo {
    /// Its name.
    pub slug: String,
    /// Whose it is.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["user", "deployment", "system"])))]
    pub kind: String,
    /// Whether names without a namespace are in it.
    pub is_default: bool,
}

/// Why a build failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FailureDetail {
    /// `build_error`, `file_upload_error`, `internal_error` or `unauthorized`.
    pub code: String,
    /// What went wrong.
    pub message: String,
    /// Where: `prepare`, `build_step`, `readiness`, `snapshot`, `finalize`, `interrupted`, ...
    pub phase: String,
    /// Whether the same build may work later.
    pub retryable: bool,
    /// What to do next.
    pub suggested_action: String,
    /// Place of the step, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_index: Option<u32>,
    /// `tb_...`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// Always has `reason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<JsonObject>,
}

/// How often the cache served.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct BuildCacheSummary {
    pub final_artifact_hits: u32,
    pub final_artifact_misses: u32,
    pub final_artifact_bypasses: u32,
    pub final_artifact_stores: u32,
    pub layer_hits: u32,
    pub layer_misses: u32,
    pub layer_bypasses: u32,
    pub layer_stores: u32,
}

/// A status with a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ArtifactAvailability {
    /// `available`, or what stands in the way.
    pub status: String,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether a tag can be pointed at a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BuildPromotability {
    /// `promotable`, or what stands in the way.
    pub status: String,
    /// Whether it can.
    pub promotable: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A build of a template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[allow(missing_docs)] // as `spec/openapi.json` names them
pub struct TemplateBuild {
    pub build_id: String,
    pub template_id: String,
    pub name: String,
    pub tags: Vec<String>,
    pub status: BuildStatus,
    pub build_backend: BuildBackend,
    pub source_type: BuildSourceType,
    pub canonical_ref: String,
    pub namespace_slug: String,
    pub visibility: TemplateVisibility,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile_digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_config: Option<BuildConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_phase: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_summary: Option<BuildCacheSummary>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_availability: Option<ArtifactAvailability>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotability: Option<BuildPromotability>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_defaults: Option<RuntimeDefaults>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_ids: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of_build_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_build_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancellation_reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<FailureDetail>,
}

/// What an entry of a log tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum BuildLogKind {
    Start,
    Message,
    Cache,
    Retry,
    Warning,
    Error,
    Cancelled,
    End,
}

/// How much an entry of a log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum BuildLogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// An entry of the log of a build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[allow(missing_docs)] // as `spec/openapi.json` names them
pub struct BuildLogEntry {
    pub build_id: String,
    pub template_id: String,
    pub offset: u64,
    pub timestamp: Timestamp,
    pub kind: BuildLogKind,
    pub level: BuildLogLevel,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_index: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_steps: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<FailureDetail>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<TemplateInfo>,
}

/// A build and its log from an offset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BuildStatusSnapshot {
    /// The build.
    pub build: TemplateBuild,
    /// Its log from the offset that was asked for.
    pub entries: Vec<BuildLogEntry>,
    /// Where the next call goes on.
    pub next_offset: u64,
}

/// One page of builds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BuildList {
    /// Newest first.
    pub builds: Vec<TemplateBuild>,
    /// Of the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Body of `POST .../cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CancelBuildRequest {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Body of `POST .../retry`. Secrets are asked for again, since none is kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct RetryBuildRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_image_auth: Option<ImageAuth>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_auth: Option<Vec<RegistryAuth>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_secrets: Option<Vec<BuildSecret>>,
}

/// Body of `POST .../promote`: `tag`, or `tags`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct PromoteBuildRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
}

/// Body of `POST .../tags`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AssignTagsRequest {
    /// At least one.
    pub tags: Vec<String>,
}

/// Body of `POST .../rename`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RenameTemplateRequest {
    /// Without namespace and tag.
    pub new_name: String,
}

/// Body of `PATCH .../visibility`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UpdateVisibilityRequest {
    /// Who sees it from now on.
    pub visibility: TemplateVisibility,
}

/// Body of `POST /v1/templates/claims`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReserveNameRequest {
    /// The name.
    pub template_ref: String,
}

/// A file that a client may have to upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[allow(missing_docs)] // as `spec/openapi.json` names them
pub struct PreflightFile {
    pub path: String,
    pub entry_type: ContextEntryType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_upload: Option<bool>,
}

/// Body of `POST /v1/templates/blobs/preflight`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PreflightRequest {
    /// In the order of the answer.
    pub files: Vec<PreflightFile>,
}

/// What a preflight says of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[allow(missing_docs)] // as `spec/openapi.json` names them
pub struct PreflightResult {
    pub path: String,
    pub entry_type: ContextEntryType,
    pub missing: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob_id: Option<String>,
}

/// Answer of a preflight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PreflightResponse {
    /// As many as were asked for.
    pub files: Vec<PreflightResult>,
}

/// A fault of a build request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ValidationError {
    /// Stable name.
    pub code: String,
    /// The same as a sentence.
    pub message: String,
    /// Where the build would fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
}

/// What {@link Template.validate} says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "TemplateValidation")
)]
pub struct BuildValidation {
    /// Whether the server would build it.
    pub valid: bool,
    /// Why not.
    #[cfg_attr(feature = "schema", schemars(extend("readOnly" = true)))]
    pub errors: Vec<ValidationError>,
    /// What it builds all the same.
    #[cfg_attr(feature = "schema", schemars(extend("readOnly" = true)))]
    pub warnings: Vec<String>,
}
