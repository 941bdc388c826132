//! The exported class `Machine`, seen from outside: its preview ports, and SSH.

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{argument, on_handle, on_handle_timed};
use super::machine::Machine;
use crate::core::{config, machine, previews};

#[wasm_bindgen]
impl Machine {
    /// URLs of a port with a token in them.
    #[wasm_bindgen(js_name = getPreviewUrl)]
    pub fn get_preview_url(&self, port: JsValue, options: JsValue) -> Promise {
        on_handle_timed(&self.inner, options, |inner, timeout| async move {
            let port = previews::port(&argument(&port)?)?;
            inner.preview_url(port, timeout).await
        })
    }

    /// The same, for as long as the caller says.
    #[wasm_bindgen(js_name = createSignedPreviewUrl)]
    pub fn create_signed_preview_url(&self, port: JsValue, options: JsValue) -> Promise {
        on_handle(&self.inner, options, |inner, read| async move {
            let port = previews::port(&argument(&port)?)?;
            let request = previews::signed(read.as_ref())?;
            inner.signed_preview_url(port, &request).await
        })
    }

    /// What a reverse proxy of the caller needs.
    #[wasm_bindgen(js_name = createPreviewProxyTarget)]
    pub fn create_preview_proxy_target(&self, port: JsValue, options: JsValue) -> Promise {
        on_handle(&self.inner, options, |inner, read| async move {
            let port = previews::port(&argument(&port)?)?;
            let request = previews::proxy_target(read.as_ref())?;
            inner.preview_proxy_target(port, &request).await
        })
    }

    /// Waits until a service answers.
    #[wasm_bindgen(js_name = waitForPreview)]
    pub fn wait_for_preview(&self, port: JsValue, options: JsValue) -> Promise {
        on_handle(&self.inner, options, |inner, read| async move {
            let port = previews::port(&argument(&port)?)?;
            let request = previews::wait(read.as_ref())?;
            inner.wait_for_preview(port, &request).await
        })
    }

    /// Lets the holder of a key in. The package wraps it, since keys are files in Node.
    #[wasm_bindgen(js_name = sshAccess)]
    pub fn ssh_access(&self, options: JsValue) -> Promise {
        on_handle(&self.inner, options, |inner, read| async move {
            let request = previews::ssh(read.as_ref())?;
            inner.ssh_access(&request).await
        })
    }

    /// What was given out.
    #[wasm_bindgen(js_name = listPreviewUrls)]
    pub fn list_preview_urls(&self, options: JsValue) -> Promise {
        on_handle(&self.inner, options, |inner, read| async move {
            let fields = config::call_fields(read.as_ref(), &["port"])?;
            let port = fields.get("port").map(previews::port).transpose()?;
            let timeout = fields.seconds("requestTimeout")?;
            inner.preview_urls(port, timeout).await
        })
    }

    /// Takes it back.
    #[wasm_bindgen(js_name = revokePreviewUrl)]
    pub fn revoke_preview_url(&self, grant: JsValue, options: JsValue) -> Promise {
        on_handle_timed(&self.inner, options, |inner, timeout| async move {
            let grant = machine::id("grantId", &argument(&grant)?)?;
            inner.revoke_preview_url(&grant, timeout).await
        })
    }
}
