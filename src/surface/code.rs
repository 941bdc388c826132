//! The code interpreter of a machine. Source: PROTOCOL.md section 8.

use std::time::Duration;

use nullspace_wire::api;
use nullspace_wire::limits::{Range, CODE_SECS, DEFAULT_CODE_SECS};

use super::kinds::reference;
use super::{by, count, envs, fields, filled, function, int, one_of, Field, Operation};
use crate::core::error::Error;
use crate::core::options::{self, Value};

/// Silence that ends the answer of a cell, at least. Its time comes on top.
const SILENCE: Duration = Duration::from_secs(300);

const CODE: &[Field] = &[by("code", code).required()];
/// Type of `context`.
const CONTEXT_OR_ID: &str = "CodeContext | string";
/// Type of `language`: a server may know others.
const LANGUAGES: &str = "'python' | 'javascript' | 'bash' | (string & {})";
const CELL: &[Field] = fields![
    /// Environment variables, for this cell alone. @default none
    envs("envs"),
    /// Seconds that the cell may run, {range}. @default {default}
    int("timeout", CODE_SECS).by_default(DEFAULT_CODE_SECS),
];
const LISTENERS: &[Field] = fields![
    /// Called with standard output as it comes. The cell waits for the promise that it returns. @default none
    function("onStdout").typed("(output: CodeOutput) => unknown"),
    /// Called with standard error as it comes. @default none
    function("onStderr").typed("(output: CodeOutput) => unknown"),
    /// Called with each value that the cell shows. @default none
    function("onResult").typed("(result: ExecutionResult) => unknown"),
    /// Called with each artifact that the cell keeps. @default none
    function("onArtifact").typed("(artifact: CodeArtifact) => unknown"),
    /// Called with the error when the cell fails. @default none
    function("onError").typed("(error: ExecutionError) => unknown"),
];
const PAGE: &[Field] = fields![
    /// Only those of this context. @default all
    by("context", reference).wire("context_id").in_query().typed(CONTEXT_OR_ID),
    /// Most of a page, {range}. @default the server's, 50 on the local engine
    int("limit", Range { min: 1, max: 1000 }).in_query(),
    /// `nextCursor` of the page before. @default the beginning
    filled("cursor").in_query(),
];
const OF_CONTEXT: &[Field] = &[by("context", reference).in_path().required()];
const OF_RUN: &[Field] = &[by("runId", reference).in_path().required()];
const OF_ARTIFACT: &[Field] = &[by("artifactId", reference).in_path().required()];

/// Runs a cell: a stream of events.
pub static EXECUTE: Operation = Operation::on(&api::EXECUTE_CODE)
    .args(CODE)
    .options(&[
        fields![
            /// Language of the code. @default python
            filled("language").typed(LANGUAGES),
            /// A context or its id; goes before `language`. @default one that all cells of the language share
            by("context", reference).wire("context_id").typed(CONTEXT_OR_ID),
        ],
        CELL,
        LISTENERS,
    ])
    .shown(
        "RunCodeOptions",
        &["CallOptions"],
        "Options of {@link CodeInterpreter.runCode}.",
    )
    .rules(|_, request| {
        let seconds = request.body.get("timeout").and_then(Value::as_u64);
        request.least = SILENCE + Duration::from_secs(seconds.unwrap_or(DEFAULT_CODE_SECS));
        Ok(())
    });

/// Begins a run that goes on without a listener.
pub static CREATE_RUN: Operation = Operation::on(&api::CREATE_CODE_RUN)
    .args(CODE)
    .options(&[
        fields![
            /// A context or its id.
            by("context", reference)
                .wire("context_id")
                .typed(CONTEXT_OR_ID)
                .needed("is missing: give a code context or its id"),
        ],
        CELL,
    ])
    .shown(
        "CreateCodeRunOptions",
        &["CallOptions"],
        "Options of {@link CodeInterpreter.createRun}.",
    );

/// Makes a context: variables that several cells share.
pub static CREATE_CONTEXT: Operation = Operation::on(&api::CREATE_CODE_CONTEXT)
    .options(&[fields![
        /// Language of the cells. @default python
        filled("language").typed(LANGUAGES),
        /// An absolute directory that exists. @default that of the machine
        by("cwd", directory).typed("string"),
    ]])
    .shown(
        "CreateCodeContextOptions",
        &["CallOptions"],
        "Options of {@link CodeInterpreter.createCodeContext}.",
    );

/// All contexts.
pub static LIST_CONTEXTS: Operation = Operation::on(&api::LIST_CODE_CONTEXTS);

/// Ends a context.
pub static REMOVE_CONTEXT: Operation = Operation::on(&api::DELETE_CODE_CONTEXT).args(OF_CONTEXT);

/// Forgets what it holds.
pub static RESTART_CONTEXT: Operation = Operation::on(&api::RESTART_CODE_CONTEXT).args(OF_CONTEXT);

/// Interrupts its cell.
pub static INTERRUPT_CONTEXT: Operation = Operation::on(&api::INTERRUPT_CODE_CONTEXT).args(OF_CONTEXT);

/// Describes a run.
pub static GET_RUN: Operation = Operation::on(&api::GET_CODE_RUN).args(OF_RUN);

/// Ends a run.
pub static CANCEL_RUN: Operation = Operation::on(&api::CANCEL_CODE_RUN).args(OF_RUN);

/// Runs, a page.
pub static LIST_RUNS: Operation = Operation::on(&api::LIST_CODE_RUNS)
    .options(&[
        fields![
            /// Only runs with this status. @default all
            one_of("status", &["queued", "running", "succeeded", "failed", "cancelled"]).in_query(),
        ],
        PAGE,
    ])
    .shown(
        "ListCodeRunsOptions",
        &["CallOptions"],
        "Options of {@link CodeInterpreter.listRuns}.",
    );

/// What cells left behind, a page.
pub static LIST_ARTIFACTS: Operation = Operation::on(&api::LIST_CODE_ARTIFACTS)
    .options(&[
        fields![
            /// Only artifacts of this kind. @default all
            one_of("kind", &["image", "html", "document", "file"]).in_query(),
            /// Only artifacts of this cell of the context, counted from 1. @default all
            int("executionCount", count(1)).in_query(),
        ],
        PAGE,
    ])
    .shown(
        "ListArtifactsOptions",
        &["CallOptions"],
        "Options of {@link CodeInterpreter.listArtifacts}.",
    );

/// Describes an artifact.
pub static GET_ARTIFACT: Operation = Operation::on(&api::GET_CODE_ARTIFACT).args(OF_ARTIFACT);

/// Its bytes.
pub static DOWNLOAD_ARTIFACT: Operation = Operation::on(&api::DOWNLOAD_CODE_ARTIFACT).args(OF_ARTIFACT);

/// Its bytes in a form to look at.
pub static PREVIEW_ARTIFACT: Operation = Operation::on(&api::PREVIEW_CODE_ARTIFACT).args(OF_ARTIFACT);

/// Deletes an artifact.
pub static DELETE_ARTIFACT: Operation = Operation::on(&api::DELETE_CODE_ARTIFACT).args(OF_ARTIFACT);

fn code(name: &str, value: &Value) -> Result<Value, Error> {
    match value {
        Value::Text(code) => Ok(code.as_str().into()),
        other => Err(Error::option(
            name,
            &format!("must be a text such as 'print(1)', not {}", other.kind()),
        )),
    }
}

fn directory(name: &str, value: &Value) -> Result<Value, Error> {
    let cwd = options::filled(name, value)?;
    match cwd.starts_with('/') {
        true => Ok(cwd.into()),
        false => Err(Error::option(
            name,
            "must be an absolute directory, such as '/workspace'",
        )),
    }
}
