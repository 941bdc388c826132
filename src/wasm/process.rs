//! The exported classes `Commands`, `Command` and `Process`.

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{argument, on_handle, on_handle_plain, Call};
use super::machine::{Commands, Machine};
use super::transport::JsTransport;
use crate::client::machine::{Machine as Inner, Ran};
use crate::core::exec;

/// A command in the background.
#[wasm_bindgen(skip_typescript)]
pub struct Command {
    machine: Rc<Inner<JsTransport>>,
    pid: u32,
}

#[wasm_bindgen]
impl Commands {
    /// Runs a command: to its end, or in the background.
    pub fn run(&self, command: JsValue, options: JsValue) -> Promise {
        let inner = self.machine.clone();
        on_handle(
            self.machine.transport(),
            options,
            Box::new(|read| {
                Box::pin(async move {
                    Ok(match inner.execute(&argument(&command)?, read.as_ref()).await? {
                        Ran::Ended(result) => result.0,
                        Ran::Started(pid) => Command { machine: inner, pid }.into(),
                    })
                })
            }),
        )
    }

    /// What the API started in the machine.
    pub fn list(&self, options: JsValue) -> Promise {
        let inner = self.machine.clone();
        let call = |timeout| Box::pin(async move { Ok(inner.processes(timeout).await?.0) }) as Call;
        on_handle_plain(self.machine.transport(), options, Box::new(call))
    }

    /// Ends a process and its children.
    pub fn kill(&self, pid: JsValue, options: JsValue) -> Promise {
        let inner = self.machine.clone();
        let call = |timeout| {
            Box::pin(async move {
                let pid = exec::pid(&argument(&pid)?)?;
                inner
                    .kill_process(pid, timeout)
                    .await
                    .map(|()| JsValue::UNDEFINED)
            }) as Call
        };
        on_handle_plain(self.machine.transport(), options, Box::new(call))
    }

    /// Writes to the standard input of a process.
    #[wasm_bindgen(js_name = sendStdin)]
    pub fn send_stdin(&self, pid: JsValue, data: JsValue, options: JsValue) -> Promise {
        let inner = self.machine.clone();
        let call = |timeout| {
            Box::pin(async move {
                let pid = exec::pid(&argument(&pid)?)?;
                inner
                    .send_stdin(pid, &argument(&data)?, timeout)
                    .await
                    .map(|()| JsValue::UNDEFINED)
            }) as Call
        };
        on_handle_plain(self.machine.transport(), options, Box::new(call))
    }

    /// What a process printed so far.
    #[wasm_bindgen(js_name = getLogs)]
    pub fn get_logs(&self, pid: JsValue, options: JsValue) -> Promise {
        let inner = self.machine.clone();
        let call = |timeout| {
            Box::pin(async move {
                let pid = exec::pid(&argument(&pid)?)?;
                Ok(inner.logs(pid, timeout).await?.0)
            }) as Call
        };
        on_handle_plain(self.machine.transport(), options, Box::new(call))
    }
}

#[wasm_bindgen]
impl Command {
    /// Process id inside the machine.
    #[wasm_bindgen(getter)]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for the end.
    pub fn wait(&self, options: JsValue) -> Promise {
        let (inner, pid) = (self.machine.clone(), self.pid);
        on_handle(
            self.machine.transport(),
            options,
            Box::new(move |read| {
                Box::pin(async move { Ok(inner.wait(pid, &exec::wait(read.as_ref())?).await?.0) })
            }),
        )
    }

    /// Ends it and its children.
    pub fn kill(&self, options: JsValue) -> Promise {
        let (inner, pid) = (self.machine.clone(), self.pid);
        let call = move |timeout| {
            Box::pin(async move {
                inner
                    .kill_process(pid, timeout)
                    .await
                    .map(|()| JsValue::UNDEFINED)
            }) as Call
        };
        on_handle_plain(self.machine.transport(), options, Box::new(call))
    }

    /// Writes to its standard input.
    #[wasm_bindgen(js_name = sendStdin)]
    pub fn send_stdin(&self, data: JsValue, options: JsValue) -> Promise {
        let (inner, pid) = (self.machine.clone(), self.pid);
        let call = move |timeout| {
            Box::pin(async move {
                inner
                    .send_stdin(pid, &argument(&data)?, timeout)
                    .await
                    .map(|()| JsValue::UNDEFINED)
            }) as Call
        };
        on_handle_plain(self.machine.transport(), options, Box::new(call))
    }

    /// What it printed so far.
    #[wasm_bindgen(js_name = getLogs)]
    pub fn get_logs(&self, options: JsValue) -> Promise {
        let (inner, pid) = (self.machine.clone(), self.pid);
        let call = move |timeout| Box::pin(async move { Ok(inner.logs(pid, timeout).await?.0) }) as Call;
        on_handle_plain(self.machine.transport(), options, Box::new(call))
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
        let inner = self.machine.clone();
        on_handle(
            self.machine.transport(),
            options,
            Box::new(|read| {
                Box::pin(async move { Ok(inner.code_run(&argument(&code)?, read.as_ref()).await?.0) })
            }),
        )
    }
}
