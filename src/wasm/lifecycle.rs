//! The rest of the exported class `Machine`: leases, pauses, forks, snapshots, network; and the classes
//! `MachineLifecycle`, `Lifecycle` and `Snapshot`.

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{argument, on_class, on_handle, on_handle_plain, Call};
use super::machine::{fields, handle, Machine};
use super::transport::JsTransport;
use crate::client::machine::Machine as Inner;
use crate::client::{lifecycle, snapshot};
use crate::core::config::CLIENT_OPTIONS;
use crate::core::options::Fields;
use crate::core::{events, lease, machine, snapshots};

#[wasm_bindgen]
impl Machine {
    /// Moves the end of the lease.
    #[wasm_bindgen(js_name = setTimeout)]
    pub fn set_timeout(&self, seconds: JsValue, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        on_handle(
            self.inner.transport(),
            options,
            Box::new(|read| {
                Box::pin(async move {
                    let set = lease::set_timeout(&argument(&seconds)?, read.as_ref())?;
                    Ok(inner.set_timeout(&set).await?.0)
                })
            }),
        )
    }

    /// Freezes the machine.
    pub fn pause(&self, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        let call = |timeout| Box::pin(async move { Ok(inner.pause(timeout).await?.0) }) as Call;
        on_handle_plain(self.inner.transport(), options, Box::new(call))
    }

    /// The same.
    pub fn hibernate(&self, options: JsValue) -> Promise {
        self.pause(options)
    }

    /// Makes a second machine that goes on from here.
    pub fn fork(&self, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        on_handle(
            self.inner.transport(),
            options,
            Box::new(|read| {
                Box::pin(async move { Ok(handle(inner.fork(snapshots::keyed(read.as_ref())?).await?)) })
            }),
        )
    }

    /// Keeps the machine as it is now.
    #[wasm_bindgen(js_name = createSnapshot)]
    pub fn create_snapshot(&self, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        on_handle(
            self.inner.transport(),
            options,
            Box::new(|read| {
                Box::pin(async move { Ok(inner.create_snapshot(snapshots::keyed(read.as_ref())?).await?.0) })
            }),
        )
    }

    /// Replaces the whole network policy.
    #[wasm_bindgen(js_name = updateEgress)]
    pub fn update_egress(&self, policy: JsValue, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        let call = |timeout| {
            Box::pin(async move { Ok(inner.update_egress(&argument(&policy)?, timeout).await?.0) }) as Call
        };
        on_handle_plain(self.inner.transport(), options, Box::new(call))
    }

    /// Where a port can be reached.
    #[wasm_bindgen(js_name = getHost)]
    pub fn get_host(&self, port: JsValue, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        let call =
            |timeout| Box::pin(async move { Ok(inner.host(&argument(&port)?, timeout).await?.0) }) as Call;
        on_handle_plain(self.inner.transport(), options, Box::new(call))
    }

    /// URL of a port.
    #[wasm_bindgen(js_name = getUrl)]
    pub fn get_url(&self, port: JsValue, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        let call = |timeout| {
            Box::pin(async move { Ok(inner.url(&argument(&port)?, false, timeout).await?.into()) }) as Call
        };
        on_handle_plain(self.inner.transport(), options, Box::new(call))
    }

    /// WebSocket URL of a port.
    #[wasm_bindgen(js_name = getWebSocketUrl)]
    pub fn get_web_socket_url(&self, port: JsValue, options: JsValue) -> Promise {
        let inner = self.inner.clone();
        let call = |timeout| {
            Box::pin(async move { Ok(inner.url(&argument(&port)?, true, timeout).await?.into()) }) as Call
        };
        on_handle_plain(self.inner.transport(), options, Box::new(call))
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
    machine: Rc<Inner<JsTransport>>,
}

#[wasm_bindgen]
impl MachineLifecycle {
    /// A page of them.
    pub fn list(&self, options: JsValue) -> Promise {
        let inner = self.machine.clone();
        on_handle(
            self.machine.transport(),
            options,
            Box::new(|read| Box::pin(async move { Ok(inner.events(read.as_ref()).await?.0) })),
        )
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
        on_class(
            options,
            client,
            Box::new(|given| {
                Box::pin(async move {
                    let fields = Fields::new(
                        "",
                        Some(&given.options),
                        &[&events::LIST, &events::LIST_ALL, &CLIENT_OPTIONS],
                    )?;
                    Ok(lifecycle::all_events(&given.client(&fields)?, &fields).await?.0)
                })
            }),
        )
    }
}

#[wasm_bindgen]
impl Lifecycle {
    /// A page of those of a machine.
    #[wasm_bindgen(js_name = listMachineEvents)]
    pub fn list_machine_events(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        on_class(
            options,
            client,
            Box::new(|given| {
                Box::pin(async move {
                    let fields = fields(&given, &events::LIST)?;
                    let id = machine::id("id", &argument(&id)?)?;
                    Ok(lifecycle::machine_events(&given.client(&fields)?, &id, &fields)
                        .await?
                        .0)
                })
            }),
        )
    }

    /// A page of those of a snapshot.
    #[wasm_bindgen(js_name = listSnapshotEvents)]
    pub fn list_snapshot_events(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        on_class(
            options,
            client,
            Box::new(|given| {
                Box::pin(async move {
                    let fields = fields(&given, &events::LIST)?;
                    let id = machine::id("id", &argument(&id)?)?;
                    Ok(lifecycle::snapshot_events(&given.client(&fields)?, &id, &fields)
                        .await?
                        .0)
                })
            }),
        )
    }
}

/// Snapshots that outlive their machine.
#[wasm_bindgen(skip_typescript)]
pub struct Snapshot;

#[wasm_bindgen]
impl Snapshot {
    /// All that match.
    pub fn list(options: JsValue, client: JsValue) -> Promise {
        on_class(
            options,
            client,
            Box::new(|given| {
                Box::pin(async move {
                    let fields = snapshots::list_fields(&given.options)?;
                    Ok(snapshot::list(&given.client(&fields)?, &fields).await?.0)
                })
            }),
        )
    }

    /// Describes one.
    pub fn get(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        on_class(
            options,
            client,
            Box::new(|given| {
                Box::pin(async move {
                    let fields = fields(&given, &[])?;
                    let id = machine::id("id", &argument(&id)?)?;
                    Ok(snapshot::get(&given.client(&fields)?, &id).await?.0)
                })
            }),
        )
    }

    /// Deletes one.
    #[wasm_bindgen(js_name = delete)]
    pub fn destroy(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        on_class(
            options,
            client,
            Box::new(|given| {
                Box::pin(async move {
                    let fields = fields(&given, &[])?;
                    let id = machine::id("id", &argument(&id)?)?;
                    snapshot::delete(&given.client(&fields)?, &id)
                        .await
                        .map(|()| JsValue::UNDEFINED)
                })
            }),
        )
    }
}
