//! What is generated and committed. Of `index.d.ts`: options and answers, each between a line that begins their region and one that
//! ends it; the rest of that file is written by hand. `cli/options.json`: options that are flags of the command line. `cli/calls.json`:
//! calls that are commands of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{answers, calls, options};

/// `index.d.ts` of the package's template.
pub fn file(root: &Path) -> PathBuf {
    root.join("pkg-template/index.d.ts")
}

/// The text of that file with what is generated made anew.
pub fn renewed(root: &Path) -> Result<String> {
    let text = fs::read_to_string(file(root))?;
    let text = region(
        &text,
        "Options, made from src/surface and src/core",
        &options::generate()?,
    )?;
    region(&text, "Answers, made from crates/wire", &answers::generate()?)
}

/// Options of the command line.
pub fn flags_file(root: &Path) -> PathBuf {
    root.join("cli/options.json")
}

/// Calls of the command line.
pub fn calls_file(root: &Path) -> PathBuf {
    root.join("cli/calls.json")
}

/// Brings all of them up to date.
pub fn write(root: &Path) -> Result<()> {
    fs::write(file(root), renewed(root)?)?;
    fs::write(flags_file(root), options::flags()?)?;
    Ok(fs::write(calls_file(root), calls::generate(root)?)?)
}

fn region(text: &str, title: &str, content: &str) -> Result<String> {
    let begin = format!("// #region {title} by `cargo xtask declarations`: change them there.\n");
    let end = "\n// #endregion\n";
    let (before, rest) = text
        .split_once(&begin)
        .with_context(|| format!("index.d.ts has no line: {begin}"))?;
    let (_, after) = rest
        .split_once(end)
        .context("a region of index.d.ts without an end")?;
    Ok([before, &begin, content, end, after].concat())
}

/// A comment as TypeScript has it.
pub fn comment(text: &str, indent: &str) -> String {
    if !text.contains('\n') {
        return format!("{indent}/** {text} */\n");
    }
    let lines: String = text
        .lines()
        .map(|line| format!("{indent} * {line}").trim_end().to_owned() + "\n")
        .collect();
    format!("{indent}/**\n{lines}{indent} */\n")
}

/// One of several types, behind its name. Broken as biome does it.
pub fn union(types: &[String], name: &str, indent: &str) -> String {
    const LINE_WIDTH: usize = 120;
    let line = format!("{name} {}", types.join(" | "));
    if line.len() < LINE_WIDTH {
        return line;
    }
    let broken: String = types.iter().map(|one| format!("\n{indent}  | {one}")).collect();
    format!("{name}{broken}")
}

/// One of these texts.
pub fn literals<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    texts.into_iter().map(|text| format!("'{text}'")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_d_ts_has_the_options_and_answers_of_the_sources() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let now = fs::read_to_string(file(root)).unwrap();
        assert!(
            now == renewed(root).unwrap(),
            "pkg-template/index.d.ts is behind the sources: run `cargo xtask declarations`"
        );
    }

    #[test]
    fn flags_of_the_command_line_have_the_options_of_the_sources() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let now = fs::read_to_string(flags_file(root)).unwrap();
        assert!(
            now == options::flags().unwrap(),
            "cli/options.json is behind the sources: run `cargo xtask declarations`"
        );
    }

    #[test]
    fn commands_of_the_command_line_have_the_calls_of_the_sources() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let now = fs::read_to_string(calls_file(root)).unwrap();
        assert!(
            now == calls::generate(root).unwrap(),
            "cli/calls.json is behind the sources: run `cargo xtask declarations`"
        );
    }

    #[test]
    fn types_that_are_too_long_for_a_line_are_a_line_each() {
        let short = literals(["a", "b"]);
        assert_eq!(union(&short, "  x:", "  "), "  x: 'a' | 'b'");
        let long = literals(["a".repeat(60).as_str(), "b".repeat(60).as_str()]);
        let broken = format!("  x:\n    | '{}'\n    | '{}'", "a".repeat(60), "b".repeat(60));
        assert_eq!(union(&long, "  x:", "  "), broken);
    }

    #[test]
    fn a_comment_of_several_lines_is_a_block() {
        assert_eq!(comment("One.", "  "), "  /** One. */\n");
        assert_eq!(comment("One.\n\nTwo.", ""), "/**\n * One.\n *\n * Two.\n */\n");
    }
}
