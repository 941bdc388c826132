//! Answers kept for idempotency keys.

use rusqlite::{params, Connection, OptionalExtension};

/// How long an answer is kept, in seconds: one day.
pub const KEPT_SECONDS: i64 = 24 * 60 * 60;

/// An answer that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// Digest of the request.
    pub fingerprint: Vec<u8>,
    /// JSON of the answer.
    pub body: String,
}

/// The answer given for a key, unless it is too old. `now` is in Unix seconds.
pub fn get(
    connection: &Connection,
    scope: &str,
    key: &str,
    now: i64,
) -> rusqlite::Result<Option<KeptAnswer>> {
    connection
        .prepare_cached(
            "SELECT fingerprint, body FROM idempotency_keys WHERE scope = ? AND key = ? AND kept_since > ?",
        )?
        .query_row(params![scope, key, now - KEPT_SECONDS], |row| {
            Ok(KeptAnswer {
                fingerprint: row.get(0)?,
                body: row.get(1)?,
            })
        })
        .optional()
}

/// Keeps an answer and forgets those that are too old.
pub fn put(
    connection: &Connection,
    scope: &str,
    key: &str,
    fingerprint: &[u8],
    body: &str,
    now: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM idempotency_keys WHERE kept_since <= ?")?
        .execute(params![now - KEPT_SECONDS])?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO idempotency_keys (scope, key, fingerprint, body, kept_since) \
             VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![scope, key, fingerprint, body, now])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::in_memory;

    #[test]
    fn an_answer_is_kept_for_a_day() {
        let db = in_memory();
        put(&db, "create", "k", b"f", "{}", 1_000_000).unwrap();
        assert_eq!(
            get(&db, "create", "k", 1_000_000 + 86_399).unwrap().unwrap().body,
            "{}"
        );
        assert_eq!(get(&db, "create", "k", 1_000_000 + 86_400).unwrap(), None);
        assert_eq!(get(&db, "fork", "k", 1_000_000).unwrap(), None);
        put(&db, "create", "other", b"f", "{}", 1_000_000 + 86_400).unwrap();
        let rows: i64 = db
            .query_row("SELECT count(*) FROM idempotency_keys", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 1);
    }
}
