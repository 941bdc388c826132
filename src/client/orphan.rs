//! Machines that nobody would hold: what a call was making when its caller gave it up.

use std::cell::Cell;

use super::call::{Call, Client, Outcome};
use super::machine::Machine;
use crate::transport::Transport;

/// A create under way. Given up half-way (an abort), the machine may be made or not: the same key is sent once more
/// in the background to learn its id, and it is destroyed. Best effort; its lease ends it otherwise.
pub(super) struct Unclaimed<'a, T: Transport> {
    client: &'a Client<T>,
    call: &'a Call,
    /// Requests sent. Before the first one there is nothing to clean up.
    pub sent: Cell<u32>,
    settled: bool,
}

impl<'a, T: Transport> Unclaimed<'a, T> {
    pub fn new(client: &'a Client<T>, call: &'a Call) -> Self {
        Self {
            client,
            call,
            sent: Cell::new(0),
            settled: false,
        }
    }

    /// The caller has learned how it ended.
    pub fn settle(&mut self) {
        self.settled = true;
    }
}

impl<T: Transport> Drop for Unclaimed<'_, T> {
    fn drop(&mut self) {
        if self.settled || self.sent.get() == 0 {
            return;
        }
        let (client, call) = (self.client.clone(), self.call.clone());
        self.client.transport().spawn(async move {
            if let Ok(machine) = Machine::send_create(&client, &call, &Cell::new(0)).await {
                let _ = machine.kill(None).await;
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
        let killed = self.machine.kill(None).await;
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
                let _ = machine.kill(None).await;
            });
        }
    }
}
