//! The exported class `Machine`, seen from outside: its preview ports, and SSH.

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::argument;
use super::machine::Machine;
use super::single::{single, single_timed};
use crate::core::{config, machine, previews};

#[wasm_bindgen]
impl Machine {
    /// URLs of a port with a token in them.
    #[wasm_bindgen(js_name = getPreviewUrl)]
    pub fn get_preview_url(&self, port: JsValue, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| {
            let port = previews::port(&argument(&port)?)?;
            Ok(self.inner.preview_url(port, timeout))
        })
    }

    /// The same, for as long as the caller says.
    #[wasm_bindgen(js_name = createSignedPreviewUrl)]
    pub fn create_signed_preview_url(&self, port: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            let port = previews::port(&argument(&port)?)?;
            let request = previews::signed(read)?;
            Ok(self.inner.signed_preview_url(port, &request))
        })
    }

    /// What a reverse proxy of the caller needs.
    #[wasm_bindgen(js_name = createPreviewProxyTarget)]
    pub fn create_preview_proxy_target(&self, port: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            let port = previews::port(&argument(&port)?)?;
            let request = previews::proxy_target(read)?;
            Ok(self.inner.preview_proxy_target(port, &request))
        })
    }

    /// Waits until a service answers.
    #[wasm_bindgen(js_name = waitForPreview)]
    pub fn wait_for_preview(&self, port: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            let port = previews::port(&argument(&port)?)?;
            let request = previews::wait(read)?;
            Ok(self.inner.wait_for_preview(port, &request))
        })
    }

    /// Lets the holder of a key in. The package wraps it, since keys are files in Node.
    #[wasm_bindgen(js_name = sshAccess)]
    pub fn ssh_access(&self, options: JsValue) -> Promise {
        single(&options, &|read| {
            let request = previews::ssh(read)?;
            Ok(self.inner.ssh_access(&request))
        })
    }

    /// What was given out.
    #[wasm_bindgen(js_name = listPreviewUrls)]
    pub fn list_preview_urls(&self, options: JsValue) -> Promise {
        single(&options, &|read| {
            let fields = config::call_fields(read, &["port"])?;
            let port = fields.get("port").map(previews::port).transpose()?;
            let timeout = fields.seconds("requestTimeout")?;
            Ok(self.inner.preview_urls(port, timeout))
        })
    }

    /// Takes it back.
    #[wasm_bindgen(js_name = revokePreviewUrl)]
    pub fn revoke_preview_url(&self, grant: JsValue, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| {
            let grant = machine::id("grantId", &argument(&grant)?)?;
            Ok(self.inner.revoke_preview_url(&grant, timeout))
        })
    }
}
