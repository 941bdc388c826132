//! Connections before and between requests: what has shown no key may not take the engine's descriptors.
//!
//! Whoever reaches the port can connect. So a request must be told within a while, and of the connections that have
//! shown nothing only the youngest stay: one that is meant shows its key in the first packet, so the oldest of many is
//! the one that is not.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{service_fn, Service};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections of all listeners that have shown nothing.
const MOST_STRANGERS: usize = 128;
/// From the connection, or from the end of a request, to the end of the next one's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// Rest after accept() failed, which it does when the engine is out of descriptors.
const REST: Duration = Duration::from_millis(50);

/// One table for all listeners, as they share the descriptors.
static STRANGERS: Strangers = Strangers {
    table: Mutex::new(Table {
        next: 0,
        waiting: BTreeMap::new(),
    }),
    most: MOST_STRANGERS,
};

struct Strangers {
    table: Mutex<Table>,
    most: usize,
}

struct Table {
    next: u64,
    waiting: BTreeMap<u64, CancellationToken>,
}

impl Strangers {
    /// Enters one, and ends the oldest when there are too many.
    fn enter(&self) -> (u64, CancellationToken) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, end) = (table.next, CancellationToken::new());
        table.next += 1;
        table.waiting.insert(number, end.clone());
        if table.waiting.len() > self.most {
            if let Some((_, oldest)) = table.waiting.pop_first() {
                oldest.cancel();
            }
        }
        (number, end)
    }

    fn leave(&self, number: u64) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.waiting.remove(&number);
    }
}

/// Who is at the other end of a connection, among the extensions of each of its requests.
#[derive(Clone)]
pub struct Visitor(Arc<Entry>);

struct Entry(u64);

impl Visitor {
    /// Says that a request showed what lets it in: the connection may stay.
    pub fn admit(&self) {
        STRANGERS.leave(self.0 .0);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        STRANGERS.leave(self.0);
    }
}

/// Serves until `closed`; requests that are under way then are finished.
pub async fn serve(listener: TcpListener, router: Router, closed: impl Future<Output = ()>) {
    serve_over(listener, None, router, closed).await;
}

/// The same, over TLS if there is a certificate to show.
pub async fn serve_over(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    closed: impl Future<Output = ()>,
) {
    let closing = CancellationToken::new();
    // Also when this future is dropped: what is idle ends, what is under way is finished.
    let ending = closing.clone().drop_guard();
    let connections = TaskTracker::new();
    tokio::pin!(closed);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut closed => break,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(greet(stream, tls.clone(), router.clone(), closing.clone()));
            }
            Err(error) => {
                tracing::debug!(%error, "accept failed");
                tokio::time::sleep(REST).await;
            }
        }
    }
    drop(listener);
    drop(ending);
    connections.close();
    connections.wait().await;
}

async fn greet(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router, closing: CancellationToken) {
    // Small answers must not wait for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let (number, unwanted) = STRANGERS.enter();
    let visitor = Visitor(Arc::new(Entry(number)));
    let Some(tls) = tls else {
        return converse(stream, (visitor, unwanted), router, closing).await;
    };
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(HEAD_PATIENCE, tls.accept(stream)) => shaken,
        () = unwanted.cancelled() => return,
        () = closing.cancelled() => return,
    };
    match shaken {
        Ok(Ok(stream)) => converse(stream, (visitor, unwanted), router, closing).await,
        Ok(Err(error)) => tracing::debug!(%error, "a connection without TLS, or without trust"),
        Err(_) => {}
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    (visitor, unwanted): (Visitor, CancellationToken),
    router: Router,
    closing: CancellationToken,
) {
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(visitor.clone());
        routes.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    // How it ended concerns nobody: the client knows, and requests are logged one by one.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = unwanted.cancelled() => return,
        () = closing.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_stranger_goes_when_there_are_too_many() {
        let strangers = Strangers {
            table: Mutex::new(Table {
                next: 0,
                waiting: BTreeMap::new(),
            }),
            most: 2,
        };
        let (known, first) = strangers.enter();
        strangers.leave(known);
        let others: Vec<_> = (0..3).map(|_| strangers.enter().1).collect();
        assert!(!first.is_cancelled(), "it had shown its key");
        let ended: Vec<_> = others.iter().map(CancellationToken::is_cancelled).collect();
        assert_eq!(ended, [true, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_not_told_in_time_ends_its_connection() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (close, closed) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(serve(listener, Router::new(), async {
            let _ = closed.await;
        }));
        let begun = tokio::time::Instant::now();
        for start in ["", "GET / HTTP/1.1\r\nhost: x\r\n"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(start.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            assert!(!rest.starts_with(b"HTTP/1.1 2"), "{rest:?}");
        }
        assert!(begun.elapsed() >= HEAD_PATIENCE * 2);
        close.send(()).unwrap();
        serving.await.unwrap();
    }
}
