//! The exported classes `Commands`, `Command` and `Process`.

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{argument, on_handle, on_handle_timed, Handle};
use super::machine::{Commands, Machine};
use super::transport::JsTransport;
use crate::client::machine::{Machine as Inner, Ran};
use crate::core::exec;

/// A command in the background.
#[wasm_bindgen(skip_typescript)]
pub struct Command {
    process: OfMachine,
}

/// A process of a machine: what the calls of a command take along.
type OfMachine = (Rc<Inner<JsTransport>>, u32);

impl Handle for OfMachine {
    fn transport(&self) -> JsTransport {
        self.0.transport()
    }
}

#[wasm_bindgen]
impl Commands {
    /// Runs a command: to its end, or in the background.
    pub fn run(&self, command: JsValue, options: JsValue) -> Promise {
        on_handle(&self.machine, options, |inner, read| async move {
            Ok(match inner.execute(&argument(&command)?, read.as_ref()).await? {
                Ran::Ended(result) => result.0,
                Ran::Started(pid) => Command {
                    process: (inner, pid),
                }
                .into(),
            })
        })
    }

    /// What the API started in the machine.
    pub fn list(&self, options: JsValue) -> Promise {
        on_handle_timed(&self.machine, options, |inner, timeout| async move {
            inner.processes(timeout).await
        })
    }

    /// Ends a process and its children.
    pub fn kill(&self, pid: JsValue, options: JsValue) -> Promise {
        on_handle_timed(&self.machine, options, |inner, timeout| async move {
            let pid = exec::pid(&argument(&pid)?)?;
            inner.kill_process(pid, timeout).await
        })
    }

    /// Writes to the standard input of a process.
    #[wasm_bindgen(js_name = sendStdin)]
    pub fn send_stdin(&self, pid: JsValue, data: JsValue, options: JsValue) -> Promise {
        on_handle_timed(&self.machine, options, |inner, timeout| async move {
            let pid = exec::pid(&argument(&pid)?)?;
            inner.send_stdin(pid, &argument(&data)?, timeout).await
        })
    }

    /// What a process printed so far.
    #[wasm_bindgen(js_name = getLogs)]
    pub fn get_logs(&self, pid: JsValue, options: JsValue) -> Promise {
        on_handle_timed(&self.machine, options, |inner, timeout| async move {
            let pid = exec::pid(&argument(&pid)?)?;
            inner.logs(pid, timeout).await
        })
    }
}

#[wasm_bindgen]
impl Command {
    /// Process id inside the machine.
    #[wasm_bindgen(getter)]
    pub fn pid(&self) -> u32 {
        self.process.1
    }

    /// Waits for the end.
    pub fn wait(&self, options: JsValue) -> Promise {
        on_handle(&self.process, options, |(inner, pid), read| async move {
            inner.wait(pid, &exec::wait(read.as_ref())?).await
        })
    }

    /// Ends it and its children.
    pub fn kill(&self, options: JsValue) -> Promise {
        on_handle_timed(&self.process, options, |(inner, pid), timeout| async move {
            inner.kill_process(pid, timeout).await
        })
    }

    /// Writes to its standard input.
    #[wasm_bindgen(js_name = sendStdin)]
    pub fn send_stdin(&self, data: JsValue, options: JsValue) -> Promise {
        on_handle_timed(&self.process, options, |(inner, pid), timeout| async move {
            inner.send_stdin(pid, &argument(&data)?, timeout).await
        })
    }

    /// What it printed so far.
    #[wasm_bindgen(js_name = getLogs)]
    pub fn get_logs(&self, options: JsValue) -> Promise {
        on_handle_timed(&self.process, options, |(inner, pid), timeout| async move {
            inner.logs(pid, timeout).await
        })
    }
}

/// Programs given as text.
#[wasm_bindgen(skip_typescript)]
pub struct Process {
    machine: Rc<Inner<JsTransport>>,
}

#[wasm_bindgen]
impl Machine {
    /// Runs programs given as text.
    #[wasm_bindgen(getter)]
    pub fn process(&self) -> Process {
        Process {
            machine: self.inner.clone(),
        }
    }
}

#[wasm_bindgen]
impl Process {
    /// Runs one to its end.
    #[wasm_bindgen(js_name = codeRun)]
    pub fn code_run(&self, code: JsValue, options: JsValue) -> Promise {
        on_handle(&self.machine, options, |inner, read| async move {
            inner.code_run(&argument(&code)?, read.as_ref()).await
        })
    }
}
