//! Whether a source is well: a plain function of facts and time.

use crate::settings::Source;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use std::fmt;

/// How a source is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// The last scheduled backup is in the archive, or may still come in time.
    Ok,
    /// A scheduled time has passed by more than the grace without a good snapshot since.
    Overdue,
    /// The last job failed.
    Failing,
    /// The newest snapshot deserves a second look.
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
    pub fn is_alarming(self) -> bool {
        matches!(self, Health::Overdue | Health::Failing)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A clock may be set back by so much, and what was complete before that still counts.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// When a source's newest good snapshot was complete. `good` are its snapshots that are not
/// suspicious, newest first. One that is complete in the future was made while a clock was ahead:
/// when it was really made is unknown, so it is passed over and keeps nobody from being told.
pub(super) fn last_success(
    good: impl IntoIterator<Item = DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    good.into_iter().find(|completed_at| *completed_at - now <= CLOCK_TOLERANCE)
}

/// The worst that can be said of a source. `last_success` is when its last good snapshot was made;
/// `suspicious` says that its newest snapshot is. `since` is when it became known with its schedule:
/// earlier times are not owed.
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
