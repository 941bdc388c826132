//! Names of machines: one entry of their metadata, which no two machines that live share. So whoever asks for a machine by name need
//! not know who makes it.

use std::sync::Arc;

use nullspace_wire::limits::NAME;
use nullspace_wire::machine::NAME_KEY;
use nullspace_wire::JsonObject;
use serde_json::{json, Value};

use crate::machine::ground::sync::lock;
use crate::machine::ground::{Error, Kind, Result};
use crate::machine::live::Machine;
use crate::machine::Engine;

/// Checks the name in metadata, if there is one.
pub fn check(metadata: Option<&JsonObject>) -> Result<()> {
    let usable = |name: &Value| {
        name.as_str().is_some_and(|name| {
            NAME.contains(name.len() as u64) && name.bytes().all(|byte| byte.is_ascii_graphic())
        })
    };
    match metadata.and_then(|metadata| metadata.get(NAME_KEY)) {
        Some(name) if !usable(name) => Err(Error::invalid(
            &format!("metadata.{NAME_KEY}"),
            format_args!(
                "is no usable name: give {} to {} visible ASCII characters, such as \"agent-7\"",
                NAME.min, NAME.max
            ),
        )),
        _ => Ok(()),
    }
}

/// The name in metadata.
pub fn name_of(metadata: &JsonObject) -> Option<&str> {
    metadata.get(NAME_KEY)?.as_str()
}

/// A living machine has the name.
pub fn taken(name: &str, id: &str) -> Error {
    Error::new(
        Kind::Conflict,
        format!("the name {name:?} is that of machine {id}, which lives"),
    )
    .with_action("use that machine (`Machine.getOrCreate` does), or give another name")
    .with_details(json!({ "reason": "name_taken", "machine_id": id }))
}

impl Engine {
    /// Refuses early what [`Engine::add_live`] would refuse when a machine had been taken out of a pool for it.
    pub(in crate::machine) fn refuse_taken_name(&self, metadata: &JsonObject) -> Result<()> {
        let live = lock(&self.live);
        refuse(live.values(), metadata)
    }

    /// Takes a machine into memory, unless another one has its name.
    pub(in crate::machine) fn add_live(&self, machine: &Arc<Machine>) -> Result<()> {
        let mut live = lock(&self.live);
        machine.read(|record| refuse(live.values(), &record.metadata))?;
        live.insert(machine.id.clone(), machine.clone());
        Ok(())
    }
}

fn refuse<'a>(live: impl Iterator<Item = &'a Arc<Machine>>, metadata: &JsonObject) -> Result<()> {
    let Some(name) = name_of(metadata) else {
        return Ok(());
    };
    let mut others = live.filter(|other| !other.gone.is_cancelled());
    match others.find(|other| other.read(|record| name_of(&record.metadata) == Some(name))) {
        Some(other) => Err(taken(name, &other.id)),
        None => Ok(()),
    }
}
