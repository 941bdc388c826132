//! Warm pools: making, changing, listing, ending them, and the controller that keeps each filled.

use std::sync::Arc;

use nullspace_wire::machine::MachineConfig;
use nullspace_wire::warm_pool::{
    CheckoutMode, CreateWarmPoolRequest, DegradedReason, PoolCounts, PoolResources, PoolState,
    UpdateWarmPoolRequest, VersionPolicy, WarmPool,
};
use serde_json::Value;

use super::error::{Error, Kind, Result};
use super::live::lock;
use super::pool::{Pool, Ready, Settings};
use super::record::canonical;
use super::sizes::Asked;
use super::validate::{self, Checkout};
use super::{clock, ids, Engine};
use crate::isolation::{EgressRules, Secrets, StartSpec};
use crate::store::documents::{self, Kind as Document};

/// After a checkout, while others are ready, so long before the next machine starts: the one that was taken is about to run its
/// first command, and what starts beside it would slow that down.
const REFILL_PAUSE: std::time::Duration = std::time::Duration::from_millis(25);
/// Most machines a pool may hold ready on one computer.
pub const MAX_READY: u32 = nullspace_wire::limits::POOL_READY.max as u32;
/// Source: PROTOCOL.md section 12.
const DEFAULT_IDLE_SECONDS: u64 = 600;
/// Source: PROTOCOL.md section 12.
const DEFAULT_STALE_SECONDS: u64 = 900;

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

/// A change of a pool's state by request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Serve.
    Enable,
    /// Do not serve; end the ready machines.
    Disable,
    /// Give up the ready machines and do not serve.
    Drain,
    /// Look after it now.
    Reconcile,
}

fn no_pool(id: &str) -> Error {
    Error::new(Kind::NotFound, format!("there is no warm pool {id}"))
}

fn check_sizes(min: u32, max: u32) -> Result<()> {
    if max > MAX_READY {
        return Err(Error::invalid(
            "max_ready",
            format_args!("is {max}: this engine holds at most {MAX_READY} a pool"),
        ));
    }
    if max < min {
        let text = format!("is {max}, less than `min_ready` {min}: give {min} or more");
        return Err(Error::invalid("max_ready", text));
    }
    Ok(())
}

fn check_resources(resources: &PoolResources) -> Result<()> {
    if !(1..=validate::MAX_VCPUS).contains(&resources.vcpus) {
        return Err(Error::invalid(
            "resources.vcpus",
            format_args!("is {}: give 1 or more, such as 2", resources.vcpus),
        ));
    }
    if !(1..=validate::MAX_MEMORY_MB).contains(&resources.memory_mb) {
        let text = format!("is {}: give MiB such as 512", resources.memory_mb);
        return Err(Error::invalid("resources.memory_mb", text));
    }
    resources.disk_mb.map(validate::disk_mb).transpose()?;
    Ok(())
}

fn at_least_one(field: &str, value: Option<u64>, default: u64) -> Result<u64> {
    match value.unwrap_or(default) {
        0 => Err(Error::invalid(
            field,
            format_args!("is 0: give seconds such as {default}"),
        )),
        seconds => Ok(seconds),
    }
}

fn check_tracking(policy: VersionPolicy, track_tag: Option<&str>, reference: &str) -> Result<()> {
    let has_tag = track_tag.is_some_and(|t| !t.trim().is_empty()) || reference.contains(':');
    if policy == VersionPolicy::TrackTag && !has_tag {
        return Err(Error::invalid(
            "track_tag",
            "is missing: name the tag to follow, such as \"stable\"",
        ));
    }
    Ok(())
}

fn check_placement(host_pool_id: Option<&String>, cell_id: Option<&String>) -> Result<()> {
    let given = [("host_pool_id", host_pool_id), ("cell_id", cell_id)];
    match given.into_iter().find(|(_, value)| value.is_some()) {
        Some((field, _)) => Err(Error::invalid(
            field,
            "is for hosted Nullspace: this engine is one computer; leave it out",
        )),
        None => Ok(()),
    }
}

impl Engine {
    /// Makes a pool. Its first machines begin to start at once.
    pub async fn create_pool(self: &Arc<Self>, body: CreateWarmPoolRequest) -> Result<WarmPool> {
        self.refuse_when_closing()?;
        if body.name.trim().is_empty() {
            return Err(Error::invalid("name", "is blank: give one such as \"web\""));
        }
        check_sizes(body.min_ready, body.max_ready)?;
        check_resources(&body.resources)?;
        check_placement(body.host_pool_id.as_ref(), body.cell_id.as_ref())?;
        let version_policy = body.version_policy.unwrap_or(VersionPolicy::PinnedBuild);
        check_tracking(version_policy, body.track_tag.as_deref(), &body.template_ref)?;
        let now = clock::now();
        let settings = Settings {
            id: ids::pool(),
            template: self
                .template(&wanted_build(
                    &body.template_ref,
                    version_policy,
                    body.track_tag.as_deref(),
                ))
                .await?,
            idle_timeout_seconds: at_least_one(
                "idle_timeout_seconds",
                body.idle_timeout_seconds,
                DEFAULT_IDLE_SECONDS,
            )?,
            stale_after_seconds: at_least_one(
                "stale_after_seconds",
                body.stale_after_seconds,
                DEFAULT_STALE_SECONDS,
            )?,
            name: body.name,
            template_ref: body.template_ref,
            resources: body.resources,
            min_ready: body.min_ready,
            max_ready: body.max_ready,
            checkout_policy: body.checkout_policy.unwrap_or(CheckoutMode::Prefer),
            version_policy,
            track_tag: body.track_tag,
            generation: 1,
            state: PoolState::Enabled,
            labels: body.labels.unwrap_or_default(),
            metadata: body.metadata.unwrap_or_default(),
            claimed: 0,
            created_at: now.clone(),
            updated_at: now.clone(),
            enabled_at: Some(now),
            disabled_at: None,
            drain_requested_at: None,
        };
        settings.template.check_disk(settings.resources.disk_mb)?;
        self.check_pool_sizes(&settings.template.name, &settings.resources)?;
        let pool = Pool::new(settings);
        self.save_pool(&pool).await?;
        self.add_pool(pool.clone());
        Ok(pool.info())
    }

    fn check_pool_sizes(&self, template: &str, sizes: &PoolResources) -> Result<()> {
        let asked = Asked::for_template(template, Some(sizes.vcpus), Some(sizes.memory_mb), sizes.disk_mb);
        asked.check(self.backend.capabilities())
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
        infos.retain(|pool| {
            filter.state.is_none_or(|state| pool.state == state)
                && filter
                    .status
                    .as_deref()
                    .is_none_or(|status| status_name(pool) == status)
                && filter.labels.iter().all(|label| has_label(pool, label))
        });
        infos.sort_by(|a, b| (&b.created_at, &b.id).cmp(&(&a.created_at, &a.id)));
        infos.truncate(filter.limit.unwrap_or(usize::MAX));
        Ok(infos)
    }

    /// Changes what is given. Ready machines of another size or template are replaced.
    pub async fn update_pool(&self, id: &str, body: UpdateWarmPoolRequest) -> Result<WarmPool> {
        let pool = self.pool(id)?;
        let old = pool.read(Settings::clone);
        if body.name.as_deref().is_some_and(|n| n.trim().is_empty()) {
            return Err(Error::invalid("name", "is blank: give one such as \"web\""));
        }
        check_sizes(
            body.min_ready.unwrap_or(old.min_ready),
            body.max_ready.unwrap_or(old.max_ready),
        )?;
        body.resources.as_ref().map(check_resources).transpose()?;
        check_placement(body.host_pool_id.as_ref(), body.cell_id.as_ref())?;
        let idle = at_least_one(
            "idle_timeout_seconds",
            body.idle_timeout_seconds,
            old.idle_timeout_seconds,
        )?;
        let stale = at_least_one(
            "stale_after_seconds",
            body.stale_after_seconds,
            old.stale_after_seconds,
        )?;
        let reference = body
            .template_ref
            .or(body.template)
            .unwrap_or_else(|| old.template_ref.clone());
        let track_tag = body.track_tag.or(old.track_tag);
        let version_policy = body.version_policy.unwrap_or(old.version_policy);
        check_tracking(version_policy, track_tag.as_deref(), &reference)?;
        let is_same = reference == old.template_ref
            && version_policy == old.version_policy
            && version_policy == VersionPolicy::PinnedBuild;
        // A pinned build stays what it is until the pool is told otherwise.
        let template = match is_same {
            true => old.template,
            false => {
                let wanted = wanted_build(&reference, version_policy, track_tag.as_deref());
                self.template(&wanted).await?
            }
        };
        if let Some(resources) = &body.resources {
            template.check_disk(resources.disk_mb)?;
            self.check_pool_sizes(&template.name, resources)?;
        }
        pool.set(|s| {
            let resources = body.resources.unwrap_or_else(|| s.resources.clone());
            if resources != s.resources || template != s.template {
                s.generation += 1;
            }
            s.name = body.name.unwrap_or_else(|| s.name.clone());
            s.min_ready = body.min_ready.unwrap_or(s.min_ready);
            s.max_ready = body.max_ready.unwrap_or(s.max_ready);
            s.checkout_policy = body.checkout_policy.unwrap_or(s.checkout_policy);
            s.labels = body.labels.unwrap_or_else(|| s.labels.clone());
            s.metadata = body.metadata.unwrap_or_else(|| s.metadata.clone());
            (s.resources, s.template, s.template_ref) = (resources, template, reference);
            (s.idle_timeout_seconds, s.stale_after_seconds) = (idle, stale);
            (s.version_policy, s.track_tag) = (version_policy, track_tag);
            s.updated_at = clock::now();
        });
        self.save_pool(&pool).await?;
        Ok(pool.info())
    }

    /// Changes whether a pool serves.
    pub async fn turn_pool(&self, id: &str, turn: Turn) -> Result<WarmPool> {
        let pool = self.pool(id)?;
        let now = Some(clock::now());
        pool.set(|s| match turn {
            Turn::Enable => (s.state, s.enabled_at) = (PoolState::Enabled, now),
            Turn::Disable => (s.state, s.disabled_at) = (PoolState::Disabled, now),
            Turn::Drain => (s.state, s.drain_requested_at) = (PoolState::Draining, now),
            Turn::Reconcile => {}
        });
        if turn != Turn::Reconcile {
            pool.set(|s| s.updated_at = clock::now());
            self.save_pool(&pool).await?;
        }
        Ok(pool.info())
    }

    /// Ends a pool and its ready machines; machines that were taken out of it live on.
    pub async fn delete_pool(&self, id: &str) -> Result<WarmPool> {
        let pool = lock(&self.pools).remove(id).ok_or_else(|| no_pool(id))?;
        pool.set(|s| s.state = PoolState::Deleted);
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
                settings.id.clone(),
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

    fn add_pool(self: &Arc<Self>, pool: Arc<Pool>) {
        lock(&self.pools).insert(pool.id.clone(), pool.clone());
        let engine = self.clone();
        self.tasks.spawn(async move { engine.control(pool).await });
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
            let is_over = closing || pool.read(|s| s.state == PoolState::Deleted);
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
            let (config, template) = pool.read(|s| (s.resources.clone(), s.template.clone()));
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
            if settings.template.id == template && settings.state != PoolState::Deleted {
                found.push((settings.id, settings.name));
            }
        }
        Ok(found)
    }

    /// Gives pools that follow a tag of the template what it means now: their machines of another build are replaced.
    pub(super) async fn roll_pools(&self, template: &str) {
        let pools = self.all_pools();
        for pool in pools {
            let follows =
                |s: &Settings| s.template.id == template && s.version_policy == VersionPolicy::TrackTag;
            let Some(wanted) = pool.read(|s| {
                follows(s).then(|| wanted_build(&s.template_ref, s.version_policy, s.track_tag.as_deref()))
            }) else {
                continue;
            };
            // A tag that was removed leaves the pool with what it has.
            let Ok(now) = self.template(&wanted).await else {
                continue;
            };
            let changed = pool.set(|s| {
                let is_new = s.template.build_id != now.build_id;
                if is_new {
                    (s.template, s.updated_at) = (now, clock::now());
                    s.generation += 1;
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

/// The build that a pool holds: of the tag that it follows, or of its reference.
fn wanted_build(reference: &str, policy: VersionPolicy, track_tag: Option<&str>) -> String {
    let tag = track_tag.map(str::trim).filter(|tag| !tag.is_empty());
    match (policy, tag) {
        (VersionPolicy::TrackTag, Some(tag)) => {
            let name = reference.split_once(':').map_or(reference, |(name, _)| name);
            format!("{name}:{tag}")
        }
        _ => reference.to_owned(),
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
