//! What every exported function does around its call: options, client, signal, errors.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{ready, Future};
use std::pin::Pin;
use std::time::Duration;

use js_sys::{Promise, Reflect};
use wasm_bindgen::prelude::*;

use super::abort::{abortable, Signal};
use super::convert;
use super::task::{self, Answered};
use super::throw;
use super::transport::{Host, JsAnswer, JsTransport};
use crate::client::call::{Outcome, Planned, Sent, Single};
use crate::client::machine::call_options;
use crate::client::{Client, Failure};
use crate::core::config::{self, CLIENT_OPTIONS};
use crate::core::error::Error;
use crate::core::machine;
use crate::core::options::{Fields, Value};
use crate::transport::{Reply, TransportError};

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

/// A call on a handle that is one request. It begins before this returns: the check can borrow what it is given.
pub fn single(options: &JsValue, plan: &dyn Fn(Option<&Value>) -> Planned<JsTransport>) -> Promise {
    asked(options, &|read| plan(read).map(Asked::plainly))
}

/// A call on a handle that is one request, of whose answer something is made.
pub fn asked(options: &JsValue, plan: &dyn Fn(Option<&Value>) -> Outcome<JsTransport, Asked>) -> Promise {
    settled(optional(options).and_then(|read| {
        let signal = match options.is_object() {
            true => signal(Reflect::get(options, &"signal".into())?)?,
            false => None,
        };
        begin(signal, &|| plan(read.as_ref()))
    }))
}

/// The same, of a call that takes no options but a time and a signal.
pub fn single_timed(options: &JsValue, plan: &dyn Fn(Option<Duration>) -> Planned<JsTransport>) -> Promise {
    single(options, &|read| plan(call_options(read, &[])?.0))
}

/// The same, of a static function.
pub fn single_on_class(
    options: &JsValue,
    client: &JsValue,
    plan: &dyn Fn(&Given) -> Planned<JsTransport>,
) -> Promise {
    asked_on_class(options, client, &|given| plan(given).map(Asked::plainly))
}

/// A static function of one request, of whose answer something is made.
pub fn asked_on_class(
    options: &JsValue,
    client: &JsValue,
    plan: &dyn Fn(&Given) -> Outcome<JsTransport, Asked>,
) -> Promise {
    settled(Given::read(options, client).and_then(|given| begin(given.signal.clone(), &|| plan(&given))))
}

/// A call of one request, and what the caller gets of its answer.
pub struct Asked {
    single: Single<JsTransport>,
    /// Nothing: the answer itself.
    make: Option<Make>,
}

type Make = Box<dyn FnOnce(Sent<JsAnswer>) -> Result<JsValue, Error>>;

impl Asked {
    /// The caller gets the answer, or the field of it.
    pub fn plainly(single: Single<JsTransport>) -> Self {
        Self { single, make: None }
    }

    /// The caller gets what is made of the answer.
    pub fn made(
        single: Single<JsTransport>,
        make: impl FnOnce(Sent<JsAnswer>) -> Result<JsValue, Error> + 'static,
    ) -> Self {
        let make: Option<Make> = Some(Box::new(make));
        Self { single, make }
    }

    /// The caller gets a handle, which is made of the answer and the client.
    pub fn handle(
        single: Single<JsTransport>,
        make: fn(&Client<JsTransport>, Sent<JsAnswer>) -> Result<JsValue, Error>,
    ) -> Self {
        let client = single.client().clone();
        Self::made(single, move |sent| make(&client, sent))
    }

    /// What it goes through.
    pub fn transport(&self) -> &JsTransport {
        self.single.transport()
    }

    /// Whether JavaScript can give the answer to the caller.
    pub fn is_plain(&self) -> bool {
        self.make.is_none()
    }

    /// Ends with a good answer.
    pub fn end(self, sent: Sent<JsAnswer>) -> Result<JsValue, Error> {
        match self.make {
            Some(make) => make(sent),
            None => Ok(sent.answer.0),
        }
    }

    /// Sends it, or goes on after a first answer that was none.
    fn finish(self, first: Option<Result<Reply<JsAnswer>, TransportError>>) -> Call {
        let finishing = self.single.finish(first);
        let make = self.make;
        Box::pin(async {
            let sent = finishing.await?;
            Ok(match make {
                Some(make) => make(sent)?,
                None => sent.answer.0,
            })
        })
    }

    /// What follows a first answer that was none.
    pub fn go_on(self, answered: Answered) -> Promise {
        let transport = self.transport().clone();
        let call = self.finish(Some(transport.reply(answered)));
        task::start(Box::pin(run(transport, None, call)))
    }
}

fn settled(begun: Result<Promise, JsValue>) -> Promise {
    begun.unwrap_or_else(|error| Promise::reject(&error))
}

fn begin(signal: Option<Signal>, plan: &dyn Fn() -> Outcome<JsTransport, Asked>) -> Result<Promise, JsValue> {
    if let Some(signal) = signal.as_ref().filter(|signal| signal.aborted()) {
        return Err(signal.reason());
    }
    let asked = plan().map_err(|failure| throw::failure(failure, None))?;
    if signal.is_none() {
        if let Some(request) = asked.single.bare() {
            return Ok(task::ask(asked, request));
        }
    }
    let transport = asked.transport().clone();
    let call = asked.finish(None);
    Ok(task::start(Box::pin(run(transport, signal, call))))
}

// From here on nothing is generic: it is compiled once.

type OnClass = Box<dyn FnOnce(Given) -> Call>;
type OnHandle = Box<dyn FnOnce(Option<Value>) -> Call>;
type OnHandleTimed = Box<dyn FnOnce(Option<Duration>) -> Call>;

fn class_call(options: JsValue, client: JsValue, call: OnClass) -> Promise {
    task::start(Box::pin(async move {
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
    task::start(Box::pin(async move {
        let read = optional(&options)?;
        let signal = if options.is_object() {
            signal(Reflect::get(&options, &"signal".into())?)?
        } else {
            None
        };
        run(transport, signal, call(read)).await
    }))
}

async fn run(transport: JsTransport, signal: Option<Signal>, call: Call) -> Result<JsValue, JsValue> {
    abortable(
        signal.as_ref(),
        Box::pin(async {
            call.await.map_err(|failure| {
                let cause = match &failure {
                    Failure::Error(error) => transport.take_cause(&error.message),
                    Failure::Thrown(_) => None,
                };
                throw::failure(failure, cause)
            })
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
    /// The options of the call over those of its client; without the latter when that is [`Given::known`].
    pub options: Value,
    transport: JsTransport,
    signal: Option<Signal>,
    /// The client of an earlier call with the same options.
    known: Option<Client<JsTransport>>,
}

/// What was made of the options of a `Nullspace`, which never change: reading them again would be most of a short call.
struct Known {
    options: JsValue,
    transport: JsTransport,
    signal: Option<Signal>,
    client: Client<JsTransport>,
}

/// Clients that are remembered. More only cost the time of reading their options.
const KNOWN: usize = 8;

thread_local! {
    static CLIENTS: RefCell<VecDeque<Known>> = const { RefCell::new(VecDeque::new()) };
}

fn says_nothing_of_the_client(own: &Value) -> bool {
    matches!(own, Value::Object(list) if !list.iter().any(|(name, _)| CLIENT_OPTIONS.contains(&name.as_str())))
}

impl Known {
    /// The client of an object that was read before, for a call with these options of its own.
    fn find(object: &JsValue, own: Value) -> Result<Given, Value> {
        if !says_nothing_of_the_client(&own) {
            return Err(own);
        }
        CLIENTS.with_borrow(|known| {
            let Some(known) = known.iter().find(|known| known.options == *object) else {
                return Err(own);
            };
            Ok(Given {
                options: own,
                transport: known.transport.clone(),
                signal: known.signal.clone(),
                known: Some(known.client.clone()),
            })
        })
    }

    /// Remembers what was read. Not when a part of it came from the environment, which may be another one at the next call.
    fn remember(object: &JsValue, signal: Option<Signal>, client: &Client<JsTransport>) {
        let Ok(Value::Object(read)) = convert::value(object) else {
            return;
        };
        let has = |wanted: &str| read.iter().any(|(name, _)| name == wanted);
        if !has("apiKey") || !has("baseUrl") {
            return;
        }
        let known = Known {
            options: object.clone(),
            transport: client.transport().clone(),
            signal,
            client: client.clone(),
        };
        CLIENTS.with_borrow_mut(|clients| {
            clients.truncate(KNOWN - 1);
            clients.push_front(known);
        });
    }
}

impl Given {
    /// Reads the options of a call and those of the client it was made on.
    pub fn read(options: &JsValue, client: &JsValue) -> Result<Self, JsValue> {
        let mut own = match optional(options)? {
            Some(value) => value,
            None => Value::Object(Vec::new()),
        };
        if client.is_object() {
            match Known::find(client, own) {
                Ok(given) => return Ok(given),
                Err(unknown) => own = unknown,
            }
        }
        let is_plain = says_nothing_of_the_client(&own);
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
        let mut given = Self {
            options: merged,
            transport: JsTransport::new(find)?,
            signal,
            known: None,
        };
        if client.is_object() && is_plain {
            // What is wrong with them is said by the call itself.
            let read = optional(client)?;
            let fields = Fields::new("", read.as_ref(), &[&CLIENT_OPTIONS]).ok();
            if let Some(Ok(made)) = fields.map(|fields| given.client(&fields)) {
                Known::remember(client, given.signal.clone(), &made);
                given.known = Some(made);
            }
        }
        Ok(given)
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
        if let Some(known) = &self.known {
            return Ok(known.clone());
        }
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
