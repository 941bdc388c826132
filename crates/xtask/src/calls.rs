//! Calls that are one request, for the command line: `Class.call` of a class and `Class#call` of its handles, with their arguments, the
//! interface of their options and the kind of their answer. `src/wasm/export.rs` says which operation each of them is.

use std::fs;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use nullspace::surface::{Operation, ALL};
use serde_json::{json, Value};

/// All of them, a line each.
pub fn generate(root: &Path) -> Result<String> {
    let surface = fs::read_to_string(root.join("src/surface/mod.rs"))?;
    let operations = operations(&surface)?;
    let exports = fs::read_to_string(root.join("src/wasm/export.rs"))?;
    let mut lines = Vec::new();
    for (call, operation, handle) in exports.lines().filter_map(exported) {
        let (_, operation) = operations
            .iter()
            .find(|(name, _)| *name == operation)
            .with_context(|| format!("{operation} of {call} is not among all operations"))?;
        lines.push(format!("  {}: {}", json!(call), described(operation, handle)));
    }
    ensure!(!lines.is_empty(), "src/wasm/export.rs exports no call");
    Ok(format!("{{\n{}\n}}\n", lines.join(",\n")))
}

/// Call, operation and handle of `Class: function as call(arguments) = OPERATION => "Handle";`.
fn exported(line: &str) -> Option<(String, &str, Option<&str>)> {
    let (class, rest) = line.trim().strip_suffix(';')?.split_once(": ")?;
    let (name, rest) = rest.split_once(" as ")?.1.split_once('(')?;
    let (_, operation) = rest.split_once(") = ")?;
    let call = match class.strip_suffix("Handle") {
        Some(class) => format!("{class}#{name}"),
        None => format!("{class}.{name}"),
    };
    Some(match operation.split_once(" => ") {
        Some((operation, handle)) => (call, operation, Some(handle.trim_matches('"'))),
        None => (call, operation, None),
    })
}

/// The operations by their names, which only their source has.
fn operations(source: &str) -> Result<Vec<(&str, &'static Operation)>> {
    let (_, list) = source
        .split_once("pub static ALL: &[&Operation] = &[")
        .context("src/surface/mod.rs has no list of all operations")?;
    let (list, _) = list.split_once(']').context("a list without an end")?;
    let names: Vec<&str> = list
        .split(',')
        .filter_map(|one| one.trim().strip_prefix('&'))
        .collect();
    ensure!(names.len() == ALL.len(), "the list of all operations was misread");
    Ok(names.into_iter().zip(ALL.iter().copied()).collect())
}

fn described(operation: &Operation, handle: Option<&str>) -> Value {
    let args: Vec<&str> = operation.args.iter().map(|arg| arg.js).collect();
    let kind = operation.route.answer.name();
    let answer = match (handle, operation.gives) {
        (Some(handle), _) => handle.to_owned(),
        (None, Some(field)) => format!("{kind}.{field}"),
        (None, None) => kind.to_owned(),
    };
    let options = operation.shown.map(|interface| interface.name);
    json!({ "args": args, "options": options, "answer": answer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_its_arguments_its_options_and_its_answer() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let text = generate(root).unwrap();
        for line in [
            r#""Snapshot.list": {"args":[],"options":"SnapshotListOptions","answer":"SnapshotList"}"#,
            r#""Snapshot.delete": {"args":["id"],"options":null,"answer":""}"#,
            r#""Template.rename": {"args":["ref","newName"],"options":null,"answer":"TemplateInfo"}"#,
            r#""Machine.resume": {"args":["id"],"options":null,"answer":"Machine"}"#,
            r#""TemplateBuild#cancel": {"args":[],"options":null,"answer":"TemplateBuildSnapshot.build"}"#,
        ] {
            assert!(text.contains(line), "{line}");
        }
    }
}
