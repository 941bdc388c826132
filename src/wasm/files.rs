//! Files of a machine as bytes.

use js_sys::{Array, Promise, Reflect};
use wasm_bindgen::prelude::*;

use super::call::{argument, call, on_handle, IntoJs};
use super::host;
use super::record::Record;
use super::transport::{JsAnswer, JsTransport};
use crate::client::call::Outcome;
use crate::client::Failure;
use crate::core::files::{self, Common};
use crate::core::options::Value;
use crate::surface;
use crate::transport::{Answer as _, Content, Transport as _};

/// Content that JavaScript keeps for a call, and forgets with it.
pub struct Held(u32);

impl Held {
    /// Keeps a value; `None` when it is no content.
    pub fn new(value: &JsValue) -> Option<Self> {
        Some(Self(host::hold_content(value))).filter(|held| held.0 != 0)
    }

    /// Its name for a request.
    pub fn content(&self) -> Content {
        Content(self.0)
    }

    /// The result of the call that sent it: what a stream's source threw comes before what that did to the request.
    pub fn result<V>(self, outcome: Outcome<JsTransport, V>) -> Outcome<JsTransport, V> {
        let thrown = host::release_content(self.0);
        match outcome {
            Err(Failure::Error(_)) if !thrown.is_undefined() => Err(Failure::Thrown(thrown)),
            outcome => outcome,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        host::release_content(self.0);
    }
}

/// Writes content: short texts inside a JSON body, all else as bytes.
#[wasm_bindgen(js_namespace = FilesHandle, js_name = write)]
pub fn files_write(record: Record, path: JsValue, content: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let machine = held.machine();
        let path = argument(&path)?;
        if let Some(text) = content.as_string().filter(|text| text.len() <= files::SMALL_TEXT) {
            let args = [Some(path), Some(Value::Text(text))];
            let planned = machine.plan(&surface::files::WRITE_TEXT, &args, read)?;
            return call(async move { planned.send().await });
        }
        let fields = files::fields(read, &["mode"])?;
        let (common, mode) = (Common::of(&fields)?, files::mode(&fields)?);
        let path = files::path("path", &path)?;
        let target = files::Target { path, mode };
        let held = Held::new(&content).ok_or_else(|| files::no_content("content"))?;
        call(async move {
            let written = machine.put_file(&target, held.content(), &common).await;
            held.result(written)
        })
    })
}

/// Writes several files at once.
#[wasm_bindgen(js_namespace = FilesHandle, js_name = writeFiles)]
pub fn files_write_files(record: Record, list: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let machine = held.machine();
        let common = Common::read(read)?;
        let targets = files::batch(&argument(&list)?)?;
        let infos = Array::new();
        if targets.is_empty() {
            return call(async move { Ok(JsValue::from(infos)) });
        }
        let parts = Array::new();
        for file in list.unchecked_ref::<Array>().iter() {
            parts.push(&Reflect::get(&file, &"content".into()).map_err(Failure::Thrown)?);
        }
        let boundary = format!("nullspace-{}", machine.transport().uuid());
        let manifest = files::manifest(&targets, common.user.as_deref());
        let held = Held(host::hold_multipart(&manifest, &parts, &boundary));
        if held.0 == 0 {
            return Err(files::no_content("files[].content").into());
        }
        call(async move {
            let results = machine.write_batch(held.content(), &boundary, &common).await;
            held.result(results)?.each(&mut |result| {
                infos.push(&result.inner("info").map_or(JsValue::UNDEFINED, JsAnswer::into_js));
            });
            Ok(JsValue::from(infos))
        })
    })
}
