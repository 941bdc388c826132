//! What every exported function does around its call: options, client, signal, errors.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use js_sys::{Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use super::abort::{abortable, Signal};
use super::convert;
use super::throw;
use super::transport::{Host, JsTransport};
use crate::client::call::Outcome;
use crate::client::machine::call_options;
use crate::client::{Client, Failure};
use crate::core::config;
use crate::core::error::Error;
use crate::core::options::{Fields, Value};

/// A call under way. Boxed, so that what surrounds it is compiled once, not once for each export.
pub type Call = Pin<Box<dyn Future<Output = Outcome<JsTransport, JsValue>>>>;

/// A call of a static function.
pub fn on_class(options: JsValue, client: JsValue, call: Box<dyn FnOnce(Given) -> Call>) -> Promise {
    promise(Box::pin(async move {
        let given = Given::read(&options, &client)?;
        let (transport, signal) = (given.transport.clone(), given.signal.clone());
        run(transport, signal, call(given)).await
    }))
}

/// A call on a handle: `options` may hold a signal. What else they hold is checked by the call itself.
pub fn on_handle(
    transport: &JsTransport,
    options: JsValue,
    call: Box<dyn FnOnce(Option<Value>) -> Call>,
) -> Promise {
    let transport = transport.clone();
    promise(Box::pin(async move {
        let read = optional(&options)?;
        let signal = if options.is_object() {
            signal(Reflect::get(&options, &"signal".into())?)?
        } else {
            None
        };
        run(transport, signal, call(read)).await
    }))
}

/// A call on a handle that takes no options but a time and a signal.
pub fn on_handle_plain(
    transport: &JsTransport,
    options: JsValue,
    call: Box<dyn FnOnce(Option<Duration>) -> Call>,
) -> Promise {
    on_handle(
        transport,
        options,
        Box::new(move |read| {
            Box::pin(async move {
                let (timeout, _) = call_options(read.as_ref(), &[])?;
                call(timeout).await
            })
        }),
    )
}

fn promise(call: Pin<Box<dyn Future<Output = Result<JsValue, JsValue>>>>) -> Promise {
    future_to_promise(call)
}

async fn run(transport: JsTransport, signal: Option<Signal>, call: Call) -> Result<JsValue, JsValue> {
    abortable(
        signal.as_ref(),
        Box::pin(async {
            call.await
                .map_err(|failure| throw::failure(failure, transport.take_cause()))
        }),
    )
    .await
}

/// An argument that is no option.
pub fn argument(js: &JsValue) -> Outcome<JsTransport, Value> {
    convert::value(js).map_err(Failure::Thrown)
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
}

/// Options, `undefined` being absent.
fn optional(js: &JsValue) -> Result<Option<Value>, JsValue> {
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
