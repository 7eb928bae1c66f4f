//! When tasks that remove things wait, because the clock may be wrong.

use crate::clock::{Clock, ClockSteps};
use crate::timestamp::rfc3339;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The wall clock leaps when it steps forward by more than this.
const LEAP: TimeDelta = TimeDelta::days(2);
/// For how long a task waits, in monotonic time.
const WAIT: Duration = Duration::from_hours(24);
/// For how long it waits at the most, however often the clock leaps meanwhile: a machine that is
/// suspended for most of its life removes things at last.
const LONGEST: Duration = Duration::from_hours(7 * 24);
/// Steps within this time count together.
const TOGETHER: Duration = Duration::from_hours(1);
/// A clock that was set by a time server, or of another machine, may differ by so little.
const TOLERANCE: TimeDelta = TimeDelta::minutes(5);
/// Without a run for longer than this, the clock may be ahead.
const GAP: TimeDelta = TimeDelta::days(60);
/// A task has waited for a day when the other tasks ran this long after it, this long ago.
const WAITED: TimeDelta = TimeDelta::hours(12);

/// Knows whether tasks that remove things may run.
#[derive(Debug)]
pub(super) struct Caution {
    steps: ClockSteps,
    /// How far the clock has stepped forward since `since`, less what was undone.
    ahead: TimeDelta,
    since: Duration,
    leap: Option<Wait>,
    /// What the first check after the start has found, for each task.
    start: BTreeMap<&'static str, Option<Wait>>,
}

/// A time in which tasks wait.
#[derive(Debug)]
struct Wait {
    why: String,
    /// Monotonic times.
    begun: Duration,
    until: Duration,
    /// The tasks whose waiting was logged.
    logged: BTreeSet<&'static str>,
}

impl Wait {
    fn new(why: String, now: Duration) -> Wait {
        Wait { why, begun: now, until: now + WAIT, logged: BTreeSet::new() }
    }
}

impl Caution {
    pub(super) fn new(clock: &Clock) -> Caution {
        Caution {
            steps: ClockSteps::new(clock),
            ahead: TimeDelta::zero(),
            since: clock.monotonic(),
            leap: None,
            start: BTreeMap::new(),
        }
    }

    /// Notices what the clock has done since the last look.
    pub(super) fn look(&mut self, clock: &Clock) {
        let step = self.steps.step(clock);
        let now = clock.monotonic();
        if self.leap.as_ref().is_some_and(|wait| wait.until <= now) {
            (self.leap, self.ahead) = (None, TimeDelta::zero());
        }
        let Some(step) = step else { return };
        let is_old = self.leap.is_none() && now.saturating_sub(self.since) > TOGETHER;
        if is_old || self.ahead.is_zero() {
            (self.ahead, self.since) = (TimeDelta::zero(), now);
        }
        self.ahead = self.ahead.checked_add(&step).unwrap_or(step).max(TimeDelta::zero());
        if step < -LEAP {
            // What seemed wrong at the start may be right by this clock.
            self.start.retain(|_, wait| wait.is_none());
        }
        if self.ahead <= LEAP {
            if self.leap.take().is_some() {
                tracing::info!("the clock was set back: maintenance removes things as usual");
            }
        } else if let Some(wait) = &mut self.leap {
            if step > LEAP {
                wait.until = (now + WAIT).min(wait.begun + LONGEST);
            }
        } else {
            let hours = self.ahead.num_hours();
            let why = format!(
                "the clock leapt forward by {hours} hours, or the machine was suspended for so long"
            );
            self.leap = Some(Wait::new(why, now));
        }
    }

    /// Whether the first check after the start is still to come for this task.
    pub(super) fn is_new(&self, task: &'static str) -> bool {
        !self.start.contains_key(task)
    }

    /// The first check after the start: `why` the task waits, if it does.
    pub(super) fn begin(&mut self, task: &'static str, why: Option<String>, clock: &Clock) {
        self.start.insert(task, why.map(|why| Wait::new(why, clock.monotonic())));
    }

    /// Whether a task that is due waits. Logs once why, and until when.
    pub(super) fn waits(&mut self, task: &'static str, clock: &Clock) -> bool {
        let now = clock.monotonic();
        let start = self.start.get_mut(task).and_then(Option::as_mut);
        let waits = self.leap.iter_mut().chain(start).filter(|wait| wait.until > now);
        let Some(wait) = waits.max_by_key(|wait| wait.until) else { return self.is_new(task) };
        if wait.logged.insert(task) {
            let left = TimeDelta::from_std(wait.until - now).unwrap_or(TimeDelta::MAX);
            let until = clock.now().checked_add_signed(left).unwrap_or(DateTime::<Utc>::MAX_UTC);
            let until = rfc3339(until);
            tracing::warn!(
                task,
                until,
                "maintenance waits for up to a day before it removes anything: {}",
                wait.why
            );
        }
        true
    }
}

/// What is known at a start, when nothing is known of earlier leaps.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// The latest of the dates of each source's newest snapshot and of the newest job.
    pub(super) newest: Option<DateTime<Utc>>,
    /// The task's last run.
    pub(super) own: Option<DateTime<Utc>>,
    /// The last run of a task that removes nothing.
    pub(super) other: Option<DateTime<Utc>>,
}

/// Why a task that removes things is to wait after a start at `now`, if it is.
///
/// Dates in the future show that the clock was wrong or is, and a long time without a run that it
/// may be. They do so for as long as they stay, so a task that has waited for a day runs: then the
/// tasks that go on have run a good while after it, and not just now.
pub(super) fn doubt(known: &Known, now: DateTime<Utc>) -> Option<String> {
    let has_waited = known.other.is_some_and(|other| {
        let age = now - other;
        let is_later = |own: DateTime<Utc>| own > now || other - own >= WAITED;
        age >= WAITED && age <= GAP && known.own.is_none_or(is_later)
    });
    if has_waited {
        return None;
    }
    let newest = known.newest.filter(|at| *at - now > TOLERANCE).map(|at| {
        format!(
            "the newest snapshot or job is dated in the future ({}): the clock was wrong, or is",
            rfc3339(at)
        )
    });
    let own = known.own.and_then(|at| match at - now {
        off if off > LEAP => Some(format!(
            "its last run is dated in the future ({}): the clock was wrong, or is",
            rfc3339(at)
        )),
        off if off < -GAP => {
            Some(format!("its last run was long ago ({}): the clock may be ahead", rfc3339(at)))
        }
        _ => None,
    });
    newest.or(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone as _;

    /// Hours from now: the newest snapshot or job, the task's run, the copy's run; the reason.
    type Row = (Option<i64>, Option<i64>, Option<i64>, Option<&'static str>);

    #[test]
    fn what_is_dated_wrongly_at_a_start_delays_for_a_day_and_not_for_ever() {
        let now = Utc.with_ymd_and_hms(2026, 11, 25, 9, 0, 0).unwrap();
        let hours = |hours: Option<i64>| hours.map(|hours| now + TimeDelta::hours(hours));
        let (day, year) = (24, 365 * 24);
        let table: &[Row] = &[
            (None, None, None, None),
            (Some(-7), Some(-5), Some(-5), None),
            (Some(-7), Some(-5 - day), Some(-5 - day), None),
            (Some(0), None, None, None),
            // A snapshot ahead, with and without runs, and with one that lies ahead too.
            (Some(1), None, None, Some("newest")),
            (Some(year), Some(-5), Some(-5), Some("newest")),
            (Some(year), Some(-5 - day), Some(-5 - day), Some("newest")),
            (Some(year), Some(year), Some(year), Some("newest")),
            // A run ahead: by less than two days it may be another zone's or an hour set back.
            (Some(-7), Some(day), Some(-5), None),
            (Some(-7), Some(year), Some(year), Some("last run")),
            (Some(-7), Some(year), Some(-1), Some("last run")),
            // Off for long, or a clock that is ahead now.
            (Some(-year), Some(-year), Some(-year), Some("long ago")),
            (Some(-7), Some(-59 * day), Some(-59 * day), None),
            (Some(-year), Some(-year), None, Some("long ago")),
            // Just copied, by a clock that leapt: no sign of a day's wait.
            (Some(0), Some(-year), Some(0), Some("long ago")),
            (Some(year), Some(-day), Some(0), Some("newest")),
            // The copy went on for a day while the task waited.
            (Some(year), Some(-48), Some(-24), None),
            (Some(year), Some(year), Some(-24), None),
            (Some(year), None, Some(-24), None),
            (Some(-7), Some(-year), Some(-24), None),
            // It did so before the clock leapt.
            (Some(year), Some(-year - day), Some(-year), Some("newest")),
        ];
        for row in table {
            let (newest, own, other, reason) = *row;
            let known = Known { newest: hours(newest), own: hours(own), other: hours(other) };
            let why = doubt(&known, now);
            assert_eq!(why.is_some(), reason.is_some(), "{row:?}: {why:?}");
            let why = why.unwrap_or_default();
            assert!(why.contains(reason.unwrap_or_default()), "{row:?}: {why}");
        }
    }

    #[test]
    fn leaps_add_up_and_are_undone() {
        let (clock, mock) = Clock::manual(DateTime::UNIX_EPOCH);
        let mut caution = Caution::new(&clock);
        caution.begin("task", None, &clock);
        // What the clock does, in hours, and how much later that is seen.
        let mut after = |jump: i64, minutes: i64| {
            mock.jump(TimeDelta::hours(jump));
            mock.advance(TimeDelta::minutes(minutes));
            caution.look(&clock);
            caution.waits("task", &clock)
        };
        assert!(!after(48, 1), "two days are no leap");
        assert!(after(1, 1), "a leap in two steps");
        assert!(!after(-1, 1), "undone");
        assert!(!after(40, 90), "long after the other one");
        assert!(!after(-8000, 1));
        assert!(after(8000, 1), "forward is forward");
        assert!(after(0, 23 * 60));
        assert!(after(0, 59));
        assert!(!after(0, 1), "accepted");
        assert!(!after(-8000, 1));
        // Leaps again and again: at last it is accepted.
        let waited = (1..100).find(|_| {
            assert!(after(72, 1), "each time");
            !after(0, 20 * 60 - 1)
        });
        assert_eq!(waited, Some(9));
    }
}
