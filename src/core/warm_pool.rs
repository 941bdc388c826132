//! Template warm pools as options. Source: PROTOCOL.md section 12.

use std::time::Duration;

use nullspace_wire::warm_pool::{
    CheckoutMode, CreateWarmPoolRequest, PoolResources, UpdateWarmPoolRequest, VersionPolicy,
};

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
    let given = read(fields)?;
    let min_ready = given.min_ready.unwrap_or(1);
    let max_ready = given.max_ready.unwrap_or(min_ready.max(1));
    check_sizes(fields, min_ready, max_ready)?;
    // A reference like `app:stable` names the tag by itself.
    if given.version_policy == Some(VersionPolicy::TrackTag)
        && given.track_tag.is_none()
        && !template.contains(':')
    {
        return Err(fields.wrong(
            "trackTag",
            "is required with `versionPolicy: 'track_tag'`, such as 'stable'",
        ));
    }
    let size = Size::read(fields)?;
    Ok(CreateWarmPoolRequest {
        name: given.name.unwrap_or_else(|| template.to_owned()),
        template_ref: template.to_owned(),
        template: None,
        min_ready,
        max_ready,
        resources: PoolResources {
            vcpus: size.vcpus.unwrap_or(2),
            memory_mb: size.memory_mb.unwrap_or(512),
            disk_mb: size.disk_mb,
        },
        checkout_policy: given.checkout_policy,
        idle_timeout_seconds: given.idle_timeout_seconds,
        stale_after_seconds: given.stale_after_seconds,
        version_policy: given.version_policy,
        track_tag: given.track_tag,
        host_pool_id: None,
        cell_id: None,
        labels: given.labels,
        metadata: given.metadata,
    })
}

/// A change: its body without the size, and the size.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// What was given.
    pub request: UpdateWarmPoolRequest,
    /// What was given of the size. The wire wants all of it or nothing: see [`Size::over`].
    pub size: Size,
    /// Of each request.
    pub request_timeout: Option<Duration>,
}

/// Reads the options of an update: those of a create, and `template`. At least one must be given.
pub fn update(options: Option<&Value>) -> Result<Update, Error> {
    let fields = Fields::new("", options, &[&CREATE, &["template"], &CALL_OPTIONS])?;
    config::signal(&fields)?;
    let mut request = read(&fields)?;
    request.template_ref = fields.filled("template")?.map(str::to_owned);
    if let (Some(min), Some(max)) = (request.min_ready, request.max_ready) {
        check_sizes(&fields, min, max)?;
    }
    let size = Size::read(&fields)?;
    if size == Size::default() && request == UpdateWarmPoolRequest::default() {
        return Err(Error::invalid_request(
            "an update must change something, such as { minReady: 2 }",
        ));
    }
    Ok(Update {
        request,
        size,
        request_timeout: fields.seconds("requestTimeout")?,
    })
}

/// Size of the machines of a pool, as far as it was given.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Size {
    vcpus: Option<u32>,
    memory_mb: Option<u32>,
    disk_mb: Option<u32>,
}

impl Size {
    fn read(fields: &Fields<'_>) -> Result<Self, Error> {
        let whole = |name, min, max| -> Result<Option<u32>, Error> {
            Ok(fields.integer(name, min, max)?.map(|number| number as u32))
        };
        Ok(Self {
            vcpus: whole("vcpus", 1, U32)?,
            memory_mb: whole("memoryMb", 1, U32)?,
            disk_mb: whole("diskMb", 512, 131_072)?,
        })
    }

    /// Whether anything was given.
    pub fn is_given(&self) -> bool {
        *self != Self::default()
    }

    /// Puts it over what the pool has now: a change of one number sends all of them.
    pub fn over(&self, now: &PoolResources) -> PoolResources {
        PoolResources {
            vcpus: self.vcpus.unwrap_or(now.vcpus),
            memory_mb: self.memory_mb.unwrap_or(now.memory_mb),
            disk_mb: self.disk_mb.or(now.disk_mb),
        }
    }
}

/// What a create and an update have in common.
fn read(fields: &Fields<'_>) -> Result<UpdateWarmPoolRequest, Error> {
    let version_policy = fields.choice("versionPolicy", &["pinned_build", "track_tag"])?;
    let track_tag = fields.filled("trackTag")?;
    if version_policy == Some("pinned_build") && track_tag.is_some() {
        return Err(fields.wrong("trackTag", "contradicts `versionPolicy: 'pinned_build'`"));
    }
    let count =
        |name| -> Result<Option<u32>, Error> { Ok(fields.integer(name, 0, U32)?.map(|count| count as u32)) };
    Ok(UpdateWarmPoolRequest {
        name: fields.filled("name")?.map(str::to_owned),
        min_ready: count("minReady")?,
        max_ready: count("maxReady")?,
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
        labels: fields.json_object("labels")?,
        metadata: fields.json_object("metadata")?,
        ..Default::default()
    })
}

fn check_sizes(fields: &Fields<'_>, min_ready: u32, max_ready: u32) -> Result<(), Error> {
    if max_ready < min_ready {
        return Err(fields.wrong("maxReady", &format!("must not be below `minReady` ({min_ready})")));
    }
    Ok(())
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
