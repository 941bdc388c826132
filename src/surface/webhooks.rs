//! Lifecycle webhooks and their deliveries. Source: PROTOCOL.md section 10.

use nullspace_wire::api;
use serde_json::Value as Json;

use super::{by, filled, flag, from, id, int, Field, Operation};
use crate::core::error::Error;
use crate::core::events::OPERATIONS;
use crate::core::options::{self, Value};

const PAGE: &[Field] = &[
    int("offset", from(0)).in_query(),
    int("limit", from(1)).in_query(),
];

/// Makes one.
pub static CREATE: Operation = Operation::on(&api::CREATE_LIFECYCLE_WEBHOOK).options(&[&[
    by("url", url).needed("is missing, such as 'https://example.com/hook'"),
    by("operations", operations).needed("is missing, such as ['create']"),
    filled("signingSecret").needed("is missing, such as 32 random characters"),
    flag("enabled"),
]]);

/// All of them.
pub static LIST: Operation = Operation::on(&api::LIST_LIFECYCLE_WEBHOOKS);

/// Describes one.
pub static GET: Operation = Operation::on(&api::GET_LIFECYCLE_WEBHOOK).args(&[id("id")]);

/// Changes one.
pub static UPDATE: Operation = Operation::on(&api::UPDATE_LIFECYCLE_WEBHOOK)
    .args(&[id("id")])
    .options(&[&[
        by("url", url),
        by("operations", operations),
        filled("signingSecret"),
        flag("enabled"),
    ]])
    .rules(|_, request| match request.body.is_empty() {
        true => Err(Error::invalid_request(
            "an update must change something, such as { enabled: false }",
        )),
        false => Ok(()),
    });

/// Deletes one.
pub static DELETE: Operation = Operation::on(&api::DELETE_LIFECYCLE_WEBHOOK).args(&[id("id")]);

/// A page of its deliveries, newest first.
pub static DELIVERIES: Operation = Operation::on(&api::LIST_LIFECYCLE_WEBHOOK_DELIVERIES)
    .args(&[id("id")])
    .options(&[PAGE]);

/// One of them, with its event and attempts.
pub static DELIVERY: Operation =
    Operation::on(&api::GET_LIFECYCLE_WEBHOOK_DELIVERY).args(&[id("id"), id("deliveryId")]);

fn url(name: &str, value: &Value) -> Result<Json, Error> {
    let url = options::filled(name, value)?;
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Err(Error::option(name, "must begin with https:// or http://"));
    }
    Ok(url.into())
}

fn operations(name: &str, value: &Value) -> Result<Json, Error> {
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
