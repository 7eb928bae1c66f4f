//! One step of one job: the effect, the decision, and its application.

use super::fetch::impossible_name;
use super::in_flight::StepHandle;
use super::restore::{is_retargeted, target_of};
use super::unchanged::is_look;
use super::{Engine, EngineConfig, Notice};
use crate::failpoint::{self, Point};
use crate::job::{
    self, Change, Failure, FailureKind, Job, JobEvent, JobStep, Operation, Outcome, Policy,
    Progress, State, WaitReason,
};
use crate::manifest::Name;
use crate::service::{ExportService, Target};
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

/// All that a step needs.
#[derive(Clone, Copy)]
pub(super) struct Work<'w> {
    pub(super) config: &'w EngineConfig,
    pub(super) source: &'w Source,
    pub(super) service: &'w Arc<dyn ExportService>,
    /// What the job's exports are of.
    pub(super) target: &'w Target,
    pub(super) job: &'w Job,
    pub(super) handle: &'w StepHandle,
}

/// A step's outcome, and further events for the timeline.
#[derive(Debug)]
pub(super) struct Effect {
    pub(super) outcome: Outcome,
    pub(super) events: Vec<JobEvent>,
}

/// All that a decision depends on, apart from the job as it is stored.
struct Decision {
    /// The job when the verdict was first needed. What is done about it has its effects before the
    /// decision is stored, so the verdict must not change.
    seen: Job,
    effect: Effect,
    /// What was archived of an earlier remote job, should the job fail.
    instead: Option<Outcome>,
    policy: Policy,
    /// Removes keys from what the service says.
    service: Option<Arc<dyn ExportService>>,
    now: DateTime<Utc>,
    random: f64,
}

impl Decision {
    /// What follows for the job.
    fn change(&self, job: &Job) -> Change {
        let outcome = &self.effect.outcome;
        let (seen, policy) = (&self.seen, &self.policy);
        let mut change = job::decide_as_seen(job, seen, outcome, policy, self.now, self.random);
        if change.job().state == State::Failed
            && let Some(outcome) = &self.instead
        {
            change = job::archived_instead(change, outcome);
        }
        change.prepend(self.effect.events.iter().cloned());
        if let Some(service) = &self.service {
            change.map_texts(|text| service.redact(text));
        }
        change
    }
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
        let effect = match target_of(&**service, source, &job) {
            _ if is_retargeted(config, source, &job) => Some(Outcome::Retargeted.into()),
            Ok(target) => {
                let work = Work { config, source, service, target: &target, job: &job, handle };
                self.perform(&work, step).await
            }
            Err(failure) => Some(Outcome::Failed(failure).into()),
        };
        let Some(effect) = effect else { return Ok(()) };
        self.conclude(config, &job, effect, handle).await
    }

    /// Decides what follows from the outcome of a job's step, stores it, and publishes what has
    /// changed.
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
        let store = &self.shared.store;
        let stored = store.job(job.id).await.ok().flatten();
        let seen = stored.filter(|stored| stored.is_at_step_of(job));
        let mut decision = Decision {
            seen: seen.unwrap_or_else(|| job.clone()),
            effect,
            instead: None,
            policy: config.policy(),
            service: service_of(config, job).cloned(),
            now: self.now(),
            random: random(),
        };
        let is_backup = job.operation == Operation::Backup;
        if is_backup && decision.change(&decision.seen).job().state == State::Failed {
            decision.instead = self.file_quarantined(config, job).await;
        }
        let decision = Arc::new(decision);
        let mut tries = STORE_AGAIN.iter().chain(STORE_AGAIN.last().into_iter().cycle());
        let change = loop {
            let (decision, owner) = (Arc::clone(&decision), &self.shared.worker.name);
            let now = decision.now;
            let stored =
                store.conclude(job.clone(), owner, move |job| decision.change(job), now).await;
            match (stored, tries.next()) {
                // The service's answer is stored nowhere else: keep trying.
                (Err(error), Some(wait)) if error.is_storage() => {
                    tracing::error!(job = job.id, %error, "the database cannot be written");
                    tokio::select! {
                        () = handle.abort.cancelled() => return Err(error),
                        () = pause(*wait) => {}
                    }
                }
                (stored, _) => break stored?,
            }
        };
        if let Some(change) = change {
            if change.job().state.is_final() {
                self.shared.looks.forget(job.id);
            }
            self.publish(change.job(), change.events());
            if change.job().state.is_final() && !is_backup {
                self.release_holds().await;
            }
            if change.job().state.is_final() {
                tokio::select! {
                    () = self.begin_next_version(config, change.job()) => {}
                    () = handle.cancel.cancelled() => {}
                }
            }
        }
        Ok(())
    }

    /// Logs that a job has moved, and notifies the observer.
    pub(super) fn publish(&self, job: &Job, events: &[JobEvent]) {
        log(job, events);
        self.notify(Notice::Moved { job, events });
    }

    /// The effect; `None` when it was cancelled.
    async fn perform(&self, work: &Work<'_>, step: JobStep) -> Option<Effect> {
        match step {
            JobStep::Submit if is_look(work.job) => self.look_for_change(work).await,
            JobStep::Submit => self.submit(work).await,
            JobStep::Poll => tokio::select! {
                effect = self.poll(work) => (!self.fails_at(Point::Polled)).then_some(effect),
                () = work.handle.cancel.cancelled() => None,
            },
            JobStep::Fetch => self.fetch(work).await,
            JobStep::Check => self.check(work).await,
            JobStep::Look => self.look(work).await,
            JobStep::Compare => self.compare_staged(work).await,
        }
    }

    async fn submit(&self, work: &Work<'_>) -> Option<Effect> {
        let stage = work.job.stage();
        if stage.is_change() {
            return self.submit_change(work, stage).await;
        }
        let name = Name::new(self.now(), work.job.id);
        if !name.is_valid() {
            // Before it costs an export of the quota.
            let failure = Failure::new(FailureKind::Rejected, impossible_name(name));
            return Some(Outcome::Failed(failure).into());
        }
        if self.fails_at(Point::Submit) {
            return None;
        }
        let answer = tokio::select! {
            answer = work.service.submit(work.target, self.now()) => answer,
            () = work.handle.abort.cancelled() => return None,
        };
        if self.fails_at(Point::Submitted) {
            return None;
        }
        Some(answer.map_or_else(Outcome::Failed, Outcome::Submitted).into())
    }

    /// Whether a test ends the process here: then nothing that it does has an effect.
    pub(super) fn fails_at(&self, point: Point) -> bool {
        failpoint::hit(point, self.shared.archive.root()).is_err()
    }

    async fn poll(&self, work: &Work<'_>) -> Effect {
        let Work { service, target, job, .. } = *work;
        let Some(status_url) = job.status_url() else {
            let failure = Failure::new(FailureKind::Protocol, "the job has no status URL");
            return Outcome::Failed(failure).into();
        };
        let (id, now) = (job.remote_id(), self.now());
        let answer = match service.restoring().filter(|_| job.stage().is_change()) {
            Some(restoring) => restoring.poll_change(target, id, status_url, now).await,
            None => service.poll(target, id, status_url, now).await,
        };
        let polled = match answer {
            Ok(polled) => polled,
            Err(failure) => return Outcome::Failed(failure).into(),
        };
        let mut events = Vec::new();
        let log = match &polled.progress {
            Progress::Aborted { error_log_url, .. } => error_log_url.as_ref(),
            Progress::Applied { failed: 1.., error_log_url, .. } => error_log_url.as_ref(),
            _ => None,
        };
        if let Some(url) = log.filter(|_| polled.other.is_none()) {
            events.push(match service.error_log(url).await {
                Ok(text) => JobEvent::ErrorLog(text),
                Err(failure) => {
                    JobEvent::Note(format!("the error log could not be read: {failure}"))
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

/// One line for each event of a job.
fn log(job: &Job, events: &[JobEvent]) {
    for it in events {
        let (id, source, state) = (job.id, job.source.as_str(), job.state.as_str());
        let (event, message) = (it.kind().as_str(), it.message());
        match severity(it) {
            Severity::Error => tracing::error!(job = id, source, state, event, "{message}"),
            Severity::Warning => tracing::warn!(job = id, source, state, event, "{message}"),
            Severity::Information => tracing::info!(job = id, source, state, event, "{message}"),
        }
    }
    if events.is_empty() {
        tracing::debug!(job = job.id, source = job.source, polls = job.polls, "still at work");
    }
}

/// How an event is logged.
enum Severity {
    /// You have to act.
    Error,
    /// Something went wrong, and the job continues by itself.
    Warning,
    Information,
}

fn severity(event: &JobEvent) -> Severity {
    match event {
        JobEvent::Failed(_) => Severity::Error,
        JobEvent::Applied { .. }
        | JobEvent::Checked { .. }
        | JobEvent::SafetyBackup { .. }
        | JobEvent::Looked { .. }
        | JobEvent::Verified { .. }
        | JobEvent::Restored { .. }
        | JobEvent::Superseded => Severity::Information,
        JobEvent::Waits { why: WaitReason::OtherJob, .. } => Severity::Information,
        JobEvent::Waits { .. } | JobEvent::Suspicious { .. } => Severity::Warning,
        JobEvent::Queued { .. }
        | JobEvent::Skipped { .. }
        | JobEvent::Submitted { .. }
        | JobEvent::AcceptedLate { .. }
        | JobEvent::UnknownStatus { .. }
        | JobEvent::AnswerAboutAnother { .. }
        | JobEvent::ResultOfAnother { .. }
        | JobEvent::Completed { .. }
        | JobEvent::ErrorLog(_)
        | JobEvent::Archived { .. }
        | JobEvent::Unchanged { .. }
        | JobEvent::ArchivedBeforeCancel
        | JobEvent::Imported
        | JobEvent::ArchivedInstead(_)
        | JobEvent::Cancelled
        | JobEvent::Note(_) => Severity::Information,
    }
}
