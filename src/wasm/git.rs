//! What git does through the commands of a machine.

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{argument, call, on_handle};
use super::record::Record;

/// What is not added yet, as a patch.
#[wasm_bindgen(js_namespace = GitHandle, js_name = diff)]
pub fn git_diff(record: Record, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let (machine, read) = (held.machine(), read.cloned());
        call(async move { machine.git_diff(read.as_ref()).await })
    })
}

/// Names a remote.
#[wasm_bindgen(js_namespace = GitHandle, js_name = remoteAdd)]
pub fn git_remote_add(record: Record, name: JsValue, url: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let (machine, read) = (held.machine(), read.cloned());
        let (name, url) = (argument(&name)?, argument(&url)?);
        call(async move { machine.git_remote_add(&name, &url, read.as_ref()).await })
    })
}

/// Changes a setting.
#[wasm_bindgen(js_namespace = GitHandle, js_name = setConfig)]
pub fn git_set_config(record: Record, key: JsValue, value: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let (machine, read) = (held.machine(), read.cloned());
        let (key, value) = (argument(&key)?, argument(&value)?);
        call(async move { machine.git_set_config(&key, &value, read.as_ref()).await })
    })
}

/// A setting.
#[wasm_bindgen(js_namespace = GitHandle, js_name = getConfig)]
pub fn git_get_config(record: Record, key: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let (machine, read, key) = (held.machine(), read.cloned(), argument(&key)?);
        call(async move { machine.git_get_config(&key, read.as_ref()).await })
    })
}

/// Name and address of who commits.
#[wasm_bindgen(js_namespace = GitHandle, js_name = configureUser)]
pub fn git_configure_user(record: Record, name: JsValue, email: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let (machine, read) = (held.machine(), read.cloned());
        let (name, email) = (argument(&name)?, argument(&email)?);
        call(async move { machine.git_configure_user(&name, &email, read.as_ref()).await })
    })
}

/// Keeps credentials in the machine.
#[wasm_bindgen(js_namespace = GitHandle, js_name = dangerouslyAuthenticate)]
pub fn git_dangerously_authenticate(record: Record, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let (machine, read) = (held.machine(), read.cloned());
        call(async move { machine.git_store_credentials(read.as_ref()).await })
    })
}

/// Keeps a key in the machine.
#[wasm_bindgen(js_namespace = GitHandle, js_name = addSshKey)]
pub fn git_add_ssh_key(record: Record, key: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let (machine, read, key) = (held.machine(), read.cloned(), argument(&key)?);
        call(async move { machine.git_add_ssh_key(&key, read.as_ref()).await })
    })
}
