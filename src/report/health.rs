//! The health of a source: a plain function of facts and time.

use crate::settings::Source;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use std::fmt;

/// The health of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// The last scheduled backup is in the archive, or may still come in time.
    Ok,
    /// A scheduled time has passed by more than the grace without a good snapshot since.
    Overdue,
    /// The last job failed.
    Failing,
    /// The newest snapshot is suspicious.
    Suspicious,
    /// Nothing was due yet, and nothing has failed.
    New,
}

impl Health {
    /// The word that is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Ok => "ok",
            Health::Overdue => "overdue",
            Health::Failing => "failing",
            Health::Suspicious => "suspicious",
            Health::New => "new",
        }
    }

    /// Whether an administrator should look into it today.
    pub fn needs_attention(self) -> bool {
        matches!(self, Health::Overdue | Health::Failing)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A snapshot that was completed this far in the future still counts: clocks are set back a little.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// When a source's newest good snapshot was completed. `good` are the completion times of its good
/// snapshots, newest first. One in the future was made while a clock was ahead. When it was really
/// made is unknown, so it is skipped: it must not prevent an alert.
pub(super) fn last_success(
    good: impl IntoIterator<Item = DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    good.into_iter().find(|completed_at| *completed_at - now <= CLOCK_TOLERANCE)
}

/// The health of a source: the worst that applies. `last_success` is when its last good snapshot
/// was completed; `suspicious` says whether its newest snapshot is suspicious. `since` is when the
/// source became known with this schedule: earlier times do not count.
pub fn health(
    source: &Source,
    since: Option<DateTime<Utc>>,
    last_success: Option<DateTime<Utc>>,
    suspicious: bool,
    failed: bool,
    now: DateTime<Utc>,
) -> Health {
    let grace = TimeDelta::from_std(source.grace).unwrap_or(TimeDelta::MAX);
    let latest_owed =
        now.checked_sub_signed(grace).zip(since).filter(|(until, since)| since < until).and_then(
            |(until, since)| source.schedule.latest_between(since, until, source.timezone),
        );
    let overdue = latest_owed.is_some_and(|owed| last_success.is_none_or(|last| last < owed));
    match (overdue, failed, suspicious, last_success) {
        (true, ..) => Health::Overdue,
        (_, true, ..) => Health::Failing,
        (_, _, true, _) => Health::Suspicious,
        (_, _, _, Some(_)) => Health::Ok,
        (_, _, _, None) => Health::New,
    }
}
