//! What every exported function does around its call: options, client, signal, errors.

use std::future::{ready, Future};
use std::pin::Pin;
use std::time::Duration;

use js_sys::{Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use super::abort::{abortable, Signal};
use super::convert;
use super::throw;
use super::transport::{Host, JsAnswer, JsTransport};
use crate::client::call::Outcome;
use crate::client::machine::call_options;
use crate::client::{Client, Failure};
use crate::core::config::{self, CLIENT_OPTIONS};
use crate::core::error::Error;
use crate::core::machine;
use crate::core::options::{Fields, Value};

/// A call under way. Boxed, so that what surrounds it is compiled once, not once for each export.
pub type Call = Pin<Box<dyn Future<Output = Outcome<JsTransport, JsValue>>>>;

/// A handle of JavaScript, as its calls take it along: it can be cloned, and it knows the transport.
pub trait Handle: Clone + 'static {
    /// What its calls go through.
    fn transport(&self) -> JsTransport;
}

/// What a call gives, as JavaScript sees it.
pub trait IntoJs {
    /// The value that the promise resolves with.
    fn into_js(self) -> JsValue;
}

impl IntoJs for JsValue {
    fn into_js(self) -> JsValue {
        self
    }
}

impl IntoJs for JsAnswer {
    fn into_js(self) -> JsValue {
        self.0
    }
}

impl IntoJs for () {
    fn into_js(self) -> JsValue {
        JsValue::UNDEFINED
    }
}

impl IntoJs for bool {
    fn into_js(self) -> JsValue {
        self.into()
    }
}

impl IntoJs for String {
    fn into_js(self) -> JsValue {
        self.into()
    }
}

/// A call of a static function.
pub fn on_class<F, V>(options: JsValue, client: JsValue, call: impl FnOnce(Given) -> F + 'static) -> Promise
where
    F: Future<Output = Outcome<JsTransport, V>> + 'static,
    V: IntoJs + 'static,
{
    class_call(options, client, Box::new(|given| in_js(Box::pin(call(given)))))
}

/// A call on a handle: `options` may hold a signal. What else they hold is checked by the call itself.
pub fn on_handle<H: Handle, F, V>(
    handle: &H,
    options: JsValue,
    call: impl FnOnce(H, Option<Value>) -> F + 'static,
) -> Promise
where
    F: Future<Output = Outcome<JsTransport, V>> + 'static,
    V: IntoJs + 'static,
{
    let owned = handle.clone();
    handle_call(
        handle.transport(),
        options,
        Box::new(|read| in_js(Box::pin(call(owned, read)))),
    )
}

/// A call on a handle that takes no options but a time and a signal.
pub fn on_handle_timed<H: Handle, F, V>(
    handle: &H,
    options: JsValue,
    call: impl FnOnce(H, Option<Duration>) -> F + 'static,
) -> Promise
where
    F: Future<Output = Outcome<JsTransport, V>> + 'static,
    V: IntoJs + 'static,
{
    let owned = handle.clone();
    timed_call(
        handle.transport(),
        options,
        Box::new(|timeout| in_js(Box::pin(call(owned, timeout)))),
    )
}

/// Generic over the result alone: boxed before, or every export would have one of its own.
fn in_js<V: IntoJs + 'static>(call: Pin<Box<dyn Future<Output = Outcome<JsTransport, V>>>>) -> Call {
    Box::pin(async { call.await.map(V::into_js) })
}

// From here on nothing is generic: it is compiled once.

type OnClass = Box<dyn FnOnce(Given) -> Call>;
type OnHandle = Box<dyn FnOnce(Option<Value>) -> Call>;
type OnHandleTimed = Box<dyn FnOnce(Option<Duration>) -> Call>;

fn class_call(options: JsValue, client: JsValue, call: OnClass) -> Promise {
    promise(Box::pin(async move {
        let given = Given::read(&options, &client)?;
        let (transport, signal) = (given.transport.clone(), given.signal.clone());
        run(transport, signal, call(given)).await
    }))
}

fn timed_call(transport: JsTransport, options: JsValue, call: OnHandleTimed) -> Promise {
    handle_call(
        transport,
        options,
        Box::new(|read| match call_options(read.as_ref(), &[]) {
            Ok((timeout, _)) => call(timeout),
            Err(error) => Box::pin(ready(Err(error.into()))),
        }),
    )
}

fn handle_call(transport: JsTransport, options: JsValue, call: OnHandle) -> Promise {
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

/// An argument that is an id or another text that must not be empty.
pub fn named(argument_name: &str, js: &JsValue) -> Outcome<JsTransport, String> {
    Ok(machine::id(argument_name, &argument(js)?)?)
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

    /// The options of a static that takes those of the client and `more`.
    pub fn fields(&self, more: &[&str]) -> Result<Fields<'_>, Error> {
        Fields::new("", Some(&self.options), &[more, &CLIENT_OPTIONS])
    }

    /// Client and id of a static that takes no options of its own.
    pub fn on(&self, id: &JsValue) -> Outcome<JsTransport, (Client<JsTransport>, String)> {
        let fields = self.fields(&[])?;
        Ok((self.client(&fields)?, named("id", id)?))
    }

    /// What its calls go through.
    pub fn transport(&self) -> JsTransport {
        self.transport.clone()
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
