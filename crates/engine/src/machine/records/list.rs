//! Shows machines: one, or a page of them.

use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use base64::Engine as _;
use nullspace_wire::machine::{ListMachinesResponse, MachineInfo};
use nullspace_wire::JsonObject;

use super::record::Record;
use crate::machine::ground::json::canonical;
use crate::machine::ground::{status, Error, Kind, Result};
use crate::machine::Engine;
use crate::store::machines::{self, MachineFilter};

/// Machines a page when the request does not say.
pub const DEFAULT_LIMIT: usize = 100;
/// Most machines a page.
pub const MAX_LIMIT: usize = 1000;

/// What to list. Absent = all.
#[derive(Debug, Clone, Default)]
pub struct ListRequest {
    /// Wire names, comma-joined.
    pub state: Option<String>,
    /// Exact template.
    pub template: Option<String>,
    /// Top-level keys that a machine's metadata must have, with equal values.
    pub metadata: JsonObject,
    /// Machines a page; default 100, at most 1000.
    pub limit: Option<usize>,
    /// From the page before.
    pub next_token: Option<String>,
}

impl Engine {
    /// One machine.
    pub async fn get(&self, id: &str) -> Result<MachineInfo> {
        if let Some(machine) = self.find_live(id) {
            return Ok(machine.info());
        }
        let wanted = id.to_owned();
        let row = self.store.call(move |c| machines::get(c, &wanted)).await?;
        match row {
            Some(row) => Ok(stored(&row)?.info(None)),
            None => Err(Error::no_machine(id)),
        }
    }

    /// What the store looks for: the newest of those made before `before`, a page of them.
    pub(in crate::machine) fn machine_filter(
        &self,
        request: &ListRequest,
        before: Option<i64>,
    ) -> Result<MachineFilter> {
        Ok(MachineFilter {
            states: states(request.state.as_deref().unwrap_or_default())?,
            template: request.template.clone(),
            metadata: request
                .metadata
                .iter()
                .map(|(k, v)| (k.clone(), canonical(v)))
                .collect(),
            before,
            limit: page_size(request)?,
        })
    }

    /// A page of machines, newest first. Pages hold each machine that lives through the walk exactly once, whatever
    /// is made or destroyed meanwhile.
    pub async fn list(&self, request: ListRequest) -> Result<ListMachinesResponse> {
        let limit = page_size(&request)?;
        let before = request.next_token.as_deref().map(read_token).transpose()?;
        let mut filter = self.machine_filter(&request, before)?;
        // One more than asked tells whether another page follows.
        filter.limit = limit + 1;
        let mut rows = self.store.call(move |c| machines::list(c, &filter)).await?;
        let has_next = rows.len() > limit;
        rows.truncate(limit);
        let next_token = rows.last().filter(|_| has_next).map(|last| token(last.seq));
        let items = rows
            .iter()
            .map(|row| match self.find_live(&row.id) {
                Some(machine) => Ok(machine.info()),
                None => Ok(stored(&row.record)?.info(None)),
            })
            .collect::<Result<_>>()?;
        Ok(ListMachinesResponse {
            items,
            has_next,
            next_token,
        })
    }
}

/// Machines a page.
pub fn page_size(request: &ListRequest) -> Result<usize> {
    match request.limit {
        None => Ok(DEFAULT_LIMIT),
        Some(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
        Some(limit) => {
            let text = format!("is {limit}: give 1 to {MAX_LIMIT}, such as {DEFAULT_LIMIT}");
            Err(Error::invalid("limit", text))
        }
    }
}

fn stored(row: &str) -> Result<Record> {
    serde_json::from_str(row).map_err(|e| Error::internal("reading a machine", e))
}

/// The names of states, checked.
pub fn states(text: &str) -> Result<Vec<&'static str>> {
    let mut states = Vec::new();
    for name in text.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        let Some(state) = status::from_name(name) else {
            return Err(Error::invalid(
                "state",
                format_args!(
                    "has {name:?}: give creating, running, paused, destroyed or error, comma-joined"
                ),
            ));
        };
        let state = status::name(state);
        if !states.contains(&state) {
            states.push(state);
        }
    }
    Ok(states)
}

fn token(seq: i64) -> String {
    BASE64.encode(format!("m1:{seq}"))
}

fn read_token(token: &str) -> Result<i64> {
    let text = BASE64
        .decode(token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    text.as_deref()
        .and_then(|t| t.strip_prefix("m1:")?.parse().ok())
        .ok_or_else(|| {
            Error::new(
                Kind::InvalidRequest,
                "`next_token` is not one that a page of this engine gave",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back_and_others_are_refused() {
        assert_eq!(read_token(&token(42)).unwrap(), 42);
        for bad in ["", "x", "bTE6", "bTI6MQ", "%%%"] {
            assert!(read_token(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn states_are_read_leniently_but_unknown_ones_are_named() {
        assert_eq!(
            states(" running, paused,running,").unwrap(),
            ["running", "paused"]
        );
        assert!(states("runing").unwrap_err().message.contains("runing"));
    }
}
