//! `GET /v1/machines/{id}/ws?channel=exec`: one command a socket, its output as it comes.
//!
//! Source: PROTOCOL.md section 4. The command outlives the socket. A client that does not keep up slows the command
//! down; nothing is dropped and nothing grows.

use std::sync::Arc;

use base64::prelude::{Engine as _, BASE64_STANDARD};
use nullspace_wire::exec::{Encoding, ExecRequest};
use serde_json::{json, Value};
use tokio::sync::mpsc;

use super::socket::{text, Gone, Socket};
use crate::machine::commands::exec::{timed_out, Streamed};
use crate::machine::commands::output::{Piece, Stream, TextDecoder};
use crate::machine::commands::processes::{Chunk, Command, End};
use crate::machine::{Engine, Error, Kind};

/// Writes to standard input that may wait; then the socket is not read until the command reads.
const WAITING_INPUT: usize = 16;

/// What to do with standard input, in order.
enum Input {
    Data(Vec<u8>),
    Close,
}

/// Both streams as text, or as they come.
#[derive(Default)]
struct Decoders {
    stdout: TextDecoder,
    stderr: TextDecoder,
    is_raw: bool,
}

/// Serves one socket.
pub async fn run(mut socket: Socket, engine: Arc<Engine>, machine: String) {
    let closing = engine.closing().clone();
    let session = async {
        let (id, streamed, encoding) = begin(&mut socket, &engine, &machine).await?;
        stream(&mut socket, &engine, &id, streamed, encoding).await
    };
    let is_closing = tokio::select! {
        // What became of the client changes nothing: the command goes on.
        _ = session => false,
        () = closing.cancelled() => true,
    };
    if is_closing {
        socket.close_going_away().await;
    } else {
        socket.close().await;
    }
}

/// Reads frames until one starts or finds a command.
async fn begin(
    socket: &mut Socket,
    engine: &Arc<Engine>,
    machine: &str,
) -> Result<(String, Streamed, Option<Encoding>), Gone> {
    loop {
        let frame = socket.next().await?;
        let id = text(&frame, "id").to_owned();
        let begun = match text(&frame, "type") {
            "exec_start" => start(engine, machine, frame).await,
            "exec_connect" => attach(engine, machine, &frame)
                .await
                .map(|streamed| (streamed, None)),
            other => Err(unexpected(other, "exec_start or exec_connect")),
        };
        match begun {
            Ok((streamed, encoding)) => {
                let started = json!({ "type": "exec_started", "id": id, "pid": streamed.command.pid });
                socket.send(&started).await?;
                return Ok((id, streamed, encoding));
            }
            Err(error) => socket.refuse(&id, &error).await?,
        }
    }
}

async fn start(
    engine: &Arc<Engine>,
    machine: &str,
    frame: Value,
) -> Result<(Streamed, Option<Encoding>), Error> {
    let request: ExecRequest = serde_path_to_error::deserialize(frame)
        .map_err(|e| Error::invalid(&e.path().to_string(), format_args!("is wrong: {}", e.inner())))?;
    let encoding = request.encoding;
    Ok((engine.exec_streamed(machine, request).await?, encoding))
}

async fn attach(engine: &Arc<Engine>, machine: &str, frame: &Value) -> Result<Streamed, Error> {
    let pid = frame["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    let pid = pid.ok_or_else(|| Error::invalid("pid", "is no process id: give one such as 42"))?;
    engine.exec_attached(machine, pid).await
}

/// An error for a frame that has no place here.
pub fn unexpected(kind: &str, wanted: &str) -> Error {
    Error::new(
        Kind::InvalidRequest,
        format!("a frame of type {kind:?} was not expected: send {wanted}"),
    )
}

async fn stream(
    socket: &mut Socket,
    engine: &Arc<Engine>,
    id: &str,
    mut streamed: Streamed,
    encoding: Option<Encoding>,
) -> Result<(), Gone> {
    let (command, machine) = (streamed.command.clone(), streamed.machine.clone());
    // A command that does not read its input must not keep its output from being read.
    let (input, waiting) = mpsc::channel(WAITING_INPUT);
    tokio::spawn(feed(command.clone(), waiting));
    let mut decoders = Decoders {
        is_raw: encoding == Some(Encoding::Base64),
        ..Decoders::default()
    };
    loop {
        tokio::select! {
            chunk = streamed.output.recv() => match chunk {
                Some(chunk) => print(socket, id, command.pid, &mut decoders, &chunk).await?,
                None => break,
            },
            frame = socket.next(), if input.capacity() > 0 => {
                let frame = frame?;
                let done = match text(&frame, "type") {
                    "exec_stdin" => typed(text(&frame, "data"), frame["data_base64"].as_str())
                        .and_then(|data| input.try_send(Input::Data(data)).map_err(|_| closed())),
                    "exec_stdin_close" => input.try_send(Input::Close).map_err(|_| closed()),
                    "exec_kill" => engine.kill_command(&machine, &command).await,
                    other => Err(unexpected(other, "exec_stdin, exec_stdin_close or exec_kill")),
                };
                // What comes for a command that has ended is nobody's loss: its exit code follows.
                if let Some(error) = done.err().filter(|_| command.ended().is_none()) {
                    socket.refuse(id, &error).await?;
                }
            }
        }
    }
    finish(socket, id, &command, decoders).await
}

/// Bytes for standard input: base64 wins over text.
pub fn typed(text: &str, base64: Option<&str>) -> Result<Vec<u8>, Error> {
    match base64 {
        None => Ok(text.as_bytes().to_vec()),
        Some(base64) => BASE64_STANDARD
            .decode(base64)
            .map_err(|_| Error::invalid("data_base64", "is no base64: give one such as \"bHMK\"")),
    }
}

fn closed() -> Error {
    Error::new(Kind::Conflict, "the command's standard input is closed")
}

async fn feed(command: Arc<Command>, mut waiting: mpsc::Receiver<Input>) {
    while let Some(input) = waiting.recv().await {
        match input {
            Input::Data(data) => {
                // A closed input is found out by the next frame, whose `try_send` then fails.
                if !matches!(command.write(&data).await, Ok(true)) {
                    return;
                }
            }
            Input::Close => {
                command.close_stdin().await;
                return;
            }
        }
    }
}

async fn print(
    socket: &mut Socket,
    id: &str,
    pid: u32,
    decoders: &mut Decoders,
    chunk: &Chunk,
) -> Result<(), Gone> {
    let is_raw = decoders.is_raw;
    let (kind, decoder) = match chunk.0 {
        Stream::Stdout => ("exec_stdout", &mut decoders.stdout),
        Stream::Stderr => ("exec_stderr", &mut decoders.stderr),
    };
    let piece = match is_raw {
        true => Piece {
            text: String::new(),
            bytes: Some(chunk.1.to_vec()),
        },
        false => decoder.push_piece(&chunk.1),
    };
    send_piece(socket, kind, id, pid, piece).await
}

/// Bytes go beside the text where that is not the same.
async fn send_piece(socket: &mut Socket, kind: &str, id: &str, pid: u32, piece: Piece) -> Result<(), Gone> {
    if piece.text.is_empty() && piece.bytes.is_none() {
        return Ok(());
    }
    let mut frame = json!({ "type": kind, "id": id, "pid": pid, "data": piece.text });
    if let Some(bytes) = piece.bytes {
        frame["data_base64"] = BASE64_STANDARD.encode(bytes).into();
    }
    socket.send(&frame).await
}

async fn finish(
    socket: &mut Socket,
    id: &str,
    command: &Command,
    mut decoders: Decoders,
) -> Result<(), Gone> {
    let pid = command.pid;
    send_piece(socket, "exec_stdout", id, pid, decoders.stdout.finish()).await?;
    send_piece(socket, "exec_stderr", id, pid, decoders.stderr.finish()).await?;
    match (command.timed_out(), command.end().await) {
        (Some(limit), _) => socket.refuse(id, &timed_out(command, limit)).await,
        (None, End::Exited(exit)) => {
            let frame = json!({ "type": "exec_exit", "id": id, "pid": pid, "exit_code": exit.code });
            socket.send(&frame).await
        }
        (None, End::MachineEnded) => {
            let error = Error::new(Kind::MachineNotReady, "the machine ended while the command ran");
            socket.refuse(id, &error).await
        }
    }
}
