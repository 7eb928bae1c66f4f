//! A slow and obvious evaluation of crontab lines, to hold the real one against: it walks every
//! minute or second, looks at the wall clock and compares each field. Written apart from it.

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;

pub(super) struct Line {
    /// For seconds, minutes, hours, days, months and weekdays: whether each number is named.
    named: [Vec<bool>; 6],
    either_day: bool,
    hour_starred: bool,
}

impl Line {
    pub(super) fn parse(text: &str) -> Self {
        let mut fields: Vec<&str> = text.split(' ').collect();
        if fields.len() == 5 {
            fields.insert(0, "0");
        }
        let max = [59, 59, 23, 31, 12, 7];
        let min = [0, 0, 0, 1, 1, 0];
        let mut named = [0, 1, 2, 3, 4, 5].map(|i| {
            (0..=max[i]).map(|value| names(fields[i], value, min[i], max[i])).collect::<Vec<_>>()
        });
        named[5][0] |= named[5][7];
        Self {
            named,
            either_day: !fields[3].starts_with('*') && !fields[5].starts_with('*'),
            hour_starred: fields[2].starts_with('*'),
        }
    }

    fn names(&self, wall: NaiveDateTime) -> bool {
        let named = |field: usize, value: u32| self.named[field][value as usize];
        let day = named(3, wall.day());
        let weekday = named(5, wall.weekday().num_days_from_sunday());
        named(0, wall.second())
            && named(1, wall.minute())
            && named(2, wall.hour())
            && named(4, wall.month())
            && if self.either_day { day || weekday } else { day && weekday }
    }

    /// All instants in (since, until]. `step` must divide every time named and every offset.
    pub(super) fn instants(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        zone: Tz,
        step: TimeDelta,
    ) -> Vec<DateTime<Utc>> {
        let show = |instant: DateTime<Utc>| instant.with_timezone(&zone).naive_local();
        let grid = step.num_seconds();
        let start = since.timestamp().div_euclid(grid) * grid;
        // It begins earlier than any clock was set back, to know what was reached before.
        let mut now = DateTime::from_timestamp(start, 0).unwrap() - TimeDelta::hours(6);
        let mut reached = show(now);
        let mut instants = Vec::new();
        while now + step <= until {
            now += step;
            let shown = show(now);
            let mut due = self.hour_starred && self.names(shown);
            while reached < shown {
                reached += step;
                due |= !self.hour_starred && self.names(reached);
            }
            if due && now > since {
                instants.push(now);
            }
        }
        instants
    }
}

fn names(field: &str, value: u32, min: u32, max: u32) -> bool {
    field.split(',').any(|item| {
        let (range, step) = item.split_once('/').unwrap_or((item, ""));
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (number(first), number(last)),
            None if range == "*" => (min, max),
            None if step.is_empty() => (number(range), number(range)),
            None => (number(range), max),
        };
        let step = if step.is_empty() { 1 } else { number(step) };
        value >= first && value <= last && (value - first).is_multiple_of(step)
    })
}

fn number(text: &str) -> u32 {
    let names = "sun mon tue wed thu fri sat jan feb mar apr may jun jul aug sep oct nov dec";
    match names.split(' ').position(|name| name == text.to_lowercase()) {
        Some(weekday @ ..7) => u32::try_from(weekday).unwrap(),
        Some(month) => u32::try_from(month - 6).unwrap(),
        None => text.parse().unwrap(),
    }
}
