//! `lib/error-classes.js`: a class for each kind of error that Rust knows; `lib/error-names.js`: the kind, the name and the
//! class of each.

use anyhow::Result;
use nullspace::core::error::{Kind, ALL_KINDS};

const BASE: &str = "NullspaceError";

/// Name of the class.
fn class(kind: Kind) -> String {
    match kind {
        Kind::Other => BASE.to_owned(),
        kind => format!("{kind:?}Error"),
    }
}

/// What it extends: `FileUploadError` stands for all errors of uploads.
fn parent(kind: Kind) -> String {
    match class(kind).starts_with("Upload") {
        true => class(Kind::FileUpload),
        false => BASE.to_owned(),
    }
}

/// The classes. The base, which does something, is written by hand.
pub fn generate() -> String {
    let kinds = ALL_KINDS.iter().filter(|kind| **kind != Kind::Other);
    let classes: String = kinds.map(|kind| format!("{} {{}}\n", declared(*kind))).collect();
    format!(
        "// Generated of src/core/error.rs.\n\nimport {{ {BASE} }} from './nullspace-error.js';\n\nexport {{ {BASE} }};\n{classes}"
    )
}

/// The table of them. Names are texts, since bundlers rename classes and Parcel cannot list the names of a module.
pub fn names() -> Result<String> {
    let rows = ALL_KINDS.iter().map(|kind| {
        let (word, class) = (serde_json::to_value(kind)?, class(*kind));
        Ok(format!("  [{word}, '{class}', {class}],\n"))
    });
    let rows: String = rows.collect::<Result<_>>()?;
    let classes: Vec<_> = ALL_KINDS.iter().map(|kind| class(*kind)).collect();
    Ok(format!(
        "// Generated of src/core/error.rs.\n\nimport {{ {} }} from './error-classes.js';\n\nexport const kinds = [\n{rows}];\n",
        classes.join(", ")
    ))
}

fn declared(kind: Kind) -> String {
    format!("export class {} extends {}", class(kind), parent(kind))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::declarations;

    #[test]
    fn every_kind_has_a_class_below_that_of_its_parent() {
        let text = generate();
        for line in [
            "export { NullspaceError };\nexport class AuthError extends NullspaceError {}\n",
            "export class RateLimitError extends NullspaceError {}\n",
            "export class FileUploadError extends NullspaceError {}\nexport class UploadLimitError extends FileUploadError {}\n",
        ] {
            assert!(text.contains(line), "{line}");
        }
        assert_eq!(text.matches("export class ").count(), 22);
    }

    #[test]
    fn index_d_ts_declares_the_class_of_each_kind() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let text = fs::read_to_string(declarations::file(root)).unwrap();
        for kind in ALL_KINDS.iter().filter(|kind| **kind != Kind::Other) {
            let line = format!("\n{} {{", declared(*kind));
            assert!(text.contains(&line), "{line}");
        }
    }
}
