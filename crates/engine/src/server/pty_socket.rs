//! `GET /v1/machines/{id}/ws?channel=pty`: one terminal a socket. Source: PROTOCOL.md section 6.
//!
//! The terminal outlives the socket; another one can be attached by session id.

use std::sync::Arc;
use std::time::Duration;

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use nullspace_wire::Envs;
use serde_json::{json, Value};

use super::exec_socket::unexpected;
use super::socket::{text, Gone, Socket};
use crate::machine::commands::exec::Streamed;
use crate::machine::commands::output::TextDecoder;
use crate::machine::commands::terminals::{size, Terminal, Which};
use crate::machine::{Engine, Error};

/// Size when the client does not say. Source: schema, RuntimeWsPtyStart.
const DEFAULT_COLS: u64 = 120;
const DEFAULT_ROWS: u64 = 30;
/// How long a terminal may take no input.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the end of a shell may take to be known.
const ENDING: Duration = Duration::from_secs(1);

/// Serves one socket.
pub async fn run(mut socket: Socket, engine: Arc<Engine>, machine: String) {
    let closing = engine.closing().clone();
    let session = async {
        let (id, terminal, streamed) = begin(&mut socket, &engine, &machine).await?;
        stream(&mut socket, &engine, &id, terminal, streamed).await
    };
    let is_closing = tokio::select! {
        _ = session => false,
        () = closing.cancelled() => true,
    };
    if is_closing {
        socket.close_going_away().await;
    } else {
        socket.close().await;
    }
}

async fn begin(
    socket: &mut Socket,
    engine: &Arc<Engine>,
    machine: &str,
) -> Result<(String, Terminal, Streamed), Gone> {
    loop {
        let frame = socket.next().await?;
        let id = text(&frame, "id").to_owned();
        let begun = match text(&frame, "type") {
            "pty_start" => start(engine, machine, &frame).await,
            "pty_connect" => attach(engine, machine, &frame).await,
            other => Err(unexpected(other, "pty_start or pty_connect")),
        };
        match begun {
            Ok((terminal, streamed)) => {
                let mut started = serde_json::to_value(terminal.info()).map_err(|_| Gone)?;
                started["type"] = "pty_started".into();
                started["id"] = id.clone().into();
                socket.send(&started).await?;
                return Ok((id, terminal, streamed));
            }
            Err(error) => socket.refuse(&id, &error).await?,
        }
    }
}

async fn start(engine: &Arc<Engine>, machine: &str, frame: &Value) -> Result<(Terminal, Streamed), Error> {
    let side = |field: &str, default| match &frame[field] {
        Value::Null => Ok(default),
        value => value
            .as_u64()
            .ok_or_else(|| Error::invalid(field, format_args!("is wrong: give one such as {default}"))),
    };
    let size = size(side("cols", DEFAULT_COLS)?, side("rows", DEFAULT_ROWS)?)?;
    let envs: Option<Envs> = serde_json::from_value(frame["envs"].clone()).map_err(|_| {
        Error::invalid(
            "envs",
            "is wrong: give names and texts such as {\"NAME\": \"value\"}",
        )
    })?;
    let cwd = frame["cwd"].as_str().map(str::to_owned);
    engine
        .open_terminal(machine, size, cwd, envs.unwrap_or_default())
        .await
}

async fn attach(engine: &Arc<Engine>, machine: &str, frame: &Value) -> Result<(Terminal, Streamed), Error> {
    let pid = frame["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    let which = match (frame["session_id"].as_str(), pid) {
        (Some(session), None) => Which::Session(session.to_owned()),
        (None, Some(pid)) => Which::Pid(pid),
        _ => {
            return Err(Error::invalid(
                "session_id",
                "or `pid` is needed: give exactly one of them",
            ))
        }
    };
    engine.attach_terminal(machine, &which).await
}

async fn stream(
    socket: &mut Socket,
    engine: &Arc<Engine>,
    id: &str,
    terminal: Terminal,
    mut streamed: Streamed,
) -> Result<(), Gone> {
    let session = terminal.id.clone();
    let which = Which::Session(session.clone());
    let machine = streamed.machine.id.clone();
    let mut decoder = TextDecoder::default();
    loop {
        tokio::select! {
            chunk = streamed.output.recv() => {
                let Some((_, bytes)) = chunk else { break };
                let frame = json!({
                    "type": "pty_output", "id": id, "session_id": session,
                    "data": decoder.push(&bytes), "data_base64": STANDARD.encode(&bytes),
                });
                socket.send(&frame).await?;
            }
            frame = socket.next() => {
                let frame = frame?;
                let done = match text(&frame, "type") {
                    "pty_input" => write(&terminal, &frame).await,
                    "pty_resize" => resize(engine, &machine, &which, &frame).await,
                    "pty_kill" => engine.kill_terminal(&machine, &which).await,
                    other => Err(unexpected(other, "pty_input, pty_resize or pty_kill")),
                };
                // What comes for a shell that has ended is nobody's loss: its exit code follows.
                if let Some(error) = done.err().filter(|_| terminal.command.ended().is_none()) {
                    socket.refuse(id, &error).await?;
                }
            }
        }
    }
    let exit_code = terminal.command.end().await.code();
    let exited = json!({ "type": "pty_exited", "id": id, "session_id": session, "exit_code": exit_code });
    socket.send(&exited).await
}

/// Writes to the terminal. Its line discipline takes input whether or not the shell reads, so this does not block
/// for long; what it cannot take after a while is refused.
async fn write(terminal: &Terminal, frame: &Value) -> Result<(), Error> {
    let bytes = match (frame["data_base64"].as_str(), frame["data"].as_str()) {
        (Some(encoded), None) => STANDARD
            .decode(encoded)
            .map_err(|_| Error::invalid("data_base64", "is no base64: give one such as \"bHMK\""))?,
        (None, Some(text)) => text.as_bytes().to_vec(),
        _ => {
            return Err(Error::invalid(
                "data",
                "or `data_base64` is needed: give exactly one of them",
            ))
        }
    };
    let written = tokio::time::timeout(PATIENCE, terminal.command.write(&bytes)).await;
    if matches!(written, Ok(Ok(true))) {
        return Ok(());
    }
    // A shell lets go of its terminal a moment before it has ended.
    let ended = tokio::time::timeout(ENDING, terminal.command.end()).await;
    ended
        .map(drop)
        .map_err(|_| Error::new(crate::machine::Kind::Conflict, "the terminal does not take input"))
}

async fn resize(engine: &Arc<Engine>, machine: &str, which: &Which, frame: &Value) -> Result<(), Error> {
    let side = |field: &str| frame[field].as_u64().unwrap_or(0);
    engine
        .resize_terminal(machine, which, size(side("cols"), side("rows"))?)
        .await
}
