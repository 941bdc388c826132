//! Streams of events and the monitor: what holds a socket of its own. lib.js makes iterables and subscriptions of [`Feed`].

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{call, on_class, on_handle, on_held};
use super::host;
use super::record::Record;
use super::transport::JsTransport;
use crate::client::events::Feed as Inner;
use crate::core::{config, events, monitor};

/// Events of everything.
#[wasm_bindgen(js_namespace = Lifecycle, js_name = openStream)]
pub fn lifecycle_open_stream(options: JsValue, client: JsValue) -> Promise {
    on_class(&options, &client, &|given| {
        let fields = given.fields(&[&events::STREAM[..], &events::SCOPE].concat())?;
        let stream = events::stream(&fields)?;
        let feed = Inner::events(given.client()?, stream);
        call(async move { Ok(held(feed)) })
    })
}

/// Events from now on.
#[wasm_bindgen(js_namespace = Lifecycle, js_name = openSubscription)]
pub fn lifecycle_open_subscription(options: JsValue, client: JsValue) -> Promise {
    on_class(&options, &client, &|given| {
        let fields = given.fields(&events::SUBSCRIPTION)?;
        let stream = events::subscription(&fields)?;
        let feed = Inner::events(given.client()?, stream);
        call(async move { Ok(held(feed)) })
    })
}

/// Events of a machine.
#[wasm_bindgen(js_namespace = MachineLifecycleHandle, js_name = openStream)]
pub fn machine_lifecycle_open_stream(record: Record, options: JsValue) -> Promise {
    on_handle(&record, &options, &|handle, read| {
        let stream = events::stream(&config::call_fields(read, &events::STREAM)?)?;
        let feed = handle.machine().event_feed(stream);
        call(async move { Ok(held(feed)) })
    })
}

/// All machines, looked at again and again.
#[wasm_bindgen(js_namespace = Monitor, js_name = openFeed)]
pub fn monitor_open_feed(options: JsValue, client: JsValue) -> Promise {
    on_class(&options, &client, &|given| {
        let fields = given.fields(&monitor::SUBSCRIBE)?;
        let id = monitor::id(&host::uuid());
        let first = monitor::subscribe(&fields, &id)?;
        let feed = Inner::monitor(given.client()?, id, first);
        call(async move { Ok(held(feed)) })
    })
}

/// What is told without end.
#[wasm_bindgen(skip_typescript)]
pub struct Feed {
    inner: Rc<Inner<JsTransport>>,
}

fn held(inner: Inner<JsTransport>) -> JsValue {
    let inner = Rc::new(inner);
    Feed { inner }.into()
}

#[wasm_bindgen]
impl Feed {
    /// The next event; `undefined` after the last one.
    pub fn next(&self, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        on_held(&options, || {
            call(async move { Ok(inner.next().await?.map_or(JsValue::UNDEFINED, |event| event.0)) })
        })
    }

    /// Opens the connection: what happens after this is heard.
    pub fn begin(&self, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        on_held(&options, || call(async move { inner.begin().await }))
    }

    /// Hears no more.
    pub fn close(&self) {
        self.inner.close();
    }
}
