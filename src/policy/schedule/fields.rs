//! A crontab line, read into sets of numbers.

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

const SHORTHANDS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The numbers that each field names.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) second: Field,
    pub(super) minute: Field,
    pub(super) hour: Field,
    pub(super) day_of_month: Field,
    pub(super) month: Field,
    /// 0 is Sunday, 6 Saturday.
    pub(super) day_of_week: Field,
}

/// One field.
#[derive(Debug)]
pub(super) struct Field {
    unit: &'static Unit,
    pub(super) values: BTreeSet<u32>,
    /// The field begins with `*`, which crontab takes as "not restricted", even in `*/2`.
    pub(super) starred: bool,
}

/// What a field counts.
#[derive(Debug)]
struct Unit {
    name: &'static str,
    min: u32,
    max: u32,
    /// Names of the values from `min` on.
    names: &'static [&'static str],
    /// A number that stands for the same as `min`.
    alias_of_min: Option<u32>,
}

static SECOND: Unit = Unit::plain("second", 0, 59);
static MINUTE: Unit = Unit::plain("minute", 0, 59);
static HOUR: Unit = Unit::plain("hour", 0, 23);
static DAY_OF_MONTH: Unit = Unit::plain("day-of-month", 1, 31);
static MONTH: Unit = Unit {
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    ..Unit::plain("month", 1, 12)
};
static DAY_OF_WEEK: Unit = Unit {
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    alias_of_min: Some(7),
    ..Unit::plain("day-of-week", 0, 7)
};

/// Why a text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// Neither five nor six fields.
    #[error(
        "expected five fields (minute hour day-of-month month day-of-week) or six with seconds \
         first, found {0}{year}",
        year = if *.0 == 7 { " (a year cannot be given)" } else { "" }
    )]
    FieldCount(usize),
    /// `@reboot`.
    #[error("@reboot names no time; write one, such as @daily or \"0 2 * * *\"")]
    Reboot,
    /// Another word that begins with `@`.
    #[error("unknown schedule \"{0}\", allowed are {known}", known = shorthands())]
    UnknownShorthand(String),
    /// Something is wrong within a field.
    #[error("{unit} field \"{field}\": {problem}")]
    Field {
        /// The field's name, such as `day-of-week`.
        unit: &'static str,
        /// The field as it was written.
        field: String,
        /// What is wrong.
        problem: FieldProblem,
    },
    /// All is well formed, but no year has such a day.
    #[error("never fires: no {dates}")]
    NeverFires {
        /// The dates that do not exist, such as `31 February`.
        dates: String,
    },
    /// The matching library refused what this module made of a valid line.
    #[error("cannot be evaluated: {0}")]
    Matcher(String),
}

/// The error within a field.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FieldProblem {
    /// A number outside the field's range.
    #[error("{found} is out of range {min}-{max}")]
    OutOfRange {
        /// The digits found.
        found: String,
        /// The lowest number allowed.
        min: u32,
        /// The highest number allowed.
        max: u32,
    },
    /// A word that is none of the field's names.
    #[error("unknown name \"{found}\", allowed are {first} … {last} or {min}-{max}")]
    UnknownName {
        /// The word found.
        found: String,
        /// The first name allowed.
        first: &'static str,
        /// The last name allowed.
        last: &'static str,
        /// The lowest number allowed.
        min: u32,
        /// The highest number allowed.
        max: u32,
    },
    /// Not of crontab's form at all.
    #[error(
        "\"{found}\" is not understood, allowed are *, numbers {min}-{max}, ranges such as {min}-{max}, steps such as */2, and lists of these with commas"
    )]
    NotUnderstood {
        /// The text found.
        found: String,
        /// The lowest number allowed.
        min: u32,
        /// The highest number allowed.
        max: u32,
    },
    /// `?`, `L`, `W` or `#`.
    #[error("\"{0}\" is not crontab: the extensions ?, L, W and # are not supported")]
    Extension(String),
    /// A step that is no positive number.
    #[error("a step must be a number from 1 up, found \"{0}\"")]
    Step(String),
    /// A range whose end lies before its start.
    #[error("the range {found} runs backwards, write {instead}")]
    Backwards {
        /// The range found.
        found: String,
        /// The same in crontab's form.
        instead: String,
    },
}

fn shorthands() -> String {
    SHORTHANDS.map(|(name, _)| name).join(", ")
}

impl Fields {
    pub(super) fn parse(text: &str) -> Result<Self, ScheduleError> {
        let text = match text.trim() {
            word if word.starts_with('@') => expand(word)?,
            line => line,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (second, rest) = match fields.as_slice() {
            [second, rest @ ..] if rest.len() == 5 => (*second, rest),
            rest => ("0", rest),
        };
        let [minute, hour, day_of_month, month, day_of_week] = rest else {
            return Err(ScheduleError::FieldCount(fields.len()));
        };
        Ok(Self {
            second: SECOND.parse(second)?,
            minute: MINUTE.parse(minute)?,
            hour: HOUR.parse(hour)?,
            day_of_month: DAY_OF_MONTH.parse(day_of_month)?,
            month: MONTH.parse(month)?,
            day_of_week: DAY_OF_WEEK.parse(day_of_week)?,
        })
    }
}

fn expand(word: &str) -> Result<&'static str, ScheduleError> {
    if word.eq_ignore_ascii_case("@reboot") {
        return Err(ScheduleError::Reboot);
    }
    let found = SHORTHANDS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
    found.map(|(_, line)| *line).ok_or_else(|| ScheduleError::UnknownShorthand(word.to_owned()))
}

impl Field {
    /// Whether every value of the unit is named.
    pub(super) fn is_full(&self) -> bool {
        let Unit { min, max, alias_of_min, .. } = self.unit;
        (*min..=*max).all(|value| Some(value) == *alias_of_min || self.values.contains(&value))
    }
}

impl Unit {
    const fn plain(name: &'static str, min: u32, max: u32) -> Self {
        Self { name, min, max, names: &[], alias_of_min: None }
    }

    fn parse(&'static self, field: &str) -> Result<Field, ScheduleError> {
        let mut values = BTreeSet::new();
        for item in field.split(',') {
            let named = self.item(item).map_err(|problem| ScheduleError::Field {
                unit: self.name,
                field: field.to_owned(),
                problem,
            })?;
            values.extend(named.map(|value| self.canonical(value)));
        }
        Ok(Field { unit: self, values, starred: field.starts_with('*') })
    }

    /// `*`, a value or a range, and perhaps a step.
    fn item(&self, item: &str) -> Result<impl Iterator<Item = u32> + use<>, FieldProblem> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(positive(step)?)),
            None => (item, None),
        };
        let (from, to) = if range == "*" {
            (self.min, self.max)
        } else if let Some((from, to)) = range.split_once('-') {
            self.range(range, from, to).map_err(|problem| match problem {
                FieldProblem::NotUnderstood { .. } => self.not_understood(item),
                other => other,
            })?
        } else {
            let value = self.value(range)?;
            (value, if step.is_some() { self.max } else { value })
        };
        Ok((from..=to).step_by(step.unwrap_or(1)))
    }

    fn range(&self, range: &str, from: &str, to: &str) -> Result<(u32, u32), FieldProblem> {
        let (first, mut last) = (self.value(from)?, self.value(to)?);
        // "fri-sun" can only mean the Sunday that ends the week.
        if last < first && last == self.min {
            last = self.alias_of_min.unwrap_or(last);
        }
        if first <= last {
            return Ok((first, last));
        }
        let named = self.named(from).or(self.named(to)).is_some();
        let part = |first, last| Part { unit: self, first, last, named };
        // The alias of the least value closes the first part, so the second begins above it.
        let restart = self.min + u32::from(self.alias_of_min.is_some());
        let (head, tail) = (part(first, self.max), part(restart, last));
        Err(FieldProblem::Backwards { found: range.to_owned(), instead: format!("{head},{tail}") })
    }

    fn value(&self, text: &str) -> Result<u32, FieldProblem> {
        let (min, max) = (self.min, self.max);
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            // Digits that do not fit a number are out of range as well.
            let value = text.parse().ok().filter(|value| (min..=max).contains(value));
            return value.ok_or_else(|| FieldProblem::OutOfRange {
                found: text.to_owned(),
                min,
                max,
            });
        }
        if let Some(value) = self.named(text) {
            return Ok(value);
        }
        if is_extension(text) {
            return Err(FieldProblem::Extension(text.to_owned()));
        }
        match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) if text.bytes().any(|byte| byte.is_ascii_alphabetic()) => {
                Err(FieldProblem::UnknownName { found: text.to_owned(), first, last, min, max })
            }
            _ => Err(self.not_understood(text)),
        }
    }

    fn named(&self, text: &str) -> Option<u32> {
        (self.min..)
            .zip(self.names)
            .find(|(_, name)| text.eq_ignore_ascii_case(name))
            .map(|(n, _)| n)
    }

    fn canonical(&self, value: u32) -> u32 {
        if Some(value) == self.alias_of_min { self.min } else { value }
    }

    fn not_understood(&self, found: &str) -> FieldProblem {
        FieldProblem::NotUnderstood { found: found.to_owned(), min: self.min, max: self.max }
    }
}

fn positive(step: &str) -> Result<usize, FieldProblem> {
    let digits = step.bytes().all(|byte| byte.is_ascii_digit());
    let number = step.parse().ok().filter(|step| digits && *step > 0);
    number.ok_or_else(|| FieldProblem::Step(step.to_owned()))
}

/// Whether a value is of the forms that other schedulers add: `?`, `L`, `5L`, `15W`, `LW`, `5#2`.
fn is_extension(text: &str) -> bool {
    let letters = text.trim_start_matches(|c: char| c.is_ascii_digit());
    text.contains(['?', '#']) || ["L", "W", "LW"].iter().any(|l| letters.eq_ignore_ascii_case(l))
}

/// A part of a range as a user would write it, in names if the range was.
struct Part<'a> {
    unit: &'a Unit,
    first: u32,
    last: u32,
    named: bool,
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unit, first, last, named } = *self;
        let label = |value: u32| {
            let index = (unit.canonical(value) - unit.min) as usize;
            let name = unit.names.get(index).filter(|_| named);
            name.map_or_else(|| value.to_string(), |name| (*name).to_owned())
        };
        if first == last {
            f.write_str(&label(first))
        } else {
            write!(f, "{}-{}", label(first), label(last))
        }
    }
}
