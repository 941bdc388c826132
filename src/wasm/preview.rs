//! The exported class `Machine`, seen from outside: its preview ports.

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{argument, on_handle, on_handle_plain, Call};
use super::machine::Machine;
use crate::core::{config, machine, previews};

#[wasm_bindgen]
impl Machine {
    /// URLs of a port with a token in them.
    #[wasm_bindgen(js_name = getPreviewUrl)]
    pub fn get_preview_url(&self, port: JsValue, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        let call = |timeout| {
            Box::pin(async move {
                let port = previews::port(&argument(&port)?)?;
                Ok(inner.preview_url(port, timeout).await?.0)
            }) as Call
        };
        on_handle_plain(self.inner.transport(), options, Box::new(call))
    }

    /// The same, for as long as the caller says.
    #[wasm_bindgen(js_name = createSignedPreviewUrl)]
    pub fn create_signed_preview_url(&self, port: JsValue, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        on_handle(
            self.inner.transport(),
            options,
            Box::new(|read| {
                Box::pin(async move {
                    let port = previews::port(&argument(&port)?)?;
                    let request = previews::signed(read.as_ref())?;
                    Ok(inner.signed_preview_url(port, &request).await?.0)
                })
            }),
        )
    }

    /// What a reverse proxy of the caller needs.
    #[wasm_bindgen(js_name = createPreviewProxyTarget)]
    pub fn create_preview_proxy_target(&self, port: JsValue, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        on_handle(
            self.inner.transport(),
            options,
            Box::new(|read| {
                Box::pin(async move {
                    let port = previews::port(&argument(&port)?)?;
                    let request = previews::proxy_target(read.as_ref())?;
                    Ok(inner.preview_proxy_target(port, &request).await?.0)
                })
            }),
        )
    }

    /// Waits until a service answers.
    #[wasm_bindgen(js_name = waitForPreview)]
    pub fn wait_for_preview(&self, port: JsValue, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        on_handle(
            self.inner.transport(),
            options,
            Box::new(|read| {
                Box::pin(async move {
                    let port = previews::port(&argument(&port)?)?;
                    let request = previews::wait(read.as_ref())?;
                    Ok(inner.wait_for_preview(port, &request).await?.0)
                })
            }),
        )
    }

    /// What was given out.
    #[wasm_bindgen(js_name = listPreviewUrls)]
    pub fn list_preview_urls(&self, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        on_handle(
            self.inner.transport(),
            options,
            Box::new(|read| {
                Box::pin(async move {
                    let fields = config::call_fields(read.as_ref(), &["port"])?;
                    let port = fields.get("port").map(previews::port).transpose()?;
                    let timeout = fields.seconds("requestTimeout")?;
                    Ok(inner.preview_urls(port, timeout).await?.0)
                })
            }),
        )
    }

    /// Takes it back.
    #[wasm_bindgen(js_name = revokePreviewUrl)]
    pub fn revoke_preview_url(&self, grant: JsValue, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        let call = |timeout| {
            Box::pin(async move {
                let grant = machine::id("grantId", &argument(&grant)?)?;
                Ok(inner.revoke_preview_url(&grant, timeout).await?.0)
            }) as Call
        };
        on_handle_plain(self.inner.transport(), options, Box::new(call))
    }
}
