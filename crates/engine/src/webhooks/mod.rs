//! Lifecycle webhooks: made, changed, removed, and what became of their deliveries. Events queue them; [`sender`] sends them,
//! [`reach`] says where to.

pub mod reach;
pub mod sender;

use std::sync::Arc;

use axum::http::Uri;
use nullspace_wire::lifecycle::LifecycleEventInfo;
use nullspace_wire::webhook::{
    CreateLifecycleWebhookRequest, LifecycleWebhookDeliveryAttemptInfo, LifecycleWebhookDeliveryDetail,
    LifecycleWebhookDeliveryInfo, LifecycleWebhookInfo, UpdateLifecycleWebhookRequest,
};
use nullspace_wire::Timestamp;

use crate::machine::ground::{clock, ids, Error, Kind, Result};
use crate::machine::monitoring::events::Operation;
use crate::machine::Engine;
use crate::store::webhooks::{self, Webhook};
use crate::store::webhooks_queue::{self as queue, Delivery};
use reach::Reach;
use sender::Flights;

/// Longest URL, bytes.
const URL_LIMIT: usize = 2048;
/// Longest secret, bytes.
const SECRET_LIMIT: usize = 1024;
/// Most webhooks: each event is looked up against all of them.
pub const WEBHOOK_LIMIT: usize = 100;

/// The webhooks of one engine.
pub struct Webhooks {
    engine: Arc<Engine>,
    reach: Arc<Reach>,
    flights: Flights,
}

impl Webhooks {
    /// Where they may be sent.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Makes a webhook; events from now on are sent.
    pub async fn create(&self, request: CreateLifecycleWebhookRequest) -> Result<LifecycleWebhookInfo> {
        let webhook = new_webhook(request, &self.reach)?;
        let row = webhook.clone();
        let is_room = self.engine.store().call(move |c| {
            let is_room = webhooks::list(c)?.len() < WEBHOOK_LIMIT;
            if is_room {
                webhooks::put(c, &row)?;
            }
            Ok(is_room)
        });
        if !is_room.await? {
            return Err(too_many());
        }
        info(webhook)
    }

    /// All webhooks, newest first.
    pub async fn list(&self) -> Result<Vec<LifecycleWebhookInfo>> {
        let rows = self.engine.store().call(|c| webhooks::list(c)).await?;
        rows.into_iter().map(info).collect()
    }

    /// One webhook.
    pub async fn get(&self, id: &str) -> Result<LifecycleWebhookInfo> {
        let wanted = id.to_owned();
        let row = self
            .engine
            .store()
            .call(move |c| webhooks::get(c, &wanted))
            .await?;
        info(row.ok_or_else(|| no_webhook(id))?)
    }

    /// Changes a webhook. A delivery under way to it is broken off and tried again with what is new; a webhook that
    /// is switched off keeps what is queued for when it is switched on.
    pub async fn update(
        &self,
        id: &str,
        change: UpdateLifecycleWebhookRequest,
    ) -> Result<LifecycleWebhookInfo> {
        let change = check_change(change, &self.reach)?;
        let wanted = id.to_owned();
        let written = self.stop_deliveries(id, async {
            let job = self.engine.store().call(move |c| {
                let Some(mut row) = webhooks::get(c, &wanted)? else {
                    return Ok(None);
                };
                change.apply(&mut row);
                webhooks::put(c, &row)?;
                Ok(Some(()))
            });
            job.await
        });
        written.await?.ok_or_else(|| no_webhook(id))?;
        self.get(id).await
    }

    /// Removes a webhook with all its deliveries; one under way is broken off.
    pub async fn delete(&self, id: &str) -> Result<()> {
        let wanted = id.to_owned();
        let removed = self.stop_deliveries(
            id,
            self.engine.store().call(move |c| webhooks::delete(c, &wanted)),
        );
        match removed.await? {
            true => Ok(()),
            false => Err(no_webhook(id)),
        }
    }

    /// Deliveries of a webhook, newest first.
    pub async fn list_deliveries(
        &self,
        webhook: &str,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<LifecycleWebhookDeliveryInfo>> {
        let wanted = webhook.to_owned();
        let rows = self.engine.store().call(move |c| {
            let webhook = webhooks::get(c, &wanted)?;
            webhook
                .map(|webhook| queue::list(c, &webhook.id, offset, limit))
                .transpose()
        });
        let rows = rows.await?.ok_or_else(|| no_webhook(webhook))?;
        Ok(rows.into_iter().map(delivery_info).collect())
    }

    /// One delivery with its event and all attempts.
    pub async fn delivery(&self, webhook: &str, id: &str) -> Result<LifecycleWebhookDeliveryDetail> {
        let (of, wanted) = (webhook.to_owned(), id.to_owned());
        let found = self
            .engine
            .store()
            .call(move |c| queue::get(c, &of, &wanted))
            .await?;
        let (delivery, attempts) = found.ok_or_else(|| no_delivery(webhook, id))?;
        delivery_detail(delivery, &attempts)
    }
}

/// A webhook as a request asks for it.
pub fn new_webhook(request: CreateLifecycleWebhookRequest, reach: &Reach) -> Result<Webhook> {
    check_url(&request.url, reach)?;
    check_secret(&request.signing_secret)?;
    let now = clock::now().0;
    Ok(Webhook {
        id: ids::event(),
        enabled: request.enabled.unwrap_or(true),
        operations: operations(&request.operations)?,
        url: request.url,
        secret: request.signing_secret,
        created_at: now.clone(),
        updated_at: now,
        last_delivery_at: None,
        last_delivery_status: None,
        last_error: None,
    })
}

/// A change of a webhook that was checked.
pub struct Change {
    request: UpdateLifecycleWebhookRequest,
    operations: Option<String>,
}

/// Checks a change.
pub fn check_change(request: UpdateLifecycleWebhookRequest, reach: &Reach) -> Result<Change> {
    request
        .url
        .as_deref()
        .map(|url| check_url(url, reach))
        .transpose()?;
    request.signing_secret.as_deref().map(check_secret).transpose()?;
    let operations = request.operations.as_deref().map(operations).transpose()?;
    Ok(Change { request, operations })
}

impl Change {
    /// Changes what is given.
    pub fn apply(self, row: &mut Webhook) {
        let Self { request, operations } = self;
        row.url = request.url.unwrap_or_else(|| row.url.clone());
        row.secret = request.signing_secret.unwrap_or_else(|| row.secret.clone());
        row.operations = operations.unwrap_or_else(|| row.operations.clone());
        row.enabled = request.enabled.unwrap_or(row.enabled);
        row.updated_at = clock::now().0;
    }
}

/// A delivery as it is shown, with its attempts as they are stored.
pub fn delivery_detail(delivery: Delivery, attempts: &[String]) -> Result<LifecycleWebhookDeliveryDetail> {
    let unreadable = |e| Error::internal("reading a delivery", e);
    let event: LifecycleEventInfo = serde_json::from_str(&delivery.event).map_err(unreadable)?;
    let attempts = attempts
        .iter()
        .map(|row| serde_json::from_str(row).map_err(unreadable));
    Ok(LifecycleWebhookDeliveryDetail {
        attempts: attempts.collect::<Result<Vec<LifecycleWebhookDeliveryAttemptInfo>>>()?,
        delivery: delivery_info(delivery),
        event,
    })
}

/// There are as many as may be.
pub fn too_many() -> Error {
    let text = format!("there are {WEBHOOK_LIMIT} webhooks, the most that an engine keeps: delete one");
    Error::new(Kind::Conflict, text)
}

/// There is none of this id.
pub fn no_delivery(webhook: &str, id: &str) -> Error {
    let text = format!(
        "webhook {webhook} has no delivery {id}: the {} newest are kept",
        queue::KEPT_DELIVERIES
    );
    Error::new(Kind::NotFound, text)
}

/// There is none of this id.
pub fn no_webhook(id: &str) -> Error {
    let text = format!("there is no webhook {id}: it never was, or it was deleted");
    Error::new(Kind::NotFound, text)
}

/// A webhook as it is shown.
pub fn info(row: Webhook) -> Result<LifecycleWebhookInfo> {
    Ok(LifecycleWebhookInfo {
        id: row.id,
        url: row.url,
        operations: serde_json::from_str(&row.operations)
            .map_err(|e| Error::internal("reading a webhook", e))?,
        enabled: row.enabled,
        has_signing_secret: !row.secret.is_empty(),
        created_at: Timestamp(row.created_at),
        updated_at: Timestamp(row.updated_at),
        last_delivery_at: row.last_delivery_at.map(clock::from_micros),
        last_delivery_status: row.last_delivery_status,
        last_error: row.last_error,
    })
}

/// A delivery as it is shown in lists.
pub fn delivery_info(row: Delivery) -> LifecycleWebhookDeliveryInfo {
    LifecycleWebhookDeliveryInfo {
        id: row.id,
        webhook_id: row.webhook_id,
        event_id: row.event_id,
        operation: row.operation,
        status: row.status,
        delivery_status: row.delivery_status,
        attempt_count: row.attempt_count,
        created_at: Timestamp(row.created_at),
        next_attempt_at: row.next_attempt_at.map(clock::from_micros),
        last_attempt_at: row.last_attempt_at.map(clock::from_micros),
        last_response_status: row.last_response_status,
        last_error: row.last_error,
    }
}

/// Hosts of this computer may be named too: receivers under development are there. See the README.
fn check_url(url: &str, reach: &Reach) -> Result<()> {
    const GOOD: &str = "give one such as \"http://127.0.0.1:8080/hook\"";
    // The URL is not repeated: it may hold what is secret.
    let wrong = |why: &str| Err(Error::invalid("url", format_args!("{why}: {GOOD}")));
    if url.len() > URL_LIMIT {
        return wrong("has more than 2048 bytes");
    }
    let Ok(uri) = url.parse::<Uri>() else {
        return wrong("is no URL");
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return wrong("must begin with http:// or https://");
    }
    match uri.authority() {
        Some(authority) if authority.host().is_empty() => return wrong("has no host"),
        Some(authority) if authority.as_str().contains('@') => {
            return wrong("holds a user name, which every list of webhooks would show");
        }
        Some(_) => {}
        None => return wrong("has no host"),
    }
    match reach.refusal_of_url(&uri) {
        Some(why) => Err(Error::invalid("url", why)),
        None => Ok(()),
    }
}

fn check_secret(secret: &str) -> Result<()> {
    match secret.len() {
        0 => Err(Error::invalid(
            "signing_secret",
            "is empty: give 32 random characters, which the receiver knows too",
        )),
        1..=SECRET_LIMIT => Ok(()),
        _ => Err(Error::invalid(
            "signing_secret",
            format_args!("has more than {SECRET_LIMIT} bytes: give 32 random characters"),
        )),
    }
}

/// The operations, each once, as they are stored.
fn operations(names: &[String]) -> Result<String> {
    let known = Operation::ALL.map(Operation::name);
    if names.is_empty() {
        return Err(Error::invalid(
            "operations",
            "is empty: give at least one, such as [\"create\"]",
        ));
    }
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let text = format!("holds {name:?}, which is none of {}", known.join(", "));
        return Err(Error::invalid("operations", text));
    }
    let mut each: Vec<&String> = Vec::new();
    for name in names {
        if !each.contains(&name) {
            each.push(name);
        }
    }
    serde_json::to_string(&each).map_err(|e| Error::internal("writing a webhook", e))
}
