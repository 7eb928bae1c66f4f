//! When a source is due: a crontab line, evaluated in a time zone.
//!
//! The meaning is crontab(5)'s, with these points settled:
//!
//! - Five fields, or six with seconds first; `@yearly`, `@annually`, `@monthly`, `@weekly`,
//!   `@daily`, `@midnight`, `@hourly`. No `@reboot`, and none of the extensions `?`, `L`, `W`, `#`.
//! - Sunday is 0 or 7. Months and weekdays have three-letter names, in either case.
//! - `N/step` without an end counts on to the field's maximum: `5/20` is `5-59/20`.
//! - A range that runs backwards (`22-6`) is refused, as crontab does; the error says how to write
//!   it. Sunday at the end of a range is 7, so `fri-sun` is three days.
//! - A day field that begins with `*` restricts nothing by itself: the day must then match both
//!   fields. When neither begins with `*`, matching either is enough.
//!
//! Where the zone's clock is changed there are two kinds of schedule, distinguished as cron does by
//! whether the hour field begins with `*`:
//!
//! - One with fixed hours is due at the first instant at which the wall clock has *reached* a time
//!   that it names. So a time that is skipped is due when the clocks have gone forward (several of
//!   them together, once), and one that is repeated is due the first time only.
//! - One with `*` or `*/n` for the hour is due at every instant at which the wall clock *shows* a
//!   time that it names: on through both passes of a repeated hour, and not for a skipped one.
//!
//! The matching is the crate `cron`'s, asked about a wall clock that never changes (in
//! `wall_times`): given a zone, it skips times, repeats them, and answers with times in the past.

mod due;
mod fields;
mod wall_times;

use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

pub use due::{Due, due};
use fields::Fields;
pub use fields::{FieldProblem, ScheduleError};
use wall_times::WallTimes;

const SECOND: TimeDelta = TimeDelta::seconds(1);
const DAY: TimeDelta = TimeDelta::days(1);

/// A crontab line. Its zone is given whenever it is evaluated.
///
/// All instants are whole seconds, from 1970 to 2100.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    wall_times: WallTimes,
    /// The hour field begins with `*`: the schedule follows elapsed time through clock changes.
    follows_elapsed_time: bool,
}

impl Schedule {
    /// Reads a crontab line.
    ///
    /// # Errors
    /// Says which field, what was found and what is allowed; also when the line is well formed but
    /// names no day that exists.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let fields = Fields::parse(text)?;
        let wall_times = WallTimes::new(&fields)?;
        let follows_elapsed_time = fields.hour.starred;
        Ok(Self { text: text.trim().to_owned(), wall_times, follows_elapsed_time })
    }

    /// The line as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first instant strictly after `after`; `None` after the year 2100.
    #[must_use]
    pub fn next_after(&self, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        self.next_after_second(second(after), zone)
    }

    /// The newest instant at or before `until` and strictly after `since`.
    ///
    /// The cost does not grow with the number of instants in between.
    #[must_use]
    pub fn latest_between(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        zone: Tz,
    ) -> Option<DateTime<Utc>> {
        let (mut noisy, mut quiet) = (second(since), second(until));
        let is_quiet = |from| self.next_after_second(from, zone).is_none_or(|next| next > until);
        if noisy >= quiet || is_quiet(noisy) {
            return None;
        }
        // The newest instant is the first second after which nothing more comes until `until`.
        while quiet - noisy > 1 {
            let middle = noisy + (quiet - noisy) / 2;
            if is_quiet(middle) { quiet = middle } else { noisy = middle }
        }
        DateTime::from_timestamp(quiet, 0)
    }

    /// How many instants lie after `since`, up to and including `until`, counted up to `cap`.
    #[must_use]
    pub fn count_between(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        zone: Tz,
        cap: usize,
    ) -> usize {
        std::iter::successors(self.next_after(since, zone), |last| self.next_after(*last, zone))
            .take_while(|instant| *instant <= until)
            .take(cap)
            .count()
    }

    fn next_after_second(&self, after: i64, zone: Tz) -> Option<DateTime<Utc>> {
        let after = DateTime::from_timestamp(after, 0)?;
        if self.follows_elapsed_time {
            self.next_shown(after, zone)
        } else {
            self.next_reached(after, zone)
        }
    }

    /// The next instant at which the wall clock has reached a time named.
    fn next_reached(&self, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        // In the second pass of a repeated hour, times that the wall clock has yet to show again
        // were reached in the first pass, and are passed over here.
        let mut wall = wall_clock(after, zone);
        loop {
            wall = self.wall_times.after(wall)?;
            let instant = reached(wall, zone)?;
            if instant > after {
                return Some(instant);
            }
        }
    }

    /// The next instant at which the wall clock shows a time named.
    fn next_shown(&self, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let mut after = after;
        loop {
            // While the clock is not changed, the wall time named next comes with this offset.
            let offset = offset(after + SECOND, zone);
            let wall = self.wall_times.after(after.naive_utc() + offset)?;
            let instant = (wall - offset).and_utc();
            match next_change(after + SECOND, instant, zone) {
                None => return Some(instant),
                Some(change) => after = change - SECOND,
            }
        }
    }
}

/// The second that an instant lies in, held near the years that [`WallTimes`] knows, where adding
/// an offset cannot overflow.
fn second(instant: DateTime<Utc>) -> i64 {
    const YEAR_1969: i64 = -31_536_000;
    const YEAR_2102: i64 = 4_165_516_800;
    instant.timestamp().clamp(YEAR_1969, YEAR_2102)
}

fn offset(instant: DateTime<Utc>, zone: Tz) -> TimeDelta {
    let offset = zone.offset_from_utc_datetime(&instant.naive_utc()).fix();
    TimeDelta::seconds(offset.local_minus_utc().into())
}

fn wall_clock(instant: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
    instant.naive_utc() + offset(instant, zone)
}

/// The first instant at which the zone's wall clock has reached `wall`: the first of two for a time
/// that is repeated, the end of the gap for one that is skipped.
fn reached(wall: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    let shown = zone.from_local_datetime(&wall).earliest();
    shown.or_else(|| GapInfo::new(&wall, &zone)?.end).map(|instant| instant.to_utc())
}

/// The first instant after `from`, up to and including `to`, from which on the offset is not that
/// at `from`. Two changes within one day that cancel out are not seen; no zone has made any.
fn next_change(from: DateTime<Utc>, to: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
    let unchanged = offset(from, zone);
    let mut before = from;
    while before < to {
        let mut after = to.min(before + DAY);
        if offset(after, zone) == unchanged {
            before = after;
            continue;
        }
        while after - before > SECOND {
            let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
            if offset(middle, zone) == unchanged { before = middle } else { after = middle }
        }
        return Some(after);
    }
    None
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
