//! How long to wait before the next request: growing intervals, and the service's `Retry-After`.
//!
//! The growth is that of the crate `backoff`, which is no longer maintained (RUSTSEC-2025-0012).
//! It therefore stays behind [`Backoff`]: this is the only file that knows it, and replacing it
//! changes nothing elsewhere. Of the crate's policy two things are left out. Its jitter comes from
//! a generator of its own and may exceed the maximum, so the randomness is an argument here and the
//! result is clamped; its deadline reads a clock, so deadlines belong to the caller.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use chrono::{DateTime, Utc};

/// The shortest wait: a policy never becomes a busy loop.
const SHORTEST: Duration = Duration::from_millis(1);

/// A policy of waits that grow from `initial` by `factor` up to `max`, each jittered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The first wait.
    pub initial: Duration,
    /// The longest wait, jitter included.
    pub max: Duration,
    /// What each wait is multiplied with to give the next.
    pub factor: f64,
    /// The part of a wait by which it may be shorter or longer: 0.2 is ± 20 %.
    pub jitter: f64,
}

impl Backoff {
    /// Checks that the policy makes sense.
    ///
    /// # Errors
    /// A sentence that names the offending value and what is allowed.
    pub fn validate(&self) -> Result<(), String> {
        let Self { initial, max, factor, jitter } = *self;
        if initial < SHORTEST {
            return Err(format!("initial must be at least {SHORTEST:?}, found {initial:?}"));
        }
        if max < initial {
            return Err(format!("max ({max:?}) must not be shorter than initial ({initial:?})"));
        }
        if !(factor.is_finite() && factor >= 1.0) {
            return Err(format!("factor must be a number from 1 up, found {factor}"));
        }
        if !(0.0..1.0).contains(&jitter) {
            return Err(format!("jitter must be from 0 to below 1, found {jitter}"));
        }
        Ok(())
    }

    /// The wait before try number `n`; 0 is the first wait, around `initial`.
    ///
    /// `random`, from 0 to below 1, chooses the place within the jitter: 0 the shortest wait, one
    /// half the unjittered one. The wait is never above `max` and never below a millisecond.
    #[must_use]
    pub fn wait(&self, n: u32, random: f64) -> Duration {
        let swing = self.jitter * (2.0 * random.clamp(0.0, 1.0) - 1.0);
        let jittered = self.interval(n).as_secs_f64() * (1.0 + swing);
        let wait = Duration::try_from_secs_f64(jittered).unwrap_or(self.max);
        wait.max(SHORTEST).min(self.max)
    }

    /// The unjittered wait before try number `n`.
    fn interval(&self, n: u32) -> Duration {
        let Some(steps) = n.checked_sub(1) else {
            return self.initial;
        };
        // Resumed one step earlier in closed form, so that a high `n` costs no loop; the last
        // step, and with it the cap, is the crate's.
        let grown = self.initial.as_secs_f64() * self.factor.powf(f64::from(steps));
        let mut policy = ExponentialBackoff {
            current_interval: Duration::try_from_secs_f64(grown).unwrap_or(self.max).min(self.max),
            initial_interval: self.initial,
            randomization_factor: 0.0,
            multiplier: self.factor,
            max_interval: self.max,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        // What is returned has a nanosecond of the crate's own randomness in it; the interval that
        // it moves on to has none.
        policy.next_backoff();
        policy.current_interval
    }
}

/// The longest wait that a service can ask for with `Retry-After`.
pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// The wait that a `Retry-After` header asks for, at most `cap`.
///
/// Reads both forms: a number of seconds, and an HTTP date in any of its three spellings. A date
/// in the past asks for no wait. `None` when the value is neither.
#[must_use]
pub fn retry_after(value: &str, now: DateTime<Utc>, cap: Duration) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit ask for longer than any cap.
        value.parse().map_or(Duration::MAX, Duration::from_secs)
    } else {
        let at = DateTime::<Utc>::from(httpdate::parse_http_date(value).ok()?);
        (at - now).to_std().unwrap_or(Duration::ZERO)
    };
    Some(wait.min(cap))
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone};
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn polling() -> Backoff {
        Backoff {
            initial: Duration::from_secs(5),
            max: Duration::from_secs(300),
            factor: 2.0,
            jitter: 0.2,
        }
    }

    fn noon() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 6, 12, 0, 0).unwrap()
    }

    fn any_policy() -> impl Strategy<Value = Backoff> {
        (1u64..1_000_000, 0u64..100_000_000, 1.0..50.0f64, 0.0..0.999f64).prop_map(
            |(initial, more, factor, jitter)| Backoff {
                initial: Duration::from_millis(initial),
                max: Duration::from_millis(initial + more),
                factor,
                jitter,
            },
        )
    }

    #[test]
    fn waits_double_up_to_the_maximum() {
        let waits: Vec<u64> = (0..9).map(|n| polling().wait(n, 0.5).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn jitter_goes_both_ways_and_stops_at_the_maximum() {
        assert_eq!(polling().wait(0, 0.0), Duration::from_secs(4));
        assert_eq!(polling().wait(0, 0.75), Duration::from_millis(5_500));
        assert_eq!(polling().wait(9, 0.0), Duration::from_secs(240));
        assert_eq!(polling().wait(9, 0.999), Duration::from_secs(300));
    }

    #[test]
    fn a_factor_of_one_never_grows() {
        let steady = Backoff { factor: 1.0, ..polling() };
        assert_eq!(steady.wait(u32::MAX, 0.5), Duration::from_secs(5));
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_by_name() {
        assert_eq!(polling().validate(), Ok(()));
        let refused = |policy: Backoff| policy.validate().unwrap_err();
        assert_eq!(
            refused(Backoff { initial: Duration::ZERO, ..polling() }),
            "initial must be at least 1ms, found 0ns"
        );
        assert_eq!(
            refused(Backoff { max: Duration::from_secs(4), ..polling() }),
            "max (4s) must not be shorter than initial (5s)"
        );
        for factor in [0.0, 0.99, -2.0, f64::NAN, f64::INFINITY] {
            assert!(refused(Backoff { factor, ..polling() }).starts_with("factor must"));
        }
        for jitter in [-0.1, 1.0, 1.5, f64::NAN, f64::INFINITY] {
            assert!(refused(Backoff { jitter, ..polling() }).starts_with("jitter must"));
        }
    }

    #[test]
    fn retry_after_reads_seconds_and_all_three_forms_of_date() {
        let asked = |value| retry_after(value, noon(), HOUR);
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked(" 0 "), Some(Duration::ZERO));
        for date in [
            "Fri, 06 Nov 2026 12:01:30 GMT",
            "Friday, 06-Nov-26 12:01:30 GMT",
            "Fri Nov  6 12:01:30 2026",
        ] {
            assert_eq!(asked(date), Some(Duration::from_secs(90)), "{date}");
        }
    }

    #[test]
    fn retry_after_is_capped_and_never_negative() {
        let asked = |value| retry_after(value, noon(), HOUR);
        assert_eq!(asked("3601"), Some(HOUR));
        assert_eq!(asked("99999999999999999999999999"), Some(HOUR));
        assert_eq!(asked("Sat, 07 Nov 2026 12:00:00 GMT"), Some(HOUR));
        assert_eq!(asked("Thu, 05 Nov 2026 12:00:00 GMT"), Some(Duration::ZERO));
    }

    #[test]
    fn retry_after_that_makes_no_sense_is_no_wish() {
        for value in ["", " ", "soon", "-5", "+5", "1.5", "5 s", "Fri, 06 Nov 2026", "0x10", "１"]
        {
            assert_eq!(retry_after(value, noon(), HOUR), None, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn every_wait_is_within_the_jitter_and_the_bounds(
            policy in any_policy(), n: u32, random in 0.0..1.0f64,
        ) {
            prop_assert_eq!(policy.validate(), Ok(()));
            let wait = policy.wait(n, random);
            prop_assert!(wait >= SHORTEST && wait <= policy.max);
            let middle = policy.wait(n, 0.5).as_secs_f64();
            prop_assert!(wait.as_secs_f64() >= middle * (1.0 - policy.jitter) - 1e-6);
            prop_assert!(wait.as_secs_f64() <= middle * (1.0 + policy.jitter) + 1e-6);
        }

        #[test]
        fn the_same_question_has_the_same_answer(
            policy in any_policy(), n in 0u32..100, random in 0.0..1.0f64,
        ) {
            prop_assert_eq!(policy.wait(n, random), policy.wait(n, random));
        }

        #[test]
        fn later_tries_wait_no_shorter(policy in any_policy(), n in 0u32..u32::MAX) {
            // A nanosecond is lost where two roundings of one power meet.
            let slack = Duration::from_micros(1);
            prop_assert!(policy.wait(n + 1, 0.5) + slack >= policy.wait(n, 0.5));
        }

        #[test]
        fn resuming_at_any_try_agrees_with_multiplying_step_by_step(
            policy in any_policy(), n in 0u32..40,
        ) {
            let mut wait = policy.initial.as_secs_f64();
            for _ in 0..n {
                wait = (wait * policy.factor).min(policy.max.as_secs_f64());
            }
            let resumed = policy.wait(n, 0.5).as_secs_f64();
            prop_assert!((resumed - wait).abs() <= 1e-6 + wait * 1e-9, "{} {}", resumed, wait);
        }

        #[test]
        fn nonsense_neither_panics_nor_waits_too_long(
            initial: u64, max: u64, factor: f64, jitter: f64, n: u32, random: f64,
        ) {
            let max = Duration::from_nanos(max);
            let policy = Backoff { initial: Duration::from_nanos(initial), max, factor, jitter };
            prop_assert!(policy.wait(n, random) <= max);
        }

        #[test]
        fn a_date_asks_for_the_time_until_then(seconds in -100_000i64..100_000) {
            let at = noon() + TimeDelta::seconds(seconds);
            let value = httpdate::fmt_http_date(at.into());
            let expected = Duration::from_secs(seconds.clamp(0, 3600).unsigned_abs());
            prop_assert_eq!(retry_after(&value, noon(), HOUR), Some(expected));
        }

        #[test]
        fn any_text_is_read_without_panic(value: String) {
            let wait = retry_after(&value, noon(), HOUR);
            prop_assert!(wait.is_none_or(|wait| wait <= HOUR));
        }
    }
}
