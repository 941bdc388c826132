//! Snapshots, warm pools, templates and layers: few rows, read whole.

use rusqlite::{params, Connection, OptionalExtension};

/// What a document is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `snap_...`; its subject is the machine it was taken of.
    Snapshot,
    /// `twp_...`
    Pool,
    /// `tmpl_...`
    Template,
    /// `vol_...`; its subject is its name.
    Volume,
    /// A set of files that may be on the disk; noted before it is made.
    Layer,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Snapshot => "snapshot",
            Kind::Pool => "pool",
            Kind::Template => "template",
            Kind::Volume => "volume",
            Kind::Layer => "layer",
        }
    }
}

/// Adds or replaces a document.
pub fn put(
    connection: &Connection,
    kind: Kind,
    id: &str,
    subject: &str,
    record: &str,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO documents (kind, id, subject, record) VALUES (?, ?, ?, ?) \
             ON CONFLICT (id) DO UPDATE SET subject = excluded.subject, record = excluded.record",
        )?
        .execute(params![kind.name(), id, subject, record])?;
    Ok(())
}

/// One document.
pub fn get(connection: &Connection, kind: Kind, id: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT record FROM documents WHERE id = ? AND kind = ?")?
        .query_row(params![id, kind.name()], |row| row.get(0))
        .optional()
}

/// All documents of a kind, or those of one subject, newest first.
pub fn list(connection: &Connection, kind: Kind, subject: Option<&str>) -> rusqlite::Result<Vec<String>> {
    match subject {
        Some(subject) => connection
            .prepare_cached("SELECT record FROM documents WHERE kind = ? AND subject = ? ORDER BY seq DESC")?
            .query_map(params![kind.name(), subject], |row| row.get(0))?
            .collect(),
        None => connection
            .prepare_cached("SELECT record FROM documents WHERE kind = ? ORDER BY seq DESC")?
            .query_map(params![kind.name()], |row| row.get(0))?
            .collect(),
    }
}

/// Removes a document; `false` if there was none.
pub fn delete(connection: &Connection, kind: Kind, id: &str) -> rusqlite::Result<bool> {
    let removed = connection
        .prepare_cached("DELETE FROM documents WHERE id = ? AND kind = ?")?
        .execute(params![id, kind.name()])?;
    Ok(removed > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::in_memory;

    #[test]
    fn a_document_is_replaced_in_place_and_kinds_do_not_mix() {
        let db = in_memory();
        put(&db, Kind::Snapshot, "snap_1", "mch_1", "one").unwrap();
        put(&db, Kind::Snapshot, "snap_2", "mch_2", "two").unwrap();
        put(&db, Kind::Pool, "twp_1", "", "pool").unwrap();
        put(&db, Kind::Snapshot, "snap_1", "mch_1", "changed").unwrap();
        assert_eq!(list(&db, Kind::Snapshot, None).unwrap(), ["two", "changed"]);
        assert_eq!(list(&db, Kind::Snapshot, Some("mch_1")).unwrap(), ["changed"]);
        assert_eq!(get(&db, Kind::Pool, "snap_1").unwrap(), None);
        assert!(!delete(&db, Kind::Pool, "snap_1").unwrap());
        assert!(delete(&db, Kind::Snapshot, "snap_1").unwrap());
    }
}
