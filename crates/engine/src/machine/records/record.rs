//! What is known of a machine, as it is stored.

use nullspace_wire::machine::{MachineConfig, MachineInfo, MachineStatus, WarmPoolCheckoutResult};
use nullspace_wire::network::{MachineNetwork, MachineSecret, NetworkEgressPolicy};
use nullspace_wire::{Envs, JsonObject, Timestamp};
use serde::{Deserialize, Serialize};

use crate::machine::commands::exec::DefaultUser;
use crate::machine::files::volumes::Attachment;
use crate::machine::ground::json::canonical;
use crate::machine::ground::{clock, status};
use crate::machine::validate::Lease;
use crate::store::machines::NewMachine;

/// A machine as stored. Everything that `GET` shows, and what commands and forks of it need.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// `mch_...`
    pub id: String,
    /// Where it is in its life.
    pub status: MachineStatus,
    /// Size.
    pub config: MachineConfig,
    /// Template as shown.
    pub template: String,
    /// Verbatim.
    pub metadata: JsonObject,
    /// When the create was accepted.
    pub created_at: Timestamp,
    /// When it first ran.
    pub started_at: Option<Timestamp>,
    /// How long it lives.
    #[serde(flatten)]
    pub lease: Lease,
    /// End of the lease; `None` while paused.
    pub timeout_at: Option<Timestamp>,
    /// Last request to it.
    pub last_active_at: Option<Timestamp>,
    /// Working directory of commands.
    pub cwd: String,
    /// While paused.
    pub snapshot_id: Option<String>,
    /// How the create was served.
    pub warm_pool_checkout: Option<WarmPoolCheckoutResult>,
    /// What this computer could not enforce.
    pub warnings: Vec<String>,
    /// Why it is in `error`.
    pub error_message: Option<String>,
    /// Environment of commands: the template's and its own.
    pub envs: Envs,
    /// `false` keeps everything shut, whatever `egress` says.
    pub internet_access: bool,
    /// Policy in force.
    pub egress: NetworkEgressPolicy,
    /// Secrets that it uses, without themselves.
    #[serde(default)]
    pub secrets: Vec<MachineSecret>,
    /// Layers above `base`.
    pub layers: Vec<String>,
    /// Whether the layers replace `base`.
    pub whole_root: bool,
    /// Who runs its commands; `None` = root.
    #[serde(default)]
    pub user: Option<DefaultUser>,
    /// Volumes that it has mounted.
    #[serde(default)]
    pub volumes: Vec<Attachment>,
    /// Whether preview ports open without a token.
    pub allow_public_traffic: bool,
    /// `Host` of preview requests inside.
    pub mask_request_host: Option<String>,
    /// Opens preview ports.
    pub traffic_access_token: Option<String>,
    /// Made for an idempotency key whose answer is not kept yet: after a crash nobody can know the machine.
    pub unanswered: bool,
}

impl Record {
    /// What `GET` shows. `remaining_ms` is counted on the engine's own clock, which wall-clock changes do not move.
    pub fn info(&self, remaining_ms: Option<u64>) -> MachineInfo {
        MachineInfo {
            id: self.id.clone(),
            status: self.status,
            config: self.config.clone(),
            template: self.template.clone(),
            metadata: Some(self.shown_metadata()),
            created_at: self.created_at.clone(),
            started_at: self.started_at.clone(),
            timeout_ms: Some(self.lease.timeout_ms),
            timeout_at: self.timeout_at.clone(),
            expires_at: self.timeout_at.clone(),
            remaining_ms,
            timeout_action: Some(self.lease.timeout_action),
            last_active_at: self.last_active_at.clone(),
            inactivity_timeout_ms: self.lease.inactivity_timeout_ms,
            auto_delete_after_ms: self.lease.auto_delete_after_ms,
            ephemeral: Some(self.lease.ephemeral),
            auto_resume: Some(self.lease.auto_resume),
            cwd: Some(self.cwd.clone()),
            snapshot_id: self.snapshot_id.clone(),
            warm_pool_checkout: self.warm_pool_checkout.clone(),
            network: Some(MachineNetwork {
                egress: self.egress.clone(),
                secrets: Some(self.secrets.clone()).filter(|secrets| !secrets.is_empty()),
            }),
            warnings: Some(self.warnings.clone()).filter(|w| !w.is_empty()),
            error_message: self.error_message.clone(),
        }
    }

    /// The environment of what is made of its snapshots, which have none of its secrets.
    pub fn envs_of_copies(&self) -> Envs {
        let mut envs = self.envs.clone();
        for secret in &self.secrets {
            envs.remove(&secret.name);
            if envs.get(&secret.base_url_env) == Some(&secret.base_url) {
                envs.remove(&secret.base_url_env);
            }
        }
        envs
    }

    /// The metadata as given, and what the API shows beside it. Source: PROTOCOL.md section 3, `volume_attachments`.
    fn shown_metadata(&self) -> JsonObject {
        let mut shown = self.metadata.clone();
        if !self.volumes.is_empty() {
            let attachments: Vec<_> = self
                .volumes
                .iter()
                .map(|a| a.shown(&self.id, self.status))
                .collect();
            shown.insert("volume_attachments".to_owned(), serde_json::json!(attachments));
        }
        shown
    }

    /// Its row.
    pub fn row(&self) -> NewMachine {
        NewMachine {
            made_at: clock::unix_micros(&self.created_at.0).unwrap_or_default(),
            id: self.id.clone(),
            status: status::name(self.status),
            template: self.template.clone(),
            metadata: self
                .metadata
                .iter()
                .map(|(k, v)| (k.clone(), canonical(v)))
                .collect(),
            record: self.to_json(),
        }
    }

    /// JSON for the store.
    pub fn to_json(&self) -> String {
        // Plain structs with string keys cannot fail to serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}
