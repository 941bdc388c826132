//! What takes more than one request, or rules of its own, of `Machine`.

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{argument, call, named, on_class, on_handle, on_held, sent};
use super::host;
use super::record::{self, Record};
use super::transport::{Host, JsTransport};
use crate::client::machine::{Machine, Once};
use crate::client::page::page;
use crate::core::machine;

/// The handle of a machine that was made: its later calls take as long as the create might, and repeat its proof.
fn made(machine: &Machine<JsTransport>, answer: &JsValue) -> JsValue {
    let options = machine.transport().options();
    let timeout = machine.timeout().as_secs_f64() * 1000.0;
    host::handle("Machine", answer, &options, Some(timeout), machine.proof())
}

/// Makes a machine.
#[wasm_bindgen(js_namespace = Machine, js_name = create)]
pub fn machine_create(options: JsValue, client: JsValue) -> Promise {
    on_class(&options, &client, &|given| {
        let fields = machine::create_fields(&given.options)?;
        let body = machine::create(&fields, &Host)?;
        let creation = Machine::creation(&given.client()?, &fields, &body)?;
        call(async move {
            let (client, timeout) = (creation.client().clone(), creation.timeout());
            let sent = creation.finish().await?;
            let answer = sent.answer.0.clone();
            Ok(made(&Machine::made(&client, sent, timeout)?, &answer))
        })
    })
}

/// Takes up a machine.
#[wasm_bindgen(js_namespace = Machine, js_name = connect)]
pub fn machine_connect(id: JsValue, options: JsValue, client: JsValue) -> Promise {
    on_class(&options, &client, &|given| {
        let fields = given.fields(&machine::CONNECT)?;
        let id = named("id", &id)?;
        fields.seconds("timeout")?;
        let lease = fields.get("timeout").cloned();
        let client = given.client()?;
        call(async move {
            let answer = Machine::connect(&client, &id, lease.as_ref()).await?;
            Ok(record::handle("Machine", &client, &answer))
        })
    })
}

/// Machines: a page of them, or rows when `fields` is given. lib.js makes a `MachinePage` of the former.
#[wasm_bindgen(js_namespace = Machine, js_name = list)]
pub fn machine_list(options: JsValue, client: JsValue) -> Promise {
    on_class(&options, &client, &|given| {
        let fields = machine::list_fields(&given.options)?;
        let list = machine::list(&fields)?;
        let client = given.client()?;
        sent(page(&client, &list))
    })
}

/// Makes a machine, runs one command, destroys the machine.
#[wasm_bindgen(js_namespace = Machine, js_name = runOnce)]
pub fn machine_run_once(command: JsValue, options: JsValue, client: JsValue) -> Promise {
    on_class(&options, &client, &|given| {
        let fields = machine::run_once_fields(&given.options)?;
        let once = Once::read(&argument(&command)?, &fields, &Host)?;
        let client = given.client()?;
        call(async move { Machine::run_once(&client, once).await })
    })
}

/// Whether it runs.
#[wasm_bindgen(js_namespace = MachineHandle, js_name = isRunning)]
pub fn machine_is_running(record: Record, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let asked = held.machine().asking_whether_it_runs(read)?;
        call(asked)
    })
}

/// URL of a port.
#[wasm_bindgen(js_namespace = MachineHandle, js_name = getUrl)]
pub fn machine_get_url(record: Record, port: JsValue, options: JsValue) -> Promise {
    url(&record, &port, &options, false)
}

/// URL of a port, for WebSockets.
#[wasm_bindgen(js_namespace = MachineHandle, js_name = getWebSocketUrl)]
pub fn machine_get_web_socket_url(record: Record, port: JsValue, options: JsValue) -> Promise {
    url(&record, &port, &options, true)
}

fn url(record: &Record, port: &JsValue, options: &JsValue, websocket: bool) -> Promise {
    on_handle(record, options, &|held, read| {
        let asked = held.machine().asking_for_url(&argument(port)?, websocket, read)?;
        call(asked)
    })
}

/// Makes a second machine that goes on from where this one is.
#[wasm_bindgen(js_namespace = MachineHandle, js_name = fork)]
pub fn machine_fork(record: Record, options: JsValue) -> Promise {
    on_handle(&record, &options, &|held, read| {
        let forking = held.machine().forking(read)?;
        call(async move {
            let client = forking.client().clone();
            let answer = forking.send().await?;
            Ok(record::handle("Machine", &client, &answer))
        })
    })
}

/// What follows a last page: nothing, once the options are checked.
#[wasm_bindgen(js_namespace = MachinePage, js_name = nothing)]
pub fn page_nothing(options: JsValue) -> Promise {
    on_held(&options, || {
        call(async { Ok(JsValue::from(js_sys::Array::new())) })
    })
}

/// Kinds of errors, for the test that compares them with the classes.
#[cfg(feature = "traps")]
#[wasm_bindgen(js_name = errorKinds)]
pub fn error_kinds() -> JsValue {
    super::throw::to_js(&crate::core::error::ALL_KINDS)
}
