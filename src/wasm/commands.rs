//! Commands of a machine, and one that runs in the background.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{select, Either};
use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{argument, call, on_handle, on_held, on_held_with, sent};
use super::export::handle_call;
use super::host;
use super::record::Record;
use super::stream::{self, Hooks, Live};
use super::transport::JsTransport;
use crate::client::call::Outcome;
use crate::client::machine::{Machine, Ran};
use crate::core::exec;
use crate::surface::processes;
use crate::transport::Transport as _;

/// Runs a command.
#[wasm_bindgen(js_namespace = CommandsHandle, js_name = run)]
pub fn commands_run(record: Record, command: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let machine = held.machine();
        let run = exec::run(&argument(&command)?, read)?;
        let hooks = Hooks::read(&options)?;
        let record = record.clone();
        call(async move {
            Ok(match machine.execute(run).await? {
                Ran::Ended(result) => result.0,
                Ran::Started(pid) => host::command(&record, pid, &JsValue::UNDEFINED),
                Ran::Heard {
                    running,
                    background: false,
                } => stream::result(running, hooks).await?,
                Ran::Heard { running, .. } => {
                    let pid = running.started().await?;
                    host::command(&record, pid, &heard(machine, pid, Live::new(running, hooks)))
                }
            })
        })
    })
}

/// Runs a program given as text to its end.
#[wasm_bindgen(js_namespace = ProcessHandle, js_name = codeRun)]
pub fn process_code_run(record: Record, code: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let planned = held.machine().code_run(&argument(&code)?, read)?;
        sent(planned)
    })
}

/// Hears a command that runs.
#[wasm_bindgen(js_namespace = CommandsHandle, js_name = connect)]
pub fn commands_connect(record: Record, pid: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        exec::connect(read)?;
        let (machine, pid) = (held.machine(), exec::pid(&argument(&pid)?)?);
        let hooks = Hooks::read(&options)?;
        let record = record.clone();
        call(async move {
            let running = machine.connect_command(pid).await?;
            let pid = running.started().await?;
            Ok(host::command(
                &record,
                pid,
                &heard(machine, pid, Live::new(running, hooks)),
            ))
        })
    })
}

/// Writes text or bytes to the standard input of a command.
#[wasm_bindgen(js_namespace = CommandsHandle, js_name = sendStdin)]
pub fn commands_send_stdin(record: Record, pid: JsValue, data: JsValue, options: JsValue) -> Promise {
    match host::base64(&data) {
        Some(bytes) => handle_call(
            &processes::SEND_STDIN_BYTES,
            &record,
            &[pid, bytes.into()],
            &options,
        ),
        None => handle_call(&processes::SEND_STDIN, &record, &[pid, data], &options),
    }
}

/// Ends the standard input of a command.
#[wasm_bindgen(js_namespace = CommandsHandle, js_name = closeStdin)]
pub fn commands_close_stdin(record: Record, pid: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        crate::client::machine::call_options(read)?;
        let (machine, pid) = (held.machine(), exec::pid(&argument(&pid)?)?);
        call(async move { machine.close_stdin(pid).await })
    })
}

/// Waits for the end of a command in the background.
#[wasm_bindgen(js_namespace = CommandsHandle, js_name = wait)]
pub fn commands_wait(record: Record, pid: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let (machine, pid, wait) = (held.machine(), exec::pid(&argument(&pid)?)?, exec::wait(read)?);
        call(async move { machine.wait(pid, &wait).await })
    })
}

/// A command that is heard on its socket.
#[wasm_bindgen(skip_typescript)]
pub struct HeardCommand {
    machine: Rc<Machine<JsTransport>>,
    pid: u32,
    live: Rc<Live>,
}

fn heard(machine: Machine<JsTransport>, pid: u32, live: Rc<Live>) -> JsValue {
    HeardCommand {
        machine: Rc::new(machine),
        pid,
        live,
    }
    .into()
}

#[wasm_bindgen]
impl HeardCommand {
    /// Waits for the end.
    pub fn wait(&self, options: JsValue) -> Promise {
        let (machine, pid, live) = (self.machine.clone(), self.pid, self.live.clone());
        on_held_with(&options, |read| {
            let mut wait = exec::wait(read)?;
            call(async move {
                wait_live(&machine, pid, &live, &mut wait).await?;
                machine.wait(pid, &wait).await
            })
        })
    }

    /// Hears no more of it; it goes on.
    pub fn disconnect(&self) {
        self.live.disconnect();
    }

    /// Ends its standard input.
    #[wasm_bindgen(js_name = closeStdin)]
    pub fn close_stdin(&self, options: JsValue) -> Promise {
        let live = self.live.clone();
        on_held(&options, || call(async move { live.close_stdin().await }))
    }
}

/// Waits until nothing more comes, and takes that time off what is left.
async fn wait_live(
    machine: &Machine<JsTransport>,
    pid: u32,
    live: &Live,
    wait: &mut exec::Wait,
) -> Outcome<JsTransport, ()> {
    let Some(timeout) = wait.timeout else {
        return live.ended().await;
    };
    let transport = machine.transport();
    let begun = transport.now_ms();
    match select(pin!(live.ended()), pin!(transport.sleep(timeout))).await {
        Either::Left((ended, _)) => ended?,
        Either::Right(_) => return Err(exec::still_runs(pid, timeout).into()),
    }
    let spent = Duration::from_secs_f64((transport.now_ms() - begun).max(0.0) / 1000.0);
    wait.timeout = Some(timeout.saturating_sub(spent));
    Ok(())
}
