//! Two futures, of which the first to end decides; the other one is dropped.

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::task::Poll;

/// Which of the two ended.
pub enum First<A, B> {
    /// The first one. It also wins when both are ready.
    A(A),
    /// The second one.
    B(B),
}

/// Runs both until one ends.
pub async fn race<A: Future, B: Future>(a: A, b: B) -> First<A::Output, B::Output> {
    let mut a = pin!(a);
    let mut b = pin!(b);
    poll_fn(|context| {
        if let Poll::Ready(value) = a.as_mut().poll(context) {
            return Poll::Ready(First::A(value));
        }
        b.as_mut().poll(context).map(First::B)
    })
    .await
}
