//! What programs of the same user read to find the engine of a state directory: `engine.json`, which is there while it
//! runs, and `api-key`, which stays. Only their owner may read either.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::machine::secret;

/// Name in the state directory.
const FILE: &str = "engine.json";
/// Name of the key's file.
const KEY: &str = "api-key";
/// Only for the owner.
const PRIVATE: u32 = 0o600;

/// An engine that answers. The SDK reads `base_url` and `api_key`, and `pid` with `started`, which no later process has both of: a file
/// that a killed engine left says nothing.
#[derive(Serialize)]
pub struct Running<'a> {
    /// Where the API is.
    pub base_url: &'a str,
    /// What clients send.
    pub api_key: &'a str,
    /// This process.
    pub pid: u32,
    /// When it began, in the words of `/proc/PID/stat`.
    pub started: String,
    /// Of the program.
    pub version: &'static str,
    /// Where it logs, if not to standard error.
    pub log: Option<&'a Path>,
    /// What this computer cannot do.
    pub notes: &'a [String],
}

impl<'a> Running<'a> {
    /// This process.
    pub fn here(base_url: &'a str, api_key: &'a str, log: Option<&'a Path>, notes: &'a [String]) -> Self {
        Self {
            base_url,
            api_key,
            pid: std::process::id(),
            started: started().unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION"),
            log,
            notes,
        }
    }

    /// Writes the file, at once as a whole.
    pub fn announce(&self, directory: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        replace(&directory.join(FILE), &text)
    }
}

/// Removes the file of an engine that ends.
pub fn forget(directory: &Path) {
    let _ = fs::remove_file(directory.join(FILE));
}

/// The key of a state directory, made when it has none: the same one after a restart, so that what a program was given stays right.
pub fn key(directory: &Path) -> io::Result<String> {
    let path = directory.join(KEY);
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let key = secret("nsk");
    replace(&path, format!("{key}\n").as_bytes())?;
    Ok(key)
}

/// Replaces a private file; who reads it meanwhile gets the old one or the new one. Whoever calls it holds the lock of the directory.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside: PathBuf = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let mut file = fs::File::options()
        .write(true)
        .create_new(true)
        .mode(PRIVATE)
        .open(&beside)?;
    file.write_all(bytes)?;
    fs::rename(&beside, path)
}

/// Field 22 of `/proc/self/stat`. The program's name stands in parentheses and may hold any character.
fn started() -> Option<String> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_key_of_a_directory_is_made_once_and_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let made = key(directory.path()).unwrap();
        assert!(made.starts_with("nsk_") && made.len() > 40, "{made}");
        assert_eq!(key(directory.path()).unwrap(), made);
        assert_eq!(mode(&directory.path().join("api-key")), 0o600);
        fs::write(directory.path().join("api-key"), " \n").unwrap();
        assert_ne!(key(directory.path()).unwrap(), made);
    }

    #[test]
    fn a_running_engine_is_told_in_a_private_file_until_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("engine.json");
        fs::write(&file, "of a killed one").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let notes = ["no cgroups".to_owned()];
        Running::here("http://127.0.0.1:1", "k", None, &notes)
            .announce(directory.path())
            .unwrap();
        assert_eq!(mode(&file), 0o600);
        let told: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(told["base_url"], "http://127.0.0.1:1");
        assert_eq!(told["api_key"], "k");
        assert_eq!(told["pid"], std::process::id());
        assert_eq!(told["notes"][0], "no cgroups");
        let ticks: u64 = told["started"].as_str().unwrap().parse().unwrap();
        assert!(ticks > 0);
        forget(directory.path());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
