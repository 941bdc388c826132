//! The options in `index.d.ts`: an interface for each kind of options of the table (src/surface) that has a name there, and for those
//! that `core` reads by hand. The command line has its flags from the same: see [`flags`].

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{bail, ensure, Context, Result};
use nullspace::core::config::CLIENT_OPTIONS;
use nullspace::core::options::snake_case;
use nullspace::core::shown;
use nullspace::surface::{self, Field, Kind, U32};
use nullspace_wire::limits::Range;
use serde_json::{json, Map, Value};

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

fn interfaces() -> Result<Vec<Interface>> {
    let by_hand = shown::INTERFACES.iter().map(|one| Ok(by_hand(one)));
    by_hand.chain(table()).collect()
}

/// All of them.
pub fn generate() -> Result<String> {
    let interfaces = interfaces()?;
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
    for option in own(interface, all) {
        text.push_str(&declared(option).with_context(|| option.name.to_owned())?);
    }
    text.push_str("}\n");
    Ok(text)
}

/// Its options that no parent has.
fn own<'a>(interface: &'a Interface, all: &'a [Interface]) -> impl Iterator<Item = &'a Shown> {
    let names = interface.parents.iter();
    let names: Vec<&str> = names
        .flat_map(|parent| parent.split(|letter: char| !letter.is_alphanumeric()))
        .collect();
    let parents = all.iter().filter(|other| names.contains(&other.name));
    let inherited: Vec<&str> = parents
        .flat_map(|parent| &parent.options)
        .map(|option| option.name)
        .collect();
    let options = interface.options.iter();
    options.filter(move |option| !inherited.contains(&option.name))
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

/// `lib/client-options.js`: options that say which client asks.
pub fn of_clients() -> Result<String> {
    let names = CLIENT_OPTIONS.iter().filter(|name| **name != "signal");
    let names: Vec<_> = names.collect();
    Ok(format!(
        "// Generated of src/core/config.rs.\n\nexport const CLIENT_OPTIONS = {};\n",
        serde_json::to_string(&names)?
    ))
}

/// The same for the command line, by interface and name: what its help says of an option, and how the text of a flag is read. No
/// text is a function.
pub fn flags() -> Result<String> {
    let mut all = Map::new();
    let interfaces = interfaces()?;
    for interface in &interfaces {
        let options =
            own(interface, &interfaces).filter(|option| !option.types.iter().any(|one| one.contains("=>")));
        let options = options.map(|option| {
            let known = flag(option, interface).with_context(|| option.name.to_owned())?;
            Ok((option.name.to_owned(), known))
        });
        all.insert(interface.name.to_owned(), options.collect::<Result<_>>()?);
    }
    Ok(serde_json::to_string_pretty(&Value::Object(all))? + "\n")
}

fn flag(option: &Shown, interface: &Interface) -> Result<Value> {
    const SAY_NOTHING: [&str; 6] = ["none", "all", "false", "true", "{}", "the server's"];
    let comment = about(option)?;
    // A link has its `@` in a brace.
    let tag = comment
        .match_indices('@')
        .find(|(at, _)| !comment[..*at].ends_with('{'));
    let (words, tags) = tag.map_or((comment.as_str(), ""), |(at, _)| {
        (&comment[..at], &comment[at + 1..])
    });
    // The first clause: help is one line.
    let words = words.split("\n\n").next().unwrap_or_default().trim();
    let clause = words.split(". ").next().and_then(|one| one.split("; ").next());
    let about = plain(clause.unwrap_or_default().trim_end_matches('.'), interface);
    let default = tags.strip_prefix("default ").map(|text| {
        let text = text.split(['\n', '@']).next().unwrap_or_default();
        let text = text.trim();
        let quoted = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
        plain(
            quoted.filter(|text| !text.contains('\'')).unwrap_or(text),
            interface,
        )
    });
    let mut known = json!({ "about": lowered(&about), "kind": kind(option) });
    if let Some(default) = default.filter(|text| !SAY_NOTHING.contains(&text.as_str())) {
        known["default"] = default.into();
    }
    Ok(known)
}

/// How the text of a flag is read.
fn kind(option: &Shown) -> &'static str {
    match option.types.as_slice() {
        [one] if one == "number" => "number",
        [one] if one == "readonly string[]" => "list",
        [one] if one.contains("Record<string, ") => "pairs",
        _ => "text",
    }
}

/// Words without Markdown; other options are called by their flags.
fn plain(text: &str, interface: &Interface) -> String {
    let mut linked = text.split("{@link ");
    let begin = linked.next().map(str::to_owned);
    let rest = linked.map(|part| part.replacen('}', "", 1));
    let text: String = begin.into_iter().chain(rest).collect();
    let text = text.replace('\n', " ");
    let parts = text.split('`').enumerate().map(|(index, part)| {
        // Names of one word may be anything else, such as templates.
        let named =
            part.contains(char::is_uppercase) && interface.options.iter().any(|option| option.name == part);
        match index % 2 == 1 && named {
            true => format!("--{}", snake_case(part).replace('_', "-")),
            false => part.to_owned(),
        }
    });
    parts.collect()
}

/// Begins in lower case, unless the first word is a unit or an abbreviation, such as MiB.
fn lowered(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_lowercase);
    let rest = letters.as_str();
    match rest
        .split(' ')
        .next()
        .is_some_and(|word| word.contains(char::is_uppercase))
    {
        true => text.to_owned(),
        false => first.chain(rest.chars()).collect(),
    }
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

    #[test]
    fn a_flag_has_the_first_clause_of_the_comment_its_default_and_how_it_is_read() {
        let all: Value = serde_json::from_str(&flags().unwrap()).unwrap();
        for (interface, option, known) in [
            (
                "CreateOptions",
                "vcpus",
                json!({ "about": "processors, 1 to 256", "kind": "number", "default": "2" }),
            ),
            (
                "CreateOptions",
                "memoryMb",
                json!({
                    "about": "MiB of memory, 1 to 1048576",
                    "kind": "number",
                    "default": "512; 2048 for the templates code-interpreter and desktop",
                }),
            ),
            (
                "CreateOptions",
                "envs",
                json!({ "about": "environment of every command", "kind": "pairs" }),
            ),
            (
                "CreateOptions",
                "snapshotId",
                json!({ "about": "start from this snapshot", "kind": "text" }),
            ),
            (
                "WarmPoolOptions",
                "maxReady",
                json!({ "about": "most machines, 0 to 100", "kind": "number", "default": "--min-ready" }),
            ),
            (
                "ListOptions",
                "nextToken",
                json!({
                    "about": "where to continue: MachinePage.nextToken of an earlier page",
                    "kind": "text",
                    "default": "the first page",
                }),
            ),
            (
                "UploadOptions",
                "checksum",
                json!({
                    "about": "sha256 checks the whole too, which is read twice then",
                    "kind": "text",
                    "default": "'auto': each part",
                }),
            ),
            (
                "TemplateDefinitionOptions",
                "tags",
                json!({
                    "about": "names of the build",
                    "kind": "list",
                    "default": "the tag of ref, else the server's (default)",
                }),
            ),
        ] {
            assert_eq!(all[interface][option], known, "{interface}.{option}");
        }
    }
}
