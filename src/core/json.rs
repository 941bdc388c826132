//! Reading JSON text.

use serde_json::Value;

/// The value of a text, if it is JSON. In the module the runtime's own parser reads it: that of serde_json, with the printing of
/// numbers that its errors need, is a tenth of the module.
pub fn parse(text: &str) -> Option<Value> {
    #[cfg(target_arch = "wasm32")]
    return crate::wasm::convert::json(text);
    #[cfg(not(target_arch = "wasm32"))]
    serde_json::from_str(text).ok()
}
