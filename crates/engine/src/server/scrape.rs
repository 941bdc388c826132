//! `GET /metrics`, on an address of its own and without a key: numbers, names of nodes and ids of pools, nothing of users.

use std::future::Future;

use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::Router;
use tokio::net::TcpListener;

use super::connections;
use crate::metrics::{Reading, METRICS};

const FORM: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves for ever; `read` tells what is not counted but looked at.
pub async fn serve<F>(listener: TcpListener, read: impl Fn() -> F + Clone + Send + Sync + 'static)
where
    F: Future<Output = Vec<Reading>> + Send + 'static,
{
    let show = move || {
        let read = read.clone();
        async move {
            let text = METRICS.text(read().await);
            ([(header::CONTENT_TYPE, FORM)], text).into_response()
        }
    };
    let router = Router::new().route("/metrics", get(show));
    connections::serve(listener, router, std::future::pending()).await;
}
