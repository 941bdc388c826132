//! Calls that are one request: checked and described first, then sent.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::call::{Call, Client, Failure, Outcome, Pending, Sent};
use super::files::BYTES;
use super::orphan::Unclaimed;
use super::policy::{self, Echo};
use crate::core::error::Error;
use crate::transport::{Answer, Content, Transport};

/// The end of a call of one request.
pub type Finishing<T> = Pin<Box<dyn Future<Output = Outcome<T, Sent<<T as Transport>::Answer>>>>>;

/// What makes a call of one request: it, or what is wrong with the caller's options.
pub type Planned<T> = Outcome<T, SingleRequest<T>>;

/// A call that is one request, whose answer is what the caller gets: checked, and not yet sent. Most calls are.
#[must_use = "it is not sent yet"]
pub struct SingleRequest<T> {
    client: Client<T>,
    call: Call,
    /// The one field of the answer that the caller gets. Its decoder demands it.
    field: Option<&'static str>,
    /// What becomes of an error.
    failed: fn(Error) -> Error,
    making: Option<Creation>,
    told: Vec<Echo>,
}

/// What a call sees to when it makes a machine.
#[derive(Clone, Copy)]
struct Creation {
    /// The caller chose the idempotency key.
    own_key: bool,
    /// It is sent until its answer is certain.
    again: bool,
}

impl<T: Transport> SingleRequest<T> {
    /// The caller gets the whole answer; nothing when it is not read.
    pub fn new(client: &Client<T>, call: Call) -> Self {
        Self {
            client: client.clone(),
            call,
            field: None,
            failed: |error| error,
            making: None,
            told: Vec::new(),
        }
    }

    /// It makes a machine, which must not be left without an owner: see [`Unclaimed`]. `again`: the same is sent until the answer is
    /// certain.
    pub(super) fn making(mut self, own_key: bool, again: bool) -> Self {
        self.making = Some(Creation { own_key, again });
        self
    }

    /// It sends what a server may not know; the answer must tell it back.
    pub(super) fn telling(mut self, what: Echo) -> Self {
        self.told.push(what);
        self
    }

    /// The caller gets one field of the answer.
    pub fn field(mut self, name: &'static str) -> Self {
        self.field = Some(name);
        self
    }

    /// It sends bytes.
    pub fn content(mut self, content: Content) -> Self {
        self.call.content = Some((content, BYTES.to_owned()));
        self
    }

    /// The caller gets other errors.
    pub fn failed(mut self, error: fn(Error) -> Error) -> Self {
        self.failed = error;
        self
    }

    /// Sends the proof that a create gave its machine.
    pub(super) fn with_proof(mut self, proof: Option<String>) -> Self {
        self.call.proof = proof;
        self
    }

    /// What it goes through.
    pub fn transport(&self) -> &T {
        self.client.transport()
    }

    /// Its client.
    pub fn client(&self) -> &Client<T> {
        &self.client
    }

    /// Its HTTP time.
    pub fn timeout(&self) -> Duration {
        self.call.timeout
    }

    /// Sends it.
    pub fn send(self) -> Pending<'static, T> {
        Box::pin(async { Ok(self.finish().await?.answer) })
    }

    /// Sends it, and gives what came beside the answer too.
    pub fn finish(self) -> Finishing<T> {
        Box::pin(self.end())
    }

    async fn end(self) -> Outcome<T, Sent<T::Answer>> {
        let count = Cell::new(0);
        let (client, call) = (&self.client, &self.call);
        let outcome = match self.making {
            None => client.call_counted(call, &count).await,
            Some(making) => {
                let mut unclaimed = Unclaimed::new(client, call, making.own_key, count);
                let outcome = match making.again {
                    true => client.call_until_certain(call, &unclaimed.sent).await,
                    false => client.call_counted(call, &unclaimed.sent).await,
                };
                unclaimed.settle(&outcome);
                outcome
            }
        };
        let mut sent = match outcome {
            Err(Failure::Error(error)) => return Err((self.failed)(error).into()),
            outcome => outcome?,
        };
        if let Some(what) = self.told.iter().find(|what| !what.is_in(&sent.answer)) {
            return Err(policy::close(client, call, *what, &sent.answer).await);
        }
        if let Some(name) = self.field {
            sent.answer = sent.answer.any(name).ok_or_else(|| {
                Error::invalid_response(format!("{}: the answer has no {name}", call.operation()))
            })?;
        }
        Ok(sent)
    }
}
