//! Volumes as options: what a machine mounts. Source: PROTOCOL.md sections 3 and 9.

use nullspace_wire::limits::VOLUMES;

use super::error::Error;
use super::options::{Fields, Value};
use super::value::json;

/// Fields of one mount.
const MOUNT: [&str; 4] = ["ref", "mountPath", "subpath", "readOnly"];
/// The engine's own directory in every machine.
const RESERVED: &str = "/workspace/.nullspace";

/// Reads `volumes` of a create.
pub fn mounts(fields: &Fields<'_>) -> Result<Option<Vec<Value>>, Error> {
    let Some(list) = fields.list("volumes")? else {
        return Ok(None);
    };
    if list.is_empty() {
        return Err(fields.wrong("volumes", "must hold at least one volume"));
    }
    if list.len() > VOLUMES {
        let what = format!("must hold at most {VOLUMES} volumes: a machine mounts no more");
        return Err(fields.wrong("volumes", &what));
    }
    let mut mounts: Vec<Value> = Vec::with_capacity(list.len());
    for (index, item) in list.iter().enumerate() {
        let path = format!("volumes[{index}]");
        let volume = Fields::new(&path, Some(item), &[&MOUNT])?;
        let mount = mount(&volume, reference(&volume, "ref")?, volume.filled("mountPath")?)?;
        if let Some(first) = mounts.iter().position(|other| place(other) == place(&mount)) {
            return Err(volume.wrong("mountPath", &format!("is also that of `volumes[{first}]`")));
        }
        mounts.push(mount);
    }
    Ok(Some(mounts))
}

/// Reads what `volumes.attach` gets: a volume and options, or a mount that has them all.
pub fn attach(args: &Fields<'_>, options: &Fields<'_>) -> Result<Value, Error> {
    let volume = args.get("volume");
    let is_mount =
        matches!(volume, Some(Value::Object(inner)) if inner.iter().any(|(key, _)| key == "mountPath"));
    if is_mount {
        if let Some(name) = ["mountPath", "subpath", "readOnly"]
            .into_iter()
            .find(|name| options.has(name))
        {
            return Err(options.wrong(name, "is in the mount already: give it once"));
        }
        let whole = Fields::new("volume", volume, &[&MOUNT])?;
        return mount(&whole, reference(&whole, "ref")?, whole.filled("mountPath")?);
    }
    mount(options, reference(args, "volume")?, options.filled("mountPath")?)
}

/// One mount. `mount_path` was read by the caller, who knows whether it may be absent.
fn mount(fields: &Fields<'_>, reference: String, mount_path: Option<&str>) -> Result<Value, Error> {
    let mount_path = mount_path.ok_or_else(|| fields.wrong("mountPath", "is missing, such as '/data'"))?;
    let parts: Vec<&str> = parts(mount_path).collect();
    if !mount_path.starts_with('/') || parts.is_empty() || parts.contains(&"..") {
        return Err(fields.wrong(
            "mountPath",
            &format!("must be an absolute path below `/`, such as '/data', not '{mount_path}'"),
        ));
    }
    if parts.starts_with(&["workspace", ".nullspace"]) {
        return Err(fields.wrong(
            "mountPath",
            &format!("must not be in {RESERVED}, which is reserved; '/data' is a good one"),
        ));
    }
    let subpath = fields.text("subpath")?;
    if subpath.is_some_and(|text| text.contains('\0') || self::parts(text).any(|part| part == "..")) {
        return Err(fields.wrong("subpath", "must stay inside the volume, such as 'models/v1'"));
    }
    let mut mount = json!({ "ref": reference, "mount_path": mount_path });
    mount.put_given("subpath", subpath);
    mount.put_given("read_only", fields.flag("readOnly")?);
    Ok(mount)
}

/// Where a mount is.
fn place(mount: &Value) -> Option<&str> {
    Some(mount.get("mount_path")?.as_str()?.trim_end_matches('/'))
}

/// Names of a path, without empty ones and `.`.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".")
}

/// A volume: its id, its exact name, or an object that has an id.
fn reference(fields: &Fields<'_>, name: &str) -> Result<String, Error> {
    let text = match fields.get(name) {
        Some(Value::Object(inner)) => match inner.iter().find(|(key, _)| key == "id") {
            Some((_, Value::Text(id))) => Some(id.as_str()),
            _ => return Err(fields.wrong(name, "must be a volume, its id or its name, such as 'vol_...'")),
        },
        _ => fields.filled(name)?,
    };
    match text.map(str::trim) {
        Some("") => Err(fields.wrong(name, "must not be empty")),
        Some(text) => Ok(text.to_owned()),
        None => Err(fields.wrong(name, "is missing: a volume's id or name, such as 'vol_...'")),
    }
}
