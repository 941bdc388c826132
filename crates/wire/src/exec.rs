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

/// Answer of a foreground command; non-zero exit codes are no error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExecResponse {
    /// 128 + n when signal n ended it.
    pub exit_code: i32,
    /// Text; bytes that are not UTF-8 become U+FFFD.
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
    /// `true` when the output is not whole. The text that is there is as it was printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<bool>,
    /// Bytes of standard output that are missing: its end for a foreground command, its beginning for a background one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_stdout_bytes: Option<u64>,
    /// The same for standard error.
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

/// A process that the API started. No other key may be sent.
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

/// Output of a process so far. Readable after its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcessLogs {
    /// Text.
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

/// A terminal whose shell runs.
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
