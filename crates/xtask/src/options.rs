//! The options in `index.d.ts`: an interface for each kind of options of the table (src/surface) that has a name there.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{ensure, Context, Result};
use nullspace::surface::{interfaces, Field, Interface, Kind, U32};

use crate::declarations::{comment, literals, union};

/// All of them, in the order of the table.
pub fn generate() -> Result<String> {
    let mut made: BTreeMap<&str, String> = BTreeMap::new();
    let mut text = String::new();
    for interface in interfaces() {
        let name = interface.name;
        let one = declaration(&interface).with_context(|| name.to_owned())?;
        match made.get(name) {
            Some(other) => ensure!(one == *other, "two calls take {name} and have different options"),
            None => {
                write!(text, "\n{one}")?;
                made.insert(name, one);
            }
        }
    }
    Ok(text)
}

fn declaration(interface: &Interface) -> Result<String> {
    let mut text = comment(interface.comment, "");
    write!(text, "export interface {}", interface.name)?;
    if !interface.parents.is_empty() {
        write!(text, " extends {}", interface.parents.join(", "))?;
    }
    text.push_str(" {\n");
    let names = interface.parents.iter();
    let names: Vec<&str> = names
        .flat_map(|parent| parent.split(|letter: char| !letter.is_alphanumeric()))
        .collect();
    let inherited: Vec<&str> = interfaces()
        .filter(|other| names.contains(&other.name))
        .flat_map(|parent| options(&parent))
        .map(|field| field.js)
        .collect();
    let own = options(interface).filter(|field| !inherited.contains(&field.js));
    for field in own {
        text.push_str(&option(field).with_context(|| field.js.to_owned())?);
    }
    text.push_str("}\n");
    Ok(text)
}

fn options(interface: &Interface) -> impl Iterator<Item = &'static Field> {
    interface.sets.iter().flat_map(|set| set.iter())
}

fn option(field: &Field) -> Result<String> {
    const INDENT: &str = "  ";
    let about = about(field)?;
    let (mark, absent) = match field.needed {
        Some(_) if !field.shown.made => ("", None),
        _ => ("?", Some("undefined".to_owned())),
    };
    let types: Vec<String> = types(field)?.into_iter().chain(absent).collect();
    let declared = union(&types, &format!("{INDENT}{}{mark}:", field.js), INDENT);
    Ok(format!("{}{declared};\n", comment(&about, INDENT)))
}

/// The comment, with the range and the default of the option in their places.
fn about(field: &Field) -> Result<String> {
    let lines = field.shown.comment.lines();
    let lines: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    let mut text = lines.join("\n");
    ensure!(!text.is_empty(), "an option without a comment");
    if let Kind::Int(range) = field.kind {
        let said = match range.max {
            most if most < U32 => format!("{} to {most}", range.min),
            _ => format!("at least {}", range.min),
        };
        text = text.replace("{range}", &said);
    }
    if let Some(number) = field.shown.default {
        text = text.replace("{default}", &number.to_string());
    }
    ensure!(!text.contains("{range}") && !text.contains("{default}"), "{text}");
    Ok(text)
}

fn types(field: &Field) -> Result<Vec<String>> {
    if let Some(typed) = field.shown.typed {
        let is_function = typed.contains("=>");
        return Ok(vec![if is_function {
            format!("({typed})")
        } else {
            typed.to_owned()
        }]);
    }
    let one = match field.kind {
        Kind::Text | Kind::Filled | Kind::Trimmed | Kind::Id => "string",
        Kind::Flag => "boolean",
        Kind::Int(_) => "number",
        Kind::OneOf(choices) => return Ok(literals(choices.iter().copied())),
        Kind::Texts => "readonly string[]",
        Kind::Envs => "Record<string, string>",
        Kind::Object => "Record<string, unknown>",
        Kind::Function | Kind::By(_) => anyhow::bail!("its type must be said with `typed`"),
    };
    Ok(vec![one.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_has_its_comment_its_range_its_default_and_its_type() {
        let text = generate().unwrap();
        for line in [
            "  /** Processors of each machine, 1 to 256. @default 2 */\n  vcpus?: number | undefined;\n",
            "  /** Seconds, at least 1, after which a ready machine is replaced. @default 900 */\n",
            "  state?: 'enabled' | 'disabled' | 'draining' | 'deleted' | undefined;\n",
            "  onStdout?: ((output: CodeOutput) => unknown) | undefined;\n",
            "  /** A context or its id. */\n  context: CodeContext | string;\n",
        ] {
            assert!(text.contains(line), "{line}");
        }
    }

    #[test]
    fn options_of_a_parent_are_not_told_again() {
        let text = generate().unwrap();
        assert!(text.contains("export interface GitLogOptions extends GitOptions {\n  /** Most commits, "));
        let (_, update) = text.split_once("export interface WarmPoolUpdateOptions").unwrap();
        let (update, _) = update.split_once("\n}\n").unwrap();
        assert!(update.contains("  template?: string | undefined;"));
        assert!(!update.contains("minReady?"));
    }
}
