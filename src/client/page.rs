//! Lists of machines. Source: PROTOCOL.md section 3, "List and paginator".

use nullspace_wire::api;

use super::call::{Call, Client, DEFAULT_TIMEOUT};
use super::single::SingleRequest;
use crate::core::http;
use crate::core::machine::List;
use crate::transport::{Decoder, Transport};

/// What reads one page: whole machines, or rows with the fields that were asked for. lib.js walks from page to page.
pub fn page<T: Transport>(client: &Client<T>, list: &List) -> SingleRequest<T> {
    let mut query = list.query.clone();
    query.extend(list.next_token.clone().map(|token| ("next_token", token)));
    let route = &api::LIST_MACHINES;
    let path = http::with_query(route.path, &query);
    let mut call = Call::new(route, path, client.timeout(None, DEFAULT_TIMEOUT));
    call.decoder = match list.rows {
        true => Decoder::MachineRows,
        false => Decoder::ListMachinesResponse,
    };
    SingleRequest::new(client, call)
}
