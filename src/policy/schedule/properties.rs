//! The schedule against two others: the slow reference and the crate `croner`.

use chrono_tz::{Africa, America, Antarctica, Asia, Australia, Europe, Pacific};
use croner::Cron;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::reference::Line;
use super::*;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

const ZONES: [Tz; 24] = [
    Tz::UTC,
    Europe::Berlin,
    Europe::Dublin,
    Europe::London,
    America::New_York,
    America::Sao_Paulo,
    America::St_Johns,
    America::Havana,
    America::Caracas,
    America::Santiago,
    America::Nuuk,
    Africa::Casablanca,
    Africa::Cairo,
    Antarctica::Troll,
    Antarctica::Casey,
    Asia::Kathmandu,
    Asia::Tehran,
    Asia::Gaza,
    Asia::Amman,
    Asia::Pyongyang,
    Australia::Lord_Howe,
    Pacific::Apia,
    Pacific::Kiritimati,
    Pacific::Chatham,
];

/// A zone and an instant, most often shortly before its clock is changed.
fn moment() -> impl Strategy<Value = (Tz, DateTime<Utc>)> {
    let seconds = utc("1987-01-01T00:00:00Z").timestamp()..utc("2098-01-01T00:00:00Z").timestamp();
    (select(&ZONES[..]), seconds, 0i64..200_000, any::<bool>(), 0i64..1_000).prop_map(
        |(zone, second, before, near, millis)| {
            let start = DateTime::from_timestamp(second, 0).unwrap();
            let change = next_change(start, start + DAY * 400, zone).filter(|_| near);
            let base = change.unwrap_or(start) - TimeDelta::seconds(before);
            // half of the starts are on whole seconds
            (zone, base + TimeDelta::milliseconds((millis - 500).max(0)))
        },
    )
}

/// A field of every form.
fn field(min: u32, max: u32) -> impl Strategy<Value = String> {
    let value = min..=max;
    let range = (value.clone(), value.clone()).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let item = prop_oneof![
        3 => value.clone().prop_map(|value| value.to_string()),
        1 => range.clone().prop_map(|(from, to)| format!("{from}-{to}")),
        1 => (range, 1..=max).prop_map(|((from, to), step)| format!("{from}-{to}/{step}")),
        1 => (value, 1..=max).prop_map(|(from, step)| format!("{from}/{step}")),
    ];
    prop_oneof![
        3 => Just("*".to_owned()),
        1 => (1..=max).prop_map(|step| format!("*/{step}")),
        4 => vec(item, 1..4).prop_map(|items| items.join(",")),
    ]
}

fn day_fields() -> impl Strategy<Value = String> {
    let any_day = Just("* * *".to_owned());
    let month =
        prop_oneof![field(1, 12), Just("feb-MAY".to_owned()), Just("sep,oct,Nov".to_owned())];
    let weekday = prop_oneof![field(0, 7), Just("Mon-fri".to_owned()), Just("sun".to_owned())];
    let some_days = (field(1, 31), month, weekday).prop_map(|(d, m, w)| format!("{d} {m} {w}"));
    prop_oneof![1 => any_day, 1 => some_days]
}

/// Holds every answer about a stretch of time against the reference's instants.
fn agree(
    line: &str,
    zone: Tz,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    step: TimeDelta,
) -> Result<(), TestCaseError> {
    let schedule = match Schedule::parse(line) {
        Ok(schedule) => schedule,
        Err(ScheduleError::NeverFires { .. }) => return Ok(()),
        Err(error) => return Err(TestCaseError::fail(format!("{line}: {error}"))),
    };
    let expected = Line::parse(line).instants(since, until, zone, step);
    let next = |after: DateTime<Utc>| schedule.next_after(after, zone).filter(|at| *at <= until);
    let found: Vec<_> = std::iter::successors(next(since), |last| next(*last)).collect();
    prop_assert_eq!(&found, &expected, "{} in {} after {}", line, zone, since);
    prop_assert_eq!(schedule.latest_between(since, until, zone), expected.last().copied());
    prop_assert_eq!(schedule.count_between(since, until, zone, usize::MAX), expected.len());
    prop_assert_eq!(schedule.count_between(since, until, zone, 3), expected.len().min(3));
    // the same from instants in between, and from within second passes
    for pair in expected.windows(2).step_by(1 + expected.len() / 32) {
        let between = pair[0] + (pair[1] - pair[0]) / 2;
        prop_assert_eq!(next(between), Some(pair[1]));
        prop_assert_eq!(schedule.latest_between(since, between, zone), Some(pair[0]));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn agrees_with_walking_every_minute(
        minute in field(0, 59), hour in field(0, 23), days in day_fields(), (zone, since) in moment(),
    ) {
        let line = format!("{minute} {hour} {days}");
        agree(&line, zone, since, since + DAY * 3, TimeDelta::minutes(1))?;
    }

    #[test]
    fn agrees_with_walking_every_quarter_of_a_year(
        minute in select(vec!["0", "30", "*/15", "15,45", "*/30"]),
        hour in prop_oneof![field(0, 23), Just("2".to_owned())],
        days in day_fields(), (zone, since) in moment(),
    ) {
        // St. John's and Casey have changed their clocks at 00:01.
        prop_assume!(![America::St_Johns, Antarctica::Casey].contains(&zone));
        let line = format!("{minute} {hour} {days}");
        agree(&line, zone, since, since + DAY * 370, TimeDelta::minutes(15))?;
    }

    #[test]
    fn agrees_with_walking_every_second(
        second in field(0, 59), minute in field(0, 59), hour in field(0, 23), (zone, near) in moment(),
        hours in 1i64..54,
    ) {
        let line = format!("{second} {minute} {hour} * * *");
        let since = near + TimeDelta::hours(hours);
        agree(&line, zone, since, since + TimeDelta::hours(3), SECOND)?;
    }

    #[test]
    fn agrees_with_croner_where_both_mean_the_same(
        // croner takes a time as fixed only when it is a single one
        (minute, hour) in prop_oneof![
            (0u32..60, 0u32..24).prop_map(|(m, h)| (m.to_string(), h.to_string())),
            (field(0, 59), prop_oneof![Just("*".to_owned()), Just("*/2".to_owned())]),
        ],
        days in prop_oneof![
            Just("* * *".to_owned()),
            (1u32..29, 0u32..7).prop_map(|(day, weekday)| format!("{day} * {weekday}")),
            (0u32..7).prop_map(|weekday| format!("* 3-11 {weekday}")),
        ],
        (zone, since) in moment(),
    ) {
        // croner refuses a step without a range
        prop_assume!(!minute.split(',').any(|item| !item.contains(['-', '*']) && item.contains('/')));
        let line = format!("{minute} {hour} {days}");
        let croner: Cron = line.parse().unwrap();
        let schedule = Schedule::parse(&line).unwrap();
        let mut last = since;
        for _ in 0..20 {
            let next = schedule.next_after(last, zone).unwrap();
            // croner gives up where a zone leaves out a whole day, as Kiritimati did in 1994.
            let Ok(theirs) = croner.find_next_occurrence(&last.with_timezone(&zone), false) else {
                prop_assert!(wall_clock(next, zone) - wall_clock(last, zone) > DAY);
                break;
            };
            // A gap that begins before midnight may end on a day that is not named: croner then
            // passes over the time, the contract does not.
            let (before, shown) = (wall_clock(next - SECOND, zone), wall_clock(next, zone));
            if shown - before == SECOND || shown.date() == before.date() {
                prop_assert_eq!(next, theirs.to_utc(), "{} in {} after {}", line, zone, last);
            }
            last = next;
        }
    }

    #[test]
    fn no_text_panics(text in "[0-9a-zA-Z*/,#?@ -]{0,20}") {
        if let Ok(schedule) = Schedule::parse(&text) {
            prop_assert!(schedule.next_after(utc("2026-11-06T00:00:00Z"), Europe::Berlin).is_some());
        }
    }
}
