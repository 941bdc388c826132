//! Options of a monitor, and what its frames say. Source: PROTOCOL.md section 10.

use super::config;
use super::error::Error;
use super::options::Fields;
use super::shown::options;
use super::value::json;

/// Shortest and longest time between two looks, milliseconds.
const INTERVAL: (u64, u64) = (100, 3_600_000);
const HOOKS: [&str; 5] = ["onSnapshot", "onUpdate", "onMetrics", "onProcesses", "onError"];

options! {
    /// Options of {@link Monitor.subscribe}.
    pub const SUBSCRIBE = MonitorOptions: "ClientOptions" {
        /// Between two looks, milliseconds, 100 to 3600000. @default the server's: 1000
        intervalMs: "number";
        /// Tell the commands of machines too. @default false
        includeProcesses: "boolean";
        /// Gets all machines: first, and after each new connection. @default not told
        onSnapshot: "(machines: MachineInfo[]) => unknown";
        /// Gets a machine that changed, is new (`machine`) or gone (`removed`). @default not told
        onUpdate: "(update: { machineId: string; machine?: MachineInfo; removed?: boolean }) => unknown";
        /// Gets the use of each running machine, at each look. @default not told
        onMetrics: "(event: { machineId: string; metrics: MonitorMetrics }) => unknown";
        /// Gets the commands of each running machine, at each look; needs `includeProcesses`. @default not told
        onProcesses: "(event: { machineId: string; processes: ProcessInfo[] }) => unknown";
        /// Gets what the server complains of, and what ended the subscription. @default `done` rejects with the latter
        onError: "(error: unknown) => unknown";
    }
}

/// Names a subscription.
pub fn id(uuid: &str) -> String {
    ["monitor_", uuid].concat()
}

/// The first frame of a subscription.
pub fn subscribe(fields: &Fields<'_>, id: &str) -> Result<String, Error> {
    for name in HOOKS {
        config::function(fields, name)?;
    }
    let mut frame = json!({ "type": "monitor_subscribe", "id": id });
    frame.put_given(
        "interval_ms",
        fields.integer("intervalMs", INTERVAL.0, INTERVAL.1)?,
    );
    frame.put_given("include_processes", fields.flag("includeProcesses")?);
    Ok(frame.to_json())
}

/// The last frame of a subscription.
pub fn unsubscribe(id: &str) -> String {
    json!({ "type": "monitor_unsubscribe", "id": id }).to_json()
}
