//! What is due of a schedule, and whether it was missed.

use super::Schedule;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

/// A time noticed later than this was missed: the machine slept, or the clock was set.
const PUNCTUAL: TimeDelta = TimeDelta::minutes(2);
/// More missed times than this are not counted.
const MANY: usize = 10_000;

/// A scheduled time that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The newest one.
    pub time: DateTime<Utc>,
    /// How many earlier ones were missed, too.
    pub earlier: usize,
    /// Whether it was missed.
    pub missed: bool,
}

/// What is due of a schedule that is accounted for up to `cursor`, for an engine that began at
/// `started`.
pub fn due(
    schedule: &Schedule,
    zone: Tz,
    cursor: DateTime<Utc>,
    started: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Option<Due> {
    let time = schedule.latest_between(cursor, now, zone)?;
    let earlier = schedule.count_between(cursor, time, zone, MANY).saturating_sub(1);
    Some(Due { time, earlier, missed: time <= started || now - time > PUNCTUAL })
}
