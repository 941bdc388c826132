//! `/v1/machines/{id}/exec` and `/processes`.

use axum::extract::{Path, State};
use axum::http::{header, HeaderMap, StatusCode};
use nullspace_wire::api;
use nullspace_wire::exec::{BackgroundExecResponse, ExecRequest, StdinRequest};
use nullspace_wire::limits::DEFAULT_COMMAND_SECS;

use super::body::Body;
use super::exec_socket::typed;
use super::reply::{json, nothing, Answer};
use super::routes::Routes;
use super::Shared;
use crate::machine::Error;

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new()
        .on(&api::EXEC_COMMAND, exec)
        .on(&api::LIST_PROCESSES, list)
        .on(&api::GET_PROCESS_LOGS, logs)
        .on(&api::SEND_STDIN, stdin)
        .on(&api::KILL_PROCESS, kill)
}

/// A pid in a path.
fn pid(text: &str) -> Result<u32, Error> {
    text.parse()
        .map_err(|_| Error::invalid("pid", format_args!("is {text:?}: give a process id such as 42")))
}

async fn exec(
    State(engine): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body<ExecRequest>,
) -> Answer {
    let mut request = body.value;
    if request.background.unwrap_or(false) {
        request.timeout_secs = asked(request.timeout_secs, &headers);
        let pid = engine.exec_background(&id, request).await?;
        return Ok(json(StatusCode::OK, &BackgroundExecResponse { pid }));
    }
    Ok(json(StatusCode::OK, &engine.exec(&id, request).await?))
}

/// The time limit of a command in the background. The Python SDK sends its default also when nobody asked for one, and
/// a server must not end after 30 s for that. Source of its name: PROTOCOL.md, headers.
fn asked(seconds: Option<u64>, headers: &HeaderMap) -> Option<u64> {
    let agent = headers.get(header::USER_AGENT);
    let is_python = agent.is_some_and(|agent| agent.as_bytes().starts_with(b"python-httpx/"));
    seconds.filter(|seconds| !(is_python && *seconds == DEFAULT_COMMAND_SECS))
}

async fn list(State(engine): Shared, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &engine.list_processes(&id).await?))
}

async fn logs(State(engine): Shared, Path((id, process)): Path<(String, String)>) -> Answer {
    Ok(json(
        StatusCode::OK,
        &engine.process_logs(&id, pid(&process)?).await?,
    ))
}

async fn stdin(
    State(engine): Shared,
    Path((id, process)): Path<(String, String)>,
    body: Body<StdinRequest>,
) -> Answer {
    let StdinRequest { data, data_base64 } = body.value;
    if data.is_some() == data_base64.is_some() {
        return Err(Error::invalid("data", "or `data_base64` is needed: give exactly one of them").into());
    }
    let bytes = typed(&data.unwrap_or_default(), data_base64.as_deref())?;
    engine.write_stdin(&id, pid(&process)?, &bytes).await?;
    Ok(nothing())
}

async fn kill(State(engine): Shared, Path((id, process)): Path<(String, String)>) -> Answer {
    engine.kill_process(&id, pid(&process)?).await?;
    Ok(nothing())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_of_the_python_sdk_is_no_limit_in_the_background() {
        let of = |agent: &'static str| HeaderMap::from_iter([(header::USER_AGENT, agent.parse().unwrap())]);
        for (seconds, headers, wanted) in [
            (Some(30), of("python-httpx/0.28.1"), None),
            (Some(31), of("python-httpx/0.28.1"), Some(31)),
            (None, of("python-httpx/0.28.1"), None),
            (Some(30), of("node"), Some(30)),
            (Some(30), HeaderMap::new(), Some(30)),
        ] {
            assert_eq!(asked(seconds, &headers), wanted, "{seconds:?} {headers:?}");
        }
    }
}
