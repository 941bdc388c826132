//! Carries a build out, from its turn to its end, and tells its log.

use std::future::Future;
use std::sync::Arc;

use nullspace_wire::template::{
    BuildCacheSummary, BuildLogEntry, BuildLogKind, BuildLogLevel, BuildStatus, FailureDetail,
};
use serde_json::{json, Value};
use tokio::time::Duration;

use super::base::Base;
use super::definition::Definition;
use super::step::Action;
use super::{Build, Stored};
use crate::machine::ground::sync::lock;
use crate::machine::ground::{clock, Error, Kind};
use crate::machine::Engine;
use crate::store::builds as store;

/// How often what the log says goes to the disk.
const FLUSH: Duration = Duration::from_secs(1);

/// Why a build ended early.
pub(super) enum Stop {
    Cancelled,
    Interrupted,
    Failed(Failure),
}

/// What went wrong, and where.
pub(super) struct Failure {
    pub(super) phase: &'static str,
    pub(super) step: Option<u32>,
    pub(super) reason: &'static str,
    pub(super) error: Error,
    pub(super) details: Value,
}

impl Failure {
    pub(super) fn at(phase: &'static str, reason: &'static str, error: Error) -> Stop {
        Stop::Failed(Self {
            phase,
            step: None,
            reason,
            error,
            details: json!({}),
        })
    }
}

impl Stop {
    /// Says at which step it was.
    pub(super) fn in_step(mut self, place: u32) -> Self {
        if let Stop::Failed(failure) = &mut self {
            failure.step = Some(place);
        }
        self
    }
}

pub(super) type Done<T> = std::result::Result<T, Stop>;

impl Engine {
    /// Runs a build to its end, whatever that is.
    pub(super) async fn run_build(self: &Arc<Self>, build: &Arc<Build>, definition: Definition) {
        let (engine, of) = (self.clone(), build.clone());
        // Who follows the build must hear of its end, even of one that is a fault of the engine.
        let ended = tokio::spawn(async move { engine.run_flushed(&of, &definition).await }).await;
        let stop = match ended {
            Ok(built) => built.err(),
            Err(error) => {
                let error = Error::internal("building a template", error);
                Some(Failure::at("build_step", "engine", error))
            }
        };
        if let Some(stop) = stop {
            self.stop_build(build, stop).await;
        }
        self.flush(build).await;
        build.log.close();
    }

    async fn run_flushed(self: &Arc<Self>, build: &Arc<Build>, definition: &Definition) -> Done<()> {
        let flushing = async {
            loop {
                tokio::time::sleep(FLUSH).await;
                self.flush(build).await;
            }
        };
        tokio::select! {
            built = self.build(build, definition) => built,
            stopped = flushing => stopped,
        }
    }

    /// Writes what is new of the log to the disk.
    pub(super) async fn flush(&self, build: &Arc<Build>) {
        let new = build.log.take_new();
        if new.is_empty() {
            return;
        }
        let id = build.id.clone();
        let written = self.store.call(move |c| {
            let transaction = c.transaction()?;
            for (place, entry) in &new {
                store::add_entry(&transaction, &id, *place, entry)?;
            }
            transaction.commit()
        });
        if let Err(error) = written.await {
            tracing::warn!(build = %build.id, %error, "storing the log of a build failed");
        }
    }

    async fn save_build(&self, id: &str, stored: &Stored) {
        let (id, status, record) = (id.to_owned(), super::word(stored.shown.status), stored.to_json());
        let saved = self
            .store
            .call(move |c| store::update(c, &id, status, &record, None));
        if let Err(error) = saved.await {
            tracing::error!(build = %stored.shown.build_id, %error, "storing a build failed");
        }
    }

    /// Notes the end of a build that made nothing.
    async fn stop_build(&self, build: &Arc<Build>, stop: Stop) {
        let (status, kind, detail) = match stop {
            Stop::Cancelled => (BuildStatus::Cancelled, BuildLogKind::Cancelled, None),
            Stop::Interrupted => {
                let error = Error::new(
                    Kind::Build("interrupted"),
                    "the engine that ran the build was stopped",
                )
                .with_action("build it again: steps that were done are taken from the cache")
                .retryable(true);
                let failure = Failure {
                    phase: "interrupted",
                    step: None,
                    reason: "interrupted",
                    error,
                    details: json!({}),
                };
                (
                    BuildStatus::Error,
                    BuildLogKind::Error,
                    Some(detail(build, failure)),
                )
            }
            Stop::Failed(failure) => (
                BuildStatus::Error,
                BuildLogKind::Error,
                Some(detail(build, failure)),
            ),
        };
        let message = match &detail {
            Some(detail) => detail.message.clone(),
            None => match build.read(|stored| stored.shown.cancellation_reason.clone()) {
                Some(reason) => format!("the build was cancelled: {reason}"),
                None => "the build was cancelled".to_owned(),
            },
        };
        let mut stored = build.read(Clone::clone);
        let shown = &mut stored.shown;
        finish(shown, status);
        if let Some(detail) = &detail {
            shown.error = Some(detail.message.clone());
            shown.failure_phase = Some(detail.phase.clone());
            shown.error_detail = Some(detail.clone());
        }
        self.save_build(&build.id, &stored).await;
        build.log.add(kind, &message, |entry| {
            if let Some(detail) = detail {
                entry.phase = Some(detail.phase.clone());
                entry.step_index = detail.step_index;
                entry.error_detail = Some(detail);
            }
        });
        // Who sees the status finds the end in the log.
        *lock(&build.record) = stored;
    }

    /// Waits for work that can be given up at any time.
    pub(super) async fn unless_stopped<T>(&self, build: &Build, work: impl Future<Output = T>) -> Done<T> {
        tokio::select! {
            biased;
            () = build.cancel.cancelled() => Err(Stop::Cancelled),
            () = self.closing.cancelled() => Err(Stop::Interrupted),
            done = work => Ok(done),
        }
    }

    async fn build(self: &Arc<Self>, build: &Arc<Build>, definition: &Definition) -> Done<()> {
        build
            .log
            .add(BuildLogKind::Message, "the build waits for its turn", |entry| {
                entry.level = BuildLogLevel::Debug;
                entry.phase = Some("prepare".into());
            });
        let turn = self.unless_stopped(build, self.builds.turns.acquire()).await?;
        let _turn = turn.map_err(|_| Stop::Interrupted)?;
        {
            let mut record = lock(&build.record);
            record.shown.status = BuildStatus::Building;
            record.shown.started_at = Some(clock::now());
            record.shown.updated_at = clock::now();
            record.shown.cache_summary = Some(BuildCacheSummary::default());
        }
        self.save_build(&build.id, &build.read(Clone::clone)).await;
        let total = definition.steps.len() as u32;
        let is_dockerfile = matches!(definition.base, Base::Dockerfile(_));
        let said = match is_dockerfile {
            true => format!("building a Dockerfile on {}", definition.base),
            false => format!("building on {}: {total} steps", definition.base),
        };
        build.log.add(BuildLogKind::Start, &said, |entry| {
            entry.total_steps = (!is_dockerfile).then_some(total);
        });
        for warning in &definition.warnings {
            build.log.add(BuildLogKind::Warning, warning, |_| ());
        }
        let mut scene = self.scene(build, definition).await?;
        let mut bypass = definition.skip_cache.then_some("whole_build_skip_cache");
        if !is_dockerfile {
            scene.total = total;
        }
        for (place, step) in definition.steps.iter().enumerate() {
            if step.action == Action::SkipCache {
                bypass = Some("builder_cache_boundary");
            }
            self.one_step(build, definition, &mut scene, step, place as u32, bypass)
                .await?;
        }
        let artifact = self.finish_artifact(build, definition, scene, bypass).await?;
        let (template, _pins) = artifact;
        let mut stored = build.read(Clone::clone);
        finish(&mut stored.shown, BuildStatus::Ready);
        stored.shown.runtime_defaults = Some(template.runtime_defaults());
        self.flush(build).await;
        let published = self.publish(&stored, &template).await;
        match published.map_err(|error| Failure::at("finalize", "not_published", error))? {
            Some(id) => {
                self.roll_pools(&id).await;
                let reference = format!("{id}:{}", build.id);
                let info = self.known(&reference).await.map(|known| known.info());
                let info = info.map_err(|error| Failure::at("finalize", "not_published", error))?;
                build.log.add(
                    BuildLogKind::End,
                    &format!("the template is ready: {}", stored.shown.canonical_ref),
                    |entry| entry.result = Some(info),
                );
                // Who sees the status finds the end in the log.
                *lock(&build.record) = stored;
                Ok(())
            }
            // Its template was deleted, and the build with it.
            None => Err(Stop::Cancelled),
        }
    }
}

/// An entry of the log about a step: its place, and how many there are.
pub(super) fn in_step(place: u32, total: u32) -> impl FnOnce(&mut BuildLogEntry) {
    move |entry| {
        entry.phase = Some("build_step".into());
        entry.step_index = Some(place);
        entry.total_steps = Some(total);
    }
}

/// Notes the end of a build.
fn finish(shown: &mut nullspace_wire::template::TemplateBuild, status: BuildStatus) {
    let now = clock::now();
    let micros = |at: &nullspace_wire::Timestamp| clock::unix_micros(&at.0);
    let begun = shown.started_at.as_ref().and_then(micros);
    shown.duration_ms = begun
        .zip(micros(&now))
        .map(|(from, to)| (to - from).max(0) as u64 / 1000);
    shown.status = status;
    shown.finished_at = Some(now.clone());
    shown.updated_at = now;
}

/// A failure in the words of the API. No secret is in it.
fn detail(build: &Build, failure: Failure) -> FailureDetail {
    let Failure {
        phase,
        step,
        reason,
        error,
        mut details,
    } = failure;
    details["reason"] = json!(reason);
    FailureDetail {
        code: match error.kind {
            Kind::Internal => "internal_error".into(),
            Kind::Unauthorized => "unauthorized".into(),
            _ => "build_error".into(),
        },
        message: build.secrets.hide(&error.message),
        phase: phase.into(),
        retryable: error.retryable.unwrap_or_else(|| error.kind.is_retryable()),
        suggested_action: match error.suggested_action.as_deref() {
            Some(action) => action.to_owned(),
            None => "mend what the message says and build again".to_owned(),
        },
        step_index: step,
        build_id: Some(build.id.clone()),
        details: details.as_object().cloned(),
    }
}
