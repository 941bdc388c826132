//! What `files.watch` walks along. lib.js makes an async iterable of it.

use std::rc::Rc;

use js_sys::{Object, Promise, Reflect};
use wasm_bindgen::prelude::*;

use super::call::{argument, on_handle, on_handle_timed, Handle};
use super::files::Files;
use super::transport::JsTransport;
use crate::client::watch::Watch;
use crate::transport::Answer as _;

/// A watch that is on.
#[wasm_bindgen(skip_typescript)]
pub struct FileWatch {
    watch: On,
}

/// What its calls take along.
type On = (Rc<Watch<JsTransport>>, JsTransport);

impl Handle for On {
    fn transport(&self) -> JsTransport {
        self.1.clone()
    }
}

#[wasm_bindgen]
impl Files {
    /// Begins a watch.
    #[wasm_bindgen(js_name = openWatch)]
    pub fn open_watch(&self, path: JsValue, options: JsValue) -> Promise {
        on_handle(&self.machine, options, |machine, read| async move {
            let watch = machine.watch(&argument(&path)?, read.as_ref()).await?;
            let watch = (Rc::new(watch), machine.transport().clone());
            Ok(JsValue::from(FileWatch { watch }))
        })
    }
}

#[wasm_bindgen]
impl FileWatch {
    /// The next change; `undefined` at the end.
    pub fn next(&self, options: JsValue) -> Promise {
        on_handle_timed(&self.watch, options, |(watch, _), _| async move {
            let Some(frame) = watch.next().await? else {
                return Ok(JsValue::UNDEFINED);
            };
            let change = Object::new();
            for name in ["event", "name", "path"] {
                let value = frame.any(name).map_or(JsValue::UNDEFINED, |value| value.0);
                // A fresh plain object takes any property.
                let _ = Reflect::set(&change, &name.into(), &value);
            }
            Ok(change.into())
        })
    }

    /// Ends it.
    pub fn close(&self) -> Promise {
        on_handle_timed(&self.watch, JsValue::UNDEFINED, |(watch, _), _| async move {
            watch.stop();
            Ok(())
        })
    }
}
