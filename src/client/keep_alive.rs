//! A lease that is renewed until somebody says stop. Source: PROTOCOL.md section 3, "Operations".

use std::cell::{Cell, RefCell};
use std::future::{poll_fn, Future};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::call::{Failure, Outcome};
use super::machine::Machine;
use super::plan::timed;
use super::single::Planned;
use crate::core::error::Kind;
use crate::core::lease;
use crate::core::options::Value;
use crate::surface::machines;
use crate::transport::Transport;

/// A renewal that goes on by itself, until [`KeepAlive::close`] and not merely until it is dropped.
#[must_use = "it goes on until `close`"]
pub struct KeepAlive<T: Transport> {
    state: Rc<State<T::Thrown>>,
}

struct State<X> {
    stopped: Cell<bool>,
    ended: Cell<bool>,
    /// What ended it by itself, until somebody was told.
    failed: RefCell<Option<Failure<X>>>,
    /// Of the renewal.
    renewal: Cell<Option<Waker>>,
    /// Of those who wait for its end.
    waiting: RefCell<Vec<Waker>>,
}

impl<T: Transport + 'static> Machine<T>
where
    T::Thrown: 'static,
{
    /// Renews the lease now, and then again and again.
    ///
    /// A renewal without an answer is tried again while the lease lasts; anything else ends it at once.
    pub async fn keep_alive(&self, plan: &lease::KeepAlive) -> Outcome<T, KeepAlive<T>> {
        self.renewal(plan)?.send().await?;
        let state = Rc::new(State {
            stopped: Cell::new(false),
            ended: Cell::new(false),
            failed: RefCell::new(None),
            renewal: Cell::new(None),
            waiting: RefCell::new(Vec::new()),
        });
        let (machine, plan, shared) = (self.clone(), plan.clone(), state.clone());
        self.transport().spawn(async move {
            // Dropped when it is stopped: the timer ends, and so does a request under way.
            let mut renewal = pin!(machine.renew(&plan));
            let failure = poll_fn(|context| {
                if shared.stopped.get() {
                    return Poll::Ready(None);
                }
                shared.renewal.set(Some(context.waker().clone()));
                renewal.as_mut().poll(context).map(Some)
            })
            .await;
            *shared.failed.borrow_mut() = failure;
            shared.ended.set(true);
            shared.waiting.take().into_iter().for_each(Waker::wake);
        });
        Ok(KeepAlive { state })
    }

    fn renewal(&self, plan: &lease::KeepAlive) -> Planned<T> {
        let mut options = Vec::new();
        if let Some(action) = &plan.action {
            options.push(("timeoutAction".to_owned(), Value::Text(action.clone())));
        }
        if let Some(Value::Object(time)) = timed(plan.request_timeout) {
            options.extend(time);
        }
        let lease = Value::Number(plan.lease.as_secs_f64());
        self.plan(
            &machines::SET_TIMEOUT,
            &[Some(lease)],
            Some(&Value::Object(options)),
        )
    }

    /// Ends with a failure only.
    async fn renew(&self, plan: &lease::KeepAlive) -> Failure<T::Thrown> {
        let every = plan.every;
        let transport = self.transport();
        let lease = plan.lease.as_millis() as f64;
        let mut renewed = transport.now_ms();
        let mut pause = every;
        loop {
            transport.sleep(pause).await;
            let asked = transport.now_ms();
            let sent = match self.renewal(plan) {
                Ok(call) => call.send().await,
                Err(failure) => Err(failure),
            };
            match sent {
                Ok(_) => {
                    renewed = asked;
                    pause = every;
                }
                // Nobody knows whether it was renewed: asking once more does no harm.
                Err(Failure::Error(error))
                    if error.kind == Kind::Transport && transport.now_ms() - renewed < lease =>
                {
                    pause = every / 4;
                }
                Err(failure) => return failure,
            }
        }
    }
}

impl<T: Transport> KeepAlive<T> {
    /// Ends the renewal; the lease stays as it is. Fails with what had ended it before, unless somebody was told.
    pub async fn close(&self) -> Outcome<T, ()> {
        self.state.stopped.set(true);
        if let Some(waker) = self.state.renewal.take() {
            waker.wake();
        }
        self.ended().await
    }

    /// Waits for its end. Fails, once, with what ended it by itself.
    pub async fn ended(&self) -> Outcome<T, ()> {
        poll_fn(|context| {
            if self.state.ended.get() {
                return Poll::Ready(());
            }
            self.state.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
        match self.state.failed.borrow_mut().take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }
}
