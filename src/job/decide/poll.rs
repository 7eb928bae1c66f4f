//! What follows from a poll.

use super::{Next, no_sooner};
use crate::job::policy::{deadline, is_past_deadline, spell};
use crate::job::{
    ErrorKind, Failure, FailureKind, JobEvent, OtherJob, Polled, Progress, RemoteEffect, State,
    Wait, WaitReason,
};
use chrono::TimeDelta;
use std::time::Duration;

/// A remote job that is completed without a link to its result is asked again this often.
const POLLS_FOR_A_LINK: u32 = 3;
/// How far the service's clock may be behind ours when it says when it created a remote job.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);

impl Next<'_> {
    pub(super) fn polled(&mut self, answer: &Polled) {
        let job = &mut self.change.job;
        job.polls += 1;
        if let Some(remote) = &mut job.remote {
            remote.missing_since = None;
        }
        // Once: every pending answer may say the same.
        if job.polls == 1 || matches!(answer.progress, Progress::Applied { .. }) {
            self.notes(&answer.notes);
        }
        if let Some(other) = &answer.other {
            match &answer.progress {
                Progress::Completed { result_url, .. }
                    if self.change.job.is_ordinary_backup() && self.is_as_new(other) =>
                {
                    if result_url.is_some() {
                        let ours = self.remote_id();
                        self.event(JobEvent::ResultOfAnother { other: other.clone(), ours });
                    }
                }
                progress => return self.about_another(other, progress),
            }
        }
        match &answer.progress {
            Progress::Pending { word, known, retry_after } => {
                self.pending(*retry_after);
                if self.change.job.rounds == 1 && !known {
                    self.event(JobEvent::UnknownStatus { word: word.clone() });
                }
                self.past_deadline(None);
            }
            Progress::Applied { processed, failed, .. } if self.stage().is_change() => {
                self.applied(*processed, *failed);
            }
            Progress::Completed { .. } if self.stage().is_change() => {
                self.change.remote = RemoteEffect::Ended;
                let message = "the service answered about another kind of job";
                self.fail(ErrorKind::Protocol, message);
            }
            Progress::Aborted { message, .. } if self.stage().is_change() => {
                self.change.remote = RemoteEffect::Ended;
                self.fail(ErrorKind::Aborted, &format!("the service aborted it: {message}"));
            }
            Progress::Completed { result_url: Some(url), expected } => {
                self.go_on_as(State::Ready);
                if let Some(remote) = &mut self.change.job.remote {
                    remote.result_url = Some(url.clone());
                    remote.expected = *expected;
                }
                self.due_in(Duration::ZERO);
                self.change.remote = RemoteEffect::Ended;
                self.event(JobEvent::Completed { expected: *expected });
            }
            Progress::Completed { result_url: None, .. } => self.completed_without_link(),
            Progress::Applied { .. } => {
                self.replace(ErrorKind::Protocol, "the service answered about another kind of job");
            }
            Progress::Aborted { message, .. } => {
                self.replace(ErrorKind::Aborted, &format!("the service aborted it: {message}"));
            }
        }
    }

    fn completed_without_link(&mut self) {
        let message = "the service says Completed, but gives no link to the result";
        if self.change.job.failures >= POLLS_FOR_A_LINK {
            return self.replace(ErrorKind::Protocol, message);
        }
        let wait = self.policy.poll.wait(self.change.job.failures, self.random);
        self.change.job.failures += 1;
        self.wait_for(WaitReason::Retry, message, wait);
        self.past_deadline(Some(message));
    }

    fn pending(&mut self, retry_after: Option<Duration>) {
        self.change.job.failures = 0;
        self.change.job.rounds += 1;
        let wait = self.policy.poll.wait(self.change.job.rounds, self.random);
        self.due_in(no_sooner(wait, retry_after));
    }

    /// Whether another remote job was created no earlier than ours was submitted: then its result
    /// is as new as ours. One without a date may be older. It may be an export of any version, so
    /// only a backup of what is published takes it: a restore compares, and backs up, one version.
    fn is_as_new(&self, other: &OtherJob) -> bool {
        let submitted_at = self.change.job.submitted_at();
        other.created_at.is_some_and(|at| at >= submitted_at - CLOCK_TOLERANCE)
    }

    fn remote_id(&self) -> Option<String> {
        self.change.job.remote_id().map(str::to_owned)
    }

    /// An answer about another job says nothing about ours, which counts as pending.
    fn about_another(&mut self, other: &OtherJob, progress: &Progress) {
        self.pending(match progress {
            Progress::Pending { retry_after, .. } => *retry_after,
            _ => None,
        });
        let event = JobEvent::AnswerAboutAnother { other: other.clone(), ours: self.remote_id() };
        let message = event.message();
        if self.previous_wait != Some(WaitReason::OtherJob) {
            self.event(event);
        }
        let wait = Wait { why: WaitReason::OtherJob, message: message.clone() };
        self.change.job.waiting = Some(wait);
        self.past_deadline(Some(&message));
    }

    pub(super) fn poll_failed(&mut self, failure: &Failure) {
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
        // After a long downtime the deadline has passed before the first question: the remote job
        // may be completed, and the network not be up yet.
        let is_known_late = is_past_deadline(&self.change.job, self.policy, self.now);
        if !is_known_late || self.change.job.failures >= self.policy.attempts {
            self.past_deadline(Some(&failure.message));
        }
    }

    /// Fails a job that still waits at its deadline; otherwise sees that it is polled by then.
    fn past_deadline(&mut self, last: Option<&str>) {
        if self.change.job.state != State::Waiting {
            return;
        }
        match deadline(&self.change.job, self.policy) {
            Some(deadline) if self.now >= deadline => {
                let mut message = format!(
                    "the remote job was not completed within {}",
                    spell(self.policy.deadline)
                );
                if let Some(last) = last {
                    message.push_str(&format!("; the last answer: {last}"));
                }
                self.change.job.waiting = None;
                self.fail(ErrorKind::Deadline, &message);
            }
            _ => self.not_past_deadline(),
        }
    }
}
