//! Webhooks of the cluster: kept in the database, and their deliveries queued with the events, in one transaction. Any gateway sends;
//! a delivery is claimed by one of them. It is sent twice only if that one dies between the receiver's answer and its note of it, as on a
//! single engine.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use nullspace_wire::webhook::{
    CreateLifecycleWebhookRequest, LifecycleWebhookDeliveryDetail, UpdateLifecycleWebhookRequest,
};
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::types::Json;
use tokio_postgres::{Row, Transaction};
use tokio_util::sync::CancellationToken;

use super::db::{self, Lock};
use super::{news, nodes, Cluster};
use crate::machine::{Error, Result};
use crate::server::body::Body;
use crate::server::params::Params;
use crate::server::reply::{json, nothing, Answer};
use crate::server::webhooks::page_of;
use crate::store::webhooks::Webhook;
use crate::store::webhooks_queue::{Claim, Decision, Delivery, KEPT_DELIVERIES, QUEUE_LIMIT};
use crate::webhooks::reach::Reach;
use crate::webhooks::sender::{client, decide, interrupted, send, Failure, HttpClient, AT_ONCE};
use crate::webhooks::{
    check_change, delivery_detail, delivery_info, info, new_webhook, no_delivery, no_webhook, too_many,
    Change, WEBHOOK_LIMIT,
};

/// A gateway that has claimed a delivery and not decided it by then is gone: attempts take less.
const CLAIM_SECONDS: f64 = 30.0;
/// How long another gateway may take to break off a delivery. One that takes longer is gone, or cut off.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks whether it has.
const STOP_LOOK: Duration = Duration::from_millis(20);

/// What a gateway knows of deliveries.
pub struct Sender {
    wake: Notify,
    room: Arc<Semaphore>,
    /// Deliveries under way here, by their tickets. Locked while some are claimed, so that who breaks one off finds either its flight,
    /// or none to come.
    flights: Mutex<HashMap<String, Flight>>,
    reach: Arc<Reach>,
}

impl Default for Sender {
    fn default() -> Self {
        Self {
            wake: Notify::new(),
            room: Arc::new(Semaphore::new(AT_ONCE)),
            flights: Mutex::default(),
            reach: Arc::default(),
        }
    }
}

struct Flight {
    ending: CancellationToken,
    task: JoinHandle<()>,
}

/// An attempt at a delivery.
struct Attempt {
    delivery: String,
    /// When it was claimed, Unix microseconds.
    at: i64,
}

impl Attempt {
    fn of(delivery: &Delivery) -> Self {
        Self {
            delivery: delivery.id.clone(),
            at: delivery.last_attempt_at.unwrap_or_default(),
        }
    }

    /// Names it among gateways.
    fn ticket(&self) -> String {
        format!("{} {}", self.delivery, self.at)
    }
}

const WEBHOOK: &str = "SELECT w.id, w.enabled, w.operations::text, w.url, w.secret, w.created_at, w.updated_at, \
     d.last_attempt_at, d.delivery_status, d.last_error FROM webhooks w LEFT JOIN LATERAL (SELECT * FROM webhook_deliveries \
     WHERE webhook_id = w.id AND last_attempt_at IS NOT NULL ORDER BY seq DESC LIMIT 1) d ON true";

fn read_webhook(row: &Row) -> Webhook {
    Webhook {
        id: row.get(0),
        enabled: row.get(1),
        operations: row.get(2),
        url: row.get(3),
        secret: row.get(4),
        created_at: row.get(5),
        updated_at: row.get(6),
        last_delivery_at: row.get(7),
        last_delivery_status: row.get(8),
        last_error: row.get(9),
    }
}

const COLUMNS: &str = "d.id, d.webhook_id, d.event_id, d.operation, d.status, d.event, d.delivery_status, \
     d.attempt_count, d.created_at, d.next_attempt_at, d.last_attempt_at, d.last_response_status, d.last_error";

fn read_delivery(row: &Row) -> Delivery {
    Delivery {
        id: row.get(0),
        webhook_id: row.get(1),
        event_id: row.get(2),
        operation: row.get(3),
        status: row.get(4),
        event: row.get(5),
        delivery_status: row.get(6),
        attempt_count: u32::try_from(row.get::<_, i32>(7)).unwrap_or_default(),
        created_at: row.get(8),
        next_attempt_at: row.get(9),
        last_attempt_at: row.get(10),
        last_response_status: row
            .get::<_, Option<i32>>(11)
            .and_then(|status| u16::try_from(status).ok()),
        last_error: row.get(12),
    }
}

/// Queues events that were just added, in the transaction that added them.
pub async fn enqueue(transaction: &Transaction<'_>, events: &[String]) -> Result<()> {
    let queued = transaction
        .query(
            "INSERT INTO webhook_deliveries (id, webhook_id, event_id, operation, status, event, delivery_status, created_at, next_attempt_at) \
             SELECT gen_random_uuid()::text, w.id, e.id, e.operation, e.status, e.record, 'queued', e.record::jsonb->>'occurred_at', \
             (extract(epoch FROM clock_timestamp()) * 1000000)::bigint \
             FROM events e JOIN webhooks w ON w.enabled AND w.operations ? e.operation WHERE e.id = ANY ($1) ORDER BY e.seq, w.seq \
             RETURNING webhook_id",
            &[&events],
        )
        .await?;
    if queued.is_empty() {
        return Ok(());
    }
    news::tell(transaction, news::DELIVERIES, "").await?;
    let mut webhooks: Vec<String> = queued.iter().map(|row| row.get(0)).collect();
    webhooks.sort_unstable();
    webhooks.dedup();
    for webhook in webhooks {
        transaction
            .execute(
                "UPDATE webhook_deliveries SET delivery_status = 'dead_letter', next_attempt_at = NULL, \
                 last_error = 'too many deliveries were waiting' WHERE seq IN (SELECT seq FROM webhook_deliveries \
                 WHERE webhook_id = $1 AND delivery_status = 'queued' ORDER BY seq DESC OFFSET $2)",
                &[&webhook, &QUEUE_LIMIT],
            )
            .await?;
    }
    Ok(())
}

/// `POST /v1/lifecycle/webhooks`
pub async fn create(
    State(cluster): State<Arc<Cluster>>,
    body: Body<CreateLifecycleWebhookRequest>,
) -> Answer {
    let webhook = new_webhook(body.value, &cluster.sender.reach)?;
    // What happened before it was made is not sent.
    cluster.pull(&cluster.nodes.reached()).await?;
    cluster.add_webhook(&webhook).await?;
    Ok(json(StatusCode::CREATED, &info(webhook)?))
}

/// `GET /v1/lifecycle/webhooks`
pub async fn list(State(cluster): State<Arc<Cluster>>) -> Answer {
    let connection = cluster.db.get().await?;
    let rows = connection
        .query(&format!("{WEBHOOK} ORDER BY w.seq DESC"), &[])
        .await
        .map_err(Error::from)?;
    let shown = rows
        .iter()
        .map(|row| info(read_webhook(row)))
        .collect::<Result<Vec<_>>>()?;
    Ok(json(StatusCode::OK, &shown))
}

/// `GET /v1/lifecycle/webhooks/{id}`
pub async fn show(State(cluster): State<Arc<Cluster>>, Path(id): Path<String>) -> Answer {
    Ok(json(StatusCode::OK, &info(cluster.webhook(&id).await?)?))
}

/// `PATCH /v1/lifecycle/webhooks/{id}`
pub async fn update(
    State(cluster): State<Arc<Cluster>>,
    Path(id): Path<String>,
    body: Body<UpdateLifecycleWebhookRequest>,
) -> Answer {
    let change = check_change(body.value, &cluster.sender.reach)?;
    cluster.change_webhook(&id, change).await?;
    cluster.wake_sender();
    Ok(json(StatusCode::OK, &info(cluster.webhook(&id).await?)?))
}

/// `DELETE /v1/lifecycle/webhooks/{id}`
pub async fn delete(State(cluster): State<Arc<Cluster>>, Path(id): Path<String>) -> Answer {
    cluster.remove_webhook(&id).await?;
    Ok(nothing())
}

/// `GET /v1/lifecycle/webhooks/{id}/deliveries`
pub async fn deliveries(
    State(cluster): State<Arc<Cluster>>,
    Path(id): Path<String>,
    params: Params,
) -> Answer {
    let (offset, limit) = page_of(&params)?;
    cluster.webhook(&id).await?;
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let connection = cluster.db.get().await?;
    let sql = format!("SELECT {COLUMNS} FROM webhook_deliveries d WHERE webhook_id = $1 ORDER BY seq DESC LIMIT $2 OFFSET $3");
    let rows = connection
        .query(&sql, &[&id, &number(limit), &number(offset)])
        .await
        .map_err(Error::from)?;
    let shown: Vec<_> = rows.iter().map(|row| delivery_info(read_delivery(row))).collect();
    Ok(json(StatusCode::OK, &shown))
}

/// `GET /v1/lifecycle/webhooks/{id}/deliveries/{delivery_id}`
pub async fn delivery(
    State(cluster): State<Arc<Cluster>>,
    Path((id, delivery)): Path<(String, String)>,
) -> Answer {
    Ok(json(StatusCode::OK, &cluster.delivery(&id, &delivery).await?))
}

impl Cluster {
    async fn webhook(&self, id: &str) -> Result<Webhook> {
        let row = self
            .db
            .get()
            .await?
            .query_opt(&format!("{WEBHOOK} WHERE w.id = $1"), &[&id])
            .await?;
        Ok(read_webhook(&row.ok_or_else(|| no_webhook(id))?))
    }

    async fn add_webhook(&self, webhook: &Webhook) -> Result<()> {
        let mut connection = self.db.get().await?;
        let transaction = connection.transaction().await?;
        db::hold(&transaction, Lock::Webhooks).await?;
        let row = transaction
            .query_one("SELECT count(*) FROM webhooks", &[])
            .await?;
        if row.get::<_, i64>(0) >= WEBHOOK_LIMIT as i64 {
            return Err(too_many());
        }
        transaction
            .execute(
                "INSERT INTO webhooks (id, enabled, operations, url, secret, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                &[
                    &webhook.id,
                    &webhook.enabled,
                    &Json(operations(webhook)?),
                    &webhook.url,
                    &webhook.secret,
                    &webhook.created_at,
                    &webhook.updated_at,
                ],
            )
            .await?;
        Ok(transaction.commit().await?)
    }

    async fn change_webhook(&self, id: &str, change: Change) -> Result<()> {
        let mut connection = self.db.get().await?;
        let transaction = connection.transaction().await?;
        let sql = format!("{WEBHOOK} WHERE w.id = $1 FOR NO KEY UPDATE OF w");
        let row = transaction.query_opt(&sql, &[&id]).await?;
        let mut webhook = read_webhook(&row.ok_or_else(|| no_webhook(id))?);
        change.apply(&mut webhook);
        transaction
            .execute(
                "UPDATE webhooks SET enabled = $2, operations = $3, url = $4, secret = $5, updated_at = $6 WHERE id = $1",
                &[
                    &webhook.id,
                    &webhook.enabled,
                    &Json(operations(&webhook)?),
                    &webhook.url,
                    &webhook.secret,
                    &webhook.updated_at,
                ],
            )
            .await?;
        let under_way = stop(&transaction, id).await?;
        transaction.commit().await?;
        drop(connection);
        self.until_stopped(under_way).await
    }

    async fn remove_webhook(&self, id: &str) -> Result<()> {
        let mut connection = self.db.get().await?;
        let transaction = connection.transaction().await?;
        let found = transaction
            .execute("UPDATE webhooks SET enabled = false WHERE id = $1", &[&id])
            .await?;
        if found == 0 {
            return Err(no_webhook(id));
        }
        let under_way = stop(&transaction, id).await?;
        transaction.commit().await?;
        self.until_stopped(under_way).await?;
        connection
            .execute("DELETE FROM webhooks WHERE id = $1", &[&id])
            .await?;
        Ok(())
    }

    async fn delivery(&self, webhook: &str, id: &str) -> Result<LifecycleWebhookDeliveryDetail> {
        let connection = self.db.get().await?;
        let sql = format!("SELECT {COLUMNS} FROM webhook_deliveries d WHERE webhook_id = $1 AND id = $2");
        let row = connection.query_opt(&sql, &[&webhook, &id]).await?;
        let delivery = read_delivery(&row.ok_or_else(|| no_delivery(webhook, id))?);
        let rows = connection
            .query(
                "SELECT record FROM webhook_attempts WHERE delivery_id = $1 ORDER BY seq",
                &[&id],
            )
            .await?;
        let attempts: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        delivery_detail(delivery, &attempts)
    }
}

fn operations(webhook: &Webhook) -> Result<serde_json::Value> {
    serde_json::from_str(&webhook.operations).map_err(|e| Error::internal("writing a webhook", e))
}

/// Has the delivery broken off that is under way to a webhook, in the transaction that changed its row: none is claimed until that ends.
async fn stop(transaction: &Transaction<'_>, webhook: &str) -> Result<Vec<Attempt>> {
    let rows = transaction
        .query(
            "SELECT id, last_attempt_at FROM webhook_deliveries WHERE webhook_id = $1 AND delivery_status = 'in_progress'",
            &[&webhook],
        )
        .await?;
    let mut under_way = Vec::new();
    for row in &rows {
        let attempt = Attempt {
            delivery: row.get(0),
            at: row.get::<_, Option<i64>>(1).unwrap_or_default(),
        };
        news::tell(transaction, news::STOPPED, &attempt.ticket()).await?;
        under_way.push(attempt);
    }
    Ok(under_way)
}

/// Sending.
impl Cluster {
    /// Where webhooks may be sent.
    pub(super) fn reach(&self) -> &Reach {
        &self.sender.reach
    }

    /// Breaks off a delivery, if it is this gateway that sends it.
    pub(super) async fn stop_delivery(&self, ticket: &str) {
        let flight = self.sender.flights.lock().await.remove(ticket);
        if let Some(flight) = flight {
            flight.ending.cancel();
            let _ = flight.task.await;
        }
    }

    /// Waits until gateways have broken off what they were told to: then nothing more goes out under the old terms.
    async fn until_stopped(&self, under_way: Vec<Attempt>) -> Result<()> {
        let begun = Instant::now();
        for attempt in under_way {
            self.stop_delivery(&attempt.ticket()).await;
            while self.is_under_way(&attempt).await? {
                if begun.elapsed() > STOP_PATIENCE {
                    self.put_back(&attempt).await?;
                    break;
                }
                tokio::time::sleep(STOP_LOOK).await;
            }
        }
        Ok(())
    }

    async fn is_under_way(&self, attempt: &Attempt) -> Result<bool> {
        let connection = self.db.get().await?;
        let row = connection
            .query_opt(
                "SELECT 1 FROM webhook_deliveries WHERE id = $1 AND last_attempt_at = $2 AND delivery_status = 'in_progress'",
                &[&attempt.delivery, &attempt.at],
            )
            .await?;
        Ok(row.is_some())
    }

    /// Queues a delivery again whose attempt was broken off: it does not count.
    async fn put_back(&self, attempt: &Attempt) -> Result<()> {
        self.db
            .get()
            .await?
            .execute(
                "UPDATE webhook_deliveries SET delivery_status = 'queued', attempt_count = attempt_count - 1, claimed_until = NULL, \
                 next_attempt_at = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint \
                 WHERE id = $1 AND last_attempt_at = $2 AND delivery_status = 'in_progress'",
                &[&attempt.delivery, &attempt.at],
            )
            .await?;
        Ok(())
    }

    /// There may be something to send.
    pub(super) fn wake_sender(&self) {
        self.sender.wake.notify_one();
    }

    /// Sends what is due until the gateway ends.
    pub(super) async fn keep_sending(self: Arc<Self>) {
        let client = client(self.sender.reach.clone());
        loop {
            tokio::select! {
                () = tokio::time::sleep(nodes::LOOK) => {}
                () = self.sender.wake.notified() => {}
                () = self.closing.cancelled() => break,
            }
            if let Err(error) = self.send_due(&client).await {
                tracing::warn!(%error, "looking for deliveries of webhooks failed; trying again");
            }
        }
        // Each puts its delivery back, for another gateway.
        let flights: Vec<Flight> = self
            .sender
            .flights
            .lock()
            .await
            .drain()
            .map(|(_, flight)| flight)
            .collect();
        for flight in flights {
            let _ = flight.task.await;
        }
    }

    async fn send_due(self: &Arc<Self>, client: &HttpClient) -> Result<()> {
        let mut flights = self.sender.flights.lock().await;
        flights.retain(|_, flight| !flight.task.is_finished());
        let free = self.sender.room.available_permits();
        if free == 0 {
            return Ok(()); // the end of one wakes this
        }
        for claim in self.claim(free).await? {
            let Ok(room) = self.sender.room.clone().acquire_owned().await else {
                return Ok(());
            };
            let ticket = Attempt::of(&claim.delivery).ticket();
            let ending = CancellationToken::new();
            let sending = self.clone().deliver(client.clone(), claim, ending.clone(), room);
            let task = tokio::spawn(sending);
            flights.insert(ticket, Flight { ending, task });
        }
        Ok(())
    }

    /// Takes the oldest undecided delivery of each webhook that has none under way, if it is due.
    async fn claim(&self, limit: usize) -> Result<Vec<Claim>> {
        let mut connection = self.db.get().await?;
        let transaction = connection.transaction().await?;
        let rows = transaction
            .query(
                &format!(
                    "SELECT {COLUMNS}, w.url, w.secret, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM webhooks w \
                     JOIN LATERAL (SELECT * FROM webhook_deliveries WHERE webhook_id = w.id AND delivery_status IN ('queued', 'in_progress') \
                     ORDER BY seq LIMIT 1) d ON true WHERE w.enabled AND CASE d.delivery_status \
                     WHEN 'queued' THEN d.next_attempt_at <= (extract(epoch FROM clock_timestamp()) * 1000000)::bigint \
                     ELSE d.claimed_until < clock_timestamp() END \
                     ORDER BY d.next_attempt_at, d.seq LIMIT $1 FOR NO KEY UPDATE OF w SKIP LOCKED"
                ),
                &[&i64::try_from(limit).unwrap_or(i64::MAX)],
            )
            .await?;
        let mut claims = Vec::new();
        for row in &rows {
            let mut delivery = read_delivery(row);
            let now: i64 = row.get(15);
            let before = i32::try_from(delivery.attempt_count).unwrap_or(i32::MAX);
            // Another gateway may have been faster: what this one read is as old as its query.
            let claimed = transaction
                .execute(
                    "UPDATE webhook_deliveries SET delivery_status = 'in_progress', attempt_count = attempt_count + 1, last_attempt_at = $4, \
                     next_attempt_at = NULL, claimed_until = clock_timestamp() + make_interval(secs => $5) \
                     WHERE id = $1 AND attempt_count = $2 AND delivery_status = $3",
                    &[&delivery.id, &before, &delivery.delivery_status, &now, &CLAIM_SECONDS],
                )
                .await?;
            if claimed == 0 {
                continue;
            }
            if delivery.delivery_status == "in_progress" {
                let attempt = interrupted(&delivery).attempt;
                note_attempt(&transaction, &delivery.id, &attempt).await?;
            }
            delivery.delivery_status = "in_progress".into();
            delivery.attempt_count += 1;
            delivery.last_attempt_at = Some(now);
            claims.push(Claim {
                delivery,
                url: row.get(13),
                secret: row.get(14),
            });
        }
        transaction.commit().await?;
        Ok(claims)
    }

    async fn deliver(
        self: Arc<Self>,
        client: HttpClient,
        claim: Claim,
        ending: CancellationToken,
        room: OwnedSemaphorePermit,
    ) {
        let begun = Instant::now();
        let sent = tokio::select! {
            sent = send(&client, &claim) => Some(sent),
            () = ending.cancelled() => None,
            () = self.closing.cancelled() => None,
        };
        match sent {
            Some(sent) => self.note(&claim, sent, begun).await,
            None => {
                if let Err(error) = self.put_back(&Attempt::of(&claim.delivery)).await {
                    tracing::warn!(%error, "a delivery that was broken off stays claimed for a while");
                }
            }
        }
        drop(room);
        self.wake_sender();
    }

    /// Notes how an attempt ended.
    async fn note(&self, claim: &Claim, sent: std::result::Result<u16, Failure>, begun: Instant) {
        let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let decision = decide(claim, sent, millis);
        tracing::info!(
            webhook = %claim.delivery.webhook_id, delivery = %decision.id, attempt = claim.delivery.attempt_count,
            status = decision.response_status, outcome = decision.delivery_status, "webhook"
        );
        // A moment without the database must not send it again.
        for _ in 0..10 {
            match self.decide(claim, &decision).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "storing a delivery failed; trying again"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Notes how an attempt ended. Nothing happens if the delivery is gone, or was given to another gateway.
    async fn decide(&self, claim: &Claim, decision: &Decision) -> Result<()> {
        let mut connection = self.db.get().await?;
        let transaction = connection.transaction().await?;
        let attempt = i32::try_from(claim.delivery.attempt_count).unwrap_or(i32::MAX);
        let decided = transaction
            .execute(
                "UPDATE webhook_deliveries SET delivery_status = $3, next_attempt_at = $4, last_response_status = $5, last_error = $6, \
                 claimed_until = NULL WHERE id = $1 AND attempt_count = $2 AND last_attempt_at = $7 AND delivery_status = 'in_progress'",
                &[
                    &decision.id,
                    &attempt,
                    &decision.delivery_status,
                    &decision.next_attempt_at,
                    &decision.response_status.map(i32::from),
                    &decision.error,
                    &claim.delivery.last_attempt_at,
                ],
            )
            .await?;
        if decided == 1 {
            note_attempt(&transaction, &decision.id, &decision.attempt).await?;
            transaction
                .execute(
                    "DELETE FROM webhook_deliveries WHERE seq IN (SELECT seq FROM webhook_deliveries WHERE webhook_id = $1 \
                     AND delivery_status IN ('succeeded', 'dead_letter') ORDER BY seq DESC OFFSET $2)",
                    &[&claim.delivery.webhook_id, &KEPT_DELIVERIES],
                )
                .await?;
        }
        Ok(transaction.commit().await?)
    }
}

async fn note_attempt(transaction: &Transaction<'_>, delivery: &str, attempt: &str) -> Result<()> {
    transaction
        .execute(
            "INSERT INTO webhook_attempts (delivery_id, record) VALUES ($1, $2)",
            &[&delivery, &attempt],
        )
        .await?;
    Ok(())
}
