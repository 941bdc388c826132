//! What `files.watch` walks along: it holds a socket. lib.js makes an async iterable of it.

use std::rc::Rc;

use js_sys::{Object, Promise, Reflect};
use wasm_bindgen::prelude::*;

use super::call::{argument, call, on_handle, on_held};
use super::record::Record;
use super::transport::JsTransport;
use crate::client::watch::Watch;
use crate::core::files;
use crate::transport::Answer as _;

/// A watch that is on.
#[wasm_bindgen(skip_typescript)]
pub struct FileWatch {
    watch: Rc<Watch<JsTransport>>,
}

/// Begins a watch.
#[wasm_bindgen(js_namespace = FilesHandle, js_name = openWatch)]
pub fn files_open_watch(record: Record, path: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let (place, request) = (held.files(read)?, files::watch(&argument(&path)?, read)?);
        if place.is_volume {
            files::in_volume("path", Some(&request.path))?;
        }
        call(async move {
            let watch = Rc::new(place.watch(&request).await?);
            Ok(JsValue::from(FileWatch { watch }))
        })
    })
}

#[wasm_bindgen]
impl FileWatch {
    /// The next change; `undefined` when there are no more.
    pub fn next(&self, options: JsValue) -> Promise {
        let watch = self.watch.clone();
        on_held(&options, || {
            call(async move {
                let Some(frame) = watch.next().await? else {
                    return Ok(JsValue::UNDEFINED);
                };
                let change = Object::new();
                for name in files::CHANGE {
                    let value = frame.any(name).map_or(JsValue::UNDEFINED, |value| value.0);
                    // A fresh plain object takes any property.
                    let _ = Reflect::set(&change, &name.into(), &value);
                }
                Ok(change.into())
            })
        })
    }

    /// Ends it.
    pub fn close(&self) {
        self.watch.stop();
    }
}
