//! Layers of steps and records of whole builds, kept under the hash of all that made them.

use std::sync::Arc;

use nullspace_wire::template::{BuildLogKind, BuildLogLevel};

use super::run::{in_step, Done, Failure};
use super::scene::Scene;
use super::Build;
use crate::isolation::Running;
use crate::machine::ground::sync::lock;
use crate::machine::ground::{clock, Error, Result};
use crate::machine::templates::layers::Pin;
use crate::machine::Engine;
use crate::store::builds as store;

/// What the cache keeps: steps that were used this many microseconds ago at most, how many, and bytes of their layers.
const LIFETIME: i64 = 7 * 24 * 3600 * 1_000_000;
const MOST_CACHED: usize = 1000;
const MOST_CACHED_BYTES: u64 = 10 << 30;

impl Engine {
    /// What the cache has under a key: layers that stay as long as the pin, and the record of a whole build.
    pub(super) async fn cached(&self, key: &str) -> Done<Option<(Vec<String>, Pin, String)>> {
        let _collector = self.layers.collector().await;
        let (wanted, now) = (key.to_owned(), clock::now_micros());
        let found = self.store.call(move |c| store::cached(c, &wanted, now)).await;
        let found = found.map_err(|error| Failure::at("build_step", "engine", error.into()))?;
        Ok(found.and_then(|(layers, record)| {
            let layers: Vec<String> = serde_json::from_str(&layers).ok()?;
            let pin = self.layers.pin(&layers);
            Some((layers, pin, record))
        }))
    }

    /// Keeps what a machine wrote, under the key of its step.
    pub(super) async fn keep_layer(
        self: &Arc<Self>,
        scene: &mut Scene,
        key: &str,
        running: &Arc<dyn Running>,
    ) -> Done<()> {
        // To its end whether or not the build is cancelled: a copy that is given up half-way would be nobody's.
        let failed = |error| Failure::at("snapshot", "layer_not_kept", error);
        self.refuse_without_room().await.map_err(failed)?;
        let (name, pin) = self.new_layer().await.map_err(failed)?;
        let layer = running.snapshot(&name).await;
        let layer = layer.map_err(|e| failed(Error::isolation("keeping what the step made", e)))?;
        scene.layers.insert(0, layer.name);
        scene.size_bytes += layer.size_bytes;
        scene.key = key.to_owned();
        scene.pins.push(pin);
        self.keep_in_cache(key, &scene.layers, "", layer.size_bytes)
            .await
            .map_err(failed)
    }

    pub(super) async fn keep_in_cache(
        &self,
        key: &str,
        layers: &[String],
        record: &str,
        size_bytes: u64,
    ) -> Result<()> {
        let layers = serde_json::to_string(layers).map_err(|e| Error::internal("writing the cache", e))?;
        let (key, record) = (key.to_owned(), record.to_owned());
        let kept = self
            .store
            .call(move |c| store::cache(c, &key, &layers, &record, size_bytes, clock::now_micros()));
        kept.await?;
        self.trim_cache().await
    }

    /// Forgets steps that no build used for long, and those over the bounds. Their layers go with the next collection.
    pub(in crate::machine) async fn trim_cache(&self) -> Result<()> {
        let before = clock::now_micros() - LIFETIME;
        let trimmed = self
            .store
            .call(move |c| store::trim_cache(c, before, MOST_CACHED, MOST_CACHED_BYTES));
        Ok(trimmed.await?)
    }

    /// Forgets all steps.
    pub(in crate::machine) async fn empty_cache(&self) -> Result<()> {
        Ok(self.store.call(|c| store::trim_cache(c, i64::MAX, 0, 0)).await?)
    }
}

/// Counts and logs what the cache had for a step (its place and how many there are), or for the whole template.
pub(super) fn cache_says(
    build: &Build,
    status: &str,
    key: &str,
    step: Option<(u32, u32)>,
    reason: Option<&str>,
) {
    {
        let mut record = lock(&build.record);
        let counts = record.shown.cache_summary.get_or_insert_default();
        let count = match (step, status) {
            (Some(_), "hit") => &mut counts.layer_hits,
            (Some(_), "miss") => &mut counts.layer_misses,
            (Some(_), "stored") => &mut counts.layer_stores,
            (Some(_), _) => &mut counts.layer_bypasses,
            (None, "hit") => &mut counts.final_artifact_hits,
            (None, "miss") => &mut counts.final_artifact_misses,
            (None, "stored") => &mut counts.final_artifact_stores,
            (None, _) => &mut counts.final_artifact_bypasses,
        };
        *count += 1;
    }
    let what = match step {
        Some((place, total)) => format!("step {} of {total}", place + 1),
        None => "the template".to_owned(),
    };
    let message = match status {
        "hit" => format!("{what} is taken from the cache"),
        "miss" => format!("{what} is not in the cache"),
        "stored" => format!("{what} is kept in the cache"),
        _ => format!("{what} is made without a look into the cache"),
    };
    build.log.add(BuildLogKind::Cache, &message, |entry| {
        if let Some((place, total)) = step {
            in_step(place, total)(entry);
        }
        entry.level = match status {
            "hit" => BuildLogLevel::Info,
            _ => BuildLogLevel::Debug,
        };
        let kind = if step.is_some() { "layer" } else { "final_artifact" };
        entry.cache_kind = Some(kind.to_owned());
        entry.cache_status = Some(status.to_owned());
        entry.cache_reason = reason.map(str::to_owned);
        entry.cache_subject = Some(key[..16].to_owned());
    });
}
