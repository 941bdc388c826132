//! The key that the caller's function gives: asked for once, shared by the calls that wait for it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// What the function answered last, and who waits for its answer.
#[derive(Default)]
pub(super) struct AskedKey {
    held: RefCell<Option<String>>,
    asking: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl AskedKey {
    /// The key, when it is known.
    pub fn held(&self) -> Option<String> {
        self.held.borrow().clone()
    }

    /// Waits until the key is known (`None`) or it is this call's turn to ask.
    pub async fn turn(&self) -> Option<Turn<'_>> {
        poll_fn(|context| {
            if self.held.borrow().is_some() {
                return Poll::Ready(None);
            }
            if self.asking.replace(true) {
                self.waiting.borrow_mut().push(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(Some(Turn(self)))
        })
        .await
    }

    /// A server refused this key. One that was given meanwhile is kept.
    pub fn forget(&self, refused: &str) {
        let mut held = self.held.borrow_mut();
        if held.as_deref() == Some(refused) {
            *held = None;
        }
    }
}

/// The right to ask. A call that fails or is given up while it asks passes it on.
pub(super) struct Turn<'a>(&'a AskedKey);

impl Turn<'_> {
    /// The function answered.
    pub fn done(self, key: &str) {
        *self.0.held.borrow_mut() = Some(key.to_owned());
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.asking.set(false);
        for waker in self.0.waiting.take() {
            waker.wake();
        }
    }
}
