//! The exported class `KeepAlive`: it holds a timer.

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{call, on_handle, on_held};
use super::record::Record;
use super::transport::JsTransport;
use crate::client::keep_alive::KeepAlive as Inner;
use crate::core::lease;

/// A lease that is renewed again and again.
#[wasm_bindgen(skip_typescript)]
pub struct KeepAlive {
    inner: Rc<Inner<JsTransport>>,
}

/// Renews the lease until it is stopped.
#[wasm_bindgen(js_namespace = MachineHandle, js_name = keepAlive)]
pub fn machine_keep_alive(record: Record, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let (machine, plan) = (held.machine(), lease::keep_alive(read)?);
        call(async move {
            let inner = Rc::new(machine.keep_alive(&plan).await?);
            Ok(JsValue::from(KeepAlive { inner }))
        })
    })
}

#[wasm_bindgen]
impl KeepAlive {
    /// Stops; fails with what ended it before.
    pub fn close(&self) -> Promise {
        let inner = self.inner.clone();
        on_held(&JsValue::UNDEFINED, || call(async move { inner.close().await }))
    }

    /// Waits until it ends by itself, which it does only when it fails.
    pub fn wait(&self, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        on_held(&options, || call(async move { inner.ended().await }))
    }
}
