//! Values as their columns' types, for those who compare or convert them.

use super::values::{self, ColumnKind};

/// The value of one column of one entity. Text is borrowed from the entity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'r> {
    /// The element is absent, or is nil and empty. Not the same as an empty text.
    Null,
    /// A string, exactly; also the value of a type that the service does not document, a number of
    /// `xs:double` that 64 bits would make infinite or zero, and an instant whose year is too long.
    Text(&'r str),
    /// A whole number of a type with bounds (`xs:long`, `xs:unsignedInt`, …).
    Integer(i128),
    /// A number of a type without bounds (`xs:integer`, `xs:decimal`): digits with an optional sign
    /// and at most one point, blanks around it removed.
    Decimal(&'r str),
    /// `xs:double` or `xs:float`; infinite or not a number only where the text says so.
    Double(f64),
    /// `xs:boolean`.
    Boolean(bool),
    /// `xs:dateTime`.
    Instant(Instant<'r>),
    /// A geography as well-known text, blanks around it removed. Validation has checked its words,
    /// numbers and parentheses, not its grammar.
    Geometry(&'r str),
    /// A text that does not read as its column's type, exactly.
    Unreadable(&'r str),
}

/// A date and time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant<'r> {
    /// The text, blanks around it removed.
    pub text: &'r str,
    /// Whole seconds since 1970-01-01T00:00:00Z; a value without a zone is taken as UTC.
    pub seconds: i64,
    /// The digits behind the point, as written; empty without a point.
    pub fraction: &'r str,
    /// Minutes east of UTC; 0 for `Z`, `None` without a zone.
    pub offset_minutes: Option<i16>,
}

impl Instant<'_> {
    /// Nanoseconds of the fraction. Further digits are left out.
    pub fn nanoseconds(&self) -> u32 {
        let digits = self.fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
        digits.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'))
    }
}

impl<'r> Value<'r> {
    /// Reads a text, unescaped, as `kind`.
    pub fn read(kind: ColumnKind, text: &'r str) -> Self {
        let trimmed = values::trim_str(text);
        let value = match kind {
            ColumnKind::Text => Some(Self::Text(text)),
            _ if !values::check(kind, text) => None,
            ColumnKind::Integer { .. } => trimmed.parse().ok().map(Self::Integer),
            ColumnKind::BigInteger | ColumnKind::Decimal => Some(Self::Decimal(trimmed)),
            ColumnKind::Double => match trimmed {
                "INF" | "+INF" => Some(Self::Double(f64::INFINITY)),
                "-INF" => Some(Self::Double(f64::NEG_INFINITY)),
                number => number.parse().ok().map(|read| match is_beyond(number, read) {
                    true => Self::Text(text),
                    false => Self::Double(read),
                }),
            },
            ColumnKind::Boolean => {
                Some(Self::Boolean(trimmed == "1" || trimmed.eq_ignore_ascii_case("true")))
            }
            ColumnKind::DateTime => Some(match instant(trimmed) {
                Some(instant) => Self::Instant(instant),
                None => Self::Text(text),
            }),
            ColumnKind::Geography => Some(Self::Geometry(trimmed)),
        };
        value.unwrap_or(Self::Unreadable(text))
    }
}

/// Whether the digits of a number say something else than what was read from them: they are too
/// large, or too small but not zero.
fn is_beyond(digits: &str, read: f64) -> bool {
    if read.is_infinite() {
        return true;
    }
    let mantissa = digits.split(['e', 'E']).next().unwrap_or_default();
    read == 0.0 && mantissa.bytes().any(|digit| matches!(digit, b'1'..=b'9'))
}

/// The instant that `text` names, which validation has checked; `None` when its year has more than
/// nine digits.
fn instant(text: &str) -> Option<Instant<'_>> {
    let parts = values::date_time(text.as_bytes())?;
    let year = std::str::from_utf8(parts.year).ok()?;
    let year: i64 = (year.len() <= 9).then(|| year.parse().ok())??;
    let year = if parts.before_christ { -year } else { year };
    let days = days_since_epoch(year, parts.month.into(), parts.day.into());
    let [hour, minute, second] = [parts.hour, parts.minute, parts.second].map(i64::from);
    let offset = i64::from(parts.offset_minutes.unwrap_or(0)) * 60;
    Some(Instant {
        text,
        seconds: days * 86_400 + hour * 3_600 + minute * 60 + second - offset,
        fraction: std::str::from_utf8(parts.fraction).ok()?,
        offset_minutes: parts.offset_minutes,
    })
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar. The year 0 is a leap year,
/// as ISO 8601 has it.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // years begin in March, so that a leap day is the last of its year
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, NaiveDate, TimeDelta};
    use proptest::prelude::*;

    fn read<'t>(r#type: &str, text: &'t str) -> Value<'t> {
        Value::read(ColumnKind::of(r#type), text)
    }

    #[test]
    fn every_type_has_its_value() {
        for (r#type, text, value) in [
            ("xs:string", " a ", Value::Text(" a ")),
            ("xs:string", "", Value::Text("")),
            ("xs:madeUp", "x", Value::Text("x")),
            ("xs:long", " +7\n", Value::Integer(7)),
            ("xs:long", "-9223372036854775808", Value::Integer(i64::MIN.into())),
            ("xs:unsignedLong", "18446744073709551615", Value::Integer(u64::MAX.into())),
            ("xs:long", "9223372036854775808", Value::Unreadable("9223372036854775808")),
            ("xs:long", "", Value::Unreadable("")),
            ("xs:long", " x ", Value::Unreadable(" x ")),
            ("xs:integer", " 123456789012345678901 ", Value::Decimal("123456789012345678901")),
            ("xs:decimal", "+1.50", Value::Decimal("+1.50")),
            ("xs:double", "-1.5E-05", Value::Double(-1.5e-5)),
            ("xs:double", "5.", Value::Double(5.0)),
            ("xs:double", "+.5", Value::Double(0.5)),
            ("xs:double", " 1E400", Value::Text(" 1E400")),
            ("xs:double", "-1e400", Value::Text("-1e400")),
            ("xs:double", "1e-400", Value::Text("1e-400")),
            ("xs:double", "5e-324", Value::Double(5e-324)),
            ("xs:double", "0e999", Value::Double(0.0)),
            ("xs:double", "-0.00", Value::Double(-0.0)),
            ("xs:float", "-INF", Value::Double(f64::NEG_INFINITY)),
            ("xs:float", "+INF", Value::Double(f64::INFINITY)),
            ("xs:double", "inf", Value::Unreadable("inf")),
            ("xs:boolean", "TRUE", Value::Boolean(true)),
            ("xs:boolean", " 1", Value::Boolean(true)),
            ("xs:boolean", "False", Value::Boolean(false)),
            ("xs:boolean", "0", Value::Boolean(false)),
            ("xs:boolean", "yes", Value::Unreadable("yes")),
            ("xs:anyType", " POINT (1 2)\n", Value::Geometry("POINT (1 2)")),
            ("xs:anyType", "POINT 1 2", Value::Unreadable("POINT 1 2")),
            ("xs:dateTime", "2011-02-29T00:00:00", Value::Unreadable("2011-02-29T00:00:00")),
            ("xs:dateTime", "1234567890-01-01T00:00:00", Value::Text("1234567890-01-01T00:00:00")),
        ] {
            assert_eq!(read(r#type, text), value, "{type} {text:?}");
        }
        assert!(matches!(read("xs:double", "NaN"), Value::Double(number) if number.is_nan()));
    }

    #[test]
    fn an_instant_keeps_its_fraction_and_its_zone() {
        for (text, seconds, fraction, nanoseconds, offset_minutes) in [
            ("1970-01-01T00:00:00", 0, "", 0, None),
            (" 1970-01-01T00:00:00Z ", 0, "", 0, Some(0)),
            ("1970-01-01T02:00:00.5+02:00", 0, "5", 500_000_000, Some(120)),
            ("1969-12-31T10:00:00.0000000019-14:00", 0, "0000000019", 1, Some(-840)),
            ("2011-12-31T24:00:00Z", 1_325_376_000, "", 0, Some(0)),
            ("2000-02-29T23:59:59.120Z", 951_868_799, "120", 120_000_000, Some(0)),
            ("0000-03-01T00:00:00Z", -62_162_035_200, "", 0, Some(0)),
            ("-0044-03-15T12:00:00Z", -63_549_316_800, "", 0, Some(0)),
        ] {
            let Value::Instant(instant) = read("xs:dateTime", text) else { panic!("{text}") };
            let expected = Instant { text: text.trim(), seconds, fraction, offset_minutes };
            assert_eq!((instant, instant.nanoseconds()), (expected, nanoseconds), "{text}");
        }
    }

    proptest! {
        #[test]
        fn instants_agree_with_the_calendar(seconds in -60_000_000_000i64..250_000_000_000, nanoseconds in 0u32..1_000_000_000) {
            let instant = DateTime::from_timestamp(seconds, nanoseconds).unwrap();
            let text = instant.to_rfc3339();
            let Value::Instant(read) = read("xs:dateTime", &text) else { panic!("{text}") };
            prop_assert_eq!((read.seconds, read.nanoseconds()), (seconds, nanoseconds));
        }

        #[test]
        fn days_are_counted_as_the_calendar_counts_them(days in -1_000_000i64..1_000_000) {
            let date = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + TimeDelta::days(days);
            let parts = date.format("%Y %m %d").to_string();
            let parts: Vec<i64> = parts.split(' ').map(|part| part.parse().unwrap()).collect();
            prop_assert_eq!(days_since_epoch(parts[0], parts[1], parts[2]), days);
        }

        #[test]
        fn a_value_is_unreadable_exactly_where_validation_counts_one(text in "[-+0-9.:TZEINFa-e ]{0,24}", at in 0usize..7) {
            let r#type = ["long", "integer", "decimal", "double", "boolean", "dateTime", "anyType"][at];
            let unreadable = matches!(read(r#type, &text), Value::Unreadable(_));
            prop_assert_eq!(unreadable, !values::check(ColumnKind::of(r#type), &text));
        }
    }
}
