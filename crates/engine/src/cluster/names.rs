//! Names in the whole cluster: no two living machines share one, nor two volumes, wherever they are.

use nullspace_wire::machine::{MachineInfo, MachineStatus, NAME_KEY};
use serde_json::json;

use super::Cluster;
use crate::machine::validate::names::taken;
use crate::machine::{secret, Error, Kind, Result};

/// How long a create holds a name at most: one that takes longer has failed.
const HELD: &str = "120 seconds";

/// A name that a create holds until it is done.
pub struct HeldName {
    name: String,
    holder: String,
}

impl Cluster {
    /// Holds the name of a machine for a create, or says which machine has it. `own_node`: a machine of that node may be the one
    /// that this very create made before; the node knows.
    pub async fn hold_machine_name(
        &self,
        name: &str,
        holder: &str,
        own_node: Option<&str>,
    ) -> Result<HeldName> {
        let held = self.hold(&format!("machine {name}"), holder).await?;
        let refusal = match self.living_with_name(name).await {
            Ok(others) => {
                let other = others.iter().find(|(node, _)| Some(node.as_str()) != own_node);
                other.map(|(_, machine)| taken(name, &machine.id))
            }
            Err(error) => Some(error),
        };
        self.unless(refusal, held).await
    }

    /// Holds the name of a volume for a create, or says that there is one.
    pub async fn hold_volume_name(&self, name: &str) -> Result<HeldName> {
        let held = self.hold(&format!("volume {name}"), &secret("hold")).await?;
        let refusal = match self.volumes().await {
            Ok(all) => all
                .iter()
                .any(|volume| volume.name == name)
                .then(|| Error::volume_exists(name)),
            Err(error) => Some(error),
        };
        self.unless(refusal, held).await
    }

    async fn unless(&self, refusal: Option<Error>, held: HeldName) -> Result<HeldName> {
        let Some(error) = refusal else {
            return Ok(held);
        };
        self.release(held).await;
        Err(error)
    }

    /// Whoever holds a name may hold it again.
    async fn hold(&self, name: &str, holder: &str) -> Result<HeldName> {
        let text = format!(
            "INSERT INTO names (name, holder, until) VALUES ($1, $2, clock_timestamp() + interval '{HELD}') \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until \
             WHERE names.until < clock_timestamp() OR names.holder = excluded.holder"
        );
        match self.db.get().await?.execute(&text, &[&name, &holder]).await? {
            0 => Err(Error::new(
                Kind::TransitionInProgress,
                format!("a {name:?} is just being made"),
            )
            .with_action("repeat the call in a moment")),
            _ => Ok(HeldName {
                name: name.to_owned(),
                holder: holder.to_owned(),
            }),
        }
    }

    /// Gives a name back: what was made has it now, or nobody.
    pub async fn release(&self, held: HeldName) {
        let release = async {
            let connection = self.db.get().await?;
            connection
                .execute(
                    "DELETE FROM names WHERE name = $1 AND holder = $2",
                    &[&held.name, &held.holder],
                )
                .await?;
            Ok::<_, Error>(())
        };
        // It ends by itself, too.
        let _ = release.await;
    }

    /// Machines of a name that live, with the tags of their nodes.
    async fn living_with_name(&self, name: &str) -> Result<Vec<(String, MachineInfo)>> {
        let mut wanted = serde_json::Map::new();
        wanted.insert(NAME_KEY.to_owned(), json!(name));
        let all = self.machines_with(&wanted).await?;
        let is_living =
            |info: &MachineInfo| !matches!(info.status, MachineStatus::Error | MachineStatus::Destroyed);
        Ok(all.into_iter().filter(|(_, info)| is_living(info)).collect())
    }
}
