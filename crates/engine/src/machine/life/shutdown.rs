//! The end of the engine: nothing it made stays on the computer.

use std::sync::Arc;
use std::time::Duration;

use crate::machine::live::Machine;
use crate::machine::Engine;

/// How often work that is still under way is looked at for new machines.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Engine {
    /// Ends all machines, those of pools included, and waits for all work. Their rows stay: the next start lists them
    /// as `error`, as it does after a crash. Idempotent; no new work is taken afterwards.
    pub async fn shutdown(self: &Arc<Self>) {
        self.closing.cancel();
        self.tasks.close();
        loop {
            // A create that was under way may have added a machine since the last look.
            let ends: Vec<_> = self
                .all_live()
                .into_iter()
                .map(|m| tokio::spawn(self.clone().end(m)))
                .collect();
            for end in ends {
                let _ = end.await;
            }
            tokio::select! {
                () = self.tasks.wait() => break,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
        // What forks had started from is nobody's now.
        self.collect_layers().await;
    }

    async fn end(self: Arc<Self>, machine: Arc<Machine>) {
        let _turn = machine.turn().await;
        machine.gone.cancel();
        self.forget(&machine).await;
    }
}
