//! The times that a crontab line names on a wall clock that is never changed.
//!
//! The only place that knows the crate `cron` and its dialect: six fields with seconds first,
//! weekdays from 1 for Sunday, and a day that must always match both day fields.

use chrono::{DateTime, Month, NaiveDateTime};

use super::fields::{Field, Fields, ScheduleError};

/// Wall-clock times, as the union of what each part matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WallTimes {
    parts: Vec<cron::Schedule>,
}

impl WallTimes {
    pub(super) fn new(fields: &Fields) -> Result<Self, ScheduleError> {
        let all = "*".to_owned();
        let day_of_month = list(&fields.day_of_month, 0);
        let day_of_week = list(&fields.day_of_week, 1);
        let either = !fields.day_of_month.starred && !fields.day_of_week.starred;
        let days = if either {
            vec![(day_of_month, all.clone()), (all, day_of_week)]
        } else {
            vec![(day_of_month, day_of_week)]
        };
        let parts = days.into_iter().map(|(day_of_month, day_of_week)| {
            let [second, minute, hour, month] =
                [&fields.second, &fields.minute, &fields.hour, &fields.month]
                    .map(|field| list(field, 0));
            format!("{second} {minute} {hour} {day_of_month} {month} {day_of_week}")
                .parse()
                .map_err(|error: cron::error::Error| ScheduleError::Matcher(error.to_string()))
        });
        let times = Self { parts: parts.collect::<Result<_, _>>()? };
        match times.after(DateTime::UNIX_EPOCH.naive_utc()) {
            Some(_) => Ok(times),
            None => Err(never(fields)),
        }
    }

    /// The first wall-clock time after `wall`; the crate knows the years
    /// 1970 to 2100.
    pub(super) fn after(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        let next = |part: &cron::Schedule| part.after(&wall.and_utc()).next();
        self.parts.iter().filter_map(next).min().map(|next| next.naive_utc())
    }
}

/// A field in the crate's dialect: its values, each `shift` higher, or `*` for all of them.
fn list(field: &Field, shift: u32) -> String {
    if field.is_full() {
        return "*".to_owned();
    }
    let values: Vec<String> =
        field.values.iter().map(|value| (value + shift).to_string()).collect();
    values.join(",")
}

/// Only days that no month named has can keep a line from ever firing: every date that exists
/// falls on every weekday in the course of the years.
fn never(fields: &Fields) -> ScheduleError {
    let days = fields.day_of_month.values.iter().map(u32::to_string).collect::<Vec<_>>();
    let names = fields.month.values.iter().filter_map(|month| {
        let month = Month::try_from(u8::try_from(*month).ok()?).ok()?;
        Some(month.name())
    });
    let months = names.collect::<Vec<_>>();
    ScheduleError::NeverFires { dates: format!("{} {}", days.join(" or "), months.join(" or ")) }
}
