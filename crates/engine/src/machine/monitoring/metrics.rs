//! What a machine uses.

use std::sync::Mutex;
use std::time::Duration;

use nullspace_wire::machine::MachineMetrics;
use tokio::time::Instant;

use crate::machine::ground::sync::lock;
use crate::machine::ground::{clock, Error, Result};
use crate::machine::Engine;

/// A shorter distance between two looks gives no useful share.
const SHORTEST: Duration = Duration::from_millis(100);

/// Turns processor time into a share of one processor, between two looks.
#[derive(Debug)]
pub struct Sampler(Mutex<Sample>);

#[derive(Debug)]
struct Sample {
    at: Instant,
    cpu: Duration,
    percent: f64,
}

impl Sampler {
    /// Starts now, at no processor time.
    #[allow(clippy::new_without_default)] // it looks at the clock
    pub fn new() -> Self {
        Self(Mutex::new(Sample {
            at: Instant::now(),
            cpu: Duration::ZERO,
            percent: 0.0,
        }))
    }

    /// Share of one processor since the last look, in percent; a look too soon repeats the last share.
    fn percent(&self, cpu: Duration) -> f64 {
        let mut last = lock(&self.0);
        let wall = last.at.elapsed();
        if wall >= SHORTEST {
            let used = cpu.saturating_sub(last.cpu);
            let percent = 100.0 * used.as_secs_f64() / wall.as_secs_f64();
            *last = Sample {
                at: Instant::now(),
                cpu,
                percent,
            };
        }
        last.percent
    }
}

impl Engine {
    /// One sample, taken now. `cpu_percent` is the mean since the sample before (since the start for the first).
    pub async fn metrics(&self, id: &str) -> Result<Vec<MachineMetrics>> {
        const MIB: u64 = 1 << 20;
        let machine = self.live_machine(id).await?;
        let usage = machine.running()?.usage().await;
        let usage = usage.map_err(|e| Error::isolation("reading the use of a machine", e))?;
        let (vcpus, memory_mb) = machine.read(|r| (r.config.vcpus, r.config.memory_mb));
        Ok(vec![MachineMetrics {
            timestamp: clock::now(),
            cpu_percent: machine.sampler.percent(usage.cpu),
            cpu_count: vcpus,
            mem_used_bytes: usage.memory_bytes,
            mem_total_bytes: u64::from(memory_mb) * MIB,
            disk_used_bytes: usage.disk_bytes,
            disk_total_bytes: usage.disk_total_bytes,
            network_rx_bytes: usage.network_rx_bytes,
            network_tx_bytes: usage.network_tx_bytes,
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_share_is_counted_between_two_looks() {
        let sampler = Sampler::new();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(sampler.percent(Duration::from_millis(500)), 50.0);
        tokio::time::advance(Duration::from_millis(10)).await;
        assert_eq!(sampler.percent(Duration::from_millis(510)), 50.0);
        tokio::time::advance(Duration::from_millis(1990)).await;
        assert_eq!(sampler.percent(Duration::from_millis(4500)), 200.0);
    }
}
