//! The timers of the loop, as data: when each next fires, by the monotonic clock.

use std::time::Duration;

/// What the loop does again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// Asks whether another process has written to the database.
    PollChanges,
    /// Checks what no change of the database shows: a wall clock that was set, dead workers, and
    /// orphaned remote jobs that have ended.
    Sweep,
}

impl Timer {
    /// Every timer, in the order in which those fire that are due together.
    const ALL: [Timer; 2] = [Timer::PollChanges, Timer::Sweep];

    /// How long after it fired it fires again.
    fn interval(self, pace: Pace) -> Duration {
        let seconds = match (self, pace) {
            (Timer::PollChanges, Pace::Idle) => 6,
            (Timer::PollChanges, Pace::Following | Pace::Busy) => 1,
            (Timer::Sweep, Pace::Idle | Pace::Following) => 60,
            (Timer::Sweep, Pace::Busy) => 15,
        };
        Duration::from_secs(seconds)
    }

    /// Whether it wakes the loop. One that does not fires when the loop next wakes: an idle daemon
    /// wakes less often.
    fn wakes(self) -> bool {
        match self {
            Timer::PollChanges => true,
            Timer::Sweep => false,
        }
    }
}

/// How much there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// A daemon without live jobs.
    Idle,
    /// A command that waits for jobs of which none is live.
    Following,
    /// Jobs are live, in any process.
    Busy,
}

/// When each timer last fired, as monotonic time; `None` where it is due at once.
#[derive(Debug, Clone)]
pub(super) struct Timers {
    fired: [Option<Duration>; Timer::ALL.len()],
}

impl Timers {
    /// Timers that all begin now.
    pub(super) fn new(now: Duration) -> Timers {
        Timers { fired: [Some(now); Timer::ALL.len()] }
    }

    /// A timer that is due, restarted.
    pub(super) fn fire(&mut self, pace: Pace, now: Duration) -> Option<Timer> {
        let mut timers = Timer::ALL.iter().zip(&mut self.fired);
        let (timer, fired) =
            timers.find(|(timer, fired)| left(**timer, **fired, pace, now).is_zero())?;
        *fired = Some(now);
        Some(*timer)
    }

    /// Makes a timer due at once: what was to be done when it fired has failed.
    pub(super) fn fire_again(&mut self, timer: Timer) {
        let timers = Timer::ALL.iter().zip(&mut self.fired);
        timers.filter(|(it, _)| **it == timer).for_each(|(_, fired)| *fired = None);
    }

    /// How long until the loop must wake for a timer.
    pub(super) fn wait(&self, pace: Pace, now: Duration) -> Duration {
        let timers = Timer::ALL.iter().zip(&self.fired).filter(|(timer, _)| timer.wakes());
        timers.map(|(timer, fired)| left(*timer, *fired, pace, now)).min().unwrap_or(Duration::MAX)
    }
}

/// How long until a timer is due that last fired then.
fn left(timer: Timer, fired: Option<Duration>, pace: Pace, now: Duration) -> Duration {
    fired.map_or(Duration::ZERO, |fired| {
        timer.interval(pace).saturating_sub(now.saturating_sub(fired))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The seconds, of so many, in which each timer fires for a loop that wakes when it must.
    fn firings(pace: Pace, until: u64) -> Vec<(u64, Timer)> {
        let (mut timers, mut now, mut fired) = (Timers::new(seconds(0)), seconds(0), Vec::new());
        while now <= seconds(until) {
            while let Some(timer) = timers.fire(pace, now) {
                fired.push((now.as_secs(), timer));
            }
            now += timers.wait(pace, now);
        }
        fired
    }

    #[test]
    fn an_idle_loop_polls_every_six_seconds_and_sweeps_every_minute_without_a_further_wake_up() {
        let polls = (1..=10).map(|poll| (poll * 6, Timer::PollChanges));
        let expected: Vec<_> = polls.chain([(60, Timer::Sweep)]).collect();
        assert_eq!(firings(Pace::Idle, 60), expected);
    }

    #[test]
    fn a_busy_loop_polls_every_second_and_sweeps_every_quarter_of_a_minute() {
        let sweeps = |pace, until| {
            let fired = firings(pace, until);
            assert_eq!(
                fired.iter().filter(|it| it.1 == Timer::PollChanges).count(),
                until as usize
            );
            fired.into_iter().filter(|it| it.1 == Timer::Sweep).map(|it| it.0).collect::<Vec<_>>()
        };
        assert_eq!(sweeps(Pace::Busy, 45), [15, 30, 45]);
        assert_eq!(sweeps(Pace::Following, 60), [60]);
    }

    #[test]
    fn a_timer_fires_once_however_late_it_is_noticed() {
        let mut timers = Timers::new(seconds(0));
        let late = seconds(3600);
        assert_eq!(timers.wait(Pace::Idle, late), seconds(0));
        assert_eq!(timers.fire(Pace::Idle, late), Some(Timer::PollChanges));
        assert_eq!(timers.fire(Pace::Idle, late), Some(Timer::Sweep));
        assert_eq!(timers.fire(Pace::Idle, late), None);
        assert_eq!(timers.wait(Pace::Idle, late), seconds(6));
    }

    #[test]
    fn a_timer_whose_event_failed_fires_again_once() {
        for timer in Timer::ALL {
            let mut timers = Timers::new(seconds(0));
            assert_eq!(timers.fire(Pace::Idle, seconds(1)), None);
            timers.fire_again(timer);
            assert_eq!(timers.wait(Pace::Idle, seconds(1)).is_zero(), timer.wakes());
            assert_eq!(timers.fire(Pace::Idle, seconds(1)), Some(timer));
            assert_eq!(timers.fire(Pace::Idle, seconds(1)), None);
        }
    }

    #[test]
    fn a_loop_that_becomes_busy_wakes_earlier() {
        let mut timers = Timers::new(seconds(0));
        assert_eq!(timers.wait(Pace::Idle, seconds(2)), seconds(4));
        assert_eq!(timers.wait(Pace::Busy, seconds(2)), seconds(0));
        assert_eq!(timers.fire(Pace::Busy, seconds(2)), Some(Timer::PollChanges));
    }
}
