//! Machines as a whole. What is more than one request (create, connect, `runOnce`, `getUrl`, `keepAlive`) is in `client`.
//! Source: PROTOCOL.md section 3.

use std::time::Duration;

use nullspace_wire::answers::Answer;
use nullspace_wire::api;

use super::snapshots::{self, NAME};
use super::{by, fields, id, object, one_of, Field, Inputs, Operation, Request, Time};
use crate::core::error::Error;
use crate::core::lease::ACTIONS;
use crate::core::options::{self, Value};
use crate::core::{egress, machine};

/// HTTP time of what copies memory or disk.
pub const COPY_TIME: Duration = Duration::from_secs(300);

const LABELS: &[Field] = fields![
    /// Name, 1 to 128 visible ASCII characters; the entry `nullspace.name` of the metadata. Several snapshots may have one name. @default none
    NAME,
    /// Metadata of your own, kept verbatim; {@link Snapshot.list} can filter by it. @default `{}`
    object("metadata").local(),
];
const FIELDS: &[Field] = fields![
    /// Only these fields, at least one. @default all
    by("fields", field_names).in_query().typed("readonly MachineField[]"),
];

/// Describes the machine.
pub static GET_INFO: Operation = Operation::on(&api::GET_MACHINE).options(&[FIELDS]).rules(rows);

/// Describes a machine.
pub static GET_INFO_BY_ID: Operation = Operation::on(&api::GET_MACHINE)
    .args(&[id("id")])
    .options(&[FIELDS])
    .shown(
        "GetInfoOptions",
        &["ClientOptions"],
        "Options of {@link Machine.getInfoById}.",
    )
    .rules(rows);

/// Samples of the machine.
pub static GET_METRICS: Operation = Operation::on(&api::GET_METRICS);

/// Samples of a machine.
pub static GET_METRICS_BY_ID: Operation = Operation::on(&api::GET_METRICS).args(&[id("id")]);

/// Destroys the machine.
pub static KILL: Operation = Operation::on(&api::DESTROY_MACHINE);

/// Destroys a machine.
pub static KILL_BY_ID: Operation = Operation::on(&api::DESTROY_MACHINE).args(&[id("id")]);

/// Makes a paused machine run again.
pub static RESUME: Operation = Operation::on(&api::RESUME_MACHINE)
    .args(&[id("id")])
    .time(Time::Long(COPY_TIME));

/// Moves the end of the lease.
pub static SET_TIMEOUT: Operation = Operation::on(&api::SET_TIMEOUT)
    .args(&[by("seconds", lease).wire("timeout_ms").required()])
    .options(&[fields![
        /// What happens at the end of the lease. @default it stays as it is
        one_of("timeoutAction", &ACTIONS),
    ]])
    .shown(
        "SetTimeoutOptions",
        &["CallOptions"],
        "Options of {@link Machine.setTimeout}.",
    );

/// Freezes the machine into a snapshot; a resume makes it run again.
pub static PAUSE: Operation = Operation::on(&api::HIBERNATE_MACHINE).time(Time::Long(COPY_TIME));

/// Makes a second machine that goes on from where this one is.
pub static FORK: Operation = Operation::on(&api::FORK_MACHINE)
    .keyed()
    .time(Time::Long(COPY_TIME));

/// Keeps the machine as it is now, for later creates.
pub static CREATE_SNAPSHOT: Operation = Operation::on(&api::CREATE_SNAPSHOT)
    .options(&[LABELS])
    .shown(
        "CreateSnapshotOptions",
        &["KeyedOptions"],
        "Options of {@link Machine.createSnapshot}. A server that keeps neither refuses both: {@link NotImplementedError}.",
    )
    .rules(snapshots::named)
    .keyed()
    .time(Time::Long(COPY_TIME));

/// Replaces the whole network policy; gives the new one.
pub static UPDATE_EGRESS: Operation = Operation::on(&api::UPDATE_MACHINE_EGRESS)
    .args(&[by("policy", policy).spread().required()])
    .rules(domains)
    .gives("egress");

/// `fields=` asks for rows with any subset of the fields.
fn rows(given: &Inputs<'_>, request: &mut Request) -> Result<(), Error> {
    if given.has("fields") {
        request.answer = Answer::MachineRow;
    }
    Ok(())
}

/// A server that does not tell names back has not taken them.
fn domains(_: &Inputs<'_>, request: &mut Request) -> Result<(), Error> {
    request.tells_domains = egress::has_domains(&request.body);
    Ok(())
}

fn field_names(_: &str, value: &Value) -> Result<Value, Error> {
    machine::field_names(value).map(Value::from)
}

fn lease(name: &str, value: &Value) -> Result<Value, Error> {
    Ok((options::seconds(name, value)?.as_millis() as u64).into())
}

fn policy(_: &str, value: &Value) -> Result<Value, Error> {
    egress::update(value)
}
