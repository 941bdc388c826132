//! Calls of the table of operations: what one sends, and how long it may take.

use std::time::Duration;

use super::call::{Call, Client, DEFAULT_TIMEOUT};
use super::machine::Machine;
use super::policy::Echo;
use super::single::{Planned, SingleRequest};
use crate::core::error::Error;
use crate::core::options::Value;
use crate::surface::{Operation, Request, Scope, Time};
use crate::transport::Transport;

impl<T: Transport> Client<T> {
    /// A call on a class.
    pub fn plan(
        &self,
        operation: &'static Operation,
        args: &[Option<Value>],
        options: Option<&Value>,
    ) -> Planned<T> {
        self.planned(operation, Scope::Class, &[], None, args, options)
    }

    /// A call on a handle, whose ids begin the path.
    pub fn plan_on(
        &self,
        operation: &'static Operation,
        ids: &[&str],
        args: &[Option<Value>],
        options: Option<&Value>,
    ) -> Planned<T> {
        self.planned(operation, Scope::Handle, ids, None, args, options)
    }

    pub(super) fn planned(
        &self,
        operation: &'static Operation,
        scope: Scope,
        ids: &[&str],
        usual: Option<Duration>,
        args: &[Option<Value>],
        options: Option<&Value>,
    ) -> Planned<T> {
        let request = operation.request(scope, ids, args, options)?;
        Ok(self.single(operation, request, usual)?)
    }

    /// The call of a request that was checked. `usual`: its HTTP time when nobody gave one; else the client's.
    pub fn single(
        &self,
        operation: &'static Operation,
        mut request: Request,
        usual: Option<Duration>,
    ) -> Result<SingleRequest<T>, Error> {
        if operation.keyed && request.idempotency_key.is_none() {
            request.idempotency_key = Some(self.transport().uuid());
        }
        let given = request.request_timeout;
        let usual = usual.unwrap_or_else(|| self.timeout(None, DEFAULT_TIMEOUT));
        let timeout = match operation.time {
            Time::Long(time) => self.timeout(given, time),
            // What waits on the other side must not die of a limit that nobody asked for.
            _ if given.is_none() && !self.has_timeout() => usual.max(request.least),
            _ => given.unwrap_or(usual),
        };
        let call = Call::of(&request, timeout);
        let mut single = SingleRequest::new(self, call).failed(operation.failed);
        if request.tells_domains {
            single = single.telling(Echo::Domains);
        }
        if let Some(field) = operation.gives {
            single = single.field(field);
        }
        Ok(single)
    }
}

impl<T: Transport> Machine<T> {
    /// A call of the table on this machine.
    pub fn plan(
        &self,
        operation: &'static Operation,
        args: &[Option<Value>],
        options: Option<&Value>,
    ) -> Planned<T> {
        let ids = [self.id.as_str()];
        let planned = self.client.planned(
            operation,
            Scope::Handle,
            &ids,
            Some(self.timeout()),
            args,
            options,
        )?;
        Ok(match operation.proven {
            true => planned.with_proof(self.proof.clone()),
            false => planned,
        })
    }
}

/// Options of a call on a handle that hold its HTTP time.
pub(super) fn timed(timeout: Option<Duration>) -> Option<Value> {
    let seconds = Value::Number(timeout?.as_secs_f64());
    Some(Value::Object(vec![("requestTimeout".to_owned(), seconds)]))
}
