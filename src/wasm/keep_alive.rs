//! The exported class `KeepAlive`.

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{on_handle, on_handle_plain, Call};
use super::machine::Machine;
use super::transport::JsTransport;
use crate::client::keep_alive::KeepAlive as Inner;
use crate::core::lease;

/// A lease that is renewed by itself.
#[wasm_bindgen(skip_typescript)]
pub struct KeepAlive {
    inner: Rc<Inner<JsTransport>>,
    transport: JsTransport,
}

#[wasm_bindgen]
impl Machine {
    /// Renews the lease again and again.
    #[wasm_bindgen(js_name = keepAlive)]
    pub fn keep_alive(&self, options: JsValue) -> Promise {
        let machine = self.inner.clone();
        on_handle(
            self.inner.transport(),
            options,
            Box::new(|read| {
                Box::pin(async move {
                    let plan = lease::keep_alive(read.as_ref())?;
                    let inner = Rc::new(machine.keep_alive(&plan).await?);
                    let transport = machine.transport().clone();
                    Ok(KeepAlive { inner, transport }.into())
                })
            }),
        )
    }
}

#[wasm_bindgen]
impl KeepAlive {
    /// Ends it. The lease stays as it is.
    pub fn close(&self) -> Promise {
        let inner = self.inner.clone();
        let call = |_| Box::pin(async move { inner.close().await.map(|()| JsValue::UNDEFINED) }) as Call;
        on_handle_plain(&self.transport, JsValue::UNDEFINED, Box::new(call))
    }

    /// Waits for its end.
    pub fn wait(&self, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        let call = |_| Box::pin(async move { inner.ended().await.map(|()| JsValue::UNDEFINED) }) as Call;
        on_handle_plain(&self.transport, options, Box::new(call))
    }
}
