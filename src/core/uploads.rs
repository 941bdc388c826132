//! Uploads as options, and their plan. Source: PROTOCOL.md section 5, "Uploads".

use std::time::Duration;

use super::config;
use super::error::Error;
use super::files;
use super::options::Value;
use super::shown::options;
use super::value::json;

/// Larger files go in parts: 8 MiB.
const DIRECT_LIMIT: f64 = (8_u64 << 20) as f64;
/// Times that a call of a session is sent again.
pub const RETRIES: u32 = 5;

/// What is uploaded, as JavaScript found it.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Its own name, for a destination that is a directory.
    pub name: Option<String>,
    /// Its own permissions, octal, where a file has them.
    pub mode: Option<String>,
    /// Bytes; unknown for a stream.
    pub size: Option<f64>,
    /// A directory, as an archive.
    pub directory: bool,
}

/// Options of an upload, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Where it goes.
    pub target: files::Target,
    /// Whose rights count.
    pub user: Option<String>,
    /// What happens to what is there.
    pub conflict: &'static str,
    /// In parts.
    pub parts: bool,
    /// The digest of the whole is wanted too.
    pub whole_checksum: bool,
    /// Parts at once.
    pub concurrency: u32,
    /// Of each request.
    pub request_timeout: Option<Duration>,
}

options! {
    /// Options of {@link Files.resumeUpload}.
    const RESUME = ResumeUploadOptions: "CallOptions" {
        /// Parts at once, at most what the server allows. @default 4
        maxConcurrency: "number";
        /// Patterns of what a directory leaves out; the same as when it was begun. @default none
        ignore: "readonly string[]";
        /// Told at each step. What it throws ends the upload.
        onProgress: "(progress: UploadProgress) => void";
    }

    /// Options of {@link Files.upload}.
    const UPLOAD = UploadOptions: "ResumeUploadOptions" {
        /// Name of a user in the machine, who will own it. @default root
        user: "string";
        /// Of a single file; directories keep those of their files.
        ///
        /// @default those of the uploaded file in Node, Deno and Bun, 0o644 of what has none
        mode: "FileMode";
        /// What happens to what is there: `merge` joins directories and replaces files, `replace` replaces all of it, `error` fails.
        ///
        /// @default 'replace' for files, 'merge' for directories
        /// @throws {@link UploadConflictError}
        conflict: "'merge' | 'replace' | 'error'";
        /// In parts that can be resumed. @default 'auto': above 8 MiB, and always for directories
        resumable: "boolean | 'auto'";
        /// `sha256` checks the whole too, which is read twice then. @default 'auto': each part
        checksum: "'auto' | 'sha256'";
    }
}

/// Reads the options of `upload`.
pub fn plan(source: &Source, path: &Value, options: Option<&Value>) -> Result<Plan, Error> {
    let fields = config::call_fields(options, &[&UPLOAD[..], &RESUME].concat())?;
    config::function(&fields, "onProgress")?;
    fields.texts("ignore")?;
    let mut path = files::path("path", path)?;
    if path.ends_with('/') && !source.directory {
        let name = source.name.as_deref().filter(|name| !name.is_empty());
        path.push_str(name.ok_or_else(|| {
            Error::option(
                "path",
                "ends with a slash, and the source has no name: give the whole path",
            )
        })?);
    }
    let mode = files::mode(&fields)?;
    if source.directory && mode.is_some() {
        return Err(fields.wrong(
            "mode",
            "is for a single file: a directory keeps the permissions of its files",
        ));
    }
    let target = files::Target {
        path,
        mode: mode.or_else(|| source.mode.clone()),
    };
    let conflict = match fields.choice("conflict", &["merge", "replace", "error"])? {
        Some("merge") => "merge",
        Some("error") => "error",
        Some(_) => "replace",
        None if source.directory => "merge",
        None => "replace",
    };
    let resumable = match fields.get("resumable") {
        Some(Value::Text(text)) if text == "auto" => None,
        Some(Value::Bool(flag)) => Some(*flag),
        None => None,
        Some(_) => return Err(fields.wrong("resumable", "must be true, false or 'auto'")),
    };
    let whole_checksum = fields.choice("checksum", &["auto", "sha256"])? == Some("sha256");
    // A direct upload can neither resume nor refuse what is there.
    let needs = source.directory || whole_checksum || conflict == "error";
    let parts = match (resumable, source.size) {
        (Some(true), None) => {
            return Err(fields.wrong(
                "resumable",
                "needs a source whose size is known: a stream goes as a whole",
            ))
        }
        (_, None) if needs => return Err(Error::invalid_request(
            "`checksum: 'sha256'` and `conflict: 'error'` need a source whose size is known, such as a Blob",
        )),
        (_, None) => false,
        (Some(flag), Some(_)) => flag || needs,
        (None, Some(size)) => needs || size > DIRECT_LIMIT,
    };
    Ok(Plan {
        target,
        user: files::Common::of(&fields)?.user,
        conflict,
        parts,
        whole_checksum,
        concurrency: fields.integer("maxConcurrency", 1, 64)?.unwrap_or(4) as u32,
        request_timeout: fields.seconds("requestTimeout")?,
    })
}

/// Reads the options of `resumeUpload`.
pub fn resumed(options: Option<&Value>) -> Result<(u32, Option<Duration>), Error> {
    let fields = config::call_fields(options, &RESUME)?;
    config::function(&fields, "onProgress")?;
    fields.texts("ignore")?;
    Ok((
        fields.integer("maxConcurrency", 1, 64)?.unwrap_or(4) as u32,
        fields.seconds("requestTimeout")?,
    ))
}

/// The body that begins a session.
pub fn create(plan: &Plan, source: &Source, size: f64, checksum: Option<&str>) -> String {
    let mut body = json!({
        "kind": if source.directory { "directory_tar" } else { "file" },
        "source_kind": if source.directory { "directory_archive" } else { "restartable_file" },
        "target_path": &plan.target.path,
        "content_length": size as u64,
        "conflict": plan.conflict,
        "archive_format": source.directory.then_some("tar"),
        "checksum_algorithm": "sha256",
        "whole_checksum_sha256": checksum,
        "metadata": json!({}),
    });
    body.put_given("user", plan.user.as_deref());
    body.put_given("mode", plan.target.mode.as_deref());
    body.to_json()
}

/// Pause before the n-th repeat, counted from 0.
pub fn delay(repeat: u32) -> Duration {
    Duration::from_millis((250_u64 << repeat.min(4)).min(4000))
}
