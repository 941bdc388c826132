//! Tags of templates, names that they had before, names that are kept for somebody.

use rusqlite::{params, Connection, OptionalExtension};

use super::documents::{self, Kind};

/// A tag: what it is called, the build that it means, when it was set.
pub type Tag = (String, String, String);

/// The document of a template by its id, its name, or a name that it had.
pub fn find(connection: &Connection, subject: &str) -> rusqlite::Result<Option<String>> {
    if let Some(row) = documents::get(connection, Kind::Template, subject)? {
        return Ok(Some(row));
    }
    if let Some(row) = documents::list(connection, Kind::Template, Some(subject))?
        .into_iter()
        .next()
    {
        return Ok(Some(row));
    }
    let owner: Option<String> = connection
        .prepare_cached("SELECT template_id FROM template_aliases WHERE name = ?")?
        .query_row([subject], |row| row.get(0))
        .optional()?;
    match owner {
        Some(id) => documents::get(connection, Kind::Template, &id),
        None => Ok(None),
    }
}

/// Tags of a template by name.
pub fn tags(connection: &Connection, template: &str) -> rusqlite::Result<Vec<Tag>> {
    connection
        .prepare_cached(
            "SELECT tag, build_id, created_at FROM template_tags WHERE template_id = ? ORDER BY tag",
        )?
        .query_map([template], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// Sets or moves a tag.
pub fn set_tag(
    connection: &Connection,
    template: &str,
    tag: &str,
    build: &str,
    at: &str,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO template_tags (template_id, tag, build_id, created_at) VALUES (?, ?, ?, ?) \
             ON CONFLICT (template_id, tag) DO UPDATE SET build_id = excluded.build_id, created_at = excluded.created_at",
        )?
        .execute(params![template, tag, build, at])?;
    Ok(())
}

/// Removes a tag; `false` if there was none.
pub fn remove_tag(connection: &Connection, template: &str, tag: &str) -> rusqlite::Result<bool> {
    let removed = connection
        .prepare_cached("DELETE FROM template_tags WHERE template_id = ? AND tag = ?")?
        .execute([template, tag])?;
    Ok(removed > 0)
}

/// Notes a name that a template had.
pub fn add_alias(connection: &Connection, name: &str, template: &str, at: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO template_aliases (name, template_id, created_at) VALUES (?, ?, ?)",
        )?
        .execute([name, template, at])?;
    Ok(())
}

/// Names that a template had, and until when.
pub fn aliases(connection: &Connection, template: &str) -> rusqlite::Result<Vec<(String, String)>> {
    connection
        .prepare_cached("SELECT name, created_at FROM template_aliases WHERE template_id = ? ORDER BY name")?
        .query_map([template], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Forgets a name that a template had; `false` if it had none such.
pub fn remove_alias(connection: &Connection, template: &str, name: &str) -> rusqlite::Result<bool> {
    let removed = connection
        .prepare_cached("DELETE FROM template_aliases WHERE template_id = ? AND name = ?")?
        .execute([template, name])?;
    Ok(removed > 0)
}

/// Forgets tags and names of a template.
pub fn forget(connection: &Connection, template: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM template_tags WHERE template_id = ?", [template])?;
    connection.execute("DELETE FROM template_aliases WHERE template_id = ?", [template])?;
    connection.execute("DELETE FROM template_builds WHERE template_id = ?", [template])?;
    Ok(())
}

/// Keeps a name for who has the token; `false` if somebody else has it. `now` and `until` are Unix seconds.
pub fn claim(
    connection: &Connection,
    token_hash: &[u8],
    name: &str,
    now: i64,
    until: i64,
) -> rusqlite::Result<bool> {
    connection.execute("DELETE FROM template_claims WHERE expires_at <= ?", [now])?;
    let added = connection.execute(
        "INSERT OR IGNORE INTO template_claims (token_hash, name, expires_at) VALUES (?, ?, ?)",
        params![token_hash, name, until],
    )?;
    Ok(added > 0)
}

/// Hash of the token that a name is kept for.
pub fn claimed(connection: &Connection, name: &str, now: i64) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT token_hash FROM template_claims WHERE name = ? AND expires_at > ?")?
        .query_row(params![name, now], |row| row.get(0))
        .optional()
}

/// Gives a kept name up; `false` if the token keeps none.
pub fn release(connection: &Connection, token_hash: &[u8]) -> rusqlite::Result<bool> {
    Ok(connection.execute("DELETE FROM template_claims WHERE token_hash = ?", [token_hash])? > 0)
}
