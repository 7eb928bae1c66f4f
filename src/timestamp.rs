//! How instants and durations are written for people.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// An instant as RFC 3339 in UTC, to the second: `2026-11-25T02:00:01Z`.
pub fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A rounded duration, such as an age: `59 s`, `2 min`, `47 h`, `3 d`. A negative one is `0 s`.
pub fn rounded(delta: TimeDelta) -> String {
    let seconds = delta.num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn an_instant_has_no_fraction_and_ends_with_z() {
        let at = Utc.timestamp_millis_opt(1_795_572_001_999).unwrap();
        assert_eq!(rfc3339(at), "2026-11-25T02:00:01Z");
    }

    #[test]
    fn durations_are_rounded_down_to_one_unit() {
        for (seconds, text) in [
            (-5, "0 s"),
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (172_799, "47 h"),
            (172_800, "2 d"),
            (864_000, "10 d"),
        ] {
            assert_eq!(rounded(TimeDelta::seconds(seconds)), text);
        }
    }
}
