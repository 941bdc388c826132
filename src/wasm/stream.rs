//! Commands on their WebSocket: callbacks, and the class behind `commands.stream`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Function, JsString, Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{future_to_promise, spawn_local, JsFuture};

use super::call::{argument, call, hook, on_handle, on_held};
use super::host;
use super::record::Record;
use super::transport::JsTransport;
use crate::client::call::Outcome;
use crate::client::stream::{Event, Running};
use crate::client::Failure;
use crate::core::exec;
use crate::core::frames::Stream;

/// Text of each stream that a result keeps beside the callbacks. Characters, that is up to 16 MiB.
const KEPT: u32 = 8 << 20;

/// The caller's callbacks.
pub struct Hooks {
    stdout: Option<Function>,
    stderr: Option<Function>,
}

impl Hooks {
    /// Those among the options; that they are functions was checked.
    pub fn read(options: &JsValue) -> Outcome<JsTransport, Self> {
        Ok(Self {
            stdout: hook(options, "onStdout")?,
            stderr: hook(options, "onStderr")?,
        })
    }

    /// Tells one; an async callback is waited for, so that it slows the command down.
    async fn tell(&self, stream: Stream, data: &JsValue) -> Outcome<JsTransport, ()> {
        let hook = match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        };
        let Some(hook) = hook else { return Ok(()) };
        let answer = hook.call1(&JsValue::UNDEFINED, data).map_err(Failure::Thrown)?;
        if answer.is_object() {
            JsFuture::from(Promise::resolve(&answer))
                .await
                .map_err(Failure::Thrown)?;
        }
        Ok(())
    }
}

/// What was printed so far, up to a limit.
struct Kept {
    /// JavaScript's engines join texts without copying them, until somebody reads the whole.
    text: RefCell<JsString>,
    cut: Cell<bool>,
}

impl Kept {
    fn new() -> Self {
        Self {
            text: RefCell::new("".into()),
            cut: Cell::new(false),
        }
    }

    fn push(&self, more: &JsValue) {
        let length = more.unchecked_ref::<JsString>().length();
        let mut text = self.text.borrow_mut();
        if self.cut.get() || text.length() + length > KEPT {
            self.cut.set(true);
            return;
        }
        *text = text.concat(more);
    }
}

/// Hears a command to its end: its result.
pub async fn result(running: Running<JsTransport>, hooks: Hooks) -> Outcome<JsTransport, JsValue> {
    let (stdout, stderr) = (Kept::new(), Kept::new());
    let code = hear(&running, &hooks, |stream, data| match stream {
        Stream::Stdout => stdout.push(data),
        Stream::Stderr => stderr.push(data),
    })
    .await?;
    let result = Object::new();
    set(&result, "exitCode", &code.into());
    set(&result, "stdout", &stdout.text.borrow());
    set(&result, "stderr", &stderr.text.borrow());
    if let Some(pid) = running.pid() {
        set(&result, "pid", &pid.into());
    }
    if stdout.cut.get() || stderr.cut.get() {
        set(&result, "truncated", &JsValue::TRUE);
    }
    Ok(result.into())
}

async fn hear(
    running: &Running<JsTransport>,
    hooks: &Hooks,
    keep: impl Fn(Stream, &JsValue),
) -> Outcome<JsTransport, i32> {
    let mut code = None;
    while let Some(event) = running.next().await? {
        match event {
            Event::Started(_) => {}
            Event::Output(stream, data, _) => {
                keep(stream, &data.0);
                hooks.tell(stream, &data.0).await?;
            }
            Event::Exit(exit) => code = Some(exit),
        }
    }
    // `next` ends with an exit or an error, and nobody disconnects what is heard to its end.
    code.ok_or_else(|| crate::core::error::Error::invalid_response("the command was disconnected").into())
}

/// A command in the background whose output goes to callbacks.
pub struct Live {
    running: Rc<Running<JsTransport>>,
    /// Resolves when nothing more comes: with the exit code, or with `undefined` when the socket was lost. Rejects
    /// with what a callback threw.
    done: Promise,
}

impl Live {
    /// Goes on hearing.
    pub fn new(running: Running<JsTransport>, hooks: Hooks) -> Rc<Self> {
        running.stay();
        let running = Rc::new(running);
        let heard = running.clone();
        let done = future_to_promise(async move {
            match hear(&heard, &hooks, |_, _| {}).await {
                Ok(code) => Ok(code.into()),
                Err(Failure::Thrown(thrown)) => {
                    heard.kill();
                    Err(thrown)
                }
                // The command goes on without its socket: `wait` looks at the list of processes.
                Err(Failure::Error(_)) => Ok(JsValue::UNDEFINED),
            }
        });
        let watched = done.clone();
        // Whoever waits hears of it; nobody else has to.
        spawn_local(async move { drop(JsFuture::from(watched).await) });
        Rc::new(Self { running, done })
    }

    /// Waits until nothing more comes.
    pub async fn ended(&self) -> Outcome<JsTransport, ()> {
        JsFuture::from(self.done.clone())
            .await
            .map(drop)
            .map_err(Failure::Thrown)
    }

    /// The command goes on, unheard.
    pub fn disconnect(&self) {
        self.running.disconnect();
    }

    /// Ends its standard input.
    pub async fn close_stdin(&self) -> Outcome<JsTransport, ()> {
        self.running.close_stdin().await
    }
}

/// What `commands.stream` walks along: it holds a socket.
#[wasm_bindgen(skip_typescript)]
pub struct CommandStream {
    running: Rc<Running<JsTransport>>,
}

/// Runs a command whose output comes as it is printed.
#[wasm_bindgen(js_namespace = CommandsHandle, js_name = openStream)]
pub fn commands_open_stream(record: Record, command: JsValue, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let (machine, request) = (held.machine(), exec::stream(&argument(&command)?, read)?);
        call(async move {
            let running = Rc::new(machine.stream(&request).await?);
            Ok(JsValue::from(CommandStream { running }))
        })
    })
}

#[wasm_bindgen]
impl CommandStream {
    /// The next event; `undefined` after the last one.
    pub fn next(&self, options: JsValue) -> Promise {
        let running = self.running.clone();
        on_held(&options, || {
            call(async move {
                Ok(match running.next().await? {
                    None => JsValue::UNDEFINED,
                    Some(Event::Started(pid)) => event("started", "pid", &pid.into()).into(),
                    Some(Event::Output(stream, data, base64)) => {
                        let printed = event(stream.name(), "data", &data.0);
                        if let Some(base64) = base64 {
                            let bytes = host::terminal_bytes(&base64.0, &JsValue::UNDEFINED);
                            set(&printed, "bytes", &bytes.map_err(Failure::Thrown)?);
                        }
                        printed.into()
                    }
                    Some(Event::Exit(code)) => event("exit", "exitCode", &code.into()).into(),
                })
            })
        })
    }

    /// Ends the command, if it runs, unless it stays.
    pub fn close(&self) {
        self.running.close();
    }

    /// The command goes on when nobody hears it.
    pub fn stay(&self) {
        self.running.stay();
    }

    /// Ends its standard input.
    #[wasm_bindgen(js_name = closeStdin)]
    pub fn close_stdin(&self, options: JsValue) -> Promise {
        let running = self.running.clone();
        on_held(&options, || call(async move { running.close_stdin().await }))
    }
}

fn event(kind: &str, name: &str, value: &JsValue) -> Object {
    let event = Object::new();
    set(&event, "kind", &kind.into());
    set(&event, name, value);
    event
}

/// A fresh plain object takes any property.
fn set(object: &Object, name: &str, value: &JsValue) {
    let _ = Reflect::set(object, &name.into(), value);
}
