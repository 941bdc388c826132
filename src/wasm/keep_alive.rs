//! The exported class `KeepAlive`.

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{on_handle, on_handle_timed, Handle};
use super::machine::Machine;
use super::transport::JsTransport;
use crate::client::keep_alive::KeepAlive as Inner;
use crate::core::lease;

/// A lease that is renewed by itself.
#[wasm_bindgen(skip_typescript)]
pub struct KeepAlive {
    renewal: Renewal,
}

/// What the calls of the handle take along.
type Renewal = (Rc<Inner<JsTransport>>, JsTransport);

impl Handle for Renewal {
    fn transport(&self) -> JsTransport {
        self.1.clone()
    }
}

#[wasm_bindgen]
impl Machine {
    /// Renews the lease again and again.
    #[wasm_bindgen(js_name = keepAlive)]
    pub fn keep_alive(&self, options: JsValue) -> Promise {
        on_handle(&self.inner, options, |machine, read| async move {
            let plan = lease::keep_alive(read.as_ref())?;
            let inner = Rc::new(machine.keep_alive(&plan).await?);
            let renewal = (inner, machine.transport());
            Ok(JsValue::from(KeepAlive { renewal }))
        })
    }
}

#[wasm_bindgen]
impl KeepAlive {
    /// Ends it. The lease stays as it is.
    pub fn close(&self) -> Promise {
        on_handle_timed(&self.renewal, JsValue::UNDEFINED, |(inner, _), _| async move {
            inner.close().await
        })
    }

    /// Waits for its end.
    pub fn wait(&self, options: JsValue) -> Promise {
        on_handle_timed(&self.renewal, options, |(inner, _), _| async move {
            inner.ended().await
        })
    }
}
