//! The code interpreter of a machine. Source: PROTOCOL.md section 8.

use std::time::Duration;

use nullspace_wire::api;
use nullspace_wire::limits::{Range, CODE_SECS, DEFAULT_CODE_SECS};
use serde_json::Value as Json;

use super::kinds::reference;
use super::{by, count, envs, filled, function, int, one_of, Field, Operation};
use crate::core::error::Error;
use crate::core::options::{self, Value};

/// Silence that ends the answer of a cell, at least. Its time comes on top.
const SILENCE: Duration = Duration::from_secs(300);

const CODE: &[Field] = &[by("code", code).required()];
const CONTEXT: &[Field] = &[by("context", reference).wire("context_id")];
const CELL: &[Field] = &[envs("envs"), int("timeout", CODE_SECS)];
const LISTENERS: &[Field] = &[
    function("onStdout"),
    function("onStderr"),
    function("onResult"),
    function("onArtifact"),
    function("onError"),
];
const PAGE: &[Field] = &[
    by("context", reference).wire("context_id").in_query(),
    int("limit", Range { min: 1, max: 1000 }).in_query(),
    filled("cursor").in_query(),
];
const OF_CONTEXT: &[Field] = &[by("context", reference).in_path().required()];
const OF_RUN: &[Field] = &[by("runId", reference).in_path().required()];
const OF_ARTIFACT: &[Field] = &[by("artifactId", reference).in_path().required()];

/// Runs a cell: a stream of events.
pub static EXECUTE: Operation = Operation::on(&api::EXECUTE_CODE)
    .args(CODE)
    .options(&[LISTENERS, &[filled("language")], CONTEXT, CELL])
    .rules(|_, request| {
        let seconds = request.body.get("timeout").and_then(Json::as_u64);
        request.least = SILENCE + Duration::from_secs(seconds.unwrap_or(DEFAULT_CODE_SECS));
        Ok(())
    });

/// Begins a run that goes on without a listener.
pub static CREATE_RUN: Operation = Operation::on(&api::CREATE_CODE_RUN).args(CODE).options(&[
    &[by("context", reference)
        .wire("context_id")
        .needed("is missing: give a code context or its id")],
    CELL,
]);

/// Makes a context: variables that several cells share.
pub static CREATE_CONTEXT: Operation =
    Operation::on(&api::CREATE_CODE_CONTEXT).options(&[&[by("cwd", directory), filled("language")]]);

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
pub static LIST_RUNS: Operation = Operation::on(&api::LIST_CODE_RUNS).options(&[
    &[one_of(
        "status",
        &["queued", "running", "succeeded", "failed", "cancelled"],
    )
    .in_query()],
    PAGE,
]);

/// What cells left behind, a page.
pub static LIST_ARTIFACTS: Operation = Operation::on(&api::LIST_CODE_ARTIFACTS).options(&[
    &[
        one_of("kind", &["document", "file", "html", "image"]).in_query(),
        int("executionCount", count(1)).in_query(),
    ],
    PAGE,
]);

/// Describes an artifact.
pub static GET_ARTIFACT: Operation = Operation::on(&api::GET_CODE_ARTIFACT).args(OF_ARTIFACT);

/// Its bytes.
pub static DOWNLOAD_ARTIFACT: Operation = Operation::on(&api::DOWNLOAD_CODE_ARTIFACT).args(OF_ARTIFACT);

/// Its bytes in a form to look at.
pub static PREVIEW_ARTIFACT: Operation = Operation::on(&api::PREVIEW_CODE_ARTIFACT).args(OF_ARTIFACT);

/// Deletes an artifact.
pub static DELETE_ARTIFACT: Operation = Operation::on(&api::DELETE_CODE_ARTIFACT).args(OF_ARTIFACT);

fn code(name: &str, value: &Value) -> Result<Json, Error> {
    match value {
        Value::Text(code) => Ok(code.as_str().into()),
        other => Err(Error::option(
            name,
            &format!("must be a text such as 'print(1)', not {}", other.kind()),
        )),
    }
}

fn directory(name: &str, value: &Value) -> Result<Json, Error> {
    let cwd = options::filled(name, value)?;
    match cwd.starts_with('/') {
        true => Ok(cwd.into()),
        false => Err(Error::option(
            name,
            "must be an absolute directory, such as '/workspace'",
        )),
    }
}
