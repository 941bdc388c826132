//! The exported classes `Commands`, `Command` and `Process`.

use std::rc::Rc;
use std::time::Duration;

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{argument, on_handle, on_handle_timed, Handle};
use super::host;
use super::machine::{Commands, Machine};
use super::race::{race, First};
use super::single::{single, single_timed};
use super::stream::{self, Hooks, Live};
use super::transport::JsTransport;
use crate::client::call::Outcome;
use crate::client::machine::{Machine as Inner, Ran};
use crate::client::single::Planned;
use crate::core::exec;
use crate::transport::Transport as _;

/// A command in the background.
#[wasm_bindgen(skip_typescript)]
pub struct Command {
    process: OfMachine,
}

/// A process of a machine, and its socket when it has callbacks: what the calls of a command take along.
type OfMachine = (Rc<Inner<JsTransport>>, u32, Option<Rc<Live>>);

impl Handle for OfMachine {
    fn transport(&self) -> JsTransport {
        self.0.transport()
    }
}

fn command(machine: Rc<Inner<JsTransport>>, pid: u32, live: Option<Rc<Live>>) -> JsValue {
    Command {
        process: (machine, pid, live),
    }
    .into()
}

#[wasm_bindgen]
impl Commands {
    /// Runs a command: to its end, or in the background.
    pub fn run(&self, command: JsValue, options: JsValue) -> Promise {
        let given = options.clone();
        on_handle(&self.machine, options, |inner, read| async move {
            Ok(match inner.execute(&argument(&command)?, read.as_ref()).await? {
                Ran::Ended(result) => result.0,
                Ran::Started(pid) => self::command(inner, pid, None),
                Ran::Heard {
                    running,
                    background: false,
                } => stream::result(running, Hooks::read(&given)?).await?,
                Ran::Heard { running, .. } => {
                    let pid = running.started().await?;
                    self::command(inner, pid, Some(Live::new(running, Hooks::read(&given)?)))
                }
            })
        })
    }

    /// Takes up a command that runs, hearing it from now on.
    pub fn connect(&self, pid: JsValue, options: JsValue) -> Promise {
        let given = options.clone();
        on_handle(&self.machine, options, |inner, read| async move {
            exec::connect(read.as_ref())?;
            let running = inner.connect_command(exec::pid(&argument(&pid)?)?).await?;
            let pid = running.started().await?;
            Ok(command(
                inner,
                pid,
                Some(Live::new(running, Hooks::read(&given)?)),
            ))
        })
    }

    /// Ends the standard input of a process.
    #[wasm_bindgen(js_name = closeStdin)]
    pub fn close_stdin(&self, pid: JsValue, options: JsValue) -> Promise {
        on_handle_timed(&self.machine, options, |inner, _| async move {
            inner.close_stdin(exec::pid(&argument(&pid)?)?).await
        })
    }

    /// What the API started in the machine.
    pub fn list(&self, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| Ok(self.machine.processes(timeout)))
    }

    /// Ends a process and its children.
    pub fn kill(&self, pid: JsValue, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| {
            Ok(self.machine.kill_process(exec::pid(&argument(&pid)?)?, timeout))
        })
    }

    /// Writes to the standard input of a process.
    #[wasm_bindgen(js_name = sendStdin)]
    pub fn send_stdin(&self, pid: JsValue, data: JsValue, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| {
            send_stdin(&self.machine, exec::pid(&argument(&pid)?)?, &data, timeout)
        })
    }

    /// What a process printed so far.
    #[wasm_bindgen(js_name = getLogs)]
    pub fn get_logs(&self, pid: JsValue, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| {
            Ok(self.machine.logs(exec::pid(&argument(&pid)?)?, timeout))
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
        on_handle(&self.process, options, |(inner, pid, live), read| async move {
            let mut wait = exec::wait(read.as_ref())?;
            if let Some(live) = live {
                wait_live(&inner, pid, &live, &mut wait).await?;
            }
            inner.wait(pid, &wait).await
        })
    }

    /// Ends it and its children.
    pub fn kill(&self, options: JsValue) -> Promise {
        let (machine, pid, _) = &self.process;
        single_timed(&options, &|timeout| Ok(machine.kill_process(*pid, timeout)))
    }

    /// Hears no more of it; it goes on.
    pub fn disconnect(&self) -> Promise {
        on_handle_timed(&self.process, JsValue::UNDEFINED, |(.., live), _| async move {
            if let Some(live) = live {
                live.disconnect();
            }
            Ok(())
        })
    }

    /// Ends its standard input.
    #[wasm_bindgen(js_name = closeStdin)]
    pub fn close_stdin(&self, options: JsValue) -> Promise {
        on_handle_timed(&self.process, options, |(inner, pid, live), _| async move {
            match live {
                Some(live) => live.close_stdin().await,
                None => inner.close_stdin(pid).await,
            }
        })
    }

    /// Writes to its standard input.
    #[wasm_bindgen(js_name = sendStdin)]
    pub fn send_stdin(&self, data: JsValue, options: JsValue) -> Promise {
        let (machine, pid, _) = &self.process;
        single_timed(&options, &|timeout| send_stdin(machine, *pid, &data, timeout))
    }

    /// What it printed so far.
    #[wasm_bindgen(js_name = getLogs)]
    pub fn get_logs(&self, options: JsValue) -> Promise {
        let (machine, pid, _) = &self.process;
        single_timed(&options, &|timeout| Ok(machine.logs(*pid, timeout)))
    }
}

/// Writes text or bytes.
fn send_stdin(
    machine: &Inner<JsTransport>,
    pid: u32,
    data: &JsValue,
    timeout: Option<Duration>,
) -> Planned<JsTransport> {
    match host::base64(data) {
        Some(bytes) => machine.send_stdin_bytes(pid, bytes, timeout),
        None => machine.send_stdin(pid, &argument(data)?, timeout),
    }
}

/// Waits until nothing more comes, and takes that time off what is left.
async fn wait_live(
    machine: &Inner<JsTransport>,
    pid: u32,
    live: &Live,
    wait: &mut exec::Wait,
) -> Outcome<JsTransport, ()> {
    let Some(timeout) = wait.timeout else {
        return live.ended().await;
    };
    let transport = machine.transport();
    let begun = transport.now_ms();
    match race(live.ended(), transport.sleep(timeout)).await {
        First::A(ended) => ended?,
        First::B(()) => return Err(exec::still_runs(pid, timeout).into()),
    }
    let spent = Duration::from_secs_f64((transport.now_ms() - begun).max(0.0) / 1000.0);
    wait.timeout = Some(timeout.saturating_sub(spent));
    Ok(())
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
        single(&options, &|read| self.machine.code_run(&argument(&code)?, read))
    }
}
