//! One step of one job: the effect, the decision, and its application.

use super::fetch::impossible_name;
use super::in_flight::StepHandle;
use super::{Engine, EngineConfig, Notice};
use crate::failpoint::{self, Point};
use crate::job::{self, Failure, FailureKind, Job, JobEvent, JobStep, Outcome, Progress};
use crate::manifest::Name;
use crate::service::ExportService;
use crate::settings::Source;
use crate::store::StoreError;
use chrono::{DateTime, Utc};
use std::sync::Arc;
use std::time::Duration;

/// How long to wait before trying again to store a decision.
const STORE_AGAIN: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
];

/// A step's outcome, and further events for the timeline.
#[derive(Debug)]
pub(super) struct Effect {
    pub(super) outcome: Outcome,
    pub(super) events: Vec<JobEvent>,
}

impl From<Outcome> for Effect {
    fn from(outcome: Outcome) -> Effect {
        Effect { outcome, events: Vec::new() }
    }
}

impl Engine {
    /// Performs the step that the job's state asks for and applies the decision. A step that is
    /// cancelled changes nothing: the job stays due as it was.
    pub(super) async fn work(
        &self,
        config: &EngineConfig,
        job: Job,
        handle: &StepHandle,
    ) -> Result<(), StoreError> {
        let source = config.settings.source(&job.source);
        let service = service_of(config, &job);
        let (Some(source), Some(service), Some(step)) = (source, service, job.step()) else {
            return self.shared.store.release(job.id, &self.shared.worker.name).await;
        };
        let Some(effect) = self.perform(config, source, service, &job, step, handle).await else {
            return Ok(());
        };
        self.conclude(config, &job, effect, handle).await
    }

    /// Decides what follows from the outcome of a job's step, and stores the decision.
    pub(super) async fn conclude(
        &self,
        config: &EngineConfig,
        job: &Job,
        effect: Effect,
        handle: &StepHandle,
    ) -> Result<(), StoreError> {
        // The clock may have been set while the step was under way.
        if let Err(error) = self.check_clock(false).await {
            tracing::warn!(%error, "whether the clock was set is not known");
        }
        let mut job = job.clone();
        if let Ok(Some(stored)) = self.shared.store.job(job.id).await {
            job.first_submitted_at = stored.first_submitted_at;
            job.submitted_at = stored.submitted_at;
            job.missing_since = stored.missing_since;
        }
        let (job, now) = (&job, self.now());
        let mut decision = job::decide(job, &effect.outcome, &config.policy(), now, random());
        if decision.job.state == job::State::Failed
            && let Some(outcome) = self.file_quarantined(config, job).await
        {
            decision = job::archived_instead(decision, &outcome);
        }
        decision.events.splice(0..0, effect.events);
        if let Some(service) = service_of(config, job) {
            decision.map_texts(|text| service.redact(text));
        }
        let mut tries = STORE_AGAIN.iter().chain(STORE_AGAIN.last().into_iter().cycle());
        let applied = loop {
            let applied =
                self.shared.store.apply(decision.clone(), job.state, &self.shared.worker.name, now);
            match (applied.await, tries.next()) {
                // The service's answer is stored nowhere else: keep trying.
                (Err(error), Some(wait)) if error.is_storage() => {
                    tracing::error!(job = job.id, %error, "the database cannot be written");
                    tokio::select! {
                        () = handle.abort.cancelled() => return Err(error),
                        () = pause(*wait) => {}
                    }
                }
                (applied, _) => break applied?,
            }
        };
        if !applied && !self.apply_late(&mut decision, job.remote, now).await? {
            return Ok(());
        }
        self.publish(&decision.job, &decision.events);
        Ok(())
    }

    /// A decision that could not be applied because the job was cancelled or taken over meanwhile: what
    /// it says about the archive and the remote job is still true, and is stored. Returns whether the
    /// job has changed.
    async fn apply_late(
        &self,
        decision: &mut job::Decision,
        remote: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let store = &self.shared.store;
        if decision.job.snapshot.is_some() {
            decision.job.state = job::State::Archived;
            return store.archived_after_cancel(decision.job.clone(), now).await;
        }
        if let Some(remote) = remote {
            store.record_late(decision.clone(), remote, now).await?;
        }
        Ok(false)
    }

    /// Logs that a job has moved, and notifies the observer.
    pub(super) fn publish(&self, job: &Job, events: &[JobEvent]) {
        log(job, events);
        self.notify(Notice::Moved { job, events });
    }

    /// The effect; `None` when it was cancelled.
    async fn perform(
        &self,
        config: &EngineConfig,
        source: &Source,
        service: &Arc<dyn ExportService>,
        job: &Job,
        step: JobStep,
        handle: &StepHandle,
    ) -> Option<Effect> {
        let target = &source.target;
        match step {
            JobStep::Submit => {
                let name = Name::new(self.now(), job.id);
                if !name.is_valid() {
                    // Before it costs an export of the quota.
                    let failure = Failure::new(FailureKind::Rejected, impossible_name(name));
                    return Some(Outcome::Failed(failure).into());
                }
                if self.fails_at(Point::Submit) {
                    return None;
                }
                let submission = service.submit(target, self.now());
                let answer = tokio::select! {
                    answer = submission => answer,
                    () = handle.abort.cancelled() => return None,
                };
                if self.fails_at(Point::Submitted) {
                    return None;
                }
                Some(answer.map_or_else(Outcome::Failed, Outcome::Submitted).into())
            }
            JobStep::Poll => tokio::select! {
                effect = self.poll(service, target, job) => {
                    (!self.fails_at(Point::Polled)).then_some(effect)
                }
                () = handle.cancel.cancelled() => None,
            },
            JobStep::Fetch => self.fetch(config, source, service, target, job, handle).await,
        }
    }

    /// Whether a test ends the process here: then nothing that it does has an effect.
    pub(super) fn fails_at(&self, point: Point) -> bool {
        failpoint::hit(point, self.shared.archive.root()).is_err()
    }

    async fn poll(
        &self,
        service: &Arc<dyn ExportService>,
        target: &crate::service::Target,
        job: &Job,
    ) -> Effect {
        let Some(status_url) = job.status_url.as_deref() else {
            let failure = Failure::new(FailureKind::Protocol, "the job has no status URL");
            return Outcome::Failed(failure).into();
        };
        let answer = service.poll(target, job.remote_id.as_deref(), status_url, self.now()).await;
        let polled = match answer {
            Ok(polled) => polled,
            Err(failure) => return Outcome::Failed(failure).into(),
        };
        let mut events = Vec::new();
        if polled.other.is_none()
            && let Progress::Aborted { error_log_url: Some(url), .. } = &polled.progress
        {
            events.push(match service.error_log(url).await {
                Ok(text) => JobEvent::new("error_log", text),
                Err(failure) => {
                    JobEvent::new("note", format!("the error log could not be read: {failure}"))
                }
            });
        }
        Effect { outcome: Outcome::Polled(polled), events }
    }
}

fn service_of<'p>(config: &'p EngineConfig, job: &Job) -> Option<&'p Arc<dyn ExportService>> {
    config.services.get(&config.settings.source(&job.source)?.account)
}

/// The only place that sleeps.
#[allow(clippy::disallowed_methods, reason = "only the engine sleeps")]
pub(super) async fn pause(wait: Duration) {
    tokio::time::sleep(wait).await;
}

pub(super) fn random() -> f64 {
    fastrand::f64()
}

/// One line for each event of a job; problems are logged as warnings or errors.
fn log(job: &Job, events: &[JobEvent]) {
    for JobEvent { kind, message, .. } in events {
        let (id, source, state) = (job.id, job.source.as_str(), job.state.as_str());
        match *kind {
            "failed" => tracing::error!(job = id, source, state, event = kind, "{message}"),
            "retry" | "storage" | "local" | "quota" | "limit" | "suspicious" => {
                tracing::warn!(job = id, source, state, event = kind, "{message}");
            }
            _ => tracing::info!(job = id, source, state, event = kind, "{message}"),
        }
    }
    if events.is_empty() {
        tracing::debug!(job = job.id, source = job.source, polls = job.polls, "still at work");
    }
}
