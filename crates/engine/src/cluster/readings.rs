//! What a gateway reads of the cluster for `/metrics`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Cluster;
use crate::machine::Result;
use crate::metrics::Reading;
use crate::node::messages::State;

impl Cluster {
    /// Nodes as this gateway knows them; machines as the database does, left out while it is away.
    pub async fn readings(self: Arc<Self>) -> Vec<Reading> {
        let mut nodes = Reading::new("nodes", "Nodes of the cluster, as this gateway knows them");
        let mut memory = Reading::new("node_memory_mb", "MiB of memory for machines");
        let mut pools = Reading::new("pool_machines", "Machines of warm pools that nobody has yet");
        let all = self.nodes.all();
        let mut states: BTreeMap<&str, u32> =
            [State::Ready, State::Draining, State::Unreachable, State::Lost]
                .map(|state| (state.as_str(), 0))
                .into();
        for node in &all {
            *states.entry(node.state().as_str()).or_default() += 1;
            let capacity = node.capacity;
            memory.add([("node", &node.name), ("of", "total")], capacity.memory_mb as f64);
            memory.add(
                [("node", &node.name), ("of", "used")],
                capacity.memory_used_mb as f64,
            );
            for (pool, share) in &node.pools {
                let place = |state| {
                    [
                        ("pool", pool.as_str()),
                        ("node", node.name.as_str()),
                        ("state", state),
                    ]
                };
                pools.add(place("ready"), f64::from(share.ready));
                pools.add(place("warming"), f64::from(share.warming));
            }
        }
        for (state, count) in states {
            nodes.add([("state", state)], f64::from(count));
        }
        let machines = self.machine_counts().await;
        let mut up = Reading::new("database_up", "Whether the database answered just now");
        up.add([], f64::from(u8::from(machines.is_ok())));
        let mut readings = vec![nodes, memory, pools, up];
        readings.extend(machines.ok());
        readings
    }

    async fn machine_counts(&self) -> Result<Reading> {
        let mut reading = Reading::new("machines", "Machines by state");
        let rows = self
            .db
            .get()
            .await?
            .query(
                "SELECT coalesce(n.name, t.node), t.status, t.count FROM (SELECT node, info->>'status' AS status, count(*) AS count \
                 FROM things WHERE kind = 'machine' GROUP BY 1, 2) AS t LEFT JOIN nodes AS n ON n.tag = t.node",
                &[],
            )
            .await?;
        for row in rows {
            let (node, state): (&str, Option<&str>) = (row.get(0), row.get(1));
            let labels = [("node", node), ("state", state.unwrap_or("unknown"))];
            reading.add(labels, row.get::<_, i64>(2) as f64);
        }
        Ok(reading)
    }
}
