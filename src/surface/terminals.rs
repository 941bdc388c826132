//! Terminals as far as they outlive a connection. Sessions are in `client::terminals`. Source: PROTOCOL.md section 6.

use nullspace_wire::api;

use super::{by, id, Field, Operation};
use crate::core::error::Error;
use crate::core::options::Value;
use crate::core::terminals;
use crate::core::value::json;

const SESSION: Field = id("sessionId");

/// All of a machine.
pub static LIST: Operation = Operation::on(&api::LIST_PTY_SESSIONS);

/// Describes one.
pub static GET: Operation = Operation::on(&api::GET_PTY_SESSION).args(&[SESSION]);

/// Ends one.
pub static KILL: Operation = Operation::on(&api::KILL_PTY_SESSION).args(&[SESSION]);

/// Gives it another size.
pub static RESIZE: Operation =
    Operation::on(&api::RESIZE_PTY_SESSION).args(&[SESSION, by("size", size).spread().required()]);

fn size(_: &str, value: &Value) -> Result<Value, Error> {
    let size = terminals::size(value)?;
    Ok(json!({ "cols": size.cols, "rows": size.rows }))
}
