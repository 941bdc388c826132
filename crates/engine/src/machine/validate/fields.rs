//! Fields that several requests share, and those that are only checked: environments, paths, desktops, volumes, and
//! the keys of network policies.

use nullspace_wire::machine::{DesktopCreateConfig, VolumeMountRequest};
use nullspace_wire::Envs;
use serde_json::Value;

use super::RESERVED;
use crate::machine::ground::{Error, Result};

/// Most volumes a machine. Source: PROTOCOL.md section 3.
pub const MAX_VOLUMES: usize = nullspace_wire::limits::VOLUMES;
/// What every machine has for itself.
const OWN_DIRECTORIES: [&str; 3] = ["proc", "dev", "sys"];

/// Checks names and values of an environment.
pub fn check_envs(field: &str, envs: &Envs) -> Result<()> {
    for (name, value) in envs {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(Error::invalid(
                field,
                format_args!("has a variable named {name:?}: give names such as \"PORT\""),
            ));
        }
        // The value is not repeated: it may be a secret.
        if value.contains('\0') {
            return Err(Error::invalid(
                &format!("{field}.{name}"),
                "holds a NUL character, which no environment can",
            ));
        }
    }
    Ok(())
}

/// Without `.`, `..` and empty parts.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Normalises an absolute path inside a machine; the reserved directory is refused.
pub fn absolute(field: &str, path: &str) -> Result<String> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(Error::invalid(
            field,
            format_args!("is {path:?}: give an absolute path such as \"/workspace\""),
        ));
    }
    let clean = clean(path);
    if clean == RESERVED || clean.starts_with(&format!("{RESERVED}/")) {
        return Err(Error::invalid(
            field,
            format_args!("is {path:?}: {RESERVED} is reserved; give another such as \"/workspace/app\""),
        ));
    }
    Ok(clean)
}

pub(super) fn check_desktop(desktop: Option<&DesktopCreateConfig>, template: &str) -> Result<()> {
    let Some(desktop) = desktop else {
        return Ok(());
    };
    if template != "desktop" {
        return Err(Error::invalid(
            "desktop",
            format_args!("needs template \"desktop\", not {template:?}"),
        ));
    }
    if desktop
        .resolution
        .as_ref()
        .is_some_and(|r| r.width == 0 || r.height == 0)
    {
        return Err(Error::invalid(
            "desktop.resolution",
            "has a side of 0 pixels: give {\"width\": 1280, \"height\": 800}",
        ));
    }
    if desktop.dpi == Some(0) {
        return Err(Error::invalid("desktop.dpi", "is 0: give one such as 96"));
    }
    let is_display = |d: &str| d.strip_prefix(':').is_some_and(|n| n.parse::<u16>().is_ok());
    if desktop.display.as_deref().is_some_and(|d| !is_display(d)) {
        return Err(Error::invalid(
            "desktop.display",
            "is no X display: give one such as \":0\"",
        ));
    }
    Ok(())
}

pub(super) fn check_volumes(volumes: Option<&[VolumeMountRequest]>) -> Result<()> {
    let Some(volumes) = volumes else {
        return Ok(());
    };
    if volumes.len() > MAX_VOLUMES {
        return Err(Error::invalid(
            "volumes",
            format_args!(
                "has {} entries: a machine takes at most {MAX_VOLUMES}",
                volumes.len()
            ),
        ));
    }
    let mut paths: Vec<String> = Vec::new();
    for (index, volume) in volumes.iter().enumerate() {
        paths.push(check_mount(&format!("volumes[{index}]."), volume, &paths)?);
    }
    Ok(())
}

/// Checks one volume that is to be mounted beside `others`, and gives its path without anything superfluous. `prefix` leads
/// to the fields.
pub fn check_mount(prefix: &str, volume: &VolumeMountRequest, others: &[String]) -> Result<String> {
    let field = |name: &str| format!("{prefix}{name}");
    if volume.reference.trim().is_empty() {
        return Err(Error::invalid(
            &field("ref"),
            "is blank: give the id or name of a volume",
        ));
    }
    let path = absolute(&field("mount_path"), &volume.mount_path)?;
    // Without them commands and terminals do not start.
    let first = path.split('/').nth(1).unwrap_or_default();
    if path == "/" || OWN_DIRECTORIES.contains(&first) {
        return Err(Error::invalid(
            &field("mount_path"),
            format_args!("is {path:?}, which is the machine's own: give a directory such as \"/data\""),
        ));
    }
    let covers = |a: &str, b: &str| a == b || b.starts_with(&format!("{a}/"));
    if others
        .iter()
        .any(|other| covers(other, &path) || covers(&path, other))
    {
        return Err(Error::invalid(
            &field("mount_path"),
            format_args!("{path} overlaps another volume: give separate directories"),
        ));
    }
    if volume
        .subpath
        .as_deref()
        .is_some_and(|s| s.contains('\0') || s.split('/').any(|part| part == ".."))
    {
        return Err(Error::invalid(
            &field("subpath"),
            "leaves the volume: give a directory inside it such as \"models\"",
        ));
    }
    Ok(path)
}

pub(super) fn refuse_unknown_network_keys(raw: &Value) -> Result<()> {
    let network = &raw["network"];
    check_keys(
        "network",
        network,
        &[
            "allow_public_traffic",
            "mask_request_host",
            "egress",
            "deny_out",
            "allow_out",
            "secrets",
        ],
    )?;
    for (name, secret) in network["secrets"].as_object().into_iter().flatten() {
        check_keys(
            &format!("network.secrets.{name}"),
            secret,
            &["value", "hosts", "header", "format", "path", "base_url_env"],
        )?;
    }
    check_policy_keys("network.egress", &network["egress"])
}

/// Refuses keys that a policy does not have.
pub fn check_policy_keys(field: &str, policy: &Value) -> Result<()> {
    check_keys(
        field,
        policy,
        &[
            "mode",
            "allow_cidrs",
            "deny_cidrs",
            "allow_domains",
            "deny_domains",
            "rate_limit",
        ],
    )?;
    check_keys(
        &format!("{field}.rate_limit"),
        &policy["rate_limit"],
        &["kbit_per_sec", "pps", "burst"],
    )
}

fn check_keys(field: &str, value: &Value, known: &[&str]) -> Result<()> {
    let unknown = value
        .as_object()
        .and_then(|o| o.keys().find(|k| !known.contains(&k.as_str())));
    match unknown {
        Some(key) => Err(Error::invalid(
            &format!("{field}.{key}"),
            format_args!("is unknown: known are {}", known.join(", ")),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        assert_eq!(clean("/a/./b//../c/"), "/a/c");
        assert_eq!(clean("/../.."), "/");
    }

    #[test]
    fn paths_are_normalised() {
        assert_eq!(absolute("cwd", "/a/./b//../c/").unwrap(), "/a/c");
        assert_eq!(absolute("cwd", "/../..").unwrap(), "/");
    }
}

#[cfg(test)]
mod fuzz {
    use proptest::prelude::*;

    use super::clean;

    proptest! {
        #[test]
        fn fuzz_a_clean_path_is_absolute_and_has_no_way_up(path in "[a./ ]{0,40}|\\PC{0,40}") {
            let clean = clean(&path);
            prop_assert!(clean.starts_with('/'));
            prop_assert!(clean.split('/').skip(1).all(|part| part != ".." && part != "."));
            prop_assert_eq!(super::clean(&clean), clean);
        }
    }
}
