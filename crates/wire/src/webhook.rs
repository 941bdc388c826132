//! Lifecycle webhooks and their deliveries. Source: PROTOCOL.md section 10.

use serde::{Deserialize, Serialize};

use crate::lifecycle::LifecycleEventInfo;
use crate::Timestamp;

/// Body of `create_lifecycle_webhook`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateLifecycleWebhookRequest {
    /// Where events are sent to, `http://` or `https://`.
    pub url: String,
    /// Which operations are sent; at least one.
    pub operations: Vec<String>,
    /// Key of the signatures. Never answered.
    pub signing_secret: String,
    /// Whether events are sent; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// Body of `update_lifecycle_webhook`. Absent = as it is.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateLifecycleWebhookRequest {
    /// Where events are sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Which operations are sent; at least one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<Vec<String>>,
    /// Key of the signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<String>,
    /// Whether events are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // they are the names of the states
pub enum WebhookDeliveryStatus {
    Queued,
    InProgress,
    Succeeded,
    DeadLetter,
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "LifecycleWebhook")
)]
pub struct LifecycleWebhookInfo {
    /// UUID.
    pub id: String,
    /// Where events are sent to.
    pub url: String,
    /// Operations whose events are sent.
    pub operations: Vec<String>,
    /// Whether events are sent.
    pub enabled: bool,
    /// Whether deliveries are signed.
    pub has_signing_secret: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// When a delivery was tried last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_delivery_at: Option<Timestamp>,
    /// How that delivery stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<WebhookDeliveryStatus>"))]
    pub last_delivery_status: Option<String>,
    /// What went wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// One event on its way to one webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "WebhookDelivery")
)]
pub struct LifecycleWebhookDeliveryInfo {
    /// UUID.
    pub id: String,
    /// UUID of the webhook.
    pub webhook_id: String,
    /// UUID of the event.
    pub event_id: String,
    /// Operation of the event.
    pub operation: String,
    /// Status of the event.
    pub status: String,
    /// How the delivery stands.
    #[cfg_attr(feature = "schema", schemars(with = "WebhookDeliveryStatus"))]
    pub delivery_status: String,
    /// Attempts begun.
    pub attempt_count: u32,
    /// When the event happened.
    pub created_at: Timestamp,
    /// Absent once it is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// When it was tried last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt_at: Option<Timestamp>,
    /// HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_response_status: Option<u16>,
    /// What went wrong the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// One try of a delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "WebhookAttempt")
)]
pub struct LifecycleWebhookDeliveryAttemptInfo {
    /// UUID.
    pub id: String,
    /// UUID of the delivery.
    pub delivery_id: String,
    /// Counts from 1.
    pub attempt_number: u32,
    /// When it began.
    pub attempted_at: Timestamp,
    /// Milliseconds until the answer or the failure.
    pub duration_ms: u64,
    /// HTTP status; absent when no answer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_status: Option<u16>,
    /// `http_status`, `timeout`, `connect_failed`, `request_failed` or `interrupted`; absent after a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// The same as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

/// What {@link Lifecycle.getWebhookDelivery} answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "WebhookDeliveryDetail")
)]
pub struct LifecycleWebhookDeliveryDetail {
    /// The delivery.
    pub delivery: LifecycleWebhookDeliveryInfo,
    /// The event that is delivered.
    pub event: LifecycleEventInfo,
    /// Oldest first.
    pub attempts: Vec<LifecycleWebhookDeliveryAttemptInfo>,
}
