//! `nullspace-engine prune`: layers of images that nothing uses any more, and the cache of builds.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::{default_state, template, BackendOptions, Outcome};
use crate::control::Order;
use crate::isolation::Backend;
use crate::machine::templates::layers::Pruned;

#[derive(Args)]
pub struct Prune {
    /// The engine's directory; the engine may run or not
    /// [default: $XDG_STATE_HOME/nullspace or ~/.local/state/nullspace].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// Also what only the cache of builds keeps: the next builds do all their steps.
    #[arg(long)]
    cache: bool,

    /// As JSON: bytes of each layer that was removed, kept, or kept for the cache of builds alone.
    #[arg(long)]
    json: bool,
}

/// Runs the command: by the engine that runs on the state directory, else by itself.
pub async fn run<F>(options: Prune, open_backend: impl Fn(BackendOptions) -> F) -> Outcome<()>
where
    F: Future<Output = Outcome<Arc<dyn Backend>>>,
{
    let directory = options.state.map_or_else(default_state, Ok)?;
    let order = Order::Prune { cache: options.cache };
    let answer = template::carry_out(&directory, order, open_backend).await?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&answer).unwrap_or_default());
        return Ok(());
    }
    let pruned: Pruned = serde_json::from_value(answer)
        .map_err(|e| format!("the running engine is of another version: {e}"))?;
    println!("{}", table(&pruned));
    Ok(())
}

fn table(pruned: &Pruned) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut lines: Vec<String> = pruned
        .removed
        .iter()
        .map(|(name, bytes)| format!("{name:<80} {:>9.1} MiB", mib(*bytes)))
        .collect();
    let sum =
        |layers: &BTreeMap<String, u64>| format!("{}, {:.1} MiB", layers.len(), mib(layers.values().sum()));
    lines.push(format!(
        "layers removed: {}; of images in use: {}",
        sum(&pruned.removed),
        sum(&pruned.kept)
    ));
    if !pruned.cached.is_empty() {
        lines.push(format!(
            "kept for the cache of builds alone: {} (`--cache` removes them, too)",
            sum(&pruned.cached)
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_for_each_layer_and_in_all() {
        let pruned = Pruned {
            removed: [
                ("image_1_a".to_owned(), 3 << 20),
                ("image_1_b".to_owned(), 1 << 19),
            ]
            .into(),
            kept: [("image_1_c".to_owned(), 10 << 20)].into(),
            cached: [("layer_d".to_owned(), 1 << 20)].into(),
        };
        let text = table(&pruned);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with("image_1_a ") && lines[0].ends_with("  3.0 MiB"),
            "{text}"
        );
        assert_eq!(
            lines[2..],
            [
                "layers removed: 2, 3.5 MiB; of images in use: 1, 10.0 MiB",
                "kept for the cache of builds alone: 1, 1.0 MiB (`--cache` removes them, too)"
            ]
        );
        assert_eq!(
            table(&Pruned::default()),
            "layers removed: 0, 0.0 MiB; of images in use: 0, 0.0 MiB"
        );
    }
}
