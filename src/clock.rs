//! The two clocks: wall time, for schedules and for people, and monotonic time, for durations. Only
//! [`ClockSteps`] compares the two, to detect that the wall clock was set. Pure functions take the
//! time as an argument; all other code reads it here.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// Waits briefly, for resources that another process is about to release.
#[allow(clippy::disallowed_methods, reason = "such waits are short and decide nothing")]
pub(crate) async fn pause(wait: Duration) {
    tokio::time::sleep(wait).await;
}

/// A difference between the clocks up to this is drift, not a step.
const DRIFT: TimeDelta = TimeDelta::seconds(2);

/// Reads the wall clock, in whole milliseconds as the store keeps it, and the monotonic clock.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    monotonic: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl Clock {
    /// This machine's clocks.
    #[allow(clippy::disallowed_methods, reason = "the one place")]
    pub fn system() -> Clock {
        let start = Instant::now();
        Clock { wall: Arc::new(Utc::now), monotonic: Arc::new(move || start.elapsed()) }
    }

    /// Clocks that stand still until they are moved, for tests.
    pub fn manual(start: DateTime<Utc>) -> (Clock, MockClock) {
        let mock = MockClock {
            wall: Arc::new(AtomicI64::new(start.timestamp_millis())),
            monotonic: Arc::new(AtomicI64::new(0)),
        };
        let (wall, monotonic) = (mock.clone(), mock.clone());
        let clock = Clock {
            wall: Arc::new(move || wall.now()),
            monotonic: Arc::new(move || {
                let millis = monotonic.monotonic.load(Ordering::SeqCst);
                Duration::from_millis(millis.unsigned_abs())
            }),
        };
        (clock, mock)
    }

    /// The current instant.
    pub fn now(&self) -> DateTime<Utc> {
        let now = (self.wall)();
        now.duration_trunc(TimeDelta::milliseconds(1)).unwrap_or(now)
    }

    /// The time since some fixed moment, independent of the wall clock.
    pub fn monotonic(&self) -> Duration {
        (self.monotonic)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// Detects steps of the wall clock: it moves by more or less than the time that has passed.
#[derive(Debug)]
pub struct ClockSteps {
    wall: DateTime<Utc>,
    monotonic: Duration,
}

impl ClockSteps {
    /// Starts to compare the two.
    pub fn new(clock: &Clock) -> ClockSteps {
        ClockSteps { wall: clock.now(), monotonic: clock.monotonic() }
    }

    /// How far the wall clock has stepped since the last call: forward if positive. `None` if it
    /// only drifted. A suspended machine looks like a step forward.
    pub fn step(&mut self, clock: &Clock) -> Option<TimeDelta> {
        let now = ClockSteps::new(clock);
        let passed = now.monotonic.saturating_sub(self.monotonic);
        let passed = TimeDelta::from_std(passed).unwrap_or(TimeDelta::MAX);
        let step = (now.wall - self.wall).checked_sub(&passed)?;
        *self = now;
        (step.abs() > DRIFT).then_some(step)
    }
}

/// Moves manual clocks.
#[derive(Debug, Clone)]
pub struct MockClock {
    wall: Arc<AtomicI64>,
    monotonic: Arc<AtomicI64>,
}

impl MockClock {
    /// Advances to `to`; an instant in the past sets the wall clock back.
    pub fn set(&self, to: DateTime<Utc>) {
        let by = to - self.now();
        if by > TimeDelta::zero() { self.advance(by) } else { self.jump(by) }
    }

    /// Advances both clocks.
    pub fn advance(&self, by: TimeDelta) {
        self.jump(by);
        self.monotonic.fetch_add(by.num_milliseconds().max(0), Ordering::SeqCst);
    }

    /// Sets the wall clock, forward or back, while no time passes.
    pub fn jump(&self, by: TimeDelta) {
        self.wall.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
    }

    /// The time of the wall clock.
    pub fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.wall.load(Ordering::SeqCst)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_the_difference_between_the_clocks() {
        let (clock, mock) = Clock::manual(DateTime::UNIX_EPOCH);
        let mut steps = ClockSteps::new(&clock);
        mock.advance(TimeDelta::hours(5));
        assert_eq!(steps.step(&clock), None);
        mock.jump(TimeDelta::hours(2));
        mock.advance(TimeDelta::minutes(1));
        assert_eq!(steps.step(&clock), Some(TimeDelta::hours(2)));
        assert_eq!(steps.step(&clock), None, "each step is reported once");
        mock.jump(TimeDelta::minutes(-30));
        assert_eq!(steps.step(&clock), Some(TimeDelta::minutes(-30)));
        mock.jump(TimeDelta::seconds(1));
        assert_eq!(steps.step(&clock), None, "drift");
    }

    #[test]
    fn setting_a_manual_clock_back_takes_no_time() {
        let (clock, mock) = Clock::manual(DateTime::UNIX_EPOCH);
        mock.set(DateTime::UNIX_EPOCH + TimeDelta::hours(1));
        assert_eq!(clock.monotonic(), Duration::from_secs(3600));
        mock.set(DateTime::UNIX_EPOCH);
        assert_eq!(
            (clock.now(), clock.monotonic()),
            (DateTime::UNIX_EPOCH, Duration::from_secs(3600))
        );
    }
}
