//! When a task is due: a plain function of its rhythm, its last run, the time and the zone.

use crate::policy::backoff::Backoff;
use crate::policy::schedule::Schedule;
use crate::store::LastRun;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use std::time::Duration;

/// How long a task that failed waits for its next try.
const RETRY: Backoff = Backoff {
    initial: Duration::from_mins(5),
    max: Duration::from_hours(6),
    factor: 2.0,
    jitter: 0.0,
};

/// How often a task runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rhythm {
    /// At the times of a schedule in crontab's form, in the configuration's zone.
    At(&'static str),
}

impl Rhythm {
    /// When a task of this rhythm is to run next; a time up to `now` means that it is due.
    ///
    /// A task that never ran is due at once, and so is one that missed its time. A run that seems
    /// to lie in the future was made by a clock that was ahead: it says nothing.
    #[must_use]
    pub fn next(self, last: &LastRun, now: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
        let past = |at: Option<DateTime<Utc>>| at.filter(|at| *at <= now);
        let regular = match past(last.succeeded_at) {
            None => now,
            Some(done) => self.after(done, zone),
        };
        match past(last.tried_at).filter(|_| last.failures > 0) {
            None => regular,
            Some(tried) => {
                let wait = RETRY.wait(last.failures.saturating_sub(1), 0.5);
                let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
                regular.max(tried.checked_add_signed(wait).unwrap_or(DateTime::<Utc>::MAX_UTC))
            }
        }
    }

    fn after(self, done: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
        let Rhythm::At(schedule) = self;
        let schedule = Schedule::parse(schedule).ok();
        schedule.and_then(|it| it.next_after(done, zone)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use proptest::prelude::*;

    const NIGHTLY: Rhythm = Rhythm::At("0 4 * * *");

    fn at(day: u32, hour: u32, minute: u32) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, day, hour, minute, 0).unwrap()
    }

    fn done(succeeded: DateTime<Utc>) -> LastRun {
        LastRun { succeeded_at: Some(succeeded), tried_at: Some(succeeded), failures: 0 }
    }

    fn failed(succeeded: DateTime<Utc>, tried: DateTime<Utc>, failures: u32) -> LastRun {
        LastRun { succeeded_at: Some(succeeded), tried_at: Some(tried), failures }
    }

    #[test]
    fn a_task_runs_at_its_time_and_once() {
        let last = done(at(24, 4, 0));
        assert_eq!(NIGHTLY.next(&last, at(25, 3, 59), Tz::UTC), at(25, 4, 0));
        assert_eq!(NIGHTLY.next(&done(at(25, 4, 0)), at(25, 4, 0), Tz::UTC), at(26, 4, 0));
        // Four in Berlin is three in UTC.
        assert_eq!(NIGHTLY.next(&last, at(24, 5, 0), Tz::Europe__Berlin), at(25, 3, 0));
    }

    #[test]
    fn a_task_that_never_ran_or_missed_its_time_is_due() {
        assert!(NIGHTLY.next(&LastRun::default(), at(25, 12, 0), Tz::UTC) <= at(25, 12, 0));
        assert!(NIGHTLY.next(&done(at(24, 3, 0)), at(25, 12, 0), Tz::UTC) <= at(25, 12, 0));
        assert!(NIGHTLY.next(&done(at(1, 4, 0)), at(25, 12, 0), Tz::UTC) <= at(25, 12, 0));
        assert!(NIGHTLY.next(&done(at(25, 11, 0)), at(25, 12, 0), Tz::UTC) > at(25, 12, 0));
    }

    #[test]
    fn a_run_of_a_clock_that_was_ahead_puts_nothing_off() {
        let now = at(25, 12, 0);
        let ahead = now + TimeDelta::days(365);
        assert!(NIGHTLY.next(&done(ahead), now, Tz::UTC) <= now);
        assert!(NIGHTLY.next(&failed(ahead, ahead, 9), now, Tz::UTC) <= now);
        // Its failures count again from the first run that is no longer ahead.
        assert!(NIGHTLY.next(&failed(at(24, 4, 0), ahead, 9), now, Tz::UTC) <= now);
    }

    #[test]
    fn a_task_that_fails_is_tried_again_ever_later_and_at_least_every_six_hours() {
        let (now, tried) = (at(25, 5, 0), at(25, 4, 0));
        let next = |failures| NIGHTLY.next(&failed(at(23, 4, 0), tried, failures), now, Tz::UTC);
        let minutes = |failures| (next(failures) - tried).num_minutes();
        assert_eq!([1, 2, 3, 4].map(minutes), [5, 10, 20, 40]);
        assert_eq!([8, 20, u32::MAX].map(minutes), [360, 360, 360]);
    }

    proptest! {
        #[test]
        fn a_task_is_never_put_off_by_more_than_a_day_and_its_longest_wait(
            succeeded in proptest::option::of(-40_000_000i64..40_000_000),
            tried in proptest::option::of(-40_000_000i64..40_000_000),
            failures in 0u32..100,
        ) {
            let now = at(25, 12, 0);
            let instant = |seconds: i64| now + TimeDelta::seconds(seconds);
            let last = LastRun {
                succeeded_at: succeeded.map(instant),
                tried_at: tried.map(instant),
                failures,
            };
            for zone in [Tz::UTC, Tz::Europe__Berlin, Tz::Australia__Lord_Howe] {
                prop_assert!(NIGHTLY.next(&last, now, zone) - now <= TimeDelta::hours(25));
            }
        }
    }
}
