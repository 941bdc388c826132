//! What every exported function does around its call: what was given is read at once, the rest happens in a task, which
//! ends with the call's signal, and whose failure becomes what JavaScript gets.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::time::Duration;

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;

use super::abort::{abortable, Signal};
use super::host;
use super::record::Record;
use super::throw;
use super::transport::{Host, JsAnswer, JsTransport};
use super::{client, convert};
use crate::client::call::Outcome;
use crate::client::files::FileOwner;
use crate::client::machine::{call_options, Machine};
use crate::client::single::{Planned, SingleRequest};
use crate::client::{Client, Failure};
use crate::core::config::{self, CLIENT_OPTIONS};
use crate::core::error::Error;
use crate::core::files;
use crate::core::options::{self, Fields, Value};
use crate::surface::{Operation, Scope};

/// A call under way. Boxed, so that what surrounds it is compiled once, not once for each export.
pub type Call = Pin<Box<dyn Future<Output = Outcome<JsTransport, JsValue>>>>;

/// What makes a call, or what is wrong with what was given.
pub type Begun = Outcome<JsTransport, Call>;

/// A call whose value is made in a future.
pub fn call<V: IntoJs + 'static>(future: impl Future<Output = Outcome<JsTransport, V>> + 'static) -> Begun {
    let future: Pin<Box<dyn Future<Output = Outcome<JsTransport, V>>>> = Box::pin(future);
    Ok(Box::pin(async { future.await.map(V::into_js) }))
}

/// A call that is one request.
pub fn sent(single: SingleRequest<JsTransport>) -> Begun {
    Ok(Box::pin(async { Ok(single.finish().await?.answer.0) }))
}

/// A function among the options of a call, as it was given; that it is one was checked elsewhere.
pub fn hook(options: &JsValue, name: &str) -> Outcome<JsTransport, Option<Function>> {
    if !options.is_object() {
        return Ok(None);
    }
    let value = Reflect::get(options, &name.into()).map_err(Failure::Thrown)?;
    Ok(value.dyn_into().ok())
}

/// What a call gives, as JavaScript sees it.
pub trait IntoJs {
    /// The value that the promise resolves with.
    fn into_js(self) -> JsValue;
}

macro_rules! into_js {
    ($($type:ty),*) => {$(
        impl IntoJs for $type {
            fn into_js(self) -> JsValue {
                self.into()
            }
        }
    )*};
}
into_js!(JsValue, bool, String);

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

// ---- Calls of classes and handles ---------------------------------------------------------------------------

/// Options of a static call, and what they say about the client.
pub struct StaticOptions {
    /// The options of the call over those of its client; without the latter when that was read before.
    pub options: Value,
    own: JsValue,
    base: JsValue,
    /// The call's own options say nothing of the client.
    is_plain: bool,
    /// The client of an earlier call with the same options.
    known: Option<Client<JsTransport>>,
}

impl StaticOptions {
    fn read(own: &JsValue, base: &JsValue) -> Result<Self, JsValue> {
        let mut given = match optional(own)? {
            Some(value) => value,
            None => Value::Object(Vec::new()),
        };
        let is_plain = !says_something_of_the_client(&given);
        let known = match is_plain {
            true => client::known(base),
            false => None,
        };
        if known.is_none() {
            given = config::merge(optional(base)?.as_ref(), given).map_err(|error| throw::error(&error))?;
        }
        Ok(Self {
            options: given,
            own: own.clone(),
            base: base.clone(),
            is_plain,
            known,
        })
    }

    fn signal(&self) -> Result<Option<Signal>, JsValue> {
        match signal(&self.own)? {
            None => signal(&self.base),
            own => Ok(own),
        }
    }

    fn find(&self, name: &str) -> Result<JsValue, JsValue> {
        for bag in [&self.own, &self.base] {
            if bag.is_object() {
                let value = Reflect::get(bag, &name.into())?;
                if !value.is_undefined() {
                    return Ok(value);
                }
            }
        }
        Ok(JsValue::UNDEFINED)
    }

    /// The client that the options describe. Their names were checked.
    pub fn client(&self) -> Outcome<JsTransport, Client<JsTransport>> {
        if let Some(known) = &self.known {
            return Ok(known.clone());
        }
        let Value::Object(fields) = &self.options else {
            return Err(Error::invalid_request("options must be a plain object").into());
        };
        let settings = config::settings(&Fields::all(fields), &Host)?;
        // All that is said of the client is said by its own options, which never change.
        let says = |name: &str| fields.iter().any(|(known, _)| known == name);
        let whole = self.is_plain && self.base.is_object() && says("apiKey") && says("baseUrl");
        client::make(settings, whole.then_some(&self.base), |name| self.find(name)).map_err(Failure::Thrown)
    }

    /// The options of a static that takes those of the client and `more`.
    pub fn fields(&self, more: &[&str]) -> Result<Fields<'_>, Error> {
        Fields::new("", Some(&self.options), &[more, &CLIENT_OPTIONS])
    }

    /// A call of the table.
    pub fn plan(&self, operation: &'static Operation, args: &[JsValue]) -> Planned<JsTransport> {
        let request = operation.request(Scope::Class, &[], &arguments(args)?, Some(&self.options))?;
        Ok(self.client()?.single(operation, request, None)?)
    }
}

fn says_something_of_the_client(own: &Value) -> bool {
    matches!(own, Value::Object(list) if list.iter().any(|(name, _)| CLIENT_OPTIONS.contains(&name.as_str())))
}

/// A call of a static function.
pub fn on_class(options: &JsValue, base: &JsValue, begin: &dyn Fn(&StaticOptions) -> Begun) -> Promise {
    settled(StaticOptions::read(options, base).and_then(|given| started(given.signal()?, begin(&given))))
}

/// A handle, and the client that it holds.
pub struct BoundHandle {
    /// What it remembers.
    pub record: Record,
    /// What its calls go through.
    pub client: Client<JsTransport>,
}

impl BoundHandle {
    /// The machine that it stands for.
    pub fn machine(&self) -> Machine<JsTransport> {
        let timeout = self
            .record
            .timeout_ms()
            .map(|ms| Duration::from_secs_f64(ms / 1000.0));
        Machine::held(&self.client, self.record.id(), timeout, self.record.proof())
    }

    /// The files of the machine or the volume that it stands for.
    pub fn files(&self, options: Option<&Value>) -> Outcome<JsTransport, FileOwner<JsTransport>> {
        if !self.record.is_volume() {
            return Ok(self.machine().files());
        }
        files::no_user(options)?;
        Ok(FileOwner::of_volume(&self.client, self.record.id()))
    }

    /// A call of the table.
    pub fn plan(
        &self,
        operation: &'static Operation,
        args: &[JsValue],
        options: Option<&Value>,
    ) -> Planned<JsTransport> {
        let args = arguments(args)?;
        if operation.volume.is_some() && self.record.is_volume() {
            return self.files(options)?.plan(operation, &args, options);
        }
        match operation.is_of_machine() {
            true => self.machine().plan(operation, &args, options),
            false => self
                .client
                .plan_on(operation, &[&self.record.id()], &args, options),
        }
    }
}

/// A call on a handle.
pub fn on_handle(
    record: &Record,
    options: &JsValue,
    begin: &dyn Fn(&BoundHandle, Option<&Value>) -> Begun,
) -> Promise {
    settled(read_options(options).and_then(|(read, signal)| {
        let held = BoundHandle {
            record: record.clone(),
            client: client::of(&record.client())?,
        };
        started(signal, begin(&held, read.as_ref()))
    }))
}

/// A call on what the module itself holds: it takes no options but a time and a signal.
pub fn on_held(options: &JsValue, begin: impl FnOnce() -> Begun) -> Promise {
    on_held_with(options, |read| {
        call_options(read)?;
        begin()
    })
}

/// The same, with options that `begin` reads.
pub fn on_held_with(options: &JsValue, begin: impl FnOnce(Option<&Value>) -> Begun) -> Promise {
    settled(read_options(options).and_then(|(read, signal)| started(signal, begin(read.as_ref()))))
}

/// Options of a call on a handle, and the signal among them.
fn read_options(options: &JsValue) -> Result<(Option<Value>, Option<Signal>), JsValue> {
    Ok((optional(options)?, signal(options)?))
}

/// Options, `undefined` being absent.
fn optional(js: &JsValue) -> Result<Option<Value>, JsValue> {
    if js.is_undefined() {
        Ok(None)
    } else {
        convert::value(js).map(Some)
    }
}

/// An argument that is no option.
pub fn argument(js: &JsValue) -> Outcome<JsTransport, Value> {
    convert::value(js).map_err(Failure::Thrown)
}

fn arguments(all: &[JsValue]) -> Outcome<JsTransport, Vec<Option<Value>>> {
    all.iter()
        .map(|js| optional(js).map_err(Failure::Thrown))
        .collect()
}

/// An argument that is an id or another text that must not be empty.
pub fn named(argument_name: &str, js: &JsValue) -> Outcome<JsTransport, String> {
    Ok(options::id(argument_name, &argument(js)?)?)
}

#[wasm_bindgen]
extern "C" {
    /// Options, or what is said to be a signal. A field is read as such, since a name would be made a string of JavaScript in every call.
    type Bag;
    #[wasm_bindgen(catch, method, getter)]
    fn signal(this: &Bag) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch, method, getter, js_name = addEventListener)]
    fn add_event_listener(this: &Bag) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch, method, getter)]
    fn aborted(this: &Bag) -> Result<JsValue, JsValue>;
}

/// The signal among options: anything with the shape of an `AbortSignal`. Other values are rejected by the checks of options.
fn signal(options: &JsValue) -> Result<Option<Signal>, JsValue> {
    if !options.is_object() {
        return Ok(None);
    }
    let signal: Bag = options.unchecked_ref::<Bag>().signal()?.unchecked_into();
    if !signal.is_object() {
        return Ok(None);
    }
    if signal.add_event_listener()?.is_function() && signal.aborted()?.as_bool().is_some() {
        return Ok(Some(signal.unchecked_into()));
    }
    Err(throw::error(&Error::option("signal", "must be an AbortSignal")))
}

// ---- Tasks --------------------------------------------------------------------------------------------------

thread_local! {
    /// Numbers of calls that are free to be used again, and the next new one.
    static FREE: RefCell<VecDeque<u32>> = const { RefCell::new(VecDeque::new()) };
    static NEXT: Cell<u32> = const { Cell::new(0) };
    /// The call that is being polled.
    static RUNNING: Cell<Option<u32>> = const { Cell::new(None) };
}

fn settled(begun: Result<Promise, JsValue>) -> Promise {
    begun.unwrap_or_else(|error| Promise::reject(&error))
}

fn started(signal: Option<Signal>, begun: Begun) -> Result<Promise, JsValue> {
    if let Some(signal) = signal.as_ref().filter(|signal| signal.aborted()) {
        return Err(signal.reason());
    }
    let call = begun.map_err(throw::failure)?;
    Ok(start(match signal {
        Some(signal) => Box::pin(abortable(signal, call)),
        None => call,
    }))
}

/// Runs a call: its promise, which JavaScript rejects when the module crashes.
pub fn start(mut call: Call) -> Promise {
    let place = FREE
        .with_borrow_mut(VecDeque::pop_front)
        .unwrap_or_else(|| NEXT.replace(NEXT.get() + 1));
    let promise = host::pending(place);
    spawn_local(async move {
        let result = poll_fn(|context| {
            RUNNING.set(Some(place));
            let polled = call.as_mut().poll(context);
            RUNNING.set(None);
            polled
        })
        .await;
        FREE.with_borrow_mut(|free| free.push_back(place));
        match result {
            Ok(value) => host::settle(place, true, &value),
            Err(failure) => host::settle(place, false, &throw::failure(failure)),
        }
    });
    promise
}

/// The call that is being polled.
pub fn running() -> Option<u32> {
    RUNNING.get()
}

/// The call that an exception of JavaScript came out of: it unwound the poll of the call, which ends with it. What waits behind it is
/// run by the next task.
#[wasm_bindgen]
pub fn unwound() -> Option<u32> {
    let place = RUNNING.take();
    if place.is_some() {
        spawn_local(async {});
    }
    place
}
