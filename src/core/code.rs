//! The code interpreter as requests: one verb each. Source: PROTOCOL.md section 8.

use std::time::Duration;

use serde_json::{json, Map, Value as Json};

use super::config;
use super::error::Error;
use super::http;
use super::options::{Fields, Value};
use crate::transport::Decoder;

/// Seconds that a cell may run when the caller does not say, and at most.
const TIMEOUT: (u64, u64) = (300, 24 * 3600);
/// Silence that ends the answer of a cell, at least. Its time comes on top.
const SILENCE: u64 = 300;
/// Functions that hear a cell.
const LISTENERS: [&str; 5] = ["onStdout", "onStderr", "onResult", "onArtifact", "onError"];

/// What is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Name in messages and hooks.
    pub operation: &'static str,
    /// `GET`, `POST`, `DELETE`.
    pub method: &'static str,
    /// Below the machine.
    pub under: String,
    /// JSON text.
    pub body: Option<String>,
    /// How the answer is read.
    pub decoder: Decoder,
    /// As given.
    pub request_timeout: Option<Duration>,
    /// The least time of the HTTP request when the caller said nothing.
    pub least_request_timeout: Duration,
}

/// Reads one call. `argument` is the code, the context, the run or the artifact that it is about.
pub fn request(verb: &str, argument: &Value, options: Option<&Value>) -> Result<Request, Error> {
    let fields = match verb {
        "execute" => config::call_fields(
            options,
            &[&["language", "context", "envs", "timeout"], &LISTENERS[..]].concat(),
        ),
        "createRun" => config::call_fields(options, &["context", "envs", "timeout"]),
        "createContext" => config::call_fields(options, &["cwd", "language"]),
        "listRuns" => config::call_fields(options, &["status", "context", "limit", "cursor"]),
        "listArtifacts" => {
            config::call_fields(options, &["context", "executionCount", "kind", "limit", "cursor"])
        }
        _ => config::call_fields(options, &[]),
    }?;
    let about = |list: &str, what: &str, more: &str| -> Result<String, Error> {
        Ok(format!(
            "/code/{list}/{}{more}",
            http::encode(&named(what, argument)?)
        ))
    };
    let mut least = Duration::ZERO;
    let (operation, method, under, body, decoder) = match verb {
        "execute" => {
            for name in LISTENERS {
                config::function(&fields, name)?;
            }
            let (body, seconds) = cell(&fields, argument)?;
            least = Duration::from_secs(SILENCE + seconds);
            (
                "executeCode",
                "POST",
                "/code/execute".to_owned(),
                Some(body),
                Decoder::Stream,
            )
        }
        "createRun" => {
            let (body, _) = cell(&fields, argument)?;
            if !body.contains_key("context_id") {
                return Err(fields.wrong("context", "is missing: give a code context or its id"));
            }
            (
                "createCodeRun",
                "POST",
                "/code/runs".to_owned(),
                Some(body),
                Decoder::CodeRun,
            )
        }
        "createContext" => {
            let mut body = Map::new();
            for name in ["cwd", "language"] {
                if let Some(text) = fields.filled(name)? {
                    body.insert(name.into(), text.into());
                }
            }
            if body
                .get("cwd")
                .and_then(Json::as_str)
                .is_some_and(|cwd| !cwd.starts_with('/'))
            {
                return Err(fields.wrong("cwd", "must be an absolute directory, such as '/workspace'"));
            }
            (
                "createCodeContext",
                "POST",
                "/code/contexts".to_owned(),
                Some(body),
                Decoder::CodeContext,
            )
        }
        "listContexts" => (
            "listCodeContexts",
            "GET",
            "/code/contexts".to_owned(),
            None,
            Decoder::CodeContextList,
        ),
        "removeContext" => (
            "deleteCodeContext",
            "DELETE",
            about("contexts", "context", "")?,
            None,
            Decoder::Nothing,
        ),
        "restartContext" => (
            "restartCodeContext",
            "POST",
            about("contexts", "context", "/restart")?,
            None,
            Decoder::Nothing,
        ),
        "interruptContext" => (
            "interruptCodeContext",
            "POST",
            about("contexts", "context", "/interrupt")?,
            None,
            Decoder::Nothing,
        ),
        "getRun" => (
            "getCodeRun",
            "GET",
            about("runs", "runId", "")?,
            None,
            Decoder::CodeRun,
        ),
        "cancelRun" => (
            "cancelCodeRun",
            "POST",
            about("runs", "runId", "/cancel")?,
            None,
            Decoder::CodeRun,
        ),
        "listRuns" => {
            let status = fields.choice(
                "status",
                &["queued", "running", "succeeded", "failed", "cancelled"],
            )?;
            let under = page(&fields, "/code/runs", vec![("status", status.map(str::to_owned))])?;
            ("listCodeRuns", "GET", under, None, Decoder::CodeRunPage)
        }
        "listArtifacts" => {
            let kind = fields.choice("kind", &["document", "file", "html", "image"])?;
            let count = fields.integer("executionCount", 1, u64::from(u32::MAX))?;
            let more = vec![
                ("kind", kind.map(str::to_owned)),
                ("execution_count", count.map(|count| count.to_string())),
            ];
            (
                "listCodeArtifacts",
                "GET",
                page(&fields, "/code/artifacts", more)?,
                None,
                Decoder::CodeArtifactPage,
            )
        }
        "getArtifact" => (
            "getCodeArtifact",
            "GET",
            about("artifacts", "artifactId", "")?,
            None,
            Decoder::CodeArtifact,
        ),
        "downloadArtifact" => (
            "downloadCodeArtifact",
            "GET",
            about("artifacts", "artifactId", "/download")?,
            None,
            Decoder::Bytes,
        ),
        "previewArtifact" => (
            "previewCodeArtifact",
            "GET",
            about("artifacts", "artifactId", "/preview")?,
            None,
            Decoder::Bytes,
        ),
        _ => (
            "deleteCodeArtifact",
            "DELETE",
            about("artifacts", "artifactId", "")?,
            None,
            Decoder::Nothing,
        ),
    };
    Ok(Request {
        operation,
        method,
        under,
        body: body.map(|body| Json::Object(body).to_string()),
        decoder,
        request_timeout: fields.seconds("requestTimeout")?,
        least_request_timeout: least,
    })
}

/// Body of a cell, and the seconds that it may take.
fn cell(fields: &Fields<'_>, code: &Value) -> Result<(Map<String, Json>, u64), Error> {
    let Value::Text(code) = code else {
        return Err(Error::option(
            "code",
            &format!("must be a text such as 'print(1)', not {}", code.kind()),
        ));
    };
    let mut body = Map::new();
    body.insert("code".into(), code.as_str().into());
    if let Some(language) = fields.filled("language")? {
        body.insert("language".into(), language.into());
    }
    if let Some(context) = context(fields)? {
        body.insert("context_id".into(), context.into());
    }
    if let Some(envs) = fields.environment("envs")? {
        body.insert("envs".into(), json!(envs));
    }
    let timeout = fields.integer("timeout", 1, TIMEOUT.1)?;
    if let Some(timeout) = timeout {
        body.insert("timeout".into(), timeout.into());
    }
    Ok((body, timeout.unwrap_or(TIMEOUT.0)))
}

fn context(fields: &Fields<'_>) -> Result<Option<String>, Error> {
    fields
        .get("context")
        .map(|value| named("context", value))
        .transpose()
}

/// An id, or something that has one.
fn named(what: &str, value: &Value) -> Result<String, Error> {
    let text = match value {
        Value::Object(inner) => inner.iter().find(|(key, _)| key == "id").map(|(_, id)| id),
        other => Some(other),
    };
    match text {
        Some(Value::Text(id)) if !id.trim().is_empty() => Ok(id.clone()),
        _ => Err(Error::option(what, "must be an id, or an object with one")),
    }
}

fn page(
    fields: &Fields<'_>,
    path: &str,
    mut more: Vec<(&'static str, Option<String>)>,
) -> Result<String, Error> {
    more.push(("context_id", context(fields)?));
    more.push((
        "limit",
        fields.integer("limit", 1, 1000)?.map(|limit| limit.to_string()),
    ));
    more.push(("cursor", fields.filled("cursor")?.map(str::to_owned)));
    let query: Vec<(&str, String)> = more
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    Ok(if query.is_empty() {
        path.to_owned()
    } else {
        http::with_query(path, &query)
    })
}
