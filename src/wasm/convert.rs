//! JavaScript values -> [`Value`], a plain tree that `core` checks. Nothing is judged here: what has no place in a
//! tree (functions, `Date`, `Map`, class instances) becomes [`Value::Opaque`], and `core` refuses it by its path, or
//! knows that this option is handled elsewhere (`signal`, `fetch`, `apiKey`, hooks).

use js_sys::{Array, JsString, Object, Reflect};
use wasm_bindgen::prelude::*;

use crate::core::options::Value;

/// Deeper trees are cut: nobody nests options so far, and a cycle would never end.
const MAX_DEPTH: usize = 64;

/// Reads a value. Own enumerable properties only; `undefined` ones are absent. Fails only with what a getter throws.
pub fn value(js: &JsValue) -> Result<Value, JsValue> {
    read(js, 0)
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

fn read(js: &JsValue, depth: usize) -> Result<Value, JsValue> {
    // Each question leaves the module; most values are texts.
    if let Some(text) = js.as_string() {
        return Ok(Value::Text(text));
    }
    if let Some(number) = js.as_f64() {
        return Ok(Value::Number(number));
    }
    if let Some(flag) = js.as_bool() {
        return Ok(Value::Bool(flag));
    }
    if js.is_null() {
        return Ok(Value::Null);
    }
    if !js.is_object() {
        return Ok(Value::Opaque(kind_of(js)));
    }
    if depth == MAX_DEPTH {
        return Ok(Value::Opaque(format!("nested deeper than {MAX_DEPTH} levels")));
    }
    if Array::is_array(js) {
        let array: &Array = js.unchecked_ref();
        let mut list = Vec::with_capacity(array.length() as usize);
        for item in array.iter() {
            list.push(read(&item, depth + 1)?);
        }
        return Ok(Value::List(list));
    }
    if is_plain(js) {
        let mut fields = Vec::new();
        for key in Object::keys(js.unchecked_ref::<Object>()).iter() {
            let inner = Reflect::get(js, &key)?;
            if !inner.is_undefined() {
                fields.push((
                    String::from(key.unchecked_ref::<JsString>()),
                    read(&inner, depth + 1)?,
                ));
            }
        }
        return Ok(Value::Object(fields));
    }
    // A handle of this package stands for its id: `warmPool: pool`.
    if Reflect::has(js, &"__wbg_ptr".into())? {
        if let Some(id) = Reflect::get(js, &"id".into())?.as_string() {
            return Ok(Value::Object(vec![("id".to_owned(), Value::Text(id))]));
        }
    }
    Ok(Value::Opaque(kind_of(js)))
}

/// Whether an object was written as `{...}` or has no prototype. Object.prototype is known by having none itself, so
/// objects of other realms are plain as well.
fn is_plain(js: &JsValue) -> bool {
    match Reflect::get_prototype_of(js) {
        Ok(prototype) => {
            let prototype: &JsValue = prototype.as_ref();
            prototype.is_null() || Reflect::get_prototype_of(prototype).is_ok_and(|above| above.is_null())
        }
        Err(_) => false,
    }
}

/// What it is, as a message says it: `a function`, `a Map`, `undefined`.
fn kind_of(js: &JsValue) -> String {
    if js.is_undefined() {
        return "undefined".to_owned();
    }
    if !js.is_object() || js.is_function() {
        return format!("a {}", js.js_typeof().as_string().unwrap_or_default());
    }
    let name = Reflect::get(js, &"constructor".into())
        .and_then(|constructor| Reflect::get(&constructor, &"name".into()))
        .ok()
        .and_then(|name| name.as_string())
        .filter(|name| !name.is_empty());
    match name {
        Some(name) => format!("a {name}"),
        None => "an object of a class".to_owned(),
    }
}
