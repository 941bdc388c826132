//! Template warm pools. Source: PROTOCOL.md section 12.

use nullspace_wire::api;
use nullspace_wire::limits::{DEFAULT_MEMORY_MB, DEFAULT_VCPUS, DISK_MB, MEMORY_MB, POOL_READY, VCPUS};

use super::{
    by, fields, filled, from, id, int, object, one_of, trimmed, Field, Inputs, Operation, Request, To,
};
use crate::core::error::Error;
use crate::core::options::{Fields, Value};
use crate::core::value::json;

const SETTINGS: &[Field] = fields![
    /// Name, free text. @default the template's name
    filled("name"),
    /// Machines to hold ready, {range}. @default 1
    int("minReady", POOL_READY),
    /// Most machines, {range}; not below `minReady`. @default `minReady`
    int("maxReady", POOL_READY),
    /// What a create without `warmPoolMode` does. @default 'prefer'
    one_of("checkoutPolicy", &["prefer", "require", "bypass"]),
    /// Seconds, {range}, after which an unused ready machine is given up. @default 600
    int("idleTimeoutSeconds", from(1)),
    /// Seconds, {range}, after which a ready machine is replaced. @default 900
    int("staleAfterSeconds", from(1)),
    /// Which build of the template it holds. @default 'pinned_build'
    one_of("versionPolicy", &["pinned_build", "track_tag"]),
    /// Tag to follow; needed for `versionPolicy: 'track_tag'` unless the reference has one. @default none
    filled("trackTag"),
    /// Labels that lists can filter by. @default `{}`
    object("labels"),
    /// Verbatim. @default `{}`
    object("metadata"),
];

/// Size of the machines. The wire wants all of it or nothing: see [`create`] and [`resources`].
const SIZE: &[Field] = fields![
    /// Processors of each machine, {range}. @default {default}
    int("vcpus", VCPUS).local().by_default(DEFAULT_VCPUS),
    /// MiB of memory of each, {range}. @default {default}
    int("memoryMb", MEMORY_MB).local().by_default(DEFAULT_MEMORY_MB),
    /// MiB of disk of each, {range}. @default the server's
    int("diskMb", DISK_MB).local(),
];

const FILTER: &[Field] = fields![
    /// Only pools of this template. @default all
    filled("template").in_query(),
    /// Only pools in this state. @default all
    one_of("state", &["enabled", "disabled", "draining", "deleted"]).in_query(),
    /// Only pools with this status. @default all
    one_of("status", &["ready", "warming", "degraded", "draining", "unavailable"]).in_query(),
    /// Labels such as `team=a`, all of which must be there. @default none
    by("labels", any).local().typed("readonly string[] | Record<string, string>"),
    /// At most this many, {range}. @default the server's
    int("limit", from(1)).in_query(),
];

/// Makes a pool.
pub static CREATE: Operation = Operation::on(&api::CREATE_TEMPLATE_WARM_POOL)
    .args(&[Field {
        to: To::Body,
        ..id("template").wire("template_ref")
    }])
    .options(&[SETTINGS, SIZE])
    .shown(
        "WarmPoolOptions",
        &["ClientOptions"],
        "Options of {@link TemplateWarmPool.create}.",
    )
    .rules(create);

/// Takes up a pool.
pub static GET: Operation = Operation::on(&api::GET_TEMPLATE_WARM_POOL).args(&[id("id")]);

/// All that match.
pub static LIST: Operation = Operation::on(&api::LIST_TEMPLATE_WARM_POOLS)
    .options(&[FILTER])
    .shown(
        "WarmPoolListOptions",
        &["ClientOptions"],
        "Options of {@link TemplateWarmPool.list}.",
    )
    .rules(list);

/// Describes the pool.
pub static GET_INFO: Operation = Operation::on(&api::GET_TEMPLATE_WARM_POOL);

/// Changes what is given. A change of one number of the size needs the others: `client::warm_pool` reads them first.
pub static UPDATE: Operation = Operation::on(&api::UPDATE_TEMPLATE_WARM_POOL)
    .options(&[
        SETTINGS,
        SIZE,
        fields![
            /// Another template. @default it stays
            trimmed("template").wire("template_ref"),
        ],
    ])
    .shown(
        "WarmPoolUpdateOptions",
        &["CallOptions", "Omit<WarmPoolOptions, keyof ClientOptions>"],
        "Options of {@link TemplateWarmPool.update}: only what is given changes.",
    )
    .rules(update);

/// Destroys the pool.
pub static DELETE: Operation = Operation::on(&api::DELETE_TEMPLATE_WARM_POOL);

/// Lets it serve and fill.
pub static ENABLE: Operation = Operation::on(&api::ENABLE_TEMPLATE_WARM_POOL);

/// Lets it neither serve nor fill.
pub static DISABLE: Operation = Operation::on(&api::DISABLE_TEMPLATE_WARM_POOL);

/// Destroys its ready machines.
pub static DRAIN: Operation = Operation::on(&api::DRAIN_TEMPLATE_WARM_POOL);

/// Compares what there is with what there should be.
pub static RECONCILE: Operation = Operation::on(&api::RECONCILE_TEMPLATE_WARM_POOL);

fn create(fields: &Inputs<'_>, request: &mut Request) -> Result<(), Error> {
    settings(fields, request)?;
    let least = number(request, "min_ready").unwrap_or(1);
    let most = number(request, "max_ready").unwrap_or(least.max(1));
    sizes(fields, least, most)?;
    let template = request.body.get("template_ref").and_then(Value::as_str);
    let template = template.unwrap_or_default().to_owned();
    // A reference like `app:stable` names the tag by itself.
    if request.body.get("version_policy") == Some(&json!("track_tag"))
        && !fields.has("trackTag")
        && !template.contains(':')
    {
        return Err(fields.wrong(
            "trackTag",
            "is required with `versionPolicy: 'track_tag'`, such as 'stable'",
        ));
    }
    request.put("min_ready", least);
    request.put("max_ready", most);
    let size = resources(
        fields,
        &json!({ "vcpus": DEFAULT_VCPUS, "memory_mb": DEFAULT_MEMORY_MB }),
    )?;
    request.put("resources", size);
    if !fields.has("name") {
        request.put("name", template);
    }
    Ok(())
}

fn update(fields: &Inputs<'_>, request: &mut Request) -> Result<(), Error> {
    settings(fields, request)?;
    if let (Some(least), Some(most)) = (number(request, "min_ready"), number(request, "max_ready")) {
        sizes(fields, least, most)?;
    }
    if !request.body.has_fields() && !changes_size(fields) {
        return Err(Error::invalid_request(
            "an update must change something, such as { minReady: 2 }",
        ));
    }
    Ok(())
}

/// A number that the reader put into the body.
fn number(request: &Request, name: &str) -> Option<u64> {
    request.body.get(name)?.as_f64().map(|number| number as u64)
}

fn settings(fields: &Fields<'_>, request: &Request) -> Result<(), Error> {
    let pinned = request.body.get("version_policy") == Some(&json!("pinned_build"));
    if pinned && fields.has("trackTag") {
        return Err(fields.wrong("trackTag", "contradicts `versionPolicy: 'pinned_build'`"));
    }
    Ok(())
}

fn sizes(fields: &Fields<'_>, least: u64, most: u64) -> Result<(), Error> {
    if most < least {
        return Err(fields.wrong("maxReady", &format!("must not be below `minReady` ({least})")));
    }
    Ok(())
}

/// Whether the options hold a part of the size.
pub fn changes_size(fields: &Fields<'_>) -> bool {
    SIZE.iter().any(|field| fields.has(field.js))
}

/// The size as the wire wants it: what was given, over what there is.
pub fn resources(fields: &Fields<'_>, now: &Value) -> Result<Value, Error> {
    let mut size = json!({});
    for field in SIZE {
        let name = field.wire_name();
        let given = field.read(fields)?;
        if let Some(value) = given.or_else(|| now.get(&name).cloned()) {
            size.put(&name, value);
        }
    }
    Ok(size)
}

fn list(fields: &Inputs<'_>, request: &mut Request) -> Result<(), Error> {
    let labels: Vec<String> = match fields.get("labels") {
        None => return Ok(()),
        Some(Value::List(_)) => fields.texts("labels")?.unwrap_or_default(),
        Some(_) => fields
            .dictionary("labels")?
            .unwrap_or_default()
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
    };
    // Before the page.
    let place = request
        .query
        .iter()
        .position(|(name, _)| name == "limit")
        .unwrap_or(request.query.len());
    let labels = labels.into_iter().map(|label| ("label".into(), label));
    request.query.splice(place..place, labels);
    Ok(())
}

/// Looked at by [`list`].
fn any(_: &str, _: &Value) -> Result<Value, Error> {
    Ok(Value::Null)
}
