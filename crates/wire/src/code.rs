//! The code interpreter: contexts, cells, runs, artifacts. Source: PROTOCOL.md section 8.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Envs, JsonObject, Timestamp};

/// A kernel that keeps what its cells define.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CodeContext {
    /// `ctx_...`
    pub id: String,
    /// `python`, `javascript`, `bash`.
    pub language: String,
    /// Where it started.
    pub cwd: String,
}

/// Body of `POST /v1/machines/{id}/code/contexts`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CreateCodeContextRequest {
    /// Python when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// An absolute directory that exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
}

/// Body of `POST /v1/machines/{id}/code/execute`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CodeExecuteRequest {
    /// One cell.
    pub code: String,
    /// Of the context that is made when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// `ctx_...`; goes before `language`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_id: Option<String>,
    /// For this cell alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envs: Option<Envs>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// Body of `POST /v1/machines/{id}/code/runs`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CodeRunCreateRequest {
    /// One cell.
    pub code: String,
    /// `ctx_...`
    pub context_id: String,
    /// For this cell alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envs: Option<Envs>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// A value as a cell shows it, in every form that it has. `png`, `jpeg` and `pdf` are Base64.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExecutionResult {
    /// Plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// HTML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub markdown: Option<String>,
    /// SVG.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub svg: Option<String>,
    /// A picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub png: Option<String>,
    /// A picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jpeg: Option<String>,
    /// A document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pdf: Option<String>,
    /// LaTeX.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latex: Option<String>,
    /// A value of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// A program for a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub javascript: Option<String>,
    /// Other media types, as they came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<JsonObject>,
    /// A plot as numbers. The local engine sends none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chart: Option<Chart>,
    /// Whether it is the value of the last line.
    #[serde(default)]
    pub is_main_result: bool,
    /// Forms that were too long: how much of each is missing, in characters of `text`, which is cut, and in bytes of others, which are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<std::collections::BTreeMap<String, u64>>,
}

/// A plot as numbers. Which fields its elements have, its type says: PROTOCOL.md section 8.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Chart {
    /// `bar`, `line`, `pie`, `scatter`, `box_and_whisker`.
    pub r#type: String,
    /// Above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Of the horizontal axis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x_label: Option<String>,
    /// Of the vertical axis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y_label: Option<String>,
    /// Of the horizontal axis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x_unit: Option<String>,
    /// Of the vertical axis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y_unit: Option<String>,
    /// Bars, points, slices, as they came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elements: Vec<JsonObject>,
}

/// Something that a cell made, kept in the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CodeArtifact {
    /// `art_...`
    pub id: String,
    /// `ctx_...`
    pub context_id: String,
    /// Of which cell of the context, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_count: Option<u64>,
    /// What it is.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["image", "html", "document", "file"])))]
    pub kind: String,
    /// Media type.
    pub mime_type: String,
    /// File name.
    pub name: String,
    /// Bytes.
    pub size_bytes: u64,
    /// In hexadecimal digits.
    pub sha256: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the server removes it, if it will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Where the server offers a look at it, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview_url: Option<String>,
    /// Where the server offers its bytes, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download_url: Option<String>,
    /// As the server sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<JsonObject>,
}

/// Why a cell failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExecutionError {
    /// Such as `ZeroDivisionError`; `TimeoutError` at the time limit, `KernelDied` when the context was lost.
    pub name: String,
    /// What the error says.
    pub value: String,
    /// Where, in the words of the language.
    pub traceback: String,
}

/// What a cell printed, piece by piece.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExecutionLogs {
    /// Standard output.
    pub stdout: Vec<String>,
    /// Standard error.
    pub stderr: Vec<String>,
}

/// All that a cell did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Execution {
    /// What it showed.
    pub results: Vec<ExecutionResult>,
    /// What it kept.
    pub artifacts: Vec<CodeArtifact>,
    /// What it printed.
    pub logs: ExecutionLogs,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ExecutionError>,
    /// Which cell of its context it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_count: Option<u64>,
    /// `true` when a run made more than is kept of one: what came after that is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<bool>,
}

/// An event of `execute`, one a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(clippy::large_enum_variant)] // few are there at once, and a box would be one more thing to read
pub enum CodeOutputEvent {
    /// It printed.
    Stdout(CodeOutput),
    /// It printed on standard error.
    Stderr(CodeOutput),
    /// It showed a value.
    Result(ExecutionResult),
    /// It kept something.
    Artifact {
        /// What.
        artifact: CodeArtifact,
    },
    /// It failed.
    Error(ExecutionError),
    /// It ended.
    NumberOfExecutions {
        /// Which cell of its context it was.
        execution_count: u64,
    },
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CodeOutput {
    /// What was printed.
    pub text: String,
    /// When, in Unix milliseconds on the local engine.
    #[serde(default)]
    pub timestamp: i64,
}

/// A cell that runs by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CodeRun {
    /// `run_...`
    pub id: String,
    /// `mch_...`
    pub machine_id: String,
    /// `ctx_...`
    pub context_id: String,
    /// How far it is.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["queued", "running", "succeeded", "failed", "cancelled"])))]
    pub status: String,
    /// Its time limit, seconds.
    pub timeout_secs: u64,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Until when it is remembered.
    pub expires_at: Timestamp,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// When somebody cancelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested_at: Option<Timestamp>,
    /// What it did, once it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Execution>,
    /// Why it failed, as one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
}

/// A page of runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "CodeRunPage")
)]
pub struct CodeRunListResponse {
    /// Newest first.
    pub items: Vec<CodeRun>,
    /// For `cursor` of the next call; absent on the last page.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// A page of artifacts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "CodeArtifactPage")
)]
pub struct CodeArtifactListResponse {
    /// Newest first.
    pub items: Vec<CodeArtifact>,
    /// For `cursor` of the next call; absent on the last page.
    #[serde(default)]
    pub next_cursor: Option<String>,
}
