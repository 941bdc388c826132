//! `AbortSignal` on a call: whatever it waits for is dropped, and the caller gets the signal's own reason.

use futures_util::future::{select, Either};
use js_sys::{Function, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::call::Call;
use super::host;
use super::transport::JsTransport;
use crate::client::call::Outcome;
use crate::client::Failure;

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
pub async fn abortable(signal: Signal, call: Call) -> Outcome<JsTransport, JsValue> {
    // It may have been aborted right after the call, which begins a moment later.
    if signal.aborted() {
        return Err(Failure::Thrown(signal.reason()));
    }
    let mut resolve = JsValue::UNDEFINED;
    let aborted = Promise::new(&mut |resolve_it, _| resolve = resolve_it.into());
    let resolve: Function = resolve.unchecked_into();
    host::heed(&signal, &resolve).map_err(Failure::Thrown)?;
    let listener = Listener {
        signal: &signal,
        resolve,
    };
    let outcome = select(call, JsFuture::from(aborted)).await;
    drop(listener);
    match outcome {
        Either::Left((result, _)) => result,
        Either::Right(_) => Err(Failure::Thrown(signal.reason())),
    }
}
