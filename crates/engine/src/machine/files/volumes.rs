//! Volumes: directories that the engine owns and mounts in machines. They outlive every machine.
//!
//! An attachment is part of its machine's record, so that it ends with the machine, and a snapshot or a fork takes it
//! along. How it stands follows from how the machine stands.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nullspace_agent::trees::{Chain, Met, Removal, Walk};
use nullspace_wire::machine::{MachineStatus, VolumeMountRequest};
use nullspace_wire::volume::{VolumeAttachment, VolumeInfo};
use nullspace_wire::Timestamp;
use rustix::fs::{statat, AtFlags, FileType};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::is_unfinished;
use crate::isolation::meter::Meter;
use crate::isolation::{IsolationError, Mount};
use crate::machine::ground::sync::lock;
use crate::machine::ground::{clock, ids, Error, Kind, Result};
use crate::machine::live::Machine;
use crate::machine::validate::{check_mount, MAX_VOLUMES};
use crate::machine::Engine;
use crate::store::documents::{self, Kind as Document};

/// Directory of the volumes in that of the state.
const DIRECTORY: &str = "volumes";
/// Most characters of a name.
const NAME_CHARS: usize = 128;

/// Counts the files of each volume, by its id.
pub type Meters = Mutex<HashMap<String, Arc<Meter>>>;

/// Sessions on the files of each volume, by its id.
pub type Uses = Mutex<HashMap<String, Use>>;

/// Sessions on the files of a volume: ended, and waited for, when it is deleted.
#[derive(Clone, Default)]
pub struct Use {
    over: CancellationToken,
    sessions: TaskTracker,
}

/// A volume as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Volume {
    /// `vol_...`
    pub id: String,
    /// Unique.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A volume in a machine, as stored with the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attachment {
    /// `vat_...`
    pub id: String,
    /// `vol_...`
    pub volume_id: String,
    /// Absolute, inside, without anything superfluous.
    pub mount_path: String,
    /// Directory of the volume.
    pub subpath: Option<String>,
    /// Refuse writes.
    pub read_only: bool,
    /// When it was attached.
    pub created_at: Timestamp,
    /// When it was mounted last.
    pub updated_at: Timestamp,
}

impl Attachment {
    fn new(volume: &Volume, mount: &VolumeMountRequest, mount_path: String) -> Self {
        let now = clock::now();
        let parts = mount.subpath.iter().flat_map(|subpath| subpath.split('/'));
        let subpath: Vec<&str> = parts.filter(|part| !part.is_empty() && *part != ".").collect();
        Self {
            id: ids::attachment(),
            volume_id: volume.id.clone(),
            mount_path,
            subpath: (!subpath.is_empty()).then(|| subpath.join("/")),
            read_only: mount.read_only.unwrap_or(false),
            created_at: now.clone(),
            updated_at: now,
        }
    }

    /// The same in another machine.
    pub fn again(&self) -> Self {
        let now = clock::now();
        Self {
            id: ids::attachment(),
            created_at: now.clone(),
            updated_at: now,
            ..self.clone()
        }
    }

    /// What answers show of it, in a machine of this status.
    pub fn shown(&self, machine_id: &str, status: MachineStatus) -> VolumeAttachment {
        let state = match status {
            MachineStatus::Creating => "mounting",
            MachineStatus::Running => "mounted",
            MachineStatus::Paused => "paused",
            _ => "unmounted",
        };
        VolumeAttachment {
            id: self.id.clone(),
            volume_id: self.volume_id.clone(),
            machine_id: machine_id.to_owned(),
            mount_path: self.mount_path.clone(),
            read_only: self.read_only,
            state: state.to_owned(),
            created_at: self.created_at.clone(),
            updated_at: self.updated_at.clone(),
            subpath: self.subpath.clone(),
            last_error_code: None,
            last_error_message: None,
        }
    }
}

impl Error {
    /// There is no volume of an id or a name.
    /// A volume has this name already.
    pub fn volume_exists(name: &str) -> Self {
        Self::new(Kind::Conflict, format!("there is a volume {name:?} already"))
            .with_action("take it up by its name, or give another name")
    }

    /// No volume has this id or name.
    pub fn no_volume(wanted: &str) -> Self {
        Self::new(
            Kind::NotFound,
            format!("there is no volume {wanted:?}: it never was, or it was deleted"),
        )
        .with_action("make it with POST /v1/volumes, or use the id or exact name of one that is listed")
    }
}

fn no_attachment(machine: &str, id: &str) -> Error {
    Error::new(
        Kind::NotFound,
        format!("machine {machine} has no volume attachment {id}"),
    )
}

fn check_name(name: &str) -> Result<()> {
    let is_plain = |c: char| !c.is_control() && c != '/';
    let good = "give 1 to 128 characters without `/`, such as \"models\"";
    if name.trim().is_empty()
        || name.trim() != name
        || name.chars().count() > NAME_CHARS
        || !name.chars().all(is_plain)
    {
        return Err(Error::invalid("name", format_args!("is {name:?}: {good}")));
    }
    // A mount names a volume by its id or its name.
    if name.starts_with("vol_") {
        return Err(Error::invalid(
            "name",
            format_args!("is {name:?}, which reads like an id: {good}"),
        ));
    }
    Ok(())
}

impl Engine {
    fn volume_directory(&self, id: &str) -> PathBuf {
        self.store.directory().join(DIRECTORY).join(id)
    }

    /// Makes a volume.
    pub async fn create_volume(self: &Arc<Self>, name: &str) -> Result<VolumeInfo> {
        check_name(name)?;
        let volume = Volume {
            id: self.ids.volume(),
            name: name.to_owned(),
            created_at: clock::now(),
        };
        let engine = self.clone();
        self.run_to_end(async move {
            engine.refuse_without_room().await?;
            let directory = engine.volume_directory(&volume.id);
            make_directory(&directory, engine.store.is_durable())
                .map_err(|e| Error::internal("making a volume", e))?;
            let stored = engine.store_volume(&volume).await;
            if stored.is_err() {
                let _ = std::fs::remove_dir(&directory);
            }
            stored?;
            engine.describe_volume(volume).await
        })
        .await
    }

    async fn store_volume(&self, volume: &Volume) -> Result<()> {
        let json = serde_json::to_string(volume).map_err(|e| Error::internal("writing a volume", e))?;
        let (id, name) = (volume.id.clone(), volume.name.clone());
        let stored = self.store.call(move |c| {
            let transaction = c.transaction()?;
            if !documents::list(&transaction, Document::Volume, Some(&name))?.is_empty() {
                return Ok(false);
            }
            documents::put(&transaction, Document::Volume, &id, &name, &json)?;
            transaction.commit()?;
            Ok(true)
        });
        if stored.await? {
            return Ok(());
        }
        Err(Error::volume_exists(&volume.name))
    }

    /// The volume of an id.
    pub async fn volume(&self, id: &str) -> Result<Volume> {
        let wanted = id.to_owned();
        let row = self
            .store
            .call(move |c| documents::get(c, Document::Volume, &wanted))
            .await?;
        read(&row.ok_or_else(|| Error::no_volume(id))?)
    }

    /// The volume of an exact name.
    pub async fn volume_by_name(&self, name: &str) -> Result<Volume> {
        let wanted = name.to_owned();
        let rows = self
            .store
            .call(move |c| documents::list(c, Document::Volume, Some(&wanted)))
            .await?;
        read(rows.first().ok_or_else(|| Error::no_volume(name))?)
    }

    /// Describes a volume. Its files are counted now, or, where there are many, as of a while ago.
    pub async fn describe_volume(&self, volume: Volume) -> Result<VolumeInfo> {
        let directory = self.volume_directory(&volume.id);
        let meter = lock(&self.meters).entry(volume.id.clone()).or_default().clone();
        let reading = match Chain::open(&directory) {
            Ok(top) => Some(meter.read(top).await),
            Err(error) => {
                tracing::error!(volume = %volume.id, %error, "the files of a volume cannot be read");
                None
            }
        };
        let mounts = self.attachments_of(&volume.id).len() as u64;
        let status = match &reading {
            None => "error",
            Some(_) if mounts > 0 => "attached",
            Some(_) => "available",
        };
        let extent = reading.map(|reading| reading.extent).unwrap_or_default();
        Ok(VolumeInfo {
            id: volume.id,
            name: volume.name,
            created_at: volume.created_at,
            used_bytes: extent.bytes,
            inode_count: extent.entries,
            mount_count: mounts,
            max_size_bytes: None,
            max_file_count: None,
            max_mounts: None,
            last_reconciled_at: reading.map(|reading| clock::ago(reading.at.elapsed())),
            status: status.to_owned(),
        })
    }

    /// All volumes, newest first.
    pub async fn list_volumes(&self) -> Result<Vec<VolumeInfo>> {
        let rows = self
            .store
            .call(|c| documents::list(c, Document::Volume, None))
            .await?;
        let volumes = rows.iter().map(|row| read(row)).collect::<Result<Vec<_>>>()?;
        // At once: each may wait a moment for its count.
        let described = volumes.into_iter().map(|volume| self.describe_volume(volume));
        futures_util::future::try_join_all(described).await
    }

    /// Deletes a volume and its files, unless a machine has it mounted.
    pub async fn delete_volume(self: &Arc<Self>, id: &str) -> Result<()> {
        let (engine, id) = (self.clone(), id.to_owned());
        self.run_to_end(async move {
            let volume = engine.volume(&id).await?;
            // Nobody can begin to use it meanwhile.
            let _alone = engine.volumes.write().await;
            let users = engine.attachments_of(&id);
            if let Some(user) = users.first() {
                return Err(Error::new(
                    Kind::VolumeBusy,
                    format!(
                        "volume {:?} is mounted in machine {} at {}",
                        volume.name, user.machine_id, user.mount_path
                    ),
                )
                .with_action("detach it there, or destroy the machine, and try again"));
            }
            let row = id.clone();
            let deleted = engine
                .store
                .call(move |c| documents::delete(c, Document::Volume, &row));
            if !deleted.await? {
                return Err(Error::no_volume(&id));
            }
            let directory = engine.volume_directory(&id);
            lock(&engine.meters).remove(&id);
            let used = lock(&engine.volume_uses).remove(&id);
            if let Some(used) = used {
                used.over.cancel();
                used.sessions.close();
                used.sessions.wait().await;
            }
            let trash = engine.trash.clone();
            let removed = tokio::task::spawn_blocking(move || trash.take(&directory)).await;
            if !matches!(removed, Ok(Ok(()))) {
                // No row names it any more: the next start removes it.
                tracing::error!(volume = %id, ?removed, "removing the files of a volume failed");
            }
            Ok(())
        })
        .await
    }

    /// Begins work on the files of a volume: the session, and what is cancelled when the volume is deleted.
    pub(super) async fn open_volume(&self, id: &str) -> Result<(UnixStream, CancellationToken)> {
        // It cannot be deleted meanwhile.
        let _volumes = self.volumes.read().await;
        let volume = self.volume(id).await?;
        let used = lock(&self.volume_uses).entry(volume.id).or_default().clone();
        let directory = self.volume_directory(id);
        let opened = self.backend.volume_files(&directory, used.over.clone()).await;
        let opened = opened.map_err(|error| Error::isolation("opening a volume", error))?;
        used.sessions.spawn(opened.ended);
        Ok((opened.channel, used.over))
    }

    /// Machines that have a volume mounted.
    pub fn attachments_of(&self, volume: &str) -> Vec<VolumeAttachment> {
        let machines = self.all_live();
        let of_machine = |machine: &Arc<Machine>| {
            machine.read(|record| {
                let own = record.volumes.iter().filter(|a| a.volume_id == volume);
                own.map(|a| a.shown(&record.id, record.status))
                    .collect::<Vec<_>>()
            })
        };
        machines.iter().flat_map(of_machine).collect()
    }

    /// What a request wants mounted, with volumes looked up by id or name. The caller keeps volumes from being deleted.
    pub(in crate::machine) async fn attachments_for(
        &self,
        mounts: &[VolumeMountRequest],
    ) -> Result<Vec<Attachment>> {
        let mut found = Vec::with_capacity(mounts.len());
        let mut paths = Vec::new();
        for (index, mount) in mounts.iter().enumerate() {
            let path = check_mount(&format!("volumes[{index}]."), mount, &paths)?;
            found.push(Attachment::new(
                &self.referenced(&mount.reference).await?,
                mount,
                path.clone(),
            ));
            paths.push(path);
        }
        Ok(found)
    }

    async fn referenced(&self, reference: &str) -> Result<Volume> {
        if reference.starts_with("vol_") {
            self.volume(reference).await
        } else {
            self.volume_by_name(reference).await
        }
    }

    pub(in crate::machine) fn mount_of(&self, attachment: &Attachment) -> Mount {
        Mount {
            source: self.volume_directory(&attachment.volume_id),
            subpath: attachment.subpath.clone(),
            target: attachment.mount_path.clone(),
            read_only: attachment.read_only,
        }
    }

    /// Volumes of a machine.
    pub async fn machine_volumes(&self, id: &str) -> Result<Vec<VolumeAttachment>> {
        let machine = self.live_machine(id).await?;
        Ok(machine.read(|record| {
            record
                .volumes
                .iter()
                .map(|a| a.shown(&record.id, record.status))
                .collect()
        }))
    }

    /// Mounts a volume in a machine that runs.
    pub async fn attach_volume(
        self: &Arc<Self>,
        id: &str,
        mount: VolumeMountRequest,
    ) -> Result<VolumeAttachment> {
        let (engine, id) = (self.clone(), id.to_owned());
        self.run_to_end(async move {
            let machine = engine.live_machine(&id).await?;
            let _turn = machine.try_turn()?;
            let paths: Vec<String> =
                machine.read(|record| record.volumes.iter().map(|a| a.mount_path.clone()).collect());
            let path = check_mount("", &mount, &paths)?;
            if paths.len() >= MAX_VOLUMES {
                return Err(Error::new(
                    Kind::Conflict,
                    format!("machine {id} has {MAX_VOLUMES} volumes mounted: detach one first"),
                ));
            }
            refuse_unless_running(&machine)?;
            let _volumes = engine.volumes.read().await;
            let attachment = Attachment::new(&engine.referenced(&mount.reference).await?, &mount, path);
            let place = engine.mount_of(&attachment);
            let running = machine.running()?;
            let mounted = running.mount(&place).await;
            mounted.map_err(|e| Error::isolation("mounting a volume", e))?;
            let added = attachment.clone();
            let stored = machine
                .update(&engine.store, |record| record.volumes.push(added))
                .await;
            if let Err(error) = stored {
                machine.set(|record| record.volumes.retain(|a| a.id != attachment.id));
                let _ = running.unmount(&place, true).await;
                return Err(error);
            }
            Ok(machine.read(|record| attachment.shown(&record.id, record.status)))
        })
        .await
    }

    /// Takes a volume away from a machine that runs.
    pub async fn detach_volume(self: &Arc<Self>, id: &str, attachment: &str) -> Result<VolumeAttachment> {
        let (engine, id, wanted) = (self.clone(), id.to_owned(), attachment.to_owned());
        self.run_to_end(async move {
            let machine = engine.live_machine(&id).await?;
            let _turn = machine.try_turn()?;
            let attachment = find(&machine, &wanted)?;
            refuse_unless_running(&machine)?;
            let unmounted = machine
                .running()?
                .unmount(&engine.mount_of(&attachment), false)
                .await;
            unmounted.map_err(|e| Error::isolation("unmounting a volume", e))?;
            let taken = attachment.id.clone();
            machine
                .update(&engine.store, move |record| {
                    record.volumes.retain(|a| a.id != taken)
                })
                .await?;
            Ok(VolumeAttachment {
                state: "released".to_owned(),
                updated_at: clock::now(),
                ..machine.read(|record| attachment.shown(&record.id, record.status))
            })
        })
        .await
    }

    /// Looks whether a volume is where it should be.
    pub async fn volume_health(&self, id: &str, attachment: &str) -> Result<VolumeAttachment> {
        let machine = self.live_machine(id).await?;
        let attachment = find(&machine, attachment)?;
        let shown = machine.read(|record| attachment.shown(&record.id, record.status));
        if machine.status() != MachineStatus::Running {
            return Ok(shown);
        }
        let found = machine.running()?.is_mounted(&self.mount_of(&attachment)).await;
        let is_there = found.map_err(|e| Error::isolation("looking at a volume", e))?;
        if is_there.unwrap_or(true) {
            return Ok(shown);
        }
        Ok(VolumeAttachment {
            state: "failed".to_owned(),
            last_error_code: Some("volume_not_mounted".to_owned()),
            last_error_message: Some(format!(
                "the machine has nothing mounted at {} any more: remount it",
                attachment.mount_path
            )),
            ..shown
        })
    }

    /// Mounts a volume again, whatever became of it.
    pub async fn remount_volume(self: &Arc<Self>, id: &str, attachment: &str) -> Result<VolumeAttachment> {
        let (engine, id, wanted) = (self.clone(), id.to_owned(), attachment.to_owned());
        self.run_to_end(async move {
            let machine = engine.live_machine(&id).await?;
            let _turn = machine.try_turn()?;
            let attachment = find(&machine, &wanted)?;
            refuse_unless_running(&machine)?;
            let (place, running) = (engine.mount_of(&attachment), machine.running()?);
            let again = async {
                match running.unmount(&place, true).await {
                    // Whatever became of it: what matters is that it is there afterwards.
                    Ok(()) | Err(IsolationError::Lost(_)) => running.mount(&place).await,
                    Err(error) => Err(error),
                }
            };
            again
                .await
                .map_err(|e| Error::isolation("mounting a volume again", e))?;
            let now = clock::now();
            machine
                .update(&engine.store, |record| {
                    for attachment in record.volumes.iter_mut().filter(|a| a.id == wanted) {
                        attachment.updated_at = now.clone();
                    }
                })
                .await?;
            let attachment = find(&machine, &wanted)?;
            Ok(machine.read(|record| attachment.shown(&record.id, record.status)))
        })
        .await
    }

    /// Removes directories that no volume has: of volumes whose making or deletion a crash cut short.
    pub(in crate::machine) async fn recover_volumes(&self) -> Result<()> {
        let rows = self
            .store
            .call(|c| documents::list(c, Document::Volume, None))
            .await?;
        let known = rows.iter().map(|row| read(row)).collect::<Result<Vec<_>>>()?;
        let entries = std::fs::read_dir(self.store.directory().join(DIRECTORY));
        for entry in entries.into_iter().flatten().flatten() {
            if known.iter().any(|volume| entry.file_name() == volume.id.as_str()) {
                continue;
            }
            if let Err(error) = self.trash.take(&entry.path()) {
                tracing::warn!(%error, "removing what is left of a volume failed");
            }
        }
        let directories: Vec<PathBuf> = known.iter().map(|v| self.volume_directory(&v.id)).collect();
        if !directories.is_empty() {
            // Beside all else, since there may be many files: what comes from now on is newer, and stays.
            let began = clock::unix_seconds();
            std::thread::spawn(move || directories.iter().for_each(|top| tidy(top, began)));
        }
        Ok(())
    }
}

/// Removes what was being written into a volume when an earlier engine ended, and changed last before `began`, seconds
/// since 1970.
fn tidy(top: &Path, began: i64) {
    let tidied = Chain::open(top).and_then(|chain| {
        let mut walk = Walk::new(chain);
        loop {
            match walk.step()? {
                Met::Entry(name, kind) => {
                    let here = walk.chain().here()?;
                    if name.to_str().is_ok_and(is_unfinished) {
                        let found = statat(here, &name, AtFlags::SYMLINK_NOFOLLOW);
                        if found.is_ok_and(|found| found.st_ctime < began) {
                            Removal::default().run_at(here, &name)?;
                        }
                    } else if kind == FileType::Directory {
                        walk.enter(&name)?;
                    }
                }
                Met::End => {
                    if !walk.leave()? {
                        return Ok(());
                    }
                }
            }
        }
    });
    if let Err(error) = tidied {
        // A machine that moves directories meanwhile ends the walk; the next start goes on.
        tracing::warn!(volume = %top.display(), %error, "what an earlier engine was writing into a volume may be left");
    }
}

pub(in crate::machine) fn read(row: &str) -> Result<Volume> {
    serde_json::from_str(row).map_err(|e| Error::internal("reading a volume", e))
}

fn find(machine: &Machine, id: &str) -> Result<Attachment> {
    machine
        .read(|record| record.volumes.iter().find(|a| a.id == id).cloned())
        .ok_or_else(|| no_attachment(&machine.id, id))
}

fn refuse_unless_running(machine: &Machine) -> Result<()> {
    match machine.status() {
        MachineStatus::Running if !machine.gone.is_cancelled() => Ok(()),
        MachineStatus::Paused => Err(machine.not_ready().with_action("resume the machine first")),
        _ => Err(machine.not_ready()),
    }
}

/// The directory of a volume. Inside it is a directory of the machine's root that everybody may read. With `durable` it is on
/// the disk afterwards.
fn make_directory(path: &Path, durable: bool) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    if let Some(parent) = path.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
    }
    std::fs::create_dir(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    match path.parent() {
        Some(parent) if durable => std::fs::File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_no_ids() {
        for name in ["models", "my data", "ä.b-c_1"] {
            check_name(name).unwrap();
        }
        for name in ["", " ", " a", "a/b", "a\n", "vol_1", &"x".repeat(129)] {
            let error = check_name(name).unwrap_err();
            assert!(
                error.message.contains("`name`") && error.message.contains("models"),
                "{error}"
            );
        }
    }
}
