//! Durations and sizes as people write them: `"1h30m"`, `"64 KiB"`.

use std::time::Duration;

/// The longest duration that is accepted: ten years, so that instants cannot overflow.
const LONGEST: Duration = Duration::from_hours(3650 * 24);

/// Unit and milliseconds, largest first.
const TIMES: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Unit and bytes. Of equal units, the first is the one that [`size_text`] writes.
const SIZES: [(&str, u64); 10] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Reads a duration: whole numbers, each with a unit (`ms`, `s`, `m`, `h`, `d`), the larger unit
/// first, as in `"500ms"`, `"5m"` or `"1h30m"`; at most ten years.
///
/// # Errors
/// A message that says what is wrong and how to write it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a number and a unit (ms, s, m, h or d) such as \"90s\"";
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(format!("the value is empty, {EXPECTED}"));
    }
    let mut total = Duration::ZERO;
    let mut smaller_than = u64::MAX;
    while !rest.is_empty() {
        let (number, after) = split_number(rest).ok_or_else(|| EXPECTED.to_owned())?;
        let unit_end = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end).unwrap_or((after, ""));
        if unit.is_empty() {
            return Err(match after.chars().next() {
                Some('.' | ',') => "expected whole numbers, such as \"1h30m\"".to_owned(),
                Some(_) => EXPECTED.to_owned(),
                None => format!("the unit is missing, such as \"{number}s\""),
            });
        }
        let Some(&(_, milliseconds)) = TIMES.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("there is no unit `{unit}`, {EXPECTED}"));
        };
        if milliseconds >= smaller_than {
            return Err("expected each unit once, the larger first, such as \"1h30m\"".to_owned());
        }
        smaller_than = milliseconds;
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|count| count.checked_mul(milliseconds))
            .and_then(|part| total.checked_add(Duration::from_millis(part)))
            .filter(|sum| *sum <= LONGEST)
            .ok_or("it is longer than 3650d")?;
        rest = after.trim_start();
    }
    Ok(total)
}

/// Writes a duration so that [`parse_duration`] reads it back; fractions of a millisecond are lost.
pub fn duration_text(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, milliseconds) in TIMES {
        // "24h" is how people write one day; days are used from two on
        if unit == "d" && rest < 2 * milliseconds {
            continue;
        }
        let count = rest / milliseconds;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
            rest %= milliseconds;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Reads a size in bytes: a whole number and a unit, binary (`KiB`, `MiB`, `GiB`, `TiB`) or
/// decimal (`B`, `kB`, `MB`, `GB`, `TB`), as in `"64 KiB"`; at most 2^63 - 1.
///
/// # Errors
/// A message that says what is wrong and how to write it.
pub fn parse_size(text: &str) -> Result<u64, String> {
    const EXPECTED: &str = "expected a whole number and a unit (B, KiB, MiB, GiB, TiB, kB, MB, GB or TB) such as \"64 KiB\"";
    let (number, unit) = split_number(text.trim()).ok_or_else(|| EXPECTED.to_owned())?;
    if unit.is_empty() {
        return Err(format!("the unit is missing, such as \"{number} MiB\""));
    }
    let Some(&(_, bytes)) = SIZES.iter().find(|(name, _)| *name == unit) else {
        return Err(match SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
            Some((name, _)) => format!("the unit is written {name}, such as \"{number} {name}\""),
            None => EXPECTED.to_owned(),
        });
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|count| count.checked_mul(bytes))
        .filter(|size| i64::try_from(*size).is_ok())
        .ok_or_else(|| "it is larger than any file can be".to_owned())
}

/// Writes a size in the largest binary unit that it is a multiple of, so that [`parse_size`]
/// reads it back.
pub fn size_text(bytes: u64) -> String {
    let (unit, size) = SIZES
        .into_iter()
        .filter(|(unit, size)| unit.ends_with("iB") && bytes > 0 && bytes.is_multiple_of(*size))
        .max_by_key(|(_, size)| *size)
        .unwrap_or(("B", 1));
    format!("{} {unit}", bytes / size)
}

/// The digits at the start, and the rest after any blanks. `None` without a digit.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(end)?;
    (!number.is_empty()).then_some((number, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_read_as_written() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("90s", 90_000),
            ("5m", 300_000),
            ("24h", 86_400_000),
            ("1d", 86_400_000),
            ("1h30m", 5_400_000),
            (" 1 h 30 m ", 5_400_000),
            ("0s", 0),
            ("3650d", 315_360_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn a_wrong_duration_says_how_to_write_it() {
        for (text, part) in [
            ("", "the value is empty"),
            ("5", "the unit is missing, such as \"5s\""),
            ("5 parsecs", "no unit `parsecs`"),
            ("5S", "no unit `S`"),
            ("1.5h", "whole numbers, such as \"1h30m\""),
            ("30m1h", "the larger first"),
            ("1h1h", "each unit once"),
            ("-5s", "expected a number and a unit"),
            ("h", "expected a number and a unit"),
            ("3651d", "longer than 3650d"),
            ("99999999999999999999s", "longer than 3650d"),
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_read_as_written() {
        for (text, bytes) in [
            ("1024 B", 1024),
            ("64 KiB", 65_536),
            ("64KiB", 65_536),
            ("2 GiB", 2_147_483_648),
            ("300 MB", 300_000_000),
            ("1 kB", 1_000),
            ("1 KB", 1_000),
            ("1 TB", 1_000_000_000_000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn a_wrong_size_says_how_to_write_it() {
        for (text, part) in [
            ("", "expected a whole number and a unit"),
            ("1024", "the unit is missing, such as \"1024 MiB\""),
            ("2 gib", "written GiB, such as \"2 GiB\""),
            ("2 G", "expected a whole number"),
            ("1.5 GiB", "expected a whole number"),
            ("9999999999 TiB", "larger than any file"),
        ] {
            let error = parse_size(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn texts_are_what_people_write() {
        assert_eq!(duration_text(Duration::from_hours(24)), "24h");
        assert_eq!(duration_text(Duration::from_hours(49)), "2d1h");
        assert_eq!(duration_text(Duration::from_millis(90_500)), "1m30s500ms");
        assert_eq!(duration_text(Duration::ZERO), "0s");
        assert_eq!(size_text(2 << 30), "2 GiB");
        assert_eq!(size_text(65_537), "65537 B");
        assert_eq!(size_text(0), "0 B");
    }

    proptest! {
        #[test]
        fn durations_come_back(milliseconds in 0_u64..=315_360_000_000) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse_duration(&duration_text(duration)), Ok(duration));
        }

        #[test]
        fn sizes_come_back(bytes in 0_u64..=i64::MAX as u64) {
            prop_assert_eq!(parse_size(&size_text(bytes)), Ok(bytes));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
        }
    }
}
