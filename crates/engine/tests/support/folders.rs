//! What tests look for in directories.

use std::path::Path;
use std::process::Command;

/// Files below a directory that hold a text.
pub fn holding(directory: &Path, text: &str) -> Vec<String> {
    let found = Command::new("grep")
        .args(["-rlaF", "--devices=skip", "--", text])
        .arg(directory)
        .output()
        .unwrap();
    String::from_utf8_lossy(&found.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}
