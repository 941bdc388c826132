//! The exported class `TemplateWarmPool`.

use std::rc::Rc;

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::prelude::*;

use super::call::{on_handle, optional, promise, Given};
use super::convert;
use super::transport::JsTransport;
use crate::client::machine::call_options;
use crate::client::warm_pool::WarmPool as Inner;
use crate::core::config::CLIENT_OPTIONS;
use crate::core::options::Fields;
use crate::core::{machine, warm_pool};

/// Machines held ready, as JavaScript holds them.
#[wasm_bindgen(skip_typescript)]
pub struct TemplateWarmPool {
    inner: Rc<Inner<JsTransport>>,
}

fn handle(inner: Inner<JsTransport>) -> JsValue {
    TemplateWarmPool {
        inner: Rc::new(inner),
    }
    .into()
}

#[wasm_bindgen]
impl TemplateWarmPool {
    /// Makes a pool.
    pub fn create(template: JsValue, options: JsValue, client: JsValue) -> Promise {
        promise(Box::pin(async move {
            let (template, given) = (convert::value(&template)?, Given::read(&options, &client)?);
            given
                .run(async {
                    let fields = warm_pool::create_fields(&given.options)?;
                    let template = machine::id("template", &template)?;
                    Ok(handle(
                        Inner::create(&given.client(&fields)?, &template, &fields).await?,
                    ))
                })
                .await
        }))
    }

    /// Takes up a pool.
    pub fn get(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        promise(Box::pin(async move {
            let (id, given) = (convert::value(&id)?, Given::read(&options, &client)?);
            given
                .run(async {
                    let fields = Fields::new("", Some(&given.options), &[&CLIENT_OPTIONS])?;
                    let id = machine::id("id", &id)?;
                    Ok(handle(Inner::get(&given.client(&fields)?, &id).await?))
                })
                .await
        }))
    }

    /// All that match.
    pub fn list(options: JsValue, client: JsValue) -> Promise {
        promise(Box::pin(async move {
            let given = Given::read(&options, &client)?;
            given
                .run(async {
                    let fields = warm_pool::list_fields(&given.options)?;
                    let query = warm_pool::list(&fields)?;
                    Ok(Inner::list(&given.client(&fields)?, &query).await?.0)
                })
                .await
        }))
    }

    /// `twp_...`
    #[wasm_bindgen(getter)]
    pub fn id(&self) -> String {
        self.inner.id.clone()
    }

    /// Describes the pool.
    #[wasm_bindgen(js_name = getInfo)]
    pub fn get_info(&self, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        promise(Box::pin(async move {
            let read = optional(&options)?;
            on_handle(inner.transport(), &options, async {
                let (timeout, _) = call_options(read.as_ref(), &[])?;
                Ok(inner.info(timeout).await?.0)
            })
            .await
        }))
    }

    /// Destroys the pool.
    #[wasm_bindgen(js_name = delete)]
    pub fn destroy(&self, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        promise(Box::pin(async move {
            let read = optional(&options)?;
            on_handle(inner.transport(), &options, async {
                let (timeout, _) = call_options(read.as_ref(), &[])?;
                inner.delete(timeout).await?;
                Ok(JsValue::UNDEFINED)
            })
            .await
        }))
    }

    /// Waits until enough machines are ready.
    #[wasm_bindgen(js_name = waitUntilReady)]
    pub fn wait_until_ready(&self, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        promise(Box::pin(async move {
            let read = optional(&options)?;
            let hook = match options.is_object() {
                true => Reflect::get(&options, &"onProgress".into())?
                    .dyn_into::<Function>()
                    .ok(),
                false => None,
            };
            on_handle(inner.transport(), &options, async {
                let wait = warm_pool::wait(read.as_ref())?;
                let info = inner
                    .wait_until_ready(&wait, |info| match &hook {
                        Some(hook) => hook.call1(&JsValue::UNDEFINED, &info.0).map(drop),
                        None => Ok(()),
                    })
                    .await?;
                Ok(info.0)
            })
            .await
        }))
    }
}
