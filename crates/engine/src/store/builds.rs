//! Builds of templates: their records and logs, what their steps made, the files of their contexts.

use rusqlite::{params, Connection, OptionalExtension};

/// A build as stored.
#[derive(Debug, Clone)]
pub struct Row {
    /// `tb_...`
    pub id: String,
    /// JSON.
    pub record: String,
    /// JSON of what machines start from.
    pub artifact: Option<String>,
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        id: row.get(0)?,
        record: row.get(1)?,
        artifact: row.get(2)?,
    })
}

/// The id that builds of a name go by: of its template, or of an earlier build that made none.
pub fn template_of(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT template_id FROM template_builds WHERE name = ? ORDER BY seq DESC LIMIT 1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// Adds a build.
pub fn insert(
    connection: &Connection,
    id: &str,
    template: &str,
    name: &str,
    status: &str,
    record: &str,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO template_builds (id, template_id, name, status, record) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute([id, template, name, status, record])?;
    Ok(())
}

/// Changes a build; `artifact` stays as it is when `None`. `false` if it was deleted.
pub fn update(
    connection: &Connection,
    id: &str,
    status: &str,
    record: &str,
    artifact: Option<&str>,
) -> rusqlite::Result<bool> {
    let changed = connection
        .prepare_cached(
            "UPDATE template_builds SET status = ?, record = ?, artifact = coalesce(?, artifact) WHERE id = ?",
        )?
        .execute(params![status, record, artifact, id])?;
    Ok(changed > 0)
}

/// One build.
pub fn get(connection: &Connection, id: &str) -> rusqlite::Result<Option<Row>> {
    connection
        .prepare_cached("SELECT id, record, artifact FROM template_builds WHERE id = ?")?
        .query_row([id], row)
        .optional()
}

/// The newest build of a template that machines can start from.
pub fn newest(connection: &Connection, template: &str) -> rusqlite::Result<Option<Row>> {
    connection
        .prepare_cached(
            "SELECT id, record, artifact FROM template_builds \
             WHERE template_id = ? AND artifact IS NOT NULL ORDER BY seq DESC LIMIT 1",
        )?
        .query_row([template], row)
        .optional()
}

/// Builds of a template, by its id or by the name that they were made under, newest first.
pub fn list(connection: &Connection, template_or_name: &str) -> rusqlite::Result<Vec<Row>> {
    connection
        .prepare_cached(
            "SELECT id, record, artifact FROM template_builds WHERE template_id = ?1 OR name = ?1 ORDER BY seq DESC",
        )?
        .query_map([template_or_name], row)?
        .collect()
}

/// Name, id, record and artifact of the builds of a template that machines can start from, oldest first.
pub fn usable(
    connection: &Connection,
    template: &str,
) -> rusqlite::Result<Vec<(String, String, String, String)>> {
    connection
        .prepare_cached(
            "SELECT name, id, record, artifact FROM template_builds \
             WHERE template_id = ? AND artifact IS NOT NULL ORDER BY seq",
        )?
        .query_map([template], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect()
}

/// Ids and states of the newest builds of all templates.
pub fn states(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<(String, String)>> {
    connection
        .prepare_cached("SELECT id, status FROM template_builds ORDER BY seq DESC LIMIT ?")?
        .query_map([limit as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Builds that are not over.
pub fn unfinished(connection: &Connection) -> rusqlite::Result<Vec<Row>> {
    connection
        .prepare_cached(
            "SELECT id, record, artifact FROM template_builds WHERE status IN ('waiting', 'building') ORDER BY seq",
        )?
        .query_map([], row)?
        .collect()
}

/// Gives up what machines start from of all but the newest builds of a template and those that a tag means.
pub fn retire(connection: &Connection, template: &str, kept: usize) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE template_builds SET artifact = NULL WHERE template_id = ?1 AND artifact IS NOT NULL \
             AND id NOT IN (SELECT build_id FROM template_tags WHERE template_id = ?1) \
             AND id NOT IN (SELECT id FROM template_builds WHERE template_id = ?1 AND artifact IS NOT NULL \
                            ORDER BY seq DESC LIMIT ?2)",
        )?
        .execute(params![template, kept as i64])?;
    Ok(())
}

/// Forgets the oldest builds of a template that made nothing, with their logs.
pub fn prune(connection: &Connection, template: &str, kept: usize) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM template_builds WHERE template_id = ?1 AND artifact IS NULL \
             AND status NOT IN ('waiting', 'building') AND id NOT IN (SELECT id FROM template_builds \
             WHERE template_id = ?1 AND artifact IS NULL ORDER BY seq DESC LIMIT ?2)",
        )?
        .execute(params![template, kept as i64])?;
    Ok(())
}

/// JSON of all that machines start from.
pub fn artifacts(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached("SELECT artifact FROM template_builds WHERE artifact IS NOT NULL")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// Adds an entry to the log of a build; nothing if the build was deleted.
pub fn add_entry(connection: &Connection, build: &str, place: u64, entry: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO template_build_entries (build_id, place, entry) \
             SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM template_builds WHERE id = ?1)",
        )?
        .execute(params![build, place as i64, entry])?;
    Ok(())
}

/// The log of a build from an offset.
pub fn entries(connection: &Connection, build: &str, from: u64) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached(
            "SELECT entry FROM template_build_entries WHERE build_id = ? AND place >= ? ORDER BY place",
        )?
        .query_map(params![build, i64::try_from(from).unwrap_or(i64::MAX)], |row| {
            row.get(0)
        })?
        .collect()
}

/// What a step made: JSON of its layers, and of the template of a whole build. Counts as used at `now`, Unix microseconds.
pub fn cached(connection: &Connection, key: &str, now: i64) -> rusqlite::Result<Option<(String, String)>> {
    connection
        .prepare_cached("UPDATE template_cache SET used_at = ? WHERE key = ? RETURNING layers, record")?
        .query_row(params![now, key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// Keeps what a step made.
pub fn cache(
    connection: &Connection,
    key: &str,
    layers: &str,
    record: &str,
    size_bytes: u64,
    now: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO template_cache (key, layers, record, size_bytes, used_at) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![key, layers, record, size_bytes as i64, now])?;
    Ok(())
}

/// Forgets what was not used since `before`, Unix microseconds, and what was used longest ago, until so many entries and bytes
/// are left.
pub fn trim_cache(connection: &Connection, before: i64, entries: usize, bytes: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM template_cache WHERE key IN (SELECT key FROM (SELECT key, used_at, \
             row_number() OVER newest AS place, sum(size_bytes) OVER newest AS total \
             FROM template_cache WINDOW newest AS (ORDER BY used_at DESC, key)) \
             WHERE used_at < ? OR place > ? OR total > ?)",
        )?
        .execute(params![
            before,
            entries as i64,
            i64::try_from(bytes).unwrap_or(i64::MAX)
        ])?;
    Ok(())
}

/// JSON of the layers that the cache keeps, and bytes of the nearest; 0 when it is that of a step before.
pub fn cached_layers(connection: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    connection
        .prepare_cached("SELECT layers, size_bytes FROM template_cache")?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?
        .collect()
}

/// Notes a file that is wanted, and says whether it is there. `now` is Unix seconds.
pub fn want_blob(connection: &Connection, id: &str, size_bytes: u64, now: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "INSERT INTO template_blobs (id, size_bytes, is_there, used_at) VALUES (?, ?, 0, ?) \
             ON CONFLICT (id) DO UPDATE SET used_at = excluded.used_at RETURNING is_there",
        )?
        .query_row(params![id, size_bytes as i64, now], |row| row.get(0))
}

/// Size of a file and whether it is there.
pub fn blob(connection: &Connection, id: &str, now: i64) -> rusqlite::Result<Option<(u64, bool)>> {
    connection
        .prepare_cached("UPDATE template_blobs SET used_at = ? WHERE id = ? RETURNING size_bytes, is_there")?
        .query_row(params![now, id], |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get(1)?))
        })
        .optional()
}

/// A file has come.
pub fn blob_came(connection: &Connection, id: &str, size_bytes: u64, now: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO template_blobs (id, size_bytes, is_there, used_at) VALUES (?, ?, 1, ?)",
        )?
        .execute(params![id, size_bytes as i64, now])?;
    Ok(())
}

/// Forgets files that nothing used since `before` (Unix seconds) and those over so many bytes, oldest first, and names them. Files of
/// builds that are not over are used all the time.
pub fn drop_blobs(connection: &Connection, before: i64, bytes: u64) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached(
            "DELETE FROM template_blobs WHERE id IN (SELECT id FROM (SELECT id, used_at, \
             sum(size_bytes * is_there) OVER (ORDER BY used_at DESC, id) AS total FROM template_blobs) \
             WHERE used_at < ? OR total > ?) AND NOT EXISTS (SELECT 1 FROM template_builds \
             WHERE status IN ('waiting', 'building') AND instr(record, template_blobs.id) > 0) RETURNING id",
        )?
        .query_map(params![before, i64::try_from(bytes).unwrap_or(i64::MAX)], |row| {
            row.get(0)
        })?
        .collect()
}

/// All files that are there.
pub fn blobs(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached("SELECT id FROM template_blobs WHERE is_there = 1")?
        .query_map([], |row| row.get(0))?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{in_memory, templates};

    #[test]
    fn the_cache_forgets_what_was_used_longest_ago() {
        let db = in_memory();
        for (key, used) in [("a", 1), ("b", 2), ("c", 3)] {
            cache(&db, key, "[]", "", 10, used).unwrap();
        }
        assert!(cached(&db, "a", 4).unwrap().is_some());
        trim_cache(&db, 0, 2, 1000).unwrap();
        assert_eq!(cached_layers(&db).unwrap().len(), 2);
        assert!(cached(&db, "b", 5).unwrap().is_none());
        trim_cache(&db, 0, 2, 19).unwrap();
        assert!(cached(&db, "a", 6).unwrap().is_some());
        trim_cache(&db, 6, 2, 19).unwrap();
        assert_eq!(cached_layers(&db).unwrap(), [("[]".to_owned(), 10)]);
        trim_cache(&db, 7, 2, 19).unwrap();
        assert_eq!(cached_layers(&db).unwrap(), []);
    }

    #[test]
    fn old_builds_are_retired_unless_a_tag_means_them() {
        let db = in_memory();
        for number in 1..=4 {
            let id = format!("tb_{number}");
            insert(&db, &id, "tmpl_1", "app", "ready", "{}").unwrap();
            update(&db, &id, "ready", "{}", Some("[]")).unwrap();
        }
        templates::set_tag(&db, "tmpl_1", "stable", "tb_1", "now").unwrap();
        retire(&db, "tmpl_1", 2).unwrap();
        let kept: Vec<String> = list(&db, "app")
            .unwrap()
            .into_iter()
            .filter(|row| row.artifact.is_some())
            .map(|row| row.id)
            .collect();
        assert_eq!(kept, ["tb_4", "tb_3", "tb_1"]);
    }

    #[test]
    fn files_that_nothing_used_go_and_those_of_a_build_stay() {
        let db = in_memory();
        for (id, used) in [("old", 1), ("built", 1), ("new", 9)] {
            blob_came(&db, id, 10, used).unwrap();
        }
        insert(&db, "tb_1", "tmpl_1", "app", "building", "{\"blob\":\"built\"}").unwrap();
        assert_eq!(drop_blobs(&db, 5, 1000).unwrap(), ["old"]);
        assert_eq!(blobs(&db).unwrap(), ["built", "new"]);
    }
}
