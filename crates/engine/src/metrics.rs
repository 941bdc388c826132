//! What this process counts, and what is read when somebody asks, in the text form of Prometheus (OpenMetrics).
//!
//! One process is one engine or one gateway, so the counts are the process's own. Whatever passes by counts; `server::scrape` shows.

use std::sync::atomic::AtomicU64;
use std::sync::LazyLock;
use std::time::Duration;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// What this process counts.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// Seconds: a call on a computer nearby takes one millisecond, a create a hundred, a command whatever it takes.
const SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

type One = [(&'static str, String); 1];

/// Counters.
pub struct Metrics {
    registry: Registry,
    creates: Family<One, Counter>,
    waiting: Gauge,
    answers: Family<One, Histogram>,
    passed: Family<One, Histogram>,
    checkouts: Family<One, Counter>,
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

/// The crate writes what it gets, and people name nodes as they like.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

impl Metrics {
    fn new() -> Self {
        let mut registry = Registry::with_prefix("nullspace");
        let (creates, waiting, checkouts) = (Family::default(), Gauge::default(), Family::default());
        let answers: Family<One, Histogram> = Family::new_with_constructor(seconds as fn() -> Histogram);
        let passed: Family<One, Histogram> = Family::new_with_constructor(seconds as fn() -> Histogram);
        registry.register("creates", "Creates and forks that ended", Family::clone(&creates));
        registry.register(
            "creates_waiting",
            "Creates and forks under way",
            Gauge::clone(&waiting),
        );
        registry.register(
            "request_seconds",
            "Requests of the API, until the answer began",
            answers.clone(),
        );
        registry.register(
            "proxy_seconds",
            "Requests that a gateway passed on, until the node's answer began",
            passed.clone(),
        );
        registry.register(
            "pool_checkouts",
            "Creates that asked a warm pool",
            Family::clone(&checkouts),
        );
        Self {
            registry,
            creates,
            waiting,
            answers,
            passed,
            checkouts,
        }
    }

    /// A create is on its way, until it is told how it ended, or dropped.
    pub fn create(&'static self) -> Create {
        self.waiting.inc();
        Create {
            metrics: self,
            result: "gone",
        }
    }

    /// A request was answered with this status.
    pub fn answered(&self, status: u16, took: Duration) {
        let class = format!("{}xx", status / 100);
        self.answers
            .get_or_create(&[("status", class)])
            .observe(took.as_secs_f64());
    }

    /// A node answered what a gateway passed on.
    pub fn passed(&self, node: &str, took: Duration) {
        self.passed
            .get_or_create(&[("node", escaped(node))])
            .observe(took.as_secs_f64());
    }

    /// A create asked a warm pool, and got a ready machine or did not.
    pub fn checked_out(&self, is_hit: bool) {
        let result = if is_hit { "hit" } else { "miss" };
        self.checkouts
            .get_or_create(&[("result", result.to_owned())])
            .inc();
    }

    /// All as text, with what was read just now.
    pub fn text(&self, readings: Vec<Reading>) -> String {
        let mut now = Registry::with_prefix("nullspace");
        for reading in readings {
            // One value without labels has no braces.
            if let [(labels, value)] = &reading.values[..] {
                if labels.is_empty() {
                    let gauge = Gauge::<f64, AtomicU64>::default();
                    gauge.set(*value);
                    now.register(reading.name, reading.help, gauge);
                    continue;
                }
            }
            let family = Family::<Vec<(&'static str, String)>, Gauge<f64, AtomicU64>>::default();
            for (labels, value) in reading.values {
                family.get_or_create(&labels).set(value);
            }
            now.register(reading.name, reading.help, family);
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode_registry(&mut text, &self.registry);
        let _ = encode_registry(&mut text, &now);
        let _ = encode_eof(&mut text);
        text
    }
}

/// A create on its way.
pub struct Create {
    metrics: &'static Metrics,
    result: &'static str,
}

impl Create {
    /// It ended with this status.
    pub fn ended(mut self, status: u16) {
        self.result = match status {
            200..=299 => "made",
            429 => "over_quota",
            503 => "unavailable",
            400..=499 => "refused",
            _ => "failed",
        };
    }
}

impl Drop for Create {
    fn drop(&mut self) {
        self.metrics.waiting.dec();
        let result = self.result.to_owned();
        self.metrics.creates.get_or_create(&[("result", result)]).inc();
    }
}

/// Something that is read when it is asked for.
pub struct Reading {
    name: &'static str,
    help: &'static str,
    values: Vec<(Vec<(&'static str, String)>, f64)>,
}

impl Reading {
    /// Nothing yet.
    pub fn new(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            values: Vec::new(),
        }
    }

    /// A value.
    pub fn add<const N: usize>(&mut self, labels: [(&'static str, &str); N], value: f64) {
        let labels = labels.map(|(name, value)| (name, escaped(value)));
        self.values.push((labels.into(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_and_what_is_read_is_one_text() {
        let metrics: &'static Metrics = Box::leak(Box::new(Metrics::new()));
        let waiting = metrics.create();
        metrics.create().ended(201);
        metrics.create().ended(429);
        drop(metrics.create());
        metrics.passed("a", Duration::from_millis(2));
        metrics.checked_out(true);
        let mut reading = Reading::new("nodes", "Nodes");
        reading.add([("state", "ready")], 3.0);
        reading.add([("state", "lo\"st")], 0.0);
        let mut single = Reading::new("up", "Up");
        single.add([], 1.0);
        let text = metrics.text(vec![reading, single]);
        for line in [
            "nullspace_creates_total{result=\"made\"} 1",
            "nullspace_creates_total{result=\"over_quota\"} 1",
            "nullspace_creates_total{result=\"gone\"} 1",
            "nullspace_creates_waiting 1",
            "nullspace_proxy_seconds_bucket{le=\"0.001\",node=\"a\"} 0",
            "nullspace_proxy_seconds_bucket{le=\"0.0025\",node=\"a\"} 1",
            "nullspace_pool_checkouts_total{result=\"hit\"} 1",
            "nullspace_nodes{state=\"ready\"} 3.0",
            "nullspace_up 1.0",
            "nullspace_nodes{state=\"lo\\\"st\"} 0.0",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
        assert!(
            text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1,
            "{text}"
        );
        drop(waiting);
        assert!(metrics.text(Vec::new()).contains("nullspace_creates_waiting 0"));
    }
}
