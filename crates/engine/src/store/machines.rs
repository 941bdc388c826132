//! Rows of machines and the query behind lists.

use rusqlite::types::Value;
use rusqlite::{params, params_from_iter, Connection, OptionalExtension};

/// A machine as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineRow {
    /// Place in the order of creation.
    pub seq: i64,
    /// `mch_...`
    pub id: String,
    /// JSON.
    pub record: String,
}

/// What a row is made of.
#[derive(Debug, Clone)]
pub struct NewMachine {
    /// Unix microseconds. Its place in the order of creation, or the next free one: pages of several engines fit together.
    pub made_at: i64,
    /// `mch_...`
    pub id: String,
    /// Wire name of the status.
    pub status: &'static str,
    /// Template as shown.
    pub template: String,
    /// Top-level keys of the metadata with their values as canonical JSON.
    pub metadata: Vec<(String, String)>,
    /// JSON.
    pub record: String,
}

/// Which machines a list shows.
#[derive(Debug, Clone, Default)]
pub struct MachineFilter {
    /// Wire names; empty = all.
    pub states: Vec<&'static str>,
    /// Exact template.
    pub template: Option<String>,
    /// Each key must have exactly this canonical value.
    pub metadata: Vec<(String, String)>,
    /// Only machines made before the one with this `seq`.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// Adds a machine.
pub fn insert(connection: &Connection, machine: &NewMachine) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO machines (seq, id, status, template, record) VALUES \
             (max(?, (SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'machines')), ?, ?, ?, ?)",
        )?
        .execute(params![
            machine.made_at,
            machine.id,
            machine.status,
            machine.template,
            machine.record
        ])?;
    let seq = connection.last_insert_rowid();
    let mut add = connection
        .prepare_cached("INSERT OR REPLACE INTO machine_metadata (key, value, seq) VALUES (?, ?, ?)")?;
    for (key, value) in &machine.metadata {
        add.execute(params![key, value, seq])?;
    }
    Ok(())
}

/// Writes a changed machine. Metadata and template never change. A machine that is gone stays gone.
pub fn update(connection: &Connection, id: &str, status: &str, record: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE machines SET status = ?, record = ? WHERE id = ?")?
        .execute(params![status, record, id])?;
    Ok(())
}

/// Removes a machine; `false` if there was none.
pub fn delete(connection: &Connection, id: &str) -> rusqlite::Result<bool> {
    let removed = connection
        .prepare_cached("DELETE FROM machines WHERE id = ?")?
        .execute(params![id])?;
    Ok(removed > 0)
}

/// Dead machines that are kept, so that somebody can see what became of them. The oldest beyond are forgotten when the
/// engine starts.
pub const KEPT_DEAD: i64 = 1000;

/// Forgets all but the newest [`KEPT_DEAD`] dead machines; their events stay. Says how many.
pub fn prune(connection: &Connection) -> rusqlite::Result<usize> {
    connection.execute(
        "DELETE FROM machines WHERE seq IN \
         (SELECT seq FROM machines WHERE status = 'error' ORDER BY seq DESC LIMIT -1 OFFSET ?)",
        params![KEPT_DEAD],
    )
}

/// One machine.
pub fn get(connection: &Connection, id: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT record FROM machines WHERE id = ?")?
        .query_row(params![id], |row| row.get(0))
        .optional()
}

/// All machines, oldest first.
pub fn all(connection: &Connection) -> rusqlite::Result<Vec<MachineRow>> {
    connection
        .prepare_cached("SELECT seq, id, record FROM machines ORDER BY seq")?
        .query_map([], read)?
        .collect()
}

/// Machines in any of these states, oldest first.
pub fn in_states(connection: &Connection, states: &[&str]) -> rusqlite::Result<Vec<MachineRow>> {
    let marks = vec!["?"; states.len()].join(", ");
    connection
        .prepare(&format!(
            "SELECT seq, id, record FROM machines WHERE status IN ({marks}) ORDER BY seq"
        ))?
        .query_map(params_from_iter(states), read)?
        .collect()
}

/// Machines that match, newest first.
pub fn list(connection: &Connection, filter: &MachineFilter) -> rusqlite::Result<Vec<MachineRow>> {
    let (sql, values) = query(filter);
    connection
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), read)?
        .collect()
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<MachineRow> {
    Ok(MachineRow {
        seq: row.get(0)?,
        id: row.get(1)?,
        record: row.get(2)?,
    })
}

/// The narrowest filter picks the index, which is walked from the newest row and left at the limit.
fn query(filter: &MachineFilter) -> (String, Vec<Value>) {
    let before = Value::Integer(filter.before.unwrap_or(i64::MAX));
    let limit = Value::Integer(i64::try_from(filter.limit).unwrap_or(i64::MAX));
    let text = |t: &str| Value::Text(t.to_owned());

    // Several states and nothing narrower: one index walk a state, merged.
    if filter.metadata.is_empty() && filter.template.is_none() && filter.states.len() > 1 {
        let mut values = Vec::new();
        let parts: Vec<&str> = filter
            .states
            .iter()
            .map(|state| {
                values.extend([text(state), before.clone(), limit.clone()]);
                "SELECT * FROM (SELECT seq, id, record FROM machines WHERE status = ? AND seq < ? \
                 ORDER BY seq DESC LIMIT ?)"
            })
            .collect();
        values.push(limit);
        return (
            format!("{} ORDER BY seq DESC LIMIT ?", parts.join(" UNION ALL ")),
            values,
        );
    }

    let mut conditions = Vec::new();
    let mut values = Vec::new();
    let (from, order) = if let Some(((key, value), others)) = filter.metadata.split_first() {
        conditions.push("d.key = ? AND d.value = ? AND d.seq < ?".to_owned());
        values.extend([text(key), text(value), before]);
        for (key, value) in others {
            conditions.push(
                "EXISTS (SELECT 1 FROM machine_metadata o WHERE o.key = ? AND o.value = ? AND o.seq = m.seq)"
                    .into(),
            );
            values.extend([text(key), text(value)]);
        }
        // CROSS JOIN keeps the order of the tables: the metadata index is the outer loop.
        (
            "machine_metadata d CROSS JOIN machines m ON m.seq = d.seq",
            "d.seq",
        )
    } else {
        conditions.push("m.seq < ?".into());
        values.push(before);
        ("machines m", "m.seq")
    };
    if let Some(template) = &filter.template {
        conditions.push("m.template = ?".into());
        values.push(text(template));
    }
    if !filter.states.is_empty() {
        // The unary plus keeps this condition away from the planner when a narrower index was chosen above.
        let plus = if filter.metadata.is_empty() && filter.template.is_none() {
            ""
        } else {
            "+"
        };
        conditions.push(format!(
            "{plus}m.status IN ({})",
            vec!["?"; filter.states.len()].join(", ")
        ));
        values.extend(filter.states.iter().map(|s| text(s)));
    }
    values.push(limit);
    (
        format!(
            "SELECT m.seq, m.id, m.record FROM {from} WHERE {} ORDER BY {order} DESC LIMIT ?",
            conditions.join(" AND ")
        ),
        values,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::in_memory;
    use proptest::prelude::*;

    fn add(
        connection: &Connection,
        id: &str,
        status: &'static str,
        template: &str,
        metadata: &[(&str, &str)],
    ) {
        let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        insert(
            connection,
            &NewMachine {
                made_at: 0,
                id: id.into(),
                status,
                template: template.into(),
                metadata: metadata.iter().map(owned).collect(),
                record: "{}".into(),
            },
        )
        .unwrap();
    }

    fn ids(connection: &Connection, filter: MachineFilter) -> Vec<String> {
        list(connection, &filter)
            .unwrap()
            .into_iter()
            .map(|m| m.id)
            .collect()
    }

    fn all() -> MachineFilter {
        MachineFilter {
            limit: 100,
            ..Default::default()
        }
    }

    #[test]
    fn of_the_dead_the_newest_are_kept_and_of_the_others_all() {
        let db = in_memory();
        add(&db, "paused", "paused", "base", &[]);
        for n in 0..KEPT_DEAD + 2 {
            add(&db, &format!("dead{n}"), "error", "base", &[("p", "1")]);
        }
        assert_eq!(prune(&db).unwrap(), 2);
        for (id, is_kept) in [
            ("paused", true),
            ("dead0", false),
            ("dead1", false),
            ("dead2", true),
        ] {
            assert_eq!(get(&db, id).unwrap().is_some(), is_kept, "{id}");
        }
        let rows: i64 = db
            .query_row("SELECT count(*) FROM machine_metadata", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, KEPT_DEAD);
    }

    #[test]
    fn filters_combine_and_the_newest_comes_first() {
        let db = in_memory();
        add(&db, "a", "running", "base", &[("p", "1"), ("q", "\"x\"")]);
        add(&db, "b", "paused", "base", &[("p", "1")]);
        add(&db, "c", "error", "other", &[("p", "2")]);
        add(&db, "d", "running", "other", &[]);
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(ids(&db, all()), ["d", "c", "b", "a"]);
        let states = |states: &[&'static str]| MachineFilter {
            states: states.to_vec(),
            ..all()
        };
        assert_eq!(ids(&db, states(&["running"])), ["d", "a"]);
        assert_eq!(ids(&db, states(&["running", "paused"])), ["d", "b", "a"]);
        let template = MachineFilter {
            template: Some("base".into()),
            ..states(&["running", "error"])
        };
        assert_eq!(ids(&db, template), ["a"]);
        let metadata = MachineFilter {
            metadata: vec![pair("p", "1")],
            ..all()
        };
        assert_eq!(ids(&db, metadata.clone()), ["b", "a"]);
        let both = MachineFilter {
            metadata: vec![pair("p", "1"), pair("q", "\"x\"")],
            ..all()
        };
        assert_eq!(ids(&db, both), ["a"]);
        assert!(delete(&db, "b").unwrap());
        assert!(!delete(&db, "b").unwrap());
        assert_eq!(ids(&db, metadata), ["a"]);
    }

    #[test]
    fn no_list_reads_the_whole_table() {
        let db = in_memory();
        let pair = ("k".to_owned(), "1".to_owned());
        let cases = [
            all(),
            MachineFilter {
                states: vec!["running"],
                ..all()
            },
            MachineFilter {
                states: vec!["running", "paused", "error"],
                ..all()
            },
            MachineFilter {
                template: Some("base".into()),
                ..all()
            },
            MachineFilter {
                template: Some("base".into()),
                states: vec!["running", "paused"],
                ..all()
            },
            MachineFilter {
                metadata: vec![pair.clone()],
                ..all()
            },
            MachineFilter {
                metadata: vec![pair.clone(), pair],
                states: vec!["running"],
                ..all()
            },
        ];
        for filter in cases {
            let (sql, values) = query(&filter);
            let plan: Vec<String> = db
                .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
                .unwrap()
                .query_map(params_from_iter(values), |row| row.get(3))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            let bad = plan.iter().any(|step| {
                let whole_table = step.starts_with("SCAN m") || step.starts_with("SCAN d");
                whole_table || (step.contains("TEMP B-TREE") && filter.states.len() < 2)
            });
            assert!(!bad, "{sql}\n{plan:#?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Walking any list page by page gives exactly what one big page gives, also when machines come and go.
        #[test]
        fn pages_hold_every_machine_once(
            kinds in prop::collection::vec((0usize..4, 0usize..2, 0usize..3), 0..60),
            states in prop::collection::vec(0usize..4, 0..3),
            template in prop::option::of(0usize..2),
            value in prop::option::of(0usize..3),
            limit in 1usize..9,
            removed in prop::collection::vec(0usize..60, 0..5),
        ) {
            const STATES: [&str; 4] = ["creating", "running", "paused", "error"];
            const TEMPLATES: [&str; 2] = ["base", "other"];
            const VALUES: [&str; 3] = ["1", "\"a\"", "[1,2]"];
            let db = in_memory();
            for (n, (state, template, value)) in kinds.iter().enumerate() {
                add(&db, &format!("m{n}"), STATES[*state], TEMPLATES[*template], &[("v", VALUES[*value])]);
            }
            let mut wanted: Vec<&'static str> = states.iter().map(|s| STATES[*s]).collect();
            wanted.sort_unstable();
            wanted.dedup();
            let filter = MachineFilter {
                states: wanted.clone(),
                template: template.map(|t| TEMPLATES[t].to_owned()),
                metadata: value.map(|v| ("v".to_owned(), VALUES[v].to_owned())).into_iter().collect(),
                before: None,
                limit,
            };
            let expected: Vec<String> = kinds
                .iter()
                .enumerate()
                .rev()
                .filter(|(_, (s, t, v))| {
                    (wanted.is_empty() || wanted.contains(&STATES[*s]))
                        && template.is_none_or(|wanted| wanted == *t)
                        && value.is_none_or(|wanted| wanted == *v)
                })
                .map(|(n, _)| format!("m{n}"))
                .collect();
            let mut seen = Vec::new();
            let mut before = None;
            let mut gone: Vec<String> = Vec::new();
            loop {
                let page = list(&db, &MachineFilter { before, ..filter.clone() }).unwrap();
                prop_assert!(page.len() <= limit);
                let Some(last) = page.last() else { break };
                before = Some(last.seq);
                seen.extend(page.into_iter().map(|m| m.id));
                // Between two pages one machine ends and another begins; neither shifts the pages.
                if let Some(n) = removed.get(gone.len()) {
                    let id = format!("m{n}");
                    if !seen.contains(&id) && delete(&db, &id).unwrap() {
                        gone.push(id);
                    }
                    add(&db, &format!("new{}", seen.len()), "running", "base", &[("v", "1")]);
                }
            }
            let expected: Vec<String> = expected.into_iter().filter(|id| !gone.contains(id)).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
