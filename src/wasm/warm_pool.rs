//! The exported class `TemplateWarmPool`.

use std::rc::Rc;

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::prelude::*;

use super::call::{argument, on_class, on_handle, on_handle_plain, Call};
use super::transport::JsTransport;
use crate::client::warm_pool::WarmPool as Inner;
use crate::client::Failure;
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
        on_class(
            options,
            client,
            Box::new(|given| {
                Box::pin(async move {
                    let fields = warm_pool::create_fields(&given.options)?;
                    let template = machine::id("template", &argument(&template)?)?;
                    Ok(handle(
                        Inner::create(&given.client(&fields)?, &template, &fields).await?,
                    ))
                })
            }),
        )
    }

    /// Takes up a pool.
    pub fn get(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        on_class(
            options,
            client,
            Box::new(|given| {
                Box::pin(async move {
                    let fields = Fields::new("", Some(&given.options), &[&CLIENT_OPTIONS])?;
                    let id = machine::id("id", &argument(&id)?)?;
                    Ok(handle(Inner::get(&given.client(&fields)?, &id).await?))
                })
            }),
        )
    }

    /// All that match.
    pub fn list(options: JsValue, client: JsValue) -> Promise {
        on_class(
            options,
            client,
            Box::new(|given| {
                Box::pin(async move {
                    let fields = warm_pool::list_fields(&given.options)?;
                    let query = warm_pool::list(&fields)?;
                    Ok(Inner::list(&given.client(&fields)?, &query).await?.0)
                })
            }),
        )
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
        let call = |timeout| Box::pin(async move { Ok(inner.info(timeout).await?.0) }) as Call;
        on_handle_plain(self.inner.transport(), options, Box::new(call))
    }

    /// Destroys the pool.
    #[wasm_bindgen(js_name = delete)]
    pub fn destroy(&self, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        let call = |timeout| {
            Box::pin(async move { inner.delete(timeout).await.map(|()| JsValue::UNDEFINED) }) as Call
        };
        on_handle_plain(self.inner.transport(), options, Box::new(call))
    }

    /// Changes what is given.
    pub fn update(&self, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        on_handle(
            self.inner.transport(),
            options,
            Box::new(|read| Box::pin(async move { Ok(inner.update(read.as_ref()).await?.0) })),
        )
    }

    /// Lets it serve and fill.
    pub fn enable(&self, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        let call = |timeout| Box::pin(async move { Ok(inner.enable(timeout).await?.0) }) as Call;
        on_handle_plain(self.inner.transport(), options, Box::new(call))
    }

    /// Lets it neither serve nor fill.
    pub fn disable(&self, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        let call = |timeout| Box::pin(async move { Ok(inner.disable(timeout).await?.0) }) as Call;
        on_handle_plain(self.inner.transport(), options, Box::new(call))
    }

    /// Destroys its ready machines.
    pub fn drain(&self, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        let call = |timeout| Box::pin(async move { Ok(inner.drain(timeout).await?.0) }) as Call;
        on_handle_plain(self.inner.transport(), options, Box::new(call))
    }

    /// Compares what there is with what there should be.
    pub fn reconcile(&self, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        let call = |timeout| Box::pin(async move { Ok(inner.reconcile(timeout).await?.0) }) as Call;
        on_handle_plain(self.inner.transport(), options, Box::new(call))
    }

    /// Waits until enough machines are ready.
    #[wasm_bindgen(js_name = waitUntilReady)]
    pub fn wait_until_ready(&self, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        let given = options.clone();
        on_handle(
            self.inner.transport(),
            options,
            Box::new(|read| {
                Box::pin(async move {
                    let wait = warm_pool::wait(read.as_ref())?;
                    let hook = match given.is_object() {
                        true => Reflect::get(&given, &"onProgress".into())
                            .map_err(Failure::Thrown)?
                            .dyn_into::<Function>()
                            .ok(),
                        false => None,
                    };
                    let info = inner
                        .wait_until_ready(&wait, |info| match &hook {
                            Some(hook) => hook.call1(&JsValue::UNDEFINED, &info.0).map(drop),
                            None => Ok(()),
                        })
                        .await?;
                    Ok(info.0)
                })
            }),
        )
    }
}
