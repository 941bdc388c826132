//! What git does through the commands of a machine.

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{argument, call, on_handle};
use super::record::Record;
use super::transport::JsTransport;
use crate::client::call::Outcome;
use crate::core::git::{self, Steps};
use crate::core::value::Value;

fn stepped(
    record: &Record,
    options: &JsValue,
    plan: &dyn Fn(Option<&Value>) -> Outcome<JsTransport, Steps>,
) -> Promise {
    on_handle(record, options, &|held, read| {
        let (machine, steps) = (held.machine(), plan(read)?);
        call(async move {
            Ok(machine
                .git(steps)
                .await?
                .map_or(JsValue::UNDEFINED, JsValue::from))
        })
    })
}

/// What is not added yet, as a patch.
#[wasm_bindgen(js_namespace = GitHandle, js_name = diff)]
pub fn git_diff(record: Record, options: JsValue) -> Promise {
    stepped(&record, &options, &|read| Ok(git::diff(read)?))
}

/// Names a remote.
#[wasm_bindgen(js_namespace = GitHandle, js_name = remoteAdd)]
pub fn git_remote_add(record: Record, name: JsValue, url: JsValue, options: JsValue) -> Promise {
    stepped(&record, &options, &|read| {
        Ok(git::remote_add(&argument(&name)?, &argument(&url)?, read)?)
    })
}

/// Changes a setting.
#[wasm_bindgen(js_namespace = GitHandle, js_name = setConfig)]
pub fn git_set_config(record: Record, key: JsValue, value: JsValue, options: JsValue) -> Promise {
    stepped(&record, &options, &|read| {
        Ok(git::set_config(&argument(&key)?, &argument(&value)?, read)?)
    })
}

/// A setting.
#[wasm_bindgen(js_namespace = GitHandle, js_name = getConfig)]
pub fn git_get_config(record: Record, key: JsValue, options: JsValue) -> Promise {
    stepped(&record, &options, &|read| {
        Ok(git::get_config(&argument(&key)?, read)?)
    })
}

/// Name and address of who commits.
#[wasm_bindgen(js_namespace = GitHandle, js_name = configureUser)]
pub fn git_configure_user(record: Record, name: JsValue, email: JsValue, options: JsValue) -> Promise {
    stepped(&record, &options, &|read| {
        Ok(git::configure_user(&argument(&name)?, &argument(&email)?, read)?)
    })
}

/// Keeps credentials in the machine.
#[wasm_bindgen(js_namespace = GitHandle, js_name = dangerouslyAuthenticate)]
pub fn git_dangerously_authenticate(record: Record, options: JsValue) -> Promise {
    stepped(&record, &options, &|read| Ok(git::store_credentials(read)?))
}

/// Keeps a key in the machine.
#[wasm_bindgen(js_namespace = GitHandle, js_name = addSshKey)]
pub fn git_add_ssh_key(record: Record, key: JsValue, options: JsValue) -> Promise {
    stepped(&record, &options, &|read| {
        Ok(git::add_ssh_key(&argument(&key)?, read)?)
    })
}
