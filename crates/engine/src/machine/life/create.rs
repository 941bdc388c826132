//! Makes a machine: from a template, from a snapshot, or out of a warm pool.

use std::sync::Arc;
use std::time::Duration;

use nullspace_wire::machine::{
    CheckoutSource, CreateMachineRequest, CreateMachineResponse, MachineConfig, MachineStatus,
    WarmPoolCheckoutResult,
};
use nullspace_wire::warm_pool::CheckoutMode;
use nullspace_wire::{Envs, Timestamp};
use serde_json::Value;

use super::snapshot::Snapshot;
use crate::isolation::{Running, Secrets, StartSpec};
use crate::machine::commands::exec::DefaultUser;
use crate::machine::commands::start_command::StartCommand;
use crate::machine::files::make_working_directory;
use crate::machine::files::volumes::Attachment;
use crate::machine::ground::idempotency::{Makes, Ticket};
use crate::machine::ground::{clock, ids, Error, Kind, Result};
use crate::machine::live::Machine;
use crate::machine::monitoring::events::{Event, Operation};
use crate::machine::network::egress;
use crate::machine::pools::pool::{Ready, Wish};
use crate::machine::records::record::Record;
use crate::machine::templates::layers::Pin;
use crate::machine::templates::{Template, WORKSPACE};
use crate::machine::validate::sizes::{Asked, UNSAID_VCPUS};
use crate::machine::validate::{self, Checkout, Plan, PoolSearch, Source};
use crate::machine::Engine;
use crate::metrics::METRICS;
use crate::store::machines;

/// What a machine is made of, whichever way it starts.
struct Origin {
    template: String,
    config: MachineConfig,
    envs: Envs,
    cwd: String,
    layers: Vec<String>,
    whole_root: bool,
    /// What runs in the machine before anybody has it.
    start: Option<StartCommand>,
    /// Who runs its commands; `None` = root.
    user: Option<DefaultUser>,
    /// Set when the files come from a snapshot.
    snapshot: Option<Snapshot>,
    /// Keeps the files until the machine holds them.
    pin: Pin,
}

impl Origin {
    fn wish(&self) -> Wish<'_> {
        Wish {
            config: &self.config,
            layers: &self.layers,
            whole_root: self.whole_root,
            start: self.start.as_ref(),
        }
    }
}

impl Engine {
    /// Makes a machine and answers JSON of a [`CreateMachineResponse`]. `raw` is the body as it came; `search` comes from
    /// a gateway.
    ///
    /// Runs to its end once started: the caller may go away. A machine made for a caller that went away without an
    /// idempotency key keeps its lease and ends with it.
    pub async fn create(
        self: &Arc<Self>,
        key: Option<&str>,
        body: CreateMachineRequest,
        raw: &Value,
        search: Option<PoolSearch>,
    ) -> Result<String> {
        let ticket = Ticket::new(Makes::Machine, "create", key, raw)?;
        let mut plan = validate::check(body, raw)?;
        if let Some(checkout) = &mut plan.checkout {
            checkout.search = search;
        }
        let engine = self.clone();
        self.run_to_end(async move {
            let work = engine.create_by_plan(plan, ticket.clone());
            engine.once(ticket.as_ref(), work).await
        })
        .await
    }

    async fn create_by_plan(self: &Arc<Self>, plan: Plan, ticket: Option<Ticket>) -> Result<String> {
        self.refuse_when_closing()?;
        self.refuse_taken_name(&plan.metadata)?;
        let mut origin = self.origin(&plan).await?;
        let (mut checkout, mut ready) = (None, None);
        if let Some(wanted) = &plan.checkout {
            (checkout, ready) = self.check_out(wanted, &plan, &origin).await?;
        }
        if let Some(ready) = &ready {
            origin.config = ready.config.clone();
        }
        // Held until the machine is known: a volume that somebody is about to use cannot be deleted.
        let _volumes = self.volumes.read().await;
        let volumes = self.mounts_of(&plan, &origin).await?;
        let record = record(self.ids.machine(), &plan, &origin, checkout, volumes);
        let secrets = plan.secrets.secrets.clone();
        let snapshot_of = origin.snapshot.as_ref();
        let happened = |id: &str| match snapshot_of {
            Some(snapshot) => Event::of(Operation::ResumeFromSnapshot, id)
                .snapshot(&snapshot.id)
                .between(&snapshot.machine_id, id),
            None => Event::of(Operation::Create, id),
        };
        let brought_up = self
            .bring_up((record, secrets), ready, origin.start.as_ref(), ticket, happened)
            .await;
        // From here on the machine holds its files, or nobody does.
        drop(origin.pin);
        if brought_up.is_err() {
            self.collect_layers().await;
        }
        brought_up
    }

    /// Resolves what the machine is made of.
    async fn origin(&self, plan: &Plan) -> Result<Origin> {
        match &plan.source {
            Source::Template {
                template: reference,
                vcpus,
                memory_mb,
                disk_mb,
                envs,
                cwd,
            } => {
                let (template, pin) = self.pinned_template(reference).await?;
                template.check_disk(*disk_mb)?;
                Asked::for_template(&template.name, *vcpus, *memory_mb, *disk_mb)
                    .check(self.backend.capabilities())?;
                let pool = self.pool_config(plan.checkout.as_ref()).await?;
                let own = template.config.as_ref();
                let or_pool =
                    |given: &Option<u32>, pool: Option<u32>, default| given.or(pool).unwrap_or(default);
                Ok(Origin {
                    config: MachineConfig {
                        vcpus: or_pool(
                            vcpus,
                            pool.as_ref().map(|p| p.vcpus),
                            own.map_or(UNSAID_VCPUS, |own| own.vcpus),
                        ),
                        memory_mb: or_pool(
                            memory_mb,
                            pool.as_ref().map(|p| p.memory_mb),
                            own.map_or_else(
                                || validate::default_memory_mb(&template.name),
                                |own| own.memory_mb,
                            ),
                        ),
                        disk_mb: own
                            .and_then(|own| own.disk_mb)
                            .or(*disk_mb)
                            .or(pool.and_then(|p| p.disk_mb)),
                    },
                    envs: overlay(&template, envs),
                    cwd: cwd.clone().unwrap_or_else(|| template.default_workdir.clone()),
                    template: reference.clone(),
                    layers: template.layers,
                    whole_root: template.whole_root,
                    start: template.start,
                    user: template.user,
                    snapshot: None,
                    pin,
                })
            }
            Source::Snapshot(id) => {
                let (snapshot, pin) = self.usable_snapshot(id).await?;
                Ok(Origin {
                    template: snapshot.template.clone(),
                    config: snapshot.config.clone(),
                    envs: snapshot.envs.clone(),
                    cwd: snapshot.cwd.clone(),
                    layers: snapshot.layers.clone(),
                    whole_root: snapshot.whole_root,
                    start: None,
                    user: snapshot.user.clone(),
                    snapshot: Some(snapshot),
                    pin,
                })
            }
        }
    }

    /// The volumes of the request; without any, those of the snapshot.
    async fn mounts_of(&self, plan: &Plan, origin: &Origin) -> Result<Vec<Attachment>> {
        match (&plan.volumes, &origin.snapshot) {
            (Some(volumes), _) => self.attachments_for(volumes).await,
            (None, Some(snapshot)) => {
                for attachment in &snapshot.volumes {
                    self.volume(&attachment.volume_id).await.map_err(|error| {
                        error.with_action("give `volumes` to say what the machine mounts instead")
                    })?;
                }
                Ok(snapshot.volumes.iter().map(Attachment::again).collect())
            }
            (None, None) => Ok(Vec::new()),
        }
    }

    /// Asks the pool. `Err` when the caller wanted a ready machine or none.
    async fn check_out(
        self: &Arc<Self>,
        wanted: &Checkout,
        plan: &Plan,
        origin: &Origin,
    ) -> Result<(Option<WarmPoolCheckoutResult>, Option<Ready>)> {
        let pool = wanted.id.as_deref().map(|id| self.pool(id)).transpose()?;
        let policy = pool.as_ref().map(|p| p.checkout_policy());
        let mode = wanted.mode.or(policy).unwrap_or(CheckoutMode::Prefer);
        let result = |source, waited: Duration| WarmPoolCheckoutResult {
            source,
            hit: source == CheckoutSource::ReadyInstance,
            id: wanted.id.clone(),
            mode: Some(mode),
            wait_ms: Some(waited.as_millis() as u64),
        };
        let pool = match pool {
            Some(pool) if mode != CheckoutMode::Bypass => pool,
            _ => return Ok((Some(result(CheckoutSource::Bypassed, Duration::ZERO)), None)),
        };
        let obstacle = plan
            .not_poolable
            .map(str::to_owned)
            .or_else(|| pool.obstacle(&origin.wish()));
        let begun = tokio::time::Instant::now();
        let (wait, waited, only_ready) = match wanted.search {
            Some(search) => (Duration::ZERO, search.waited, search.only_ready),
            None => (wanted.wait, Duration::ZERO, false),
        };
        let taken = match &obstacle {
            Some(_) => None,
            None => pool.take(wait).await,
        };
        let waited = waited + begun.elapsed();
        // A gateway that searches asks the next node.
        if taken.is_some() || !only_ready {
            METRICS.checked_out(taken.is_some());
        }
        match (taken, mode) {
            (Some(ready), _) => Ok((Some(result(CheckoutSource::ReadyInstance, waited)), Some(ready))),
            (None, CheckoutMode::Require) => Err(unavailable(&pool.id, obstacle.as_deref())),
            (None, _) if only_ready && obstacle.is_none() => Err(unavailable(&pool.id, None)),
            (None, _) => Ok((Some(result(CheckoutSource::ColdCreate, waited)), None)),
        }
    }

    /// Starts a machine for the record, or gives it the ready one, and answers JSON. `happened` is the event of its id. Nothing is
    /// left on an error.
    pub(super) async fn bring_up(
        self: &Arc<Self>,
        (mut record, secrets): (Record, Secrets),
        ready: Option<Ready>,
        start: Option<&StartCommand>,
        ticket: Option<Ticket>,
        happened: impl FnOnce(&str) -> Event,
    ) -> Result<String> {
        if let Some(ready) = &ready {
            record.id = ready.id.clone();
        }
        record.unanswered = ticket.is_some();
        let id = record.id.clone();
        let machine = Machine::new(record.clone(), secrets.clone(), self.log_directory(&id));
        let turn = machine.turn().await;
        if let Err(taken) = self.add_live(&machine) {
            if let Some(ready) = ready {
                if let Err(error) = ready.running.stop().await {
                    tracing::warn!(machine = %machine.id, %error, "ending a ready machine failed");
                }
            }
            return Err(taken);
        }
        let opened = async {
            let (running, is_stored) = match ready {
                // It runs: there is nothing that an engine that ends meanwhile would have to know.
                Some(ready) => (ready.running, false),
                None => {
                    let row = record.row();
                    let inserted = self.store.call(move |c| {
                        let transaction = c.transaction()?;
                        machines::insert(&transaction, &row)?;
                        transaction.commit()
                    });
                    inserted.await?;
                    (self.start_whole(&record, secrets, start).await?, true)
                }
            };
            self.answer(&machine, running, is_stored, ticket, happened(&id))
                .await
        };
        let opened = opened.await;
        match opened {
            Ok(body) => {
                drop(turn);
                self.supervise(machine);
                Ok(body)
            }
            Err(error) => {
                self.undo(&machine, &error).await;
                Err(error)
            }
        }
    }

    /// Marks the machine as running, keeps the answer for its key and gives it: all that is stored of it in one transaction.
    async fn answer(
        &self,
        machine: &Arc<Machine>,
        running: Arc<dyn Running>,
        is_stored: bool,
        ticket: Option<Ticket>,
        event: Event,
    ) -> Result<String> {
        let warnings = running.warnings().to_vec();
        machine.set_running(Some(running));
        machine.renew();
        machine.set(|record| {
            record.status = MachineStatus::Running;
            record.started_at = Some(clock::now());
            record.timeout_at = Some(clock::after(Duration::from_millis(record.lease.timeout_ms)));
            record.warnings = warnings;
            record.unanswered = false;
        });
        let response = CreateMachineResponse {
            machine: machine.info(),
            traffic_access_token: machine.read(|r| r.traffic_access_token.clone()),
        };
        let body = serde_json::to_string(&response).map_err(|e| Error::internal("writing an answer", e))?;
        let kept = body.clone();
        let mut noted = self.note(event);
        let stored = machine.change(
            |_| (),
            |record| {
                let row = record.row();
                self.store.send(move |connection| {
                    let transaction = connection.transaction()?;
                    match is_stored {
                        true => machines::update(&transaction, &row.id, row.status, &row.record)?,
                        false => machines::insert(&transaction, &row)?,
                    }
                    if let Some(ticket) = ticket {
                        ticket.keep(&transaction, &kept)?;
                    }
                    let is_queued = noted.store(&transaction)?;
                    transaction.commit()?;
                    noted.tell();
                    Ok(is_queued)
                })
            },
        );
        if stored.done().await? {
            self.deliveries.notify_one();
        }
        Ok(body)
    }

    /// Takes back a create that failed.
    async fn undo(self: &Arc<Self>, machine: &Arc<Machine>, error: &Error) {
        machine.gone.cancel();
        machine.set(|record| record.status = MachineStatus::Destroyed);
        let id = machine.id.clone();
        if let Err(error) = self.store.call(move |c| machines::delete(c, &id)).await {
            tracing::error!(machine = %machine.id, %error, "removing a machine that did not start failed");
        }
        self.forget(machine).await;
        let event = Event::of(Operation::Create, &machine.id).failed(error.kind.code(), &error.message);
        self.record_event(event).await;
    }

    /// Starts the isolated machine of a record, and what runs in it before anybody has it.
    async fn start_whole(
        &self,
        record: &Record,
        secrets: Secrets,
        start: Option<&StartCommand>,
    ) -> Result<Arc<dyn Running>> {
        let running = self.start(record, secrets).await?;
        let prepared = async {
            // Every template has that one.
            if record.cwd != WORKSPACE {
                make_working_directory(&running, &record.cwd).await?;
            }
            match start {
                Some(start) => {
                    let user = record.user.as_ref();
                    let memory_mb = record.config.memory_mb;
                    start
                        .run(&running, memory_mb, &record.envs, &record.cwd, user)
                        .await
                }
                None => Ok(()),
            }
        };
        if let Err(error) = prepared.await {
            let _ = running.stop().await;
            return Err(error);
        }
        Ok(running)
    }

    /// Starts the isolated machine of a record.
    async fn start(&self, record: &Record, secrets: Secrets) -> Result<Arc<dyn Running>> {
        self.start_spec(StartSpec {
            id: record.id.clone(),
            layers: record.layers.clone(),
            whole_root: record.whole_root,
            vcpus: record.config.vcpus,
            memory_mb: record.config.memory_mb,
            disk_mb: record.config.disk_mb,
            egress: egress::enforce(&record.egress),
            secrets,
            mounts: record.volumes.iter().map(|a| self.mount_of(a)).collect(),
        })
        .await
    }

    /// Starts an isolated machine.
    pub(in crate::machine) async fn start_spec(&self, spec: StartSpec) -> Result<Arc<dyn Running>> {
        Asked::in_start(spec.vcpus, spec.memory_mb, spec.disk_mb).check(self.backend.capabilities())?;
        self.refuse_without_room().await?;
        let started = self.backend.start(spec).await;
        started.map_err(|e| Error::isolation("starting the machine", e))
    }
}

/// Environment of a template with that of the request over it.
fn overlay(template: &Template, envs: &Envs) -> Envs {
    let mut all = template.default_envs.clone();
    all.extend(envs.clone());
    all
}

/// The record of a machine that is about to be made.
fn record(
    id: String,
    plan: &Plan,
    origin: &Origin,
    checkout: Option<WarmPoolCheckoutResult>,
    volumes: Vec<Attachment>,
) -> Record {
    let of_snapshot = origin.snapshot.as_ref();
    let internet_access = plan.internet_access && of_snapshot.is_none_or(|s| s.internet_access);
    let egress = match (&plan.policy, of_snapshot) {
        _ if !internet_access => egress::denied(),
        (Some(policy), _) => policy.shown.clone(),
        (None, Some(snapshot)) => snapshot.egress.clone(),
        // A plan without a snapshot always has a policy; without either, stay shut.
        (None, None) => egress::denied(),
    };
    let mut envs = origin.envs.clone();
    envs.extend(plan.secrets.envs.clone());
    Record {
        id,
        status: MachineStatus::Creating,
        config: origin.config.clone(),
        template: origin.template.clone(),
        metadata: plan.metadata.clone(),
        created_at: clock::now(),
        started_at: None,
        lease: plan.lease.clone(),
        timeout_at: None::<Timestamp>,
        last_active_at: None,
        cwd: origin.cwd.clone(),
        snapshot_id: None,
        warm_pool_checkout: checkout,
        warnings: Vec::new(),
        error_message: None,
        envs,
        internet_access,
        egress,
        secrets: plan.secrets.shown.clone(),
        layers: origin.layers.clone(),
        whole_root: origin.whole_root,
        user: origin.user.clone(),
        volumes,
        allow_public_traffic: plan.allow_public_traffic,
        mask_request_host: plan.mask_request_host.clone(),
        traffic_access_token: (!plan.allow_public_traffic).then(|| ids::secret("tat")),
        unanswered: false,
    }
}

fn unavailable(pool: &str, obstacle: Option<&str>) -> Error {
    match obstacle {
        Some(option) => Error::new(
            Kind::WarmPoolUnavailable,
            format!(
                "no machine of warm pool {pool} can be taken: {option} cannot be changed on a ready machine"
            ),
        )
        .retryable(false)
        .with_action(format!(
            "leave {option} out, or use mode \"prefer\" to get a new machine instead"
        ))
        .with_details(serde_json::json!({ "reason": "not_poolable", "option": option })),
        None => Error::new(
            Kind::WarmPoolUnavailable,
            format!("warm pool {pool} has no ready machine at the moment"),
        )
        .with_action(
            "give a larger `warmPoolWaitMs`, raise `minReady` of the pool, or use `warmPoolMode: 'prefer'`",
        )
        .with_details(serde_json::json!({ "reason": "empty" })),
    }
}
