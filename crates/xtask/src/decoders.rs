//! Generates `decoders.js`: straight-line JavaScript that checks the answer of a successful call and gives it its
//! JavaScript shape. Keys become camelCase, timestamps `Date`s, `null` reads as absent, unknown keys are dropped.
//! Text of enums is not checked: a newer server may send new values. The source are the JSON Schemas of the wire
//! types, so that field names are written once.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{bail, ensure, Context, Result};
use nullspace_wire::{
    code, exec, files, git, lifecycle, machine, monitor, network, preview, ssh, upload, volume, warm_pool,
    webhook,
};
use schemars::SchemaGenerator;
use serde_json::{Map, Value};

/// How an answer is laid out around its type.
#[derive(Clone, Copy, PartialEq)]
enum Layout {
    /// The type itself.
    One,
    /// The type with any subset of its fields: what `fields=` asks for.
    Projected,
    /// An array.
    Many,
    /// A page `{items, ...}`; a bare array, which old servers send, is one last page.
    Page,
    /// The items of a page, as an array, with any subset of their fields.
    ProjectedItems,
    /// The items of a page, as an array.
    Items,
}

/// Name of the answer (that of `transport::Decoder`), type, layout.
fn answers(generator: &mut SchemaGenerator) -> Vec<(&'static str, String, Layout)> {
    let mut list = Vec::new();
    macro_rules! answer {
        ($name:literal, $layout:ident, $type:ty) => {{
            generator.subschema_for::<$type>();
            list.push((
                $name,
                <$type as schemars::JsonSchema>::schema_name().into_owned(),
                Layout::$layout,
            ));
        }};
    }
    answer!("MachineInfo", One, machine::MachineInfo);
    answer!("MachineRow", Projected, machine::MachineInfo);
    answer!("CreateMachineResponse", One, machine::CreateMachineResponse);
    answer!("MachineHandle", One, machine::MachineHandle);
    answer!("ListMachinesResponse", Page, machine::ListMachinesResponse);
    answer!("MachineRows", ProjectedItems, machine::MachineInfo);
    answer!("MachineMetricsList", Many, machine::MachineMetrics);
    answer!("SetTimeoutResponse", One, machine::SetTimeoutResponse);
    answer!("SnapshotInfo", One, machine::SnapshotInfo);
    answer!("SnapshotList", Many, machine::SnapshotInfo);
    answer!("VolumeInfo", One, volume::VolumeInfo);
    answer!("VolumeList", Many, volume::VolumeInfo);
    answer!("VolumeAttachment", One, volume::VolumeAttachment);
    answer!("VolumeAttachmentList", Many, volume::VolumeAttachment);
    answer!("UpdateEgressResponse", One, network::UpdateEgressResponse);
    answer!("GetHostResponse", One, network::GetHostResponse);
    answer!("ExecResponse", One, exec::ExecResponse);
    answer!("BackgroundExecResponse", One, exec::BackgroundExecResponse);
    answer!("ProcessList", Many, exec::ProcessInfo);
    answer!("ProcessLogs", One, exec::ProcessLogs);
    answer!("LifecycleEvents", One, lifecycle::LifecycleEventListResponse);
    answer!("LifecycleEvent", One, lifecycle::LifecycleEventInfo);
    answer!("Webhook", One, webhook::LifecycleWebhookInfo);
    answer!("WebhookList", Many, webhook::LifecycleWebhookInfo);
    answer!("DeliveryList", Many, webhook::LifecycleWebhookDeliveryInfo);
    answer!("Delivery", One, webhook::LifecycleWebhookDeliveryDetail);
    answer!("MonitorFrame", One, monitor::MonitorFrame);
    answer!("PreviewUrl", One, preview::PreviewUrlResponse);
    answer!("PreviewProxyTarget", One, preview::PreviewProxyTargetResponse);
    answer!("PreviewReadiness", One, preview::PreviewReadinessResponse);
    answer!("SshAccess", One, ssh::SshAccessResponse);
    answer!("CodeContext", One, code::CodeContext);
    answer!("CodeContextList", Many, code::CodeContext);
    answer!("CodeOutput", One, code::CodeOutput);
    answer!("CodeResult", One, code::ExecutionResult);
    answer!("CodeArtifact", One, code::CodeArtifact);
    answer!("CodeArtifactPage", One, code::CodeArtifactListResponse);
    answer!("CodeError", One, code::ExecutionError);
    answer!("CodeRun", One, code::CodeRun);
    answer!("CodeRunPage", One, code::CodeRunListResponse);
    answer!("PreviewGrants", Items, preview::PreviewGrantInfo);
    answer!("PreviewRevocation", One, preview::RevokePreviewGrantResponse);
    answer!("PtySession", One, exec::PtySessionInfo);
    answer!("PtySessionList", Many, exec::PtySessionInfo);
    answer!("FileInfo", One, files::FileInfo);
    answer!("FileList", Many, files::FileInfo);
    answer!("FileExists", One, files::FileExistsResponse);
    answer!("SearchMatches", Many, files::SearchMatch);
    answer!("ReplaceResult", One, files::ReplaceResult);
    answer!("BatchWrite", One, files::BatchWriteResponse);
    answer!("DownloadUrl", One, files::DownloadUrlResponse);
    answer!("UploadUrl", One, files::UploadUrlResponse);
    answer!("GitCloneResponse", One, git::GitCloneResponse);
    answer!("GitStatus", One, git::GitStatus);
    answer!("GitLog", One, git::GitLog);
    answer!("GitBranchList", One, git::GitBranchList);
    answer!("GitCommitResponse", One, git::GitCommitResponse);
    answer!("GitSyncResponse", One, git::GitSyncResponse);
    answer!("UploadSession", One, upload::UploadSession);
    answer!("CreateUpload", One, upload::CreateUploadResponse);
    answer!("CompleteUpload", One, upload::CompleteUploadResponse);
    answer!("ReadFile", One, files::ReadFileResponse);
    answer!("WarmPool", One, warm_pool::WarmPool);
    answer!("WarmPoolList", Items, warm_pool::WarmPool);
    list
}

const PRELUDE: &str = r#"// Generated by `cargo xtask build` from the wire types (crates/wire): do not edit.

/** Thrown when an answer is not what the API promises. `path` leads to the bad value, like `items[3].id`. */
export class DecodeError extends Error {
  constructor(path, wanted, got) {
    super();
    this.path = path;
    this.wanted = wanted;
    this.got = got === null ? 'null' : Array.isArray(got) ? 'an array' : got === undefined ? 'nothing' : typeof got === 'object' ? 'an object' : `a ${typeof got}`;
  }
  get message() {
    return `expected ${this.wanted} at ${this.path || 'the top'}, got ${this.got}`;
  }
}

const fail = (path, wanted, got) => {
  throw new DecodeError(path, wanted, got);
};
const within = (error, key) => {
  if (error instanceof DecodeError) error.path = !error.path || error.path[0] === '[' ? key + error.path : `${key}.${error.path}`;
  return error;
};
const string = (value, key) => (typeof value === 'string' ? value : fail(key, 'a string', value));
const number = (value, key) => (typeof value === 'number' ? value : fail(key, 'a number', value));
const integer = (value, key) => (Number.isInteger(value) ? value : fail(key, 'an integer', value));
const boolean = (value, key) => (typeof value === 'boolean' ? value : fail(key, 'a boolean', value));
/** The number of two digits; -1 for what is none. */
const two = (text, at) => {
  const tens = text.charCodeAt(at) - 48;
  const ones = text.charCodeAt(at + 1) - 48;
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : -1;
};
const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const is = (text, at, code) => text.charCodeAt(at) === code;
/** Milliseconds of `YYYY-MM-DDTHH:MM:SS[.fraction]Z`, the form that servers use; NaN for all else, leap days too. */
const utc = (text) => {
  const end = text.length - 1;
  if (end < 19 || end > 29 || !is(text, end, 90) || !is(text, 4, 45) || !is(text, 7, 45)) return NaN;
  if (!is(text, 10, 84) || !is(text, 13, 58) || !is(text, 16, 58)) return NaN;
  const century = two(text, 0);
  const rest = two(text, 2);
  const month = two(text, 5);
  const day = two(text, 8);
  const hour = two(text, 11);
  const minute = two(text, 14);
  const second = two(text, 17);
  if ((century | rest | hour | minute | second) < 0 || hour > 23 || minute > 59 || second > 59) return NaN;
  if (!(day > 0 && day <= DAYS[month - 1])) return NaN;
  let ms = 0;
  if (end > 19) {
    if (end === 20 || !is(text, 19, 46)) return NaN;
    let worth = 100;
    for (let at = 20; at < end; at++) {
      const digit = text.charCodeAt(at) - 48;
      if (digit < 0 || digit > 9) return NaN;
      ms += digit * worth;
      worth = worth === 100 ? 10 : worth === 10 ? 1 : 0;
    }
  }
  // Years that begin in March: the leap day is their last.
  const year = century * 100 + rest - (month < 3 ? 1 : 0);
  const leapDays = Math.floor(year / 4) - Math.floor(year / 100) + Math.floor(year / 400);
  const dayOfYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day;
  const days = year * 365 + leapDays + dayOfYear - 719469;
  return ((days * 24 + hour) * 60 + minute) * 60000 + second * 1000 + ms;
};
const date = (value, key) => {
  const time = utc(string(value, key));
  // What is not of that form Date knows, in five times the time.
  const date = new Date(Number.isNaN(time) ? value : time);
  return Number.isNaN(date.getTime()) ? fail(key, 'an RFC 3339 time', value) : date;
};
const object = (value, key) => (typeof value === 'object' && value !== null && !Array.isArray(value) ? value : fail(key, 'an object', value));
const list = (value, key, decode) => {
  if (!Array.isArray(value)) fail(key, 'an array', value);
  const decoded = new Array(value.length);
  let index = 0;
  try {
    for (; index < value.length; index++) decoded[index] = decode(value[index], '');
  } catch (error) {
    throw within(error, `${key}[${index}]`);
  }
  return decoded;
};
const strings = (value, key) => {
  for (const name of Object.keys(object(value, key))) string(value[name], `${key}.${name}`);
  return value;
};
const nested = (value, key, decode) => {
  try {
    return decode(value, '');
  } catch (error) {
    throw within(error, key);
  }
};
"#;

/// The whole file.
pub fn generate() -> Result<String> {
    let mut generator = SchemaGenerator::default();
    let answers = answers(&mut generator);
    let definitions = generator.take_definitions(true);

    let mut wanted: BTreeSet<(String, bool)> = BTreeSet::new();
    for (_, name, layout) in &answers {
        let projected = matches!(layout, Layout::Projected | Layout::ProjectedItems);
        collect(&definitions, name, projected, &mut wanted)?;
    }

    let names: BTreeSet<&str> = answers.iter().map(|(name, ..)| *name).collect();
    ensure!(names.len() == answers.len(), "two answers have the same name");

    let mut file = String::from(PRELUDE);
    for (name, projected) in &wanted {
        let schema = definition(&definitions, name)?;
        file.push_str(&function(&definitions, name, schema, *projected)?);
    }
    file.push_str("\n/** By the names of the Rust side's `Decoder`. */\nexport const decoders = {\n");
    for (answer, name, layout) in &answers {
        let one = function_name(name, matches!(layout, Layout::Projected | Layout::ProjectedItems));
        let items = "(Array.isArray(value) ? value : object(value, '').items)";
        let key = "Array.isArray(value) ? '' : 'items'";
        let body = match layout {
            Layout::One | Layout::Projected => one,
            Layout::Many => format!("(value) => list(value, '', {one})"),
            Layout::Page => format!(
                "(value) => {one}(Array.isArray(value) ? {{ items: value, has_next: false }} : value)"
            ),
            Layout::Items | Layout::ProjectedItems => format!("(value) => list({items}, {key}, {one})"),
        };
        writeln!(file, "  {answer}: {body},")?;
    }
    file.push_str("};\n");
    Ok(file)
}

fn definition<'a>(definitions: &'a Map<String, Value>, name: &str) -> Result<&'a Map<String, Value>> {
    definitions
        .get(name)
        .and_then(Value::as_object)
        .with_context(|| format!("no schema of {name}"))
}

fn properties(schema: &Map<String, Value>) -> Result<&Map<String, Value>> {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .context("an answer that is no object")
}

/// Adds a definition and those that it refers to.
fn collect(
    definitions: &Map<String, Value>,
    name: &str,
    projected: bool,
    wanted: &mut BTreeSet<(String, bool)>,
) -> Result<()> {
    if !wanted.insert((name.to_owned(), projected)) {
        return Ok(());
    }
    for schema in properties(definition(definitions, name)?)?.values() {
        let mut schema = schema;
        if let Some(items) = schema.get("items") {
            schema = items;
        }
        if let Shape::Nested(name) = shape(definitions, schema)? {
            collect(definitions, &name, false, wanted)?;
        }
    }
    Ok(())
}

fn function_name(definition: &str, projected: bool) -> String {
    format!("decode{}{definition}", if projected { "Part" } else { "" })
}

fn function(
    definitions: &Map<String, Value>,
    name: &str,
    schema: &Map<String, Value>,
    projected: bool,
) -> Result<String> {
    let required: BTreeSet<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut always = String::new();
    let mut sometimes = String::new();
    let mut fields: Vec<_> = properties(schema)?.iter().collect();
    // What a person looks for first in a log; the rest stays in order.
    const FIRST: [&str; 10] = [
        "id",
        "name",
        "status",
        "state",
        "template",
        "exit_code",
        "stdout",
        "stderr",
        "target",
        "ready",
    ];
    fields.sort_by_key(|(key, _)| FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len()));
    for (key, schema) in fields {
        let shown = camel_case(key);
        let value = expression(definitions, schema, key).with_context(|| format!("{name}.{key}"))?;
        if required.contains(key.as_str()) && !projected {
            writeln!(always, "  this.{shown} = {value};")?;
        } else {
            writeln!(sometimes, "  if (value.{key} != null) this.{shown} = {value};")?;
        }
    }
    let function = function_name(name, projected);
    // A constructor has room for all fields at once, where a literal grows with each that is there only sometimes: half the time of a long
    // list. What it makes is a plain object all the same.
    Ok(format!(
        "\nfunction {function}(value, key) {{\n  if (!new.target) return new {function}(value, key);\n  object(value, key);\n\
         {always}{sometimes}}}\n{function}.prototype = Object.prototype;\n"
    ))
}

/// What is done with a value.
enum Shape {
    String,
    Date,
    Integer,
    Number,
    Boolean,
    /// Text by text.
    Strings,
    /// An object, passed through.
    Verbatim,
    /// Anything, passed through.
    Any,
    Nested(String),
}

fn shape(definitions: &Map<String, Value>, schema: &Value) -> Result<Shape> {
    let Some(schema) = schema.as_object() else {
        return Ok(Shape::Any);
    };
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().context("an empty $ref")?;
        let target = definition(definitions, name)?;
        return if target.contains_key("properties") {
            Ok(Shape::Nested(name.to_owned()))
        } else {
            shape(definitions, &Value::Object(target.clone()))
        };
    }
    if let Some(alternatives) = schema.get("anyOf").and_then(Value::as_array) {
        let some: Vec<&Value> = alternatives.iter().filter(|one| one["type"] != "null").collect();
        if let [one] = some[..] {
            return shape(definitions, one);
        }
        bail!("an answer that may have several shapes");
    }
    // Enums of texts.
    if schema.contains_key("oneOf") || schema.contains_key("enum") || schema.contains_key("const") {
        return Ok(Shape::String);
    }
    let kind = match schema.get("type") {
        None => return Ok(Shape::Any),
        Some(Value::String(one)) => one.as_str(),
        Some(Value::Array(several)) => several
            .iter()
            .filter_map(Value::as_str)
            .find(|one| *one != "null")
            .context("a type that is only null")?,
        Some(_) => bail!("a type that is no text"),
    };
    Ok(match kind {
        "string" if schema.get("format").is_some_and(|format| format == "date-time") => Shape::Date,
        "string" => Shape::String,
        "integer" => Shape::Integer,
        "number" => Shape::Number,
        "boolean" => Shape::Boolean,
        "object"
            if schema
                .get("additionalProperties")
                .is_some_and(|one| one["type"] == "string") =>
        {
            Shape::Strings
        }
        "object" => Shape::Verbatim,
        other => bail!("nothing is known about the type {other}"),
    })
}

fn expression(definitions: &Map<String, Value>, schema: &Value, key: &str) -> Result<String> {
    if let Some(items) = schema.get("items") {
        let decode = match shape(definitions, items)? {
            Shape::Nested(name) => function_name(&name, false),
            Shape::String => "string".to_owned(),
            Shape::Integer => "integer".to_owned(),
            _ => bail!("an array of something unknown"),
        };
        return Ok(format!("list(value.{key}, '{key}', {decode})"));
    }
    Ok(match shape(definitions, schema)? {
        Shape::String => format!("string(value.{key}, '{key}')"),
        Shape::Date => format!("date(value.{key}, '{key}')"),
        Shape::Integer => format!("integer(value.{key}, '{key}')"),
        Shape::Number => format!("number(value.{key}, '{key}')"),
        Shape::Boolean => format!("boolean(value.{key}, '{key}')"),
        Shape::Strings => format!("strings(value.{key}, '{key}')"),
        Shape::Verbatim => format!("object(value.{key}, '{key}')"),
        Shape::Any => format!("value.{key}"),
        Shape::Nested(name) => format!("nested(value.{key}, '{key}', {})", function_name(&name, false)),
    })
}

/// `memory_mb` -> `memoryMb`.
pub fn camel_case(key: &str) -> String {
    let mut shown = String::with_capacity(key.len());
    let mut upper = false;
    for letter in key.chars() {
        if letter == '_' {
            upper = true;
        } else if upper {
            shown.extend(letter.to_uppercase());
            upper = false;
        } else {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_camel_case() {
        assert_eq!(camel_case("memory_mb"), "memoryMb");
        assert_eq!(camel_case("network_rx_bytes"), "networkRxBytes");
        assert_eq!(camel_case("id"), "id");
    }

    #[test]
    fn a_timestamp_is_a_date_and_an_optional_field_is_guarded() {
        let file = generate().unwrap();
        assert!(file.contains("  this.createdAt = date(value.created_at, 'created_at');\n"));
        assert!(file.contains(
            "  if (value.timeout_at != null) this.timeoutAt = date(value.timeout_at, 'timeout_at');\n"
        ));
    }
}
