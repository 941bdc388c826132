//! Why an image cannot be had.

/// What kind of reason it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// What was asked for cannot be: a reference that is none, credentials of the wrong form.
    Invalid,
    /// The registry wants other credentials, or any.
    Unauthorized,
    /// The registry has no such image, or none for this platform.
    NotFound,
    /// The registry was asked too often.
    RateLimited,
    /// The registry did not answer, or not as one does.
    Unreachable,
    /// The registry cannot show that it is the one that was meant.
    Untrusted,
    /// The image is hostile, broken or of a kind that is not supported.
    Refused,
    /// There is no room for it.
    NoRoom,
    /// Anything else.
    Failed,
}

impl Kind {
    /// Whether the same request may succeed later.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::RateLimited | Self::Unreachable)
    }
}

/// A reason, for the person who asked for the image. Never holds a credential.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind it is.
    pub kind: Kind,
    /// One sentence.
    pub message: String,
}

impl Error {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }

    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// The same, with where it happened in front.
    pub(super) fn at(mut self, place: impl std::fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }
}

/// What this module answers.
pub type Result<T> = std::result::Result<T, Error>;
