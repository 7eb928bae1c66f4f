//! What follows from a submission.

use super::Next;
use crate::job::{
    Change, ErrorKind, Failure, FailureKind, Job, JobEvent, Mover, Policy, RemoteEffect, RemoteJob,
    Stage, State, Submitted, WaitReason,
};
use chrono::{DateTime, Utc};

/// Decides what follows for a job whose worker died or failed after it stored the intent to submit
/// and before it stored the answer: a remote job may exist, so it is charged, and another one is
/// tried while `job_attempts` allows.
pub fn unanswered(job: &Job, policy: &Policy, now: DateTime<Utc>) -> Change {
    let lost = Failure {
        maybe_started: true,
        ..Failure::new(
            FailureKind::Lost,
            "whether the service accepted the submission is not known: its answer was never stored",
        )
    };
    let mut next = Next::of(job, Mover::Takeover, policy, now, 0.5);
    next.submit_failed(&lost);
    next.change
}

impl Next<'_> {
    pub(super) fn submitted(&mut self, answer: &Submitted) {
        self.go_on_as(State::Waiting);
        let job = &mut self.change.job;
        let remote = job.remote.get_or_insert_with(|| RemoteJob::intended(self.now));
        remote.submitting = false;
        remote.id.clone_from(&answer.remote_id);
        remote.status_url = Some(answer.status_url.clone());
        job.first_submitted_at.get_or_insert(remote.submitted_at);
        let attempt = job.attempts_of_stage();
        self.change.remote = RemoteEffect::Accepted {
            id: answer.remote_id.clone(),
            status_url: answer.status_url.clone(),
        };
        self.event(JobEvent::Submitted { id: answer.remote_id.clone(), attempt });
        self.notes(&answer.notes);
        if self.stage() == Stage::Load {
            let id = answer.remote_id.clone();
            self.restore(|it| it.version = id);
        }
        self.due_in(self.policy.poll.wait(0, self.random));
        self.not_past_deadline();
    }

    pub(super) fn submit_failed(&mut self, failure: &Failure) {
        let stage = self.stage();
        if stage.is_change() {
            return self.change_failed(stage, failure);
        }
        let message = failure.message.as_str();
        let job = &mut self.change.job;
        if failure.maybe_started {
            self.change.remote = RemoteEffect::Unanswered;
            let submitted_at = job.remote.as_ref().map(|remote| remote.submitted_at);
            job.first_submitted_at = job.first_submitted_at.or(submitted_at);
            let kind = match failure.kind {
                FailureKind::Protocol | FailureKind::Undecodable => ErrorKind::Protocol,
                FailureKind::Local
                | FailureKind::NotSent
                | FailureKind::Lost
                | FailureKind::Unavailable
                | FailureKind::Quota
                | FailureKind::Credentials
                | FailureKind::NotFound
                | FailureKind::Rejected => ErrorKind::Unavailable,
            };
            return self.resubmit(kind, message, failure.retry_after);
        }
        self.change.remote = RemoteEffect::Refused;
        self.take_back_attempt();
        match failure.kind {
            FailureKind::Quota => self.wait_for_limit(failure),
            FailureKind::Local => self.local_trouble(WaitReason::Local, message),
            FailureKind::Credentials => self.fail(ErrorKind::Credentials, message),
            FailureKind::NotFound if stage == Stage::Safety => {
                let advice = "; a destination that publishes nothing is restored with --no-safety";
                self.fail(ErrorKind::NotFound, &format!("{message}{advice}"));
            }
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
}
