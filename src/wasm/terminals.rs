//! The exported classes `Pty` and `PtySession`.

use std::rc::Rc;

use js_sys::{Object, Promise, Reflect};
use wasm_bindgen::prelude::*;

use super::call::{argument, named, on_handle, on_handle_timed, Handle};
use super::host;
use super::machine::Machine;
use super::race::{race, First};
use super::single::single_timed;
use super::transport::{JsAnswer, JsTransport};
use crate::client::machine::Machine as Inner;
use crate::client::terminals::Session;
use crate::client::Failure;
use crate::core::terminals;
use crate::transport::Transport as _;

/// Exit code of a wait that was too short. Source: PROTOCOL.md section 6.
const TIMED_OUT: i32 = 124;

/// Terminals of a machine.
#[wasm_bindgen(skip_typescript)]
pub struct Pty {
    machine: Rc<Inner<JsTransport>>,
}

/// A terminal.
#[wasm_bindgen(skip_typescript)]
pub struct PtySession {
    open: Open,
}

/// What its calls take along.
type Open = (Rc<Session<JsTransport>>, JsTransport);

impl Handle for Open {
    fn transport(&self) -> JsTransport {
        self.1.clone()
    }
}

#[wasm_bindgen]
impl Machine {
    /// Terminals.
    #[wasm_bindgen(getter)]
    pub fn pty(&self) -> Pty {
        Pty {
            machine: self.inner.clone(),
        }
    }
}

fn session(machine: &Inner<JsTransport>, session: Session<JsTransport>) -> JsValue {
    let open = (Rc::new(session), machine.transport().clone());
    PtySession { open }.into()
}

#[wasm_bindgen]
impl Pty {
    /// Opens a terminal.
    pub fn create(&self, options: JsValue) -> Promise {
        on_handle(&self.machine, options, |machine, read| async move {
            let first = terminals::start(read.as_ref())?;
            Ok(session(&machine, machine.open_terminal(first).await?))
        })
    }

    /// Takes one up.
    pub fn connect(&self, target: JsValue, options: JsValue) -> Promise {
        on_handle(&self.machine, options, |machine, read| async move {
            let first = terminals::connect(&argument(&target)?, read.as_ref())?;
            Ok(session(&machine, machine.open_terminal(first).await?))
        })
    }

    /// Those that are open.
    pub fn list(&self, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| Ok(self.machine.terminals(timeout)))
    }

    /// One of them.
    pub fn get(&self, id: JsValue, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| {
            Ok(self.machine.terminal(&named("sessionId", &id)?, timeout))
        })
    }

    /// Ends one.
    pub fn kill(&self, id: JsValue, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| {
            Ok(self.machine.kill_terminal(&named("sessionId", &id)?, timeout))
        })
    }

    /// Tells one its size.
    pub fn resize(&self, id: JsValue, size: JsValue, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| {
            let (id, size) = (named("sessionId", &id)?, terminals::size(&argument(&size)?)?);
            Ok(self.machine.resize_terminal(&id, size, timeout))
        })
    }
}

#[wasm_bindgen]
impl PtySession {
    /// `pty_...`
    #[wasm_bindgen(getter, js_name = sessionId)]
    pub fn session_id(&self) -> String {
        self.open.0.session_id.clone()
    }

    /// Process id of the shell.
    #[wasm_bindgen(getter)]
    pub fn pid(&self) -> u32 {
        self.open.0.pid
    }

    /// Exit code, once it has ended.
    #[wasm_bindgen(getter, js_name = exitCode)]
    pub fn exit_code(&self) -> Option<i32> {
        self.open.0.exit_code()
    }

    /// Whether the connection stands.
    #[wasm_bindgen(getter, js_name = isConnected)]
    pub fn is_connected(&self) -> bool {
        self.open.0.is_connected()
    }

    /// What follows in the output; `undefined` after the end.
    pub fn next(&self, options: JsValue) -> Promise {
        on_handle_timed(&self.open, options, |(session, _), _| async move {
            let Some(printed) = session.next().await? else {
                return Ok(JsValue::UNDEFINED);
            };
            let raw = |field: Option<JsAnswer>| field.map_or(JsValue::UNDEFINED, |value| value.0);
            host::terminal_bytes(&raw(printed.base64), &raw(printed.text)).map_err(Failure::Thrown)
        })
    }

    /// Nobody reads any more.
    pub fn unread(&self) -> Promise {
        on_handle_timed(&self.open, JsValue::UNDEFINED, |(session, _), _| async move {
            session.unread();
            Ok(())
        })
    }

    /// Types.
    #[wasm_bindgen(js_name = sendInput)]
    pub fn send_input(&self, data: JsValue, options: JsValue) -> Promise {
        on_handle_timed(&self.open, options, |(session, _), _| async move {
            if let Some(bytes) = host::base64(&data) {
                return session.send_input("data_base64", &bytes).await;
            }
            session
                .send_input("data", terminals::input(&argument(&data)?)?)
                .await
        })
    }

    /// Tells it its size.
    pub fn resize(&self, size: JsValue, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| {
            Ok(self.open.0.resize(terminals::size(&argument(&size)?)?, timeout))
        })
    }

    /// Waits for its end.
    pub fn wait(&self, options: JsValue) -> Promise {
        on_handle(&self.open, options, |(session, transport), read| async move {
            let ended = match terminals::wait(read.as_ref())? {
                None => First::A(session.wait().await),
                Some(timeout) => race(session.wait(), transport.sleep(timeout)).await,
            };
            let (code, timed_out) = match ended {
                First::A(code) => (code?, false),
                First::B(()) => (TIMED_OUT, true),
            };
            let result = Object::new();
            // A fresh plain object takes any property.
            let _ = Reflect::set(&result, &"exitCode".into(), &code.into());
            let _ = Reflect::set(&result, &"timedOut".into(), &timed_out.into());
            Ok(JsValue::from(result))
        })
    }

    /// Ends it.
    pub fn kill(&self, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| Ok(self.open.0.kill(timeout)))
    }

    /// Leaves it open.
    pub fn disconnect(&self) -> Promise {
        on_handle_timed(&self.open, JsValue::UNDEFINED, |(session, _), _| async move {
            session.disconnect();
            Ok(())
        })
    }

    /// What `await using` does: ends what was made here, leaves what was taken up.
    pub fn dispose(&self) -> Promise {
        on_handle_timed(&self.open, JsValue::UNDEFINED, |(session, _), _| async move {
            if session.created {
                // Quietly: it may have ended by itself.
                let _ = session.kill(None).send().await;
            }
            session.disconnect();
            Ok(())
        })
    }
}
