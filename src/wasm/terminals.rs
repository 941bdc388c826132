//! The exported class `PtySession`: it holds a socket.

use std::pin::pin;
use std::rc::Rc;

use futures_util::future::{select, Either};
use js_sys::Promise;
use serde::Serialize;
use wasm_bindgen::prelude::*;

use super::call::{argument, call, on_handle, on_held, on_held_with, sent};
use super::host;
use super::record::Record;
use super::throw::to_js;
use super::transport::{JsAnswer, JsTransport};
use crate::client::machine::Machine;
use crate::client::terminals::Session;
use crate::client::Failure;
use crate::core::terminals::{self, Input};
use crate::core::value::Value;
use crate::surface;
use crate::transport::Transport as _;

/// A session on its WebSocket.
#[wasm_bindgen(skip_typescript)]
pub struct PtySession {
    session: Rc<Session<JsTransport>>,
    transport: JsTransport,
}

/// Opens a terminal.
#[wasm_bindgen(js_namespace = PtyHandle, js_name = create)]
pub fn pty_create(record: Record, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        opened(held.machine(), terminals::start(read)?)
    })
}

/// Takes up a terminal.
#[wasm_bindgen(js_namespace = PtyHandle, js_name = connect)]
pub fn pty_connect(record: Record, target: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        opened(held.machine(), terminals::connect(&argument(&target)?, read)?)
    })
}

fn opened(machine: Machine<JsTransport>, first: Value) -> super::call::Begun {
    call(async move {
        let session = Rc::new(machine.open_terminal(first).await?);
        let transport = machine.transport().clone();
        Ok(JsValue::from(PtySession { session, transport }))
    })
}

/// What `wait` gives.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended {
    exit_code: i32,
    timed_out: bool,
}

#[wasm_bindgen]
impl PtySession {
    /// Names the session.
    #[wasm_bindgen(getter, js_name = sessionId)]
    pub fn session_id(&self) -> String {
        self.session.session_id.clone()
    }

    /// Its shell.
    #[wasm_bindgen(getter)]
    pub fn pid(&self) -> u32 {
        self.session.pid
    }

    /// How it ended.
    #[wasm_bindgen(getter, js_name = exitCode)]
    pub fn exit_code(&self) -> Option<i32> {
        self.session.exit_code()
    }

    /// Whether the connection is there.
    #[wasm_bindgen(getter, js_name = isConnected)]
    pub fn is_connected(&self) -> bool {
        self.session.is_connected()
    }

    /// The next bytes; `undefined` after the last ones.
    pub fn next(&self, options: JsValue) -> Promise {
        let session = self.session.clone();
        on_held(&options, || {
            call(async move {
                let Some(printed) = session.next().await? else {
                    return Ok(JsValue::UNDEFINED);
                };
                let raw = |field: Option<JsAnswer>| field.map_or(JsValue::UNDEFINED, |value| value.0);
                host::terminal_bytes(&raw(printed.base64), &raw(printed.text)).map_err(Failure::Thrown)
            })
        })
    }

    /// Nobody reads any more.
    pub fn unread(&self) {
        self.session.unread();
    }

    /// Types text or bytes.
    #[wasm_bindgen(js_name = sendInput)]
    pub fn send_input(&self, data: JsValue, options: JsValue) -> Promise {
        let session = self.session.clone();
        on_held(&options, || {
            let input = match host::base64(&data) {
                Some(bytes) => Input::Base64(bytes),
                None => Input::Text(terminals::input(&argument(&data)?)?.to_owned()),
            };
            call(async move { session.send_input(&input).await })
        })
    }

    /// Gives it another size.
    pub fn resize(&self, size: JsValue, options: JsValue) -> Promise {
        on_held_with(&options, |read| {
            let size = [Some(argument(&size)?)];
            let planned = self.session.plan(&surface::terminals::RESIZE, &size, read)?;
            sent(planned)
        })
    }

    /// Waits for its end.
    pub fn wait(&self, options: JsValue) -> Promise {
        let (session, transport) = (self.session.clone(), self.transport.clone());
        on_held_with(&options, |read| {
            let timeout = terminals::wait(read)?;
            call(async move {
                let ended = match timeout {
                    None => Some(session.wait().await),
                    Some(timeout) => {
                        match select(pin!(session.wait()), pin!(transport.sleep(timeout))).await {
                            Either::Left((code, _)) => Some(code),
                            Either::Right(_) => None,
                        }
                    }
                };
                let (exit_code, timed_out) = match ended {
                    Some(code) => (code?, false),
                    None => (terminals::TIMED_OUT, true),
                };
                Ok(to_js(&Ended { exit_code, timed_out }))
            })
        })
    }

    /// Ends it.
    pub fn kill(&self, options: JsValue) -> Promise {
        on_held_with(&options, |read| {
            let planned = self.session.plan(&surface::terminals::KILL, &[], read)?;
            sent(planned)
        })
    }

    /// Leaves it; it goes on.
    pub fn disconnect(&self) {
        self.session.disconnect();
    }

    /// Ends a session that was made here, leaves one that was taken up.
    pub fn dispose(&self) -> Promise {
        let session = self.session.clone();
        on_held(&JsValue::UNDEFINED, || {
            call(async move {
                if session.created {
                    // Quietly: it may have ended by itself.
                    if let Ok(ending) = session.plan(&surface::terminals::KILL, &[], None) {
                        let _ = ending.send().await;
                    }
                }
                session.disconnect();
                Ok(())
            })
        })
    }
}
