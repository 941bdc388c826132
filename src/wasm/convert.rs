//! JavaScript values -> [`Value`], a plain tree that `core` checks. Nothing is judged here: what has no place in a
//! tree (functions, `Date`, `Map`, class instances) becomes [`Value::Opaque`], and `core` refuses it by its path, or
//! knows that this option is handled elsewhere (`signal`, `fetch`, `apiKey`, hooks).

use wasm_bindgen::prelude::*;

use super::host;
use crate::core::options::Value;

/// Reads a value. Own enumerable properties only; `undefined` ones are absent. Fails only with what a getter throws.
pub fn value(js: &JsValue) -> Result<Value, JsValue> {
    if let Some(text) = js.as_string() {
        return Ok(Value::Text(text));
    }
    let told = host::told(js)?;
    Ok(Reader(&told).value().unwrap_or(Value::Null))
}

/// Reads JSON text; see `core::json`.
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))] // read by clippy there
pub fn json(text: &str) -> Option<serde_json::Value> {
    let parsed = js_sys::JSON::parse(text).ok()?;
    Some(tree(value(&parsed).ok()?))
}

#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
fn tree(value: Value) -> serde_json::Value {
    match value {
        Value::Null | Value::Opaque(_) => serde_json::Value::Null,
        Value::Bool(flag) => flag.into(),
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => (number as i64).into(),
        Value::Number(number) => number.into(),
        Value::Text(text) => text.into(),
        Value::List(list) => list.into_iter().map(tree).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, tree(value)))
            .collect(),
    }
}

/// Reads what values.js told. `None` at what it does not write.
struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn value(&mut self) -> Option<Value> {
        let kind = self.0.as_bytes().first()?;
        self.0 = self.0.get(1..)?;
        Some(match kind {
            b'n' => Value::Null,
            b't' => Value::Bool(true),
            b'f' => Value::Bool(false),
            b'i' => Value::Number(self.until(';')?.parse::<i64>().ok()? as f64),
            b'd' => Value::Number(js_sys::parse_float(self.until(';')?)),
            b's' => Value::Text(self.text()?.to_owned()),
            b'o' => Value::Opaque(self.text()?.to_owned()),
            b'[' => Value::List(self.many(Self::value)?),
            _ => Value::Object(self.many(|reader| Some((reader.text()?.to_owned(), reader.value()?)))?),
        })
    }

    fn many<V>(&mut self, read: impl Fn(&mut Self) -> Option<V>) -> Option<Vec<V>> {
        let count = self.until(';')?.parse().ok()?;
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            all.push(read(self)?);
        }
        Some(all)
    }

    fn until(&mut self, end: char) -> Option<&'a str> {
        let (before, after) = self.0.split_once(end)?;
        self.0 = after;
        Some(before)
    }

    /// A text after its length in UTF-16 units. Half a pair has become one U+FFFD: one unit as well.
    fn text(&mut self) -> Option<&'a str> {
        let mut left: usize = self.until(':')?.parse().ok()?;
        let mut end = 0;
        for letter in self.0.chars() {
            if left == 0 {
                break;
            }
            left = left.checked_sub(letter.len_utf16())?;
            end += letter.len_utf8();
        }
        let (text, after) = self.0.split_at(end);
        self.0 = after;
        Some(text)
    }
}
