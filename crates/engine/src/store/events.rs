//! Lifecycle events: appended, listed, replayed, forgotten after a while.

use rusqlite::types::Value;
use rusqlite::{params, params_from_iter, Connection, OptionalExtension};

/// How many events are kept. The oldest are forgotten when the engine starts.
pub const KEPT_EVENTS: i64 = 100_000;

/// What a row is made of.
#[derive(Debug, Clone, Default)]
pub struct NewEvent {
    /// UUID.
    pub id: String,
    /// Unix microseconds.
    pub occurred_at: i64,
    /// Wire name.
    pub operation: String,
    /// Wire name.
    pub status: String,
    /// `mch_...`
    pub machine_id: Option<String>,
    /// `snap_...`
    pub snapshot_id: Option<String>,
    /// `mch_...`
    pub source_machine_id: Option<String>,
    /// `mch_...`
    pub target_machine_id: Option<String>,
    /// JSON.
    pub record: String,
}

/// Which events a list shows. Absent = any.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Wire name.
    pub operation: Option<String>,
    /// Wire name.
    pub status: Option<String>,
    /// `mch_...`
    pub machine_id: Option<String>,
    /// `snap_...`
    pub snapshot_id: Option<String>,
    /// `mch_...`
    pub source_machine_id: Option<String>,
    /// `mch_...`
    pub target_machine_id: Option<String>,
    /// Unix microseconds, inclusive.
    pub from: Option<i64>,
    /// Unix microseconds, inclusive.
    pub to: Option<i64>,
    /// Only events after the one with this id; an unknown id is no condition.
    pub after: Option<String>,
    /// Oldest first.
    pub ascending: bool,
    /// Skip so many.
    pub offset: usize,
    /// At most so many.
    pub limit: usize,
}

/// Appends an event.
pub fn insert(connection: &Connection, event: &NewEvent) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO events (id, occurred_at, operation, status, machine_id, snapshot_id, source_machine_id, \
             target_machine_id, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            event.id,
            event.occurred_at,
            event.operation,
            event.status,
            event.machine_id,
            event.snapshot_id,
            event.source_machine_id,
            event.target_machine_id,
            event.record
        ])?;
    Ok(())
}

/// Events that match, as JSON.
pub fn list(connection: &Connection, filter: &EventFilter) -> rusqlite::Result<Vec<String>> {
    let mut conditions = vec!["1"];
    let mut values = Vec::new();
    let equals = [
        ("operation = ?", &filter.operation),
        ("status = ?", &filter.status),
        ("machine_id = ?", &filter.machine_id),
        ("snapshot_id = ?", &filter.snapshot_id),
        ("source_machine_id = ?", &filter.source_machine_id),
        ("target_machine_id = ?", &filter.target_machine_id),
    ];
    for (condition, value) in equals {
        if let Some(value) = value {
            conditions.push(condition);
            values.push(Value::Text(value.clone()));
        }
    }
    for (condition, value) in [("occurred_at >= ?", filter.from), ("occurred_at <= ?", filter.to)] {
        if let Some(value) = value {
            conditions.push(condition);
            values.push(Value::Integer(value));
        }
    }
    if let Some(id) = &filter.after {
        let seq: Option<i64> = connection
            .query_row("SELECT seq FROM events WHERE id = ?", params![id], |row| {
                row.get(0)
            })
            .optional()?;
        if let Some(seq) = seq {
            conditions.push("seq > ?");
            values.push(Value::Integer(seq));
        }
    }
    let number = |n: usize| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
    values.extend([number(filter.limit), number(filter.offset)]);
    let order = if filter.ascending { "ASC" } else { "DESC" };
    let sql = format!(
        "SELECT record FROM events WHERE {} ORDER BY seq {order} LIMIT ? OFFSET ?",
        conditions.join(" AND ")
    );
    connection
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), |row| row.get(0))?
        .collect()
}

/// At most `limit` events after a place, with their places, as JSON.
pub fn after(connection: &Connection, place: i64, limit: usize) -> rusqlite::Result<Vec<(i64, String)>> {
    connection
        .prepare_cached("SELECT seq, record FROM events WHERE seq > ? ORDER BY seq LIMIT ?")?
        .query_map(params![place, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect()
}

/// The place of the newest event.
pub fn last(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT coalesce(max(seq), 0) FROM events")?
        .query_row([], |row| row.get(0))
}

/// Whether an event is stored.
pub fn exists(connection: &Connection, id: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM events WHERE id = ?)")?
        .query_row(params![id], |row| row.get(0))
}

/// Forgets all but the newest [`KEPT_EVENTS`].
pub fn prune(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM events WHERE seq <= (SELECT max(seq) FROM events) - ?",
        params![KEPT_EVENTS],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::in_memory;

    #[test]
    fn events_are_listed_in_order_and_replayed_after_an_id() {
        let db = in_memory();
        for n in 1..=5i64 {
            let event = NewEvent {
                id: format!("e{n}"),
                occurred_at: n * 10,
                operation: if n % 2 == 0 { "destroy" } else { "create" }.into(),
                status: "succeeded".into(),
                machine_id: Some(format!("m{}", n % 2)),
                record: format!("{n}"),
                ..Default::default()
            };
            insert(&db, &event).unwrap();
        }
        let all = EventFilter {
            limit: 10,
            ..Default::default()
        };
        let get = |filter: EventFilter| list(&db, &filter).unwrap().join("");
        assert_eq!(get(all.clone()), "54321");
        let ascending = EventFilter {
            ascending: true,
            ..all.clone()
        };
        assert_eq!(
            get(EventFilter {
                offset: 1,
                limit: 2,
                ..ascending.clone()
            }),
            "23"
        );
        assert_eq!(
            get(EventFilter {
                after: Some("e3".into()),
                ..ascending.clone()
            }),
            "45"
        );
        assert_eq!(
            get(EventFilter {
                after: Some("unknown".into()),
                ..ascending.clone()
            }),
            "12345"
        );
        let placed = after(&db, 3, 1).unwrap();
        assert_eq!((placed, last(&db).unwrap()), (vec![(4, "4".to_owned())], 5));
        assert_eq!(
            get(EventFilter {
                operation: Some("destroy".into()),
                ..ascending.clone()
            }),
            "24"
        );
        assert_eq!(
            get(EventFilter {
                machine_id: Some("m1".into()),
                ..all
            }),
            "531"
        );
        assert_eq!(
            get(EventFilter {
                from: Some(20),
                to: Some(40),
                ..ascending
            }),
            "234"
        );
    }
}
