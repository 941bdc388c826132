//! The rules of a create body, of names and of sizes. Source: PROTOCOL.md section 3 and the schema.

mod fields;
pub mod names;
pub(super) mod sizes;

pub use fields::{absolute, check_envs, check_mount, check_policy_keys, clean, MAX_VOLUMES};

use std::time::Duration;

use nullspace_wire::limits;
use nullspace_wire::machine::{CreateMachineRequest, OnTimeout, TimeoutAction, VolumeMountRequest};
use nullspace_wire::network::{EgressMode, NetworkCreateConfig};
use nullspace_wire::warm_pool::CheckoutMode;
use nullspace_wire::{Envs, JsonObject};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::machine::ground::{Error, Result};
use crate::machine::network::egress::{self, Policy};
use crate::machine::network::secrets;
use fields::{check_desktop, check_volumes, refuse_unknown_network_keys};

/// Lease when none is asked for, in milliseconds: five minutes.
pub const DEFAULT_TIMEOUT_MS: u64 = limits::DEFAULT_LEASE_MS;
/// Longest lease, in milliseconds: a year.
pub const MAX_TIMEOUT_MS: u64 = limits::LEASE_MS.max;
/// Most processors.
pub const MAX_VCPUS: u32 = limits::VCPUS.max as u32;
/// Most memory in MiB: 1 TiB.
pub const MAX_MEMORY_MB: u32 = limits::MEMORY_MB.max as u32;
/// Disk sizes in MiB. Source: schema, `disk_mb`.
pub const DISK_MB: std::ops::RangeInclusive<u32> = limits::DISK_MB.min as u32..=limits::DISK_MB.max as u32;
/// Longest wait for a ready machine of a pool, in milliseconds: ten minutes.
pub const MAX_WAIT_MS: u64 = limits::WARM_POOL_WAIT_MS.max;

/// Name of the template that the code interpreter needs. Source: PROTOCOL.md section 8.
pub const CODE_INTERPRETER: &str = "code-interpreter";
/// Reserved for the agent. Refused as working directory, mount path and file path.
pub const RESERVED: &str = "/workspace/.nullspace";

/// A checked create.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it starts from.
    pub source: Source,
    /// Lease and what follows.
    pub lease: Lease,
    /// Verbatim.
    pub metadata: JsonObject,
    /// Network policy; of a snapshot, `None` keeps the snapshot's.
    pub policy: Option<Policy>,
    /// What it uses and never sees.
    pub secrets: secrets::Checked,
    /// `false` keeps everything shut.
    pub internet_access: bool,
    /// Whether preview ports open without a token.
    pub allow_public_traffic: bool,
    /// `Host` of preview requests inside.
    pub mask_request_host: Option<String>,
    /// Volumes to mount; `None` leaves it to the snapshot, if there is one.
    pub volumes: Option<Vec<VolumeMountRequest>>,
    /// How a warm pool is used.
    pub checkout: Option<Checkout>,
    /// The first option that a ready machine cannot take on, if any.
    pub not_poolable: Option<&'static str>,
}

/// What a machine starts from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A template with sizes and settings of the request.
    Template {
        /// Reference.
        template: String,
        /// Processors.
        vcpus: Option<u32>,
        /// MiB.
        memory_mb: Option<u32>,
        /// MiB.
        disk_mb: Option<u32>,
        /// Added to the template's.
        envs: Envs,
        /// Overrides the template's.
        cwd: Option<String>,
    },
    /// A snapshot, which has them all.
    Snapshot(String),
}

/// Lease of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Length in milliseconds.
    pub timeout_ms: u64,
    /// At its end.
    pub timeout_action: TimeoutAction,
    /// Idle limit in milliseconds.
    pub inactivity_timeout_ms: Option<u64>,
    /// Limit of a pause in milliseconds.
    pub auto_delete_after_ms: Option<u64>,
    /// Never paused.
    pub ephemeral: bool,
    /// Requests wake it.
    pub auto_resume: bool,
}

/// Use of a warm pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// `twp_...`; absent only with `bypass`.
    pub id: Option<String>,
    /// As asked; `None` leaves it to the pool.
    pub mode: Option<CheckoutMode>,
    /// How long to wait.
    pub wait: Duration,
    /// Set on a node of a cluster.
    pub search: Option<PoolSearch>,
}

/// How a node looks into its share of a pool: gateways ask one node after the other, and wait themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSearch {
    /// A ready machine or none, whatever the mode says: another node may have one.
    pub only_ready: bool,
    /// How long the gateway has waited.
    pub waited: Duration,
}

impl std::fmt::Display for PoolSearch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = if self.only_ready { "only-ready" } else { "last" };
        write!(f, "{how} {}", self.waited.as_millis())
    }
}

impl std::str::FromStr for PoolSearch {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let (how, waited) = text.split_once(' ').ok_or(())?;
        Ok(Self {
            only_ready: how == "only-ready",
            waited: Duration::from_millis(waited.parse().map_err(|_| ())?),
        })
    }
}

/// Checks a body. `raw` is the same as JSON: typed reading drops unknown keys, which in a network policy would
/// silently open what the caller meant to close.
pub fn check(body: CreateMachineRequest, raw: &Value) -> Result<Plan> {
    refuse_unknown_network_keys(raw)?;
    let lease = lease(&body)?;
    let network = body.network.as_ref();
    let internet_access = body.internet_access.unwrap_or(true);
    let mask_request_host = network.and_then(|n| n.mask_request_host.clone());
    if mask_request_host
        .as_deref()
        .is_some_and(|h| h.trim().is_empty() || h.contains(char::is_control))
    {
        return Err(Error::invalid(
            "network.mask_request_host",
            "is not a host name: give one such as \"localhost:${PORT}\"",
        ));
    }
    check_volumes(body.volumes.as_deref())?;
    names::check(body.metadata.as_ref())?;
    let not_poolable = not_poolable(&body, &lease);
    let checkout = checkout(&body)?;
    let policy = if body.snapshot_id.is_some() {
        check_snapshot_rules(&body)?;
        network
            .filter(|n| n.egress.is_some())
            .map(|n| egress::of_create(Some(n), true))
            .transpose()?
    } else {
        Some(egress::of_create(network, internet_access)?)
    };
    let secrets = secrets::check(network, body.envs.as_ref())?;
    if !internet_access && !secrets.secrets.is_empty() {
        return Err(Error::invalid(
            "network.secrets",
            "leads to services, which `internet_access: false` denies: give one of them",
        ));
    }
    let allow_public_traffic = network.and_then(|n| n.allow_public_traffic).unwrap_or(true);
    let source = source(body.clone())?;
    Ok(Plan {
        source,
        lease,
        metadata: body.metadata.unwrap_or_default(),
        policy,
        secrets,
        internet_access,
        allow_public_traffic,
        mask_request_host,
        volumes: body.volumes.filter(|v| !v.is_empty()),
        checkout,
        not_poolable,
    })
}

/// Checks a lease length in milliseconds.
pub fn timeout_ms(value: u64) -> Result<u64> {
    in_range("timeout_ms", value, 1, MAX_TIMEOUT_MS, DEFAULT_TIMEOUT_MS)
}

fn in_range<T: PartialOrd + std::fmt::Display>(
    field: &str,
    value: T,
    least: T,
    most: T,
    good: T,
) -> Result<T> {
    if value >= least && value <= most {
        Ok(value)
    } else {
        Err(Error::invalid(
            field,
            format_args!("is {value}: give {least} to {most}, such as {good}"),
        ))
    }
}

fn lease(body: &CreateMachineRequest) -> Result<Lease> {
    let at_least_one = |field: &str, value: Option<u64>| {
        value
            .map(|v| in_range(field, v, 1, MAX_TIMEOUT_MS, 60_000))
            .transpose()
    };
    let on_timeout = body
        .lifecycle
        .as_ref()
        .and_then(|l| l.on_timeout)
        .map(|o| match o {
            OnTimeout::Destroy => TimeoutAction::Destroy,
            OnTimeout::Pause => TimeoutAction::Hibernate,
        });
    if let (Some(a), Some(b)) = (body.timeout_action, on_timeout) {
        if a != b {
            return Err(Error::invalid(
                "timeout_action",
                "and `lifecycle.on_timeout` contradict each other: give one, or \"hibernate\" with \"pause\"",
            ));
        }
    }
    let ephemeral = body.ephemeral.unwrap_or(false);
    let auto_resume = body.auto_resume.unwrap_or(false);
    if ephemeral && auto_resume {
        return Err(Error::invalid(
            "ephemeral",
            "excludes `auto_resume`: an ephemeral machine is never paused; give one of them",
        ));
    }
    let asked = body
        .timeout_action
        .or(on_timeout)
        .unwrap_or(TimeoutAction::Destroy);
    // An ephemeral machine is destroyed whatever else was asked. Source: schema, `ephemeral`.
    let action = if ephemeral { TimeoutAction::Destroy } else { asked };
    if auto_resume && action != TimeoutAction::Hibernate {
        return Err(Error::invalid(
            "auto_resume",
            "needs a machine that is paused at its timeout: add timeout_action \"hibernate\"",
        ));
    }
    Ok(Lease {
        timeout_ms: timeout_ms(body.timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS))?,
        timeout_action: action,
        inactivity_timeout_ms: at_least_one("inactivity_timeout_ms", body.inactivity_timeout_ms)?,
        auto_delete_after_ms: at_least_one("auto_delete_after_ms", body.auto_delete_after_ms)?,
        ephemeral,
        auto_resume,
    })
}

fn source(body: CreateMachineRequest) -> Result<Source> {
    if let Some(id) = body.snapshot_id {
        return Ok(Source::Snapshot(id));
    }
    let template = body.template.unwrap_or_else(|| "base".into());
    check_desktop(body.desktop.as_ref(), &template)?;
    let envs = body.envs.unwrap_or_default();
    check_envs("envs", &envs)?;
    Ok(Source::Template {
        vcpus: body
            .vcpus
            .map(|v| in_range("vcpus", v, 1, MAX_VCPUS, 2))
            .transpose()?,
        memory_mb: body
            .memory_mb
            .map(|m| in_range("memory_mb", m, 1, MAX_MEMORY_MB, 512))
            .transpose()?,
        disk_mb: body.disk_mb.map(disk_mb).transpose()?,
        envs,
        cwd: body.cwd.map(|cwd| absolute("cwd", &cwd)).transpose()?,
        template,
    })
}

/// Checks a disk size in MiB.
pub fn disk_mb(value: u32) -> Result<u32> {
    in_range("disk_mb", value, *DISK_MB.start(), *DISK_MB.end(), 2048)
}

/// Memory in MiB when none is asked for. Source: schema, `memory_mb`.
pub fn default_memory_mb(template: &str) -> u32 {
    if is_large(template) {
        limits::DEFAULT_MEMORY_LARGE_MB as u32
    } else {
        256
    }
}

/// Whether machines of a template have more memory by default.
pub fn is_large(template: &str) -> bool {
    matches!(template, CODE_INTERPRETER | "desktop")
}

fn check_snapshot_rules(body: &CreateMachineRequest) -> Result<()> {
    let has_envs = body.envs.as_ref().is_some_and(|e| !e.is_empty());
    let network = body.network.as_ref();
    let is_legacy = network.is_some_and(|n| n.deny_out.is_some() || n.allow_out.is_some());
    let given = [
        ("template", body.template.is_some()),
        ("vcpus", body.vcpus.is_some()),
        ("memory_mb", body.memory_mb.is_some()),
        ("disk_mb", body.disk_mb.is_some()),
        ("envs", has_envs),
        ("cwd", body.cwd.is_some()),
        ("desktop", body.desktop.is_some()),
        ("internet_access", body.internet_access == Some(false)),
        ("network.deny_out", is_legacy),
        (
            "warm_pool",
            body.warm_pool
                .as_ref()
                .is_some_and(|p| p.mode != Some(CheckoutMode::Bypass)),
        ),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((field, _)) => Err(Error::invalid(
            field,
            "cannot be given with `snapshot_id`: it comes from the snapshot; leave it out",
        )),
        None => Ok(()),
    }
}

fn checkout(body: &CreateMachineRequest) -> Result<Option<Checkout>> {
    let Some(pool) = &body.warm_pool else {
        return Ok(None);
    };
    let id = pool.id.as_deref().map(str::trim).filter(|id| !id.is_empty());
    if id.is_none() && pool.mode != Some(CheckoutMode::Bypass) {
        return Err(Error::invalid(
            "warm_pool.id",
            "is missing: name the pool, such as \"twp_0123456789abcdef0123\", or use mode \"bypass\"",
        ));
    }
    let wait_ms = in_range(
        "warm_pool.wait_ms",
        pool.wait_ms.unwrap_or(0),
        0,
        MAX_WAIT_MS,
        1000,
    )?;
    Ok(Some(Checkout {
        id: id.map(str::to_owned),
        mode: pool.mode,
        wait: Duration::from_millis(wait_ms),
        search: None,
    }))
}

/// Options that a machine must be made with. Source: PROTOCOL.md section 3, "Warm pool modes".
fn not_poolable(body: &CreateMachineRequest, lease: &Lease) -> Option<&'static str> {
    let has_custom_network =
        body.network.as_ref().is_some_and(is_custom) || body.internet_access == Some(false);
    let options = [
        ("envs", body.envs.as_ref().is_some_and(|e| !e.is_empty())),
        ("volumes", body.volumes.as_ref().is_some_and(|v| !v.is_empty())),
        ("cwd", body.cwd.is_some()),
        ("desktop", body.desktop.is_some()),
        ("network", has_custom_network),
        ("timeout_action", lease.timeout_action != TimeoutAction::Destroy),
        ("auto_resume", lease.auto_resume),
    ];
    options
        .into_iter()
        .find(|(_, is_given)| *is_given)
        .map(|(name, _)| name)
}

fn is_custom(network: &NetworkCreateConfig) -> bool {
    let has_policy = network
        .egress
        .as_ref()
        .is_some_and(|e| e.mode != EgressMode::AllowAll || e.rate_limit.is_some());
    let has_list = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|l| !l.is_empty());
    has_policy
        || has_list(&network.deny_out)
        || has_list(&network.allow_out)
        || network.secrets.is_some()
        || network.mask_request_host.is_some()
        || network.allow_public_traffic == Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plan(body: Value) -> Result<Plan> {
        check(serde_json::from_value(body.clone()).unwrap(), &body)
    }

    /// What the Python SDK sends for `Machine.create(template="base")`. Source: a recording of it.
    #[test]
    fn the_plain_create_of_the_python_sdk_is_taken_with_its_nulls() {
        let plan = plan(json!({
            "template": "base", "vcpus": 2, "memory_mb": 512, "timeout_ms": 300_000, "auto_resume": false, "envs": {},
            "metadata": {}, "internet_access": true, "cwd": null, "desktop": null, "network": null, "volumes": null
        }))
        .unwrap();
        assert_eq!(plan.not_poolable, None);
        assert_eq!(plan.lease.timeout_ms, 300_000);
        assert_eq!(plan.lease.timeout_action, TimeoutAction::Destroy);
    }

    #[test]
    fn each_broken_rule_names_its_field() {
        let cases = [
            (json!({ "timeout_ms": 0 }), "timeout_ms"),
            (json!({ "timeout_ms": 99_999_999_999_999_u64 }), "timeout_ms"),
            (json!({ "vcpus": 0 }), "vcpus"),
            (json!({ "memory_mb": 0 }), "memory_mb"),
            (json!({ "disk_mb": 511 }), "disk_mb"),
            (json!({ "disk_mb": 131_073 }), "disk_mb"),
            (json!({ "inactivity_timeout_ms": 0 }), "inactivity_timeout_ms"),
            (json!({ "auto_delete_after_ms": 0 }), "auto_delete_after_ms"),
            (json!({ "ephemeral": true, "auto_resume": true }), "ephemeral"),
            (json!({ "auto_resume": true }), "auto_resume"),
            (
                json!({ "timeout_action": "destroy", "lifecycle": { "on_timeout": "pause" } }),
                "timeout_action",
            ),
            (json!({ "snapshot_id": "snap_1", "disk_mb": 1024 }), "disk_mb"),
            (
                json!({ "snapshot_id": "snap_1", "internet_access": false }),
                "internet_access",
            ),
            (
                json!({ "snapshot_id": "snap_1", "network": { "deny_out": [] } }),
                "network.deny_out",
            ),
            (json!({ "snapshot_id": "snap_1", "template": "base" }), "template"),
            (
                json!({ "snapshot_id": "snap_1", "warm_pool": { "id": "twp_1" } }),
                "warm_pool",
            ),
            (json!({ "warm_pool": {} }), "warm_pool.id"),
            (
                json!({ "warm_pool": { "id": "  ", "mode": "require" } }),
                "warm_pool.id",
            ),
            (
                json!({ "warm_pool": { "id": "twp_1", "wait_ms": 600_001 } }),
                "warm_pool.wait_ms",
            ),
            (json!({ "desktop": {} }), "desktop"),
            (
                json!({ "template": "desktop", "desktop": { "dpi": 0 } }),
                "desktop.dpi",
            ),
            (
                json!({ "template": "desktop", "desktop": { "display": "0" } }),
                "desktop.display",
            ),
            (
                json!({ "template": "desktop", "desktop": { "resolution": { "width": 0, "height": 1 } } }),
                "desktop.resolution",
            ),
            (json!({ "cwd": "workspace" }), "cwd"),
            (json!({ "cwd": "/workspace/x/../.nullspace/y" }), "cwd"),
            (json!({ "envs": { "A=B": "x" } }), "envs"),
            (json!({ "envs": { "A": "x\u{0}y" } }), "envs.A"),
            (
                json!({ "volumes": [{ "ref": " ", "mount_path": "/data" }] }),
                "volumes[0].ref",
            ),
            (
                json!({ "volumes": [{ "ref": "v", "mount_path": "/" }] }),
                "volumes[0].mount_path",
            ),
            (
                json!({ "volumes": [{ "ref": "v", "mount_path": "/workspace/.nullspace/x" }] }),
                "volumes[0].mount_path",
            ),
            (
                json!({ "volumes": [{ "ref": "v", "mount_path": "/d" }, { "ref": "w", "mount_path": "/d/e" }] }),
                "volumes[1].mount_path",
            ),
            (
                json!({ "volumes": [{ "ref": "v", "mount_path": "/d", "subpath": "../x" }] }),
                "volumes[0].subpath",
            ),
            (
                json!({ "network": { "egres": { "mode": "deny_all" } } }),
                "network.egres",
            ),
            (
                json!({ "network": { "egress": { "mode": "custom", "allow_cidr": [] } } }),
                "network.egress.allow_cidr",
            ),
            (
                json!({ "network": { "secrets": { "A": { "value": "v", "hosts": ["a.test"], "headers": "x" } } } }),
                "network.secrets.A.headers",
            ),
            (
                json!({ "internet_access": false, "network": { "secrets": { "A": { "value": "v", "hosts": ["a.test"] } } } }),
                "network.secrets",
            ),
            (
                json!({ "network": { "mask_request_host": "" } }),
                "network.mask_request_host",
            ),
        ];
        for (body, field) in cases {
            let error = plan(body.clone()).unwrap_err();
            assert_eq!(error.kind.code(), "invalid_request", "{body}");
            assert!(
                error.message.starts_with(&format!("`{field}` ")),
                "{body}: {}",
                error.message
            );
        }
    }

    #[test]
    fn options_that_a_ready_machine_cannot_take_are_named() {
        let cases = [
            (json!({ "envs": { "A": "b" } }), Some("envs")),
            (json!({ "cwd": "/tmp" }), Some("cwd")),
            (
                json!({ "network": { "egress": { "mode": "deny_all" } } }),
                Some("network"),
            ),
            (json!({ "internet_access": false }), Some("network")),
            (
                json!({ "network": { "secrets": { "A": { "value": "v", "hosts": ["a.test"] } } } }),
                Some("network"),
            ),
            (json!({ "timeout_action": "hibernate" }), Some("timeout_action")),
            (json!({ "network": { "egress": { "mode": "allow_all" } } }), None),
            (
                json!({ "metadata": { "a": 1 }, "timeout_ms": 1000, "ephemeral": true }),
                None,
            ),
        ];
        for (body, option) in cases {
            assert_eq!(plan(body.clone()).unwrap().not_poolable, option, "{body}");
        }
    }

    #[test]
    fn an_ephemeral_machine_is_destroyed_at_its_timeout_whatever_was_asked() {
        let plan = plan(json!({ "ephemeral": true, "timeout_action": "hibernate" })).unwrap();
        assert_eq!(plan.lease.timeout_action, TimeoutAction::Destroy);
    }
}
