//! Whether a value can be read as its column's type. All pure, one pass, nothing allocated.
//!
//! The lexical rules are those of XML Schema part 2, a little wider where writers are known to
//! differ. White space around a value that is not a string does not count.

use super::wkt;

/// How the values of a column are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Anything: strings, and every type this service does not document.
    Text,
    /// Whole numbers between two bounds, given as the largest magnitude below and above zero.
    Integer {
        /// How far below zero.
        below: u64,
        /// How far above zero.
        above: u64,
    },
    /// Whole numbers of any length.
    BigInteger,
    /// Digits with at most one point.
    Decimal,
    /// Decimal or scientific notation, `INF`, `-INF`, `NaN`.
    Double,
    /// `true`, `false`, `1`, `0`.
    Boolean,
    /// A date and time of day, with or without an offset.
    DateTime,
    /// A geography as well-known text (the service's use of `xs:anyType`).
    Geography,
}

impl ColumnKind {
    /// The kind of a type written `xs:…`.
    pub fn of(r#type: &str) -> Self {
        let signed =
            |bits: u32| Self::Integer { below: 1 << (bits - 1), above: (1 << (bits - 1)) - 1 };
        let unsigned = |above: u64| Self::Integer { below: 0, above };
        match r#type.strip_prefix("xs:").unwrap_or(r#type) {
            "long" => signed(64),
            "int" => signed(32),
            "short" => signed(16),
            "byte" => signed(8),
            "unsignedLong" => unsigned(u64::MAX),
            "unsignedInt" => unsigned(u32::MAX.into()),
            "unsignedShort" => unsigned(u16::MAX.into()),
            "unsignedByte" => unsigned(u8::MAX.into()),
            "integer" | "nonNegativeInteger" | "positiveInteger" | "nonPositiveInteger"
            | "negativeInteger" => Self::BigInteger,
            "decimal" => Self::Decimal,
            "double" | "float" => Self::Double,
            "boolean" => Self::Boolean,
            "dateTime" => Self::DateTime,
            "anyType" => Self::Geography,
            _ => Self::Text,
        }
    }
}

/// Whether `text`, unescaped, can be read as `kind`. No kind but [`ColumnKind::Text`] reads an
/// empty value.
pub(super) fn check(kind: ColumnKind, text: &str) -> bool {
    if kind == ColumnKind::Text {
        return true;
    }
    let bytes = trim(text.as_bytes());
    match kind {
        ColumnKind::Text => true,
        ColumnKind::Integer { below, above } => integer(bytes, below, above),
        ColumnKind::BigInteger => is_digits(unsigned(bytes)),
        ColumnKind::Decimal => decimal(unsigned(bytes)) == Some(&[]),
        ColumnKind::Double => {
            matches!(bytes, b"INF" | b"-INF" | b"+INF" | b"NaN") || is_number(bytes)
        }
        ColumnKind::Boolean => {
            matches!(bytes, b"true" | b"false" | b"0" | b"1")
                || bytes.eq_ignore_ascii_case(b"true")
                || bytes.eq_ignore_ascii_case(b"false")
        }
        ColumnKind::DateTime => date_time(bytes).is_some(),
        ColumnKind::Geography => wkt::check(bytes),
    }
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = bytes {
        bytes = rest;
    }
    bytes
}

/// `text` without the white space around it.
pub(super) fn trim_str(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

/// What follows an optional sign.
fn unsigned(bytes: &[u8]) -> &[u8] {
    match bytes {
        [b'+' | b'-', rest @ ..] => rest,
        _ => bytes,
    }
}

fn is_digits(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit)
}

fn integer(bytes: &[u8], below: u64, above: u64) -> bool {
    let digits = unsigned(bytes);
    let limit = if bytes.starts_with(b"-") { below } else { above };
    is_digits(digits) && magnitude(digits).is_some_and(|magnitude| magnitude <= limit)
}

/// The number that digits make.
fn magnitude(digits: &[u8]) -> Option<u64> {
    /// So many digits always fit.
    const FIT: usize = 19;
    let value = |digit: &u8| u64::from(*digit - b'0');
    if digits.len() <= FIT {
        return Some(digits.iter().fold(0, |sum, digit| sum * 10 + value(digit)));
    }
    digits.iter().try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(value(digit)))
}

/// The leading digits, and the rest.
fn digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|b| !b.is_ascii_digit()).unwrap_or(bytes.len());
    bytes.split_at_checked(end).unwrap_or((bytes, &[]))
}

/// What follows `1`, `1.5`, `1.` or `.5`; none if there is no number.
fn decimal(bytes: &[u8]) -> Option<&[u8]> {
    let (whole, rest) = digits(bytes);
    let (part, rest) = match rest {
        [b'.', rest @ ..] => digits(rest),
        _ => (&[][..], rest),
    };
    (!whole.is_empty() || !part.is_empty()).then_some(rest)
}

/// Whether it is one number, in decimal or scientific notation.
pub(super) fn is_number(bytes: &[u8]) -> bool {
    match decimal(unsigned(bytes)) {
        Some([]) => true,
        Some([b'e' | b'E', exponent @ ..]) => is_digits(unsigned(exponent)),
        _ => false,
    }
}

/// The parts of a date and time, as written.
#[derive(Debug)]
pub(super) struct DateTimeParts<'t> {
    pub(super) before_christ: bool,
    pub(super) year: &'t [u8],
    pub(super) month: u8,
    pub(super) day: u8,
    pub(super) hour: u8,
    pub(super) minute: u8,
    pub(super) second: u8,
    pub(super) fraction: &'t [u8],
    /// Minutes east of UTC; `None` without a zone.
    pub(super) offset_minutes: Option<i16>,
}

/// `YYYY-MM-DDThh:mm:ss[.f…][Z|±hh:mm]`, a date of the calendar; `24:00:00` ends a day.
#[inline]
pub(super) fn date_time(bytes: &[u8]) -> Option<DateTimeParts<'_>> {
    let before_christ = bytes.starts_with(b"-");
    let bytes = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let (year, rest) = digits(bytes);
    if year.len() < 4 || (year.len() > 4 && year.starts_with(b"0")) {
        return None;
    }
    let (month, rest) = two_digits(rest.strip_prefix(b"-")?)?;
    let (day, rest) = two_digits(rest.strip_prefix(b"-")?)?;
    if day == 0 || day > days_in(year, month)? {
        return None;
    }
    let (hour, rest) = two_digits(rest.strip_prefix(b"T")?)?;
    let (minute, rest) = two_digits(rest.strip_prefix(b":")?)?;
    let (second, rest) = two_digits(rest.strip_prefix(b":")?)?;
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => {
            let (fraction, rest) = digits(rest);
            (!fraction.is_empty()).then_some((fraction, rest))?
        }
        _ => (&[][..], rest),
    };
    let midnight = hour == 24 && minute == 0 && second == 0 && fraction.iter().all(|d| *d == b'0');
    if !midnight && (hour > 23 || minute > 59 || second > 59) {
        return None;
    }
    let offset_minutes = match rest {
        [] => None,
        b"Z" => Some(0),
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let (hours, rest) = two_digits(rest)?;
            let (minutes, rest) = two_digits(rest.strip_prefix(b":")?)?;
            let within = (hours < 14 && minutes < 60) || (hours == 14 && minutes == 0);
            let minutes = i16::from(hours) * 60 + i16::from(minutes);
            (within && rest.is_empty()).then_some(())?;
            Some(if *sign == b'-' { -minutes } else { minutes })
        }
        _ => return None,
    };
    Some(DateTimeParts {
        before_christ,
        year,
        month,
        day,
        hour,
        minute,
        second,
        fraction,
        offset_minutes,
    })
}

fn two_digits(bytes: &[u8]) -> Option<(u8, &[u8])> {
    match bytes {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9', rest @ ..] => {
            Some(((tens - b'0') * 10 + (ones - b'0'), rest))
        }
        _ => None,
    }
}

fn days_in(year: &[u8], month: u8) -> Option<u8> {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => {
            // of any length: the rules look at the remainder by 400 only
            let year = year.iter().fold(0u32, |n, d| (n * 10 + u32::from(d - b'0')) % 400);
            let leap = year % 4 == 0 && (year % 100 != 0 || year == 0);
            Some(if leap { 29 } else { 28 })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, NaiveDate, TimeDelta};
    use proptest::prelude::*;

    fn check_table(r#type: &str, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(check(ColumnKind::of(r#type), text), "{type} refuses {text:?}");
            let padded = format!(" \t\r\n{text}\n ");
            assert!(check(ColumnKind::of(r#type), &padded), "{type} refuses {padded:?}");
        }
        for text in bad.iter().chain(&["", " ", "x", "1 2", "\u{a0}1", "１", "0x10"]) {
            assert!(!check(ColumnKind::of(r#type), text), "{type} takes {text:?}");
        }
    }

    #[test]
    fn numbers_are_checked_to_their_last_digit() {
        let max = "9223372036854775807";
        check_table(
            "xs:long",
            &["0", "-0", "+7", "007", max, "-9223372036854775808"],
            &["9223372036854775808", "-9223372036854775809", "1.0", "1e3", "+", "-", "--1"],
        );
        check_table("xs:int", &["2147483647", "-2147483648"], &["2147483648", max]);
        check_table("xs:short", &["32767", "-32768"], &["32768"]);
        check_table("xs:byte", &["127", "-128"], &["128", "-129"]);
        check_table("xs:unsignedByte", &["255", "-0"], &["256", "-1"]);
        check_table("xs:unsignedLong", &["18446744073709551615"], &["18446744073709551616"]);
        check_table("xs:integer", &["123456789012345678901234567890"], &["1.5", "-"]);
        check_table("xs:decimal", &["1", "-1.50", ".5", "5."], &["1e5", ".", "-", "1.2.3", "INF"]);
        check_table(
            "xs:double",
            &["1", "-1.5", "+.5", "5.", "1E-05", "1.7976931348623157E+308", "INF", "-INF", "NaN"],
            &[".", "e5", "1e", "1e+", "1.2.3", "1,5", "inf", "nan", "Infinity", "1f"],
        );
    }

    #[test]
    fn booleans_are_words_or_digits() {
        check_table(
            "xs:boolean",
            &["true", "false", "0", "1", "True", "FALSE"],
            &["yes", "2", "tru"],
        );
    }

    #[test]
    fn date_times_are_real_dates() {
        check_table(
            "xs:dateTime",
            &[
                "2011-11-17T20:38:31",
                "2011-11-17T20:38:31.1234567-08:00",
                "2012-02-29T00:00:00Z",
                "2000-02-29T23:59:59.999+14:00",
                "2011-12-31T24:00:00",
                "2011-12-31T24:00:00.000Z",
                "0001-01-01T00:00:00",
                "-0044-03-15T12:00:00",
                "12011-01-01T00:00:00Z",
            ],
            &[
                "2011-11-17",
                "2011-11-17 20:38:31",
                "2011-11-17t20:38:31",
                "2011-02-29T00:00:00",
                "1900-02-29T00:00:00",
                "2011-13-01T00:00:00",
                "2011-00-01T00:00:00",
                "2011-01-00T00:00:00",
                "2011-04-31T00:00:00",
                "2011-11-17T24:00:01",
                "2011-11-17T24:00:00.1",
                "2011-11-17T23:60:00",
                "2011-11-17T23:59:60",
                "2011-11-17T20:38",
                "2011-11-17T20:38:31.",
                "2011-11-17T20:38:31z",
                "2011-11-17T20:38:31+0800",
                "2011-11-17T20:38:31+14:01",
                "2011-11-17T20:38:31+08:60",
                "2011-11-17T20:38:31Z+01:00",
                "211-11-17T20:38:31",
                "02011-11-17T20:38:31",
                "Thu, 17 Nov 2011 20:38:31 GMT",
            ],
        );
    }

    #[test]
    fn text_and_unknown_types_are_anything() {
        for r#type in ["xs:string", "xs:base64Binary", "xs:madeUp"] {
            for text in ["", " ", "anything", "☃"] {
                assert!(check(ColumnKind::of(r#type), text), "{type} {text:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn longs_agree_with_the_standard_library(text in "[+-]?[0-9]{1,20}") {
            prop_assert_eq!(check(ColumnKind::of("xs:long"), &text), text.parse::<i64>().is_ok());
        }

        #[test]
        fn doubles_agree_with_the_standard_library(text in "[+-]?[0-9]{0,3}[.]?[0-9]{0,3}([eE][+-]?[0-9]{0,3})?[ x]{0,1}") {
            let expected = text.trim().parse::<f64>().is_ok();
            prop_assert_eq!(check(ColumnKind::of("xs:double"), &text), expected, "{}", text);
        }

        #[test]
        fn every_double_and_instant_can_be_read(number in any::<f64>(), seconds in 0i64..250_000_000_000, nanos in 0u32..1_000_000_000) {
            if number.is_finite() {
                for text in [format!("{number:?}"), format!("{number:E}")] {
                    prop_assert!(check(ColumnKind::of("xs:double"), &text), "{}", text);
                }
            }
            let instant = DateTime::from_timestamp(seconds, nanos).unwrap();
            prop_assert!(check(ColumnKind::of("xs:dateTime"), &instant.to_rfc3339()));
        }

        #[test]
        fn dates_agree_with_the_calendar(days in 0i64..1_000_000, day in 0u32..40) {
            let date = NaiveDate::from_ymd_opt(1600, 1, 1).unwrap() + TimeDelta::days(days);
            let month = date.format("%Y-%m");
            let exists = NaiveDate::parse_from_str(&format!("{month}-{day:02}"), "%Y-%m-%d").is_ok();
            prop_assert_eq!(check(ColumnKind::of("xs:dateTime"), &format!("{month}-{day:02}T00:00:00")), exists);
        }

        #[test]
        fn no_text_makes_a_check_panic(text in any::<String>()) {
            for r#type in ["long", "integer", "decimal", "double", "boolean", "dateTime", "anyType"] {
                check(ColumnKind::of(r#type), &text);
            }
        }
    }
}
