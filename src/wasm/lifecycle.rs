//! The rest of the exported class `Machine`: leases, pauses, forks, snapshots, network; and the classes
//! `MachineLifecycle`, `Lifecycle` and `Snapshot`.

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{argument, named, on_handle_timed};
use super::machine::{taken_up, Machine};
use super::single::{asked, single, single_on_class, single_timed, Asked};
use super::transport::JsTransport;
use crate::client::machine::Machine as Inner;
use crate::client::{lifecycle, snapshot};
use crate::core::{events, lease, snapshots};

#[wasm_bindgen]
impl Machine {
    /// Moves the end of the lease.
    #[wasm_bindgen(js_name = setTimeout)]
    pub fn set_timeout(&self, seconds: JsValue, options: JsValue) -> Promise {
        single(&options, &|read| {
            let set = lease::set_timeout(&argument(&seconds)?, read)?;
            self.inner.set_timeout(&set)
        })
    }

    /// Freezes the machine.
    pub fn pause(&self, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| Ok(self.inner.pause(timeout)))
    }

    /// The same.
    pub fn hibernate(&self, options: JsValue) -> Promise {
        self.pause(options)
    }

    /// Makes a second machine that goes on from here.
    pub fn fork(&self, options: JsValue) -> Promise {
        asked(&options, &|read| {
            let forking = self.inner.forking(snapshots::keyed(read)?);
            Ok(Asked::handle(forking, taken_up))
        })
    }

    /// Keeps the machine as it is now.
    #[wasm_bindgen(js_name = createSnapshot)]
    pub fn create_snapshot(&self, options: JsValue) -> Promise {
        single(&options, &|read| {
            Ok(self.inner.create_snapshot(snapshots::keyed(read)?))
        })
    }

    /// Replaces the whole network policy.
    #[wasm_bindgen(js_name = updateEgress)]
    pub fn update_egress(&self, policy: JsValue, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| {
            self.inner.update_egress(&argument(&policy)?, timeout)
        })
    }

    /// Where a port can be reached.
    #[wasm_bindgen(js_name = getHost)]
    pub fn get_host(&self, port: JsValue, options: JsValue) -> Promise {
        single_timed(&options, &|timeout| self.inner.host(&argument(&port)?, timeout))
    }

    /// URL of a port.
    #[wasm_bindgen(js_name = getUrl)]
    pub fn get_url(&self, port: JsValue, options: JsValue) -> Promise {
        on_handle_timed(&self.inner, options, |inner, timeout| async move {
            inner.url(&argument(&port)?, false, timeout).await
        })
    }

    /// WebSocket URL of a port.
    #[wasm_bindgen(js_name = getWebSocketUrl)]
    pub fn get_web_socket_url(&self, port: JsValue, options: JsValue) -> Promise {
        on_handle_timed(&self.inner, options, |inner, timeout| async move {
            inner.url(&argument(&port)?, true, timeout).await
        })
    }

    /// What happened to it.
    #[wasm_bindgen(getter)]
    pub fn lifecycle(&self) -> MachineLifecycle {
        MachineLifecycle {
            machine: self.inner.clone(),
        }
    }
}

/// Events of a machine.
#[wasm_bindgen(skip_typescript)]
pub struct MachineLifecycle {
    pub(super) machine: Rc<Inner<JsTransport>>,
}

#[wasm_bindgen]
impl MachineLifecycle {
    /// A page of them.
    pub fn list(&self, options: JsValue) -> Promise {
        single(&options, &|read| self.machine.events(read))
    }
}

/// Events of an account.
#[wasm_bindgen(skip_typescript)]
pub struct Lifecycle;

#[wasm_bindgen]
impl Lifecycle {
    /// A page of them.
    #[wasm_bindgen(js_name = listEvents)]
    pub fn list_events(options: JsValue, client: JsValue) -> Promise {
        single_on_class(&options, &client, &|given| {
            let fields = given.fields(&[&events::LIST[..], &events::LIST_ALL].concat())?;
            lifecycle::all_events(&given.client(&fields)?, &fields)
        })
    }
}

#[wasm_bindgen]
impl Lifecycle {
    /// A page of those of a machine.
    #[wasm_bindgen(js_name = listMachineEvents)]
    pub fn list_machine_events(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        single_on_class(&options, &client, &|given| {
            let fields = given.fields(&events::LIST)?;
            let id = named("id", &id)?;
            lifecycle::machine_events(&given.client(&fields)?, &id, &fields)
        })
    }

    /// A page of those of a snapshot.
    #[wasm_bindgen(js_name = listSnapshotEvents)]
    pub fn list_snapshot_events(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        single_on_class(&options, &client, &|given| {
            let fields = given.fields(&events::LIST)?;
            let id = named("id", &id)?;
            lifecycle::snapshot_events(&given.client(&fields)?, &id, &fields)
        })
    }
}

/// Snapshots that outlive their machine.
#[wasm_bindgen(skip_typescript)]
pub struct Snapshot;

#[wasm_bindgen]
impl Snapshot {
    /// All that match.
    pub fn list(options: JsValue, client: JsValue) -> Promise {
        single_on_class(&options, &client, &|given| {
            let fields = snapshots::list_fields(&given.options)?;
            snapshot::list(&given.client(&fields)?, &fields)
        })
    }

    /// Describes one.
    pub fn get(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        single_on_class(&options, &client, &|given| {
            let (client, id) = given.on(&id)?;
            Ok(snapshot::get(&client, &id))
        })
    }

    /// Deletes one.
    #[wasm_bindgen(js_name = delete)]
    pub fn destroy(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        single_on_class(&options, &client, &|given| {
            let (client, id) = given.on(&id)?;
            Ok(snapshot::delete(&client, &id))
        })
    }
}
