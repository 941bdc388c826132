//! WebSockets of JavaScript: `pkg-template/lib/socket.js`.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::host::{self, Connecting, Next, Opened, RawSocket};
use super::transport::JsAnswer;
use crate::transport::{Closed, Opening, Socket, Unopened};

/// An open socket; closed with its last clone.
#[derive(Clone)]
pub struct JsSocket {
    raw: RawSocket,
    /// Of a `next` that was given up: its frame is not lost.
    pending: Rc<RefCell<Option<Promise>>>,
    _hold: Rc<Hold>,
}

/// Ends a socket with its owner, open or not: an aborted call leaves none.
struct Hold(Connecting);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Opens one. `own`: the caller's constructor. `span` ends when it is open, or is not.
pub async fn open(own: &JsValue, opening: &Opening, span: Option<u32>) -> Result<JsSocket, Unopened> {
    let mut headers = String::new();
    for (name, value) in &opening.headers {
        for part in [name, value] {
            if !headers.is_empty() {
                headers.push('\n');
            }
            headers.push_str(part);
        }
    }
    let hold = Hold(host::web_socket(
        &opening.url,
        &opening.key,
        &headers,
        opening.timeout.as_secs_f64() * 1000.0,
        own,
        span,
    ));
    // It never rejects: see socket.js.
    let opened = JsFuture::from(hold.0.promise()).await.unwrap_or_default();
    let opened: Opened = opened.unchecked_into();
    if let Some(raw) = opened.socket() {
        return Ok(JsSocket {
            raw,
            pending: Rc::default(),
            _hold: Rc::new(hold),
        });
    }
    Err(match opened.status() {
        Some(status) => Unopened::Refused {
            status,
            body: opened.body().unwrap_or_default(),
            request_id: opened.request_id(),
        },
        None => {
            let reason = opened.message().unwrap_or_default();
            match opened.unusable() {
                Some(true) => Unopened::Unusable { reason },
                _ => Unopened::Failed { reason },
            }
        }
    })
}

impl Socket for JsSocket {
    type Frame = JsAnswer;

    async fn next(&self, limit: Option<Duration>) -> Result<JsAnswer, Closed> {
        let limit = limit.map_or(0.0, |limit| limit.as_secs_f64() * 1000.0);
        let promise = self
            .pending
            .borrow_mut()
            .get_or_insert_with(|| self.raw.next(limit))
            .clone();
        let next = JsFuture::from(promise).await.unwrap_or_default();
        *self.pending.borrow_mut() = None;
        let next: Next = next.unchecked_into();
        match next.closed() {
            None => Ok(JsAnswer(next.frame())),
            Some(reason) => Err(Closed {
                reason,
                overflow: next.overflow() == Some(true),
                clean: next.clean() == Some(true),
            }),
        }
    }

    async fn send(&self, text: String) -> Result<(), Closed> {
        let sent = JsFuture::from(self.raw.send(&text))
            .await
            .unwrap_or_else(|thrown| thrown);
        if sent.is_undefined() {
            return Ok(());
        }
        Err(Closed {
            reason: sent
                .as_string()
                .unwrap_or_else(|| "the frame could not be sent".to_owned()),
            overflow: false,
            clean: false,
        })
    }

    fn close(&self, last: Option<String>) {
        self.raw.close(last.as_deref());
    }
}
