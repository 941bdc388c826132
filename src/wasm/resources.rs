//! What takes more than one request of warm pools and volumes.

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{argument, call, hook, on_class, on_handle};
use super::record::{self, Record};
use super::transport::JsAnswer;
use crate::client::{volume, warm_pool};
use crate::core;
use crate::surface::{pools, volumes, Scope};

/// Changes what is given of a pool.
#[wasm_bindgen(js_namespace = TemplateWarmPoolHandle, js_name = update)]
pub fn pool_update(record: Record, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let (client, id, read) = (held.client.clone(), held.record.id(), read.cloned());
        pools::UPDATE.request(Scope::Handle, &[&id], &[], read.as_ref())?;
        call(async move { warm_pool::update(&client, &id, read.as_ref()).await })
    })
}

/// Waits until enough machines are ready.
#[wasm_bindgen(js_namespace = TemplateWarmPoolHandle, js_name = waitUntilReady)]
pub fn pool_wait_until_ready(record: Record, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let wait = core::warm_pool::wait(read)?;
        let hook = hook(&options, "onProgress")?;
        let (client, id) = (held.client.clone(), held.record.id());
        call(async move {
            let tell = |info: &JsAnswer| match &hook {
                Some(hook) => hook.call1(&JsValue::UNDEFINED, &info.0).map(drop),
                None => Ok(()),
            };
            warm_pool::wait_until_ready(&client, &id, &wait, tell).await
        })
    })
}

/// Takes up a volume by its exact name.
#[wasm_bindgen(js_namespace = Volume, js_name = fromName)]
pub fn volume_from_name(name: JsValue, options: JsValue, client: JsValue) -> Promise {
    on_class(&options, &client, &|given| {
        let name = argument(&name)?;
        let read = Some(&given.options);
        volumes::BY_NAME.request(Scope::Class, &[], &[Some(name.clone())], read)?;
        let or_make = given.fields(&["createIfMissing"])?.flag("createIfMissing")? == Some(true);
        let client = given.client()?;
        call(async move {
            let answer = volume::by_name(&client, &name, or_make).await?;
            Ok(record::handle("Volume", &client, &answer))
        })
    })
}
