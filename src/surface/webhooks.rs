//! Lifecycle webhooks and their deliveries. Source: PROTOCOL.md section 10.

use nullspace_wire::api;
use nullspace_wire::lifecycle::OPERATIONS;

use super::{by, fields, filled, flag, from, id, int, Operation};
use crate::core::error::Error;

use crate::core::options::{self, Value};

/// Type of `operations`.
const OPERATION_NAMES: &str = "readonly LifecycleEvent['operation'][]";

/// Makes one.
pub static CREATE: Operation = Operation::on(&api::CREATE_LIFECYCLE_WEBHOOK)
    .options(&[fields![
        /// Where events are sent to, `http://` or `https://`.
        by("url", url).typed("string").needed("is missing, such as 'https://example.com/hook'"),
        /// What is sent; at least one. @example ['create', 'destroy']
        by("operations", operations).typed(OPERATION_NAMES).needed("is missing, such as ['create']"),
        /// Key of the signatures, not empty; {@link verifyWebhookSignature} needs it. It is never answered.
        filled("signingSecret").needed("is missing, such as 32 random characters"),
        /// Whether it delivers. @default true
        flag("enabled"),
    ]])
    .shown(
        "CreateWebhookOptions",
        &["ClientOptions"],
        "Options of {@link Lifecycle.createWebhook}.",
    );

/// All of them.
pub static LIST: Operation = Operation::on(&api::LIST_LIFECYCLE_WEBHOOKS);

/// Describes one.
pub static GET: Operation = Operation::on(&api::GET_LIFECYCLE_WEBHOOK).args(&[id("id")]);

/// Changes one.
pub static UPDATE: Operation = Operation::on(&api::UPDATE_LIFECYCLE_WEBHOOK)
    .args(&[id("id")])
    .options(&[fields![
        /// Where events are sent to. @default as it is
        by("url", url).typed("string"),
        /// What is sent; at least one. @default as it is
        by("operations", operations).typed(OPERATION_NAMES),
        /// Key of the signatures from now on. @default as it is
        filled("signingSecret"),
        /// Whether events are sent; switched off, what is queued is kept. @default as it is
        flag("enabled"),
    ]])
    .shown(
        "UpdateWebhookOptions",
        &["ClientOptions"],
        "Options of {@link Lifecycle.updateWebhook}. What is left out stays; something must be given.",
    )
    .rules(|_, request| match request.body.has_fields() {
        false => Err(Error::invalid_request(
            "an update must change something, such as { enabled: false }",
        )),
        true => Ok(()),
    });

/// Deletes one.
pub static DELETE: Operation = Operation::on(&api::DELETE_LIFECYCLE_WEBHOOK).args(&[id("id")]);

/// A page of its deliveries, newest first.
pub static DELIVERIES: Operation = Operation::on(&api::LIST_LIFECYCLE_WEBHOOK_DELIVERIES)
    .args(&[id("id")])
    .options(&[fields![
        /// Deliveries to skip, {range}. @default 0
        int("offset", from(0)).in_query(),
        /// Most deliveries, {range}. @default 50
        int("limit", from(1)).in_query(),
    ]])
    .shown(
        "WebhookDeliveriesOptions",
        &["ClientOptions"],
        "Options of {@link Lifecycle.listWebhookDeliveries}.",
    );

/// One of them, with its event and attempts.
pub static DELIVERY: Operation =
    Operation::on(&api::GET_LIFECYCLE_WEBHOOK_DELIVERY).args(&[id("id"), id("deliveryId")]);

fn url(name: &str, value: &Value) -> Result<Value, Error> {
    let url = options::filled(name, value)?;
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Err(Error::option(name, "must begin with https:// or http://"));
    }
    Ok(url.into())
}

fn operations(name: &str, value: &Value) -> Result<Value, Error> {
    let operations = options::texts(name, value)?;
    if operations.is_empty() {
        return Err(Error::option(name, "must hold at least one, such as ['create']"));
    }
    for (index, one) in operations.iter().enumerate() {
        if !OPERATIONS.contains(&one.as_str()) {
            let known = OPERATIONS.join("', '");
            return Err(Error::option(
                &format!("{name}[{index}]"),
                &format!("must be one of '{known}', not '{one}'"),
            ));
        }
    }
    Ok(operations.into())
}
