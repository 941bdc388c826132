//! Frames of the exec and pty sockets: what the server says. Source: PROTOCOL.md sections 4 and 6.
//!
//! Only control fields are looked at; output passes through as it came.

use super::answer::Answer;
use super::error::Error;

/// Which output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// What events of it are called.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// A frame of an exec socket.
#[derive(Debug, Clone, PartialEq)]
pub enum Exec<A> {
    /// The command runs.
    Started(u32),
    /// It printed: text, and base64 of the bytes where they are no UTF-8.
    Output(Stream, A, Option<A>),
    /// It ended with this code.
    Exit(i32),
    /// The server gave it up.
    Failed(Error),
    /// Of a newer server.
    Unknown,
}

/// A frame of a pty socket.
#[derive(Debug, Clone, PartialEq)]
pub enum Pty<A> {
    /// The session is there: the frame itself.
    Started(A),
    /// It printed: base64 of bytes, or text where the server sends no bytes.
    Output {
        /// `data_base64`, which wins.
        base64: Option<A>,
        /// `data`.
        text: Option<A>,
    },
    /// It ended with this code.
    Exited(i32),
    /// The server gave it up.
    Failed(Error),
    /// Of a newer server.
    Unknown,
}

/// Reads a frame of an exec socket.
pub fn exec<A: Answer>(frame: &A) -> Result<Exec<A>, Error> {
    Ok(match kind(frame)?.as_str() {
        "exec_started" => Exec::Started(pid(frame).ok_or_else(|| lacks("exec_started", "pid"))?),
        "exec_stdout" => output(frame, Stream::Stdout, "exec_stdout")?,
        "exec_stderr" => output(frame, Stream::Stderr, "exec_stderr")?,
        "exec_exit" => Exec::Exit(exit_code(frame).ok_or_else(|| lacks("exec_exit", "exit_code"))?),
        "error" => Exec::Failed(failure(frame, "exec_failed")),
        _ => Exec::Unknown,
    })
}

/// Reads a frame of a pty socket.
pub fn pty<A: Answer>(frame: &A) -> Result<Pty<A>, Error> {
    Ok(match kind(frame)?.as_str() {
        "pty_started" => match (frame.text("session_id"), pid(frame)) {
            (Some(_), Some(_)) => Pty::Started(frame.clone()),
            _ => return Err(lacks("pty_started", "session_id` or `pid")),
        },
        "pty_output" => Pty::Output {
            base64: base64(frame),
            text: frame.text("data").and_then(|_| frame.any("data")),
        },
        // `exec_exit` is accepted too.
        kind @ ("pty_exited" | "exec_exit") => {
            Pty::Exited(exit_code(frame).ok_or_else(|| lacks(kind, "exit_code"))?)
        }
        "error" => Pty::Failed(failure(frame, "pty_protocol_error")),
        _ => Pty::Unknown,
    })
}

/// Type of a frame.
pub fn kind<A: Answer>(frame: &A) -> Result<String, Error> {
    frame
        .text("type")
        .ok_or_else(|| Error::invalid_response("a frame of the socket has no `type`"))
}

/// What an `error` frame says; `code` where it names none.
pub fn failure<A: Answer>(frame: &A, code: &str) -> Error {
    let code = frame.text("code").unwrap_or_else(|| code.to_owned());
    let message = frame
        .text("message")
        .unwrap_or_else(|| "the server gave no reason".to_owned());
    Error::coded(&code, message)
}

fn output<A: Answer>(frame: &A, stream: Stream, kind: &str) -> Result<Exec<A>, Error> {
    let text = frame.any("data").ok_or_else(|| lacks(kind, "data"))?;
    Ok(Exec::Output(stream, text, base64(frame)))
}

fn base64<A: Answer>(frame: &A) -> Option<A> {
    frame.text("data_base64").and_then(|_| frame.any("data_base64"))
}

fn pid<A: Answer>(frame: &A) -> Option<u32> {
    let number = frame.number("pid")?;
    (number >= 0.0 && number <= f64::from(u32::MAX) && number.fract() == 0.0).then_some(number as u32)
}

fn exit_code<A: Answer>(frame: &A) -> Option<i32> {
    let number = frame.number("exit_code")?;
    (number.abs() <= f64::from(i32::MAX) && number.fract() == 0.0).then_some(number as i32)
}

fn lacks(kind: &str, field: &str) -> Error {
    Error::invalid_response(format!("a frame `{kind}` has no usable `{field}`"))
}
