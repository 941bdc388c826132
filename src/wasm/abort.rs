//! `AbortSignal` on a call: whatever it waits for is dropped, and the caller gets the signal's own reason.

use std::future::Future;
use std::pin::Pin;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::race::{race, First};

#[wasm_bindgen]
extern "C" {
    /// Anything that looks like an `AbortSignal`: other realms and polyfills have classes of their own.
    #[derive(Clone)]
    pub type Signal;
    #[wasm_bindgen(method, getter)]
    fn aborted(this: &Signal) -> bool;
    #[wasm_bindgen(method, getter)]
    fn reason(this: &Signal) -> JsValue;
    #[wasm_bindgen(method, js_name = addEventListener)]
    fn listen(this: &Signal, event: &str, listener: &JsValue);
    #[wasm_bindgen(method, js_name = removeEventListener)]
    fn forget(this: &Signal, event: &str, listener: &JsValue);
}

/// A listener that goes with its owner: one signal often serves thousands of calls.
struct Listener<'a> {
    signal: &'a Signal,
    resolve: JsValue,
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        self.signal.forget("abort", &self.resolve);
    }
}

/// Runs a call under a signal. An abort rejects with `signal.reason`, unchanged.
pub async fn abortable(
    signal: Option<&Signal>,
    call: Pin<Box<dyn Future<Output = Result<JsValue, JsValue>> + '_>>,
) -> Result<JsValue, JsValue> {
    let Some(signal) = signal else { return call.await };
    if signal.aborted() {
        return Err(signal.reason());
    }
    let mut resolve = JsValue::UNDEFINED;
    let aborted = Promise::new(&mut |resolve_it, _| resolve = resolve_it.into());
    signal.listen("abort", &resolve);
    let listener = Listener { signal, resolve };
    let outcome = race(call, JsFuture::from(aborted)).await;
    drop(listener);
    match outcome {
        First::A(result) => result,
        First::B(_) => Err(signal.reason()),
    }
}
