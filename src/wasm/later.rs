//! What JavaScript gives later, by number. `JsFuture` makes two closures for each promise, and JavaScript a finalizer for each of them:
//! too much for what happens in every call (bench/NOTES.md). Requests wait here instead.

use std::cell::RefCell;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use wasm_bindgen::prelude::*;

enum Slot {
    Free,
    Waiting(Waker),
    Given(JsValue),
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
            let number = slots.free.pop().unwrap_or(slots.all.len());
            let nobody = Slot::Waiting(Waker::noop().clone());
            match slots.all.get_mut(number) {
                Some(slot) => *slot = nobody,
                None => slots.all.push(nobody),
            }
            Self(number)
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
        let waiting = Slot::Waiting(context.waker().clone());
        match SLOTS.with_borrow_mut(|slots| mem::replace(&mut slots.all[self.0], waiting)) {
            Slot::Given(value) => Poll::Ready(value),
            _ => Poll::Pending,
        }
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        SLOTS.with_borrow_mut(|slots| {
            slots.all[self.0] = Slot::Free;
            slots.free.push(self.0);
        });
    }
}

/// Gives a value. To nobody when nobody waits.
#[wasm_bindgen]
pub fn give(number: u32, value: JsValue) {
    let waker = SLOTS.with_borrow_mut(|slots| match slots.all.get_mut(number as usize) {
        Some(slot @ Slot::Waiting(_)) => match mem::replace(slot, Slot::Given(value)) {
            Slot::Waiting(waker) => Some(waker),
            _ => None,
        },
        _ => None,
    });
    if let Some(waker) = waker {
        waker.wake();
    }
}
