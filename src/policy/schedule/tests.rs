use chrono_tz::{America, Australia, Europe, Pacific};

use super::*;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn parse(text: &str) -> Schedule {
    Schedule::parse(text).unwrap()
}

/// The first instants after `after`, in local time.
fn runs(line: &str, zone: Tz, after: &str, n: usize) -> Vec<String> {
    let schedule = parse(line);
    let mut last = utc(after);
    let mut runs = Vec::new();
    for _ in 0..n {
        last = schedule.next_after(last, zone).unwrap();
        runs.push(last.with_timezone(&zone).format("%a %FT%T%:z").to_string());
    }
    runs
}

#[test]
fn lines_name_the_times_that_crontab_names() {
    for (line, expected) in [
        ("0 2 * * *", ["Fri 2026-11-06T02:00:00+00:00", "Sat 2026-11-07T02:00:00+00:00"]),
        ("  0\t2  * * *\n", ["Fri 2026-11-06T02:00:00+00:00", "Sat 2026-11-07T02:00:00+00:00"]),
        ("*/15 * * * *", ["Fri 2026-11-06T00:15:00+00:00", "Fri 2026-11-06T00:30:00+00:00"]),
        ("10-50/20 3 * * *", ["Fri 2026-11-06T03:10:00+00:00", "Fri 2026-11-06T03:30:00+00:00"]),
        ("25/30 3 * * *", ["Fri 2026-11-06T03:25:00+00:00", "Fri 2026-11-06T03:55:00+00:00"]),
        ("1,2 0,3 * * *", ["Fri 2026-11-06T00:01:00+00:00", "Fri 2026-11-06T00:02:00+00:00"]),
        ("0 0 * * 0", ["Sun 2026-11-08T00:00:00+00:00", "Sun 2026-11-15T00:00:00+00:00"]),
        ("0 0 * * 7", ["Sun 2026-11-08T00:00:00+00:00", "Sun 2026-11-15T00:00:00+00:00"]),
        ("0 0 * * 1", ["Mon 2026-11-09T00:00:00+00:00", "Mon 2026-11-16T00:00:00+00:00"]),
        ("0 0 * * 6-7", ["Sat 2026-11-07T00:00:00+00:00", "Sun 2026-11-08T00:00:00+00:00"]),
        ("0 0 * * Sat-SUN", ["Sat 2026-11-07T00:00:00+00:00", "Sun 2026-11-08T00:00:00+00:00"]),
        ("0 0 * * sun,tue", ["Sun 2026-11-08T00:00:00+00:00", "Tue 2026-11-10T00:00:00+00:00"]),
        ("0 0 * feb *", ["Mon 2027-02-01T00:00:00+00:00", "Tue 2027-02-02T00:00:00+00:00"]),
        ("0 0 1 jan,JUL-aug *", ["Fri 2027-01-01T00:00:00+00:00", "Thu 2027-07-01T00:00:00+00:00"]),
        ("0 0 29 2 *", ["Tue 2028-02-29T00:00:00+00:00", "Sun 2032-02-29T00:00:00+00:00"]),
        ("0 0 31 * *", ["Thu 2026-12-31T00:00:00+00:00", "Sun 2027-01-31T00:00:00+00:00"]),
        ("30 0 2 * * *", ["Fri 2026-11-06T02:00:30+00:00", "Sat 2026-11-07T02:00:30+00:00"]),
        ("*/20 * * * * *", ["Fri 2026-11-06T00:00:20+00:00", "Fri 2026-11-06T00:00:40+00:00"]),
        ("0 0 2 * * 1", ["Mon 2026-11-09T02:00:00+00:00", "Mon 2026-11-16T02:00:00+00:00"]),
        ("@yearly", ["Fri 2027-01-01T00:00:00+00:00", "Sat 2028-01-01T00:00:00+00:00"]),
        ("@annually", ["Fri 2027-01-01T00:00:00+00:00", "Sat 2028-01-01T00:00:00+00:00"]),
        ("@monthly", ["Tue 2026-12-01T00:00:00+00:00", "Fri 2027-01-01T00:00:00+00:00"]),
        ("@weekly", ["Sun 2026-11-08T00:00:00+00:00", "Sun 2026-11-15T00:00:00+00:00"]),
        ("@daily", ["Sat 2026-11-07T00:00:00+00:00", "Sun 2026-11-08T00:00:00+00:00"]),
        ("@Midnight", ["Sat 2026-11-07T00:00:00+00:00", "Sun 2026-11-08T00:00:00+00:00"]),
        ("@hourly", ["Fri 2026-11-06T01:00:00+00:00", "Fri 2026-11-06T02:00:00+00:00"]),
        // either day field, when neither begins with a star
        ("0 0 13 * fri", ["Fri 2026-11-13T00:00:00+00:00", "Fri 2026-11-20T00:00:00+00:00"]),
        ("0 0 9 * fri", ["Mon 2026-11-09T00:00:00+00:00", "Fri 2026-11-13T00:00:00+00:00"]),
        ("0 0 31 2 mon", ["Mon 2027-02-01T00:00:00+00:00", "Mon 2027-02-08T00:00:00+00:00"]),
        // both, when one begins with a star
        ("0 0 */10 * fri", ["Fri 2026-12-11T00:00:00+00:00", "Fri 2027-01-01T00:00:00+00:00"]),
        ("0 0 13 * */5", ["Fri 2026-11-13T00:00:00+00:00", "Sun 2026-12-13T00:00:00+00:00"]),
    ] {
        assert_eq!(runs(line, Tz::UTC, "2026-11-06T00:00:00Z", 2), expected, "{line}");
    }
}

#[test]
fn the_text_stays_as_written() {
    assert_eq!(parse(" 0  2 * * Mon ").text(), "0  2 * * Mon");
    assert_eq!(parse("@daily").text(), "@daily");
}

#[test]
fn mistakes_are_named_with_what_is_allowed() {
    for (line, expected) in [
        ("0 25 * * *", r#"hour field "25": 25 is out of range 0-23"#),
        ("60 * * * *", r#"minute field "60": 60 is out of range 0-59"#),
        ("0 0 0 * *", r#"day-of-month field "0": 0 is out of range 1-31"#),
        ("0 0 * 1-13 *", r#"month field "1-13": 13 is out of range 1-12"#),
        ("0 0 * * 8", r#"day-of-week field "8": 8 is out of range 0-7"#),
        ("61 0 0 * * *", r#"second field "61": 61 is out of range 0-59"#),
        ("99999999999 * * * *", r#"minute field "99999999999": 99999999999 is out of range 0-59"#),
        (
            "0 0 * * mondey",
            r#"day-of-week field "mondey": unknown name "mondey", allowed are sun … sat or 0-7"#,
        ),
        (
            "0 0 * jan-dez *",
            r#"month field "jan-dez": unknown name "dez", allowed are jan … dec or 1-12"#,
        ),
        (
            "0 two * * *",
            r#"hour field "two": "two" is not understood, allowed are *, numbers 0-23, ranges such as 0-23, steps such as */2, and lists of these with commas"#,
        ),
        ("*/0 * * * *", r#"minute field "*/0": a step must be a number from 1 up, found "0""#),
        ("*/ * * * *", r#"minute field "*/": a step must be a number from 1 up, found """#),
        ("*/+5 * * * *", r#"minute field "*/+5": a step must be a number from 1 up, found "+5""#),
        ("0 22-6 * * *", r#"hour field "22-6": the range 22-6 runs backwards, write 22-23,0-6"#),
        (
            "0 0 * * fri-mon",
            r#"day-of-week field "fri-mon": the range fri-mon runs backwards, write fri-sun,mon"#,
        ),
        ("0 0 * * 7-2", r#"day-of-week field "7-2": the range 7-2 runs backwards, write 7,1-2"#),
        (
            "0 0 * nov-feb *",
            r#"month field "nov-feb": the range nov-feb runs backwards, write nov-dec,jan-feb"#,
        ),
        (
            "0 0 L * *",
            r#"day-of-month field "L": "L" is not crontab: the extensions ?, L, W and # are not supported"#,
        ),
        (
            "",
            "expected five fields (minute hour day-of-month month day-of-week) or six with seconds first, found 0",
        ),
        (
            "0 2 * *",
            "expected five fields (minute hour day-of-month month day-of-week) or six with seconds first, found 4",
        ),
        (
            "0 0 2 * * * 2027",
            "expected five fields (minute hour day-of-month month day-of-week) or six with seconds first, found 7 (a year cannot be given)",
        ),
        ("@reboot", r#"@reboot names no time; write one, such as @daily or "0 2 * * *""#),
        (
            "@every 5m",
            r#"unknown schedule "@every 5m", allowed are @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly"#,
        ),
        ("0 0 31 2 *", "never fires: no 31 February"),
        ("0 0 30-31 feb *", "never fires: no 30 or 31 February"),
        ("0 0 31 4,6 */2", "never fires: no 31 April or June"),
    ] {
        assert_eq!(Schedule::parse(line).unwrap_err().to_string(), expected, "{line}");
    }
}

#[test]
fn extensions_and_broken_items_are_refused() {
    for item in ["?", "L", "5L", "15W", "LW", "5#2", "l-3", "fri#1", "?/2"] {
        let error = Schedule::parse(&format!("0 0 {item} * *")).unwrap_err();
        let ScheduleError::Field { problem: FieldProblem::Extension(_), .. } = error else {
            panic!("{item}: {error}");
        };
    }
    for item in ["1,,2", ",", "1,", "1-", "-1", "*-5", "1-2-3", "**", "1/2/3", "+1", "1.5", "１"] {
        assert!(Schedule::parse(&format!("{item} 0 * * *")).is_err(), "{item}");
    }
}

#[test]
fn a_weekday_star_with_a_step_still_counts_sunday_once() {
    let expected = ["Sun 2026-11-08T00:00:00+00:00", "Sun 2026-11-15T00:00:00+00:00"];
    assert_eq!(runs("0 0 * * */7", Tz::UTC, "2026-11-06T00:00:00Z", 2), expected);
    assert_eq!(
        parse("0 0 * * 0-7").next_after(utc("2026-11-06T00:00:00Z"), Tz::UTC),
        parse("0 0 * * *").next_after(utc("2026-11-06T00:00:00Z"), Tz::UTC)
    );
}

#[test]
fn a_fixed_time_that_spring_skips_runs_when_the_clocks_have_gone_forward() {
    let berlin = |line| runs(line, Europe::Berlin, "2027-03-27T12:00:00Z", 2);
    assert_eq!(
        berlin("30 2 * * *"),
        ["Sun 2027-03-28T03:00:00+02:00", "Mon 2027-03-29T02:30:00+02:00"]
    );
    assert_eq!(
        berlin("0 2 * * *"),
        ["Sun 2027-03-28T03:00:00+02:00", "Mon 2027-03-29T02:00:00+02:00"]
    );
    // several of them, and one that is due then anyway, are one
    assert_eq!(
        berlin("*/10 2,3 * * *"),
        ["Sun 2027-03-28T03:00:00+02:00", "Sun 2027-03-28T03:10:00+02:00"]
    );
    // a list that holds a star elsewhere is fixed
    assert_eq!(berlin("0 2,* * * *")[0], "Sat 2027-03-27T14:00:00+01:00");
    assert_eq!(
        runs("30 2 * * *", America::New_York, "2027-03-14T05:00:00Z", 2),
        ["Sun 2027-03-14T03:00:00-04:00", "Mon 2027-03-15T02:30:00-04:00"]
    );
    assert_eq!(
        runs("15 2 * * *", Australia::Lord_Howe, "2027-10-02T00:00:00Z", 2),
        ["Sun 2027-10-03T02:30:00+11:00", "Mon 2027-10-04T02:15:00+11:00"]
    );
}

#[test]
fn a_fixed_time_that_autumn_repeats_runs_once_the_first_time() {
    assert_eq!(
        runs("30 2 * * *", Europe::Berlin, "2026-10-24T12:00:00Z", 2),
        ["Sun 2026-10-25T02:30:00+02:00", "Mon 2026-10-26T02:30:00+01:00"]
    );
    assert_eq!(
        runs("*/30 1-3 * * *", Europe::Berlin, "2026-10-24T22:59:00Z", 7),
        [
            "Sun 2026-10-25T01:00:00+02:00",
            "Sun 2026-10-25T01:30:00+02:00",
            "Sun 2026-10-25T02:00:00+02:00",
            "Sun 2026-10-25T02:30:00+02:00",
            "Sun 2026-10-25T03:00:00+01:00",
            "Sun 2026-10-25T03:30:00+01:00",
            "Mon 2026-10-26T01:00:00+01:00",
        ]
    );
    assert_eq!(
        runs("30 1 * * *", America::New_York, "2026-11-01T04:00:00Z", 2),
        ["Sun 2026-11-01T01:30:00-04:00", "Mon 2026-11-02T01:30:00-05:00"]
    );
    assert_eq!(
        runs("45 1 * * *", Australia::Lord_Howe, "2027-04-03T00:00:00Z", 2),
        ["Sun 2027-04-04T01:45:00+11:00", "Mon 2027-04-05T01:45:00+10:30"]
    );
}

#[test]
fn asked_within_the_second_pass_the_answer_is_after_it() {
    for second_pass in ["2026-10-25T01:00:00Z", "2026-10-25T01:15:00Z", "2026-10-25T01:59:59.5Z"] {
        assert_eq!(
            runs("30 2 * * *", Europe::Berlin, second_pass, 1),
            ["Mon 2026-10-26T02:30:00+01:00"]
        );
        assert_eq!(
            runs("* * 2-3 * * *", Europe::Berlin, second_pass, 1),
            ["Sun 2026-10-25T03:00:00+01:00"]
        );
    }
}

#[test]
fn a_star_in_the_hour_follows_elapsed_time_through_both_edges() {
    assert_eq!(
        runs("*/30 * * * *", Europe::Berlin, "2026-10-24T23:45:00Z", 6),
        [
            "Sun 2026-10-25T02:00:00+02:00",
            "Sun 2026-10-25T02:30:00+02:00",
            "Sun 2026-10-25T02:00:00+01:00",
            "Sun 2026-10-25T02:30:00+01:00",
            "Sun 2026-10-25T03:00:00+01:00",
            "Sun 2026-10-25T03:30:00+01:00",
        ]
    );
    assert_eq!(
        runs("*/30 * * * *", Europe::Berlin, "2027-03-28T00:15:00Z", 3),
        [
            "Sun 2027-03-28T01:30:00+01:00",
            "Sun 2027-03-28T03:00:00+02:00",
            "Sun 2027-03-28T03:30:00+02:00"
        ]
    );
    assert_eq!(
        runs("15 */2 * * *", Europe::Berlin, "2027-03-27T23:00:00Z", 2),
        ["Sun 2027-03-28T00:15:00+01:00", "Sun 2027-03-28T04:15:00+02:00"]
    );
    assert_eq!(
        runs("45 * * * *", Australia::Lord_Howe, "2027-04-03T14:00:00Z", 3),
        [
            "Sun 2027-04-04T01:45:00+11:00",
            "Sun 2027-04-04T01:45:00+10:30",
            "Sun 2027-04-04T02:45:00+10:30",
        ]
    );
}

#[test]
fn a_day_that_a_zone_skips_runs_when_the_next_begins() {
    // Samoa crossed the date line: 29 December 2011 was followed by the 31st.
    assert_eq!(
        runs("0 2 * * *", Pacific::Apia, "2011-12-29T00:00:00Z", 4),
        [
            "Thu 2011-12-29T02:00:00-10:00",
            "Sat 2011-12-31T00:00:00+14:00",
            "Sat 2011-12-31T02:00:00+14:00",
            "Sun 2012-01-01T02:00:00+14:00",
        ]
    );
    assert_eq!(
        runs("0 */12 * * *", Pacific::Apia, "2011-12-29T12:00:00Z", 3),
        [
            "Thu 2011-12-29T12:00:00-10:00",
            "Sat 2011-12-31T00:00:00+14:00",
            "Sat 2011-12-31T12:00:00+14:00",
        ]
    );
}

#[test]
fn a_midnight_that_is_skipped_runs_at_the_first_instant_of_that_day() {
    assert_eq!(
        runs("@daily", America::Sao_Paulo, "2018-11-03T12:00:00Z", 2),
        ["Sun 2018-11-04T01:00:00-02:00", "Mon 2018-11-05T00:00:00-02:00"]
    );
}

#[test]
fn nothing_comes_after_the_year_2100() {
    let last = utc("2100-12-31T02:00:00Z");
    let daily = parse("0 2 * * *");
    assert_eq!(daily.next_after(last - SECOND, Tz::UTC), Some(last));
    assert_eq!(daily.next_after(last, Tz::UTC), None);
    assert_eq!(parse("* * * * * *").next_after(DateTime::<Utc>::MAX_UTC, Europe::Berlin), None);
    let (min, max) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
    assert_eq!(daily.latest_between(min, max, Tz::UTC), Some(last));
    assert_eq!(daily.next_after(min, Tz::UTC), Some(utc("1970-01-01T02:00:00Z")));
}

#[test]
fn the_newest_of_a_hundred_years_of_seconds_is_found_at_once() {
    let every_second = parse("* * * * * *");
    let (since, until) = (utc("1990-01-01T00:00:00Z"), utc("2090-06-01T01:02:03.9Z"));
    for zone in [Tz::UTC, Europe::Berlin, Pacific::Apia] {
        assert_eq!(
            every_second.latest_between(since, until, zone),
            Some(utc("2090-06-01T01:02:03Z"))
        );
        assert_eq!(every_second.count_between(since, until, zone, 100), 100);
    }
}

#[test]
fn an_empty_stretch_has_no_newest_and_counts_nothing() {
    let daily = parse("0 2 * * *");
    let due = utc("2026-11-06T02:00:00Z");
    for (since, until) in [
        (due, due),
        (due, due - DAY),
        (due, due + TimeDelta::hours(23)),
        (due - SECOND, due - SECOND),
    ] {
        assert_eq!(daily.latest_between(since, until, Tz::UTC), None);
        assert_eq!(daily.count_between(since, until, Tz::UTC, 10), 0);
    }
    assert_eq!(daily.latest_between(due - SECOND, due, Tz::UTC), Some(due));
    assert_eq!(daily.count_between(due - SECOND, due, Tz::UTC, 10), 1);
    assert_eq!(daily.count_between(due - SECOND, due, Tz::UTC, 0), 0);
}
