//! Builds of templates: real machines that make layers, one a step.
//!
//! - [`definition`]: a request, checked; [`step`]: what one step does, as data; [`secrets`]: what is known to one build only
//! - [`base`]: what a build starts from, and how an image is had
//! - [`recipe`]: what a Dockerfile wants, as steps; [`stages`]: carries that out; [`glob`]: patterns of its `COPY`
//! - [`run`]: carries a build out; [`scene`]: what its steps have made so far; [`carry_out`]: does a step in a machine, into which
//!   `place` puts files of the context; [`cache`]: keeps what a step made; [`artifact`]: the template in the end
//! - [`plan`]: what a request would do, and the digests of what it is made of
//! - [`log`]: what a build says while it runs, and afterwards
//! - [`blobs`]: files of contexts
//! - `names`: tags, aliases, claims
//!
//! A build is a row of the store from its first moment, so that one that an engine did not finish is known to its successor. What it
//! makes appears at its end, all at once: until then, and after a failure, its template is what it was.

mod artifact;
mod base;
pub mod blobs;
mod cache;
mod carry_out;
pub mod definition;
mod glob;
pub mod log;
pub mod names;
mod place;
pub mod plan;
mod recipe;
mod run;
mod scene;
mod secrets;
mod stages;
mod step;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use nullspace_wire::template::{
    ArtifactAvailability, BuildConfig, BuildList, BuildLogEntry, BuildLogKind, BuildPromotability,
    BuildStatus, BuildStatusSnapshot, CreateTemplateRequest, FailureDetail, RetryBuildRequest, TemplateBuild,
    TemplateInfo, TemplateVisibility,
};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::machine::ground::sync::lock;
use crate::machine::ground::{clock, ids, Error, Kind, Result};
use crate::machine::templates::{Reference, Template, LOCAL};
use crate::machine::validate::sizes::Asked;
use crate::machine::Engine;
use crate::store::{builds as store, documents, templates};
use definition::Definition;
use log::Log;
use secrets::Secrets;

/// Builds that run at once; the others wait.
const AT_ONCE: usize = 2;
/// Most builds that wait.
const MOST_WAITING: usize = 50;
/// Builds of a template that machines can start from although no tag means them.
const KEPT_ARTIFACTS: usize = 10;
/// Builds of a template that made nothing and are remembered.
const KEPT_FAILURES: usize = 50;
/// Builds of a page.
const PAGE: usize = 50;

/// Builds that are not over.
pub struct Builds {
    live: Mutex<HashMap<String, Arc<Build>>>,
    turns: Semaphore,
}

impl Default for Builds {
    fn default() -> Self {
        Self {
            live: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
        }
    }
}

/// A build that is not over.
pub struct Build {
    /// `tb_...`
    pub id: String,
    /// `tmpl_...`
    pub template_id: String,
    record: Mutex<Stored>,
    log: Log,
    secrets: Secrets,
    cancel: CancellationToken,
}

/// A build as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stored {
    shown: TemplateBuild,
    /// What a retry starts from: without secrets.
    definition: CreateTemplateRequest,
    /// Secrets that a retry must bring.
    secret_ids: Vec<String>,
    /// Whether the registry of its image wanted credentials, which a retry must bring.
    #[serde(default)]
    had_auth: bool,
}

impl Stored {
    fn read(row: &store::Row) -> Result<Self> {
        let mut stored: Self =
            serde_json::from_str(&row.record).map_err(|e| Error::internal("reading a template build", e))?;
        stored.shown.show_artifact(row.artifact.is_some());
        Ok(stored)
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What answers say of what a build made.
trait ShowArtifact {
    fn show_artifact(&mut self, is_there: bool);
}

impl ShowArtifact for TemplateBuild {
    fn show_artifact(&mut self, is_there: bool) {
        let (availability, promotability, reason) = match (self.status, is_there) {
            (BuildStatus::Ready, true) => ("available", "promotable", None),
            (BuildStatus::Ready, false) => ("unavailable", "purged", Some("newer builds took its place")),
            (BuildStatus::Waiting | BuildStatus::Building, _) => ("publishing", "not_ready", None),
            (BuildStatus::Error | BuildStatus::Cancelled, _) => {
                ("failed", "unavailable", Some("the build made nothing"))
            }
        };
        self.artifact_availability = Some(ArtifactAvailability {
            status: availability.into(),
            reason: reason.map(str::to_owned),
        });
        self.promotability = Some(BuildPromotability {
            status: promotability.into(),
            promotable: promotability == "promotable",
            reason: reason.map(str::to_owned),
        });
        self.artifact_ids = is_there
            .then(|| vec![self.template_id.clone()])
            .or(Some(Vec::new()));
    }
}

/// The word of a status, as stored.
fn word(status: BuildStatus) -> &'static str {
    match status {
        BuildStatus::Waiting => "waiting",
        BuildStatus::Building => "building",
        BuildStatus::Ready => "ready",
        BuildStatus::Error => "error",
        BuildStatus::Cancelled => "cancelled",
    }
}

fn no_build(id: &str) -> Error {
    Error::new(
        Kind::NotFound,
        format!("there is no template build {id}: it never was, or its template was deleted"),
    )
}

impl Build {
    fn read<T>(&self, look: impl FnOnce(&Stored) -> T) -> T {
        look(&lock(&self.record))
    }

    /// What answers show.
    pub fn shown(&self) -> TemplateBuild {
        let mut shown = self.read(|stored| stored.shown.clone());
        shown.show_artifact(shown.status == BuildStatus::Ready);
        shown
    }
}

/// Ends a build whose engine is gone. Gives the last entry of its log.
pub fn interrupt(build: &mut TemplateBuild, place: u64, message: &str) -> BuildLogEntry {
    let failure = FailureDetail {
        code: "build_error".into(),
        message: message.into(),
        phase: "interrupted".into(),
        retryable: true,
        suggested_action: "build it again: steps that were done are taken from the cache".into(),
        step_index: None,
        build_id: Some(build.build_id.clone()),
        details: json!({ "reason": "interrupted" }).as_object().cloned(),
    };
    let mut entry = log::entry(
        &build.build_id,
        &build.template_id,
        place,
        BuildLogKind::Error,
        failure.message.clone(),
    );
    build.status = BuildStatus::Error;
    build.error = Some(failure.message.clone());
    build.failure_phase = Some(failure.phase.clone());
    build.error_detail = Some(failure.clone());
    build.finished_at = Some(clock::now());
    build.updated_at = clock::now();
    build.show_artifact(false);
    entry.phase = Some(failure.phase.clone());
    entry.error_detail = Some(failure);
    entry
}

/// Which builds to list.
#[derive(Debug, Clone, Default)]
pub struct BuildFilter {
    /// Of this status.
    pub status: Option<String>,
    /// Built so.
    pub backend: Option<String>,
    /// From this.
    pub source_type: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

impl Engine {
    /// Begins a build.
    pub async fn start_build(self: &Arc<Self>, request: CreateTemplateRequest) -> Result<Arc<Build>> {
        let token = request.claim_token.clone();
        let (definition, secrets) = definition::check(request, true)?;
        self.queue_build(definition, secrets, token, None).await
    }

    async fn queue_build(
        self: &Arc<Self>,
        mut definition: Definition,
        secrets: Secrets,
        claim_token: Option<String>,
        retry_of: Option<&Stored>,
    ) -> Result<Arc<Build>> {
        self.refuse_when_closing()?;
        let name = definition.name.clone().unwrap_or_default();
        if lock(&self.builds.live).len() >= MOST_WAITING + AT_ONCE {
            return Err(Error::new(
                Kind::CapacityExceeded,
                format!("{MOST_WAITING} builds wait for their turn already"),
            )
            .with_action("wait for some of them, or cancel them"));
        }
        if [Template::base(), Template::code_interpreter()]
            .iter()
            .any(|t| t.name == name)
        {
            return Err(Error::new(
                Kind::Conflict,
                format!("`{name}` comes with the engine: give the template another name"),
            ));
        }
        Asked::in_build(&definition.config).check(self.backend.capabilities())?;
        // A template must be there now: a build that waits may find it gone, one that is asked for may not. An image is looked for
        // by the build itself, since a registry takes its time.
        let source = self.look_at_base(&definition.base).await?.1;
        let had_auth = definition.base.has_auth();
        self.take_context(&mut definition).await?;
        let now = clock::now();
        let id = ids::build();
        let config = &definition.config;
        let mut shown = TemplateBuild {
            build_id: id.clone(),
            template_id: ids::template(),
            name: name.clone(),
            tags: definition.tags.clone(),
            status: BuildStatus::Waiting,
            build_backend: definition.backend,
            source_type: definition.source_type,
            canonical_ref: format!("{LOCAL}/{name}:{}", definition.tags[0]),
            namespace_slug: LOCAL.into(),
            visibility: TemplateVisibility::Private,
            created_at: now.clone(),
            updated_at: now.clone(),
            source_digest: Some(plan::source_digest(&source, &definition)),
            context_digest: plan::context_digest(&definition),
            dockerfile_digest: plan::dockerfile_digest(&definition),
            build_config: Some(BuildConfig {
                vcpus: Some(config.vcpus),
                memory_mib: Some(config.memory_mb),
                internet_access: (!definition.internet_access).then_some(false),
                disk_mb: config.disk_mb,
            }),
            queued_at: Some(now),
            started_at: None,
            finished_at: None,
            duration_ms: None,
            failure_phase: None,
            cache_summary: None,
            artifact_availability: None,
            promotability: None,
            runtime_defaults: None,
            artifact_ids: None,
            retry_of_build_id: retry_of.map(|stored| stored.shown.build_id.clone()),
            original_build_id: retry_of.map(|stored| {
                let shown = &stored.shown;
                shown
                    .original_build_id
                    .clone()
                    .unwrap_or_else(|| shown.build_id.clone())
            }),
            cancel_requested_at: None,
            cancellation_reason: None,
            error: None,
            error_detail: None,
        };
        let (kept, secret_ids) = (
            definition.kept.clone(),
            secrets.ids().map(str::to_owned).collect(),
        );
        let token = claim_token.map(|token| Sha256::digest(token.as_bytes()).to_vec());
        let inserted = self.store.call(move |c| {
            let transaction = c.transaction()?;
            let document = templates::find(&transaction, &name)?;
            let owner = document.and_then(|text| serde_json::from_str::<Template>(&text).ok());
            if owner.as_ref().is_some_and(|template| !template.is_built) {
                return Ok(Err(
                    "was imported, and has no builds: delete it first, or give another name",
                ));
            }
            let kept_for = templates::claimed(&transaction, &name, clock::unix_seconds())?;
            if owner.is_none() && kept_for.is_some() && kept_for != token {
                return Ok(Err(
                    "is kept for somebody: give its `claim_token`, or another name",
                ));
            }
            if let Some(token) = token {
                templates::release(&transaction, &token)?;
            }
            if let Some(template) = &owner {
                shown.visibility = template.visibility;
                shown.name.clone_from(&template.name);
            }
            let earlier = store::template_of(&transaction, &name)?;
            if let Some(id) = owner.map(|template| template.id).or(earlier) {
                shown.template_id = id;
            }
            let stored = Stored {
                shown,
                definition: kept,
                secret_ids,
                had_auth,
            };
            let of = &stored.shown;
            store::insert(
                &transaction,
                &of.build_id,
                &of.template_id,
                &of.name,
                "waiting",
                &stored.to_json(),
            )?;
            transaction.commit()?;
            Ok(Ok(stored))
        });
        let stored = inserted.await?.map_err(|why| {
            let name = definition.name.as_deref().unwrap_or_default();
            Error::new(Kind::Conflict, format!("`name`: the template {name:?} {why}"))
        })?;
        let build = Arc::new(Build {
            template_id: stored.shown.template_id.clone(),
            log: Log::new(&id, &stored.shown.template_id),
            record: Mutex::new(stored),
            secrets,
            cancel: CancellationToken::new(),
            id: id.clone(),
        });
        lock(&self.builds.live).insert(id, build.clone());
        let (engine, running) = (self.clone(), build.clone());
        self.tasks.spawn(async move {
            engine.run_build(&running, definition).await;
            lock(&engine.builds.live).remove(&running.id);
            engine.collect_layers().await;
            engine.collect_blobs(false).await;
        });
        Ok(build)
    }

    fn live_build(&self, id: &str) -> Option<Arc<Build>> {
        lock(&self.builds.live).get(id).cloned()
    }

    async fn stored_build(&self, id: &str) -> Result<(Stored, Option<String>)> {
        let wanted = id.to_owned();
        let row = self.store.call(move |c| store::get(c, &wanted)).await?;
        let row = row.ok_or_else(|| no_build(id))?;
        Ok((Stored::read(&row)?, row.artifact))
    }

    /// A build and its log from an offset.
    pub async fn build_status(&self, id: &str, offset: u64) -> Result<BuildStatusSnapshot> {
        let (build, entries) = match self.live_build(id) {
            // In this order: the log of a build that is over then has its end.
            Some(live) => (live.shown(), live.log.from(offset)),
            None => {
                let (stored, _) = self.stored_build(id).await?;
                (stored.shown, self.stored_entries(id, offset).await?)
            }
        };
        let next_offset = entries.last().map_or(offset, |entry| entry.offset + 1);
        Ok(BuildStatusSnapshot {
            build,
            entries,
            next_offset,
        })
    }

    /// Ids and states of the newest builds.
    pub async fn newest_builds(&self, limit: usize) -> Result<Vec<(String, String)>> {
        Ok(self.store.call(move |c| store::states(c, limit)).await?)
    }

    /// A build for a cluster to keep: of its log the last entries.
    pub async fn build_to_keep(&self, id: &str) -> Result<BuildStatusSnapshot> {
        let mut snapshot = self.build_status(id, 0).await?;
        log::keep_end(&mut snapshot.entries);
        Ok(snapshot)
    }

    /// Asks a build to end. One that is over stays as it is.
    pub async fn cancel_build(&self, id: &str, reason: Option<String>) -> Result<BuildStatusSnapshot> {
        if let Some(build) = self.live_build(id) {
            {
                let mut record = lock(&build.record);
                if record.shown.cancel_requested_at.is_none() {
                    record.shown.cancel_requested_at = Some(clock::now());
                    record.shown.cancellation_reason = reason.map(|text| text.chars().take(1000).collect());
                }
            }
            build.cancel.cancel();
        }
        self.build_status(id, 0).await
    }

    /// Builds the same again. Secrets are asked for again, since none was kept.
    pub async fn retry_build(self: &Arc<Self>, id: &str, request: RetryBuildRequest) -> Result<Arc<Build>> {
        let (stored, _) = self.stored_build(id).await?;
        if matches!(stored.shown.status, BuildStatus::Waiting | BuildStatus::Building) {
            return Err(Error::new(Kind::Conflict, format!("build {id} is not over yet"))
                .with_action("wait for its end, or cancel it"));
        }
        let given = request.build_secrets.unwrap_or_default();
        let missing: Vec<&str> = stored
            .secret_ids
            .iter()
            .filter(|id| !given.iter().any(|secret| secret.id == **id))
            .map(String::as_str)
            .collect();
        if !missing.is_empty() {
            return Err(Error::invalid(
                "build_secrets",
                format_args!("are not kept: give {} again", missing.join(", ")),
            ));
        }
        let again = CreateTemplateRequest {
            tags: request.tags.or_else(|| stored.definition.tags.clone()),
            name: Some(stored.shown.name.clone()),
            build_secrets: Some(given),
            base_image_auth: request.base_image_auth,
            registry_auth: request.registry_auth,
            ..stored.definition.clone()
        };
        let (definition, secrets) = definition::check(again, true)?;
        if stored.had_auth && !definition.base.has_auth() {
            return Err(Error::invalid(
                "base_image_auth",
                format_args!("is not kept: give the credentials for {} again", definition.base),
            ));
        }
        self.queue_build(definition, secrets, None, Some(&stored)).await
    }

    /// Points tags at what a build made.
    pub async fn promote_build(self: &Arc<Self>, id: &str, tags: Vec<String>) -> Result<TemplateInfo> {
        let (stored, artifact) = self.stored_build(id).await?;
        if artifact.is_none() {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "build {id} is {}, and has nothing that a tag could mean",
                    word(stored.shown.status)
                ),
            )
            .with_action("give the id of a build that is `ready`"));
        }
        self.point_tags(&stored.shown.template_id, id, tags).await
    }

    /// Builds of a template, newest first.
    pub async fn list_builds(&self, reference: &str, filter: BuildFilter) -> Result<BuildList> {
        let limit = filter.limit.unwrap_or(PAGE);
        if !(1..=200).contains(&limit) {
            return Err(Error::invalid(
                "limit",
                format_args!("is {limit}: give 1 to 200, such as {PAGE}"),
            ));
        }
        let fixed = |field: &str, given: &Option<String>, known: &[&str]| match given {
            Some(text) if !known.contains(&text.as_str()) => Err(Error::invalid(
                field,
                format_args!("is {text:?}: give {}", known.join(", ")),
            )),
            _ => Ok(()),
        };
        fixed(
            "status",
            &filter.status,
            &["waiting", "building", "ready", "error", "cancelled"],
        )?;
        fixed("backend", &filter.backend, &["native", "buildkit"])?;
        let sources = ["declarative", "dockerfile", "oci_import", "template_base"];
        fixed("source_type", &filter.source_type, &sources)?;
        let subject = match Reference::parse(reference) {
            Some(parsed) => parsed.subject,
            None => reference.to_owned(),
        };
        let wanted = subject.clone();
        let rows = self.store.call(move |c| {
            let document = templates::find(c, &wanted)?;
            let owner = document.and_then(|text| serde_json::from_str::<Template>(&text).ok());
            let is_known = owner.is_some();
            let id = owner.map_or(wanted, |template| template.id);
            Ok((store::list(c, &id)?, is_known))
        });
        let (rows, is_known) = rows.await?;
        if rows.is_empty() && !is_known {
            // Says what there is instead.
            self.template(reference).await?;
        }
        let mut builds = Vec::new();
        let mut is_behind = filter.cursor.is_none();
        let mut next_cursor = None;
        for row in rows {
            if !is_behind {
                is_behind = filter.cursor.as_deref() == Some(row.id.as_str());
                continue;
            }
            let shown = match self.live_build(&row.id) {
                Some(live) => live.shown(),
                None => Stored::read(&row)?.shown,
            };
            let is = |wanted: &Option<String>, value: Value| {
                wanted.as_ref().is_none_or(|text| value == text.as_str())
            };
            let matches = is(&filter.status, json!(shown.status))
                && is(&filter.backend, json!(shown.build_backend))
                && is(&filter.source_type, json!(shown.source_type));
            if !matches {
                continue;
            }
            if builds.len() == limit {
                next_cursor = builds.last().map(|build: &TemplateBuild| build.build_id.clone());
                break;
            }
            builds.push(shown);
        }
        if !is_behind {
            return Err(Error::invalid("cursor", "is of no list: begin without one"));
        }
        Ok(BuildList { builds, next_cursor })
    }

    /// Ends all builds of a template and waits for them.
    pub(super) async fn end_builds_of(&self, template: &str) {
        let builds: Vec<Arc<Build>> = lock(&self.builds.live)
            .values()
            .filter(|build| build.template_id == template)
            .cloned()
            .collect();
        for build in builds {
            build.cancel.cancel();
            build.log.ended().await;
        }
    }

    /// Ends builds that an earlier engine did not, and what their interrupted uploads left.
    pub(super) async fn recover_builds(&self) -> Result<()> {
        let rows = self.store.call(|c| store::unfinished(c)).await?;
        for row in rows {
            let mut stored = Stored::read(&row)?;
            let entries = self.stored_entries(&row.id, 0).await?;
            let place = entries.last().map_or(0, |entry| entry.offset + 1);
            let entry = interrupt(&mut stored.shown, place, "the engine that ran the build ended");
            let (id, record) = (row.id, stored.to_json());
            let entry = serde_json::to_string(&entry).unwrap_or_default();
            let written = self.store.call(move |c| {
                let transaction = c.transaction()?;
                store::add_entry(&transaction, &id, place, &entry)?;
                store::update(&transaction, &id, "error", &record, None)?;
                transaction.commit()
            });
            written.await?;
        }
        self.collect_blobs(true).await;
        Ok(())
    }

    /// Puts what a build made in place: the template, its tags, the build itself, in one transaction. `None` when the template was
    /// deleted meanwhile.
    async fn publish(&self, stored: &Stored, artifact: &Template) -> Result<Option<String>> {
        let identity = Template {
            id: stored.shown.template_id.clone(),
            name: stored.shown.name.clone(),
            created_at: Some(clock::now()),
            is_built: true,
            ..Template::base()
        };
        let document =
            serde_json::to_string(&identity).map_err(|e| Error::internal("writing a template", e))?;
        let artifact =
            serde_json::to_string(artifact).map_err(|e| Error::internal("writing a template", e))?;
        let (shown, record) = (stored.shown.clone(), stored.to_json());
        let published = self.store.call(move |c| {
            let transaction = c.transaction()?;
            if !store::update(&transaction, &shown.build_id, "ready", &record, Some(&artifact))? {
                return Ok(None);
            }
            if documents::get(&transaction, documents::Kind::Template, &identity.id)?.is_none() {
                // Another template may have got the name while this one was built for the first time.
                if templates::find(&transaction, &identity.name)?.is_some() {
                    return Ok(Some(Err(())));
                }
                documents::put(
                    &transaction,
                    documents::Kind::Template,
                    &identity.id,
                    &identity.name,
                    &document,
                )?;
            }
            for tag in &shown.tags {
                templates::set_tag(&transaction, &identity.id, tag, &shown.build_id, &clock::now().0)?;
            }
            store::retire(&transaction, &identity.id, KEPT_ARTIFACTS)?;
            store::prune(&transaction, &identity.id, KEPT_FAILURES)?;
            transaction.commit()?;
            Ok(Some(Ok(identity.id)))
        });
        match published.await? {
            None => Ok(None),
            Some(Ok(id)) => Ok(Some(id)),
            Some(Err(())) => Err(Error::new(
                Kind::Conflict,
                format!("another template got the name {:?} meanwhile", stored.shown.name),
            )),
        }
    }
}
