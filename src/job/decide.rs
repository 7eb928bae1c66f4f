//! Decides what follows from a step's outcome: the only place that does.

use super::{
    ErrorKind, Failure, FailureKind, Job, JobError, OtherJob, Outcome, Polled, Progress, State,
    Submitted, Wait, WaitReason,
};
use crate::policy::backoff::{Backoff, MAX_RETRY_AFTER};
use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// A remote job that is completed without a link to its result is asked again this often.
const POLLS_FOR_A_LINK: u32 = 3;
/// A key that was accepted for the submission must be refused this often in a row to fail the job.
const REFUSALS_OF_AN_ACCEPTED_KEY: u32 = 3;

/// How far the service's clock may be behind ours when it says when it created a remote job.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);
/// Why an answer about another remote job keeps a job waiting.
const ANOTHER_JOB: &str = "the service answers about another remote job";

/// The parameters of decisions.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Waits between polls, and between refusals for quota.
    pub poll: Backoff,
    /// From the first submission to completion.
    pub deadline: Duration,
    /// Waits after transient failures.
    pub retry: Backoff,
    /// Failures in a row of one request before the step fails.
    pub attempts: u32,
    /// Remote jobs that may come to exist for one job.
    pub job_attempts: u32,
    /// How long a 404 for a status or result URL may last.
    pub lost_after: Duration,
}

/// One line of a job's timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEvent {
    /// A word for programs.
    pub kind: &'static str,
    /// A message for people.
    pub message: String,
    /// For a wait that may repeat: the sentence apart from what differs each time. Waits in a row
    /// of one kind for one reason are one line of the timeline, with a count.
    pub reason: Option<String>,
}

impl JobEvent {
    /// An event of this kind, a line of its own.
    pub fn new(kind: &'static str, message: impl Into<String>) -> JobEvent {
        JobEvent { kind, message: message.into(), reason: None }
    }

    /// A wait for this reason, which may repeat. `rest` is what differs each time.
    pub fn wait(kind: &'static str, reason: impl Into<String>, rest: &str) -> JobEvent {
        let reason = reason.into();
        JobEvent { kind, message: format!("{reason}{rest}"), reason: Some(reason) }
    }
}

/// What becomes of the record of the present remote job, from which quotas are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteEffect {
    /// As it was.
    Keep,
    /// It exists: the service accepted the submission.
    Accepted,
    /// It may exist: the submission's answer was lost. Counted as if it did.
    Unanswered,
    /// It never came to exist: the submission was refused or not sent. Not counted.
    Refused,
    /// It has ended and no longer uses the quota.
    Ended,
}

/// What follows: the job's next row, the lines to add to its timeline, and what becomes of its
/// remote job's record. The store applies it as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The job as it is from now on.
    pub job: Job,
    /// What to add to its timeline.
    pub events: Vec<JobEvent>,
    /// What becomes of the remote job's record.
    pub remote: RemoteEffect,
}

impl Decision {
    /// Replaces every text for people by what `map` makes of it.
    pub fn map_texts(&mut self, map: impl Fn(&str) -> String) {
        let job = &mut self.job;
        let error = job.error.iter_mut().map(|error| &mut error.message);
        let wait = job.waiting.iter_mut().map(|wait| &mut wait.message);
        let events = self
            .events
            .iter_mut()
            .flat_map(|event| std::iter::once(&mut event.message).chain(event.reason.as_mut()));
        error.chain(wait).chain(events).for_each(|text| *text = map(text));
    }
}

/// Decides what follows from `outcome` for `job`. `random` in [0, 1) is the jitter's source.
pub fn decide(
    job: &Job,
    outcome: &Outcome,
    policy: &Policy,
    now: DateTime<Utc>,
    random: f64,
) -> Decision {
    let mut next = Next {
        decision: Decision { job: job.clone(), events: Vec::new(), remote: RemoteEffect::Keep },
        previous_wait: job.waiting.as_ref().map(|wait| wait.why),
        policy,
        now,
        random,
    };
    next.decision.job.submitting = false;
    next.decision.job.waiting = None;
    match outcome {
        Outcome::Submitted(answer) => next.submitted(answer),
        Outcome::Polled(answer) => next.polled(answer),
        Outcome::Archived { manifest, message, suspicious, notes } => {
            next.decision.events.extend(archived_events(message, notes, suspicious));
            next.decision.job.snapshot = Some(manifest.clone());
            next.end(State::Archived);
        }
        Outcome::Unproven { kind, message } => next.replace(*kind, message),
        Outcome::Storage(message) => next.local_trouble(WaitReason::Storage, message),
        Outcome::Panicked(message) => next.panicked(message),
        Outcome::Failed(failure) => match job.state {
            State::Queued => next.submit_failed(failure),
            State::Waiting => next.poll_failed(failure),
            _ => next.fetch_failed(failure),
        },
    }
    next.decision
}

/// Decides what follows for a job whose worker died or failed after it stored the intent to submit
/// and before it stored the answer: a remote job may exist, so it is charged, and another one is
/// tried while `job_attempts` allows.
pub fn unanswered(job: &Job, policy: &Policy, now: DateTime<Utc>) -> Decision {
    let lost = Failure {
        kind: FailureKind::Lost,
        message: "whether the service accepted the submission is not known: its answer was never \
                  stored"
            .into(),
        retry_after: None,
        maybe_started: true,
    };
    decide(job, &Outcome::Failed(lost), policy, now, 0.5)
}

/// What follows when a job fails and a document of one of its earlier remote jobs is archived instead:
/// whole, but with keys or a schema that are not proven. Another outcome changes nothing.
pub fn archived_instead(failed: Decision, outcome: &Outcome) -> Decision {
    let Outcome::Archived { manifest, message, suspicious, notes } = outcome else { return failed };
    let mut decision = failed;
    for event in decision.events.iter_mut().filter(|event| event.kind == "failed") {
        event.kind = "note";
        event.message.push_str("; the document of an earlier remote job is archived instead");
    }
    decision.events.extend(archived_events(message, notes, suspicious));
    decision.job.state = State::Archived;
    decision.job.error = None;
    decision.job.snapshot = Some(manifest.clone());
    decision
}

fn archived_events(message: &str, notes: &[String], suspicious: &[String]) -> Vec<JobEvent> {
    let notes = notes.iter().map(|note| JobEvent::new("note", note.clone()));
    let reasons = suspicious
        .iter()
        .map(|reason| JobEvent::new("suspicious", format!("suspicious: {reason}")));
    std::iter::once(JobEvent::new("archived", message)).chain(notes).chain(reasons).collect()
}

/// Whether no new remote job may replace the job's present one: its result is the last there will
/// be.
pub fn is_last_attempt(job: &Job, policy: &Policy, now: DateTime<Utc>) -> bool {
    job.attempts >= policy.job_attempts || is_past_deadline(job, policy, now)
}

/// Whether the job's remote job should have been completed by now.
pub fn is_past_deadline(job: &Job, policy: &Policy, now: DateTime<Utc>) -> bool {
    job.first_submitted_at.is_some_and(|first| now >= later(first, policy.deadline))
}

/// A decision in the making.
struct Next<'a> {
    decision: Decision,
    /// Why the job was waiting until now.
    previous_wait: Option<WaitReason>,
    policy: &'a Policy,
    now: DateTime<Utc>,
    random: f64,
}

impl Next<'_> {
    fn event(&mut self, kind: &'static str, message: impl Into<String>) {
        self.decision.events.push(JobEvent::new(kind, message));
    }

    fn due_in(&mut self, wait: Duration) {
        let job = &mut self.decision.job;
        job.due_at = later(self.now, wait);
        job.wait = job.due_at - self.now;
    }

    fn end(&mut self, state: State) {
        let job = &mut self.decision.job;
        job.state = state;
        job.finished_at = Some(self.now);
        self.due_in(Duration::ZERO);
    }

    fn fail(&mut self, kind: ErrorKind, message: &str) {
        self.event("failed", format!("{kind}: {message}"));
        self.decision.job.error = Some(JobError { kind, message: message.to_owned() });
        self.end(State::Failed);
    }

    /// Retries the step, `wait` from now.
    fn wait_for(&mut self, why: WaitReason, message: &str, wait: Duration) {
        self.due_in(wait);
        let until = self.decision.job.due_at.format("%Y-%m-%dT%H:%M:%SZ");
        let event = JobEvent::wait(why.as_str(), message, &format!("; next try at {until}"));
        self.decision.events.push(event);
        self.decision.job.waiting = Some(Wait { why, message: message.to_owned() });
    }

    /// Retries the step after a problem of this machine, which ends no job, however long it lasts.
    fn local_trouble(&mut self, why: WaitReason, message: &str) {
        let wait = self.policy.retry.wait(self.decision.job.rounds, self.random);
        self.decision.job.rounds += 1;
        self.wait_for(why, message, wait);
    }

    /// Retries the step after a transient failure.
    fn retry(&mut self, failure: &Failure) {
        let backoff = self.policy.retry.wait(self.decision.job.failures, self.random);
        self.decision.job.failures += 1;
        let wait = no_sooner(backoff, failure.retry_after);
        self.wait_for(WaitReason::Retry, &failure.message, wait);
    }

    /// Retries the step, unless it has failed `most` times in a row now.
    fn retry_up_to(&mut self, most: u32, kind: ErrorKind, failure: &Failure) {
        let failures = self.decision.job.failures + 1;
        if failures >= most {
            self.fail(kind, &giving_up(failures, &failure.message));
        } else {
            self.retry(failure);
        }
    }

    /// Replaces the present remote job with a new one, while `job_attempts` allows.
    fn replace(&mut self, kind: ErrorKind, message: &str) {
        self.decision.remote = RemoteEffect::Ended;
        self.resubmit(kind, message, None);
    }

    fn resubmit(&mut self, kind: ErrorKind, message: &str, retry_after: Option<Duration>) {
        let attempts = self.decision.job.attempts;
        if attempts >= self.policy.job_attempts {
            let message = match attempts {
                0 | 1 => message.to_owned(),
                n => format!("{message} (the last of {n} remote jobs)"),
            };
            return self.fail(kind, &message);
        }
        if is_past_deadline(&self.decision.job, self.policy, self.now) {
            return self.fail(kind, &format!("{message} (and no time is left for another try)"));
        }
        let job = &mut self.decision.job;
        job.state = State::Queued;
        job.rounds = 0;
        job.failures = 0;
        job.remote = None;
        job.remote_id = None;
        job.status_url = None;
        job.result_url = None;
        job.submitted_at = None;
        job.expected = None;
        job.missing_since = None;
        let backoff = self.policy.retry.wait(attempts.saturating_sub(1), self.random);
        let message = format!("{kind}: {message}; a fresh remote job takes its place");
        self.wait_for(WaitReason::Retry, &message, no_sooner(backoff, retry_after));
    }

    fn deadline(&self) -> Option<DateTime<Utc>> {
        self.decision.job.first_submitted_at.map(|first| later(first, self.policy.deadline))
    }

    fn submitted(&mut self, answer: &Submitted) {
        let now = self.now;
        let job = &mut self.decision.job;
        job.state = State::Waiting;
        job.remote_id = answer.remote_id.clone();
        job.status_url = Some(answer.status_url.clone());
        job.submitted_at.get_or_insert(now);
        job.first_submitted_at = job.first_submitted_at.or(job.submitted_at);
        job.rounds = 0;
        job.failures = 0;
        let id = answer.remote_id.as_deref().unwrap_or("without an id");
        let line = format!("accepted as remote job {id} (attempt {})", job.attempts);
        self.decision.remote = RemoteEffect::Accepted;
        self.event("submitted", line);
        self.notes(&answer.notes);
        self.due_in(self.policy.poll.wait(0, self.random));
        self.not_past_deadline();
    }

    /// The step panicked. It may always panic, so it is retried only as often as any request.
    fn panicked(&mut self, message: &str) {
        let failure = Failure {
            maybe_started: self.decision.job.state == State::Queued,
            ..Failure::new(FailureKind::Protocol, format!("{message} (an error of this program)"))
        };
        match failure.maybe_started {
            true => self.submit_failed(&failure),
            false => self.retry_up_to(self.policy.attempts, ErrorKind::Protocol, &failure),
        }
    }

    fn notes(&mut self, notes: &[String]) {
        for note in notes {
            self.event("note", note.clone());
        }
    }

    fn submit_failed(&mut self, failure: &Failure) {
        let message = failure.message.as_str();
        if failure.maybe_started {
            self.decision.remote = RemoteEffect::Unanswered;
            let job = &mut self.decision.job;
            job.first_submitted_at = job.first_submitted_at.or(job.submitted_at);
            let kind = match failure.kind {
                FailureKind::Protocol | FailureKind::Undecodable => ErrorKind::Protocol,
                _ => ErrorKind::Unavailable,
            };
            return self.resubmit(kind, message, failure.retry_after);
        }
        self.decision.remote = RemoteEffect::Refused;
        let job = &mut self.decision.job;
        job.attempts = job.attempts.saturating_sub(1);
        job.submitted_at = None;
        job.remote = None;
        match failure.kind {
            FailureKind::Quota => {
                let backoff = self.policy.poll.wait(self.decision.job.rounds, self.random);
                self.decision.job.rounds += 1;
                self.decision.job.failures = 0;
                let wait = no_sooner(backoff, failure.retry_after);
                self.wait_for(WaitReason::Limit, message, wait);
            }
            FailureKind::Local => self.local_trouble(WaitReason::Local, message),
            FailureKind::Credentials => self.fail(ErrorKind::Credentials, message),
            FailureKind::NotFound => self.fail(ErrorKind::NotFound, message),
            FailureKind::Rejected => self.fail(ErrorKind::Rejected, message),
            FailureKind::Protocol | FailureKind::Undecodable => {
                self.retry_up_to(self.policy.attempts, ErrorKind::Protocol, failure);
            }
            FailureKind::NotSent | FailureKind::Lost | FailureKind::Unavailable => {
                self.retry_up_to(self.policy.attempts, ErrorKind::Unavailable, failure);
            }
        }
    }

    fn polled(&mut self, answer: &Polled) {
        let job = &mut self.decision.job;
        job.polls += 1;
        job.missing_since = None;
        if job.polls == 1 {
            self.notes(&answer.notes);
        }
        if let Some(other) = &answer.other {
            match &answer.progress {
                Progress::Completed { result_url, .. } if self.is_as_new(other) => {
                    if result_url.is_some() {
                        self.event("note", accepted_although(other, &self.decision.job));
                    }
                }
                progress => return self.other_job(other, progress),
            }
        }
        match &answer.progress {
            Progress::Pending { word, known, retry_after } => {
                self.pending(*retry_after);
                if self.decision.job.rounds == 1 && !known {
                    self.event("note", format!("unknown status \"{word}\" taken as pending"));
                }
                self.past_deadline(None);
            }
            Progress::Completed { result_url: Some(url), expected } => {
                let job = &mut self.decision.job;
                job.state = State::Ready;
                job.result_url = Some(url.clone());
                job.expected = *expected;
                job.rounds = 0;
                job.failures = 0;
                self.due_in(Duration::ZERO);
                self.decision.remote = RemoteEffect::Ended;
                let announced = match expected {
                    Some(1) => "1 entity announced".to_owned(),
                    Some(n) => format!("{n} entities announced"),
                    None => "no number of entities announced".to_owned(),
                };
                self.event("completed", format!("the remote job is completed, {announced}"));
            }
            Progress::Completed { result_url: None, .. } => {
                let message = "the service says Completed, but gives no link to the result";
                if self.decision.job.failures >= POLLS_FOR_A_LINK {
                    return self.replace(ErrorKind::Protocol, message);
                }
                let wait = self.policy.poll.wait(self.decision.job.failures, self.random);
                self.decision.job.failures += 1;
                self.wait_for(WaitReason::Retry, message, wait);
                self.past_deadline(Some(message));
            }
            Progress::Aborted { message, .. } => {
                self.replace(ErrorKind::Aborted, &format!("the service aborted it: {message}"));
            }
        }
    }

    fn pending(&mut self, retry_after: Option<Duration>) {
        self.decision.job.failures = 0;
        self.decision.job.rounds += 1;
        let wait = self.policy.poll.wait(self.decision.job.rounds, self.random);
        self.due_in(no_sooner(wait, retry_after));
    }

    /// Whether another remote job was created no earlier than ours was submitted: then its result
    /// is as new as ours. One without a date proves nothing.
    fn is_as_new(&self, other: &OtherJob) -> bool {
        let job = &self.decision.job;
        let submitted_at = job.submitted_at.unwrap_or(job.created_at);
        other.created_at.is_some_and(|at| at >= submitted_at - CLOCK_TOLERANCE)
    }

    /// An answer about another job says nothing about ours, which counts as pending.
    fn other_job(&mut self, other: &OtherJob, progress: &Progress) {
        self.pending(match progress {
            Progress::Pending { retry_after, .. } => *retry_after,
            _ => None,
        });
        let rest = format!(
            " ({}, not {}); ours counts as pending",
            described(other),
            self.decision.job.remote_id.as_deref().unwrap_or("ours")
        );
        let event = JobEvent::wait("note", ANOTHER_JOB, &rest);
        let message = event.message.clone();
        if self.previous_wait != Some(WaitReason::OtherJob) {
            self.decision.events.push(event);
        }
        self.decision.job.waiting =
            Some(Wait { why: WaitReason::OtherJob, message: message.clone() });
        self.past_deadline(Some(&message));
    }

    fn poll_failed(&mut self, failure: &Failure) {
        match failure.kind {
            // The request could not even be sent.
            FailureKind::Local => return self.local_trouble(WaitReason::Local, &failure.message),
            FailureKind::NotFound => self.missing(failure, "status"),
            FailureKind::Credentials => self.accepted_key_refused(failure),
            FailureKind::Rejected => {
                self.retry_up_to(self.policy.attempts, ErrorKind::Rejected, failure);
            }
            FailureKind::Protocol | FailureKind::Undecodable => {
                self.retry_up_to(self.policy.attempts, ErrorKind::Protocol, failure);
            }
            // Failing to ask is not the remote job failing: only the deadline ends this.
            FailureKind::NotSent
            | FailureKind::Lost
            | FailureKind::Unavailable
            | FailureKind::Quota => self.retry(failure),
        }
        // After a long downtime the deadline has passed before the first question: the remote job may
        // be completed, and the network not be up yet.
        let is_known_late = is_past_deadline(&self.decision.job, self.policy, self.now);
        if !is_known_late || self.decision.job.failures >= self.policy.attempts {
            self.past_deadline(Some(&failure.message));
        }
    }

    fn fetch_failed(&mut self, failure: &Failure) {
        let most = self.policy.attempts;
        match failure.kind {
            FailureKind::Local => self.local_trouble(WaitReason::Local, &failure.message),
            FailureKind::NotFound => self.missing(failure, "result"),
            FailureKind::Credentials => self.accepted_key_refused(failure),
            FailureKind::Rejected => self.retry_up_to(most, ErrorKind::Rejected, failure),
            FailureKind::Protocol => self.retry_up_to(most, ErrorKind::Protocol, failure),
            // It arrived, and is not what was sent: another remote job may bring it whole.
            FailureKind::Undecodable => self.replace(ErrorKind::Corrupt, &failure.message),
            FailureKind::NotSent
            | FailureKind::Lost
            | FailureKind::Unavailable
            | FailureKind::Quota => self.retry_up_to(most, ErrorKind::Unavailable, failure),
        }
    }

    fn accepted_key_refused(&mut self, failure: &Failure) {
        let most = self.policy.attempts.min(REFUSALS_OF_AN_ACCEPTED_KEY);
        self.retry_up_to(most, ErrorKind::Credentials, failure);
    }

    /// A 404 just after creation may pass; one that lasts means that the remote job is lost.
    fn missing(&mut self, failure: &Failure, what: &str) {
        let since = *self.decision.job.missing_since.get_or_insert(self.now);
        let lost_at = later(since, self.policy.lost_after);
        if self.now >= lost_at {
            let message = format!(
                "the remote job's {what} was not found for {}, it counts as lost: {}",
                spell(self.policy.lost_after),
                failure.message
            );
            return self.replace(ErrorKind::NotFound, &message);
        }
        self.retry(failure);
        let job = &mut self.decision.job;
        job.due_at = job.due_at.min(lost_at);
    }

    /// A waiting job is polled once more at its deadline, and not later.
    fn not_past_deadline(&mut self) {
        if let Some(deadline) = self.deadline() {
            let job = &mut self.decision.job;
            job.due_at = job.due_at.min(deadline.max(self.now));
        }
    }

    fn past_deadline(&mut self, last: Option<&str>) {
        if self.decision.job.state != State::Waiting {
            return;
        }
        match self.deadline() {
            Some(deadline) if self.now >= deadline => {
                let mut message = format!(
                    "the remote job was not completed within {}",
                    spell(self.policy.deadline)
                );
                if let Some(last) = last {
                    message.push_str(&format!("; the last answer: {last}"));
                }
                self.decision.job.waiting = None;
                self.fail(ErrorKind::Deadline, &message);
            }
            _ => self.not_past_deadline(),
        }
    }
}

fn described(other: &OtherJob) -> String {
    match other.created_at {
        Some(at) => format!("{}, created {}", other.id, at.format("%Y-%m-%dT%H:%M:%SZ")),
        None => format!("{}, without a date of creation that can be read", other.id),
    }
}

fn accepted_although(other: &OtherJob, job: &Job) -> String {
    format!(
        "{ANOTHER_JOB} ({}, not {}); it is no older than our submission, so its result is taken",
        described(other),
        job.remote_id.as_deref().unwrap_or("ours")
    )
}

/// How long to wait: the policy's own wait, or longer, up to an hour, where the service asks for it.
fn no_sooner(own: Duration, retry_after: Option<Duration>) -> Duration {
    retry_after.map_or(own, |asked| own.max(asked.min(MAX_RETRY_AFTER)))
}

fn giving_up(failures: u32, message: &str) -> String {
    match failures {
        0 | 1 => message.to_owned(),
        n => format!("{message} ({n} times in a row)"),
    }
}

/// `now` plus `wait`, in whole milliseconds as the store keeps them, and never overflowing.
fn later(now: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    TimeDelta::try_milliseconds(wait)
        .and_then(|wait| now.checked_add_signed(wait))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// A duration in the words of the configuration.
fn spell(duration: Duration) -> String {
    match (duration.as_secs(), duration.subsec_millis()) {
        (0, ms) => format!("{ms} ms"),
        (s, _) if s % 3600 == 0 => format!("{} h", s / 3600),
        (s, _) if s % 60 == 0 => format!("{} min", s / 60),
        (s, _) => format!("{s} s"),
    }
}
