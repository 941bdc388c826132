//! Uploads of the class `Files`. The source is an object of `pkg-template/lib/upload.js`.

use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::call::{argument, named, on_handle};
use super::files::{Files, Held};
use super::transport::JsTransport;
use crate::client::call::Outcome;
use crate::client::uploads::{Bytes, HeldPart, Uploaded};
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

impl HeldPart<JsTransport> for Held {
    fn content(&self) -> Content {
        Held::content(self)
    }
    fn result<V>(self, outcome: Outcome<JsTransport, V>) -> Outcome<JsTransport, V> {
        Held::result(self, outcome)
    }
}

impl Bytes<JsTransport> for JsBytes {
    type Part = Held;

    async fn part(&self, begin: f64, end: f64) -> Outcome<JsTransport, (Held, String)> {
        let pair = JsFuture::from(self.source.part(begin, end))
            .await
            .map_err(Failure::Thrown)?;
        let get = |index: u32| Reflect::get_u32(&pair, index).map_err(Failure::Thrown);
        let held = Held::new(&get(0)?).ok_or_else(|| files::no_content("source"))?;
        Ok((held, get(1)?.as_string().unwrap_or_default()))
    }

    async fn digest(&self) -> Outcome<JsTransport, String> {
        let digest = JsFuture::from(self.source.digest())
            .await
            .map_err(Failure::Thrown)?;
        Ok(digest.as_string().unwrap_or_default())
    }

    fn progress(&self, sent: f64, total: f64) -> Outcome<JsTransport, ()> {
        let Some(hook) = &self.hook else { return Ok(()) };
        let event = Object::new();
        // A fresh plain object takes any property.
        let _ = Reflect::set(&event, &"sentBytes".into(), &sent.into());
        let _ = Reflect::set(&event, &"totalBytes".into(), &total.into());
        hook.call1(&JsValue::UNDEFINED, &event)
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
    let hook = match options.is_object() {
        true => Reflect::get(options, &"onProgress".into())
            .map_err(Failure::Thrown)?
            .dyn_into::<Function>()
            .ok(),
        false => None,
    };
    let known = Source {
        name: source.name(),
        size: source.size(),
        directory: source.directory(),
    };
    Ok((known, JsBytes { source, hook }))
}

fn shown(uploaded: Uploaded) -> JsValue {
    let result = Object::new();
    let set = |name: &str, value: JsValue| {
        // A fresh plain object takes any property.
        let _ = Reflect::set(&result, &name.into(), &value);
    };
    set("path", uploaded.path.into());
    set("bytes", uploaded.bytes.into());
    set("files", uploaded.files.into());
    if let Some(id) = uploaded.upload_id {
        set("uploadId", id.into());
    }
    result.into()
}

#[wasm_bindgen]
impl Files {
    /// Uploads a source that lib.js has opened.
    #[wasm_bindgen(js_name = sendUpload)]
    pub fn send_upload(&self, source: JsValue, path: JsValue, options: JsValue) -> Promise {
        let given = options.clone();
        on_handle(&self.machine, options, |machine, options| async move {
            let (source, bytes) = read(source, &given)?;
            let plan = uploads::plan(&source, &argument(&path)?, options.as_ref())?;
            let stream = bytes.source.stream();
            let held = match stream.is_undefined() {
                true => None,
                false => Some(Held::new(&stream).ok_or_else(|| files::no_content("source"))?),
            };
            let content = held.as_ref().map(Held::content);
            let uploaded = machine.upload(&source, &bytes, content, &plan).await;
            Ok(shown(match held {
                Some(held) => held.result(uploaded)?,
                None => uploaded?,
            }))
        })
    }

    /// Goes on with an upload.
    #[wasm_bindgen(js_name = sendResumed)]
    pub fn send_resumed(&self, id: JsValue, source: JsValue, options: JsValue) -> Promise {
        let given = options.clone();
        on_handle(&self.machine, options, |machine, options| async move {
            let id = named("uploadId", &id)?;
            let (source, bytes) = read(source, &given)?;
            Ok(shown(
                machine
                    .resume_upload(&id, &source, &bytes, options.as_ref())
                    .await?,
            ))
        })
    }
}
