//! Clients of JavaScript. What a handle holds of its client is a plain object of options; the client made of it is remembered,
//! since reading the options again would be most of a short call.

use std::cell::RefCell;
use std::collections::VecDeque;

use js_sys::{Object, Reflect};
use serde::Serialize;
use wasm_bindgen::prelude::*;

use super::convert;
use super::throw;
use super::transport::{Host, JsTransport};
use crate::client::Client;
use crate::core::config::{self, Key, Settings, CLIENT_OPTIONS};
use crate::core::options::Fields;

/// Clients that are remembered. More only cost the time of reading their options.
const CACHED: usize = 16;
/// Options that are functions: they stay JavaScript's.
const FUNCTIONS: [&str; 6] = [
    "apiKey",
    "fetch",
    "WebSocket",
    "onRequest",
    "onResponse",
    "startSpan",
];

struct CachedClient {
    options: JsValue,
    client: Client<JsTransport>,
}

thread_local! {
    static CLIENTS: RefCell<VecDeque<CachedClient>> = const { RefCell::new(VecDeque::new()) };
}

/// The client of an object that was read before.
pub fn known(options: &JsValue) -> Option<Client<JsTransport>> {
    if !options.is_object() {
        return None;
    }
    CLIENTS.with_borrow(|known| {
        let found = known.iter().find(|known| known.options == *options)?;
        Some(found.client.clone())
    })
}

/// The client of a handle: of the object that [`make`] gave it.
pub fn of(options: &JsValue) -> Result<Client<JsTransport>, JsValue> {
    if let Some(known) = known(options) {
        return Ok(known);
    }
    let read = convert::value(options)?;
    let settings = Fields::new("", Some(&read), &[&CLIENT_OPTIONS])
        .and_then(|fields| config::settings(&fields, &Host))
        .map_err(|error| throw::error(&error))?;
    make(settings, Some(options), |name| {
        Reflect::get(options, &name.into())
    })
}

/// Makes a client. `options`: the object that says all of it and never changes, if there is one; `find` gives the caller's functions.
pub fn make(
    settings: Settings,
    options: Option<&JsValue>,
    find: impl Fn(&str) -> Result<JsValue, JsValue>,
) -> Result<Client<JsTransport>, JsValue> {
    let options = match options {
        Some(options) => options.clone(),
        None => resolved(&settings, &find)?,
    };
    let transport = JsTransport::new(options.clone(), find)?;
    let client = Client::new(settings, transport);
    let known = CachedClient {
        options,
        client: client.clone(),
    };
    CLIENTS.with_borrow_mut(|clients| {
        clients.truncate(CACHED - 1);
        clients.push_front(known);
    });
    Ok(client)
}

/// Settings as options that give the same client again, whatever becomes of the environment.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resolved<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
    base_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_timeout: Option<f64>,
}

fn resolved(
    settings: &Settings,
    find: &impl Fn(&str) -> Result<JsValue, JsValue>,
) -> Result<JsValue, JsValue> {
    let options = throw::to_js(&Resolved {
        api_key: match &settings.key {
            Key::Fixed(key) => Some(key),
            Key::Asked => None,
        },
        base_url: &settings.base_url,
        request_timeout: settings.request_timeout.map(|time| time.as_secs_f64()),
    });
    for name in FUNCTIONS {
        let value = find(name)?;
        if value.is_function() {
            Reflect::set(&options, &name.into(), &value)?;
        }
    }
    let headers = Object::new();
    for (name, value) in &settings.headers {
        Reflect::set(&headers, &name.into(), &value.into())?;
    }
    Reflect::set(&options, &"headers".into(), &headers)?;
    Ok(options)
}
