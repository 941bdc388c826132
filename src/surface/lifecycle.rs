//! Lifecycle events, by page. Streams of them are in `client::events`. Source: PROTOCOL.md section 10.

use nullspace_wire::api;
use nullspace_wire::lifecycle::{OPERATIONS, STATUSES};

use super::kinds::moment;
use super::{by, fields, from, id, int, one_of, trimmed, Field, Operation};

const PAGE: &[Field] = fields![
    /// Events to skip, {range}. @default 0
    int("offset", from(0)).in_query(),
    /// Most events, {range}. @default 50
    int("limit", from(1)).in_query(),
    /// Newest first, or oldest first. @default 'desc'
    one_of("order", &["asc", "desc"]).in_query(),
    /// Only events of this operation, such as `create`. @default all
    one_of("operation", OPERATIONS).in_query().typed("LifecycleEvent['operation']"),
    /// Only events with this outcome. @default all
    one_of("status", STATUSES).in_query(),
    /// Not before: a `Date`, or RFC 3339. @default the beginning
    by("from", moment).in_query().typed("string | Date"),
    /// Not after: a `Date`, or RFC 3339. @default now
    by("to", moment).in_query().typed("string | Date"),
];
/// What the list of all events takes beside them. `audience: 'internal'` is the server's own.
const SUBJECTS: &[Field] = fields![
    /// Only events of this machine. @default all
    trimmed("machineId").in_query(),
    /// Only events of this snapshot. @default all
    trimmed("snapshotId").in_query(),
    /// Only forks and snapshots of this machine. @default all
    trimmed("sourceMachineId").in_query(),
    /// Only forks that made this machine. @default all
    trimmed("targetMachineId").in_query(),
];

/// What happened to all machines and snapshots.
pub static LIST: Operation = Operation::on(&api::LIST_LIFECYCLE_EVENTS)
    .options(&[PAGE, SUBJECTS])
    .shown(
        "LifecycleListOptions",
        &["ClientOptions", "LifecycleFilterOptions"],
        "Options of {@link Lifecycle.listEvents}.",
    );

/// What happened to a machine: also when it is gone.
pub static LIST_OF_MACHINE: Operation = Operation::on(&api::LIST_MACHINE_LIFECYCLE_EVENTS)
    .args(&[id("id")])
    .options(&[PAGE]);

/// What happened to a snapshot: also when it is gone.
pub static LIST_OF_SNAPSHOT: Operation = Operation::on(&api::LIST_SNAPSHOT_LIFECYCLE_EVENTS)
    .args(&[id("id")])
    .options(&[PAGE]);

/// What happened to the machine of a handle.
pub static LIST_OWN: Operation = Operation::on(&api::LIST_MACHINE_LIFECYCLE_EVENTS)
    .options(&[PAGE])
    .shown("LifecycleFilterOptions", &[], "Filters of event lists.");
