//! The parameters of decisions, and the deadline that follows from them.

use super::Job;
use crate::policy::backoff::Backoff;
use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

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
    /// Remote jobs that may come to exist for one stage of a job.
    pub job_attempts: u32,
    /// How long a 404 for a status or result URL may last.
    pub lost_after: Duration,
}

/// Whether no new remote job may replace the job's present one: its result is the last there will
/// be.
pub fn is_last_attempt(job: &Job, policy: &Policy, now: DateTime<Utc>) -> bool {
    job.attempts_of_stage() >= policy.job_attempts || is_past_deadline(job, policy, now)
}

/// Whether the job's remote job should have been completed by now.
pub fn is_past_deadline(job: &Job, policy: &Policy, now: DateTime<Utc>) -> bool {
    deadline(job, policy).is_some_and(|deadline| now >= deadline)
}

/// When the job's remote job has to be completed; `None` before the first submission.
pub(super) fn deadline(job: &Job, policy: &Policy) -> Option<DateTime<Utc>> {
    job.first_submitted_at.map(|first| later(first, policy.deadline))
}

/// `now` plus `wait`, in whole milliseconds as the store keeps them, and never overflowing.
pub(super) fn later(now: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    TimeDelta::try_milliseconds(wait)
        .and_then(|wait| now.checked_add_signed(wait))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// A duration in the words of the configuration.
pub(super) fn spell(duration: Duration) -> String {
    match (duration.as_secs(), duration.subsec_millis()) {
        (0, ms) => format!("{ms} ms"),
        (s, _) if s % 3600 == 0 => format!("{} h", s / 3600),
        (s, _) if s % 60 == 0 => format!("{} min", s / 60),
        (s, _) => format!("{s} s"),
    }
}
