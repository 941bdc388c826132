//! The exported classes `Machine`, `Commands` and `MachinePage`. The last parameter of a static is the options of the
//! client it was called on; lib.js fills it in.

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{argument, named, on_class, on_handle_timed, Handle};
use super::single::{asked_on_class, single, single_on_class, single_timed, Asked};
use super::transport::{JsAnswer, JsTransport};
use crate::client::call::{Client, Sent};
use crate::client::machine::{call_options, Machine as Inner};
use crate::client::page::Page;
use crate::core::error::Error;
use crate::core::machine;

/// A machine, as JavaScript holds it.
#[wasm_bindgen(skip_typescript)]
pub struct Machine {
    pub(super) inner: Rc<Inner<JsTransport>>,
}

/// Commands of a machine.
#[wasm_bindgen(skip_typescript)]
pub struct Commands {
    pub(super) machine: Rc<Inner<JsTransport>>,
}

/// One page of machines, and the way to the next.
#[wasm_bindgen(skip_typescript)]
pub struct MachinePage {
    inner: Rc<Page<JsTransport>>,
}

impl Handle for Rc<Inner<JsTransport>> {
    fn transport(&self) -> JsTransport {
        self.as_ref().transport().clone()
    }
}

impl Handle for Rc<Page<JsTransport>> {
    fn transport(&self) -> JsTransport {
        self.as_ref().transport().clone()
    }
}

fn handle(inner: Inner<JsTransport>) -> JsValue {
    Machine {
        inner: Rc::new(inner),
    }
    .into()
}

pub(super) fn taken_up(client: &Client<JsTransport>, sent: Sent<JsAnswer>) -> Result<JsValue, Error> {
    Ok(handle(Inner::taken_up(client, &sent.answer)?))
}

#[wasm_bindgen]
impl Machine {
    /// Makes a machine.
    pub fn create(options: JsValue, client: JsValue) -> Promise {
        asked_on_class(&options, &client, &|given| {
            let fields = machine::create_fields(&given.options)?;
            let creation = Inner::creation(&given.client(&fields)?, &fields)?;
            let (client, timeout) = (creation.client().clone(), creation.timeout());
            Ok(Asked::made(creation, move |sent| {
                Ok(handle(Inner::made(&client, sent, timeout)?))
            }))
        })
    }

    /// Takes up a machine.
    pub fn connect(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        on_class(options, client, |given| async move {
            let fields = given.fields(&["timeout"])?;
            let id = named("id", &id)?;
            let lease = fields.seconds("timeout")?;
            Ok(handle(Inner::connect(&given.client(&fields)?, &id, lease).await?))
        })
    }

    /// Resumes a paused machine.
    pub fn resume(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        asked_on_class(&options, &client, &|given| {
            let (client, id) = given.on(&id)?;
            Ok(Asked::handle(Inner::resuming(&client, &id), taken_up))
        })
    }

    /// Machines, page by page; rows when `fields` is given.
    pub fn list(options: JsValue, client: JsValue) -> Promise {
        asked_on_class(&options, &client, &|given| {
            let fields = machine::list_fields(&given.options)?;
            let list = machine::list(&fields)?;
            let client = given.client(&fields)?;
            if list.rows {
                return Ok(Asked::plainly(Page::rows(&client, &list)));
            }
            let reading = Page::reading(&client, &list);
            Ok(Asked::made(reading, move |sent| {
                let inner = Rc::new(Page::first(client, list, &sent.answer));
                Ok(MachinePage { inner }.into())
            }))
        })
    }

    /// Describes a machine.
    #[wasm_bindgen(js_name = getInfoById)]
    pub fn get_info_by_id(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        single_on_class(&options, &client, &|given| {
            let fields = given.fields(&["fields"])?;
            let (id, names) = (
                machine::id("id", &argument(&id)?)?,
                machine::field_names(&fields)?,
            );
            Ok(Inner::info_by_id(&given.client(&fields)?, &id, names, None))
        })
    }

    /// Samples of a machine.
    #[wasm_bindgen(js_name = getMetricsById)]
    pub fn get_metrics_by_id(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        single_on_class(&options, &client, &|given| {
            let (client, id) = given.on(&id)?;
            Ok(Inner::metrics_by_id(&client, &id, None))
        })
    }

    /// Destroys a machine.
    #[wasm_bindgen(js_name = killById)]
    pub fn kill_by_id(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        single_on_class(&options, &client, &|given| {
            let (client, id) = given.on(&id)?;
            Ok(Inner::kill_by_id(&client, &id, None))
        })
    }

    /// Makes a machine, runs one command, destroys the machine.
    #[wasm_bindgen(js_name = runOnce)]
    pub fn run_once(command: JsValue, options: JsValue, client: JsValue) -> Promise {
        on_class(options, client, |given| async move {
            let fields = machine::run_once_fields(&given.options)?;
            let command = argument(&command)?;
            Inner::run_once(&given.client(&fields)?, &command, &fields).await
        })
    }

    /// `mch_...`
    #[wasm_bindgen(getter)]
    pub fn id(&self) -> String {
        self.inner.id.clone()
    }

    /// Working directory of commands.
    #[wasm_bindgen(getter)]
    pub fn cwd(&self) -> Option<String> {
        self.inner.cwd.clone()
    }

    /// Opens private preview ports.
    #[wasm_bindgen(getter, js_name = trafficAccessToken)]
    pub fn traffic_access_token(&self) -> Option<String> {
        self.inner.traffic_access_token.clone()
    }

    /// Runs commands.
    #[wasm_bindgen(getter)]
    pub fn commands(&self) -> Commands {
        Commands {
            machine: self.inner.clone(),
        }
    }

    /// Describes the machine.
    #[wasm_bindgen(js_name = getInfo)]
    pub fn get_info(&self, options: JsValue) -> Promise {
        single(&options, &|read| {
            let (timeout, names) = call_options(read, &["fields"])?;
            Ok(self.inner.info(names, timeout))
        })
    }

    /// Whether it runs.
    #[wasm_bindgen(js_name = isRunning)]
    pub fn is_running(&self, options: JsValue) -> Promise {
        on_handle_timed(&self.inner, options, |inner, timeout| async move {
            inner.is_running(timeout).await
        })
    }

    /// Samples of the machine.
    #[wasm_bindgen(js_name = getMetrics)]
    pub fn get_metrics(&self, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| Ok(self.inner.metrics(timeout)))
    }

    /// Destroys the machine.
    pub fn kill(&self, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| Ok(self.inner.kill(timeout)))
    }
}

#[wasm_bindgen]
impl MachinePage {
    /// The machines of the first page, once; lib.js keeps them.
    #[wasm_bindgen(js_name = takeItems)]
    pub fn take_items(&self) -> JsValue {
        self.inner.take_items().0
    }

    /// What follows the last page: nothing, once the options are checked. For lib.js, which frees last pages.
    #[wasm_bindgen(js_name = nothingFollows)]
    pub fn nothing_follows(options: JsValue, client: JsValue) -> Promise {
        on_class(options, client, |given| async move {
            call_options(Some(&given.options), &[])?;
            Ok(JsValue::from(js_sys::Array::new()))
        })
    }

    /// Whether another page follows.
    #[wasm_bindgen(getter, js_name = hasNext)]
    pub fn has_next(&self) -> bool {
        self.inner.next_token().is_some()
    }

    /// Asks for it.
    #[wasm_bindgen(getter, js_name = nextToken)]
    pub fn next_token(&self) -> Option<String> {
        self.inner.next_token()
    }

    /// Reads the next page.
    #[wasm_bindgen(js_name = nextItems)]
    pub fn next_items(&self, options: JsValue) -> Promise {
        on_handle_timed(&self.inner, options, |inner, timeout| async move {
            inner.next(timeout).await
        })
    }
}

/// Kinds of errors, for the test that compares them with the classes.
#[cfg(feature = "traps")]
#[wasm_bindgen(js_name = errorKinds)]
pub fn error_kinds() -> JsValue {
    super::throw::to_js(&crate::core::error::ALL_KINDS)
}
