//! Lists of machines, page by page. Source: PROTOCOL.md section 3, "List and paginator".

use std::cell::RefCell;
use std::time::Duration;

use nullspace_wire::api;

use super::call::{Call, Client, Outcome, DEFAULT_TIMEOUT};
use super::single::Single;
use crate::core::http;
use crate::core::machine::List;
use crate::transport::{Answer, Decoder, Transport};

/// One page, and the way to the next.
pub struct Page<T: Transport> {
    client: Client<T>,
    list: List,
    state: RefCell<State<T::Answer>>,
}

struct State<A> {
    /// Until they are taken.
    items: Option<A>,
    next_token: Option<String>,
}

impl<A: Answer> State<A> {
    fn of(answer: &A) -> Self {
        let more = answer.flag("hasNext") == Some(true);
        Self {
            items: answer.inner("items"),
            next_token: match more {
                true => answer.text("nextToken").filter(|token| !token.is_empty()),
                false => None,
            },
        }
    }
}

impl<T: Transport> Page<T> {
    /// What reads the first page. Its answer becomes one in [`Page::first`].
    pub fn reading(client: &Client<T>, list: &List) -> Single<T> {
        let token = list.next_token.clone();
        Single::new(
            client,
            call(client, list, token, None, Decoder::ListMachinesResponse),
        )
    }

    /// The first page.
    pub fn first(client: Client<T>, list: List, answer: &T::Answer) -> Self {
        Self {
            client,
            list,
            state: RefCell::new(State::of(answer)),
        }
    }

    /// Rows with the fields asked for, all of one page.
    pub fn rows(client: &Client<T>, list: &List) -> Single<T> {
        let token = list.next_token.clone();
        Single::new(client, call(client, list, token, None, Decoder::MachineRows))
    }

    /// The transport of its client.
    pub fn transport(&self) -> &T {
        self.client.transport()
    }

    /// The machines of the first page, once. They are not kept: who holds a page decides how long its rows live, and
    /// what is held in here is only given back long after nobody has the page any more.
    pub fn take_items(&self) -> T::Answer {
        let items = self.state.borrow_mut().items.take();
        items.unwrap_or_else(T::Answer::nothing)
    }

    /// Asks for the next page.
    pub fn next_token(&self) -> Option<String> {
        self.state.borrow().next_token.clone()
    }

    /// Reads the next page; empty at the end.
    pub async fn next(&self, timeout: Option<Duration>) -> Outcome<T, T::Answer> {
        let Some(token) = self.next_token() else {
            return Ok(T::Answer::nothing());
        };
        let decoder = Decoder::ListMachinesResponse;
        let call = call(&self.client, &self.list, Some(token), timeout, decoder);
        let mut state = State::of(&self.client.call(&call).await?);
        let items = state.items.take();
        *self.state.borrow_mut() = state;
        Ok(items.unwrap_or_else(T::Answer::nothing))
    }
}

fn call<T: Transport>(
    client: &Client<T>,
    list: &List,
    token: Option<String>,
    timeout: Option<Duration>,
    decoder: Decoder,
) -> Call {
    let mut query = list.query.clone();
    if let Some(token) = token {
        query.push(("next_token", token));
    }
    let route = &api::LIST_MACHINES;
    let path = http::with_query(route.path, &query);
    let mut call = Call::new(route, path, client.timeout(timeout, DEFAULT_TIMEOUT));
    call.decoder = decoder;
    call
}
