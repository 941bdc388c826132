//! Lifecycle webhooks and their deliveries. Source: PROTOCOL.md section 10.

use super::call::{Call, Client, DEFAULT_TIMEOUT};
use super::single::{Planned, Single};
use crate::core::error::Error;
use crate::core::options::Fields;
use crate::core::{events, http};
use crate::transport::{Decoder, Transport};

const PATH: &str = "/v1/lifecycle/webhooks";

/// Makes one.
pub fn create<T: Transport>(client: &Client<T>, fields: &Fields<'_>) -> Planned<T> {
    let body = body(events::webhook(fields, false)?)?;
    let path = PATH.to_owned();
    Ok(single(
        client,
        "createLifecycleWebhook",
        "POST",
        path,
        Decoder::Webhook,
        Some(body),
    ))
}

/// All of them.
pub fn list<T: Transport>(client: &Client<T>) -> Single<T> {
    let path = PATH.to_owned();
    single(
        client,
        "listLifecycleWebhooks",
        "GET",
        path,
        Decoder::WebhookList,
        None,
    )
}

/// Describes one.
pub fn get<T: Transport>(client: &Client<T>, id: &str) -> Single<T> {
    single(
        client,
        "getLifecycleWebhook",
        "GET",
        path(id),
        Decoder::Webhook,
        None,
    )
}

/// Changes one.
pub fn update<T: Transport>(client: &Client<T>, id: &str, fields: &Fields<'_>) -> Planned<T> {
    let body = body(events::webhook(fields, true)?)?;
    Ok(single(
        client,
        "updateLifecycleWebhook",
        "PATCH",
        path(id),
        Decoder::Webhook,
        Some(body),
    ))
}

/// Deletes one.
pub fn delete<T: Transport>(client: &Client<T>, id: &str) -> Single<T> {
    single(
        client,
        "deleteLifecycleWebhook",
        "DELETE",
        path(id),
        Decoder::Nothing,
        None,
    )
}

/// A page of its deliveries, newest first.
pub fn deliveries<T: Transport>(client: &Client<T>, id: &str, fields: &Fields<'_>) -> Planned<T> {
    let path = http::with_query(&format!("{}/deliveries", path(id)), &events::deliveries(fields)?);
    Ok(single(
        client,
        "listLifecycleWebhookDeliveries",
        "GET",
        path,
        Decoder::DeliveryList,
        None,
    ))
}

/// One of them, with its event and attempts.
pub fn delivery<T: Transport>(client: &Client<T>, id: &str, delivery: &str) -> Single<T> {
    let path = format!("{}/deliveries/{}", path(id), http::encode(delivery));
    single(
        client,
        "getLifecycleWebhookDelivery",
        "GET",
        path,
        Decoder::Delivery,
        None,
    )
}

fn path(id: &str) -> String {
    format!("{PATH}/{}", http::encode(id))
}

fn body(fields: serde_json::Map<String, serde_json::Value>) -> Result<String, Error> {
    serde_json::to_string(&fields).map_err(|error| Error::invalid_request(error.to_string()))
}

fn single<T: Transport>(
    client: &Client<T>,
    operation: &'static str,
    method: &'static str,
    path: String,
    decoder: Decoder,
    body: Option<String>,
) -> Single<T> {
    let timeout = client.timeout(None, DEFAULT_TIMEOUT);
    let mut call = Call::new(operation, method, path, decoder, timeout);
    call.body = body;
    Single::new(client, call)
}
