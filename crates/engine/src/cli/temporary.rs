//! Directories that end with the program.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Outcome;
use crate::isolation::remove;
use crate::machine::secret;
use crate::store::Store;

/// Beginning of the names of state directories.
const PREFIX: &str = "nullspace-engine-state";
/// What is younger may be about to be used.
const YOUNG: Duration = Duration::from_secs(60);

/// A private directory below `TMPDIR`, with a name that nobody can guess.
pub fn directory(prefix: &str) -> Outcome<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let directory = std::env::temp_dir().join(secret(prefix));
    let made = fs::DirBuilder::new().mode(0o700).create(&directory);
    made.map_err(|e| format!("cannot make {}: {e}", directory.display()))?;
    Ok(directory)
}

/// State that is removed with this value.
pub struct State(PathBuf);

impl State {
    /// Makes it, and removes those that killed engines of this user left.
    pub fn make() -> Outcome<Self> {
        sweep(&std::env::temp_dir(), SystemTime::now());
        directory(PREFIX).map(Self)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = remove::directory(&self.0);
    }
}

/// Removes state directories that no engine holds.
fn sweep(parent: &Path, now: SystemTime) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let Ok(found) = entry.metadata() else { continue };
        // Anybody may make a directory here, and what is in one of somebody else may lead anywhere.
        let is_mine = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
        let age = found
            .modified()
            .ok()
            .and_then(|changed| now.duration_since(changed).ok());
        if is_mine
            && entry.file_name().to_string_lossy().starts_with(PREFIX)
            && age.is_some_and(|age| age > YOUNG)
            && Store::open(&entry.path()).is_ok()
        {
            let _ = remove::directory(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_engine_left_is_removed_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        let left = at("nullspace-engine-state_left");
        let used = at("nullspace-engine-state_used");
        for directory in [&left, &used] {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("file"), "x").unwrap();
        }
        fs::create_dir(at("other")).unwrap();
        let held = Store::open(&used).unwrap();
        sweep(parent.path(), SystemTime::now());
        assert!(left.exists(), "it may be about to be used");
        let later = SystemTime::now() + Duration::from_secs(120);
        sweep(parent.path(), later);
        assert!(!left.exists());
        assert!(used.join("file").exists() && at("other").exists());
        drop(held);
        sweep(parent.path(), later);
        assert!(!used.exists());
    }
}
