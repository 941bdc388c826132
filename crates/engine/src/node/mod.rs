//! An engine as a node of a cluster: it joins a gateway, tells it what it has, and does what it is told.
//!
//! - [`messages`]: what both sides say
//! - [`identity`]: who a state directory is
//! - [`membership`]: joins, and the heartbeat
//! - [`inventory`]: what the node has, as changes since it was last told
//! - [`carry`]: brings what another node has
//! - [`client`]: HTTP between nodes and gateways
//!
//! The node goes on without gateways: what it is told is only ever less than what it may do.

pub mod carry;
pub mod client;
pub mod identity;
pub mod inventory;
pub mod membership;
pub mod messages;
