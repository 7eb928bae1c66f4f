//! What follows from a request that changes what the service has: a load, a publication, a
//! rollback. It is never repeated after an answer, and after a lost one only when the service's
//! lists have shown for long enough that it never arrived.

use super::{Next, no_sooner};
use crate::job::policy::spell;
use crate::job::{
    ErrorKind, Failure, FailureKind, JobEvent, RemoteEffect, Restore, Stage, State, Unsettled,
    WaitReason,
};
use std::time::Duration;

impl Next<'_> {
    pub(super) fn stage(&self) -> Stage {
        self.change.job.stage()
    }

    pub(super) fn restore(&mut self, with: impl FnOnce(&mut Restore)) {
        if let Some(restore) = &mut self.change.job.restore {
            with(restore);
        }
    }

    /// Begins another stage, which counts its own remote jobs and has its own deadline.
    pub(super) fn begin_stage(&mut self, stage: Stage) {
        self.go_on_as(State::Queued);
        let job = &mut self.change.job;
        job.remote = None;
        job.first_submitted_at = None;
        let attempts = job.attempts;
        self.restore(|it| {
            it.stage = stage;
            it.attempts_before = attempts;
            it.seen = None;
            it.unsettled = None;
        });
        self.due_in(Duration::ZERO);
    }

    /// Goes on within the same attempts and deadline.
    pub(super) fn go_on_in(&mut self, stage: Stage, state: State) {
        self.go_on_as(state);
        self.restore(|it| it.stage = stage);
        self.due_in(Duration::ZERO);
    }

    /// A request for a change failed.
    pub(super) fn change_failed(&mut self, stage: Stage, failure: &Failure) {
        let Some(before) = stage.before() else { return };
        let message = failure.message.as_str();
        if failure.maybe_started {
            return self.unsettled(before, failure);
        }
        self.change.remote = RemoteEffect::Refused;
        self.take_back_attempt();
        // Whatever comes next, the service's lists are read before anything is sent.
        self.restore(|it| it.stage = before);
        match failure.kind {
            FailureKind::Quota => self.wait_for_limit(failure),
            FailureKind::Local => self.local_trouble(WaitReason::Local, message),
            FailureKind::NotSent => {
                self.retry_up_to(self.policy.attempts, ErrorKind::Unavailable, failure);
            }
            // All of these are answers.
            FailureKind::Credentials => self.fail(ErrorKind::Credentials, message),
            FailureKind::NotFound => self.fail(ErrorKind::NotFound, message),
            FailureKind::Rejected => self.fail(ErrorKind::Rejected, message),
            FailureKind::Protocol | FailureKind::Undecodable => {
                self.fail(ErrorKind::Protocol, message);
            }
            FailureKind::Lost | FailureKind::Unavailable => {
                self.fail(ErrorKind::Unavailable, message);
            }
        }
    }

    /// It may have taken effect: the service's lists show it, in the end.
    fn unsettled(&mut self, before: Stage, failure: &Failure) {
        self.change.remote = RemoteEffect::Unanswered;
        let now = self.now;
        let job = &mut self.change.job;
        if let Some(remote) = &mut job.remote {
            remote.missing_since = Some(now);
        }
        let submitted_at = job.remote.as_ref().map(|remote| remote.submitted_at);
        job.first_submitted_at = job.first_submitted_at.or(submitted_at);
        self.go_on_in(before, State::Queued);
        let unsettled = Unsettled { answered: failure.answered };
        self.restore(|it| it.unsettled = Some(unsettled));
        let message = format!(
            "{}; whether it took effect is looked up before anything is sent again",
            failure.message
        );
        let wait = self.policy.poll.wait(0, self.random);
        self.wait_for(WaitReason::Retry, &message, no_sooner(wait, failure.retry_after));
    }

    /// The request is known not to have started a remote job.
    pub(super) fn take_back_attempt(&mut self) {
        let job = &mut self.change.job;
        job.attempts = job.attempts.saturating_sub(1);
        job.remote = None;
    }

    /// The change is completed.
    pub(super) fn applied(&mut self, processed: Option<u64>, failed: u64) {
        let before = self.change.job.clone();
        let stage = before.stage();
        self.change.remote = RemoteEffect::Ended;
        if failed > 0 {
            let of =
                processed.map_or_else(String::new, |n| format!(" of {}", n.saturating_add(failed)));
            let message = format!("the service could not load {failed}{of} entities");
            return self.fail(ErrorKind::Rejected, &message);
        }
        self.event(JobEvent::Applied { stage, processed });
        let wanted = before.restore.as_ref().and_then(|it| it.snapshot.as_ref());
        let wanted = wanted.filter(|_| stage == Stage::Load).map(|it| it.entities);
        if let (Some(processed), Some(wanted)) = (processed, wanted)
            && processed != wanted
            && before.restore.as_ref().is_some_and(|it| it.only.is_empty())
        {
            let note = format!(
                "the service says that it loaded {processed} entities, and {wanted} were sent"
            );
            self.event(JobEvent::Note(note));
            self.restore(Restore::require_verification);
        }
        self.until_listed();
    }

    /// Its status is no longer known: what the service lists decides.
    pub(super) fn change_lost(&mut self, message: &str) {
        self.change.remote = RemoteEffect::Ended;
        self.event(JobEvent::Note(format!("{message}; what the service lists decides")));
        self.restore(Restore::require_verification);
        self.until_listed();
    }

    fn until_listed(&mut self) {
        self.go_on_as(State::Ready);
        if let Some(remote) = &mut self.change.job.remote {
            remote.missing_since = None;
        }
        self.due_in(Duration::ZERO);
    }

    /// Looks again later, unless the service has had long enough: `false` then.
    pub(super) fn look_again(&mut self, message: &str) -> bool {
        let now = self.now;
        let remote = self.change.job.remote.as_mut();
        let since = remote.map_or(now, |remote| *remote.missing_since.get_or_insert(now));
        let until = crate::job::policy::later(since, self.policy.lost_after);
        if now >= until {
            return false;
        }
        self.change.job.rounds += 1;
        self.change.job.failures = 0;
        let wait = self.policy.poll.wait(self.change.job.rounds, self.random);
        let wait = wait.min((until - now).to_std().unwrap_or_default());
        self.wait_for(WaitReason::Retry, message, wait);
        true
    }

    /// How long the service was given to list something.
    pub(super) fn patience(&self) -> String {
        spell(self.policy.lost_after)
    }
}
