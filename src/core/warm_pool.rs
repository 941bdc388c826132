//! Template warm pools as options. Source: PROTOCOL.md section 12.

use std::time::Duration;

use nullspace_wire::warm_pool::{CheckoutMode, CreateWarmPoolRequest, PoolResources, VersionPolicy};

use super::config::{self, CALL_OPTIONS, CLIENT_OPTIONS};
use super::error::Error;
use super::options::{Fields, Value, MAX_INTEGER};

const CREATE: [&str; 13] = [
    "name",
    "minReady",
    "maxReady",
    "vcpus",
    "memoryMb",
    "diskMb",
    "idleTimeoutSeconds",
    "staleAfterSeconds",
    "checkoutPolicy",
    "versionPolicy",
    "trackTag",
    "labels",
    "metadata",
];
const U32: u64 = u32::MAX as u64;

/// Options of a create, known names checked.
pub fn create_fields(options: &Value) -> Result<Fields<'_>, Error> {
    Fields::new("", Some(options), &[&CREATE, &CLIENT_OPTIONS])
}

/// The body of a create.
pub fn create(template: &str, fields: &Fields<'_>) -> Result<CreateWarmPoolRequest, Error> {
    let min_ready = fields.integer("minReady", 0, U32)?.unwrap_or(1) as u32;
    let max_ready = fields
        .integer("maxReady", 0, U32)?
        .map_or(min_ready.max(1), |count| count as u32);
    if max_ready < min_ready {
        return Err(fields.wrong("maxReady", &format!("must not be below `minReady` ({min_ready})")));
    }
    let version_policy = fields.choice("versionPolicy", &["pinned_build", "track_tag"])?;
    let track_tag = fields.filled("trackTag")?;
    match version_policy {
        // A reference like `app:stable` names the tag by itself.
        Some("track_tag") if track_tag.is_none() && !template.contains(':') => {
            return Err(fields.wrong(
                "trackTag",
                "is required with `versionPolicy: 'track_tag'`, such as 'stable'",
            ))
        }
        Some("pinned_build") if track_tag.is_some() => {
            return Err(fields.wrong("trackTag", "contradicts `versionPolicy: 'pinned_build'`"))
        }
        _ => {}
    }
    Ok(CreateWarmPoolRequest {
        name: fields.filled("name")?.unwrap_or(template).to_owned(),
        template_ref: template.to_owned(),
        template: None,
        min_ready,
        max_ready,
        resources: PoolResources {
            vcpus: fields.integer("vcpus", 1, U32)?.unwrap_or(2) as u32,
            memory_mb: fields.integer("memoryMb", 1, U32)?.unwrap_or(512) as u32,
            disk_mb: fields.integer("diskMb", 512, 131_072)?.map(|size| size as u32),
        },
        checkout_policy: fields
            .choice("checkoutPolicy", &["prefer", "require", "bypass"])?
            .map(|policy| match policy {
                "require" => CheckoutMode::Require,
                "bypass" => CheckoutMode::Bypass,
                _ => CheckoutMode::Prefer,
            }),
        idle_timeout_seconds: fields.integer("idleTimeoutSeconds", 1, MAX_INTEGER)?,
        stale_after_seconds: fields.integer("staleAfterSeconds", 1, MAX_INTEGER)?,
        version_policy: version_policy.map(|policy| match policy {
            "track_tag" => VersionPolicy::TrackTag,
            _ => VersionPolicy::PinnedBuild,
        }),
        track_tag: track_tag.map(str::to_owned),
        host_pool_id: None,
        cell_id: None,
        labels: fields.json_object("labels")?,
        metadata: fields.json_object("metadata")?,
    })
}

/// Options of a list, known names checked.
pub fn list_fields(options: &Value) -> Result<Fields<'_>, Error> {
    Fields::new(
        "",
        Some(options),
        &[
            &["template", "state", "status", "labels", "limit"],
            &CLIENT_OPTIONS,
        ],
    )
}

/// The query of a list.
pub fn list(fields: &Fields<'_>) -> Result<Vec<(&'static str, String)>, Error> {
    let mut query = Vec::new();
    if let Some(template) = fields.filled("template")? {
        query.push(("template", template.to_owned()));
    }
    if let Some(state) = fields.choice("state", &["enabled", "disabled", "draining", "deleted"])? {
        query.push(("state", state.to_owned()));
    }
    if let Some(status) = fields.choice(
        "status",
        &["ready", "warming", "degraded", "draining", "unavailable"],
    )? {
        query.push(("status", status.to_owned()));
    }
    match fields.get("labels") {
        None => {}
        Some(Value::List(_)) => query.extend(
            fields
                .texts("labels")?
                .unwrap_or_default()
                .into_iter()
                .map(|label| ("label", label)),
        ),
        Some(_) => {
            let labels = fields.dictionary("labels")?.unwrap_or_default();
            query.extend(
                labels
                    .into_iter()
                    .map(|(name, value)| ("label", format!("{name}={value}"))),
            );
        }
    }
    if let Some(limit) = fields.integer("limit", 1, MAX_INTEGER)? {
        query.push(("limit", limit.to_string()));
    }
    Ok(query)
}

/// How long to wait for what.
#[derive(Debug, Clone, PartialEq)]
pub struct Wait {
    /// Machines that must be ready; the pool's own number when absent.
    pub min_ready: Option<u64>,
    /// In all.
    pub timeout: Duration,
    /// Between two looks.
    pub interval: Duration,
    /// Of each request.
    pub request_timeout: Option<Duration>,
}

/// Reads the options of `waitUntilReady`.
pub fn wait(options: Option<&Value>) -> Result<Wait, Error> {
    let fields = Fields::new(
        "",
        options,
        &[
            &["minReady", "timeout", "intervalMs", "onProgress"],
            &CALL_OPTIONS,
        ],
    )?;
    config::signal(&fields)?;
    config::function(&fields, "onProgress")?;
    Ok(Wait {
        min_ready: fields.integer("minReady", 0, U32)?,
        timeout: fields.seconds("timeout")?.unwrap_or(Duration::from_secs(300)),
        interval: Duration::from_millis(fields.integer("intervalMs", 1, 86_400_000)?.unwrap_or(1000)),
        request_timeout: fields.seconds("requestTimeout")?,
    })
}
