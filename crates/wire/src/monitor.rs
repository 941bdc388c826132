//! Frames of the monitor socket. Source: PROTOCOL.md section 10.

use serde::{Deserialize, Serialize};

use crate::exec::ProcessInfo;
use crate::machine::MachineInfo;
use crate::Timestamp;

/// What a machine uses. Servers may send a part of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MonitorMetrics {
    /// 100 is one processor fully used.
    pub cpu_percent: f64,
    /// When it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// Processors of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_count: Option<u32>,
    /// Memory in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_used_bytes: Option<u64>,
    /// Memory of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_total_bytes: Option<u64>,
    /// Disk in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_used_bytes: Option<u64>,
    /// Disk of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_total_bytes: Option<u64>,
    /// Since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_rx_bytes: Option<u64>,
    /// Since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_tx_bytes: Option<u64>,
}

/// A frame from the server, of any type: which fields there are says `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MonitorFrame {
    /// `monitor_snapshot`, `monitor_update`, `monitor_metrics`, `monitor_processes` or `monitor_error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The subscription, as its client named it.
    pub id: String,
    /// All machines; of a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machines: Option<Vec<MachineInfo>>,
    /// The machine it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// How it is now; of an update. Absent when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineInfo>,
    /// Whether it is gone; of an update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<bool>,
    /// Of metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MonitorMetrics>,
    /// Of processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<ProcessInfo>>,
    /// Of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
