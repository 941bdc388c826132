//! Errors as JavaScript sees them.

use serde::Serialize;
use wasm_bindgen::prelude::*;

use super::host;
use crate::client::Failure;
use crate::core::error::Error;

/// Any plain value, as `JSON.parse` would give it.
pub fn to_js(value: &impl Serialize) -> JsValue {
    // Fails for nothing that is serialized here: no map has keys other than text.
    value
        .serialize(&serde_wasm_bindgen::Serializer::json_compatible())
        .unwrap_or(JsValue::UNDEFINED)
}

/// An error of the SDK as an object of its class.
pub fn error(error: &Error) -> JsValue {
    let fields = to_js(&**error);
    if let Some(cause) = error
        .cause
        .0
        .as_ref()
        .and_then(|cause| cause.downcast_ref::<JsValue>())
    {
        // A fresh plain object takes any property.
        let _ = js_sys::Reflect::set(&fields, &"cause".into(), cause);
    }
    host::to_error(&fields)
}

/// What a call rejects with. What a caller's function threw is untouched.
pub fn failure(failure: Failure<JsValue>) -> JsValue {
    match failure {
        Failure::Thrown(thrown) => thrown,
        Failure::Error(inner) => error(&inner),
    }
}
