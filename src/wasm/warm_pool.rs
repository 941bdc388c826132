//! The exported class `TemplateWarmPool`.

use std::rc::Rc;

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::prelude::*;

use super::call::{argument, on_handle, Handle};
use super::single::{asked_on_class, single_on_class, single_timed, Asked};
use super::transport::{JsAnswer, JsTransport};
use crate::client::call::{Client, Sent};
use crate::client::warm_pool::WarmPool as Inner;
use crate::client::Failure;
use crate::core::error::Error;
use crate::core::{machine, warm_pool};

/// Machines held ready, as JavaScript holds them.
#[wasm_bindgen(skip_typescript)]
pub struct TemplateWarmPool {
    inner: Rc<Inner<JsTransport>>,
}

impl Handle for Rc<Inner<JsTransport>> {
    fn transport(&self) -> JsTransport {
        self.as_ref().transport().clone()
    }
}

fn handle(inner: Inner<JsTransport>) -> JsValue {
    TemplateWarmPool {
        inner: Rc::new(inner),
    }
    .into()
}

fn taken_up(client: &Client<JsTransport>, sent: Sent<JsAnswer>) -> Result<JsValue, Error> {
    Ok(handle(Inner::of(client, &sent.answer)?))
}

#[wasm_bindgen]
impl TemplateWarmPool {
    /// Makes a pool.
    pub fn create(template: JsValue, options: JsValue, client: JsValue) -> Promise {
        asked_on_class(&options, &client, &|given| {
            let fields = warm_pool::create_fields(&given.options)?;
            let template = machine::id("template", &argument(&template)?)?;
            let creation = Inner::creation(&given.client(&fields)?, &template, &fields)?;
            Ok(Asked::handle(creation, taken_up))
        })
    }

    /// Takes up a pool.
    pub fn get(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        asked_on_class(&options, &client, &|given| {
            let (client, id) = given.on(&id)?;
            Ok(Asked::handle(Inner::reading(&client, &id, None), taken_up))
        })
    }

    /// All that match.
    pub fn list(options: JsValue, client: JsValue) -> Promise {
        single_on_class(&options, &client, &|given| {
            let fields = warm_pool::list_fields(&given.options)?;
            let query = warm_pool::list(&fields)?;
            Ok(Inner::list(&given.client(&fields)?, &query))
        })
    }

    /// `twp_...`
    #[wasm_bindgen(getter)]
    pub fn id(&self) -> String {
        self.inner.id.clone()
    }

    /// Describes the pool.
    #[wasm_bindgen(js_name = getInfo)]
    pub fn get_info(&self, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| Ok(self.inner.info(timeout)))
    }

    /// Destroys the pool.
    #[wasm_bindgen(js_name = delete)]
    pub fn destroy(&self, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| Ok(self.inner.delete(timeout)))
    }

    /// Changes what is given.
    pub fn update(&self, options: JsValue) -> Promise {
        on_handle(&self.inner, options, |inner, read| async move {
            inner.update(read.as_ref()).await
        })
    }

    /// Lets it serve and fill.
    pub fn enable(&self, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| Ok(self.inner.enable(timeout)))
    }

    /// Lets it neither serve nor fill.
    pub fn disable(&self, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| Ok(self.inner.disable(timeout)))
    }

    /// Destroys its ready machines.
    pub fn drain(&self, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| Ok(self.inner.drain(timeout)))
    }

    /// Compares what there is with what there should be.
    pub fn reconcile(&self, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| Ok(self.inner.reconcile(timeout)))
    }

    /// Waits until enough machines are ready.
    #[wasm_bindgen(js_name = waitUntilReady)]
    pub fn wait_until_ready(&self, options: JsValue) -> Promise {
        let given = options.clone();
        on_handle(&self.inner, options, |inner, read| async move {
            let wait = warm_pool::wait(read.as_ref())?;
            let hook = match given.is_object() {
                true => Reflect::get(&given, &"onProgress".into())
                    .map_err(Failure::Thrown)?
                    .dyn_into::<Function>()
                    .ok(),
                false => None,
            };
            let tell = |info: &JsAnswer| match &hook {
                Some(hook) => hook.call1(&JsValue::UNDEFINED, &info.0).map(drop),
                None => Ok(()),
            };
            inner.wait_until_ready(&wait, tell).await
        })
    }
}
