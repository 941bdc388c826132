//! Machines as options: create, list, connect. Source: PROTOCOL.md section 3.

use std::time::Duration;

use nullspace_wire::limits;

use super::config::{Environment, CLIENT_OPTIONS};
use super::egress;
use super::error::Error;
use super::lease;
use super::options::{self, snake_case, Fields, Value, MAX_INTEGER};
use super::shown::options;
use super::value::json;
use super::volumes;

options! {
    /// Options of {@link Machine.create}.
    const CREATE = CreateOptions: "ClientOptions" {
        /// Template reference such as `base` or `team/app:stable`. @default 'base'
        template: "string";
        /// Processors, {range}. @default {default}
        vcpus: "number" [limits::VCPUS] = limits::DEFAULT_VCPUS;
        /// MiB of memory, {range}. @default {default}; 2048 for the templates `code-interpreter` and `desktop`
        memoryMb: "number" [limits::MEMORY_MB] = limits::DEFAULT_MEMORY_MB;
        /// MiB of disk, {range}. Not beyond the built-in size of a snapshot-backed template. @default the server's
        diskMb: "number" [limits::DISK_MB];
        /// Seconds until the machine's time is over. @default {default}
        timeout: "number" = DEFAULT_LEASE;
        /// What happens then. @default 'destroy'
        timeoutAction: "'destroy' | 'hibernate'";
        /// The other spelling of `timeoutAction`: `pause` hibernates. @default 'destroy'
        onTimeout: "'destroy' | 'pause'";
        /// Preview traffic wakes the paused machine. Needs `timeoutAction: 'hibernate'` or `onTimeout: 'pause'`. @default false
        autoResume: "boolean";
        /// Milliseconds without a request until the timeout action, at least 1. @default none
        inactivityTimeoutMs: "number";
        /// Milliseconds after which a paused machine is deleted, at least 1. @default none
        autoDeleteAfterMs: "number";
        /// Never outlives its time; excludes `autoResume`. @default false
        ephemeral: "boolean";
        /// Working directory of commands. @default the template's
        cwd: "string";
        /// Environment of every command. @default `{}`
        envs: "Record<string, string>";
        /// Metadata of your own, kept verbatim; lists can filter by it. @default `{}`
        metadata: "Record<string, unknown>";
        /// One key never makes two machines; after the end of its machine it is a {@link ConflictError} (`idempotency_key_expired`). @default a new UUID for each call
        idempotencyKey: "string";
        /// Network policy and previews. @default everything may be reached
        network: "NetworkOptions";
        /// `false` denies all egress, and no allow rule reopens it. @default true
        internetAccess: "boolean";
        /// Take a ready machine of this pool: its id, or the pool.
        ///
        /// @default none
        /// @throws {@link WarmPoolUnavailableError} with `warmPoolMode: 'require'`, when none is ready in time
        /// @example Machine.create({ template: 'team/review-api:stable', warmPool: pool, warmPoolMode: 'prefer' })
        warmPool: "string | { readonly id: string }";
        /// `prefer` makes a machine when none is ready, `require` fails, `bypass` always makes one. @default 'prefer'
        warmPoolMode: "'prefer' | 'require' | 'bypass'";
        /// Milliseconds to wait for a ready machine, {range}. @default 0
        warmPoolWaitMs: "number" [limits::WARM_POOL_WAIT_MS];
        /// Start from this snapshot; then template, size, `envs`, `cwd` and `internetAccess` are the snapshot's. @default none
        snapshotId: "string";
        /// Volumes to mount, 1 to 8. @default none; those of the snapshot with `snapshotId`
        volumes: "readonly VolumeMount[]";
        /// Screen; only for the template `desktop`. @default the template's
        desktop: "DesktopOptions";
    }

    /// Options of {@link Machine.connect}.
    pub const CONNECT = ConnectOptions: "ClientOptions" {
        /// Seconds: a new lease, counted from now. @default the lease stays
        timeout: "number";
    }

    /// Options of {@link Machine.runOnce}.
    const RUN_ONCE = RunOnceOptions: "ClientOptions" {
        /// Exact arguments; the command is then a program. Not with `shell`. @default none
        args: "readonly string[]";
        /// Whether `command` is text for the shell. @default false
        shell: "boolean";
        /// Template reference such as `base` or `team/app:stable`. @default 'base'
        template: "string";
        /// Seconds for the command, at least 1, or `'none'`, with which the machine lives up to a day. @default {default}
        timeout: "number | 'none'" = limits::DEFAULT_COMMAND_SECS;
        /// Environment of the machine. @default `{}`
        envs: "Record<string, string>";
        /// Processors, {range}. @default {default}
        vcpus: "number" [limits::VCPUS] = limits::DEFAULT_VCPUS;
        /// MiB, {range}. @default {default}
        memoryMb: "number" [limits::MEMORY_MB] = limits::DEFAULT_MEMORY_MB;
        /// Network policy and previews. @default everything may be reached
        network: "NetworkOptions";
        /// `false` denies all egress. @default true
        internetAccess: "boolean";
        /// Kept verbatim with the machine. @default `{}`
        metadata: "Record<string, unknown>";
        /// Working directory of the machine. @default the template's
        cwd: "string";
        /// MiB of disk, {range}. @default the server's
        diskMb: "number" [limits::DISK_MB];
        /// Volumes to mount, at most 8. @default none
        volumes: "readonly VolumeMount[]";
    }

    /// Options of {@link Machine.list}.
    const LIST = ListOptions: "ClientOptions" {
        /// Only these; ignored when `query.state` is given. @default all
        state: "MachineStatus | readonly MachineStatus[]";
        /// Filters. @default none
        query: "MachineQuery";
        /// Machines per page, at least 1. @default the server's
        limit: "number";
        /// Where to continue: {@link MachinePage.nextToken} of an earlier page. @default the first page
        nextToken: "string";
        /// Only these fields: gives plain objects instead of a page. At least one. @default all
        fields: "readonly MachineField[]";
    }

    /// Filters of {@link Machine.list}.
    const QUERY = MachineQuery {
        /// Any of these. @default all
        state: "MachineStatus | readonly MachineStatus[]";
        /// Made from this template. @default all
        template: "string";
        /// With at least these entries. @default all
        metadata: "Record<string, unknown>";
    }

    /// `desktop` of {@link CreateOptions}; only for the template `desktop`.
    const DESKTOP = DesktopOptions {
        /// Pixels. @default the template's
        resolution: "{ width: number; height: number } | readonly [width: number, height: number]";
        /// Dots per inch, at least 1. @default the template's
        dpi: "number";
        /// X display such as `:0`. @default the template's
        display: "string";
    }
}

/// What `state` of a list may be. Source: schema, `MachineStatus`.
const STATES: [&str; 5] = ["creating", "running", "paused", "destroyed", "error"];

/// Seconds of a lease.
const DEFAULT_LEASE: u64 = limits::DEFAULT_LEASE_MS / 1000;

/// Options of a create, known names checked.
pub fn create_fields(options: &Value) -> Result<Fields<'_>, Error> {
    Fields::new("", Some(options), &[&CREATE, &CLIENT_OPTIONS])
}

/// Options of `runOnce`, known names checked.
pub fn run_once_fields(options: &Value) -> Result<Fields<'_>, Error> {
    Fields::new("", Some(options), &[&RUN_ONCE, &CLIENT_OPTIONS])
}

/// The body of a create. What the API wants to see is `null` when it is not given.
pub fn create(fields: &Fields<'_>, environment: &dyn Environment) -> Result<Value, Error> {
    let lease = match fields.seconds("timeout")? {
        Some(lease) => lease,
        None => Duration::from_secs(DEFAULT_LEASE),
    };
    let mut body = lease_request(fields, lease)?;
    common(fields, environment, &mut body)?;
    body.put_given("warm_pool", warm_pool(fields)?);
    match fields.filled("snapshotId")? {
        Some(id) => from_snapshot(fields, &mut body, id)?,
        None => fresh(fields, &mut body)?,
    }
    Ok(body)
}

/// The body of the create that `runOnce` makes.
pub fn create_for_run_once(
    fields: &Fields<'_>,
    command_timeout: u64,
    environment: &dyn Environment,
) -> Result<Value, Error> {
    // The lease covers the command, and the way to it.
    let lease = Duration::from_secs(command_timeout.max(DEFAULT_LEASE - 60) + 60);
    let mut body = lease_request(fields, lease)?;
    common(fields, environment, &mut body)?;
    fresh(fields, &mut body)?;
    Ok(body)
}

/// What every new machine may have.
fn common(fields: &Fields<'_>, environment: &dyn Environment, body: &mut Value) -> Result<(), Error> {
    let metadata = fields.json_object("metadata")?.cloned();
    body.put("metadata", metadata.unwrap_or_else(|| json!({})));
    body.put("network", egress::network(fields, environment)?.into());
    body.put("volumes", volumes::mounts(fields)?.into());
    Ok(())
}

/// What goes along with a template and with a snapshot.
fn lease_request(fields: &Fields<'_>, lease: Duration) -> Result<Value, Error> {
    let timeout_action = lease::action(fields)?;
    let on_timeout = fields.choice("onTimeout", &["destroy", "pause"])?;
    let hibernates = timeout_action == Some("hibernate");
    let pauses = on_timeout == Some("pause");
    if timeout_action.is_some() && on_timeout.is_some() && hibernates != pauses {
        return Err(fields.wrong("onTimeout", "contradicts `timeoutAction`: give one of them"));
    }
    let auto_resume = fields.flag("autoResume")?.unwrap_or(false);
    let ephemeral = fields.flag("ephemeral")?.unwrap_or(false);
    if auto_resume && !hibernates && !pauses {
        return Err(fields.wrong(
            "autoResume",
            "needs `timeoutAction: 'hibernate'` or `onTimeout: 'pause'`",
        ));
    }
    if ephemeral && (auto_resume || hibernates || pauses) {
        return Err(fields.wrong(
            "ephemeral",
            "excludes `autoResume` and a pause at the end of the lease",
        ));
    }
    let mut body = json!({ "timeout_ms": lease.as_millis() as u64, "auto_resume": auto_resume });
    body.put_given("timeout_action", timeout_action);
    body.put_given(
        "lifecycle",
        on_timeout.map(|action| json!({ "on_timeout": action })),
    );
    for name in ["inactivityTimeoutMs", "autoDeleteAfterMs"] {
        body.put_given(&snake_case(name), fields.integer(name, 1, MAX_INTEGER)?);
    }
    body.put_given("ephemeral", ephemeral.then_some(true));
    Ok(body)
}

fn fresh(fields: &Fields<'_>, body: &mut Value) -> Result<(), Error> {
    let template = fields.filled("template")?.unwrap_or("base");
    let memory = if ["code-interpreter", "desktop"].contains(&template) {
        limits::DEFAULT_MEMORY_LARGE_MB
    } else {
        limits::DEFAULT_MEMORY_MB
    };
    let size = |name, range: limits::Range| fields.integer(name, range.min, range.max);
    let vcpus = size("vcpus", limits::VCPUS)?.unwrap_or(limits::DEFAULT_VCPUS);
    body.put("template", template.into());
    body.put("vcpus", vcpus.into());
    body.put(
        "memory_mb",
        size("memoryMb", limits::MEMORY_MB)?.unwrap_or(memory).into(),
    );
    body.put_given("disk_mb", size("diskMb", limits::DISK_MB)?);
    let envs = fields.environment("envs")?.cloned();
    body.put("envs", envs.unwrap_or_else(|| json!({})));
    let internet_access = fields.flag("internetAccess")?.unwrap_or(true);
    if let (false, Some(network)) = (internet_access, body.get("network")) {
        egress::check_closed(network)?;
    }
    body.put("internet_access", internet_access.into());
    body.put("cwd", fields.filled("cwd")?.into());
    body.put("desktop", desktop(fields, template)?.into());
    Ok(())
}

fn from_snapshot(fields: &Fields<'_>, body: &mut Value, id: &str) -> Result<(), Error> {
    for name in [
        "template", "vcpus", "memoryMb", "diskMb", "envs", "cwd", "desktop", "warmPool",
    ] {
        if fields.has(name) {
            return Err(fields.wrong(name, "cannot be given with `snapshotId`: the snapshot decides it"));
        }
    }
    if fields.flag("internetAccess")? == Some(false) {
        return Err(fields.wrong(
            "internetAccess",
            "cannot be given with `snapshotId`: use `network.egress`",
        ));
    }
    let says = |network: &Value| network.get("allow_out").or(network.get("deny_out")).is_some();
    if body.get("network").is_some_and(says) {
        return Err(fields.wrong(
            "network",
            "cannot override a snapshot with `allowOut` or `denyOut`: use `network.egress`",
        ));
    }
    body.put("snapshot_id", id.into());
    Ok(())
}

fn warm_pool(fields: &Fields<'_>) -> Result<Option<Value>, Error> {
    let mode = fields.choice("warmPoolMode", &["prefer", "require", "bypass"])?;
    let wait_ms = fields.integer(
        "warmPoolWaitMs",
        limits::WARM_POOL_WAIT_MS.min,
        limits::WARM_POOL_WAIT_MS.max,
    )?;
    let id = match fields.get("warmPool") {
        None => None,
        Some(Value::Text(text)) => Some(text.as_str()),
        Some(Value::Object(inner)) => match inner.iter().find(|(name, _)| name == "id") {
            Some((_, Value::Text(text))) => Some(text.as_str()),
            _ => return Err(fields.wrong("warmPool", "must be a pool or its id, such as 'twp_...'")),
        },
        Some(other) => {
            return Err(fields.wrong(
                "warmPool",
                &format!(
                    "must be a pool or its id, such as 'twp_...', not {}",
                    other.kind()
                ),
            ))
        }
    };
    let id = match id.map(str::trim) {
        Some("") => {
            return Err(fields.wrong(
                "warmPool",
                "must be a pool or its id, such as 'twp_...'; it is empty",
            ))
        }
        id => id,
    };
    if id.is_none() && mode.is_none() && wait_ms.is_none() {
        return Ok(None);
    }
    if id.is_none() && mode != Some("bypass") {
        return Err(fields.wrong(
            "warmPool",
            "is required with `warmPoolMode` and `warmPoolWaitMs`, except for 'bypass'",
        ));
    }
    let mut pool = json!({ "mode": mode.unwrap_or("prefer") });
    pool.put_given("id", id);
    pool.put_given("wait_ms", wait_ms);
    Ok(Some(pool))
}

fn desktop(fields: &Fields<'_>, template: &str) -> Result<Option<Value>, Error> {
    let Some(desktop) = fields.object("desktop", &DESKTOP)? else {
        return Ok(None);
    };
    if template != "desktop" {
        return Err(fields.wrong("desktop", "belongs to the template 'desktop'"));
    }
    let resolution = match desktop.get("resolution") {
        None => None,
        Some(Value::List(pair)) => match pair.as_slice() {
            [Value::Number(width), Value::Number(height)] if is_pixels(*width) && is_pixels(*height) => {
                Some(json!({ "width": *width, "height": *height }))
            }
            _ => return Err(desktop.wrong("resolution", "must be two positive numbers, such as [1280, 720]")),
        },
        Some(_) => {
            let Some(size) = desktop.object("resolution", &["width", "height"])? else {
                return Ok(None);
            };
            let pixels = |name: &str| -> Result<u64, Error> {
                size.integer(name, 1, 32_767)?
                    .ok_or_else(|| size.wrong(name, "is missing"))
            };
            Some(json!({ "width": pixels("width")?, "height": pixels("height")? }))
        }
    };
    let display = desktop.text("display")?;
    let digits = |text: &str| {
        text.strip_prefix(':')
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if display.is_some_and(|text| !digits(text)) {
        return Err(desktop.wrong("display", "must be a display such as ':0'"));
    }
    let mut config = json!({});
    config.put_given("resolution", resolution);
    config.put_given("dpi", desktop.integer("dpi", 1, 10_000)?);
    config.put_given("display", display);
    Ok(Some(config))
}

fn is_pixels(number: f64) -> bool {
    number.fract() == 0.0 && (1.0..=32_767.0).contains(&number)
}

/// A list: its query without the token of a page, and whether rows are wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct List {
    /// Names and values.
    pub query: Vec<(&'static str, String)>,
    /// Where to go on.
    pub next_token: Option<String>,
    /// `fields` was given.
    pub rows: bool,
}

/// Options of a list, known names checked.
pub fn list_fields(options: &Value) -> Result<Fields<'_>, Error> {
    Fields::new("", Some(options), &[&LIST, &CLIENT_OPTIONS])
}

/// Reads the options of a list.
pub fn list(fields: &Fields<'_>) -> Result<List, Error> {
    let mut query = Vec::new();
    let inner = fields.object("query", &QUERY)?;
    let mut states = states(fields)?;
    let (mut template, mut metadata) = (None, None);
    if let Some(inner) = &inner {
        states = self::states(inner)?.or(states);
        template = inner.filled("template")?;
        metadata = inner.json_object("metadata")?;
    }
    if let Some(states) = states {
        query.push(("state", states.join(",")));
    }
    if let Some(limit) = fields.integer("limit", 1, MAX_INTEGER)? {
        query.push(("limit", limit.to_string()));
    }
    if let Some(template) = template {
        query.push(("template", template.to_owned()));
    }
    if let Some(metadata) = metadata {
        query.push(("metadata", metadata.to_json()));
    }
    let wanted = fields.get("fields").map(field_names).transpose()?;
    let rows = wanted.is_some();
    if let Some(wanted) = wanted {
        query.push(("fields", wanted));
    }
    Ok(List {
        query,
        next_token: fields.filled("nextToken")?.map(str::to_owned),
        rows,
    })
}

fn states(fields: &Fields<'_>) -> Result<Option<Vec<String>>, Error> {
    let states = match fields.get("state") {
        None => return Ok(None),
        Some(Value::Text(one)) => vec![one.clone()],
        Some(Value::List(_)) => fields.texts("state")?.unwrap_or_default(),
        Some(other) => {
            return Err(fields.wrong(
                "state",
                &format!(
                    "must be a state such as 'running', or several, not {}",
                    other.kind()
                ),
            ))
        }
    };
    if states.is_empty() {
        return Err(fields.wrong("state", "must hold at least one state, such as ['running']"));
    }
    for state in &states {
        if !STATES.contains(&state.as_str()) {
            let known = STATES.join("', '");
            return Err(fields.wrong("state", &format!("must be among '{known}'; '{state}' is not")));
        }
    }
    Ok(Some(states))
}

/// The option `fields`, as the wire wants it: snake_case, comma-joined, each once.
pub fn field_names(value: &Value) -> Result<String, Error> {
    let list = options::texts("fields", value)?;
    let mut names: Vec<String> = Vec::new();
    for (index, name) in list.iter().enumerate() {
        let name = name.trim();
        if name.is_empty()
            || !name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return Err(Error::option(
                &format!("fields[{index}]"),
                "must be the name of a field, such as 'status'",
            ));
        }
        let name = snake_case(name);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return Err(Error::option(
            "fields",
            "must name at least one field, such as ['id', 'status']",
        ));
    }
    Ok(names.join(","))
}
