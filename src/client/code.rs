//! The code interpreter of a machine. Source: PROTOCOL.md section 8.

use super::machine::Machine;
use super::single::Single;
use crate::core::code::Request;
use crate::transport::Transport;

impl<T: Transport> Machine<T> {
    /// One of its requests.
    pub fn code(&self, request: Request) -> Single<T> {
        let mut call = self.on(
            request.operation,
            request.method,
            &request.under,
            request.decoder,
            request.request_timeout,
        );
        // A long cell must not die of the HTTP limit that nobody asked for.
        if request.request_timeout.is_none() && !self.client.has_timeout() {
            call.timeout = call.timeout.max(request.least_request_timeout);
        }
        call.body = request.body;
        self.single(call)
    }
}
