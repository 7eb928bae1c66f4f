//! A due job and its account's quota: the intent to submit, the wait for quota, and its end.

use super::policy::Policy;
use super::{
    Change, Job, JobEvent, JobStep, Mover, RemoteEffect, RemoteJob, State, Wait, WaitReason,
};
use crate::policy::quota::{Quota, QuotaCheck, check};
use chrono::{DateTime, TimeDelta, Utc};

/// A remote job that is not known to have ended is presumed to run for this long: the service's
/// documents put the longest job at 12 hours ("Bing Maps Data Source Limits").
pub const LONGEST_REMOTE_JOB: TimeDelta = TimeDelta::hours(12);
/// A wait whose end is not known is reconsidered after this.
const DAY: TimeDelta = TimeDelta::hours(24);

/// What one account allows, and how to decide for its jobs.
#[derive(Debug, Clone)]
pub struct AccountLimits {
    /// Its quotas.
    pub quota: Quota,
    /// For a submission that a dead worker left unanswered.
    pub policy: Policy,
    /// What submissions of the source are for, by the configuration
    /// ([`Settings::requested`](crate::settings::Settings::requested)).
    pub requested: String,
    /// Whether what the service has is looked at before the source's first submission of a job.
    pub looks_first: bool,
}

/// Whether a due job is looked at before its intent to submit is written.
pub fn looks_first(job: &Job, limits: &AccountLimits) -> bool {
    limits.looks_first && job.is_ordinary_backup() && job.attempts == 0 && job.remote.is_none()
}

/// What an account has running and has started, by the records of its remote jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// When each one was started that is not known to have ended, and is not older than
    /// [`LONGEST_REMOTE_JOB`].
    pub running: Vec<DateTime<Utc>>,
    /// When each one of the last 24 hours was started.
    pub started: Vec<DateTime<Utc>>,
    /// The jobs that go before younger ones: see [`goes_first`].
    pub first: Vec<i64>,
}

impl Usage {
    /// Counts a remote job that this job starts now.
    pub fn start(&mut self, job: i64, now: DateTime<Utc>) {
        self.running.push(now);
        self.started.push(now);
        self.first.retain(|id| *id != job);
    }

    fn check(&self, quota: &Quota, now: DateTime<Utc>) -> QuotaCheck {
        let ends: Vec<_> = self.running.iter().map(|start| *start + LONGEST_REMOTE_JOB).collect();
        check(quota, &ends, &self.started, now)
    }
}

/// Whether the next free place is this job's, and not a younger one's: it looks at what the service
/// lists before it submits, and others, which submit at once, would take each place meanwhile.
pub fn goes_first(job: &Job) -> bool {
    let waits = job.waiting.as_ref().is_some_and(|wait| wait.why == WaitReason::Quota);
    let is_change = job.stage().is_change() && !job.is_submitting();
    job.state == State::Queued && (is_change || waits && job.stage().change().is_some())
}

/// What a worker does with a due job that it has claimed: submit it, if the quota allows it; handle
/// a submission that a dead worker left unanswered. `None` where the job needs no such change.
/// [`Change::intends_to_submit`] says whether the worker goes on with the job.
pub fn claim(
    job: &Job,
    limits: &AccountLimits,
    usage: &Usage,
    now: DateTime<Utc>,
) -> Option<Change> {
    if job.step() != Some(JobStep::Submit) {
        return None;
    }
    if job.is_submitting() {
        return Some(super::unanswered(job, &limits.policy, now));
    }
    let mut usage = usage.clone();
    if let QuotaCheck::Full { until, limit } = usage.check(&limits.quota, now) {
        return Some(wait_for_quota(job, until, &limit.to_string(), now));
    }
    let older: Vec<i64> = usage.first.iter().copied().filter(|id| *id < job.id).collect();
    older.iter().for_each(|id| usage.start(*id, now));
    if let (QuotaCheck::Full { until, .. }, Some(id)) =
        (usage.check(&limits.quota, now), older.first())
    {
        return Some(wait_for_quota(job, until, &format!("job {id} goes first"), now));
    }
    Some(look_again(job, now).unwrap_or_else(|| intend(job, limits, now)))
}

/// A change whose look is no longer recent goes back to it; `None` for every other job.
fn look_again(job: &Job, now: DateTime<Utc>) -> Option<Change> {
    let before = job.stage().before()?;
    let seen = job.restore.as_ref().and_then(|restore| restore.seen.as_ref());
    if seen.is_some_and(|seen| seen.is_recent(now)) {
        return None;
    }
    let mut change = Change::of(job, Mover::Claim);
    change.job.due_at = now;
    change.job.wait = TimeDelta::zero();
    if let Some(restore) = &mut change.job.restore {
        restore.stage = before;
    }
    Some(change)
}

/// The intent to submit: stored before the request is sent, so that the database shows that a
/// remote job may exist, whatever happens afterwards.
fn intend(job: &Job, limits: &AccountLimits, now: DateTime<Utc>) -> Change {
    let mut change = Change::of(job, Mover::Claim);
    change.job.attempts += 1;
    change.job.waiting = None;
    // If the worker dies and the clock is set back, the wait that is over must not begin again.
    (change.job.due_at, change.job.wait) = (now, TimeDelta::zero());
    let requested = Some(limits.requested.clone());
    change.job.remote = Some(RemoteJob { requested, ..RemoteJob::intended(now) });
    change.remote = RemoteEffect::Started;
    change
}

fn wait_for_quota(
    job: &Job,
    until: Option<DateTime<Utc>>,
    reason: &str,
    now: DateTime<Utc>,
) -> Change {
    let reason = format!("waits for quota: {reason}");
    let is_new = job.waiting.as_ref().is_none_or(|wait| wait.message != reason);
    // At the latest: it is woken when a remote job of the account ends before that.
    let until = until.unwrap_or(now + DAY);
    let mut change = Change::of(job, Mover::Claim);
    change.job.due_at = until;
    change.job.wait = (until - now).max(TimeDelta::zero());
    change.job.waiting = Some(Wait { why: WaitReason::Quota, message: reason.clone() });
    if let (Some(before), Some(restore)) = (job.stage().before(), &mut change.job.restore) {
        // What the service lists is read again after the wait.
        restore.stage = before;
    }
    if is_new {
        change.events.push(JobEvent::Waits { why: WaitReason::Quota, reason, until });
    }
    change
}

/// Makes a job due that waits for quota by Nightjar's own count: the quota may have changed.
pub fn wake(job: &Job, now: DateTime<Utc>) -> Option<Change> {
    let waits = job.waiting.as_ref().is_some_and(|wait| wait.why == WaitReason::Quota);
    if job.state != State::Queued || !waits || job.due_at <= now {
        return None;
    }
    let mut change = Change::of(job, Mover::Wake);
    change.job.due_at = now;
    change.job.wait = TimeDelta::zero();
    Some(change)
}

/// Charges a live job to this account from now on: the source's account may have changed in the
/// configuration.
pub fn move_to_account(job: &Job, account: &str) -> Option<Change> {
    if job.state.is_final() || job.account == account {
        return None;
    }
    let mut change = Change::of(job, Mover::Account);
    account.clone_into(&mut change.job.account);
    Some(change)
}
