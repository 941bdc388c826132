//! Which copies of files are still used, and the removal of those that are not.
//!
//! A layer is used by snapshots, templates and their builds, warm pools, the cache of builds and live machines. Between the copy and the moment its user is stored, a
//! pin keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::machine::ground::sync::lock;
use crate::machine::ground::{ids, Error, Result};
use crate::machine::Engine;
use crate::store::builds;
use crate::store::documents::{self, Kind as Document};

/// Layers that must stay although nothing stored names them yet.
#[derive(Debug, Default)]
pub struct Layers {
    pins: Arc<Mutex<BTreeMap<String, usize>>>,
    /// Held while layers are collected, and while a user is looked up and pinned.
    collector: tokio::sync::Mutex<()>,
}

/// What was removed, and what stays: layers, with their bytes on the disk.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Pruned {
    /// Nothing used them.
    pub removed: BTreeMap<String, u64>,
    /// Of images: templates, machines or snapshots are made of them, or somebody pulls them.
    pub kept: BTreeMap<String, u64>,
    /// Of images and of steps: for builds that take the same steps.
    pub cached: BTreeMap<String, u64>,
}

/// Layers that are used.
#[derive(Default)]
struct Used {
    /// By anything but the cache of builds.
    layers: BTreeSet<String>,
    /// By the cache.
    cached: BTreeSet<String>,
    /// Those of the cache that its steps made, and their bytes.
    steps: BTreeMap<String, u64>,
}

impl Used {
    fn has(&self, name: &str) -> bool {
        self.layers.contains(name) || self.cached.contains(name)
    }

    fn all(&self) -> BTreeSet<String> {
        self.layers.union(&self.cached).cloned().collect()
    }
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
    /// A layer that is about to be made.
    pub(in crate::machine) async fn new_layer(&self) -> Result<(String, Pin)> {
        let name = ids::layer();
        let pin = self.layers.pin(std::slice::from_ref(&name));
        self.note_layer(&name).await?;
        Ok((name, pin))
    }

    /// Notes a layer before it is made, so that a crash cannot leave it unknown.
    pub(in crate::machine) async fn note_layer(&self, name: &str) -> Result<()> {
        let noted = name.to_owned();
        let put = self
            .store
            .call(move |c| documents::put(c, Document::Layer, &noted, "", &format!("{noted:?}")));
        Ok(put.await?)
    }

    /// Layers that anything uses. The caller keeps users from coming meanwhile: see
    /// [`Layers::collector`].
    async fn used_layers(&self) -> Result<Used> {
        #[derive(Deserialize)]
        struct User {
            layers: Vec<String>,
        }
        #[derive(Deserialize)]
        struct Pool {
            template: User,
        }
        let mut used = Used {
            layers: lock(&self.layers.pins).keys().cloned().collect(),
            ..Used::default()
        };
        for machine in self.all_live() {
            used.layers.extend(machine.read(|r| r.layers.clone()));
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
            used.layers
                .extend(serde_json::from_str::<User>(&row).map_err(unreadable)?.layers);
        }
        for row in pools {
            used.layers.extend(
                serde_json::from_str::<Pool>(&row)
                    .map_err(unreadable)?
                    .template
                    .layers,
            );
        }
        for (row, bytes) in cached {
            let layers = serde_json::from_str::<Vec<String>>(&row).map_err(unreadable)?;
            if let Some(nearest) = layers.first().filter(|_| bytes > 0) {
                used.steps.insert(nearest.clone(), bytes);
            }
            used.cached.extend(layers);
        }
        Ok(used)
    }

    /// Removes layers of images that nothing uses any more; with `cache` also those that only cached steps of builds use, and
    /// these steps.
    pub async fn prune(&self, cache: bool) -> Result<Pruned> {
        let _collector = self.layers.collector().await;
        let before = self.used_layers().await?;
        match cache {
            true => self.empty_cache().await?,
            false => self.trim_cache().await?,
        }
        self.collect().await;
        let used = self.used_layers().await?;
        let images = self.images.prune(&used.all()).await;
        let images = images.map_err(|e| Error::internal("removing layers of images", e))?;
        let steps = before.steps.into_iter().filter(|(name, _)| !used.has(name));
        let is_cached = |name: &String| used.cached.contains(name) && !used.layers.contains(name);
        let (cached, kept) = images.kept.into_iter().partition(|(name, _)| is_cached(name));
        let mut pruned = Pruned {
            removed: images.removed.into_iter().chain(steps).collect(),
            kept,
            cached,
        };
        let steps = used.steps.iter().filter(|(name, _)| is_cached(name));
        pruned
            .cached
            .extend(steps.map(|(name, bytes)| (name.clone(), *bytes)));
        Ok(pruned)
    }

    /// Removes layers that nothing uses.
    pub(in crate::machine) async fn collect_layers(&self) {
        let _collector = self.layers.collector().await;
        self.collect().await;
    }

    async fn collect(&self) {
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
            if used.has(&name) {
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
