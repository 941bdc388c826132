//! Commands and processes of a machine. Output as it comes, and commands in the background, are in `client`.
//! Source: PROTOCOL.md section 4.

use nullspace_wire::api;

use super::kinds::pid;

use super::{by, Field, Operation};
use crate::core::error::Error;
use crate::core::options::Value;

const PID: Field = by("pid", pid).in_path().required();

/// Processes that a command began.
pub static LIST: Operation = Operation::on(&api::LIST_PROCESSES);

/// What a command printed so far.
pub static LOGS: Operation = Operation::on(&api::GET_PROCESS_LOGS).args(&[PID]);

/// Ends a command and its children.
pub static KILL: Operation = Operation::on(&api::KILL_PROCESS).args(&[PID]);

/// Writes to the standard input of a command.
pub static SEND_STDIN: Operation = Operation::on(&api::SEND_STDIN).args(&[PID, by("data", input).required()]);

/// Writes bytes, given as base64, to the standard input of a command.
pub static SEND_STDIN_BYTES: Operation =
    Operation::on(&api::SEND_STDIN).args(&[PID, by("data", input).wire("data_base64").required()]);

fn input(name: &str, value: &Value) -> Result<Value, Error> {
    match value {
        Value::Text(data) => Ok(data.as_str().into()),
        other => Err(Error::option(
            name,
            &format!("must be a string or bytes, not {}", other.kind()),
        )),
    }
}
