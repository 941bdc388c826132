//! The options in `index.d.ts`: an interface for each kind of options of the table (src/surface) that has a name there, and for those
//! that `core` reads by hand.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{bail, ensure, Context, Result};
use nullspace::core::shown;
use nullspace::surface::{self, Field, Kind, U32};
use nullspace_wire::limits::Range;

use crate::declarations::{comment, literals, union};

/// An interface of options, wherever it is from.
struct Interface {
    name: &'static str,
    parents: &'static [&'static str],
    comment: &'static str,
    options: Vec<Shown>,
}

/// An option in it.
struct Shown {
    name: &'static str,
    types: Vec<String>,
    comment: &'static str,
    range: Option<Range>,
    default: Option<u64>,
    needed: bool,
}

/// All of them.
pub fn generate() -> Result<String> {
    let by_hand = shown::INTERFACES.iter().map(|one| Ok(by_hand(one)));
    let interfaces: Vec<Interface> = by_hand.chain(table()).collect::<Result<_>>()?;
    let mut made: BTreeMap<&str, String> = BTreeMap::new();
    let mut text = String::new();
    for interface in &interfaces {
        let name = interface.name;
        let one = declaration(interface, &interfaces).with_context(|| name.to_owned())?;
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

/// Those that core reads.
fn by_hand(interface: &'static shown::Interface) -> Interface {
    let options = interface.options.iter().map(|option| Shown {
        name: option.name,
        types: vec![typed(option.typed)],
        comment: option.comment,
        range: option.range,
        default: option.default,
        needed: false,
    });
    Interface {
        name: interface.name,
        parents: interface.parents,
        comment: interface.comment,
        options: options.collect(),
    }
}

/// Those of the table.
fn table() -> impl Iterator<Item = Result<Interface>> {
    surface::interfaces().map(|interface| {
        let fields = interface.sets.iter().flat_map(|set| set.iter());
        let options = fields.map(|field| {
            Ok(Shown {
                name: field.js,
                types: types(field).with_context(|| field.js.to_owned())?,
                comment: field.shown.comment,
                range: match field.kind {
                    Kind::Int(range) => Some(range),
                    _ => None,
                },
                default: field.shown.default,
                needed: field.needed.is_some() && !field.shown.made,
            })
        });
        Ok(Interface {
            name: interface.name,
            parents: interface.parents,
            comment: interface.comment,
            options: options.collect::<Result<_>>()?,
        })
    })
}

fn types(field: &Field) -> Result<Vec<String>> {
    if let Some(text) = field.shown.typed {
        return Ok(vec![typed(text)]);
    }
    let one = match field.kind {
        Kind::Text | Kind::Filled | Kind::Trimmed | Kind::Id => "string",
        Kind::Flag => "boolean",
        Kind::Int(_) => "number",
        Kind::OneOf(choices) => return Ok(literals(choices.iter().copied())),
        Kind::Texts => "readonly string[]",
        Kind::Envs => "Record<string, string>",
        Kind::Object => "Record<string, unknown>",
        Kind::Function | Kind::By(_) => bail!("its type must be said with `typed`"),
    };
    Ok(vec![one.to_owned()])
}

/// A type that others may follow.
fn typed(text: &str) -> String {
    match text.contains("=>") {
        true => format!("({text})"),
        false => text.to_owned(),
    }
}

fn declaration(interface: &Interface, all: &[Interface]) -> Result<String> {
    let mut text = comment(&lines(interface.comment), "");
    write!(text, "export interface {}", interface.name)?;
    if !interface.parents.is_empty() {
        write!(text, " extends {}", interface.parents.join(", "))?;
    }
    text.push_str(" {\n");
    let names = interface.parents.iter();
    let names: Vec<&str> = names
        .flat_map(|parent| parent.split(|letter: char| !letter.is_alphanumeric()))
        .collect();
    let parents = all.iter().filter(|other| names.contains(&other.name));
    let inherited: Vec<&str> = parents
        .flat_map(|parent| &parent.options)
        .map(|option| option.name)
        .collect();
    let own = interface.options.iter();
    for option in own.filter(|option| !inherited.contains(&option.name)) {
        text.push_str(&declared(option).with_context(|| option.name.to_owned())?);
    }
    text.push_str("}\n");
    Ok(text)
}

fn declared(option: &Shown) -> Result<String> {
    const INDENT: &str = "  ";
    let (mark, absent) = match option.needed {
        true => ("", None),
        false => ("?", Some("undefined".to_owned())),
    };
    let types: Vec<String> = option.types.iter().cloned().chain(absent).collect();
    let declared = union(&types, &format!("{INDENT}{}{mark}:", option.name), INDENT);
    Ok(format!("{}{declared};\n", comment(&about(option)?, INDENT)))
}

/// The comment, with the range and the default of the option in their places.
fn about(option: &Shown) -> Result<String> {
    let mut text = lines(option.comment);
    ensure!(!text.is_empty(), "an option without a comment");
    if let Some(range) = option.range {
        let said = match range.max {
            most if most < U32 => format!("{} to {most}", range.min),
            _ => format!("at least {}", range.min),
        };
        text = text.replace("{range}", &said);
    }
    if let Some(number) = option.default {
        text = text.replace("{default}", &number.to_string());
    }
    ensure!(
        !text.contains("{range}") && !text.contains("{default}"),
        "nothing stands for a part of: {text}"
    );
    Ok(text)
}

/// The text of a comment of Rust.
fn lines(comment: &str) -> String {
    let lines = comment.lines();
    let lines: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n")
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
