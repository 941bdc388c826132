//! What every exported function does around its call: options, client, signal, errors.

use std::future::Future;
use std::pin::Pin;

use js_sys::{Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use super::abort::{abortable, Signal};
use super::convert;
use super::throw;
use super::transport::{Host, JsTransport};
use crate::client::call::Outcome;
use crate::client::Client;
use crate::core::config;
use crate::core::error::Error;
use crate::core::options::{Fields, Value};

/// A promise of a call. One boxed future type for all exports: a third less code each.
pub fn promise(call: Pin<Box<dyn Future<Output = Result<JsValue, JsValue>>>>) -> Promise {
    future_to_promise(call)
}

/// Options of a static call, and what they say about the client.
pub struct Given {
    /// The options of the call over those of its client.
    pub options: Value,
    transport: JsTransport,
    signal: Option<Signal>,
}

impl Given {
    /// Reads the options of a call and those of the client it was made on.
    pub fn read(options: &JsValue, client: &JsValue) -> Result<Self, JsValue> {
        let own = match optional(options)? {
            Some(value) => value,
            None => Value::Object(Vec::new()),
        };
        let merged =
            config::merge(optional(client)?.as_ref(), own).map_err(|error| throw::error(&error, None))?;
        let find = |name: &str| -> Result<JsValue, JsValue> {
            for bag in [options, client] {
                if bag.is_object() {
                    let value = Reflect::get(bag, &name.into())?;
                    if !value.is_undefined() {
                        return Ok(value);
                    }
                }
            }
            Ok(JsValue::UNDEFINED)
        };
        let signal = signal(find("signal")?)?;
        Ok(Self {
            options: merged,
            transport: JsTransport::new(find)?,
            signal,
        })
    }

    /// The client that the options describe.
    pub fn client(&self, fields: &Fields<'_>) -> Result<Client<JsTransport>, Error> {
        Ok(Client::new(
            config::settings(fields, &Host)?,
            self.transport.clone(),
        ))
    }

    /// Ends the call with the signal, and makes errors of what fails.
    pub async fn run<F>(&self, call: F) -> Result<JsValue, JsValue>
    where
        F: Future<Output = Outcome<JsTransport, JsValue>>,
    {
        run(&self.transport, self.signal.as_ref(), call).await
    }
}

/// Runs a call on a handle: `options` may hold a signal.
pub async fn on_handle<F>(transport: &JsTransport, options: &JsValue, call: F) -> Result<JsValue, JsValue>
where
    F: Future<Output = Outcome<JsTransport, JsValue>>,
{
    let signal = if options.is_object() {
        signal(Reflect::get(options, &"signal".into())?)?
    } else {
        None
    };
    run(transport, signal.as_ref(), call).await
}

async fn run<F>(transport: &JsTransport, signal: Option<&Signal>, call: F) -> Result<JsValue, JsValue>
where
    F: Future<Output = Outcome<JsTransport, JsValue>>,
{
    abortable(signal, async {
        call.await
            .map_err(|failure| throw::failure(failure, transport.take_cause()))
    })
    .await
}

/// Options, `undefined` being absent.
pub fn optional(js: &JsValue) -> Result<Option<Value>, JsValue> {
    if js.is_undefined() {
        Ok(None)
    } else {
        convert::value(js).map(Some)
    }
}

/// Anything with the shape of an `AbortSignal`. What is none is left to the check of the options.
fn signal(js: JsValue) -> Result<Option<Signal>, JsValue> {
    if !js.is_object() {
        return Ok(None);
    }
    let listens = Reflect::get(&js, &"addEventListener".into())?.is_function();
    if listens && Reflect::get(&js, &"aborted".into())?.as_bool().is_some() {
        return Ok(Some(js.unchecked_into()));
    }
    Err(throw::error(
        &Error::option("signal", "must be an AbortSignal"),
        None,
    ))
}
