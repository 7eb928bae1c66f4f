//! Whether an account may start one more remote job, and if not, when it may.
//!
//! The service limits the jobs in process at once and the jobs started in any 24 hours; keys of
//! one account share both.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

/// How long a start counts against the daily limit.
pub const WINDOW: TimeDelta = TimeDelta::hours(24);

/// What an account allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Remote jobs that may be in process at once.
    pub max_in_process: u32,
    /// Remote jobs that may be started in any 24 hours.
    pub max_jobs_per_day: u32,
}

/// Whether one more job may be started now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaCheck {
    /// It may.
    Free,
    /// It may not yet.
    Full {
        /// When it may at the latest; `None` when a limit of 0 allows no job ever.
        until: Option<DateTime<Utc>>,
        /// Which limit is reached; of two, the one that takes longer.
        limit: ReachedLimit,
    },
}

/// A limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReachedLimit {
    /// As many jobs are in process as may be.
    InProcess {
        /// Jobs not known to have ended.
        running: usize,
        /// The limit.
        max: u32,
    },
    /// As many jobs were started in the last 24 hours as may be.
    Day {
        /// Jobs started in the last 24 hours.
        started: usize,
        /// The limit.
        max: u32,
    },
}

impl fmt::Display for ReachedLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::InProcess { max: 0, .. } => f.write_str("the account allows no concurrent jobs"),
            Self::InProcess { running: 1, max: 1 } => {
                f.write_str("the account's only concurrent job is in use")
            }
            Self::InProcess { running, max } if usize::try_from(max) == Ok(running) => {
                write!(f, "all {max} concurrent jobs of the account are in use")
            }
            Self::InProcess { running, max } => {
                write!(f, "{running} concurrent jobs are in use, and the account allows {max}")
            }
            Self::Day { started, max } => {
                let jobs = if max == 1 { "job" } else { "jobs" };
                let were = if started == 1 { "was" } else { "were" };
                write!(
                    f,
                    "the account allows {max} {jobs} in any 24 hours, and {started} {were} started"
                )
            }
        }
    }
}

/// Whether the account may start one more job at `now`.
///
/// `presumed_ends` holds, for each remote job not known to have ended, when it will be presumed
/// ended at the latest; from that instant on it does not count. `starts` are the submissions of the
/// last 24 hours or more, in any order: each counts until 24 hours after it.
#[must_use]
pub fn check(
    quota: &Quota,
    presumed_ends: &[DateTime<Utc>],
    starts: &[DateTime<Utc>],
    now: DateTime<Utc>,
) -> QuotaCheck {
    let max = quota.max_in_process;
    let in_process = wait(presumed_ends.to_vec(), max, now)
        .map(|(running, until)| (until, ReachedLimit::InProcess { running, max }));

    let max = quota.max_jobs_per_day;
    let leave = |start: &DateTime<Utc>| start.checked_add_signed(WINDOW);
    let ends = starts.iter().map(|start| leave(start).unwrap_or(DateTime::<Utc>::MAX_UTC));
    let day = wait(ends.collect(), max, now)
        .map(|(started, until)| (until, ReachedLimit::Day { started, max }));

    let longest = in_process
        .into_iter()
        .chain(day)
        .max_by_key(|(until, _)| until.unwrap_or(DateTime::<Utc>::MAX_UTC));
    longest.map_or(QuotaCheck::Free, |(until, limit)| QuotaCheck::Full { until, limit })
}

/// Given until when each job counts: `None` while fewer than `max` count at `now`, otherwise how
/// many do and when fewer than `max` will.
fn wait(
    mut ends: Vec<DateTime<Utc>>,
    max: u32,
    now: DateTime<Utc>,
) -> Option<(usize, Option<DateTime<Utc>>)> {
    ends.retain(|at| *at > now);
    ends.sort_unstable();
    let surplus = ends.len().checked_sub(usize::try_from(max).unwrap_or(usize::MAX))?;
    Some((ends.len(), ends.get(surplus).copied()))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const MILLISECOND: TimeDelta = TimeDelta::milliseconds(1);

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 6, 12, 0, 0).unwrap()
    }

    fn hours(hours: &[i64]) -> Vec<DateTime<Utc>> {
        hours.iter().map(|hours| now() + TimeDelta::hours(*hours)).collect()
    }

    fn quota(max_in_process: u32, max_jobs_per_day: u32) -> Quota {
        Quota { max_in_process, max_jobs_per_day }
    }

    #[test]
    fn an_idle_account_may_start_a_job() {
        assert_eq!(check(&quota(1, 1), &[], &[], now()), QuotaCheck::Free);
    }

    #[test]
    fn jobs_in_process_count_until_their_presumed_end() {
        assert_eq!(check(&quota(2, 50), &hours(&[3]), &[], now()), QuotaCheck::Free);
        assert_eq!(check(&quota(2, 50), &hours(&[3, 0, -1]), &[], now()), QuotaCheck::Free);
        assert_eq!(
            check(&quota(2, 50), &hours(&[3, 9, 5]), &[], now()),
            QuotaCheck::Full {
                until: hours(&[5]).first().copied(),
                limit: ReachedLimit::InProcess { running: 3, max: 2 }
            }
        );
    }

    #[test]
    fn a_start_counts_for_24_hours() {
        assert_eq!(check(&quota(10, 2), &[], &hours(&[-24, -30, -1]), now()), QuotaCheck::Free);
        assert_eq!(
            check(&quota(10, 2), &[], &hours(&[-1, -23, -24, -5]), now()),
            QuotaCheck::Full {
                until: hours(&[19]).first().copied(),
                limit: ReachedLimit::Day { started: 3, max: 2 }
            }
        );
    }

    #[test]
    fn the_limit_that_takes_longer_is_the_reason() {
        let full = check(&quota(1, 1), &hours(&[14]), &hours(&[-20]), now());
        let QuotaCheck::Full { until, limit: ReachedLimit::InProcess { .. } } = full else {
            panic!("{full:?}");
        };
        assert_eq!(until, hours(&[14]).first().copied());
        assert!(matches!(
            check(&quota(1, 1), &hours(&[1]), &hours(&[-20]), now()),
            QuotaCheck::Full { limit: ReachedLimit::Day { .. }, .. }
        ));
    }

    #[test]
    fn a_limit_of_0_allows_no_job_ever() {
        assert_eq!(
            check(&quota(10, 0), &[], &[], now()),
            QuotaCheck::Full { until: None, limit: ReachedLimit::Day { started: 0, max: 0 } }
        );
        assert_eq!(
            check(&quota(0, 50), &hours(&[1]), &hours(&[-1]), now()),
            QuotaCheck::Full { until: None, limit: ReachedLimit::InProcess { running: 1, max: 0 } }
        );
    }

    #[test]
    fn a_full_account_explains_itself() {
        let in_process = |running, max| ReachedLimit::InProcess { running, max }.to_string();
        assert_eq!(in_process(10, 10), "all 10 concurrent jobs of the account are in use");
        assert_eq!(in_process(1, 1), "the account's only concurrent job is in use");
        assert_eq!(in_process(3, 2), "3 concurrent jobs are in use, and the account allows 2");
        assert_eq!(in_process(1, 0), "the account allows no concurrent jobs");
        assert_eq!(
            ReachedLimit::Day { started: 1, max: 1 }.to_string(),
            "the account allows 1 job in any 24 hours, and 1 was started"
        );
    }

    fn instants() -> impl Strategy<Value = Vec<DateTime<Utc>>> {
        let day = 86_400_000i64;
        vec((-2 * day..2 * day).prop_map(|ms| now() + TimeDelta::milliseconds(ms)), 0..30)
    }

    proptest! {
        #[test]
        fn a_job_may_be_started_exactly_when_promised(
            max_in_process in 1u32..8, max_jobs_per_day in 1u32..8,
            ends in instants(), starts in instants(),
        ) {
            let quota = quota(max_in_process, max_jobs_per_day);
            match check(&quota, &ends, &starts, now()) {
                QuotaCheck::Free => {
                    let running = ends.iter().filter(|end| **end > now()).count();
                    let started = starts.iter().filter(|at| now() < **at + WINDOW).count();
                    prop_assert!(running < max_in_process as usize);
                    prop_assert!(started < max_jobs_per_day as usize);
                }
                QuotaCheck::Full { until, .. } => {
                    let until = until.unwrap();
                    prop_assert!(until > now());
                    prop_assert_eq!(check(&quota, &ends, &starts, until), QuotaCheck::Free);
                    let before = check(&quota, &ends, &starts, until - MILLISECOND);
                    prop_assert_ne!(before, QuotaCheck::Free);
                }
            }
        }

        #[test]
        fn the_order_does_not_matter(
            max in 0u32..8, ends in instants(), starts in instants(),
        ) {
            let backwards = |of: &[DateTime<Utc>]| of.iter().rev().copied().collect::<Vec<_>>();
            prop_assert_eq!(
                check(&quota(max, max), &ends, &starts, now()),
                check(&quota(max, max), &backwards(&ends), &backwards(&starts), now())
            );
        }
    }
}
