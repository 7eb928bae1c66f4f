//! Whether an account has room for one more remote job, and if not, when it will.
//!
//! The service limits the jobs in process at once and the jobs started in any 24 hours; keys of
//! one account share both.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

/// How long a start counts against the daily limit.
const WINDOW: TimeDelta = TimeDelta::hours(24);

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
pub enum Room {
    /// There is room.
    Free,
    /// There is none yet.
    Wait {
        /// When there will be room at the latest; `None` when a limit of 0 allows no job ever.
        until: Option<DateTime<Utc>>,
        /// Which limit is reached; of two, the one that takes longer.
        reason: Full,
    },
}

/// A limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
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

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let jobs = |max: u32| if max == 1 { "job" } else { "jobs" };
        match *self {
            Self::InProcess { running, max } => {
                let (jobs, are) = (jobs(max), if running == 1 { "is" } else { "are" });
                write!(f, "the account allows {max} {jobs} in process at once, and {running} {are}")
            }
            Self::Day { started, max } => {
                let (jobs, were) = (jobs(max), if started == 1 { "was" } else { "were" });
                write!(
                    f,
                    "the account allows {max} {jobs} in any 24 hours, and {started} {were} started"
                )
            }
        }
    }
}

/// Whether the account has room for one more job at `now`.
///
/// `presumed_ends` holds, for each remote job not known to have ended, when it will be presumed
/// ended at the latest; from that instant on it takes no place. `starts` are the submits of the
/// last 24 hours or more, in any order: each counts until 24 hours after it.
#[must_use]
pub fn room(
    quota: &Quota,
    presumed_ends: &[DateTime<Utc>],
    starts: &[DateTime<Utc>],
    now: DateTime<Utc>,
) -> Room {
    let max = quota.max_in_process;
    let in_process = wait(presumed_ends.to_vec(), max, now)
        .map(|(running, until)| (until, Full::InProcess { running, max }));

    let max = quota.max_jobs_per_day;
    let leave = |start: &DateTime<Utc>| start.checked_add_signed(WINDOW);
    let left = starts.iter().map(|start| leave(start).unwrap_or(DateTime::<Utc>::MAX_UTC));
    let day =
        wait(left.collect(), max, now).map(|(started, until)| (until, Full::Day { started, max }));

    let longest = in_process
        .into_iter()
        .chain(day)
        .max_by_key(|(until, _)| until.unwrap_or(DateTime::<Utc>::MAX_UTC));
    longest.map_or(Room::Free, |(until, reason)| Room::Wait { until, reason })
}

/// Given when each place will be left: `None` while fewer than `max` are taken at `now`, otherwise
/// how many are taken and when so many have been left that one of the `max` is free.
fn wait(
    mut left: Vec<DateTime<Utc>>,
    max: u32,
    now: DateTime<Utc>,
) -> Option<(usize, Option<DateTime<Utc>>)> {
    left.retain(|at| *at > now);
    left.sort_unstable();
    let surplus = left.len().checked_sub(usize::try_from(max).unwrap_or(usize::MAX))?;
    Some((left.len(), left.get(surplus).copied()))
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
    fn an_idle_account_has_room() {
        assert_eq!(room(&quota(1, 1), &[], &[], now()), Room::Free);
    }

    #[test]
    fn jobs_in_process_take_room_until_their_presumed_end() {
        assert_eq!(room(&quota(2, 50), &hours(&[3]), &[], now()), Room::Free);
        assert_eq!(room(&quota(2, 50), &hours(&[3, 0, -1]), &[], now()), Room::Free);
        assert_eq!(
            room(&quota(2, 50), &hours(&[3, 9, 5]), &[], now()),
            Room::Wait {
                until: hours(&[5]).first().copied(),
                reason: Full::InProcess { running: 3, max: 2 }
            }
        );
    }

    #[test]
    fn a_start_counts_for_24_hours() {
        assert_eq!(room(&quota(10, 2), &[], &hours(&[-24, -30, -1]), now()), Room::Free);
        assert_eq!(
            room(&quota(10, 2), &[], &hours(&[-1, -23, -24, -5]), now()),
            Room::Wait {
                until: hours(&[19]).first().copied(),
                reason: Full::Day { started: 3, max: 2 }
            }
        );
    }

    #[test]
    fn the_limit_that_takes_longer_is_the_reason() {
        let full = room(&quota(1, 1), &hours(&[14]), &hours(&[-20]), now());
        let Room::Wait { until, reason: Full::InProcess { .. } } = full else {
            panic!("{full:?}");
        };
        assert_eq!(until, hours(&[14]).first().copied());
        assert!(matches!(
            room(&quota(1, 1), &hours(&[1]), &hours(&[-20]), now()),
            Room::Wait { reason: Full::Day { .. }, .. }
        ));
    }

    #[test]
    fn a_limit_of_nothing_never_has_room() {
        assert_eq!(
            room(&quota(10, 0), &[], &[], now()),
            Room::Wait { until: None, reason: Full::Day { started: 0, max: 0 } }
        );
        assert_eq!(
            room(&quota(0, 50), &hours(&[1]), &hours(&[-1]), now()),
            Room::Wait { until: None, reason: Full::InProcess { running: 1, max: 0 } }
        );
    }

    #[test]
    fn a_full_account_explains_itself() {
        assert_eq!(
            Full::InProcess { running: 10, max: 10 }.to_string(),
            "the account allows 10 jobs in process at once, and 10 are"
        );
        assert_eq!(
            Full::Day { started: 1, max: 1 }.to_string(),
            "the account allows 1 job in any 24 hours, and 1 was started"
        );
    }

    fn instants() -> impl Strategy<Value = Vec<DateTime<Utc>>> {
        let day = 86_400_000i64;
        vec((-2 * day..2 * day).prop_map(|ms| now() + TimeDelta::milliseconds(ms)), 0..30)
    }

    proptest! {
        #[test]
        fn room_comes_exactly_when_promised(
            max_in_process in 1u32..8, max_jobs_per_day in 1u32..8,
            ends in instants(), starts in instants(),
        ) {
            let quota = quota(max_in_process, max_jobs_per_day);
            match room(&quota, &ends, &starts, now()) {
                Room::Free => {
                    let running = ends.iter().filter(|end| **end > now()).count();
                    let started = starts.iter().filter(|at| now() < **at + WINDOW).count();
                    prop_assert!(running < max_in_process as usize);
                    prop_assert!(started < max_jobs_per_day as usize);
                }
                Room::Wait { until, .. } => {
                    let until = until.unwrap();
                    prop_assert!(until > now());
                    prop_assert_eq!(room(&quota, &ends, &starts, until), Room::Free);
                    let before = room(&quota, &ends, &starts, until - MILLISECOND);
                    prop_assert_ne!(before, Room::Free);
                }
            }
        }

        #[test]
        fn the_order_does_not_matter(
            max in 0u32..8, ends in instants(), starts in instants(),
        ) {
            let backwards = |of: &[DateTime<Utc>]| of.iter().rev().copied().collect::<Vec<_>>();
            prop_assert_eq!(
                room(&quota(max, max), &ends, &starts, now()),
                room(&quota(max, max), &backwards(&ends), &backwards(&starts), now())
            );
        }
    }
}
