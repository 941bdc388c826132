//! Snapshots that outlive their machine. Source: PROTOCOL.md section 3.

use nullspace_wire::api;

use super::{id, object, trimmed, Field, Operation};

const FILTER: &[Field] = &[trimmed("machineId").in_query(), object("metadata").in_query()];

/// All that match.
pub static LIST: Operation = Operation::on(&api::LIST_SNAPSHOTS).options(&[FILTER]);

/// Describes one.
pub static GET: Operation = Operation::on(&api::GET_SNAPSHOT).args(&[id("id")]);

/// Deletes one.
pub static DELETE: Operation = Operation::on(&api::DELETE_SNAPSHOT).args(&[id("id")]);
