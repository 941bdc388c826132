//! Webhooks of the class `Lifecycle`, streams of events, and the class `Monitor`. lib.js makes iterables and
//! subscriptions of [`Feed`].

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::call::{named, on_class, on_handle, on_handle_timed, Handle};
use super::lifecycle::{Lifecycle, MachineLifecycle};
use super::single::single_on_class;
use super::transport::JsTransport;
use crate::client::events::Feed as Inner;
use crate::client::webhooks;
use crate::core::{config, events, monitor};
use crate::transport::Transport as _;

#[wasm_bindgen]
impl Lifecycle {
    /// Makes a webhook.
    #[wasm_bindgen(js_name = createWebhook)]
    pub fn create_webhook(options: JsValue, client: JsValue) -> Promise {
        single_on_class(&options, &client, &|given| {
            let fields = given.fields(&events::WEBHOOK)?;
            webhooks::create(&given.client(&fields)?, &fields)
        })
    }

    /// All webhooks.
    #[wasm_bindgen(js_name = listWebhooks)]
    pub fn list_webhooks(options: JsValue, client: JsValue) -> Promise {
        single_on_class(&options, &client, &|given| {
            let fields = given.fields(&[])?;
            Ok(webhooks::list(&given.client(&fields)?))
        })
    }

    /// Describes one.
    #[wasm_bindgen(js_name = getWebhook)]
    pub fn get_webhook(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        single_on_class(&options, &client, &|given| {
            let (client, id) = given.on(&id)?;
            Ok(webhooks::get(&client, &id))
        })
    }

    /// Changes one.
    #[wasm_bindgen(js_name = updateWebhook)]
    pub fn update_webhook(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        single_on_class(&options, &client, &|given| {
            let fields = given.fields(&events::WEBHOOK)?;
            let id = named("id", &id)?;
            webhooks::update(&given.client(&fields)?, &id, &fields)
        })
    }

    /// Deletes one.
    #[wasm_bindgen(js_name = deleteWebhook)]
    pub fn delete_webhook(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        single_on_class(&options, &client, &|given| {
            let (client, id) = given.on(&id)?;
            Ok(webhooks::delete(&client, &id))
        })
    }

    /// A page of its deliveries.
    #[wasm_bindgen(js_name = listWebhookDeliveries)]
    pub fn list_webhook_deliveries(id: JsValue, options: JsValue, client: JsValue) -> Promise {
        single_on_class(&options, &client, &|given| {
            let fields = given.fields(&["offset", "limit"])?;
            let id = named("id", &id)?;
            webhooks::deliveries(&given.client(&fields)?, &id, &fields)
        })
    }

    /// One of them.
    #[wasm_bindgen(js_name = getWebhookDelivery)]
    pub fn get_webhook_delivery(
        id: JsValue,
        delivery: JsValue,
        options: JsValue,
        client: JsValue,
    ) -> Promise {
        single_on_class(&options, &client, &|given| {
            let (client, id) = given.on(&id)?;
            Ok(webhooks::delivery(&client, &id, &named("deliveryId", &delivery)?))
        })
    }

    /// A stream of events: the past, then what happens.
    #[wasm_bindgen(js_name = openStream)]
    pub fn open_stream(options: JsValue, client: JsValue) -> Promise {
        on_class(options, client, |given| async move {
            let fields = given.fields(&[&events::STREAM[..], &events::SCOPE].concat())?;
            let stream = events::stream(&fields)?;
            Ok(feed(
                Inner::events(given.client(&fields)?, stream),
                given.transport(),
            ))
        })
    }

    /// What happens from now on.
    #[wasm_bindgen(js_name = openSubscription)]
    pub fn open_subscription(options: JsValue, client: JsValue) -> Promise {
        on_class(options, client, |given| async move {
            let fields = given.fields(&events::SUBSCRIPTION)?;
            let stream = events::subscription(&fields)?;
            Ok(feed(
                Inner::events(given.client(&fields)?, stream),
                given.transport(),
            ))
        })
    }
}

#[wasm_bindgen]
impl MachineLifecycle {
    /// A stream of events of the machine.
    #[wasm_bindgen(js_name = openStream)]
    pub fn open_stream(&self, options: JsValue) -> Promise {
        on_handle(&self.machine, options, |machine, read| async move {
            let stream = events::stream(&config::call_fields(read.as_ref(), &events::STREAM)?)?;
            Ok(feed(machine.event_feed(stream), machine.transport().clone()))
        })
    }
}

/// All machines, as they change.
#[wasm_bindgen(skip_typescript)]
pub struct Monitor;

#[wasm_bindgen]
impl Monitor {
    /// Watches them.
    #[wasm_bindgen(js_name = openFeed)]
    pub fn open_feed(options: JsValue, client: JsValue) -> Promise {
        on_class(options, client, |given| async move {
            let fields = given.fields(&monitor::SUBSCRIBE)?;
            let id = format!("monitor_{}", given.transport().uuid());
            let first = monitor::subscribe(&fields, &id)?;
            Ok(feed(
                Inner::monitor(given.client(&fields)?, id, first),
                given.transport(),
            ))
        })
    }
}

/// What a server tells without end.
#[wasm_bindgen(skip_typescript)]
pub struct Feed {
    open: Open,
}

type Open = (Rc<Inner<JsTransport>>, JsTransport);

impl Handle for Open {
    fn transport(&self) -> JsTransport {
        self.1.clone()
    }
}

fn feed(inner: Inner<JsTransport>, transport: JsTransport) -> JsValue {
    let open = (Rc::new(inner), transport);
    Feed { open }.into()
}

#[wasm_bindgen]
impl Feed {
    /// The next event; `undefined` after the end.
    pub fn next(&self, options: JsValue) -> Promise {
        on_handle_timed(&self.open, options, |(feed, _), _| async move {
            Ok(feed.next().await?.map_or(JsValue::UNDEFINED, |event| event.0))
        })
    }

    /// Opens the first connection.
    pub fn begin(&self, options: JsValue) -> Promise {
        on_handle_timed(
            &self.open,
            options,
            |(feed, _), _| async move { feed.begin().await },
        )
    }

    /// Ends it.
    pub fn close(&self) -> Promise {
        on_handle_timed(&self.open, JsValue::UNDEFINED, |(feed, _), _| async move {
            feed.close();
            Ok(())
        })
    }
}
