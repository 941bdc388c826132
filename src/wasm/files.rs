//! Files of a machine, or of a volume, as bytes.

use js_sys::{Array, Promise, Reflect};
use wasm_bindgen::prelude::*;

use super::call::{argument, call, on_handle, sent, IntoJs};
use super::host;
use super::record::Record;
use super::transport::{JsAnswer, JsTransport};
use crate::client::call::Outcome;
use crate::client::files::FileOwner;
use crate::client::Failure;
use crate::core::files::{self, Common};
use crate::core::options::Value;
use crate::surface::{self, Operation};
use crate::transport::{Answer as _, Content, Transport as _};

/// Content that JavaScript keeps for a call, and forgets with it.
pub struct HeldContent(u32);

impl HeldContent {
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

impl Drop for HeldContent {
    fn drop(&mut self) {
        host::release_content(self.0);
    }
}

/// Writes content: short texts inside a JSON body, all else as bytes.
#[wasm_bindgen(js_namespace = FilesHandle, js_name = write)]
pub fn files_write(record: Record, path: JsValue, content: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let place = held.files(read)?;
        let path = argument(&path)?;
        if let Some(text) = content.as_string().filter(|text| text.len() <= files::SMALL_TEXT) {
            let args = [Some(path), Some(Value::Text(text))];
            let planned = place.plan(&surface::files::WRITE_TEXT, &args, read)?;
            return sent(planned);
        }
        let fields = files::fields(read, &["mode"])?;
        let (common, mode) = (Common::of(&fields)?, files::mode(&fields)?);
        let path = place_path(&place, &path)?;
        let target = files::Target { path, mode };
        let held = HeldContent::new(&content).ok_or_else(|| files::no_content("content"))?;
        call(async move {
            let written = place.put_file(&target, held.content(), &common).await;
            held.result(written)
        })
    })
}

/// Writes several files at once. A volume takes no batch: for one it only checks, and gives nothing.
#[wasm_bindgen(js_namespace = FilesHandle, js_name = writeFiles)]
pub fn files_write_files(record: Record, list: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let place = held.files(read)?;
        let common = Common::read(read)?;
        let targets = files::batch(&argument(&list)?)?;
        let infos = Array::new();
        if targets.is_empty() {
            return call(async move { Ok(JsValue::from(infos)) });
        }
        if place.is_volume {
            for (index, target) in targets.iter().enumerate() {
                files::in_volume(&format!("files[{index}].path"), Some(&target.path))?;
            }
            return call(async { Ok(JsValue::UNDEFINED) });
        }
        let parts = Array::new();
        for file in list.unchecked_ref::<Array>().iter() {
            parts.push(&Reflect::get(&file, &"content".into()).map_err(Failure::Thrown)?);
        }
        let boundary = format!("nullspace-{}", place.transport().uuid());
        let manifest = files::manifest(&targets, common.user.as_deref());
        let held = HeldContent(host::hold_multipart(&manifest, &parts, &boundary));
        if held.0 == 0 {
            return Err(files::no_content("files[].content").into());
        }
        call(async move {
            let results = place.write_batch(held.content(), &boundary, &common).await;
            held.result(results)?.each(&mut |result| {
                infos.push(&result.inner("info").map_or(JsValue::UNDEFINED, JsAnswer::into_js));
            });
            Ok(JsValue::from(infos))
        })
    })
}

/// A path of a machine, or of a volume.
pub(super) fn place_path(place: &FileOwner<JsTransport>, path: &Value) -> Outcome<JsTransport, String> {
    let path = files::path("path", path)?;
    if place.is_volume {
        files::in_volume("path", Some(&path))?;
    }
    Ok(path)
}

/// The bytes of a file, in the format asked for.
#[wasm_bindgen(js_namespace = FilesHandle, js_name = read)]
pub fn files_read(record: Record, path: JsValue, options: JsValue) -> Promise {
    bytes_of(&surface::files::READ, record, path, options)
}

/// The bytes of a directory, as an archive.
#[wasm_bindgen(js_namespace = FilesHandle, js_name = archive)]
pub fn files_archive(record: Record, path: JsValue, options: JsValue) -> Promise {
    bytes_of(&surface::files::ARCHIVE, record, path, options)
}

fn bytes_of(operation: &'static Operation, record: Record, path: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let path = match path.is_undefined() {
            true => Value::Opaque("undefined".to_owned()),
            false => argument(&path)?,
        };
        let reading = held.files(read)?.read(operation, &path, read)?;
        call(reading)
    })
}
