//! Routes from the rows of the API's table: a resource says which row each of its functions answers.

use std::collections::HashSet;
use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::{on, MethodFilter, MethodRouter};
use axum::Router;
use nullspace_wire::api::{Route, Verb, ROUTES};

use super::reply::Failure;
use crate::machine::{Engine, Error};

/// Rows of the table with what answers them.
pub struct Routes {
    router: Router<Arc<Engine>>,
    answered: HashSet<&'static str>,
}

impl Routes {
    /// None.
    #[allow(clippy::new_without_default)] // it is only the start of a chain
    pub fn new() -> Self {
        Self {
            router: Router::new(),
            answered: HashSet::new(),
        }
    }

    /// Answers a row of the table.
    pub fn on<T: 'static>(mut self, route: &Route, handler: impl Handler<T, Arc<Engine>>) -> Self {
        self.router = self.router.route(route.path, on(filter(route.verb), handler));
        self.answered.insert(route.id);
        self
    }

    /// Answers a path that the API's description leaves to the server.
    pub fn outside(mut self, path: &str, methods: MethodRouter<Arc<Engine>>) -> Self {
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
    pub fn into_router(self) -> Router<Arc<Engine>> {
        let mut router = self.router;
        for route in ROUTES.iter().filter(|route| !self.answered.contains(route.id)) {
            let refuse = move || async move { Failure(Error::not_implemented(route.name)) };
            router = router.route(route.path, on(filter(route.verb), refuse));
        }
        router
    }
}

fn filter(verb: Verb) -> MethodFilter {
    match verb {
        Verb::Get => MethodFilter::GET,
        Verb::Post => MethodFilter::POST,
        Verb::Put => MethodFilter::PUT,
        Verb::Patch => MethodFilter::PATCH,
        Verb::Delete => MethodFilter::DELETE,
    }
}
