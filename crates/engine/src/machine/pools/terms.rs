//! What the owner of a warm pool wants, checked: the same for a pool of an engine and one of a cluster, whose nodes hold a share each.

use nullspace_wire::machine::MachineConfig;
use nullspace_wire::warm_pool::{
    CheckoutMode, CreateWarmPoolRequest, DegradedReason, PoolCounts, PoolResources, PoolState,
    UpdateWarmPoolRequest, VersionPolicy, WarmPool,
};
use nullspace_wire::{JsonObject, Timestamp};
use serde::{Deserialize, Serialize};

use crate::machine::ground::{clock, Error, Result};
use crate::machine::templates::Template;
use crate::machine::validate;

/// Most machines a pool may hold ready.
const MAX_READY: u32 = nullspace_wire::limits::POOL_READY.max as u32;
/// Source: PROTOCOL.md section 12.
const DEFAULT_IDLE_SECONDS: u64 = 600;
/// Source: PROTOCOL.md section 12.
const DEFAULT_STALE_SECONDS: u64 = 900;

/// A change of a pool's state by request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolAction {
    /// Serve.
    Enable,
    /// Do not serve; end the ready machines.
    Disable,
    /// Give up the ready machines and do not serve.
    Drain,
    /// Look after it now.
    Reconcile,
}

/// The terms of a pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// `twp_...`
    pub id: String,
    /// Free text.
    pub name: String,
    /// As given.
    pub template_ref: String,
    /// Size of each machine.
    pub resources: PoolResources,
    /// Machines to hold ready.
    pub min_ready: u32,
    /// At most so many.
    pub max_ready: u32,
    /// Machines over the minimum live so long.
    pub idle_timeout_seconds: u64,
    /// All machines live so long.
    pub stale_after_seconds: u64,
    /// What a create without a mode does.
    pub checkout_policy: CheckoutMode,
    /// Which build.
    pub version_policy: VersionPolicy,
    /// Tag followed.
    pub track_tag: Option<String>,
    /// Grows when what the machines are made of changes.
    pub generation: u64,
    /// Whether it serves.
    pub state: PoolState,
    /// Lists can filter by them.
    pub labels: JsonObject,
    /// Verbatim.
    pub metadata: JsonObject,
    /// When.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// Last enable.
    pub enabled_at: Option<Timestamp>,
    /// Last disable.
    pub disabled_at: Option<Timestamp>,
    /// Last drain.
    pub drain_requested_at: Option<Timestamp>,
}

/// What a reference to a template means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// `tmpl_...`
    pub template_id: String,
    /// In full.
    pub name: String,
    /// `tb_...`
    pub build_id: Option<String>,
}

impl Resolved {
    /// Of a template.
    pub(super) fn of(template: &Template) -> Self {
        Self {
            template_id: template.id.clone(),
            name: match &template.build_id {
                Some(build) => format!("{}:{build}", template.full_name()),
                None => format!("nullspace/{}:latest", template.name),
            },
            build_id: template.build_id.clone(),
        }
    }
}

impl Terms {
    /// Of a new pool.
    pub fn new(id: String, body: CreateWarmPoolRequest) -> Result<Self> {
        check_name(&body.name)?;
        check_sizes(body.min_ready, body.max_ready)?;
        check_resources(&body.resources)?;
        check_placement(body.host_pool_id.as_ref(), body.cell_id.as_ref())?;
        let version_policy = body.version_policy.unwrap_or(VersionPolicy::PinnedBuild);
        check_tracking(version_policy, body.track_tag.as_deref(), &body.template_ref)?;
        let now = clock::now();
        Ok(Self {
            id,
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
            created_at: now.clone(),
            updated_at: now.clone(),
            enabled_at: Some(now),
            disabled_at: None,
            drain_requested_at: None,
        })
    }

    /// With what a request changes. The caller finds the build and counts the generation.
    pub fn changed(&self, body: &UpdateWarmPoolRequest) -> Result<Self> {
        let mut terms = self.clone();
        if let Some(name) = &body.name {
            check_name(name)?;
            terms.name.clone_from(name);
        }
        terms.min_ready = body.min_ready.unwrap_or(self.min_ready);
        terms.max_ready = body.max_ready.unwrap_or(self.max_ready);
        check_sizes(terms.min_ready, terms.max_ready)?;
        if let Some(resources) = &body.resources {
            check_resources(resources)?;
            terms.resources = resources.clone();
        }
        check_placement(body.host_pool_id.as_ref(), body.cell_id.as_ref())?;
        terms.idle_timeout_seconds = at_least_one(
            "idle_timeout_seconds",
            body.idle_timeout_seconds,
            self.idle_timeout_seconds,
        )?;
        terms.stale_after_seconds = at_least_one(
            "stale_after_seconds",
            body.stale_after_seconds,
            self.stale_after_seconds,
        )?;
        if let Some(reference) = body.template_ref.as_ref().or(body.template.as_ref()) {
            terms.template_ref.clone_from(reference);
        }
        terms.track_tag = body.track_tag.clone().or(terms.track_tag);
        terms.version_policy = body.version_policy.unwrap_or(self.version_policy);
        check_tracking(
            terms.version_policy,
            terms.track_tag.as_deref(),
            &terms.template_ref,
        )?;
        terms.checkout_policy = body.checkout_policy.unwrap_or(self.checkout_policy);
        terms.labels = body.labels.clone().unwrap_or(terms.labels);
        terms.metadata = body.metadata.clone().unwrap_or(terms.metadata);
        terms.updated_at = clock::now();
        Ok(terms)
    }

    /// Changes whether it serves.
    pub fn turn(&mut self, turn: PoolAction) {
        let now = clock::now();
        let at = Some(now.clone());
        match turn {
            PoolAction::Enable => (self.state, self.enabled_at) = (PoolState::Enabled, at),
            PoolAction::Disable => (self.state, self.disabled_at) = (PoolState::Disabled, at),
            PoolAction::Drain => (self.state, self.drain_requested_at) = (PoolState::Draining, at),
            PoolAction::Reconcile => return,
        }
        self.updated_at = now;
    }

    /// Whether the build of other terms is the one of these, so that nobody need look.
    pub fn keeps_build_of(&self, old: &Self) -> bool {
        self.template_ref == old.template_ref
            && self.version_policy == old.version_policy
            && self.version_policy == VersionPolicy::PinnedBuild
    }

    /// Reference of the build: of the tag that the pool follows, or as given.
    pub fn build(&self) -> String {
        let tag = self.track_tag.as_deref().map(str::trim);
        match (self.version_policy, tag.filter(|tag| !tag.is_empty())) {
            (VersionPolicy::TrackTag, Some(tag)) => {
                let reference = &self.template_ref;
                let name = reference
                    .split_once(':')
                    .map_or(reference.as_str(), |(name, _)| name);
                format!("{name}:{tag}")
            }
            _ => self.template_ref.clone(),
        }
    }

    /// Size of its machines.
    pub fn config(&self) -> MachineConfig {
        MachineConfig {
            vcpus: self.resources.vcpus,
            memory_mb: self.resources.memory_mb,
            disk_mb: self.resources.disk_mb,
        }
    }

    /// Machines that are aimed at.
    pub fn target(&self) -> u32 {
        match self.state {
            PoolState::Enabled => self.min_ready,
            _ => 0,
        }
    }

    /// What answers show. `degraded`: what keeps a pool that serves from holding enough.
    pub fn shown(
        self,
        resolved: Resolved,
        status: PoolCounts,
        degraded: Option<DegradedReason>,
        last_reconciled_at: Option<Timestamp>,
    ) -> WarmPool {
        WarmPool {
            status,
            degraded_reason: match self.state {
                PoolState::Enabled => degraded,
                PoolState::Disabled => Some(DegradedReason::ControllerDisabled),
                PoolState::Draining => Some(DegradedReason::DrainActive),
                PoolState::Deleted => None,
            },
            last_reconciled_at,
            id: self.id,
            name: self.name,
            resolved_template: resolved.name,
            resolved_template_build_id: resolved.build_id,
            template_ref: self.template_ref,
            resources: self.resources,
            min_ready: self.min_ready,
            max_ready: self.max_ready,
            idle_timeout_seconds: self.idle_timeout_seconds,
            stale_after_seconds: self.stale_after_seconds,
            checkout_policy: self.checkout_policy,
            version_policy: self.version_policy,
            track_tag: self.track_tag,
            rollout_generation: self.generation,
            rollout_status: JsonObject::new(),
            state: self.state,
            labels: self.labels,
            metadata: self.metadata,
            created_at: self.created_at,
            updated_at: self.updated_at,
            enabled_at: self.enabled_at,
            disabled_at: self.disabled_at,
            drain_requested_at: self.drain_requested_at,
            deleted_at: None,
        }
    }
}

fn check_name(name: &str) -> Result<()> {
    match name.trim().is_empty() {
        true => Err(Error::invalid("name", "is blank: give one such as \"web\"")),
        false => Ok(()),
    }
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
