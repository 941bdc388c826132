//! `nullspace-engine prune`: layers of images that nothing uses any more.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::{default_state, template, BackendOptions, Outcome};
use crate::control::Order;
use crate::images::Pruned;
use crate::isolation::Backend;

#[derive(Args)]
pub struct Prune {
    /// The engine's directory; the engine may run or not
    /// [default: $XDG_STATE_HOME/nullspace or ~/.local/state/nullspace].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// As JSON: bytes of each layer that was removed, and of each that was kept.
    #[arg(long)]
    json: bool,
}

/// Runs the command: by the engine that runs on the state directory, else by itself.
pub async fn run<F>(options: Prune, open_backend: impl Fn(BackendOptions) -> F) -> Outcome<()>
where
    F: Future<Output = Outcome<Arc<dyn Backend>>>,
{
    let directory = options.state.map_or_else(default_state, Ok)?;
    let answer = template::carry_out(&directory, Order::Prune, open_backend).await?;
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
    lines.push(format!(
        "{} layers of images removed, {:.1} MiB; {} are in use, {:.1} MiB",
        pruned.removed.len(),
        mib(pruned.removed.values().sum()),
        pruned.kept.len(),
        mib(pruned.kept.values().sum())
    ));
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
        };
        let text = table(&pruned);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with("image_1_a ") && lines[0].ends_with("  3.0 MiB"),
            "{text}"
        );
        assert_eq!(
            lines[2],
            "2 layers of images removed, 3.5 MiB; 1 are in use, 10.0 MiB"
        );
        assert_eq!(
            table(&Pruned::default()),
            "0 layers of images removed, 0.0 MiB; 0 are in use, 0.0 MiB"
        );
    }
}
