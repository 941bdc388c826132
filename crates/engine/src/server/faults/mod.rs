//! Faults on request, for tests of programs that use the engine: `--faults` adds routes under `/faults/v1` that say which
//! requests fail and how, and that move the clock forward. Without the flag none of this is there.
//!
//! - [`rule`]: which request, which fault
//! - [`connection`]: connections that can be cut

mod connection;
mod rule;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::HttpBody as _;
use axum::body::{Body as Bytes, Bytes as Chunk};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{header, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use axum::Router;
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::{json as value, Value};

pub use connection::{ClientConnection, Cuttable};
use rule::{Fault, Rule, When};

use super::access::RequestId;
use super::body::Body;
use super::reply::{json, nothing, Answer};
use crate::machine::ground::clock;
use crate::machine::ground::sync::lock;
use crate::machine::Error;

/// Where the routes are. No rule applies to them.
const PREFIX: &str = "/faults/v1/";
/// Most that the clock moves at once: about three years.
const FURTHEST_MS: u64 = 100_000_000_000;
/// What was sent of a body before its cut must have left this computer.
const FLUSH: Duration = Duration::from_millis(50);

/// The rules of an engine.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Mutex<Vec<Rule>>,
}

impl Faults {
    /// None yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The fault of the first rule that applies to a request; counts it.
    fn of(&self, request: &Request) -> Option<(Fault, When)> {
        let mut rules = lock(&self.rules);
        rules
            .iter_mut()
            .find_map(|rule| rule.hit(request.method().as_str(), request.uri().path()))
    }
}

/// Adds the routes, and the faults around all others.
pub fn add(routes: Router, faults: Arc<Faults>) -> Router {
    let own = Router::new()
        .route("/faults/v1/rules", get(show).put(replace).delete(clear))
        .route("/faults/v1/clock", get(time).post(advance))
        .with_state(faults.clone());
    routes
        .merge(own)
        .layer(middleware::from_fn_with_state(faults, inject))
}

async fn show(State(faults): State<Arc<Faults>>) -> Answer {
    Ok(json(StatusCode::OK, &value!({ "rules": &*lock(&faults.rules) })))
}

#[derive(Deserialize)]
struct Rules {
    rules: Vec<Value>,
}

async fn replace(State(faults): State<Arc<Faults>>, body: Body<Rules>) -> Answer {
    let read = body.value.rules.iter().enumerate();
    let rules = read
        .map(|(index, rule)| Rule::read(&format!("rules[{index}]"), rule))
        .collect::<Result<Vec<_>, _>>()?;
    *lock(&faults.rules) = rules;
    show(State(faults)).await
}

async fn clear(State(faults): State<Arc<Faults>>) -> Answer {
    lock(&faults.rules).clear();
    Ok(nothing())
}

#[derive(Deserialize)]
struct Advance {
    advance_ms: u64,
}

async fn time() -> Answer {
    let ahead_ms = clock::ahead().as_millis() as u64;
    Ok(json(
        StatusCode::OK,
        &value!({ "now": clock::now(), "ahead_ms": ahead_ms }),
    ))
}

async fn advance(body: Body<Advance>) -> Answer {
    let millis = body.value.advance_ms;
    if millis > FURTHEST_MS {
        return Err(Error::invalid(
            "advance_ms",
            format_args!("is {millis}: give at most {FURTHEST_MS}, such as 60000"),
        )
        .into());
    }
    clock::advance(Duration::from_millis(millis));
    time().await
}

tokio::task_local! {
    static CUT: Option<Cut>;
}

/// A WebSocket that is to be cut.
#[derive(Debug, Clone)]
pub struct Cut {
    left: u64,
    connection: ClientConnection,
}

impl Cut {
    /// Counts a frame that is about to be sent; cuts the connection instead when its time has come.
    pub fn is_due(&mut self) -> bool {
        if self.left == 0 {
            self.connection.cut();
            return true;
        }
        self.left -= 1;
        false
    }
}

/// For the socket that the request under way opens.
pub fn cut() -> Option<Cut> {
    CUT.try_with(Clone::clone).ok().flatten()
}

async fn inject(State(faults): State<Arc<Faults>>, request: Request, next: Next) -> Response {
    if request.uri().path().starts_with(PREFIX) {
        return next.run(request).await;
    }
    let Some((fault, when)) = faults.of(&request) else {
        return next.run(request).await;
    };
    let extensions = request.extensions();
    let connection = extensions
        .get::<ConnectInfo<ClientConnection>>()
        .map(|info| info.0.clone());
    let id = extensions.get::<RequestId>().map(|id| id.0.clone());
    match (fault, when) {
        (Fault::Delay { ms }, When::Before) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            return next.run(request).await;
        }
        (Fault::Delay { ms }, When::After) => {
            let response = next.run(request).await;
            tokio::time::sleep(Duration::from_millis(ms)).await;
            return response;
        }
        (Fault::CutBody { after_bytes }, _) => {
            let response = next.run(request).await;
            return match connection {
                Some(connection) => cut_body(response, after_bytes, connection),
                None => response,
            };
        }
        (Fault::CutSocket { after_frames }, _) => {
            let cut = connection.map(|connection| Cut {
                left: after_frames,
                connection,
            });
            return CUT.scope(cut, next.run(request)).await;
        }
        (Fault::Status(refusal), When::Before) => return refusal.answer(id),
        (Fault::Status(refusal), When::After) => {
            drop(next.run(request).await);
            return refusal.answer(id);
        }
        (Fault::Drop, When::After) => drop(next.run(request).await),
        (Fault::Drop, When::Before) => {}
    }
    if let Some(connection) = connection {
        connection.cut();
    }
    // Nobody is there to read it.
    nothing()
}

/// Sends so many bytes of a body, then ends the connection.
fn cut_body(response: Response, after_bytes: u64, connection: ClientConnection) -> Response {
    let (mut parts, body) = response.into_parts();
    // The length that was promised is what tells the client that something is missing.
    if let Some(length) = body.size_hint().exact() {
        parts.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let left = usize::try_from(after_bytes).unwrap_or(usize::MAX);
    let pieces =
        futures_util::stream::unfold((body, left, connection), async |(mut body, left, connection)| {
            if left > 0 {
                let piece: Chunk = body.frame().await?.ok()?.into_data().ok()?;
                let piece = piece.slice(..piece.len().min(left));
                let left = left - piece.len();
                return Some((Ok(piece), (body, left, connection)));
            }
            tokio::time::sleep(FLUSH).await;
            connection.cut();
            let cut = std::io::Error::from(std::io::ErrorKind::ConnectionAborted);
            Some((Err(cut), (body, left, connection)))
        });
    Response::from_parts(parts, Bytes::from_stream(pieces))
}
