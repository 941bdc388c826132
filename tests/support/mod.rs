//! What several of these tests need.

use nullspace::core::options::Value;
use serde_json::Value as Json;

/// What JavaScript would hand over for this JSON.
pub fn given(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(flag),
        Json::Number(number) => Value::Number(number.as_f64().unwrap()),
        Json::String(text) => Value::Text(text),
        Json::Array(list) => Value::List(list.into_iter().map(given).collect()),
        Json::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (name, given(value)))
                .collect(),
        ),
    }
}
