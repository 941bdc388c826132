//! Passes a request on to the node that has what it is about: HTTP and WebSockets, streamed, nothing held.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Response as HttpResponse, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;

use super::nodes::{Link, Node};
use crate::hops;
use crate::machine::{Error, Result};
use crate::metrics::METRICS;
use crate::node::client::{Client, Unanswered};
use crate::node::messages::State;
use crate::server::access::{RequestId, Scheme, BEARER_SUBPROTOCOL, FORWARDED_PROTO, REQUEST_ID};
use crate::server::preview_hosts::{self, Domain, IsPreview};

/// What became of a request that was passed on.
pub enum Passed {
    /// An answer, be it an error.
    Answered(Response),
    /// The node never saw it.
    Unsent,
    /// The node may have seen it.
    Broken,
}

/// Passes a request on and gives the node's answer.
pub async fn forward(client: &Client, node: &Arc<Node>, request: Request) -> Result<Response> {
    match pass(client, node, request).await {
        Passed::Answered(response) => Ok(response),
        Passed::Unsent | Passed::Broken => Err(node.unreachable()),
    }
}

/// Passes a request on.
pub async fn pass(client: &Client, node: &Arc<Node>, mut request: Request) -> Passed {
    if !node.is_reached() {
        return Passed::Unsent;
    }
    let is_upgrade = request.headers().contains_key(header::UPGRADE);
    let outer = is_upgrade.then(|| hyper::upgrade::on(&mut request));
    if let Err(error) = address(node, &mut request) {
        tracing::error!(node = %node.name, %error, "the address of a node cannot be used");
        return Passed::Unsent;
    }
    let link = &node.link;
    let begun = Instant::now();
    let answer = tokio::select! {
        answer = client.send(request) => answer,
        // A request that was sent into a cut connection is answered by nobody.
        () = link.until(|state| matches!(state, State::Unreachable | State::Lost)) => return Passed::Broken,
    };
    let mut response = match answer {
        Ok(response) => {
            METRICS.passed(&node.name, begun.elapsed());
            response
        }
        Err(error) => {
            tracing::warn!(node = %node.name, %error, "a node does not answer");
            return match error {
                Unanswered::Unsent(_) => {
                    link.refuse();
                    Passed::Unsent
                }
                _ => Passed::Broken,
            };
        }
    };
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(outer)) = (response.status(), outer) {
        let inner = hyper::upgrade::on(&mut response);
        let link = link.clone();
        tokio::spawn(async move {
            let (Ok(outer), Ok(inner)) = (outer.await, inner.await) else {
                return;
            };
            let (mut outer, mut inner) = (TokioIo::new(outer), TokioIo::new(inner));
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut outer, &mut inner) => {}
                () = link.until(|state| state == State::Lost) => {}
            }
        });
        return Passed::Answered(finished(response.map(|_| Body::empty())));
    }
    let link = link.clone();
    Passed::Answered(finished(
        response.map(|inner| Body::new(UntilLost::new(inner, link))),
    ))
}

/// Makes the request one to the node, for whoever asked.
fn address(node: &Node, request: &mut Request) -> std::result::Result<(), String> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let uri = format!("{}{path}", node.url)
        .parse()
        .map_err(|e| format!("{}: {e}", node.url))?;
    *request.uri_mut() = uri;
    let id = request.extensions().get::<RequestId>().cloned();
    let domain = request.extensions().get::<Domain>().map(Domain::to_string);
    let is_preview = request.extensions().get::<IsPreview>().is_some();
    let scheme = request.extensions().get::<Scheme>().copied();
    let headers = request.headers_mut();
    hops::pass_request(headers);
    if let Some(domain) = domain {
        let domain = HeaderValue::from_str(&domain).map_err(|e| e.to_string())?;
        headers.insert(preview_hosts::DOMAIN, domain);
    }
    if is_preview {
        // All else is for the service.
        let key = HeaderValue::from_str(&node.key).map_err(|e| e.to_string())?;
        headers.insert(preview_hosts::NODE_KEY, key);
        return Ok(());
    }
    without_user_key(headers);
    let key = HeaderValue::from_str(&format!("Bearer {}", node.key)).map_err(|e| e.to_string())?;
    headers.insert(header::AUTHORIZATION, key);
    headers.remove(FORWARDED_PROTO);
    if let Some(Scheme(scheme)) = scheme {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
    if let Some(id) = id.and_then(|id| HeaderValue::from_str(&id.0).ok()) {
        headers.insert(REQUEST_ID, id);
    }
    Ok(())
}

/// The key of a user is for gateways only.
fn without_user_key(headers: &mut HeaderMap) {
    headers.remove(header::AUTHORIZATION);
    let offers: Vec<String> = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(|offer| offer.trim().to_owned())
        .filter(|offer| !offer.is_empty() && !offer.starts_with(BEARER_SUBPROTOCOL))
        .collect();
    headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
    if let (false, Ok(value)) = (offers.is_empty(), HeaderValue::from_str(&offers.join(", "))) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
}

/// An answer of a node as whoever asked shall see it. The gateway's guard adds the request's id and what browsers ask for.
fn finished(mut response: HttpResponse<Body>) -> Response {
    hops::pass_response(&mut response);
    response.headers_mut().remove(REQUEST_ID);
    response
}

/// A body that breaks off when its node is given up: a cut connection may never end by itself.
struct UntilLost {
    inner: Incoming,
    lost: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl UntilLost {
    fn new(inner: Incoming, link: Arc<Link>) -> Self {
        Self {
            inner,
            lost: Box::pin(async move { link.until(|state| state == State::Lost).await }),
        }
    }
}

impl HttpBody for UntilLost {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        match self.lost.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err("the node was lost".into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Reads an answer whole; the caller knows that it is small.
pub async fn read(response: Response) -> Result<(StatusCode, Bytes)> {
    let status = response.status();
    let body = response.into_body().collect().await;
    let body = body.map_err(|e| Error::internal("reading the answer of a node", e))?;
    Ok((status, body.to_bytes()))
}
