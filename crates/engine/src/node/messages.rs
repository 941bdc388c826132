//! What nodes and gateways of a cluster tell each other, as JSON over HTTP.

use std::collections::BTreeMap;
use std::net::IpAddr;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use nullspace_wire::machine::MachineInfo;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::machine::gateways::contents::Thing;
use crate::machine::gateways::mirrors::Wanted;
use crate::machine::monitoring::events::PlacedEvent;

/// Version of these messages. A gateway takes its own and the one before, so that gateways are upgraded first and nodes follow.
pub const PROTOCOL: u32 = 1;
/// A node joins: `POST` of a [`Join`], answered by a [`Joined`].
pub const JOIN: &str = "/cluster/v1/join";
/// A node is there: `POST` of a [`Heartbeat`], answered by [`Orders`].
pub const HEARTBEAT: &str = "/cluster/v1/heartbeat";
/// Seconds between two heartbeats.
pub const HEARTBEAT_SECONDS: u64 = 2;
/// Hexadecimal digits of a node's tag.
pub const TAG_DIGITS: usize = 4;

/// Whether a text is a node's tag.
pub fn is_tag(text: &str) -> bool {
    text.len() == TAG_DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The tag of the node that an id is of: its first digits.
pub fn tag_of(id: &str) -> Option<&str> {
    let (_, digits) = id.split_once('_')?;
    digits.get(..TAG_DIGITS).filter(|tag| is_tag(tag))
}

/// The key that gateways (and other nodes) show to a node. Whoever holds the join token can make it; users' keys open no node, and the
/// database holds no key of a node.
pub fn node_key(join_token: &str, node: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(join_token.as_bytes()).expect("a MAC takes a key of any length");
    let made = mac
        .chain_update(b"nullspace node\0")
        .chain_update(node.as_bytes())
        .finalize();
    format!("nsn_{}", URL_SAFE_NO_PAD.encode(made.into_bytes()))
}

/// A node asks to be one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Join {
    /// [`PROTOCOL`] of the node.
    pub protocol: u32,
    /// Version of the program, for people.
    pub version: String,
    /// The node: a UUID that its state directory keeps.
    pub node: String,
    /// This process: a UUID.
    pub instance: String,
    /// The tag that the state directory keeps, if it was a node before.
    pub tag: Option<String>,
    /// What people call it.
    pub name: String,
    /// Where gateways reach it.
    pub url: String,
    /// Unix milliseconds by the node's clock.
    pub clock_ms: i64,
}

/// It is one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Joined {
    /// First digits of all ids that the node makes.
    pub tag: String,
}

/// What a node can hold, and what it holds. Nothing of it is known between a node's join and its first heartbeat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capacity {
    /// Processors: the largest machine.
    pub vcpus: u32,
    /// MiB for machines.
    pub memory_mb: u64,
    /// MiB free on the disk of the state.
    pub disk_free_mb: u64,
    /// Processors promised to machines.
    pub vcpus_used: u32,
    /// MiB promised to machines.
    pub memory_used_mb: u64,
    /// Machines, those of pools too.
    pub machines: u32,
}

/// Machines of a warm pool on a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolShare {
    /// To be taken.
    pub ready: u32,
    /// On their way.
    pub warming: u32,
    /// Taken since the pool was made.
    #[serde(default)]
    pub claimed: u32,
}

/// A thing of a node, as it is shown to users.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// What it is.
    pub kind: Thing,
    /// `mch_...`, `snap_...`, `vol_...`
    pub id: String,
    /// Place in the order of creation; Unix microseconds, or the next free number.
    pub seq: i64,
    /// As the API shows it.
    pub info: serde_json::Value,
}

/// What a node has. Gateways keep it for when the node does not answer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Inventory {
    /// All of it; else what changed since the last one that was taken.
    pub whole: bool,
    /// New or changed.
    pub entries: Vec<Entry>,
    /// Ids of what is gone.
    pub gone: Vec<String>,
}

/// A node is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Heartbeat {
    /// [`PROTOCOL`] of the node.
    pub protocol: u32,
    /// The node.
    pub node: String,
    /// The process.
    pub instance: String,
    /// Counts how often the node was given up; see [`Orders::give_up`].
    pub epoch: i64,
    /// Unix milliseconds by the node's clock.
    pub clock_ms: i64,
    /// It wants to be drained. A node of the version before never does.
    #[serde(default)]
    pub leaving: bool,
    /// What it can hold.
    pub capacity: Capacity,
    /// Shares of warm pools by `twp_...`
    pub pools: BTreeMap<String, PoolShare>,
    /// Addresses of its computer.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// What it has.
    pub inventory: Inventory,
    /// The place of its newest event.
    #[serde(default)]
    pub events: i64,
}

/// Whether machines are placed on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// They are.
    Ready,
    /// None any more; those that are there stay until they end.
    Draining,
    /// It has not been heard of for a while.
    Unreachable,
    /// It was given up: its machines count as ended.
    Lost,
}

impl State {
    /// As lists and metrics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Ready => "ready",
            State::Draining => "draining",
            State::Unreachable => "unreachable",
            State::Lost => "lost",
        }
    }
}

/// What a node is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    /// The cluster's count; a node that was given up is behind.
    pub epoch: i64,
    /// End every machine, then say the new epoch: they were given up while the node was away, and may live elsewhere by now.
    pub give_up: bool,
    /// Take no more, and end with the last machine.
    pub drain: bool,
    /// Milliseconds until a draining node ends whatever is left; `None` = it waits.
    pub drain_within_ms: Option<u64>,
    /// Send the whole inventory next.
    pub whole_inventory: bool,
    /// It has what no other node has yet: it stays until that is copied.
    #[serde(default)]
    pub holds_the_last: bool,
    /// Addresses of the cluster's own parts, which no machine reaches.
    pub refused: Vec<IpAddr>,
}

/// A node that has what another one is to bring, and what that shows to it. No log holds it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Source {
    /// Where it is reached.
    pub url: String,
    /// Its [`node_key`].
    pub key: String,
}

/// A node is to bring something.
#[derive(Clone, Serialize, Deserialize)]
pub struct Bring {
    /// From there.
    pub from: Source,
}

/// A node is to bring a template.
#[derive(Clone, Serialize, Deserialize)]
pub struct BringTemplate {
    /// Its layers, from there.
    pub from: Source,
    /// As it is there.
    pub wanted: Wanted,
}

/// A page of a node's machines, for a gateway that merges those of all.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MachinePage {
    /// Newest first.
    pub items: Vec<PlacedMachine>,
}

/// A machine and its place in the order of creation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlacedMachine {
    /// See [`Entry::seq`].
    pub seq: i64,
    /// As the API shows it.
    pub info: MachineInfo,
}

/// Events of a node after a place in their order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventPage {
    /// Oldest first.
    pub events: Vec<PlacedEvent>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_their_node() {
        for (id, tag) in [
            ("mch_0a1f22334455667788aa", Some("0a1f")),
            ("vol_00ff", Some("00ff")),
            ("mch_0A1F22334455667788aa", None),
            ("mch_xyz022334455667788aa", None),
            ("mch_0a1", None),
            ("mch", None),
            ("_ü0a1", None),
            ("", None),
        ] {
            assert_eq!(tag_of(id), tag, "{id}");
        }
    }

    #[test]
    fn each_node_of_each_cluster_has_a_key_of_its_own() {
        let keys = [node_key("a", "1"), node_key("a", "2"), node_key("b", "1")];
        assert!(keys.iter().all(|key| key.starts_with("nsn_") && key.len() > 40));
        assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2]);
        assert_eq!(node_key("a", "1"), keys[0]);
    }
}
