//! What an engine reads of itself for `/metrics`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::ground::status;
use crate::machine::Engine;
use crate::metrics::Reading;

impl Engine {
    /// Machines that live, and those of pools.
    pub async fn readings(self: Arc<Self>) -> Vec<Reading> {
        let mut machines = Reading::new("machines", "Machines by state");
        let mut states: BTreeMap<&str, u32> = [("creating", 0), ("running", 0), ("paused", 0)].into();
        for machine in self.all_live() {
            *states.entry(status::name(machine.status())).or_default() += 1;
        }
        for (state, count) in states {
            machines.add([("state", state)], f64::from(count));
        }
        let mut pools = Reading::new("pool_machines", "Machines of warm pools that nobody has yet");
        for (pool, counts) in self.pool_counts() {
            pools.add([("pool", &pool), ("state", "ready")], f64::from(counts.ready));
            pools.add([("pool", &pool), ("state", "warming")], f64::from(counts.warming));
        }
        vec![machines, pools]
    }
}
