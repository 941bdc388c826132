//! What a network policy may say to a server that does not know it: names, and secrets.
//!
//! Such a server should refuse names. One that takes the rest all the same makes something else, which may allow more, or lacks the
//! gateway: what it made or changed is closed, and the caller learns why.

use nullspace_wire::api;

use super::call::{Call, Client, Failure};
use super::machine::Machine;
use super::orphan::KillOnDrop;
use crate::core::error::Error;
use crate::transport::{Answer, Transport};

const CLOSED: &str = r#"{"egress":{"mode":"deny_all"}}"#;

/// What an answer must tell back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Echo {
    Domains,
    Secrets,
}

impl Echo {
    /// Whether it does.
    pub(super) fn is_in<A: Answer>(self, answer: &A) -> bool {
        let network = answer.inner("network");
        let inner = |name| network.as_ref().and_then(|network| network.inner(name));
        match self {
            Self::Secrets => inner("secrets").is_some(),
            Self::Domains => {
                let policy = answer.inner("egress").or_else(|| inner("egress"));
                let has = |list| policy.as_ref().is_some_and(|policy| policy.inner(list).is_some());
                has("allowDomains") || has("denyDomains")
            }
        }
    }
}

/// Destroys the machine that was made, or denies everything to the one whose policy was replaced; gives the error.
pub(super) async fn close<T: Transport>(
    client: &Client<T>,
    call: &Call,
    what: Echo,
    answer: &T::Answer,
) -> Failure<T::Thrown> {
    let client = client.quiet();
    let (closed, end) = if call.route == &api::CREATE_MACHINE {
        let closed = match Machine::taken_up(&client, answer) {
            // Also when the caller gives up meanwhile.
            Ok(machine) => KillOnDrop::new(machine).kill().await.is_ok(),
            Err(_) => false,
        };
        (closed, "the machine was destroyed")
    } else {
        let mut call = call.clone();
        call.body = Some(CLOSED.to_owned());
        let sent = client.call_counted(&call, &std::cell::Cell::new(0)).await;
        (sent.is_ok(), "the machine's policy is 'deny_all' now")
    };
    let end = match closed {
        true => end,
        false => "the machine could not be closed: destroy it",
    };
    let what = match what {
        Echo::Domains => "`allowDomains` and `denyDomains`",
        Echo::Secrets => "`network.secrets`",
    };
    Failure::Error(Error::coded(
        "feature_unavailable",
        format!(
            "{}: this server does not know {what}, and took the rest without them; {end}. Leave them out, or use a server that knows \
             them, such as the local engine",
            call.operation()
        ),
    ))
}
