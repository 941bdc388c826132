//! Deliveries of webhooks: queued with their event, claimed by the sender, decided, listed.
//!
//! A webhook has at most one delivery `in_progress`, and the next is that of its oldest undecided event: receivers
//! get events in order.

use rusqlite::{params, Connection, OptionalExtension, Row};

use super::events::NewEvent;

/// Decided deliveries kept for each webhook; older ones are forgotten.
pub const KEPT_DELIVERIES: i64 = 1000;
/// Undecided deliveries of a webhook; the oldest beyond are given up.
pub const QUEUE_LIMIT: i64 = 10_000;

/// A delivery as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// UUID.
    pub id: String,
    /// UUID.
    pub webhook_id: String,
    /// UUID.
    pub event_id: String,
    /// Wire name.
    pub operation: String,
    /// Wire name; that of the event.
    pub status: String,
    /// JSON.
    pub event: String,
    /// Wire name.
    pub delivery_status: String,
    /// Attempts begun.
    pub attempt_count: u32,
    /// Wire text.
    pub created_at: String,
    /// Unix microseconds.
    pub next_attempt_at: Option<i64>,
    /// Unix microseconds.
    pub last_attempt_at: Option<i64>,
    /// HTTP status.
    pub last_response_status: Option<u16>,
    /// In words.
    pub last_error: Option<String>,
}

/// A delivery that its sender holds. No `Debug`: it carries the secret.
pub struct Claim {
    /// The delivery, `in_progress` now, this attempt counted.
    pub delivery: Delivery,
    /// Where to.
    pub url: String,
    /// Key of the signature.
    pub secret: String,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub struct Decision {
    /// UUID of the delivery.
    pub id: String,
    /// Its new state.
    pub delivery_status: &'static str,
    /// Unix microseconds; for `queued`.
    pub next_attempt_at: Option<i64>,
    /// HTTP status, if an answer came.
    pub response_status: Option<u16>,
    /// In words.
    pub error: Option<String>,
    /// The attempt, JSON.
    pub attempt: String,
}

const COLUMNS: &str = "d.id, d.webhook_id, d.event_id, d.operation, d.status, d.event, d.delivery_status, \
     d.attempt_count, d.created_at, d.next_attempt_at, d.last_attempt_at, d.last_response_status, d.last_error";

fn read(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    Ok(Delivery {
        id: row.get(0)?,
        webhook_id: row.get(1)?,
        event_id: row.get(2)?,
        operation: row.get(3)?,
        status: row.get(4)?,
        event: row.get(5)?,
        delivery_status: row.get(6)?,
        attempt_count: row.get(7)?,
        created_at: row.get(8)?,
        next_attempt_at: row.get(9)?,
        last_attempt_at: row.get(10)?,
        last_response_status: row.get(11)?,
        last_error: row.get(12)?,
    })
}

/// Queues an event for every enabled webhook that wants its operation; says whether there was one.
pub fn enqueue(
    connection: &Connection,
    event: &NewEvent,
    created_at: &str,
    id: impl Fn() -> String,
) -> rusqlite::Result<bool> {
    let wanting: Vec<String> = connection
        .prepare_cached(
            "SELECT id FROM webhooks WHERE enabled AND EXISTS \
             (SELECT 1 FROM json_each(operations) WHERE value = ?) ORDER BY seq",
        )?
        .query_map(params![event.operation], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for webhook in &wanting {
        connection
            .prepare_cached(
                "INSERT INTO webhook_deliveries (id, webhook_id, event_id, operation, status, event, \
                 delivery_status, created_at, next_attempt_at) VALUES (?, ?, ?, ?, ?, ?, 'queued', ?, ?)",
            )?
            .execute(params![
                id(),
                webhook,
                event.id,
                event.operation,
                event.status,
                event.record,
                created_at,
                event.occurred_at
            ])?;
        connection
            .prepare_cached(
                "UPDATE webhook_deliveries SET delivery_status = 'dead_letter', next_attempt_at = NULL, \
                 last_error = 'too many deliveries were waiting' WHERE seq IN (SELECT seq FROM webhook_deliveries \
                 WHERE webhook_id = ? AND delivery_status = 'queued' ORDER BY seq DESC LIMIT -1 OFFSET ?)",
            )?
            .execute(params![webhook, QUEUE_LIMIT])?;
    }
    Ok(!wanting.is_empty())
}

/// The oldest undecided delivery of each enabled webhook that has none under way.
const HEADS: &str =
    "FROM webhooks w JOIN webhook_deliveries d ON d.seq = (SELECT min(seq) FROM webhook_deliveries \
     WHERE webhook_id = w.id AND delivery_status = 'queued') WHERE w.enabled AND NOT EXISTS \
     (SELECT 1 FROM webhook_deliveries WHERE webhook_id = w.id AND delivery_status = 'in_progress')";

/// Takes at most `limit` deliveries that are due, longest due first, and says when the next one is.
pub fn claim(
    connection: &mut Connection,
    now: i64,
    limit: usize,
) -> rusqlite::Result<(Vec<Claim>, Option<i64>)> {
    let transaction = connection.transaction()?;
    let mut claims: Vec<Claim> = transaction
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, w.url, w.secret {HEADS} AND d.next_attempt_at <= ? \
             ORDER BY d.next_attempt_at, d.seq LIMIT ?"
        ))?
        .query_map(params![now, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            Ok(Claim {
                delivery: read(row)?,
                url: row.get(13)?,
                secret: row.get(14)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    for claim in &mut claims {
        let delivery = &mut claim.delivery;
        delivery.delivery_status = "in_progress".into();
        delivery.attempt_count += 1;
        delivery.last_attempt_at = Some(now);
        transaction
            .prepare_cached(
                "UPDATE webhook_deliveries SET delivery_status = 'in_progress', attempt_count = ?, \
                 last_attempt_at = ?, next_attempt_at = NULL WHERE id = ?",
            )?
            .execute(params![delivery.attempt_count, now, delivery.id])?;
    }
    let next = transaction
        .prepare_cached(&format!("SELECT min(d.next_attempt_at) {HEADS}"))?
        .query_row([], |row| row.get(0))?;
    transaction.commit()?;
    Ok((claims, next))
}

/// Notes how an attempt ended. Nothing happens if the delivery is gone.
pub fn decide(connection: &mut Connection, decision: &Decision) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let webhook: Option<String> = transaction
        .prepare_cached(
            "UPDATE webhook_deliveries SET delivery_status = ?, next_attempt_at = ?, last_response_status = ?, \
             last_error = ? WHERE id = ? RETURNING webhook_id",
        )?
        .query_row(
            params![
                decision.delivery_status,
                decision.next_attempt_at,
                decision.response_status,
                decision.error,
                decision.id
            ],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(webhook) = webhook {
        transaction
            .prepare_cached("INSERT INTO webhook_attempts (delivery_id, record) VALUES (?, ?)")?
            .execute(params![decision.id, decision.attempt])?;
        transaction
            .prepare_cached(
                "DELETE FROM webhook_deliveries WHERE seq IN (SELECT seq FROM webhook_deliveries WHERE \
                 webhook_id = ? AND delivery_status IN ('succeeded', 'dead_letter') \
                 ORDER BY seq DESC LIMIT -1 OFFSET ?)",
            )?
            .execute(params![webhook, KEPT_DELIVERIES])?;
    }
    transaction.commit()
}

/// Gives a delivery back unsent: the attempt does not count.
pub fn put_back(connection: &Connection, id: &str, now: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE webhook_deliveries SET delivery_status = 'queued', attempt_count = attempt_count - 1, \
             next_attempt_at = ? WHERE id = ? AND delivery_status = 'in_progress'",
        )?
        .execute(params![now, id])?;
    Ok(())
}

/// Deliveries that were under way when an earlier engine ended without a word.
pub fn interrupted(connection: &Connection) -> rusqlite::Result<Vec<Delivery>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM webhook_deliveries d WHERE delivery_status = 'in_progress' ORDER BY seq"
        ))?
        .query_map([], read)?
        .collect()
}

/// Deliveries of a webhook, newest first.
pub fn list(
    connection: &Connection,
    webhook: &str,
    offset: usize,
    limit: usize,
) -> rusqlite::Result<Vec<Delivery>> {
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM webhook_deliveries d WHERE webhook_id = ? ORDER BY seq DESC LIMIT ? OFFSET ?"
        ))?
        .query_map(params![webhook, number(limit), number(offset)], read)?
        .collect()
}

/// A delivery of a webhook with its attempts, oldest first.
pub fn get(
    connection: &Connection,
    webhook: &str,
    id: &str,
) -> rusqlite::Result<Option<(Delivery, Vec<String>)>> {
    let delivery = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM webhook_deliveries d WHERE webhook_id = ? AND id = ?"
        ))?
        .query_row(params![webhook, id], read)
        .optional()?;
    let Some(delivery) = delivery else {
        return Ok(None);
    };
    let attempts = connection
        .prepare_cached("SELECT record FROM webhook_attempts WHERE delivery_id = ? ORDER BY seq")?
        .query_map(params![id], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some((delivery, attempts)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::in_memory;
    use crate::store::webhooks::{self, Webhook};

    fn hook(db: &Connection, id: &str, enabled: bool) {
        let webhook = Webhook {
            id: id.into(),
            enabled,
            operations: r#"["create","fork"]"#.into(),
            url: format!("http://{id}/"),
            secret: "s".into(),
            created_at: "t".into(),
            updated_at: "t".into(),
            last_delivery_at: None,
            last_delivery_status: None,
            last_error: None,
        };
        webhooks::put(db, &webhook).unwrap();
    }

    fn happen(db: &Connection, event: &str, operation: &str) -> bool {
        let row = NewEvent {
            id: event.into(),
            operation: operation.into(),
            status: "succeeded".into(),
            record: "{}".into(),
            ..Default::default()
        };
        enqueue(db, &row, "t", || uuid::Uuid::new_v4().to_string()).unwrap()
    }

    fn claimed(db: &mut Connection, now: i64) -> Vec<(String, String, u32)> {
        let (claims, _) = claim(db, now, 8).unwrap();
        let seen = claims.into_iter().map(|c| {
            let delivery = c.delivery;
            (delivery.webhook_id, delivery.event_id, delivery.attempt_count)
        });
        seen.collect()
    }

    fn end(db: &mut Connection, webhook: &str, event: &str, state: &'static str, next: Option<i64>) {
        let id = list(db, webhook, 0, 100)
            .unwrap()
            .into_iter()
            .find(|d| d.event_id == event)
            .unwrap()
            .id;
        let decision = Decision {
            id,
            delivery_status: state,
            next_attempt_at: next,
            response_status: Some(500),
            error: None,
            attempt: "{}".into(),
        };
        decide(db, &decision).unwrap();
    }

    #[test]
    fn each_webhook_sends_one_at_a_time_in_the_order_of_the_events() {
        let mut db = in_memory();
        hook(&db, "a", true);
        hook(&db, "b", true);
        hook(&db, "off", false);
        assert!(happen(&db, "e1", "create"));
        assert!(happen(&db, "e2", "fork"));
        assert!(!happen(&db, "e3", "destroy"), "nobody wants it");
        let first = |id: &str| (id.to_owned(), "e1".to_owned(), 1);
        assert_eq!(claimed(&mut db, 0), [first("a"), first("b")]);
        assert_eq!(claimed(&mut db, 0), [], "both are busy");
        end(&mut db, "a", "e1", "queued", Some(50));
        // The second of `a` waits behind the retry of the first.
        assert_eq!(claimed(&mut db, 49), []);
        assert_eq!(claim(&mut db, 49, 8).unwrap().1, Some(50));
        assert_eq!(claimed(&mut db, 50), [("a".to_owned(), "e1".to_owned(), 2)]);
        end(&mut db, "a", "e1", "dead_letter", None);
        assert_eq!(claimed(&mut db, 50), [("a".to_owned(), "e2".to_owned(), 1)]);
        let unsent = list(&db, "a", 0, 1).unwrap()[0].id.clone();
        put_back(&db, &unsent, 60).unwrap();
        assert_eq!(claimed(&mut db, 60), [("a".to_owned(), "e2".to_owned(), 1)]);
    }

    #[test]
    fn old_decided_deliveries_go_and_a_queue_has_an_end() {
        let mut db = in_memory();
        hook(&db, "a", true);
        let many = |state: &str, count: i64| {
            let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) \
                 INSERT INTO webhook_deliveries (id, webhook_id, event_id, operation, status, event, \
                 delivery_status, created_at, next_attempt_at) \
                 SELECT ? || i, 'a', ? || i, 'create', 'succeeded', '{}', ?, 't', 0 FROM n";
            db.execute(sql, params![count, state, state, state]).unwrap();
        };
        many("succeeded", KEPT_DELIVERIES);
        many("queued", QUEUE_LIMIT);
        happen(&db, "last", "create");
        let states = |db: &Connection, state: &str| -> i64 {
            let sql = "SELECT count(*) FROM webhook_deliveries WHERE delivery_status = ?";
            db.query_row(sql, params![state], |row| row.get(0)).unwrap()
        };
        assert_eq!(states(&db, "queued"), QUEUE_LIMIT);
        assert_eq!(states(&db, "dead_letter"), 1);
        assert_eq!(claimed(&mut db, 0)[0].1, "queued2", "the oldest was given up");
        end_newest(&mut db, "queued2");
        assert_eq!(
            states(&db, "succeeded") + states(&db, "dead_letter"),
            KEPT_DELIVERIES
        );
    }

    fn end_newest(db: &mut Connection, id: &str) {
        let decision = Decision {
            id: id.into(),
            delivery_status: "succeeded",
            next_attempt_at: None,
            response_status: Some(200),
            error: None,
            attempt: "{}".into(),
        };
        decide(db, &decision).unwrap();
    }

    #[test]
    fn a_webhook_goes_with_all_that_it_has() {
        let mut db = in_memory();
        hook(&db, "a", true);
        happen(&db, "e1", "create");
        claimed(&mut db, 0);
        end(&mut db, "a", "e1", "succeeded", None);
        assert!(webhooks::delete(&db, "a").unwrap());
        let left: i64 = db
            .query_row(
                "SELECT (SELECT count(*) FROM webhook_deliveries) + (SELECT count(*) FROM webhook_attempts)",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(left, 0);
        assert!(!webhooks::delete(&db, "a").unwrap());
    }
}
