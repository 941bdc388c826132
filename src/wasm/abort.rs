//! `AbortSignal` on a call: whatever it waits for is dropped, and the caller gets the signal's own reason.

use std::future::Future;
use std::pin::Pin;

use futures_util::future::{select, Either};
use js_sys::{Function, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::host;

/// Anything that looks like one: other realms and polyfills have classes of their own.
pub type Signal = web_sys::AbortSignal;

/// A listener that goes with its owner: one signal often serves thousands of calls.
struct Listener<'a> {
    signal: &'a Signal,
    resolve: Function,
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        host::forget(self.signal, &self.resolve);
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
    let resolve: Function = resolve.unchecked_into();
    host::heed(signal, &resolve)?;
    let listener = Listener { signal, resolve };
    let outcome = select(call, JsFuture::from(aborted)).await;
    drop(listener);
    match outcome {
        Either::Left((result, _)) => result,
        Either::Right(_) => Err(signal.reason()),
    }
}
