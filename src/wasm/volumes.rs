//! The exported classes `Volume` and `MachineVolumes`.

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{argument, named, on_class, Handle};
use super::machine::Machine;
use super::single::{asked_on_class, single, single_on_class, single_timed, Asked};
use super::transport::{JsAnswer, JsTransport};
use crate::client::call::{Client, Sent};
use crate::client::machine::Machine as OfMachine;
use crate::client::volume::Volume as Inner;
use crate::core::error::Error;

/// A directory that outlives machines, as JavaScript holds it.
#[wasm_bindgen(skip_typescript)]
pub struct Volume {
    inner: Rc<Inner<JsTransport>>,
}

impl Handle for Rc<Inner<JsTransport>> {
    fn transport(&self) -> JsTransport {
        self.as_ref().transport().clone()
    }
}

fn handle(inner: Inner<JsTransport>) -> JsValue {
    Volume {
        inner: Rc::new(inner),
    }
    .into()
}

fn taken_up(client: &Client<JsTransport>, sent: Sent<JsAnswer>) -> Result<JsValue, Error> {
    Ok(handle(Inner::of(client, &sent.answer)?))
}

#[wasm_bindgen]
impl Volume {
    /// Makes one.
    pub fn create(name: JsValue, options: JsValue, client: JsValue) -> Promise {
        asked_on_class(&options, &client, &|given| {
            let client = given.client(&given.fields(&[])?)?;
            let creation = Inner::creation(&client, &named("name", &name)?);
            Ok(Asked::handle(creation, taken_up))
        })
    }

    /// Takes one up by its id.
    pub fn get(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        asked_on_class(&options, &client, &|given| {
            let (client, id) = given.on(&id)?;
            Ok(Asked::handle(Inner::reading(&client, &id, None), taken_up))
        })
    }

    /// Takes one up by its exact name.
    #[wasm_bindgen(js_name = fromName)]
    pub fn from_name(name: JsValue, options: JsValue, client: JsValue) -> Promise {
        on_class(options, client, |given| async move {
            let fields = given.fields(&["createIfMissing"])?;
            let or_make = fields.flag("createIfMissing")?.unwrap_or(false);
            let name = named("name", &name)?;
            Ok(handle(
                Inner::by_name(&given.client(&fields)?, &name, or_make).await?,
            ))
        })
    }

    /// All of them.
    pub fn list(options: JsValue, client: JsValue) -> Promise {
        single_on_class(&options, &client, &|given| {
            Ok(Inner::list(&given.client(&given.fields(&[])?)?))
        })
    }

    /// `vol_...`
    #[wasm_bindgen(getter)]
    pub fn id(&self) -> String {
        self.inner.id.clone()
    }

    /// Unique in an account.
    #[wasm_bindgen(getter)]
    pub fn name(&self) -> String {
        self.inner.name.clone()
    }

    /// Describes it.
    #[wasm_bindgen(js_name = getInfo)]
    pub fn get_info(&self, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| Ok(self.inner.info(timeout)))
    }

    /// Machines that have it mounted.
    pub fn attachments(&self, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| Ok(self.inner.attachments(timeout)))
    }

    /// Deletes it.
    #[wasm_bindgen(js_name = delete)]
    pub fn destroy(&self, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| Ok(self.inner.delete(timeout)))
    }
}

/// Volumes of a machine.
#[wasm_bindgen(skip_typescript)]
pub struct MachineVolumes {
    machine: Rc<OfMachine<JsTransport>>,
}

#[wasm_bindgen]
impl Machine {
    /// Volumes.
    #[wasm_bindgen(getter)]
    pub fn volumes(&self) -> MachineVolumes {
        MachineVolumes {
            machine: self.inner.clone(),
        }
    }
}

#[wasm_bindgen]
impl MachineVolumes {
    /// What is mounted.
    pub fn list(&self, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| Ok(self.machine.volumes(timeout)))
    }

    /// Mounts one.
    pub fn attach(&self, volume: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            self.machine.attach_volume(&argument(&volume)?, read)
        })
    }

    /// Takes one away.
    pub fn detach(&self, attachment: JsValue, options: JsValue) -> Promise {
        self.on_attachment(attachment, options, "detachMachineVolume", "DELETE", "")
    }

    /// Whether it is where it should be.
    pub fn health(&self, attachment: JsValue, options: JsValue) -> Promise {
        self.on_attachment(attachment, options, "getMachineVolumeHealth", "GET", "/health")
    }

    /// Mounts it again.
    pub fn remount(&self, attachment: JsValue, options: JsValue) -> Promise {
        self.on_attachment(attachment, options, "remountMachineVolume", "POST", "/remount")
    }
}

impl MachineVolumes {
    fn on_attachment(
        &self,
        attachment: JsValue,
        options: JsValue,
        operation: &'static str,
        method: &'static str,
        verb: &'static str,
    ) -> Promise {
        single_timed(&options, &|timeout| {
            let id = named("attachmentId", &attachment)?;
            Ok(self.machine.on_attachment(operation, method, &id, verb, timeout))
        })
    }
}
