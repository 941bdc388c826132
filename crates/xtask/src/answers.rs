//! The answers in `index.d.ts`: an interface for each type of the wire that people see, with the comments of the type and of its
//! fields.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::iter;

use anyhow::{bail, ensure, Context, Result};
use serde_json::{Map, Value};

use crate::declarations::{self, literals};
use crate::decoders::{camel_case, default, non_null, properties, required, shape, Answers, Shape};

/// Declared by hand under the same name, with what they hold.
const BY_HAND: [&str; 5] = [
    // A union of the kinds of charts.
    "Chart",
    // Unions: by its mode, and by which of two limits it has.
    "EgressPolicy",
    "EgressRateLimit",
    // A class with getters.
    "Execution",
    "ExecutionLogs",
];

/// Used up by a call: people see something else.
const USED_UP: [&str; 22] = [
    // `run` in the background: a handle.
    "BackgroundExecResponse",
    // `writeFiles`: the files, or an error that says what failed.
    "BatchWriteResponse",
    "BatchWriteResult",
    // Uploads: an `UploadResult` when all is done.
    "CompleteUploadResponse",
    "CreateUploadResponse",
    "UploadLimits",
    "UploadSession",
    // A handle.
    "CreateMachineResponse",
    "MachineHandle",
    // One of their fields.
    "DownloadUrlResponse",
    "FileExistsResponse",
    "GitCloneResponse",
    "GitCommitResponse",
    "GitLog",
    "GitSyncResponse",
    "ReadFileResponse",
    "RevokePreviewGrantResponse",
    "UpdateEgressResponse",
    // A `MachinePage`.
    "ListMachinesResponse",
    // A union of events.
    "MonitorFrame",
    // What a build has yet to send.
    "PreflightResponse",
    "PreflightResult",
];

/// Parts of one type, written out in it.
const PARTS: [&str; 6] = [
    "ArtifactAvailability",
    "BuildPromotability",
    "MachineNetwork",
    "TemplateBuildConfig",
    "TemplateContextManifest",
    "ValidationError",
];

/// Texts with a name of their own, since calls or several types have them.
const NAMED_TEXTS: [&str; 4] = [
    "MachineStatus",
    "TemplateBuildStatus",
    "TemplateVisibility",
    "WebhookDeliveryStatus",
];

/// All that people see, by name.
pub fn generate() -> Result<String> {
    let answers = Answers::read()?;
    let names: BTreeSet<&str> = answers.wanted.iter().map(|(name, _)| name.as_str()).collect();
    let apart = [&BY_HAND[..], &USED_UP, &PARTS].concat();
    for name in &apart {
        ensure!(names.contains(name), "no answer holds {name} any more");
    }
    let shown = names.into_iter().filter(|name| !apart.contains(name));
    let all: BTreeSet<&str> = shown.chain(NAMED_TEXTS).collect();
    let mut text = String::new();
    for name in all {
        let schema = answers.definition(name)?;
        write!(text, "\n{}", comment(schema, schema, ""))?;
        if NAMED_TEXTS.contains(&name) {
            let union = union(&texts(schema), &format!("export type {name} ="), "");
            writeln!(text, "{union};")?;
        } else {
            let fields = fields(&answers, schema, "").with_context(|| name.to_owned())?;
            writeln!(text, "export interface {name} {fields}")?;
        }
    }
    Ok(text)
}

/// The fields of a type, in braces.
fn fields(answers: &Answers, schema: &Map<String, Value>, indent: &str) -> Result<String> {
    let required = required(schema);
    let inner = format!("{indent}  ");
    let mut text = String::from("{\n");
    for (key, field) in properties(schema)? {
        if let Some(field) = field.as_object() {
            text.push_str(&comment(field, schema, &inner));
        }
        let is_there = required.contains(key.as_str()) || default(field).is_some();
        let mark = if is_there { "" } else { "?" };
        let name = format!("{inner}readonly {}{mark}:", camel_case(key));
        writeln!(
            text,
            "{};",
            typed(answers, field, &name, &inner).with_context(|| key.to_owned())?
        )?;
    }
    text.push_str(indent);
    text.push('}');
    Ok(text)
}

/// The type of a field, behind its name.
fn typed(answers: &Answers, schema: &Value, name: &str, indent: &str) -> Result<String> {
    let definitions = &answers.definitions;
    if let Some(items) = schema.get("items") {
        let readonly = if schema["readOnly"] == true {
            " readonly"
        } else {
            ""
        };
        let item = typed(answers, items, "", indent)?;
        ensure!(!item.contains(" | "), "an array of several texts");
        return Ok(format!("{name}{readonly}{item}[]"));
    }
    let simple = match shape(definitions, schema)? {
        Shape::String => {
            let texts = all_texts(definitions, schema);
            let named = reference(schema).filter(|name| NAMED_TEXTS.contains(name));
            return Ok(match named {
                Some(named) => format!("{name} {named}"),
                None if texts.is_empty() => format!("{name} string"),
                None => union(&texts, name, indent),
            });
        }
        Shape::Date => "Date".to_owned(),
        Shape::Integer | Shape::Number => "number".to_owned(),
        Shape::Boolean => "boolean".to_owned(),
        Shape::Strings => "Record<string, string>".to_owned(),
        Shape::Verbatim => match schema.get("additionalProperties") {
            Some(values) if values["type"] == "integer" => "Record<string, number>".to_owned(),
            _ => "Record<string, unknown>".to_owned(),
        },
        Shape::Any => "unknown".to_owned(),
        Shape::Nested(part) if PARTS.contains(&part.as_str()) => {
            fields(answers, answers.definition(&part)?, indent)?
        }
        Shape::Nested(other) if USED_UP.contains(&other.as_str()) => bail!("{other} is used up by its call"),
        Shape::Nested(other) => other,
    };
    Ok(format!("{name} {simple}"))
}

/// The name of the type that a schema refers to.
fn reference(schema: &Value) -> Option<&str> {
    non_null(schema)?.get("$ref")?.as_str()?.rsplit('/').next()
}

/// The texts that a field may be; none when it may be any.
fn all_texts<'a>(definitions: &'a Map<String, Value>, schema: &'a Value) -> Vec<&'a str> {
    let schema = match reference(schema) {
        Some(name) => definitions.get(name),
        None => Some(schema),
    };
    schema.and_then(Value::as_object).map(texts).unwrap_or_default()
}

fn texts(schema: &Map<String, Value>) -> Vec<&str> {
    let several = |key| schema.get(key).and_then(Value::as_array).into_iter().flatten();
    iter::empty()
        .chain(several("enum").filter_map(Value::as_str))
        .chain(schema.get("const").and_then(Value::as_str))
        .chain(several("oneOf").filter_map(Value::as_object).flat_map(texts))
        .collect()
}

/// One of these texts, or another one: a newer server may send it.
fn union(texts: &[&str], name: &str, indent: &str) -> String {
    let mut types = literals(texts.iter().copied());
    types.push("(string & {})".to_owned());
    declarations::union(&types, name, indent)
}

/// The comment of a type or a field. Names of the fields beside it are those of JavaScript.
fn comment(schema: &Map<String, Value>, around: &Map<String, Value>, indent: &str) -> String {
    let Some(text) = schema.get("description").and_then(Value::as_str) else {
        return String::new();
    };
    let mut text = text.to_owned();
    for key in properties(around).into_iter().flat_map(Map::keys) {
        text = text.replace(&format!("`{key}`"), &format!("`{}`", camel_case(key)));
    }
    declarations::comment(&text, indent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_its_comment_its_name_and_its_type() {
        let text = generate().unwrap();
        for field in [
            "  /** When it was made. */\n  readonly createdAt: Date;\n",
            "  /** The same as `timeoutAt`. */\n  readonly expiresAt?: Date;\n",
            "  /** Where it is in its life. */\n  readonly status: MachineStatus;\n",
            "  readonly metadata?: Record<string, unknown>;\n",
            "  readonly truncated?: Record<string, number>;\n",
            "  readonly kind: 'tcp' | 'http' | (string & {});\n",
        ] {
            assert!(text.contains(field), "{field}");
        }
    }

    #[test]
    fn a_part_is_written_out_where_it_is() {
        let text = generate().unwrap();
        assert!(text.contains("  readonly network?: {\n    /** "));
        assert!(!text.contains("MachineNetwork"));
    }
}
