//! Commands and processes. Source: PROTOCOL.md section 4.

use serde::{Deserialize, Serialize};

use crate::Envs;

/// Body of `POST /v1/machines/{id}/exec`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExecRequest {
    /// Program, or shell text when `shell` is true.
    pub command: String,
    /// Exact arguments; excludes `shell`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Seconds, at least 1; default 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u64>,
    /// Working directory; default the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Added to the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envs: Option<Envs>,
    /// Run through the shell; default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<bool>,
    /// Answer with the pid at once; default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<bool>,
    /// How frames of a socket carry output. Source: PROTOCOL.md section 14; not in the published API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
}

/// See [`ExecRequest::encoding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As text, with `data_base64` beside what is no UTF-8.
    Text,
    /// All of it as `data_base64`, as it came; `data` is empty.
    Base64,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "CommandResult")
)]
pub struct ExecResponse {
    /// 128 + n when signal n ended it. Not zero is no error.
    pub exit_code: i32,
    /// Text; bytes that are no UTF-8 become U+FFFD.
    pub stdout: String,
    /// Text.
    pub stderr: String,
    /// Process id inside the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// What is missing from the output.
    #[serde(flatten)]
    pub dropped: Dropped,
}

/// What is missing from an output that was too long to keep. Without keys when it is whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Dropped {
    /// `true` when output is missing; what is there is as it was printed. Of a result a local engine keeps 32 MiB of each stream, the
    /// SDK 8 MiB of one that callbacks hear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<bool>,
    /// Bytes of `stdout` that are missing, where the server says so: at the end of a result, at the beginning of logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_stdout_bytes: Option<u64>,
    /// Bytes of `stderr` that are missing, where the server says so: at the end of a result, at the beginning of logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_stderr_bytes: Option<u64>,
}

impl Dropped {
    /// So many bytes of each stream.
    pub fn of(stdout: u64, stderr: u64) -> Self {
        match (stdout, stderr) {
            (0, 0) => Self::default(),
            _ => Self {
                truncated: Some(true),
                dropped_stdout_bytes: Some(stdout),
                dropped_stderr_bytes: Some(stderr),
            },
        }
    }
}

/// Answer of a background command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BackgroundExecResponse {
    /// Process id inside the machine.
    pub pid: u32,
}

/// A process that the API started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcessInfo {
    /// Process id inside the machine.
    pub pid: u32,
    /// As given.
    pub command: String,
    /// Whether it has not ended.
    pub running: bool,
}

/// Output of a process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "CommandLogs")
)]
pub struct ProcessLogs {
    /// Text, as in a result.
    pub stdout: String,
    /// Text.
    pub stderr: String,
    /// Both, interleaved as they came.
    pub output: String,
    /// Absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// What is missing from the output.
    #[serde(flatten)]
    pub dropped: Dropped,
}

/// Body of `POST .../processes/{pid}/stdin`: exactly one of the two.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StdinRequest {
    /// Text to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Bytes to write, as base64. Source: PROTOCOL.md section 14; not in the published API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
}

/// A terminal that is open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PtySessionInfo {
    /// `pty_...`
    pub session_id: String,
    /// Process id of the shell inside the machine.
    pub pid: u32,
    /// Characters a line.
    pub cols: u32,
    /// Lines.
    pub rows: u32,
    /// Names the command behind it.
    pub exec_id: String,
}

/// Body of `POST .../pty/{sid}/resize`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ResizeRequest {
    /// Characters a line, 1 to 65535.
    pub cols: u32,
    /// Lines, 1 to 65535.
    pub rows: u32,
}
