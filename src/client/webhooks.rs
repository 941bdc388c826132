//! Lifecycle webhooks and their deliveries. Source: PROTOCOL.md section 10.

use super::call::{Call, Client, Outcome, DEFAULT_TIMEOUT};
use crate::core::error::Error;
use crate::core::options::Fields;
use crate::core::{events, http};
use crate::transport::{Decoder, Transport};

const PATH: &str = "/v1/lifecycle/webhooks";

/// Makes one.
pub async fn create<T: Transport>(client: &Client<T>, fields: &Fields<'_>) -> Outcome<T, T::Answer> {
    let body = body(events::webhook(fields, false)?)?;
    let path = PATH.to_owned();
    send(
        client,
        "createLifecycleWebhook",
        "POST",
        path,
        Decoder::Webhook,
        Some(body),
    )
    .await
}

/// All of them.
pub async fn list<T: Transport>(client: &Client<T>) -> Outcome<T, T::Answer> {
    let path = PATH.to_owned();
    send(
        client,
        "listLifecycleWebhooks",
        "GET",
        path,
        Decoder::WebhookList,
        None,
    )
    .await
}

/// Describes one.
pub async fn get<T: Transport>(client: &Client<T>, id: &str) -> Outcome<T, T::Answer> {
    send(
        client,
        "getLifecycleWebhook",
        "GET",
        path(id),
        Decoder::Webhook,
        None,
    )
    .await
}

/// Changes one.
pub async fn update<T: Transport>(
    client: &Client<T>,
    id: &str,
    fields: &Fields<'_>,
) -> Outcome<T, T::Answer> {
    let body = body(events::webhook(fields, true)?)?;
    send(
        client,
        "updateLifecycleWebhook",
        "PATCH",
        path(id),
        Decoder::Webhook,
        Some(body),
    )
    .await
}

/// Deletes one.
pub async fn delete<T: Transport>(client: &Client<T>, id: &str) -> Outcome<T, ()> {
    send(
        client,
        "deleteLifecycleWebhook",
        "DELETE",
        path(id),
        Decoder::Nothing,
        None,
    )
    .await
    .map(drop)
}

/// A page of its deliveries, newest first.
pub async fn deliveries<T: Transport>(
    client: &Client<T>,
    id: &str,
    fields: &Fields<'_>,
) -> Outcome<T, T::Answer> {
    let path = http::with_query(&format!("{}/deliveries", path(id)), &events::deliveries(fields)?);
    send(
        client,
        "listLifecycleWebhookDeliveries",
        "GET",
        path,
        Decoder::DeliveryList,
        None,
    )
    .await
}

/// One of them, with its event and attempts.
pub async fn delivery<T: Transport>(client: &Client<T>, id: &str, delivery: &str) -> Outcome<T, T::Answer> {
    let path = format!("{}/deliveries/{}", path(id), http::encode(delivery));
    send(
        client,
        "getLifecycleWebhookDelivery",
        "GET",
        path,
        Decoder::Delivery,
        None,
    )
    .await
}

fn path(id: &str) -> String {
    format!("{PATH}/{}", http::encode(id))
}

fn body(fields: serde_json::Map<String, serde_json::Value>) -> Result<String, Error> {
    serde_json::to_string(&fields).map_err(|error| Error::invalid_request(error.to_string()))
}

async fn send<T: Transport>(
    client: &Client<T>,
    operation: &'static str,
    method: &'static str,
    path: String,
    decoder: Decoder,
    body: Option<String>,
) -> Outcome<T, T::Answer> {
    let timeout = client.timeout(None, DEFAULT_TIMEOUT);
    let mut call = Call::new(operation, method, path, decoder, timeout);
    call.body = body;
    Ok(client.call(&call).await?.answer)
}
