//! Copies a machine into a new one.

use std::sync::Arc;

use nullspace_wire::machine::{MachineStatus, NAME_KEY};
use serde_json::json;

use crate::machine::files::volumes::Attachment;
use crate::machine::ground::idempotency::{Makes, Ticket};
use crate::machine::ground::{clock, ids, Result};
use crate::machine::monitoring::events::{Event, Operation};
use crate::machine::records::record::Record;
use crate::machine::Engine;

impl Engine {
    /// Makes a machine with a copy of this one's files and settings, and answers its JSON. Processes are not copied:
    /// the child starts with none.
    pub async fn fork(self: &Arc<Self>, id: &str, key: Option<&str>) -> Result<String> {
        let ticket = Ticket::new(Makes::Machine, format!("fork {id}"), key, &json!({}))?;
        let (engine, id) = (self.clone(), id.to_owned());
        self.run_to_end(async move {
            let work = engine.fork_now(&id, ticket.clone());
            engine.once(ticket.as_ref(), work).await
        })
        .await
    }

    async fn fork_now(self: &Arc<Self>, id: &str, ticket: Option<Ticket>) -> Result<String> {
        self.refuse_when_closing()?;
        let parent = self.live_machine(id).await?;
        let turn = parent.try_turn()?;
        let (copy, pin) = self.copy_files(&parent).await?;
        drop(turn);
        // None of its volumes may be deleted before the child holds them too.
        let _volumes = self.volumes.read().await;
        let mut record = parent.read(|parent| Record {
            id: self.ids.machine(),
            status: MachineStatus::Creating,
            created_at: clock::now(),
            started_at: None,
            timeout_at: None,
            last_active_at: None,
            snapshot_id: None,
            warm_pool_checkout: None,
            error_message: None,
            layers: copy.layers.clone(),
            volumes: parent.volumes.iter().map(Attachment::again).collect(),
            // A token opens one machine's ports only.
            traffic_access_token: parent.traffic_access_token.as_ref().map(|_| ids::secret("tat")),
            ..parent.clone()
        });
        // The name stays with the parent.
        record.metadata.remove(NAME_KEY);
        let happened = |child: &str| Event::of(Operation::Fork, id).between(id, child);
        let brought_up = self
            .bring_up((record, parent.secrets.clone()), None, None, ticket, happened)
            .await;
        drop(pin);
        if brought_up.is_err() {
            self.collect_layers().await;
        }
        brought_up
    }
}
