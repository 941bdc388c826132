//! Volumes, and those of a machine. Source: PROTOCOL.md section 9.

use nullspace_wire::api;

#[cfg(not(target_arch = "wasm32"))]
use super::Interface;
use super::{by, fields, filled, flag, id, text, Field, Operation, To};
use crate::core::error::Error;
use crate::core::options::Value;
use crate::core::volumes;

const ATTACHMENT: &[Field] = &[id("attachmentId")];
const MOUNT: &[Field] = fields![
    /// Directory of the volume to mount; the local engine makes it if it is missing. @default its root
    text("subpath").local(),
    /// Refuse writes, also those of root. @default false
    flag("readOnly").local(),
];

/// What `Volume.mount` takes, too.
#[cfg(not(target_arch = "wasm32"))]
pub const MOUNT_OPTIONS: Interface = Interface {
    name: "VolumeMountOptions",
    parents: &[],
    comment: "How a volume is mounted.",
    sets: &[MOUNT],
};

/// Makes a volume.
pub static CREATE: Operation = Operation::on(&api::CREATE_VOLUME).args(&[Field {
    to: To::Body,
    ..id("name")
}]);

/// Takes one up by its id.
pub static GET: Operation = Operation::on(&api::GET_VOLUME).args(&[id("id")]);

/// Takes one up by its exact name. `Volume.fromName` may make it: see `client::volume`.
pub static BY_NAME: Operation = Operation::on(&api::GET_VOLUME_BY_NAME)
    .args(&[id("name")])
    .options(&[fields![
        /// Make it when there is none. @default false
        flag("createIfMissing").local(),
    ]])
    .shown(
        "VolumeFromNameOptions",
        &["ClientOptions"],
        "Options of {@link Volume.fromName}.",
    );

/// All of them.
pub static LIST: Operation = Operation::on(&api::LIST_VOLUMES);

/// Describes the volume.
pub static GET_INFO: Operation = Operation::on(&api::GET_VOLUME);

/// Machines that have it mounted.
pub static ATTACHMENTS: Operation = Operation::on(&api::LIST_VOLUME_ATTACHMENTS);

/// Deletes it and its files.
pub static DELETE: Operation = Operation::on(&api::DELETE_VOLUME);

/// What a machine has mounted.
pub static OF_MACHINE: Operation = Operation::on(&api::LIST_MACHINE_VOLUME_ATTACHMENTS);

/// Mounts a volume: given with its options, or as a mount that has them all.
pub static ATTACH: Operation = Operation::on(&api::ATTACH_MACHINE_VOLUME)
    .args(&[by("volume", given).local().required()])
    .options(&[
        fields![
            /// Absolute path inside the machine. @default that of the mount; must be given with a volume
            filled("mountPath").local(),
        ],
        MOUNT,
    ])
    .shown(
        "AttachVolumeOptions",
        &["CallOptions", "VolumeMountOptions"],
        "Options of {@link MachineVolumes.attach}.",
    )
    .rules(|given, request| {
        let mount = volumes::attach(&given.args, given)?;
        request.put_all(mount);
        Ok(())
    });

/// Takes one away.
pub static DETACH: Operation = Operation::on(&api::DETACH_MACHINE_VOLUME).args(ATTACHMENT);

/// Whether it is where it should be.
pub static HEALTH: Operation = Operation::on(&api::GET_MACHINE_VOLUME_HEALTH).args(ATTACHMENT);

/// Mounts it again.
pub static REMOUNT: Operation = Operation::on(&api::REMOUNT_MACHINE_VOLUME).args(ATTACHMENT);

/// A mount is checked whole, with its options: [`volumes::attach`].
fn given(_: &str, _: &Value) -> Result<Value, Error> {
    Ok(Value::Null)
}
