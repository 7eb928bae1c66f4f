//! Corrects a live job's times after the wall clock was set. Jobs survive restarts, so their times
//! are wall times; a wrong clock must neither delay a job nor use up its deadline.

use super::{Change, Job, Mover, State};
use chrono::{DateTime, TimeDelta, Utc};

/// An instant up to this far ahead is not taken for a wrong clock: several processes write, and
/// clocks drift.
pub const DRIFT: TimeDelta = TimeDelta::seconds(5);
/// A schedule's cursor further ahead than this was stored by a wrong clock. A step back by an hour,
/// or by a day, needs no correction: those times are accounted for already.
pub const CURSOR_AHEAD: TimeDelta = TimeDelta::hours(25);

/// Corrects a live job's times; `None` when nothing needs correction.
///
/// `forward` is how far the clock has just stepped forward (zero otherwise). The start
/// of the deadline moves with it, because no such time has passed. No past event may lie in the
/// future, and the job is due no later than the wait that was decided for it.
pub fn correct_clock(job: &Job, forward: TimeDelta, now: DateTime<Utc>) -> Option<Change> {
    let mut change = Change::of(job, Mover::Clock);
    let right = &mut change.job;
    let moved = |since: DateTime<Utc>| past(since.checked_add_signed(forward).unwrap_or(now), now);
    right.first_submitted_at = right.first_submitted_at.map(moved);
    if let Some(remote) = &mut right.remote {
        remote.missing_since = remote.missing_since.map(moved);
        // From then on the instant is part of a name that the snapshot may have already.
        if right.state != State::Ready {
            remote.submitted_at = past(remote.submitted_at, now);
        }
    }
    let latest = now.checked_add_signed(right.wait).unwrap_or(DateTime::<Utc>::MAX_UTC);
    right.due_at = past(right.due_at, latest);
    (change.job != *job).then_some(change)
}

/// `at`, or `latest` when it is clearly later than that.
fn past(at: DateTime<Utc>, latest: DateTime<Utc>) -> DateTime<Utc> {
    if at.signed_duration_since(latest) > DRIFT { latest } else { at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::RemoteJob;
    use crate::job::tests::job;
    use proptest::prelude::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap_or_default()
    }

    const YEAR: i64 = 365 * 24 * 3600;

    /// A waiting job with these times.
    fn waiting(
        due_at: DateTime<Utc>,
        wait: i64,
        first_submitted_at: DateTime<Utc>,
        submitted_at: DateTime<Utc>,
        missing_since: DateTime<Utc>,
    ) -> Job {
        let job = job(State::Waiting);
        let missing_since = Some(missing_since);
        Job {
            due_at,
            wait: TimeDelta::seconds(wait),
            first_submitted_at: Some(first_submitted_at),
            remote: job.remote.map(|it| RemoteJob { submitted_at, missing_since, ..it }),
            ..job
        }
    }

    #[test]
    fn a_right_clock_changes_nothing() {
        let job = waiting(at(300), 300, at(-90), at(-90), at(3));
        assert_eq!(correct_clock(&job, TimeDelta::zero(), at(0)), None);
    }

    proptest! {
        #[test]
        fn nothing_lies_in_the_future_and_no_wait_is_longer_than_it_was(
            due in -YEAR..YEAR, wait in 0..90_000i64, first in -YEAR..YEAR, submitted in -YEAR..YEAR,
            missing in -YEAR..YEAR, forward in 0..YEAR,
        ) {
            let job = waiting(at(due), wait, at(first), at(submitted), at(missing));
            let (forward, now) = (TimeDelta::seconds(forward), at(0));
            let right = correct_clock(&job, forward, now).map_or(job.clone(), Change::into_job);
            prop_assert!(right.due_at <= now + right.wait + DRIFT);
            prop_assert!(right.due_at <= job.due_at, "nothing is put off");
            let remote = right.remote.as_ref().unwrap();
            for since in
                [right.first_submitted_at, Some(remote.submitted_at), remote.missing_since]
            {
                prop_assert!(since.is_some_and(|since| since <= now + DRIFT));
            }
            // A step forward uses up no time.
            prop_assert!(right.first_submitted_at >= job.first_submitted_at.min(Some(now)));
            prop_assert_eq!(correct_clock(&right, TimeDelta::zero(), now), None);
        }
    }
}
