//! Values as a plain tree: what a caller gave, what is sent, and what is read of an answer's text. Of our own, since serde_json, its map
//! and its printing of numbers are a tenth of the module.

use std::sync::OnceLock;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::error::Error;

/// A JSON value, or something of JavaScript that has no place in JSON.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// Any number, also `NaN`.
    Number(f64),
    /// Text.
    Text(String),
    /// Array.
    List(Vec<Value>),
    /// Plain object, in the order in which it was made, without `undefined` properties.
    Object(Object),
    /// A `Date`, as RFC 3339 text.
    Date(String),
    /// What has no place in a tree; the text says what it is: `a function`, `a Map`.
    Opaque(String),
}

/// Names and values.
pub type Object = Vec<(String, Value)>;

/// The largest whole number that is exact in JavaScript.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;
const SAFE: f64 = MAX_INTEGER as f64;

impl Value {
    /// An object of these fields.
    pub fn object(fields: Vec<(&str, Value)>) -> Self {
        Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    }

    /// The field of an object.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.as_object().and_then(|fields| find(fields, name))
    }

    /// Sets the field of an object.
    pub fn put(&mut self, name: &str, value: Value) {
        if let Value::Object(fields) = self {
            put(fields, name, value);
        }
    }

    /// Sets the field of an object, if there is a value for it.
    pub fn put_given(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(name, value.into());
        }
    }

    /// What it is, as a message says it.
    pub fn kind(&self) -> &str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "an array",
            Value::Object(_) => "an object",
            Value::Date(_) => "a Date",
            Value::Opaque(kind) => kind,
        }
    }

    /// The text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// `true` or `false`.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The number, if it is a whole one that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_f64()
            .filter(|number| number.fract() == 0.0 && (0.0..=SAFE).contains(number))
            .map(|number| number as u64)
    }

    /// The fields of an object.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Value::Object(fields) => Some(fields),
            _ => None,
        }
    }

    /// Whether it is an object with something in it.
    pub fn has_fields(&self) -> bool {
        self.as_object().is_some_and(|fields| !fields.is_empty())
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Checks that all of it has a place in JSON; fails with the path of what has none.
    pub fn check_json(&self, path: &str) -> Result<(), Error> {
        let what = match self {
            Value::Null | Value::Bool(_) | Value::Text(_) => return Ok(()),
            Value::Number(number) if number.is_finite() => return Ok(()),
            Value::List(list) => {
                return list
                    .iter()
                    .enumerate()
                    .try_for_each(|(index, item)| item.check_json(&format!("{path}[{index}]")))
            }
            Value::Object(fields) => {
                return fields
                    .iter()
                    .try_for_each(|(name, value)| value.check_json(&join(path, name)))
            }
            Value::Number(number) => number_text(*number),
            Value::Date(_) | Value::Opaque(_) => self.kind().to_owned(),
        };
        Err(Error::option(
            path,
            &format!("cannot be sent as JSON: it is {what}"),
        ))
    }

    /// The text in JSON. What has no place there is `null`, as `JSON.stringify` writes it.
    pub fn to_json(&self) -> String {
        let mut text = String::new();
        write(self, &mut text);
        text
    }
}

/// The value of a field.
pub fn find<'a>(fields: &'a [(String, Value)], name: &str) -> Option<&'a Value> {
    fields
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value)
}

/// Sets a field.
pub fn put(fields: &mut Object, name: &str, value: Value) {
    match fields.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => *old = value,
        None => fields.push((name.to_owned(), value)),
    }
}

/// `path.name`
pub fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        [path, ".", name].concat()
    }
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) if number.is_finite() => text.push_str(&number_text(*number)),
        Value::Text(inner) => write_text(inner, text),
        Value::List(list) => {
            text.push('[');
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            text.push('{');
            for (index, (name, value)) in fields.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_text(name, text);
                text.push(':');
                write(value, text);
            }
            text.push('}');
        }
        Value::Null | Value::Number(_) | Value::Date(_) | Value::Opaque(_) => text.push_str("null"),
    }
}

fn write_text(inner: &str, text: &mut String) {
    text.push('"');
    for letter in inner.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            '\n' => text.push_str("\\n"),
            ..='\u{1f}' => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let byte = letter as usize;
                text.push_str("\\u00");
                text.extend([HEX[byte >> 4] as char, HEX[byte & 15] as char]);
            }
            _ => text.push(letter),
        }
    }
    text.push('"');
}

/// A number as JavaScript writes it; in messages too.
pub fn number_text(number: f64) -> String {
    // Integers stay integers: 1 is not 1.0 to every server.
    if number.fract() == 0.0 && number.abs() <= SAFE {
        (number as i64).to_string()
    } else if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        "infinite".to_owned()
    } else {
        decimal(number)
    }
}

/// The printer of numbers with a fraction.
static DECIMAL: OnceLock<fn(f64) -> String> = OnceLock::new();

/// Lets JavaScript print numbers with a fraction.
pub fn print_decimals_with(printer: fn(f64) -> String) {
    // A second one would be the same.
    let _ = DECIMAL.set(printer);
}

/// Rust's own printing is 14 KB of WebAssembly, so it is for tests.
fn decimal(number: f64) -> String {
    match DECIMAL.get() {
        Some(print) => print(number),
        #[cfg(not(target_arch = "wasm32"))]
        None => number.to_string(),
        #[cfg(target_arch = "wasm32")]
        None => String::new(),
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null | Value::Date(_) | Value::Opaque(_) => serializer.serialize_unit(),
            Value::Bool(flag) => serializer.serialize_bool(*flag),
            Value::Number(number) if number.fract() == 0.0 && number.abs() <= SAFE => {
                serializer.serialize_i64(*number as i64)
            }
            Value::Number(number) => serializer.serialize_f64(*number),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(list) => serializer.collect_seq(list),
            Value::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Value::Text(text.clone())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Value::Bool(flag)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Value::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Value::Number(number.into())
    }
}

/// Sizes and times: below 2^53.
impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Number(number as f64)
    }
}

/// The same.
impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Value::Number(number as f64)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Number(number as f64)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Value::Number(number.into())
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(list: Vec<T>) -> Self {
        Value::List(list.into_iter().map(Into::into).collect())
    }
}

impl From<&[&str]> for Value {
    fn from(list: &[&str]) -> Self {
        Value::List(list.iter().map(|text| (*text).into()).collect())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// An object, or anything else that becomes a [`Value`], as it looks in JSON.
macro_rules! json {
    ({ $($name:tt : $value:expr),* $(,)? }) => {
        $crate::core::value::Value::object(vec![$(($name, $crate::core::value::Value::from($value))),*])
    };
    ([ $($value:expr),* $(,)? ]) => {
        $crate::core::value::Value::List(vec![$($crate::core::value::Value::from($value)),*])
    };
    ($value:expr) => {
        $crate::core::value::Value::from($value)
    };
}
pub(crate) use json;

/// The value of a JSON text, where there is no JavaScript to read it.
#[cfg(not(target_arch = "wasm32"))]
pub fn parse(text: &str) -> Option<Value> {
    Some(serde_json::from_str::<serde_json::Value>(text).ok()?.into())
}

#[cfg(not(target_arch = "wasm32"))]
impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(flag) => Value::Bool(flag),
            serde_json::Value::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => Value::Text(text),
            serde_json::Value::Array(list) => Value::List(list.into_iter().map(Value::from).collect()),
            serde_json::Value::Object(fields) => Value::Object(
                fields
                    .into_iter()
                    .map(|(name, value)| (name, value.into()))
                    .collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_that_of_json() {
        let value = json!({
            "text": "a \"b\" \\ \n\u{1}\u{1f} \u{2028} ü 😀",
            "numbers": json!([0, -1, 1.5, 1e300, -0.0, 9_007_199_254_740_991_u64]),
            "nothing": json!({}),
            "none": Value::Null,
            "nan": f64::NAN,
            "flags": vec![true, false],
        });
        let text = value.to_json();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["text"], "a \"b\" \\ \n\u{1}\u{1f} \u{2028} ü 😀");
        assert_eq!(
            read["numbers"],
            serde_json::json!([0, -1, 1.5, 1e300, 0, 9_007_199_254_740_991_u64])
        );
        assert_eq!(read["nothing"], serde_json::json!({}));
        assert_eq!(read["none"], serde_json::Value::Null);
        assert_eq!(read["nan"], serde_json::Value::Null);
        assert_eq!(read["flags"], serde_json::json!([true, false]));
        assert!(text.starts_with(r#"{"text":"#), "fields keep their order");
        assert_eq!(read, serde_json::to_value(&value).unwrap());
    }

    #[test]
    fn what_has_no_place_in_json_is_named_by_its_path() {
        let value = json!({ "a": json!([1, json!({ "b": Value::Opaque("a Map".to_owned()) })]) });
        let error = value.check_json("metadata").unwrap_err();
        assert_eq!(
            error.message,
            "option `metadata.a[1].b` cannot be sent as JSON: it is a Map"
        );
        let error = json!({ "n": f64::INFINITY }).check_json("metadata").unwrap_err();
        assert_eq!(
            error.message,
            "option `metadata.n` cannot be sent as JSON: it is infinite"
        );
    }

    #[test]
    fn a_field_is_set_once() {
        let mut value = json!({ "a": 1 });
        value.put("a", 2.into());
        value.put("b", "x".into());
        assert_eq!(value.to_json(), r#"{"a":2,"b":"x"}"#);
    }
}
