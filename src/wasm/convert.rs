//! JavaScript values -> [`Value`], a plain tree that `core` checks. Nothing is judged here: what has no place in a
//! tree (functions, `Date`, `Map`, class instances) becomes [`Value::Opaque`], and `core` refuses it by its path, or
//! knows that this option is handled elsewhere (`signal`, `fetch`, `apiKey`, hooks).

use js_sys::{Array, Reflect};
use wasm_bindgen::prelude::*;

use super::host;
use crate::core::value::Value;

/// Deeper trees are cut: nobody nests options so far, and a cycle would never end.
const MAX_DEPTH: usize = 64;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = Object)]
    fn keys(object: &JsValue) -> Result<Array, JsValue>;
    /// Throws on a date that is none.
    #[wasm_bindgen(catch, method, js_name = toISOString)]
    fn to_iso_string(this: &Moment) -> Result<JsValue, JsValue>;
    type Moment;
    #[wasm_bindgen(catch, js_namespace = Object, js_name = getPrototypeOf)]
    fn prototype_of(object: &JsValue) -> Result<JsValue, JsValue>;
}

/// Reads a value. Own enumerable properties only; `undefined` ones are absent. Fails only with what a getter throws.
pub fn value(js: &JsValue) -> Result<Value, JsValue> {
    read(js, 0)
}

fn read(js: &JsValue, depth: usize) -> Result<Value, JsValue> {
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
    if js.is_undefined() {
        return Ok(Value::Opaque("undefined".to_owned()));
    }
    if !js.is_object() {
        let kind = js.js_typeof().as_string().unwrap_or_default();
        return Ok(Value::Opaque(["a ", &kind].concat()));
    }
    if depth == MAX_DEPTH {
        return Ok(Value::Opaque("nested deeper than 64 levels".to_owned()));
    }
    if Array::is_array(js) {
        let array: &Array = js.unchecked_ref();
        return (0..array.length())
            .map(|index| read(&Reflect::get_u32(js, index)?, depth + 1))
            .collect::<Result<_, _>>()
            .map(Value::List);
    }
    // A handle of this package stands for its id: `warmPool: pool`.
    if let Some(id) = host::handle_id(js) {
        return Ok(Value::Object(vec![("id".to_owned(), Value::Text(id))]));
    }
    if !is_plain(js)? {
        let name =
            Reflect::get(&Reflect::get(js, &"constructor".into())?, &"name".into()).unwrap_or_default();
        let name = name.as_string().filter(|name| !name.is_empty());
        if name.as_deref() == Some("Date") {
            if let Ok(Some(text)) = iso_string(js).map(|text| text.as_string()) {
                return Ok(Value::Date(text));
            }
        }
        let kind = match name {
            Some(name) => ["a ", &name].concat(),
            None => "an object of a class".to_owned(),
        };
        return Ok(Value::Opaque(kind));
    }
    let mut fields = Vec::new();
    for name in keys(js)?.iter() {
        let inner = Reflect::get(js, &name)?;
        if !inner.is_undefined() {
            fields.push((name.as_string().unwrap_or_default(), read(&inner, depth + 1)?));
        }
    }
    Ok(Value::Object(fields))
}

fn iso_string(js: &JsValue) -> Result<JsValue, JsValue> {
    js.unchecked_ref::<Moment>().to_iso_string()
}

/// Whether an object was written as `{...}` or has no prototype. Object.prototype is known by having none itself, so objects of other
/// realms are plain as well.
fn is_plain(js: &JsValue) -> Result<bool, JsValue> {
    let prototype = prototype_of(js)?;
    Ok(prototype.is_null() || prototype_of(&prototype)?.is_null())
}

/// A number as JavaScript prints it.
pub fn decimal(number: f64) -> String {
    // 10 is a base that never throws.
    let text = js_sys::Number::from(number).to_string_with_radix(10);
    text.map(String::from).unwrap_or_default()
}

/// Reads JSON text by the runtime's own parser.
pub fn json(text: &str) -> Option<Value> {
    value(&js_sys::JSON::parse(text).ok()?).ok()
}
