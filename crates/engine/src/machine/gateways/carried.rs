//! Snapshots and layers that go to another node of a cluster, or come from one.
//!
//! A layer never changes, so one that is here is never brought again. Who brings some holds them first, brings them, and stores
//! who uses them last: an engine that ends in the middle has layers that nobody uses, which go when it starts.

use std::path::PathBuf;
use std::sync::Arc;

use crate::images;
use crate::isolation::Fill;
use crate::machine::ground::{room, Error, Kind, Result};
use crate::machine::life::snapshot::Snapshot;
use crate::machine::templates::layers::Pin;
use crate::machine::Engine;
use crate::store::documents::{self, Kind as Document};

/// Looks whether more may be written.
pub type Room = Arc<dyn Fn() -> std::io::Result<()> + Send + Sync>;

/// Whether a layer may be called so: it names a directory.
fn is_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !name.is_empty() && name.bytes().all(is_plain)
}

impl Engine {
    /// A snapshot for another node. That of a pause stands for processes, which stay where they are.
    pub async fn snapshot_to_carry(&self, id: &str) -> Result<Snapshot> {
        let snapshot = self.snapshot(id).await?;
        match snapshot.is_pause {
            false => Ok(snapshot),
            true => Err(Error::new(
                Kind::SnapshotInUse,
                format!(
                    "snapshot {id} is the pause of machine {}, which stays on its node",
                    snapshot.machine_id
                ),
            )
            .with_action("take a snapshot of the machine, which can be carried")),
        }
    }

    /// Where a layer is, for as long as the pin.
    pub async fn layer_to_carry(&self, name: &str) -> Result<(PathBuf, Pin)> {
        let pin = self.hold_layers(std::slice::from_ref(&name.to_owned())).await;
        let folder = self.backend.layer_folder(name).filter(|_| is_name(name));
        match folder.filter(|folder| folder.is_dir()) {
            Some(folder) => Ok((folder, pin)),
            None => Err(Error::new(
                Kind::NotFound,
                format!("this node has no layer {name:?}"),
            )),
        }
    }

    /// Keeps layers that are here, and those that will be.
    pub async fn hold_layers(&self, names: &[String]) -> Pin {
        let _collector = self.layers.collector().await;
        self.layers.pin(names)
    }

    /// Whether a layer is here.
    pub fn has_layer(&self, name: &str) -> bool {
        self.backend
            .layer_folder(name)
            .is_some_and(|folder| folder.is_dir())
    }

    /// Waits until nobody else makes a layer, and keeps others from it.
    pub async fn layer_turn(&self, name: &str) -> tokio::sync::OwnedMutexGuard<()> {
        self.images.turn(name).await
    }

    /// Makes a layer that another node has. The caller has its turn, and holds it.
    pub async fn bring_layer(&self, name: &str, fill: Fill) -> Result<()> {
        if !is_name(name) {
            let text = format!("a snapshot names a layer {name:?}, which is no name of one");
            return Err(Error::internal("bringing a layer", text));
        }
        self.refuse_without_room().await?;
        // Those of images are found by their names.
        if !images::is_layer(name) {
            self.note_layer(name).await?;
        }
        let made = self.backend.make_layer(name, fill).await;
        made.map(drop)
            .map_err(|e| Error::isolation("bringing a layer", e))
    }

    /// Looks whether there is room, while a layer is brought.
    pub fn room(&self) -> Room {
        let directory = self.store.directory().to_owned();
        Arc::new(move || room::look(&directory).map_err(|error| std::io::Error::other(error.message)))
    }

    /// Stores a snapshot whose layers are here.
    pub async fn keep_carried(&self, snapshot: &Snapshot) -> Result<()> {
        let (id, subject, json) = (
            snapshot.id.clone(),
            snapshot.machine_id.clone(),
            snapshot.to_json(),
        );
        let put = self
            .store
            .call(move |c| documents::put(c, Document::Snapshot, &id, &subject, &json));
        Ok(put.await?)
    }

    /// Lets layers go that were brought for nothing.
    pub async fn drop_unused_layers(&self) {
        self.collect_layers().await;
    }
}
