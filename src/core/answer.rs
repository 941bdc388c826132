//! What came of a request, as far as decisions look at it: an answer, or why there is none.

use super::error::Cause;

/// A successful answer, decoded. The client looks at a few fields; all else goes to the caller as it is.
pub trait Answer: Clone + 'static {
    /// Text of a field, by its JavaScript name.
    fn text(&self, field: &str) -> Option<String>;
    /// A flag.
    fn flag(&self, field: &str) -> Option<bool>;
    /// A number.
    fn number(&self, field: &str) -> Option<f64>;
    /// A field as it is, whatever it is: what only passes through.
    fn any(&self, field: &str) -> Option<Self>
    where
        Self: Sized;
    /// A field that is an object or array.
    fn inner(&self, field: &str) -> Option<Self>
    where
        Self: Sized;
    /// Shows the items of a list, in order.
    fn each(&self, see: &mut dyn FnMut(&Self));
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq)]
pub struct TransportError {
    /// How far it got.
    pub phase: Phase,
    /// The time limit ended it.
    pub timed_out: bool,
    /// In words.
    pub reason: String,
    /// What was thrown.
    pub cause: Cause,
}

/// How far a request without an answer got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No connection.
    Connect,
    /// The request was not sent whole.
    Write,
    /// It was sent, and no whole answer came.
    Read,
    /// What came was no HTTP.
    Protocol,
    /// A whole answer came, and is not what the API promises.
    Decode,
}
