//! `nullspace-engine node`: what operators do with the nodes of a cluster.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::gateway::Database;
use super::Outcome;
use crate::cluster::db::Db;
use crate::cluster::operate::{self, Shown};

/// Between two looks at a node that drains.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Args)]
pub struct Node {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show all nodes.
    List {
        #[command(flatten)]
        database: Database,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Place no more machines on a node. Its process ends with its last machine.
    Drain {
        #[command(flatten)]
        database: Database,
        /// Name or tag.
        node: String,
        /// End whatever is left after so long, such as 30m or 1h.
        #[arg(long, value_name = "TIME", value_parser = time)]
        within: Option<Duration>,
        /// Return when the node is empty.
        #[arg(long)]
        wait: bool,
    },
    /// Place machines on a node again.
    Resume {
        #[command(flatten)]
        database: Database,
        /// Name or tag.
        node: String,
    },
    /// Remove a node that is gone for good, with all that is known of its machines, snapshots and volumes.
    Forget {
        #[command(flatten)]
        database: Database,
        /// Name or tag.
        node: String,
    },
}

/// `90s`, `30m`, `1h`.
pub fn time(text: &str) -> Result<Duration, String> {
    let read = || {
        let unit = text.chars().last()?;
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        let seconds = match unit {
            's' => number,
            'm' => number.checked_mul(60)?,
            'h' => number.checked_mul(3600)?,
            _ => return None,
        };
        (seconds > 0 && seconds <= 30 * 86_400).then(|| Duration::from_secs(seconds))
    };
    read().ok_or_else(|| "give a time such as 90s, 30m or 1h".to_owned())
}

/// Runs the command.
pub async fn run(options: Node) -> Outcome<()> {
    let said = |error: crate::machine::Error| error.message;
    match options.command {
        Command::List { database, json } => {
            let nodes = operate::list(&database.open().await?).await.map_err(said)?;
            match json {
                true => println!("{}", serde_json::to_string_pretty(&nodes).unwrap_or_default()),
                false => println!("{}", table(&nodes)),
            }
            Ok(())
        }
        Command::Drain {
            database,
            node,
            within,
            wait,
        } => {
            let db = database.open().await?;
            let tag = operate::drain(&db, &node, within).await.map_err(said)?;
            if wait {
                until_empty(&db, &tag).await.map_err(said)?;
            }
            Ok(())
        }
        Command::Resume { database, node } => operate::resume(&database.open().await?, &node)
            .await
            .map_err(said),
        Command::Forget { database, node } => operate::forget(&database.open().await?, &node)
            .await
            .map_err(said),
    }
}

/// Waits until a node has no machine, or is not heard of any more.
async fn until_empty(db: &Db, tag: &str) -> Result<(), crate::machine::Error> {
    loop {
        let nodes = operate::list(db).await?;
        let left = nodes.iter().find(|node| node.tag == tag && node.is_there);
        if left.is_none_or(|node| node.machines == 0) {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn table(nodes: &[Shown]) -> String {
    let mut lines = vec![format!(
        "{:<20} {:<5} {:<12} {:>8} {:>14} {:>6}  {}",
        "NAME", "TAG", "STATE", "MACHINES", "MEMORY MIB", "HEARD", "ADDRESS"
    )];
    lines.extend(nodes.iter().map(|node| {
        format!(
            "{:<20} {:<5} {:<12} {:>8} {:>14} {:>6}  {}{}",
            node.name,
            node.tag,
            node.state,
            node.machines,
            format!("{}/{}", node.memory_used_mb, node.memory_mb),
            node.heard_seconds
                .map_or("never".to_owned(), |seconds| format!("{seconds}s")),
            node.url,
            node.note
                .as_ref()
                .map_or(String::new(), |note| format!("  {note}")),
        )
    }));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("30m"), Ok(Duration::from_secs(1800)));
        assert_eq!(time("1h"), Ok(Duration::from_secs(3600)));
        for bad in ["", "1", "h", "0s", "1d", "-1s", "ü", "99999999999999999999h"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
