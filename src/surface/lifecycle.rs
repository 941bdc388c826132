//! Lifecycle events, by page. Streams of them are in `client::events`. Source: PROTOCOL.md section 10.

use nullspace_wire::api;

use super::kinds::moment;
use super::{by, from, id, int, one_of, trimmed, Field, Operation};
use crate::core::events::{OPERATIONS, STATUSES};

const PAGE: &[Field] = &[
    int("offset", from(0)).in_query(),
    int("limit", from(1)).in_query(),
    one_of("order", &["asc", "desc"]).in_query(),
    one_of("operation", OPERATIONS).in_query(),
    one_of("status", STATUSES).in_query(),
    by("from", moment).in_query(),
    by("to", moment).in_query(),
];
/// What the list of all events takes beside them. `audience: 'internal'` is the server's own.
const SUBJECTS: &[Field] = &[
    trimmed("machineId").in_query(),
    trimmed("snapshotId").in_query(),
    trimmed("sourceMachineId").in_query(),
    trimmed("targetMachineId").in_query(),
];

/// What happened to all machines and snapshots.
pub static LIST: Operation = Operation::on(&api::LIST_LIFECYCLE_EVENTS).options(&[PAGE, SUBJECTS]);

/// What happened to a machine: also when it is gone.
pub static LIST_OF_MACHINE: Operation = Operation::on(&api::LIST_MACHINE_LIFECYCLE_EVENTS)
    .args(&[id("id")])
    .options(&[PAGE]);

/// What happened to a snapshot: also when it is gone.
pub static LIST_OF_SNAPSHOT: Operation = Operation::on(&api::LIST_SNAPSHOT_LIFECYCLE_EVENTS)
    .args(&[id("id")])
    .options(&[PAGE]);

/// What happened to the machine of a handle.
pub static LIST_OWN: Operation = Operation::on(&api::LIST_MACHINE_LIFECYCLE_EVENTS).options(&[PAGE]);
