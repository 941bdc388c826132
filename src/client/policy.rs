//! Network policies with names, sent to a server that may not know them.
//!
//! Such a server should refuse their mode. One that takes it all the same reads something else, which may allow more: what it made or
//! changed is closed, and the caller learns why.

use nullspace_wire::api;

use super::call::{Call, Client, Failure};
use super::machine::Machine;
use super::orphan::KillOnDrop;
use crate::core::error::Error;
use crate::transport::{Answer, Transport};

const CLOSED: &str = r#"{"egress":{"mode":"deny_all"}}"#;

/// Whether an answer tells that names of a policy are in force.
pub(super) fn tells_domains<A: Answer>(answer: &A) -> bool {
    let policy = answer.inner("egress").or_else(|| {
        answer
            .inner("network")
            .and_then(|network| network.inner("egress"))
    });
    policy.is_some_and(|policy| {
        ["allowDomains", "denyDomains"]
            .iter()
            .any(|list| policy.inner(list).is_some())
    })
}

/// Destroys the machine that was made, or denies everything to the one whose policy was replaced; gives the error.
pub(super) async fn close<T: Transport>(
    client: &Client<T>,
    call: &Call,
    answer: &T::Answer,
) -> Failure<T::Thrown> {
    let client = client.quiet();
    let (closed, what) = if call.route.id == api::CREATE_MACHINE.id {
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
    let what = match closed {
        true => what,
        false => "the machine could not be closed: destroy it",
    };
    Failure::Error(Error::coded(
        "feature_unavailable",
        format!(
            "{}: this server does not know `allowDomains` and `denyDomains`, and took the policy without them; {what}. Use `allowCidrs`, \
             or a server that knows names, such as the local engine",
            call.operation()
        ),
    ))
}
