//! Sends queued deliveries: one at a time for each webhook, in order, again after failures. PROTOCOL.md section 14 has
//! the signature and the schedule.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{header, Method, Request};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use nullspace_wire::webhook::LifecycleWebhookDeliveryAttemptInfo;
use sha2::Sha256;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::machine::ground::{clock, ids, Result};

use super::reach::{Connector, Reach};
use super::Webhooks;
use crate::machine::Engine;
use crate::store::webhooks_queue::{self as queue, Claim, Decision, Delivery};
use crate::store::Result as Stored;

/// Waits before the second attempt and those that follow; after the last of them a delivery is a dead letter.
const RETRIES: [Duration; 7] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
    Duration::from_secs(32),
    Duration::from_secs(60),
];
/// How long an attempt may take, from looking up the name to the head of the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Deliveries under way at once, of all webhooks.
pub const AT_ONCE: usize = 8;
/// Bytes of an answer that are read so that the receiver can finish; more is cut off.
const ANSWER_LIMIT: usize = 64 << 10;
/// How long that may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at the queue when the state could not be read.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Deliveries under way by webhook. Locked while one is claimed, so that who changes a webhook finds either a flight to
/// end or none to come.
pub(super) type Flights = Mutex<HashMap<String, Flight>>;

pub(super) struct Flight {
    ending: CancellationToken,
    task: JoinHandle<()>,
}

/// Connects to receivers.
pub type HttpClient = Client<HttpsConnector<Connector>, Full<Bytes>>;

impl Webhooks {
    /// Puts back what an earlier engine had under way, then sends until the engine ends.
    pub async fn open(engine: Arc<Engine>) -> Result<Arc<Self>> {
        let rows = engine.store().call(|c| {
            for delivery in queue::interrupted(c)? {
                queue::decide(c, &interrupted(&delivery))?;
            }
            Ok(())
        });
        rows.await?;
        let webhooks = Arc::new(Self {
            engine,
            reach: Arc::default(),
            flights: Flights::default(),
        });
        let sender = webhooks.clone();
        webhooks.engine.tasks().spawn(async move {
            sender.send_all().await;
            // Each puts its delivery back when it is ended.
            for (_, flight) in sender.flights.lock().await.drain() {
                flight.ending.cancel();
            }
        });
        Ok(webhooks)
    }

    /// Runs a change of a webhook and breaks off a delivery that is under way to it: when this returns, nothing more
    /// goes out under the old terms.
    pub(super) async fn stop_deliveries<T>(
        &self,
        webhook: &str,
        change: impl Future<Output = Stored<T>>,
    ) -> Result<T> {
        let mut flights = self.flights.lock().await;
        let changed = change.await?;
        let flight = flights.remove(webhook);
        drop(flights);
        if let Some(flight) = flight {
            flight.ending.cancel();
            let _ = flight.task.await;
        }
        self.engine.deliveries().notify_one();
        Ok(changed)
    }

    async fn send_all(self: &Arc<Self>) {
        let client = client(self.reach.clone());
        let closing = self.engine.closing().clone();
        while !closing.is_cancelled() {
            let next = self.send_due(&client).await;
            let wait = async {
                match next {
                    Ok(Some(at)) => {
                        let micros = at.saturating_sub(clock::now_micros()).max(0);
                        clock::sleep(Duration::from_micros(micros.unsigned_abs())).await;
                    }
                    Ok(None) => std::future::pending().await,
                    Err(()) => tokio::time::sleep(LOOK_AGAIN).await,
                }
            };
            tokio::select! {
                () = self.engine.deliveries().notified() => {}
                () = wait => {}
                () = closing.cancelled() => {}
            }
        }
    }

    /// Begins what is due and says when to look again, if nothing else happens.
    async fn send_due(self: &Arc<Self>, client: &HttpClient) -> std::result::Result<Option<i64>, ()> {
        let mut flights = self.flights.lock().await;
        flights.retain(|_, flight| !flight.task.is_finished());
        let free = AT_ONCE.saturating_sub(flights.len());
        if free == 0 {
            return Ok(None); // the end of a flight wakes this
        }
        let claimed = self
            .engine
            .store()
            .call(move |c| queue::claim(c, clock::now_micros(), free))
            .await;
        let (claims, next) = claimed.map_err(|error| tracing::error!(%error, "reading deliveries failed"))?;
        for claim in claims {
            let webhook = claim.delivery.webhook_id.clone();
            let ending = CancellationToken::new();
            let task = self
                .engine
                .tasks()
                .spawn(self.clone().deliver(client.clone(), claim, ending.clone()));
            flights.insert(webhook, Flight { ending, task });
        }
        Ok(next)
    }

    async fn deliver(self: Arc<Self>, client: HttpClient, claim: Claim, ending: CancellationToken) {
        let id = claim.delivery.id.clone();
        let begun = Instant::now();
        let closing = self.engine.closing().clone();
        let sent = tokio::select! {
            sent = send(&client, &claim) => Some(sent),
            () = ending.cancelled() => None,
            () = closing.cancelled() => None,
        };
        let written = match sent {
            Some(sent) => {
                let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                let decision = decide(&claim, sent, millis);
                tracing::info!(
                    webhook = %claim.delivery.webhook_id, delivery = %id, attempt = claim.delivery.attempt_count,
                    status = decision.response_status, outcome = decision.delivery_status, "webhook"
                );
                self.engine
                    .store()
                    .call(move |c| queue::decide(c, &decision))
                    .await
            }
            None => {
                self.engine
                    .store()
                    .call(move |c| queue::put_back(c, &id, clock::now_micros()))
                    .await
            }
        };
        if let Err(error) = written {
            tracing::error!(%error, "storing a delivery failed");
        }
        self.engine.deliveries().notify_one();
    }
}

/// Names and addresses of receivers come from whoever holds the key. Redirects are not followed, so a receiver cannot send
/// the engine elsewhere.
pub fn client(reach: Arc<Reach>) -> HttpClient {
    let connector = Connector(reach);
    let builder = hyper_rustls::HttpsConnectorBuilder::new();
    let connector = match builder.with_native_roots() {
        Ok(builder) => builder.https_or_http().enable_http1().wrap_connector(connector),
        Err(error) => {
            tracing::warn!(%error, "no certificates found: webhooks reach https:// URLs only with ca-certificates installed");
            let roots = rustls::RootCertStore::empty();
            let config = rustls::ClientConfig::builder()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(config);
            builder.https_or_http().enable_http1().wrap_connector(connector)
        }
    };
    // A connection is not kept: one that the receiver closed meanwhile would cost an attempt.
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(connector)
}

/// Why an attempt failed.
pub struct Failure {
    code: &'static str,
    text: String,
}

/// The status of the answer, or why none came.
pub async fn send(client: &HttpClient, claim: &Claim) -> std::result::Result<u16, Failure> {
    let failed = |code, text: String| Failure { code, text };
    let delivery = &claim.delivery;
    let request = Request::builder()
        .method(Method::POST)
        .uri(&claim.url)
        .header(header::CONTENT_TYPE, "application/json")
        .header(
            header::USER_AGENT,
            concat!("nullspace-engine/", env!("CARGO_PKG_VERSION")),
        )
        .header("x-nullspace-webhook-id", &delivery.webhook_id)
        .header("x-nullspace-delivery-id", &delivery.id)
        .header("x-nullspace-event-id", &delivery.event_id)
        .header("x-nullspace-signature-version", "v1")
        .header(
            "x-nullspace-signature",
            signature(&claim.secret, clock::unix_seconds(), delivery.event.as_bytes()),
        )
        .body(Full::new(Bytes::from(delivery.event.clone())))
        .map_err(|e| failed("request_failed", e.to_string()))?;
    let answer = match tokio::time::timeout(PATIENCE, client.request(request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if error.is_connect() => return Err(failed("connect_failed", innermost(&error))),
        Ok(Err(error)) => return Err(failed("request_failed", innermost(&error))),
        Err(_) => {
            let text = format!("no answer within {} s", PATIENCE.as_secs());
            return Err(failed("timeout", text));
        }
    };
    let status = answer.status().as_u16();
    let rest = Limited::new(answer.into_body(), ANSWER_LIMIT).collect();
    let _ = tokio::time::timeout(ANSWER_PATIENCE, rest).await;
    Ok(status)
}

/// `t=<Unix seconds>,v1=<HMAC-SHA256 of "<t>.<body>", hexadecimal>`.
fn signature(secret: &str, at: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length is taken");
    mac.update(format!("{at}.").as_bytes());
    mac.update(body);
    format!("t={at},v1={}", hex::encode(mac.finalize().into_bytes()))
}

/// What becomes of a delivery that was under way when its sender ended without a word.
pub fn interrupted(delivery: &Delivery) -> Decision {
    let begun = delivery.last_attempt_at.unwrap_or_default();
    let failure = Failure {
        code: "interrupted",
        text: "the engine ended during the attempt".into(),
    };
    let attempt = attempt(
        &delivery.id,
        delivery.attempt_count,
        begun,
        0,
        None,
        Some(&failure),
    );
    Decision {
        id: delivery.id.clone(),
        delivery_status: "queued",
        next_attempt_at: Some(clock::now_micros()),
        response_status: None,
        error: Some(failure.text),
        attempt,
    }
}

/// What becomes of a delivery after an attempt.
pub fn decide(claim: &Claim, sent: std::result::Result<u16, Failure>, millis: u64) -> Decision {
    let delivery = &claim.delivery;
    let (status, failure) = match sent {
        Ok(status @ 200..=299) => (Some(status), None),
        Ok(status @ 300..=399) => {
            let text = format!("the receiver answered {status}; redirects are not followed");
            (
                Some(status),
                Some(Failure {
                    code: "http_status",
                    text,
                }),
            )
        }
        Ok(status) => {
            let text = format!("the receiver answered {status}");
            (
                Some(status),
                Some(Failure {
                    code: "http_status",
                    text,
                }),
            )
        }
        Err(failure) => (None, Some(failure)),
    };
    let wait = RETRIES.get(delivery.attempt_count.saturating_sub(1) as usize);
    let (delivery_status, next_attempt_at) = match (&failure, wait) {
        (None, _) => ("succeeded", None),
        (Some(_), Some(wait)) => {
            let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
            ("queued", Some(clock::now_micros().saturating_add(micros)))
        }
        (Some(_), None) => ("dead_letter", None),
    };
    let begun = delivery.last_attempt_at.unwrap_or_default();
    Decision {
        id: delivery.id.clone(),
        delivery_status,
        next_attempt_at,
        response_status: status,
        attempt: attempt(
            &delivery.id,
            delivery.attempt_count,
            begun,
            millis,
            status,
            failure.as_ref(),
        ),
        error: failure.map(|failure| failure.text),
    }
}

fn attempt(
    delivery: &str,
    number: u32,
    begun: i64,
    millis: u64,
    status: Option<u16>,
    failure: Option<&Failure>,
) -> String {
    let info = LifecycleWebhookDeliveryAttemptInfo {
        id: ids::event(),
        delivery_id: delivery.to_owned(),
        attempt_number: number,
        attempted_at: clock::from_micros(begun),
        duration_ms: millis,
        response_status: status,
        error_code: failure.map(|failure| failure.code.to_owned()),
        error_message: failure.map(|failure| failure.text.clone()),
    };
    serde_json::to_string(&info).unwrap_or_default()
}

/// The cause at the bottom says most: "Connection refused" instead of "client error".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_openssl() {
        // printf '1767323045.{"id":"e"}' | openssl dgst -sha256 -hmac whsec
        assert_eq!(
            signature("whsec", 1_767_323_045, br#"{"id":"e"}"#),
            "t=1767323045,v1=60eecfbbaf882ef13877e9545665fd11bb8e31465ff5e14e6cd22fb4319711c4"
        );
    }
}
