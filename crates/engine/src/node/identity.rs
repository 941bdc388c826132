//! Who a state directory is in a cluster: a name that never changes and the tag that its ids begin with.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::messages::is_tag;

/// Name in the state directory.
const FILE: &str = "node.json";
/// The state of an engine, be it a node's or not.
const STATE: &str = "state.sqlite";

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// UUID.
    pub node: String,
    /// Given by the cluster at the first join.
    pub tag: Option<String>,
    /// How often the cluster gave the node up, as far as the node carried it out.
    pub epoch: i64,
}

impl Identity {
    /// Reads it, or makes a new one for a directory that is nobody's yet.
    pub fn of(directory: &Path) -> Result<Self, String> {
        let path = directory.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::new(directory),
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        };
        let read: Self = serde_json::from_str(&text)
            .map_err(|error| format!("{} is not what a node wrote: {error}", path.display()))?;
        if read.tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
            return Err(format!("{} has a tag that no cluster gave", path.display()));
        }
        Ok(read)
    }

    /// Ids that an engine of its own made lead to no node, so its state cannot join.
    fn new(directory: &Path) -> Result<Self, String> {
        if directory.join(STATE).exists() {
            return Err(format!(
                "{} holds the state of an engine of its own, whose ids no gateway could find: give a new directory with --state",
                directory.display()
            ));
        }
        Ok(Self {
            node: uuid::Uuid::new_v4().to_string(),
            tag: None,
            epoch: 0,
        })
    }

    /// Writes it; a power cut leaves the old one or the new one.
    pub fn keep(&self, directory: &Path) -> Result<(), String> {
        let write = || {
            let beside = directory.join("node.json.new");
            let mut file = fs::File::create(&beside)?;
            io::Write::write_all(&mut file, &serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            fs::rename(&beside, directory.join(FILE))?;
            fs::File::open(directory)?.sync_all()
        };
        write().map_err(|error: io::Error| {
            format!("cannot keep the node's tag in {}: {error}", directory.display())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_stays_the_node_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let mut made = Identity::of(directory.path()).unwrap();
        made.tag = Some("0a1f".into());
        made.epoch = 3;
        made.keep(directory.path()).unwrap();
        fs::write(directory.path().join(STATE), "").unwrap();
        assert_eq!(Identity::of(directory.path()).unwrap(), made);
    }

    #[test]
    fn the_state_of_an_engine_of_its_own_is_no_node() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(STATE), "").unwrap();
        let refused = Identity::of(directory.path()).unwrap_err();
        assert!(refused.contains("--state"), "{refused}");
    }

    #[test]
    fn a_broken_or_forged_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["{", r#"{"node":"x","tag":"../a","epoch":0}"#] {
            fs::write(directory.path().join(FILE), text).unwrap();
            let refused = Identity::of(directory.path()).unwrap_err();
            assert!(refused.contains("node.json"), "{refused}");
        }
    }
}
