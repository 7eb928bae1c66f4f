//! Corrects a live job's times after the wall clock was set. Jobs survive restarts, so their times
//! are wall times; a wrong clock must neither delay a job nor use up its deadline.

use super::{Job, State};
use chrono::{DateTime, TimeDelta, Utc};

/// An instant up to this far ahead is not taken for a wrong clock: several processes write, and
/// clocks drift.
pub const DRIFT: TimeDelta = TimeDelta::seconds(5);

/// The job with corrected times; `None` when nothing needs correction.
///
/// `forward` is how far the clock has just stepped forward (zero otherwise). The start
/// of the deadline moves with it, because no such time has passed. No past event may lie in the
/// future, and the job is due no later than the wait that was decided for it.
pub fn corrected(job: &Job, forward: TimeDelta, now: DateTime<Utc>) -> Option<Job> {
    let mut right = job.clone();
    for since in [&mut right.first_submitted_at, &mut right.missing_since] {
        *since = since.map(|since| past(since.checked_add_signed(forward).unwrap_or(now), now));
    }
    // From then on the instant is part of a name that the snapshot may have already.
    if right.state != State::Ready {
        right.submitted_at = right.submitted_at.map(|at| past(at, now));
    }
    let latest = now.checked_add_signed(right.wait).unwrap_or(DateTime::<Utc>::MAX_UTC);
    right.due_at = past(right.due_at, latest);
    (right != *job).then_some(right)
}

/// `at`, or `latest` when it is clearly later than that.
fn past(at: DateTime<Utc>, latest: DateTime<Utc>) -> DateTime<Utc> {
    if at.signed_duration_since(latest) > DRIFT { latest } else { at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::State;
    use crate::job::tests::job;
    use proptest::prelude::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap_or_default()
    }

    const YEAR: i64 = 365 * 24 * 3600;

    #[test]
    fn a_right_clock_changes_nothing() {
        let job = Job {
            due_at: at(300),
            wait: TimeDelta::seconds(300),
            first_submitted_at: Some(at(-90)),
            submitted_at: Some(at(-90)),
            missing_since: Some(at(3)),
            ..job(State::Waiting)
        };
        assert_eq!(corrected(&job, TimeDelta::zero(), at(0)), None);
    }

    proptest! {
        #[test]
        fn nothing_lies_in_the_future_and_no_wait_is_longer_than_it_was(
            due in -YEAR..YEAR, wait in 0..90_000i64, first in -YEAR..YEAR, submitted in -YEAR..YEAR,
            missing in -YEAR..YEAR, forward in 0..YEAR,
        ) {
            let job = Job {
                due_at: at(due),
                wait: TimeDelta::seconds(wait),
                first_submitted_at: Some(at(first)),
                submitted_at: Some(at(submitted)),
                missing_since: Some(at(missing)),
                ..job(State::Waiting)
            };
            let (forward, now) = (TimeDelta::seconds(forward), at(0));
            let right = corrected(&job, forward, now).unwrap_or_else(|| job.clone());
            prop_assert!(right.due_at <= now + right.wait + DRIFT);
            prop_assert!(right.due_at <= job.due_at, "nothing is put off");
            for since in [right.first_submitted_at, right.submitted_at, right.missing_since] {
                prop_assert!(since.is_some_and(|since| since <= now + DRIFT));
            }
            // A step forward uses up no time.
            prop_assert!(right.first_submitted_at >= job.first_submitted_at.min(Some(now)));
            prop_assert_eq!(corrected(&right, TimeDelta::zero(), now), None);
        }
    }
}
