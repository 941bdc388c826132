//! What a build needs beside the calls of the table: its body, before files are looked at, and their content.

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{argument, call, on_class};
use super::files::HeldContent;
use crate::core::files::no_content;
use crate::surface::templates::{BODY, SEND_BLOB};
use crate::surface::Scope;

/// JSON of the body of a build: all that was given is checked, and nothing is sent.
#[wasm_bindgen(js_namespace = Template, js_name = bodyOf)]
pub fn template_body(definition: JsValue, reference: JsValue, options: JsValue, client: JsValue) -> Promise {
    on_class(&options, &client, &|given| {
        let reference = match reference.is_undefined() {
            true => None,
            false => Some(argument(&reference)?),
        };
        let args = [Some(argument(&definition)?), reference];
        let request = BODY.request(Scope::Class, &[], &args, Some(&given.options))?;
        let body = request.body.to_json();
        call(async move { Ok(body) })
    })
}

/// Sends the content of a file.
#[wasm_bindgen(js_namespace = Template, js_name = sendBlob)]
pub fn template_send_blob(id: JsValue, content: JsValue, options: JsValue, client: JsValue) -> Promise {
    on_class(&options, &client, &|given| {
        let read = Some(&given.options);
        let request = SEND_BLOB.request(Scope::Class, &[], &[Some(argument(&id)?)], read)?;
        let single = given.client()?.single(&SEND_BLOB, request, None)?;
        let held = HeldContent::new(&content).ok_or_else(|| no_content("content"))?;
        let single = single.content(held.content());
        call(async move { held.result(single.send().await) })
    })
}
