//! Lifecycle webhooks: few rows. Their deliveries: [`super::webhooks_queue`].

use rusqlite::{params, Connection, OptionalExtension, Row};

/// A webhook as stored.
#[derive(Clone)]
pub struct Webhook {
    /// UUID.
    pub id: String,
    /// Whether events are sent.
    pub enabled: bool,
    /// Names of operations, a JSON array.
    pub operations: String,
    /// Where events are sent to.
    pub url: String,
    /// Key of the signatures. This type has no `Debug`, so that no log can hold it.
    pub secret: String,
    /// Wire text.
    pub created_at: String,
    /// Wire text.
    pub updated_at: String,
    /// Unix microseconds; read, not written.
    pub last_delivery_at: Option<i64>,
    /// Read, not written.
    pub last_delivery_status: Option<String>,
    /// Read, not written.
    pub last_error: Option<String>,
}

/// The last delivery is the newest that was tried: a webhook sends in order.
const SELECT: &str = "SELECT w.id, w.enabled, w.operations, w.url, w.secret, w.created_at, w.updated_at, \
     d.last_attempt_at, d.delivery_status, d.last_error FROM webhooks w LEFT JOIN webhook_deliveries d ON d.seq = \
     (SELECT max(seq) FROM webhook_deliveries WHERE webhook_id = w.id AND last_attempt_at IS NOT NULL)";

fn read(row: &Row<'_>) -> rusqlite::Result<Webhook> {
    Ok(Webhook {
        id: row.get(0)?,
        enabled: row.get(1)?,
        operations: row.get(2)?,
        url: row.get(3)?,
        secret: row.get(4)?,
        created_at: row.get(5)?,
        updated_at: row.get(6)?,
        last_delivery_at: row.get(7)?,
        last_delivery_status: row.get(8)?,
        last_error: row.get(9)?,
    })
}

/// Adds or replaces a webhook.
pub fn put(connection: &Connection, webhook: &Webhook) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO webhooks (id, enabled, operations, url, secret, created_at, updated_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET enabled = excluded.enabled, \
             operations = excluded.operations, url = excluded.url, secret = excluded.secret, \
             updated_at = excluded.updated_at",
        )?
        .execute(params![
            webhook.id,
            webhook.enabled,
            webhook.operations,
            webhook.url,
            webhook.secret,
            webhook.created_at,
            webhook.updated_at
        ])?;
    Ok(())
}

/// One webhook.
pub fn get(connection: &Connection, id: &str) -> rusqlite::Result<Option<Webhook>> {
    connection
        .prepare_cached(&format!("{SELECT} WHERE w.id = ?"))?
        .query_row(params![id], read)
        .optional()
}

/// All webhooks, newest first.
pub fn list(connection: &Connection) -> rusqlite::Result<Vec<Webhook>> {
    connection
        .prepare_cached(&format!("{SELECT} ORDER BY w.seq DESC"))?
        .query_map([], read)?
        .collect()
}

/// Removes a webhook with its deliveries; `false` if there was none.
pub fn delete(connection: &Connection, id: &str) -> rusqlite::Result<bool> {
    let removed = connection
        .prepare_cached("DELETE FROM webhooks WHERE id = ?")?
        .execute(params![id])?;
    Ok(removed > 0)
}
