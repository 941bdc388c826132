//! Lists over all nodes: each is asked for its part, and what a node that does not answer last told stands in for it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use base64::Engine as _;
use futures_util::future::join_all;
use nullspace_wire::machine::{ListMachinesResponse, MachineInfo, SnapshotInfo};
use nullspace_wire::volume::VolumeInfo;
use nullspace_wire::JsonObject;
use serde::de::DeserializeOwned;
use tokio_postgres::types::Json;
use tokio_postgres::Row;

use super::nodes::Node;
use super::Cluster;
use crate::machine::gateways::contents::Thing;
use crate::machine::life::snapshot::has_metadata;
use crate::machine::records::list::{page_size, states, ListRequest};
use crate::machine::{Error, Kind, Result};
use crate::node::client::Unanswered;
use crate::node::messages::{MachinePage, PlacedMachine};
use crate::server::machines::page;
use crate::server::node::{BEFORE, LIMIT, MACHINES};
use crate::server::params::Params;
use crate::server::reply::{json, Answer};
use crate::server::volumes;

/// How long a node may take for its part of a list.
const PATIENCE: Duration = Duration::from_secs(5);

/// A place between two machines in the order of creation: by number, then by node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    seq: i64,
    tag: String,
}

impl Mark {
    fn token(&self) -> String {
        BASE64.encode(format!("c1:{}:{}", self.seq, self.tag))
    }

    fn read(token: &str) -> Result<Self> {
        let read = || {
            let text = String::from_utf8(BASE64.decode(token).ok()?).ok()?;
            let (seq, tag) = text.strip_prefix("c1:")?.split_once(':')?;
            Some(Self {
                seq: seq.parse().ok()?,
                tag: tag.to_owned(),
            })
        };
        read().ok_or_else(|| {
            Error::new(
                Kind::InvalidRequest,
                "`next_token` is not one that a page of this cluster gave",
            )
        })
    }

    /// The first place of a node that lies behind the mark: two nodes may have the same number.
    fn before(&self, tag: &str) -> i64 {
        self.seq + i64::from(tag < self.tag.as_str())
    }
}

/// A machine with its place.
struct Placed {
    mark: Mark,
    info: MachineInfo,
}

/// `GET /v1/machines`
pub async fn machines(State(cluster): State<Arc<Cluster>>, params: Params) -> Answer {
    let request = ListRequest::of(&params)?;
    let limit = page_size(&request)?;
    let mark = request.next_token.as_deref().map(Mark::read).transpose()?;
    let mut found = cluster
        .machines_before(&request, limit + 1, mark.as_ref())
        .await?;
    let has_next = found.len() > limit;
    found.truncate(limit);
    let next_token = found.last().filter(|_| has_next).map(|last| last.mark.token());
    page(
        &params,
        ListMachinesResponse {
            items: found.into_iter().map(|placed| placed.info).collect(),
            has_next,
            next_token,
        },
    )
}

/// `GET /v1/snapshots`
pub async fn all_snapshots(State(cluster): State<Arc<Cluster>>, params: Params) -> Answer {
    let metadata = params.object("metadata")?;
    let machine = params.text("machine_id");
    let mut all: Vec<SnapshotInfo> = cluster.gather("/v1/snapshots", Thing::Snapshot).await?;
    let mut seen = HashSet::new();
    all.retain(|snapshot| {
        // A copy of a snapshot on another node says the same.
        machine.as_ref().is_none_or(|id| snapshot.machine_id == *id)
            && has_metadata(snapshot, &metadata)
            && seen.insert(snapshot.id.clone())
    });
    all.sort_by(|a, b| (&b.created_at, &b.id).cmp(&(&a.created_at, &a.id)));
    Ok(json(StatusCode::OK, &all))
}

/// `GET /v1/volumes`
pub async fn all_volumes(State(cluster): State<Arc<Cluster>>, params: Params) -> Answer {
    volumes::listed(&params, cluster.volumes().await?)
}

/// `GET /v1/volumes/by-name/{name}`
pub async fn volume_by_name(
    State(cluster): State<Arc<Cluster>>,
    Path(name): Path<String>,
    params: Params,
) -> Answer {
    match cluster
        .volumes()
        .await?
        .into_iter()
        .find(|volume| volume.name == name)
    {
        Some(volume) => volumes::shown(&params, &volume),
        None => Err(Error::no_volume(&name).into()),
    }
}

impl Cluster {
    /// Volumes of all nodes, newest first.
    pub async fn volumes(&self) -> Result<Vec<VolumeInfo>> {
        let mut all: Vec<VolumeInfo> = self.gather("/v1/volumes", Thing::Volume).await?;
        all.sort_by(|a, b| (&b.created_at, &b.id).cmp(&(&a.created_at, &a.id)));
        Ok(all)
    }

    /// Machines with these entries in their metadata, with the tags of their nodes: at most a page.
    pub async fn machines_with(&self, metadata: &JsonObject) -> Result<Vec<(String, MachineInfo)>> {
        let request = ListRequest {
            metadata: metadata.clone(),
            ..Default::default()
        };
        let found = self.machines_before(&request, page_size(&request)?, None).await?;
        Ok(found
            .into_iter()
            .map(|placed| (placed.mark.tag, placed.info))
            .collect())
    }

    /// The newest machines of all nodes, at most a page.
    pub async fn newest_machines(&self, request: &ListRequest, limit: usize) -> Result<Vec<MachineInfo>> {
        let mut found = self.machines_before(request, limit, None).await?;
        found.truncate(limit);
        Ok(found.into_iter().map(|placed| placed.info).collect())
    }

    /// The newest machines behind a mark, `limit` of each node at least.
    async fn machines_before(
        &self,
        request: &ListRequest,
        limit: usize,
        mark: Option<&Mark>,
    ) -> Result<Vec<Placed>> {
        let nodes = self.nodes.all();
        let asked = join_all(
            nodes
                .iter()
                .map(|node| self.machines_of(node, request, limit, mark)),
        )
        .await;
        // What nodes did not say themselves: all of those that do not answer, and what was given up of the others.
        let mut silent = Vec::new();
        let mut found = Vec::new();
        for (node, answer) in nodes.iter().zip(asked) {
            match answer {
                Some(part) => found.extend(part.into_iter().map(|placed| placed_at(&node.tag, placed))),
                None => silent.push(node.tag.clone()),
            }
        }
        found.extend(self.told_machines(request, limit, mark, &silent).await?);
        found.sort_by(|a, b| (b.mark.seq, &b.mark.tag).cmp(&(a.mark.seq, &a.mark.tag)));
        Ok(found)
    }

    async fn machines_of(
        &self,
        node: &Node,
        request: &ListRequest,
        limit: usize,
        mark: Option<&Mark>,
    ) -> Option<Vec<PlacedMachine>> {
        if !node.is_reached() {
            return None;
        }
        let query = query(request, limit, mark, &node.tag)?;
        let path = format!("{MACHINES}?{query}");
        let asked: std::result::Result<MachinePage, _> =
            self.ask(node, Method::GET, &path, None::<&()>, PATIENCE).await;
        asked
            .map(|page| page.items)
            .map_err(|error| said_nothing(node, &error))
            .ok()
    }

    /// Machines as they were told last.
    async fn told_machines(
        &self,
        request: &ListRequest,
        limit: usize,
        mark: Option<&Mark>,
        silent: &[String],
    ) -> Result<Vec<Placed>> {
        let states = states(request.state.as_deref().unwrap_or_default())?;
        let metadata = Json(&request.metadata);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (seq, tag) = mark.map_or((i64::MAX, ""), |mark| (mark.seq, mark.tag.as_str()));
        let rows = self
            .db
            .get()
            .await?
            .query(
                "SELECT seq, node, info FROM things t WHERE kind = 'machine' AND (given_up OR node = ANY ($1)) \
                 AND (seq, node) < ($2, $3) \
                 AND (cardinality($4::text[]) = 0 OR info->>'status' = ANY ($4)) \
                 AND ($5::text IS NULL OR info->>'template' = $5) \
                 AND NOT EXISTS (SELECT 1 FROM jsonb_each($6) w WHERE t.info->'metadata'->w.key IS DISTINCT FROM w.value) \
                 ORDER BY seq DESC, node DESC LIMIT $7",
                &[&silent, &seq, &tag, &states, &request.template, &metadata, &limit],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Placed {
                    mark: Mark {
                        seq: row.get(0),
                        tag: row.get(1),
                    },
                    info: info(row, 2)?,
                })
            })
            .collect()
    }

    /// All things of a kind, from the nodes, or as they were told last.
    async fn gather<T: DeserializeOwned>(&self, path: &str, kind: Thing) -> Result<Vec<T>> {
        let nodes = self.nodes.all();
        let asked = join_all(nodes.iter().map(|node| async move {
            if !node.is_reached() {
                return None;
            }
            let asked: std::result::Result<Vec<T>, _> =
                self.ask(node, Method::GET, path, None::<&()>, PATIENCE).await;
            asked.map_err(|error| said_nothing(node, &error)).ok()
        }))
        .await;
        let silent: Vec<&str> = nodes
            .iter()
            .zip(&asked)
            .filter(|(_, answer)| answer.is_none())
            .map(|(node, _)| node.tag.as_str())
            .collect();
        let mut all: Vec<T> = Vec::new();
        if !silent.is_empty() {
            let rows = self
                .db
                .get()
                .await?
                .query(
                    "SELECT info FROM things WHERE kind = $1 AND node = ANY ($2)",
                    &[&kind.as_str(), &silent],
                )
                .await?;
            for row in &rows {
                all.push(info(row, 0)?);
            }
        }
        all.extend(asked.into_iter().flatten().flatten());
        Ok(all)
    }
}

/// What a node is asked for its part of a page.
fn query(request: &ListRequest, limit: usize, mark: Option<&Mark>, tag: &str) -> Option<String> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair(LIMIT, &limit.to_string());
    for (name, value) in [("state", &request.state), ("template", &request.template)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    if !request.metadata.is_empty() {
        query.append_pair("metadata", &serde_json::to_string(&request.metadata).ok()?);
    }
    if let Some(mark) = mark {
        query.append_pair(BEFORE, &mark.before(tag).to_string());
    }
    Some(query.finish())
}

fn placed_at(tag: &str, placed: PlacedMachine) -> Placed {
    Placed {
        mark: Mark {
            seq: placed.seq,
            tag: tag.to_owned(),
        },
        info: placed.info,
    }
}

fn said_nothing(node: &Node, error: &Unanswered) {
    tracing::warn!(node = %node.name, %error, "a node does not list what it has: what it told last stands in for it");
}

/// What a node told, as the API shows it.
pub fn info<T: DeserializeOwned>(row: &Row, column: usize) -> Result<T> {
    let Json(value): Json<serde_json::Value> = row.get(column);
    serde_json::from_value(value).map_err(|e| Error::internal("reading what a node told", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_splits_equal_numbers_by_node() {
        let mark = Mark {
            seq: 42,
            tag: "0b00".into(),
        };
        assert_eq!(Mark::read(&mark.token()).unwrap(), mark);
        // A page ended with 42 of node 0b00: node 0a00 may still have a 42, node 0c00 has shown its own.
        assert_eq!(mark.before("0a00"), 43);
        assert_eq!(mark.before("0b00"), 42);
        assert_eq!(mark.before("0c00"), 42);
        for bad in ["", "x", "bTE6NDI", "%%"] {
            assert!(Mark::read(bad).is_err(), "{bad}");
        }
    }
}
