//! Routes from the rows of the API's table: a resource says which row each of its functions answers.

use std::collections::HashSet;
use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::{on, MethodFilter, MethodRouter};
use axum::Router;
use nullspace_wire::api::{Route, Verb, ROUTES};

use super::reply::Failure;
use crate::machine::{Engine, Error};

/// Rows of the table with what answers them; `S`: what every handler gets.
pub struct Routes<S = Arc<Engine>> {
    router: Router<S>,
    answered: HashSet<&'static str>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// None.
    #[allow(clippy::new_without_default)] // it is only the start of a chain
    pub fn new() -> Self {
        Self {
            router: Router::new(),
            answered: HashSet::new(),
        }
    }

    /// Answers a row of the table.
    pub fn on<T: 'static>(mut self, route: &Route, handler: impl Handler<T, S>) -> Self {
        self.router = self.router.route(route.path, on(filter(route.verb), handler));
        self.answered.insert(route.id);
        self
    }

    /// Answers a path that the API's description leaves to the server.
    pub fn outside(mut self, path: &str, methods: MethodRouter<S>) -> Self {
        self.router = self.router.route(path, methods);
        self
    }

    /// Both.
    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.answered.extend(other.answered);
        self
    }

    /// The router. Rows that nothing answers are refused with 501 and their name, not with a bare 404.
    pub fn into_router(self) -> Router<S> {
        self.or_else(|route| {
            let refuse = move || async move { Failure(Error::not_implemented(route.name)) };
            on(filter(route.verb), refuse)
        })
    }

    /// The router; `other` answers the rows that nothing else does.
    pub fn or_else(self, other: impl Fn(&'static Route) -> MethodRouter<S>) -> Router<S> {
        let rest = ROUTES.iter().filter(|route| !self.answered.contains(route.id));
        rest.fold(self.router, |router, route| {
            router.route(route.path, other(route))
        })
    }
}

/// The method of a row.
pub fn filter(verb: Verb) -> MethodFilter {
    match verb {
        Verb::Get => MethodFilter::GET,
        Verb::Post => MethodFilter::POST,
        Verb::Put => MethodFilter::PUT,
        Verb::Patch => MethodFilter::PATCH,
        Verb::Delete => MethodFilter::DELETE,
    }
}
