//! Warm pools: making, changing, listing, ending them, and the controller that keeps each filled.

pub mod pool;
mod refill;
pub mod terms;

use std::collections::hash_map::Entry;
use std::sync::Arc;

use nullspace_wire::machine::MachineConfig;
use nullspace_wire::warm_pool::{
    CheckoutMode, CreateWarmPoolRequest, DegradedReason, PoolCounts, PoolResources, PoolState,
    UpdateWarmPoolRequest, VersionPolicy, WarmPool,
};
use serde_json::Value;

use crate::isolation::{EgressRules, Secrets, StartSpec};
use crate::machine::ground::json::canonical;
use crate::machine::ground::sync::lock;
use crate::machine::ground::{clock, ids, Error, Kind, Result};
use crate::machine::templates::Template;
use crate::machine::validate::sizes::Asked;
use crate::machine::validate::Checkout;
use crate::machine::Engine;
use crate::store::documents::{self, Kind as Document};
use pool::{Pool, Ready, Settings};
pub use terms::PoolAction;
use terms::{Resolved, Terms};

/// After a checkout, while others are ready, so long before the next machine starts: the one that was taken is about to run its
/// first command, and what starts beside it would slow that down.
const REFILL_PAUSE: std::time::Duration = std::time::Duration::from_millis(25);
/// Which pools to list. Absent = any.
#[derive(Debug, Clone, Default)]
pub struct PoolFilter {
    /// Template as given to the pool, or a reference that means the same.
    pub template: Option<String>,
    /// Whether it serves.
    pub state: Option<PoolState>,
    /// `ready`, `warming`, `degraded`, `draining`, `unavailable`.
    pub status: Option<String>,
    /// `key=value`, or `key` alone for any value; all must match.
    pub labels: Vec<String>,
    /// At most so many.
    pub limit: Option<usize>,
}

impl PoolFilter {
    /// Whether a pool is shown, whatever its template.
    pub fn holds(&self, pool: &WarmPool) -> bool {
        self.state.is_none_or(|state| pool.state == state)
            && self
                .status
                .as_deref()
                .is_none_or(|status| status_name(pool) == status)
            && self.labels.iter().all(|label| has_label(pool, label))
    }
}

/// There is none of this id.
pub fn no_pool(id: &str) -> Error {
    Error::new(Kind::NotFound, format!("there is no warm pool {id}"))
}

impl Engine {
    /// Makes a pool. Its first machines begin to start at once.
    pub async fn create_pool(self: &Arc<Self>, body: CreateWarmPoolRequest) -> Result<WarmPool> {
        self.put_pool(Terms::new(ids::pool(), body)?).await
    }

    /// Makes the pool of these terms, or gives them to it: a node of a cluster holds its share of the cluster's pools.
    pub async fn put_pool(self: &Arc<Self>, terms: Terms) -> Result<WarmPool> {
        self.refuse_when_closing()?;
        let known = self.pool(&terms.id).ok();
        let template = match &known {
            Some(pool) => {
                let (old, template) = pool.read(|s| (s.terms.clone(), s.template.clone()));
                self.build_of(&terms, &old, template).await?
            }
            None => self.template(&terms.build()).await?,
        };
        self.check_pool_sizes(&template, &terms.resources)?;
        let pool = match known {
            Some(pool) => {
                pool.set(|s| s.change(terms, template));
                pool
            }
            None => {
                let settings = Settings {
                    terms,
                    template,
                    claimed: 0,
                };
                let pool = Pool::new(settings);
                // Stored first: what is filled is known after a crash. Of two that come at once the second is the one that counts.
                self.save_pool(&pool).await?;
                match self.add_pool(pool.clone()) {
                    None => return Ok(pool.info()),
                    Some(other) => {
                        let made = pool.read(Settings::clone);
                        other.set(|s| s.change(made.terms, made.template));
                        other
                    }
                }
            }
        };
        self.save_pool(&pool).await?;
        Ok(pool.info())
    }

    /// The build of a pool's terms. A pinned one stays what it is until the pool is told otherwise.
    async fn build_of(&self, terms: &Terms, old: &Terms, template: Template) -> Result<Template> {
        match terms.keeps_build_of(old) {
            true => Ok(template),
            false => self.template(&terms.build()).await,
        }
    }

    fn check_pool_sizes(&self, template: &Template, sizes: &PoolResources) -> Result<()> {
        template.check_disk(sizes.disk_mb)?;
        let (vcpus, memory_mb) = (Some(sizes.vcpus), Some(sizes.memory_mb));
        let asked = Asked::for_template(&template.name, vcpus, memory_mb, sizes.disk_mb);
        asked.check(self.backend.capabilities())
    }

    /// What a pool of a template would hold; refuses sizes that its machines cannot have.
    pub async fn resolve_pool(&self, reference: &str, sizes: Option<&PoolResources>) -> Result<Resolved> {
        let template = self.template(reference).await?;
        if let Some(sizes) = sizes {
            self.check_pool_sizes(&template, sizes)?;
        }
        Ok(Resolved::of(&template))
    }

    /// One pool.
    pub fn pool(&self, id: &str) -> Result<Arc<Pool>> {
        lock(&self.pools).get(id).cloned().ok_or_else(|| no_pool(id))
    }

    pub(super) fn all_pools(&self) -> Vec<Arc<Pool>> {
        lock(&self.pools).values().cloned().collect()
    }

    /// How many machines each pool has, by id.
    pub fn pool_counts(&self) -> Vec<(String, PoolCounts)> {
        let pools = self.all_pools();
        pools
            .iter()
            .map(|pool| (pool.id.clone(), pool.info().status))
            .collect()
    }

    /// Pools that match, newest first.
    pub async fn list_pools(&self, filter: PoolFilter) -> Result<Vec<WarmPool>> {
        let wanted = match &filter.template {
            // A template that is not here has no pools.
            Some(reference) => match self.template(reference).await {
                Ok(template) => Some(template.id),
                Err(_) => return Ok(Vec::new()),
            },
            None => None,
        };
        let mut pools = self.all_pools();
        pools.retain(|p| wanted.as_ref().is_none_or(|id| p.read(|s| s.template.id == *id)));
        let mut infos: Vec<WarmPool> = pools.iter().map(|p| p.info()).collect();
        infos.retain(|pool| filter.holds(pool));
        infos.sort_by(|a, b| (&b.created_at, &b.id).cmp(&(&a.created_at, &a.id)));
        infos.truncate(filter.limit.unwrap_or(usize::MAX));
        Ok(infos)
    }

    /// Changes what is given. Ready machines of another size or template are replaced.
    pub async fn update_pool(&self, id: &str, body: UpdateWarmPoolRequest) -> Result<WarmPool> {
        let pool = self.pool(id)?;
        let (old, template) = pool.read(|s| (s.terms.clone(), s.template.clone()));
        let terms = old.changed(&body)?;
        let template = self.build_of(&terms, &old, template).await?;
        if let Some(resources) = &body.resources {
            self.check_pool_sizes(&template, resources)?;
        }
        // Anew: something else of it may have changed meanwhile.
        pool.set(|s| {
            let terms = s.terms.changed(&body)?;
            s.change(terms, template);
            Ok::<_, Error>(())
        })?;
        self.save_pool(&pool).await?;
        Ok(pool.info())
    }

    /// Changes whether a pool serves.
    pub async fn turn_pool(&self, id: &str, turn: PoolAction) -> Result<WarmPool> {
        let pool = self.pool(id)?;
        pool.set(|s| s.terms.turn(turn));
        if turn != PoolAction::Reconcile {
            self.save_pool(&pool).await?;
        }
        Ok(pool.info())
    }

    /// Ends a pool and its ready machines; machines that were taken out of it live on.
    pub async fn delete_pool(&self, id: &str) -> Result<WarmPool> {
        let pool = lock(&self.pools).remove(id).ok_or_else(|| no_pool(id))?;
        pool.set(|s| s.terms.state = PoolState::Deleted);
        let deleted = id.to_owned();
        let deleted = self
            .store
            .call(move |c| documents::delete(c, Document::Pool, &deleted));
        deleted.await?;
        let mut info = pool.info();
        info.deleted_at = Some(clock::now());
        Ok(info)
    }

    /// Size of the machines of the pool that a create wants to use.
    pub(super) async fn pool_config(&self, checkout: Option<&Checkout>) -> Result<Option<MachineConfig>> {
        match checkout {
            Some(Checkout {
                id: Some(id), mode, ..
            }) if *mode != Some(CheckoutMode::Bypass) => Ok(Some(self.pool(id)?.config())),
            _ => Ok(None),
        }
    }

    async fn save_pool(&self, pool: &Pool) -> Result<()> {
        let sent = pool.read(|settings| {
            let (id, json) = (
                settings.terms.id.clone(),
                serde_json::to_string(settings).unwrap_or_default(),
            );
            self.store
                .send(move |c| documents::put(c, Document::Pool, &id, "", &json))
        });
        Ok(sent.done().await?)
    }

    /// Pools of an earlier run, which begin to fill again.
    pub(super) async fn load_pools(self: &Arc<Self>) -> Result<()> {
        for row in self
            .store
            .call(|c| documents::list(c, Document::Pool, None))
            .await?
        {
            let settings =
                serde_json::from_str(&row).map_err(|e| Error::internal("reading a warm pool", e))?;
            self.add_pool(Pool::new(settings));
        }
        Ok(())
    }

    /// Begins to fill a pool; gives the one that has its id already.
    fn add_pool(self: &Arc<Self>, pool: Arc<Pool>) -> Option<Arc<Pool>> {
        match lock(&self.pools).entry(pool.id.clone()) {
            Entry::Occupied(other) => return Some(other.get().clone()),
            Entry::Vacant(free) => free.insert(pool.clone()),
        };
        let engine = self.clone();
        self.tasks.spawn(async move { engine.control(pool).await });
        None
    }

    /// Keeps a pool as it should be until it is deleted or the engine ends, and all of its machines are gone.
    async fn control(self: Arc<Self>, pool: Arc<Pool>) {
        let mut claimed = pool.read(|s| s.claimed);
        loop {
            let closing = self.closing.is_cancelled();
            let step = pool.step(clock::instant(), clock::now(), closing);
            for ready in step.stop {
                self.give_up(&pool, ready);
            }
            for _ in 0..step.start {
                self.warm(&pool, step.generation);
            }
            let is_over = closing || pool.read(|s| s.terms.state == PoolState::Deleted);
            if is_over && pool.is_empty() {
                return;
            }
            // Kept here and not by the checkout, which must not wait for the disk.
            let now_claimed = pool.read(|s| s.claimed);
            if now_claimed != claimed && !is_over {
                claimed = now_claimed;
                if let Err(error) = self.save_pool(&pool).await {
                    tracing::warn!(pool = %pool.id, %error, "storing a warm pool failed");
                }
            }
            let wake = async {
                match step.wake {
                    Some(at) => clock::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = pool.changed.notified() => {
                    let was_taken = pool.read(|s| s.claimed) != claimed;
                    if was_taken && pool.has_ready() && !self.closing.is_cancelled() {
                        tokio::time::sleep(REFILL_PAUSE).await;
                    }
                }
                () = wake => {}
                () = self.closing.cancelled(), if !closing => {}
            }
        }
    }

    fn warm(self: &Arc<Self>, pool: &Arc<Pool>, generation: u64) {
        let (engine, pool) = (self.clone(), pool.clone());
        self.tasks.spawn(async move {
            let id = engine.ids.machine();
            let (config, template) = pool.read(|s| (s.terms.resources.clone(), s.template.clone()));
            let spec = StartSpec {
                id: id.clone(),
                layers: template.layers.clone(),
                whole_root: template.whole_root,
                vcpus: config.vcpus,
                memory_mb: config.memory_mb,
                disk_mb: config.disk_mb,
                egress: EgressRules::allow_all(),
                secrets: Secrets::default(),
                mounts: Vec::new(),
            };
            let running = match engine.start_spec(spec).await {
                Ok(running) => running,
                Err(error) => {
                    tracing::warn!(pool = %pool.id, %error, "warming a machine failed");
                    pool.fail(match error.kind {
                        Kind::FeatureUnavailable | Kind::CapacityExceeded => DegradedReason::NoEligibleHosts,
                        _ => DegradedReason::ArtifactPrewarmFailed,
                    });
                    return;
                }
            };
            if let Some(start) = &template.start {
                let (envs, cwd) = (&template.default_envs, &template.default_workdir);
                let user = template.user.as_ref();
                if let Err(error) = start.run(&running, config.memory_mb, envs, cwd, user).await {
                    tracing::warn!(pool = %pool.id, %error, "a machine of the pool did not become ready");
                    let _ = running.stop().await;
                    pool.fail(DegradedReason::ArtifactPrewarmFailed);
                    return;
                }
            }
            if let Err(running) = pool.arrive(id.clone(), running.clone(), generation) {
                let _ = running.stop().await;
                pool.changed.notify_one();
                return;
            }
            // Lives on with the machine after a checkout, where it is of no effect.
            let watched = pool.clone();
            tokio::spawn(async move {
                running.ended().await;
                watched.lose(&id);
            });
        });
    }

    /// Id and name of the pools that hold machines of a template, as stored.
    pub(super) async fn pools_of_template(&self, template: &str) -> Result<Vec<(String, String)>> {
        let rows = self
            .store
            .call(|c| documents::list(c, documents::Kind::Pool, None))
            .await?;
        let mut found = Vec::new();
        for row in rows {
            let settings: Settings =
                serde_json::from_str(&row).map_err(|e| Error::internal("reading a warm pool", e))?;
            if settings.template.id == template && settings.terms.state != PoolState::Deleted {
                found.push((settings.terms.id, settings.terms.name));
            }
        }
        Ok(found)
    }

    /// Gives pools that follow a tag of the template what it means now: their machines of another build are replaced.
    pub(super) async fn roll_pools(&self, template: &str) {
        let pools = self.all_pools();
        for pool in pools {
            let follows =
                |s: &Settings| s.template.id == template && s.terms.version_policy == VersionPolicy::TrackTag;
            let Some(wanted) = pool.read(|s| follows(s).then(|| s.terms.build())) else {
                continue;
            };
            // A tag that was removed leaves the pool with what it has.
            let Ok(now) = self.template(&wanted).await else {
                continue;
            };
            let changed = pool.set(|s| {
                let is_new = s.template.build_id != now.build_id;
                if is_new {
                    (s.template, s.terms.updated_at) = (now, clock::now());
                    s.terms.generation += 1;
                }
                is_new
            });
            if changed {
                if let Err(error) = self.save_pool(&pool).await {
                    tracing::warn!(pool = %pool.id, %error, "storing a warm pool failed");
                }
            }
        }
    }

    fn give_up(&self, pool: &Arc<Pool>, ready: Ready) {
        let pool = pool.clone();
        self.tasks.spawn(async move {
            if let Err(error) = ready.running.stop().await {
                tracing::warn!(pool = %pool.id, %error, "ending a ready machine failed");
            }
            pool.drained();
        });
    }
}

/// The word by which lists filter.
fn status_name(pool: &WarmPool) -> &'static str {
    match pool.state {
        PoolState::Disabled | PoolState::Deleted => "unavailable",
        PoolState::Draining => "draining",
        PoolState::Enabled if pool.degraded_reason.is_some() => "degraded",
        PoolState::Enabled if pool.status.ready >= pool.min_ready => "ready",
        PoolState::Enabled => "warming",
    }
}

fn has_label(pool: &WarmPool, filter: &str) -> bool {
    let Some((key, wanted)) = filter.split_once('=') else {
        return pool.labels.contains_key(filter);
    };
    match pool.labels.get(key) {
        Some(Value::String(text)) => text == wanted,
        Some(other) => canonical(other) == wanted,
        None => false,
    }
}
