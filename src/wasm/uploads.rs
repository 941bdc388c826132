//! Uploads of the class `Files`. The source is an object of `pkg-template/lib/upload.js`.

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::call::{argument, call, hook, named, on_handle};
use super::files::HeldContent;
use super::record::Record;
use super::transport::JsTransport;
use crate::client::call::Outcome;
use crate::client::uploads::{Bytes, HeldPart, Progress, Uploaded};
use crate::client::Failure;
use crate::core::error::Error;
use crate::core::files;
use crate::core::uploads::{self, Source};
use crate::transport::Content;

#[wasm_bindgen]
extern "C" {
    /// What is uploaded.
    #[derive(Clone)]
    type RawSource;
    #[wasm_bindgen(method, getter)]
    fn name(this: &RawSource) -> Option<String>;
    /// Octal.
    #[wasm_bindgen(method, getter)]
    fn mode(this: &RawSource) -> Option<String>;
    #[wasm_bindgen(method, getter)]
    fn size(this: &RawSource) -> Option<f64>;
    #[wasm_bindgen(method, getter)]
    fn directory(this: &RawSource) -> bool;
    /// A stream that is read once.
    #[wasm_bindgen(method, getter)]
    fn stream(this: &RawSource) -> JsValue;
    /// Resolves with `[content, digest]`.
    #[wasm_bindgen(method)]
    fn part(this: &RawSource, begin: f64, end: f64) -> Promise;
    /// Resolves with hexadecimal text.
    #[wasm_bindgen(method)]
    fn digest(this: &RawSource) -> Promise;
}

struct JsBytes {
    source: RawSource,
    hook: Option<Function>,
}

impl HeldPart<JsTransport> for HeldContent {
    fn content(&self) -> Content {
        HeldContent::content(self)
    }
    fn result<V>(self, outcome: Outcome<JsTransport, V>) -> Outcome<JsTransport, V> {
        HeldContent::result(self, outcome)
    }
}

impl Bytes<JsTransport> for JsBytes {
    type Part = HeldContent;

    async fn part(&self, begin: f64, end: f64) -> Outcome<JsTransport, (HeldContent, String)> {
        let pair = JsFuture::from(self.source.part(begin, end))
            .await
            .map_err(Failure::Thrown)?;
        let get = |index: u32| Reflect::get_u32(&pair, index).map_err(Failure::Thrown);
        let held = HeldContent::new(&get(0)?).ok_or_else(|| files::no_content("source"))?;
        Ok((held, get(1)?.as_string().unwrap_or_default()))
    }

    async fn digest(&self) -> Outcome<JsTransport, String> {
        let digest = JsFuture::from(self.source.digest())
            .await
            .map_err(Failure::Thrown)?;
        Ok(digest.as_string().unwrap_or_default())
    }

    fn progress(&self, progress: &Progress) -> Outcome<JsTransport, ()> {
        let Some(hook) = &self.hook else { return Ok(()) };
        hook.call1(&JsValue::UNDEFINED, &super::throw::to_js(progress))
            .map(drop)
            .map_err(Failure::Thrown)
    }
}

fn read(source: JsValue, options: &JsValue) -> Outcome<JsTransport, (Source, JsBytes)> {
    if !source.is_object() {
        let what = "must be a path (in Node), a Blob or File, bytes, a ReadableStream, a FileList or a directory handle";
        return Err(Error::option("source", what).into());
    }
    let source: RawSource = source.unchecked_into();
    let hook = hook(options, "onProgress")?;
    let known = Source {
        name: source.name(),
        mode: source.mode(),
        size: source.size(),
        directory: source.directory(),
    };
    Ok((known, JsBytes { source, hook }))
}

fn shown(uploaded: Uploaded) -> JsValue {
    super::throw::to_js(&uploaded)
}

/// Uploads a source of upload.js.
#[wasm_bindgen(js_namespace = FilesHandle, js_name = sendUpload)]
pub fn files_send_upload(record: Record, source: JsValue, path: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read_options| {
        let place = held.files(read_options)?;
        let (source, bytes) = read(source.clone(), &options)?;
        let plan = uploads::plan(&source, &argument(&path)?, read_options)?;
        if place.is_volume {
            files::in_volume("path", Some(&plan.target.path))?;
        }
        let stream = bytes.source.stream();
        let held = match stream.is_undefined() {
            true => None,
            false => Some(HeldContent::new(&stream).ok_or_else(|| files::no_content("source"))?),
        };
        call(async move {
            let content = held.as_ref().map(HeldContent::content);
            let uploaded = place.upload(&source, &bytes, content, &plan).await;
            Ok(shown(match held {
                Some(held) => held.result(uploaded)?,
                None => uploaded?,
            }))
        })
    })
}

/// Goes on with an upload that was cut off.
#[wasm_bindgen(js_namespace = FilesHandle, js_name = sendResumed)]
pub fn files_send_resumed(record: Record, id: JsValue, source: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read_options| {
        let (place, read_options) = (held.files(read_options)?, read_options.cloned());
        let id = named("uploadId", &id)?;
        let (source, bytes) = read(source.clone(), &options)?;
        call(async move {
            let options = read_options.as_ref();
            Ok(shown(place.resume_upload(&id, &source, &bytes, options).await?))
        })
    })
}
