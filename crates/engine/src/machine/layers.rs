//! Which copies of files are still used, and the removal of those that are not.
//!
//! A layer is used by snapshots, templates and their builds, warm pools, the cache of builds and live machines. Between the copy and the moment its user is stored, a
//! pin keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde::Deserialize;

use super::error::{Error, Result};
use super::live::lock;
use super::{ids, Engine};
use crate::images::Pruned;
use crate::store::builds;
use crate::store::documents::{self, Kind as Document};

/// Layers that must stay although nothing stored names them yet.
#[derive(Debug, Default)]
pub struct Layers {
    pins: Arc<Mutex<BTreeMap<String, usize>>>,
    /// Held while layers are collected, and while a user is looked up and pinned.
    collector: tokio::sync::Mutex<()>,
}

/// Keeps layers until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Pin {
    pins: Arc<Mutex<BTreeMap<String, usize>>>,
    names: Vec<String>,
}

impl Layers {
    /// Keeps these layers.
    pub fn pin(&self, names: &[String]) -> Pin {
        let mut pins = lock(&self.pins);
        for name in names {
            *pins.entry(name.clone()).or_default() += 1;
        }
        Pin {
            pins: self.pins.clone(),
            names: names.to_vec(),
        }
    }

    /// Keeps the collector out: to look a user up and pin its layers.
    pub async fn collector(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.collector.lock().await
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = lock(&self.pins);
        for name in &self.names {
            if let Some(count) = pins.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    pins.remove(name);
                }
            }
        }
    }
}

impl Engine {
    /// Notes a layer that is about to be made, so that a crash cannot leave it unknown.
    pub(super) async fn new_layer(&self) -> Result<(String, Pin)> {
        let name = ids::layer();
        let pin = self.layers.pin(std::slice::from_ref(&name));
        let noted = name.clone();
        let put = self
            .store
            .call(move |c| documents::put(c, Document::Layer, &noted, "", &format!("{noted:?}")));
        put.await?;
        Ok((name, pin))
    }

    /// Layers that anything uses. The caller keeps users from coming meanwhile: see
    /// [`Layers::collector`].
    async fn used_layers(&self) -> Result<BTreeSet<String>> {
        #[derive(Deserialize)]
        struct User {
            layers: Vec<String>,
        }
        #[derive(Deserialize)]
        struct Pool {
            template: User,
        }
        let mut used: BTreeSet<String> = lock(&self.layers.pins).keys().cloned().collect();
        for machine in self.all_live() {
            used.extend(machine.read(|r| r.layers.clone()));
        }
        let rows = self.store.call(|c| {
            let mut rows = documents::list(c, Document::Snapshot, None)?;
            rows.extend(documents::list(c, Document::Template, None)?);
            rows.extend(builds::artifacts(c)?);
            let pools = documents::list(c, Document::Pool, None)?;
            Ok((rows, pools, builds::cached_layers(c)?))
        });
        // A row that cannot be read may use any layer.
        let unreadable = |error| Error::internal("reading what uses a layer", error);
        let (rows, pools, cached) = rows.await?;
        for row in rows {
            used.extend(serde_json::from_str::<User>(&row).map_err(unreadable)?.layers);
        }
        for row in pools {
            used.extend(
                serde_json::from_str::<Pool>(&row)
                    .map_err(unreadable)?
                    .template
                    .layers,
            );
        }
        for row in cached {
            used.extend(serde_json::from_str::<Vec<String>>(&row).map_err(unreadable)?);
        }
        Ok(used)
    }

    /// Removes layers of images that nothing uses any more.
    pub async fn prune(&self) -> Result<Pruned> {
        let _collector = self.layers.collector().await;
        let used = self.used_layers().await?;
        let pruned = self.images.prune(&used).await;
        pruned.map_err(|e| Error::internal("removing layers of images", e))
    }

    /// Removes layers that nothing uses.
    pub(super) async fn collect_layers(&self) {
        let _collector = self.layers.collector().await;
        let Ok(known) = self
            .store
            .call(|c| documents::list(c, Document::Layer, None))
            .await
        else {
            return;
        };
        if known.is_empty() {
            return;
        }
        let Ok(used) = self.used_layers().await else {
            return;
        };
        for name in known
            .iter()
            .filter_map(|k| serde_json::from_str::<String>(k).ok())
        {
            if used.contains(&name) {
                continue;
            }
            if let Err(error) = self.backend.remove_layer(&name).await {
                tracing::warn!(layer = %name, %error, "removing a layer failed");
                continue;
            }
            let forgotten = self
                .store
                .call(move |c| documents::delete(c, Document::Layer, &name));
            if let Err(error) = forgotten.await {
                tracing::warn!(%error, "forgetting a layer failed");
            }
        }
    }
}
