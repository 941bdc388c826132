//! The exported class `Files`.

use std::rc::Rc;

use js_sys::{Array, Promise, Reflect};
use wasm_bindgen::prelude::*;

use super::call::{argument, on_handle, IntoJs};
use super::host;
use super::machine::Machine;
use super::single::single;
use super::transport::{JsAnswer, JsTransport};
use crate::client::call::Outcome;
use crate::client::machine::Machine as Inner;
use crate::client::Failure;
use crate::core::files::{self, Common};
use crate::core::options::Value;
use crate::transport::{Answer as _, Content, Transport as _};

/// Files of a machine.
#[wasm_bindgen(skip_typescript)]
pub struct Files {
    pub(super) machine: Rc<Inner<JsTransport>>,
}

#[wasm_bindgen]
impl Machine {
    /// Files.
    #[wasm_bindgen(getter)]
    pub fn files(&self) -> Files {
        Files {
            machine: self.inner.clone(),
        }
    }
}

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

#[wasm_bindgen]
impl Files {
    /// Reads a file.
    pub fn read(&self, path: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| self.machine.read_file(&argument(&path)?, read))
    }

    /// Writes a file.
    pub fn write(&self, path: JsValue, content: JsValue, options: JsValue) -> Promise {
        on_handle(&self.machine, options, |machine, read| async move {
            let path = argument(&path)?;
            if let Some(text) = content.as_string().filter(|text| text.len() <= files::SMALL_TEXT) {
                return machine.write_text(&path, &text, read.as_ref())?.send().await;
            }
            let held = Held::new(&content).ok_or_else(|| files::no_content("content"))?;
            let written = machine.write_bytes(&path, held.content(), read.as_ref()).await;
            held.result(written)
        })
    }

    /// Writes several.
    #[wasm_bindgen(js_name = writeFiles)]
    pub fn write_files(&self, list: JsValue, options: JsValue) -> Promise {
        on_handle(&self.machine, options, |machine, read| async move {
            let common = Common::read(read.as_ref())?;
            let paths = files::batch(&argument(&list)?)?;
            let infos = Array::new();
            if paths.is_empty() {
                return Ok(JsValue::from(infos));
            }
            let parts = Array::new();
            for file in list.unchecked_ref::<Array>().iter() {
                parts.push(&Reflect::get(&file, &"content".into()).map_err(Failure::Thrown)?);
            }
            let boundary = format!("nullspace-{}", machine.transport().uuid());
            let manifest = files::manifest(&paths, common.user.as_deref());
            let held = Held(host::hold_multipart(&manifest, &parts, &boundary));
            if held.0 == 0 {
                return Err(files::no_content("files[].content").into());
            }
            let results = machine.write_batch(held.content(), &boundary, &common).await;
            held.result(results)?.each(&mut |result| {
                infos.push(&result.inner("info").map_or(JsValue::UNDEFINED, JsAnswer::into_js));
            });
            Ok(infos.into())
        })
    }

    /// What a directory holds.
    pub fn list(&self, path: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            let path = Some(argument(&path)?).filter(|_| !path.is_undefined());
            self.machine.list_files(path.as_ref(), read)
        })
    }

    /// Whether there is something.
    pub fn exists(&self, path: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            self.machine.file_exists(&argument(&path)?, read)
        })
    }

    /// Describes it.
    pub fn info(&self, path: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| self.machine.file_info(&argument(&path)?, read))
    }

    /// Makes a directory.
    pub fn mkdir(&self, path: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            self.machine
                .at_path("makeDirectory", "mkdir", &argument(&path)?, read)
        })
    }

    /// Removes what is there.
    pub fn remove(&self, path: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            self.machine
                .at_path("removeFile", "remove", &argument(&path)?, read)
        })
    }

    /// Renames or moves it.
    pub fn rename(&self, from: JsValue, to: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            let (from, to): (Value, Value) = (argument(&from)?, argument(&to)?);
            self.machine.rename_file(&from, &to, read)
        })
    }

    /// Sets permissions.
    #[wasm_bindgen(js_name = setPermissions)]
    pub fn set_permissions(&self, path: JsValue, permissions: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            let (path, mode) = (argument(&path)?, argument(&permissions)?);
            self.machine.set_file_permissions(&path, &mode, read)
        })
    }

    /// Lines that match.
    #[wasm_bindgen(js_name = findFiles)]
    pub fn find_files(&self, path: JsValue, pattern: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            self.machine
                .matching("find", &argument(&path)?, &argument(&pattern)?, read)
        })
    }

    /// Names that match.
    #[wasm_bindgen(js_name = searchFiles)]
    pub fn search_files(&self, path: JsValue, pattern: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            self.machine
                .matching("search", &argument(&path)?, &argument(&pattern)?, read)
        })
    }

    /// Replaces in files.
    #[wasm_bindgen(js_name = replaceInFiles)]
    pub fn replace_in_files(
        &self,
        list: JsValue,
        pattern: JsValue,
        replacement: JsValue,
        options: JsValue,
    ) -> Promise {
        single(&options, &|read| {
            self.machine.replace_in_files(
                &argument(&list)?,
                &argument(&pattern)?,
                &argument(&replacement)?,
                read,
            )
        })
    }

    /// An address for a download.
    #[wasm_bindgen(js_name = downloadUrl)]
    pub fn download_url(&self, path: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            Ok(self
                .machine
                .file_url("download-url", &argument(&path)?, read)?
                .field("url"))
        })
    }

    /// An address for an upload.
    #[wasm_bindgen(js_name = uploadUrl)]
    pub fn upload_url(&self, path: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            self.machine.file_url("upload-url", &argument(&path)?, read)
        })
    }
}
