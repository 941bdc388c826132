//! `/v1/machines/{id}/exec` and `/processes`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use nullspace_wire::api;
use nullspace_wire::exec::{BackgroundExecResponse, ExecRequest, StdinRequest};

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

async fn exec(State(engine): Shared, Path(id): Path<String>, body: Body<ExecRequest>) -> Answer {
    if body.value.background.unwrap_or(false) {
        let pid = engine.exec_background(&id, body.value).await?;
        return Ok(json(StatusCode::OK, &BackgroundExecResponse { pid }));
    }
    Ok(json(StatusCode::OK, &engine.exec(&id, body.value).await?))
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
