//! Snapshots that outlive their machine. Source: PROTOCOL.md section 3.

use nullspace_wire::api::{self, Verb};
use nullspace_wire::limits;
use nullspace_wire::machine::NAME_KEY;

use super::{by, fields, id, object, trimmed, Field, Inputs, Operation, Request};
use crate::core::error::Error;
use crate::core::options::{self, Value};
use crate::core::value::json;

/// A name: an entry of the metadata, see [`named`].
pub const NAME: Field = by("name", name).local().typed("string");

const FILTER: &[Field] = fields![
    /// Only those with this name. @default all
    NAME,
    /// Only those of this machine. @default all
    trimmed("machineId").in_query(),
    /// With at least these entries. @default all
    object("metadata").local(),
];

/// All that match.
pub static LIST: Operation = Operation::on(&api::LIST_SNAPSHOTS)
    .options(&[FILTER])
    .shown(
        "SnapshotListOptions",
        &["ClientOptions"],
        "Options of {@link Snapshot.list}.",
    )
    .rules(named);

/// Describes one.
pub static GET: Operation = Operation::on(&api::GET_SNAPSHOT).args(&[id("id")]);

/// Deletes one.
pub static DELETE: Operation = Operation::on(&api::DELETE_SNAPSHOT).args(&[id("id")]);

/// Puts `name` into `metadata`, and that into the query or the body. Without either there is none.
pub fn named(given: &Inputs<'_>, request: &mut Request) -> Result<(), Error> {
    let name = given.text("name")?;
    let mut metadata = match given.json_object("metadata")? {
        None if name.is_none() => return Ok(()),
        metadata => metadata.cloned().unwrap_or_else(|| json!({})),
    };
    metadata.put_given(NAME_KEY, name);
    match request.route.verb {
        Verb::Get => request.query.push(("metadata".into(), metadata.to_json())),
        _ => request.put("metadata", metadata),
    }
    Ok(())
}

fn name(path: &str, value: &Value) -> Result<Value, Error> {
    let text = options::filled(path, value)?;
    let usable = text.len() as u64 <= limits::NAME.max && text.bytes().all(|byte| byte.is_ascii_graphic());
    match usable {
        true => Ok(text.into()),
        false => Err(Error::option(
            path,
            &format!(
                "must be {} to {} visible ASCII characters, such as 'agent-7'",
                limits::NAME.min,
                limits::NAME.max
            ),
        )),
    }
}
