//! Decides what follows from a step's outcome. Each kind of step has a file of its own; what they
//! share is here.

mod change;
mod fetch;
mod look;
mod poll;
mod submit;

pub use submit::unanswered;

use super::cancel::left_behind;
use super::policy::{Policy, deadline, is_past_deadline, later, spell};
use super::{
    Change, ErrorKind, Failure, FailureKind, Job, JobError, JobEvent, JobStep, Mover, Operation,
    Outcome, RemoteEffect, Stage, State, Wait, WaitReason,
};
use crate::policy::backoff::MAX_RETRY_AFTER;
use chrono::{DateTime, Utc};
use std::time::Duration;

/// A key that was accepted for the submission must be refused this often in a row to fail the job.
const REFUSALS_OF_AN_ACCEPTED_KEY: u32 = 3;

/// Decides what follows from `outcome` for `job`. `random` in [0, 1) is the jitter's source.
pub fn decide(
    job: &Job,
    outcome: &Outcome,
    policy: &Policy,
    now: DateTime<Utc>,
    random: f64,
) -> Change {
    let by = match job.step() {
        // The look before a backup stands in for its first submission.
        _ if matches!(outcome, Outcome::Unchanged { .. } | Outcome::NotUnchanged { .. }) => {
            Mover::Look
        }
        Some(JobStep::Submit) => Mover::Submit,
        Some(JobStep::Poll) => Mover::Poll,
        Some(JobStep::Check) => Mover::Check,
        Some(JobStep::Look) => Mover::Look,
        Some(JobStep::Compare) => Mover::Compare,
        Some(JobStep::Fetch) | None => Mover::Fetch,
    };
    let mut next = Next::of(job, by, policy, now, random);
    match outcome {
        Outcome::Submitted(answer) => next.submitted(answer),
        Outcome::Polled(answer) => next.polled(answer),
        Outcome::Archived { manifest, message, suspicious, notes }
            if next.stage() == Stage::Safety =>
        {
            next.event(JobEvent::SafetyBackup { message: message.clone() });
            next.notes(notes);
            next.notes(suspicious);
            next.change.job.snapshot = Some(manifest.clone());
            next.begin_stage(Stage::BeforeLoad);
        }
        Outcome::Archived { manifest, message, suspicious, notes } => {
            next.change.events.extend(archived_events(message, notes, suspicious));
            next.change.job.snapshot = Some(manifest.clone());
            next.end(State::Archived);
        }
        Outcome::Unproven { kind, message } => next.replace(*kind, message),
        Outcome::Checked { message, notes } => {
            next.event(JobEvent::Checked { message: message.clone() });
            next.notes(notes);
            let safety = job.restore.as_ref().is_some_and(|restore| restore.safety);
            next.begin_stage(if safety { Stage::Safety } else { Stage::BeforeLoad });
        }
        Outcome::Looked(looked) => next.looked(looked),
        Outcome::Unchanged { manifest, message } => {
            next.event(JobEvent::Unchanged { message: message.clone() });
            next.change.job.snapshot = Some(manifest.clone());
            next.end(State::Archived);
        }
        Outcome::NotUnchanged { note } => {
            next.change.events.extend(note.clone().map(JobEvent::Note));
            next.due_in(Duration::ZERO);
        }
        Outcome::Verified { message } => {
            next.event(JobEvent::Verified { message: message.clone() });
            next.after_verify();
        }
        Outcome::Refused { kind, message } => next.refused(*kind, message),
        Outcome::Retargeted => next.retargeted(),
        Outcome::Storage(message) => next.local_trouble(WaitReason::Storage, message),
        Outcome::Panicked(message) => next.panicked(message),
        Outcome::Failed(failure) => match by {
            Mover::Submit => next.submit_failed(failure),
            Mover::Poll => next.poll_failed(failure),
            Mover::Look => next.look_failed(failure),
            _ => next.fetch_failed(failure),
        },
    }
    if next.change.job.state == State::Failed && next.change.remote != RemoteEffect::Refused {
        let mut left = job.clone();
        if let (Some(left), Some(now)) = (&mut left.restore, &next.change.job.restore) {
            left.published_elsewhere = now.published_elsewhere;
        }
        next.change.events.extend(left_behind(&left).map(JobEvent::Note));
    }
    next.change
}

/// As [`decide`], but its verdict is the one for the job as it was when `seen` was read: where the
/// clock was corrected since, deadlines still count from the times of `seen`. Corrected times stay
/// as they are.
pub fn decide_as_seen(
    job: &Job,
    seen: &Job,
    outcome: &Outcome,
    policy: &Policy,
    now: DateTime<Utc>,
    random: f64,
) -> Change {
    let mut as_before = job.clone();
    as_before.first_submitted_at = seen.first_submitted_at;
    if let (Some(remote), Some(before)) = (&mut as_before.remote, &seen.remote) {
        remote.missing_since = before.missing_since;
    }
    let mut change = decide(&as_before, outcome, policy, now, random);
    let next = &mut change.job;
    if next.first_submitted_at == as_before.first_submitted_at {
        next.first_submitted_at = job.first_submitted_at;
    }
    if let (Some(next), Some(as_before), Some(stored)) =
        (&mut next.remote, &as_before.remote, &job.remote)
        && next.missing_since == as_before.missing_since
    {
        next.missing_since = stored.missing_since;
    }
    change
}

/// What follows when a job fails and a document of one of its earlier remote jobs is archived
/// instead: whole, but with keys or a schema that are not proven. Another outcome changes nothing.
pub fn archived_instead(failed: Change, outcome: &Outcome) -> Change {
    let Outcome::Archived { manifest, message, suspicious, notes } = outcome else { return failed };
    let mut change = failed;
    for event in &mut change.events {
        if let JobEvent::Failed(error) = event {
            *event = JobEvent::ArchivedInstead(error.clone());
        }
    }
    change.events.extend(archived_events(message, notes, suspicious));
    change.job.state = State::Archived;
    change.job.error = None;
    change.job.snapshot = Some(manifest.clone());
    change
}

fn archived_events(message: &str, notes: &[String], suspicious: &[String]) -> Vec<JobEvent> {
    let notes = notes.iter().cloned().map(JobEvent::Note);
    let reasons = suspicious.iter().cloned().map(|reason| JobEvent::Suspicious { reason });
    let archived = JobEvent::Archived { message: message.to_owned() };
    std::iter::once(archived).chain(notes).chain(reasons).collect()
}

/// A decision in the making.
struct Next<'a> {
    change: Change,
    /// Why the job was waiting until now.
    previous_wait: Option<WaitReason>,
    policy: &'a Policy,
    now: DateTime<Utc>,
    random: f64,
}

impl<'a> Next<'a> {
    /// A decision in which only this is certain: the step is over, and so is the last wait.
    fn of(job: &Job, by: Mover, policy: &'a Policy, now: DateTime<Utc>, random: f64) -> Next<'a> {
        let mut change = Change::of(job, by);
        change.job.waiting = None;
        if let Some(remote) = &mut change.job.remote {
            remote.submitting = false;
        }
        let previous_wait = job.waiting.as_ref().map(|wait| wait.why);
        Next { change, previous_wait, policy, now, random }
    }

    fn event(&mut self, event: JobEvent) {
        self.change.events.push(event);
    }

    fn notes(&mut self, notes: &[String]) {
        self.change.events.extend(notes.iter().cloned().map(JobEvent::Note));
    }

    fn due_in(&mut self, wait: Duration) {
        let job = &mut self.change.job;
        job.due_at = later(self.now, wait);
        job.wait = job.due_at - self.now;
    }

    /// Another request than before comes next: what was counted for that one starts again.
    fn go_on_as(&mut self, state: State) {
        let job = &mut self.change.job;
        job.state = state;
        job.rounds = 0;
        job.failures = 0;
    }

    fn end(&mut self, state: State) {
        let job = &mut self.change.job;
        job.state = state;
        job.finished_at = Some(self.now);
        // Long lists, which nothing asks for any more.
        self.restore(|it| it.seen = None);
        self.due_in(Duration::ZERO);
    }

    fn fail(&mut self, kind: ErrorKind, message: &str) {
        let error = JobError { kind, message: message.to_owned() };
        self.event(JobEvent::Failed(error.clone()));
        self.change.job.error = Some(error);
        self.end(State::Failed);
    }

    /// Retries the step, `wait` from now.
    fn wait_for(&mut self, why: WaitReason, message: &str, wait: Duration) {
        self.due_in(wait);
        let until = self.change.job.due_at;
        self.event(JobEvent::Waits { why, reason: message.to_owned(), until });
        self.change.job.waiting = Some(Wait { why, message: message.to_owned() });
    }

    /// Retries the step after a problem of this machine, which ends no job, however long it lasts.
    fn local_trouble(&mut self, why: WaitReason, message: &str) {
        let wait = self.policy.retry.wait(self.change.job.rounds, self.random);
        self.change.job.rounds += 1;
        self.wait_for(why, message, wait);
    }

    /// Retries a submission that the service refused because of the account's limits.
    fn wait_for_limit(&mut self, failure: &Failure) {
        let backoff = self.policy.poll.wait(self.change.job.rounds, self.random);
        self.change.job.rounds += 1;
        self.change.job.failures = 0;
        let wait = no_sooner(backoff, failure.retry_after);
        self.wait_for(WaitReason::Limit, &failure.message, wait);
    }

    /// Retries the step after a transient failure.
    fn retry(&mut self, failure: &Failure) {
        let backoff = self.policy.retry.wait(self.change.job.failures, self.random);
        self.change.job.failures += 1;
        let wait = no_sooner(backoff, failure.retry_after);
        self.wait_for(WaitReason::Retry, &failure.message, wait);
    }

    /// Retries the step, unless it has failed `most` times in a row now.
    fn retry_up_to(&mut self, most: u32, kind: ErrorKind, failure: &Failure) {
        let failures = self.change.job.failures + 1;
        if failures >= most {
            self.fail(kind, &giving_up(failures, &failure.message));
        } else {
            self.retry(failure);
        }
    }

    /// Replaces the present remote job with a new one, while `job_attempts` allows.
    fn replace(&mut self, kind: ErrorKind, message: &str) {
        self.change.remote = RemoteEffect::Ended;
        self.resubmit(kind, message, None);
    }

    fn resubmit(&mut self, kind: ErrorKind, message: &str, retry_after: Option<Duration>) {
        let attempts = self.change.job.attempts_of_stage();
        if attempts >= self.policy.job_attempts {
            let message = match attempts {
                0 | 1 => message.to_owned(),
                n => format!("{message} (the last of {n} remote jobs)"),
            };
            return self.fail(kind, &message);
        }
        if is_past_deadline(&self.change.job, self.policy, self.now) {
            return self.fail(kind, &format!("{message} (and no time is left for another try)"));
        }
        self.go_on_as(State::Queued);
        self.change.job.remote = None;
        let backoff = self.policy.retry.wait(attempts.saturating_sub(1), self.random);
        let message = format!("{kind}: {message}; a new remote job replaces it");
        self.wait_for(WaitReason::Retry, &message, no_sooner(backoff, retry_after));
    }

    /// The step cannot be taken. A submission was not sent.
    fn refused(&mut self, kind: ErrorKind, message: &str) {
        if self.change.by == Mover::Submit {
            self.change.remote = RemoteEffect::Refused;
            self.take_back_attempt();
        }
        self.fail(kind, message);
    }

    /// The configuration names something else than what the job was begun for. Its remote job is
    /// left to end by itself, and a backup begins again; a restore never goes on elsewhere.
    fn retargeted(&mut self) {
        if self.change.job.operation == Operation::Restore {
            let message = "the configuration names another destination than when the restore was \
                           asked for: ask for it again";
            return self.refused(ErrorKind::Rejected, message);
        }
        let job = &mut self.change.job;
        job.remote = None;
        // What was asked for now has its own time.
        job.first_submitted_at = None;
        let message = "the source's target has changed in the configuration: the remote job of the \
                       former one is abandoned";
        self.resubmit(ErrorKind::Aborted, message, None);
    }

    /// The step panicked. It may always panic, so it is retried only as often as any request.
    fn panicked(&mut self, message: &str) {
        let failure = Failure {
            maybe_started: self.change.by == Mover::Submit,
            // An answer may have come before it.
            answered: true,
            ..Failure::new(
                FailureKind::Protocol,
                format!("{message}; this is a bug in nightjar; please report it"),
            )
        };
        match failure.maybe_started {
            true => self.submit_failed(&failure),
            false => self.retry_up_to(self.policy.attempts, ErrorKind::Protocol, &failure),
        }
    }

    fn accepted_key_refused(&mut self, failure: &Failure) {
        let most = self.policy.attempts.min(REFUSALS_OF_AN_ACCEPTED_KEY);
        self.retry_up_to(most, ErrorKind::Credentials, failure);
    }

    /// A 404 just after creation may pass; one that lasts means that the remote job is lost.
    fn missing(&mut self, failure: &Failure, what: &str) {
        let now = self.now;
        let remote = self.change.job.remote.as_mut();
        let since = remote.map_or(now, |remote| *remote.missing_since.get_or_insert(now));
        let lost_at = later(since, self.policy.lost_after);
        if now >= lost_at {
            let message = format!(
                "the remote job's {what} was not found for {}, it counts as lost: {}",
                spell(self.policy.lost_after),
                failure.message
            );
            if self.stage().is_change() {
                return self.change_lost(&message);
            }
            return self.replace(ErrorKind::NotFound, &message);
        }
        self.retry(failure);
        let job = &mut self.change.job;
        job.due_at = job.due_at.min(lost_at);
    }

    /// A waiting job is polled once more at its deadline, and not later.
    fn not_past_deadline(&mut self) {
        if let Some(deadline) = deadline(&self.change.job, self.policy) {
            let job = &mut self.change.job;
            job.due_at = job.due_at.min(deadline.max(self.now));
        }
    }
}

/// How long to wait: the policy's own wait, or longer, up to an hour, where the service asks for
/// it.
fn no_sooner(own: Duration, retry_after: Option<Duration>) -> Duration {
    retry_after.map_or(own, |asked| own.max(asked.min(MAX_RETRY_AFTER)))
}

fn giving_up(failures: u32, message: &str) -> String {
    match failures {
        0 | 1 => message.to_owned(),
        n => format!("{message} ({n} times in a row)"),
    }
}
