//! Calls that are one request, as exported functions make them: checked in one step while JavaScript waits, and mostly settled by
//! JavaScript. What needs more than that goes on as a task.

use std::time::Duration;

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::abort::Signal;
use super::call::{options_of_handle, run, Call, Given};
use super::task::{self, Answered};
use super::throw;
use super::transport::{JsAnswer, JsTransport};
use crate::client::call::{Outcome, Sent};
use crate::client::machine::call_options;
use crate::client::single::{Planned, Single};
use crate::client::Client;
use crate::core::error::Error;
use crate::core::options::Value;
use crate::transport::{Reply, TransportError};

/// A call on a handle that is one request. It begins before this returns: the check can borrow what it is given.
pub fn single(options: &JsValue, plan: &dyn Fn(Option<&Value>) -> Planned<JsTransport>) -> Promise {
    asked(options, &|read| plan(read).map(Asked::plainly))
}

/// A call on a handle that is one request, of whose answer something is made.
pub fn asked(options: &JsValue, plan: &dyn Fn(Option<&Value>) -> Outcome<JsTransport, Asked>) -> Promise {
    settled(options_of_handle(options).and_then(|(read, signal)| begin(signal, &|| plan(read.as_ref()))))
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
    settled(Given::read(options, client).and_then(|given| begin(given.signal(), &|| plan(&given))))
}

/// A call of one request, and what the caller gets of its answer.
pub struct Asked {
    single: Single<JsTransport>,
    /// Nothing: the answer itself.
    make: Option<Make>,
}

type Make = Box<dyn FnOnce(Sent<JsAnswer>) -> Result<JsValue, Error>>;

/// What the caller gets of a good answer.
fn given(make: Option<Make>, sent: Sent<JsAnswer>) -> Result<JsValue, Error> {
    match make {
        Some(make) => make(sent),
        None => Ok(sent.answer.0),
    }
}

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
        given(self.make, sent)
    }

    /// Sends it, or goes on after a first answer that was none.
    fn finish(self, first: Option<Result<Reply<JsAnswer>, TransportError>>) -> Call {
        let finishing = self.single.finish(first);
        let make = self.make;
        Box::pin(async { Ok(given(make, finishing.await?)?) })
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
