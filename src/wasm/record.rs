//! What a handle remembers: a plain object of JavaScript, so that it outlives a crash of the module and holds no memory of it.

use wasm_bindgen::prelude::*;

use super::host;
use super::transport::{JsAnswer, JsTransport};
use crate::client::Client;

#[wasm_bindgen]
extern "C" {
    /// See lib/handle.js, which makes it.
    #[derive(Clone)]
    pub type Record;
    /// Of the machine, pool or volume.
    #[wasm_bindgen(method, getter)]
    pub fn id(this: &Record) -> String;
    /// Whether it is a volume.
    #[wasm_bindgen(method, getter, js_name = isVolume)]
    pub fn is_volume(this: &Record) -> bool;
    /// Options of its client.
    #[wasm_bindgen(method, getter)]
    pub fn client(this: &Record) -> JsValue;
    /// HTTP time of its calls, when it is not the client's.
    #[wasm_bindgen(method, getter, js_name = timeoutMs)]
    pub fn timeout_ms(this: &Record) -> Option<f64>;
    /// What its maker alone was told, for its later calls.
    #[wasm_bindgen(method, getter)]
    pub fn proof(this: &Record) -> Option<String>;
}

/// The handle of what an answer is about.
pub fn handle(class: &str, client: &Client<JsTransport>, answer: &JsAnswer) -> JsValue {
    host::handle(class, &answer.0, &client.transport().options(), None, None)
}
