//! Machines that nobody would hold: what a call was making when its caller gave it up.

use std::cell::Cell;

use super::call::{Call, Client, Failure, Outcome};
use super::machine::Machine;
use crate::core::error::{Error, Kind};
use crate::transport::{Decoder, Transport};

/// A create or fork under way. Given up half-way (an abort, a hook that throws, an answer that cannot be read), the
/// machine may be made or not: the same key is sent once more in the background to learn its id, and it is destroyed.
/// Best effort; its lease ends it otherwise.
///
/// Not with a key that the caller chose: it may stand for a machine that somebody already uses, and the caller can ask
/// for it again.
pub(super) struct Unclaimed<'a, T: Transport> {
    client: &'a Client<T>,
    call: &'a Call,
    /// Requests sent. Before the first one there is nothing to clean up.
    pub sent: Cell<u32>,
    settled: bool,
}

impl<'a, T: Transport> Unclaimed<'a, T> {
    /// `own_key`: the caller chose the idempotency key. `sent`: so far.
    pub fn new(client: &'a Client<T>, call: &'a Call, own_key: bool, sent: Cell<u32>) -> Self {
        Self {
            client,
            call,
            sent,
            settled: own_key,
        }
    }

    /// The call has ended by itself. With a machine, or with an error that says that there is none, nothing is left.
    pub fn settle<V>(&mut self, result: &Outcome<T, V>) {
        let unread = |error: &Error| error.kind == Kind::InvalidResponse;
        self.settled |= match result {
            Ok(_) => true,
            Err(Failure::Error(error)) => !unread(error),
            Err(Failure::Thrown(_)) => false,
        };
    }
}

impl<T: Transport> Drop for Unclaimed<'_, T> {
    fn drop(&mut self) {
        if self.settled || self.sent.get() == 0 {
            return;
        }
        let (client, mut call) = (self.client.quiet(), self.call.clone());
        // Only the id matters, and the rest may be what could not be read.
        call.decoder = Decoder::MachineRow;
        self.client.transport().spawn(async move {
            let Ok(sent) = client.call_until_certain(&call, &Cell::new(0)).await else {
                return;
            };
            if let Ok(machine) = Machine::made(&client, sent, call.timeout) {
                let _ = machine.end().await;
            }
        });
    }
}

/// A machine of `runOnce`: destroyed also when its caller gives up while the command runs or the kill is under way.
pub(super) struct KillOnDrop<T: Transport> {
    machine: Machine<T>,
    gone: bool,
}

impl<T: Transport> KillOnDrop<T> {
    pub fn new(machine: Machine<T>) -> Self {
        Self { machine, gone: false }
    }

    /// Destroys it now.
    pub async fn kill(mut self) -> Outcome<T, ()> {
        let killed = self.machine.end().await;
        self.gone = true;
        killed
    }
}

impl<T: Transport> std::ops::Deref for KillOnDrop<T> {
    type Target = Machine<T>;

    fn deref(&self) -> &Machine<T> {
        &self.machine
    }
}

impl<T: Transport> Drop for KillOnDrop<T> {
    fn drop(&mut self) {
        if !self.gone {
            let machine = self.machine.clone();
            self.machine.transport().spawn(async move {
                let _ = machine.end().await;
            });
        }
    }
}
