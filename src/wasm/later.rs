//! What JavaScript gives later, by number. `JsFuture` makes two closures for each promise, and JavaScript a finalizer for each of them:
//! too much for what happens in every call (bench/NOTES.md). Requests wait here instead.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use wasm_bindgen::prelude::*;

#[derive(Default)]
struct Slot {
    value: Option<JsValue>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Slots {
    all: Vec<Slot>,
    free: Vec<usize>,
}

thread_local! {
    static SLOTS: RefCell<Slots> = RefCell::default();
}

/// A value that JavaScript gives by [`give`], once. Its number is free for another one when it is dropped: then nothing may be given any
/// more.
pub struct Later(usize);

impl Later {
    /// Takes a number.
    pub fn new() -> Self {
        SLOTS.with_borrow_mut(|slots| {
            Self(slots.free.pop().unwrap_or_else(|| {
                slots.all.push(Slot::default());
                slots.all.len() - 1
            }))
        })
    }

    /// What JavaScript calls it.
    pub fn number(&self) -> u32 {
        self.0 as u32
    }
}

impl Future for Later {
    type Output = JsValue;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<JsValue> {
        SLOTS.with_borrow_mut(|slots| {
            let slot = &mut slots.all[self.0];
            match slot.value.take() {
                Some(value) => Poll::Ready(value),
                None => {
                    slot.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        SLOTS.with_borrow_mut(|slots| {
            slots.all[self.0] = Slot::default();
            slots.free.push(self.0);
        });
    }
}

/// Gives a value to who waits for it.
#[wasm_bindgen]
pub fn give(number: u32, value: JsValue) {
    let waker = SLOTS.with_borrow_mut(|slots| {
        let slot = slots.all.get_mut(number as usize)?;
        slot.value = Some(value);
        slot.waker.take()
    });
    if let Some(waker) = waker {
        waker.wake();
    }
}
