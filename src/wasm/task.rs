//! Calls under way, and the requests they wait for.
//!
//! `wasm-bindgen-futures` takes two promises and a queue for every call, and two closures and a promise for everything
//! that is awaited: more than the rest of a short call. Here a call goes on inside the function that JavaScript called,
//! until it must wait, and again inside [`exchanged`], when its answer came. What waits for another promise uses
//! `JsFuture` all the same.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::single::Asked;
use super::transport::JsAnswer;
use super::{host, throw};
use crate::client::call::Sent;
use crate::transport::Request;

/// A call, as JavaScript sees its end.
pub type Work = Pin<Box<dyn Future<Output = Result<JsValue, JsValue>>>>;

/// Things under numbers that are used again. `None`: the number is taken, the thing is elsewhere for a moment.
struct Places<T> {
    all: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Places<T> {
    const fn new() -> Self {
        Self {
            all: Vec::new(),
            free: Vec::new(),
        }
    }

    fn reserve(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            self.all.len() as u32 - 1
        })
    }

    fn put(&mut self, place: u32, thing: T) {
        if let Some(slot) = self.all.get_mut(place as usize) {
            *slot = Some(thing);
        }
    }

    fn take(&mut self, place: u32) -> Option<T> {
        self.all.get_mut(place as usize).and_then(Option::take)
    }

    fn release(&mut self, place: u32) {
        self.free.push(place);
    }
}

thread_local! {
    static TASKS: RefCell<Places<(Work, Waker)>> = const { RefCell::new(Places::new()) };
    static REQUESTS: RefCell<Places<Under>> = const { RefCell::new(Places::new()) };
    /// Tasks that can go on.
    static READY: RefCell<VecDeque<u32>> = const { RefCell::new(VecDeque::new()) };
    /// Whether those are looked at before JavaScript goes on.
    static AWAKE: Cell<bool> = const { Cell::new(false) };
    /// Tasks that run at this moment. One begins inside another when a function of the caller, such as a hook, makes a call.
    static RUNNING: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// Wakes the task with this number. One that comes late wakes whoever has the number then, which harms nobody.
struct Wakeup(u32);

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        READY.with_borrow_mut(|ready| ready.push_back(self.0));
        // Woken by something outside: whatever it holds borrowed at this moment is free again in a microtask.
        if !AWAKE.get() {
            wasm_bindgen_futures::spawn_local(async { awake(|| ()) });
        }
    }
}

/// Does something, and then whatever can go on because of it.
fn awake<V>(act: impl FnOnce() -> V) -> V {
    if AWAKE.replace(true) {
        return act();
    }
    let value = act();
    while let Some(place) = READY.with_borrow_mut(VecDeque::pop_front) {
        // Ended meanwhile, or woken twice.
        let Some((work, waker)) = TASKS.with_borrow_mut(|tasks| tasks.take(place)) else {
            continue;
        };
        if let Some(result) = go_on(place, work, waker) {
            host::settle(place, result.is_ok(), &result.unwrap_or_else(|error| error));
        }
    }
    AWAKE.set(false);
    value
}

/// Called by lib.js: an exception of JavaScript, such as one that a getter of the caller threw, has come through the first step of a call,
/// which fails with it. Others go on.
#[wasm_bindgen]
pub fn unwound() {
    AWAKE.set(false);
    wasm_bindgen_futures::spawn_local(async { awake(|| ()) });
}

/// Called by runtime.js: the same, in a later step, so that nothing else runs. Whether a call waits for its end: it fails with the exception.
#[wasm_bindgen]
pub fn failed(exception: &JsValue) -> bool {
    unwound();
    let Some(place) = RUNNING.take().pop() else {
        return false;
    };
    TASKS.with_borrow_mut(|tasks| tasks.release(place));
    host::settle(place, false, exception)
}

/// Polls a task. Its result, when it has ended; otherwise it is kept.
fn go_on(place: u32, mut work: Work, waker: Waker) -> Option<Result<JsValue, JsValue>> {
    let outer = RUNNING.with_borrow_mut(|running| {
        running.push(place);
        running.len() - 1
    });
    let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
    // Also those that an exception ended.
    RUNNING.with_borrow_mut(|running| running.truncate(outer));
    match polled {
        Poll::Pending => {
            TASKS.with_borrow_mut(|tasks| tasks.put(place, (work, waker)));
            None
        }
        Poll::Ready(result) => {
            // What it holds may call JavaScript when it goes: nothing is borrowed here.
            drop(work);
            TASKS.with_borrow_mut(|tasks| tasks.release(place));
            Some(result)
        }
    }
}

/// Starts a call: it runs until it must wait.
pub fn start(work: Work) -> Promise {
    awake(|| {
        let place = TASKS.with_borrow_mut(Places::reserve);
        match go_on(place, work, Waker::from(Arc::new(Wakeup(place)))) {
            Some(Ok(value)) => Promise::resolve(&value),
            Some(Err(error)) => Promise::reject(&error),
            None => host::pending(place),
        }
    })
}

/// How a request ended.
pub struct Answered {
    /// The decoded answer of a 2xx status.
    pub answer: Option<JsValue>,
    /// Header `x-nullspace-dispatch-proof`.
    pub dispatch_proof: Option<String>,
    /// Everything else. Each look at it leaves the module.
    pub outcome: host::Outcome,
}

/// A request under way.
enum Under {
    Waiting(Waker),
    Answered(Answered),
    /// JavaScript settles its call.
    Asked(Box<Asked>),
}

/// Begins a call that is one request and needs no function of the caller's on its way. JavaScript settles it: with a good answer
/// after [`answered`] or [`made`], or with what [`unanswered`] gives.
pub fn ask(asked: Asked, (request, field): (Request, Option<&str>)) -> Promise {
    let transport = asked.transport().clone();
    let plain = asked.is_plain();
    let place = REQUESTS.with_borrow_mut(|requests| {
        let place = requests.reserve();
        requests.put(place, Under::Asked(Box::new(asked)));
        place
    });
    transport.ask(place, &request, plain, field)
}

fn take_asked(place: u32) -> Option<Box<Asked>> {
    REQUESTS.with_borrow_mut(|requests| {
        let under = requests.take(place);
        requests.release(place);
        match under {
            Some(Under::Asked(asked)) => Some(asked),
            _ => None,
        }
    })
}

/// Called by runtime.js: a good answer has come, and the caller gets it as it is.
#[wasm_bindgen]
pub fn answered(place: u32) {
    drop(take_asked(place));
}

/// Called by runtime.js: a good answer has come. What the caller gets.
#[wasm_bindgen]
pub fn made(place: u32, answer: JsValue, proof: Option<String>) -> Result<JsValue, JsValue> {
    let Some(asked) = take_asked(place) else {
        return Ok(answer);
    };
    let sent = Sent {
        answer: JsAnswer(answer),
        dispatch_proof: proof,
    };
    asked.end(sent).map_err(|error| throw::error(&error, None))
}

/// Called by runtime.js: no good answer has come. What the call gives in the end.
#[wasm_bindgen]
pub fn unanswered(place: u32, proof: Option<String>, outcome: JsValue) -> Promise {
    let answered = Answered {
        answer: None,
        dispatch_proof: proof,
        outcome: outcome.unchecked_into(),
    };
    match take_asked(place) {
        Some(asked) => asked.go_on(answered),
        None => Promise::resolve(&JsValue::UNDEFINED),
    }
}

/// Called by runtime.js: a request has ended. `good`: with a 2xx status and a decoded answer.
#[wasm_bindgen]
pub fn exchanged(place: u32, good: bool, answer: JsValue, proof: Option<String>, outcome: JsValue) {
    let answered = Answered {
        answer: good.then_some(answer),
        dispatch_proof: proof,
        outcome: outcome.unchecked_into(),
    };
    awake(|| {
        let waiting = REQUESTS.with_borrow_mut(|requests| {
            let waiting = requests.take(place);
            requests.put(place, Under::Answered(answered));
            waiting
        });
        if let Some(Under::Waiting(waker)) = waiting {
            waker.wake();
        }
    });
}

/// The hold on a request: it is ended with its owner, so an aborted or timed out call leaves no open socket.
#[must_use]
pub struct Exchange {
    place: u32,
    over: bool,
}

impl Exchange {
    /// `send` gets the number under which JavaScript hands the answer in.
    pub fn start(send: impl FnOnce(u32)) -> Self {
        let place = REQUESTS.with_borrow_mut(Places::reserve);
        send(place);
        Self { place, over: false }
    }
}

impl Future for Exchange {
    type Output = Answered;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answered> {
        let place = self.place;
        let answered = REQUESTS.with_borrow_mut(|requests| match requests.take(place) {
            Some(Under::Answered(answered)) => {
                requests.release(place);
                Some(answered)
            }
            _ => {
                requests.put(place, Under::Waiting(context.waker().clone()));
                None
            }
        });
        match answered {
            Some(answered) => {
                self.over = true;
                Poll::Ready(answered)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        host::cancel(self.place);
        REQUESTS.with_borrow_mut(|requests| {
            requests.take(self.place);
            requests.release(self.place);
        });
    }
}
