//! User and group names, read from the machine's own files: a static program has no name service.

use std::collections::HashMap;

use crate::user_files;

/// Names by number.
pub(super) struct Names {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Names {
    pub(super) fn load() -> Self {
        Self {
            users: by_number("/etc/passwd"),
            groups: by_number("/etc/group"),
        }
    }

    /// Of files that several machines share, each with users of its own.
    pub(super) fn of_no_machine() -> Self {
        let root = HashMap::from([(0, "root".to_owned())]);
        Self {
            users: root.clone(),
            groups: root,
        }
    }

    pub(super) fn user(&self, number: u32) -> String {
        self.users
            .get(&number)
            .cloned()
            .unwrap_or_else(|| number.to_string())
    }

    pub(super) fn group(&self, number: u32) -> String {
        self.groups
            .get(&number)
            .cloned()
            .unwrap_or_else(|| number.to_string())
    }
}

fn by_number(file: &str) -> HashMap<u32, String> {
    let text = read(file);
    let mut found = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        let (name, number) = (fields.next(), fields.nth(1).and_then(|n| n.parse().ok()));
        if let (Some(name), Some(number)) = (name, number) {
            found.entry(number).or_insert_with(|| name.to_owned()); // the first one counts, as for libc
        }
    }
    found
}

/// Home directory of the user that this process is.
pub(super) fn home() -> String {
    let own = rustix::process::geteuid().as_raw().to_string();
    let text = read("/etc/passwd");
    let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let line = lines.find(|fields| fields.get(2) == Some(&own.as_str()));
    let home = line.and_then(|fields| fields.get(5).map(|home| (*home).to_owned()));
    home.filter(|home| home.starts_with('/') && std::path::Path::new(home).is_dir())
        .unwrap_or_else(|| "/workspace".into())
}

fn read(file: &str) -> String {
    user_files::read(file).unwrap_or_default()
}
