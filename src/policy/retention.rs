//! Which snapshots to keep: each rule keeps the newest snapshot of each of the last N days, weeks,
//! months or years, and a snapshot that any rule keeps stays.
//!
//! Only snapshots that exist are counted, so an outage does not age snapshots out. In any case a
//! source's newest good snapshot stays, and so does its oldest while a rule has not found as many
//! periods as it may keep.
//!
//! Clocks can be wrong, so instants are believed only where they agree with the order of the jobs,
//! which is never wrong. A snapshot whose instant does not agree takes no other one's place in a
//! rule, and stays for as long as its true instant could be one that the rule keeps. One that is
//! dated in the future stays, and is not counted.

use crate::timestamp::rfc3339;
use chrono::{DateTime, Datelike, Utc};
use chrono_tz::Tz;
use std::cmp::Reverse;

/// How many snapshots each rule keeps; a snapshot that any rule keeps stays. Never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The newest ones, whenever they were made.
    pub keep_last: u32,
    /// Days that keep their newest one.
    pub keep_daily: u32,
    /// ISO weeks that keep their newest one.
    pub keep_weekly: u32,
    /// Months that keep their newest one.
    pub keep_monthly: u32,
    /// Years that keep their newest one.
    pub keep_yearly: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self { keep_last: 7, keep_daily: 14, keep_weekly: 8, keep_monthly: 12, keep_yearly: 3 }
    }
}

/// What retention knows of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// When its remote job was submitted.
    pub created_at: DateTime<Utc>,
    /// Whether it is not suspicious.
    pub good: bool,
    /// Why a user asked to keep it, if so.
    pub held: Option<String>,
}

/// Why a snapshot stays; a snapshot without any reason goes.
pub type Reasons = Vec<String>;

/// One rule: its name, how many it keeps, and which period a snapshot belongs to.
struct Rule {
    name: &'static str,
    keep: u32,
    period: fn(DateTime<Tz>, usize) -> String,
}

fn each_rule(rules: &Rules) -> [Rule; 5] {
    [
        Rule { name: "last", keep: rules.keep_last, period: |_, index| index.to_string() },
        Rule { name: "daily", keep: rules.keep_daily, period: |at, _| at.format("%F").to_string() },
        Rule {
            name: "weekly",
            keep: rules.keep_weekly,
            period: |at, _| {
                let week = at.iso_week();
                format!("{}-W{:02}", week.year(), week.week())
            },
        },
        Rule {
            name: "monthly",
            keep: rules.keep_monthly,
            period: |at, _| at.format("%Y-%m").to_string(),
        },
        Rule {
            name: "yearly",
            keep: rules.keep_yearly,
            period: |at, _| at.format("%Y").to_string(),
        },
    ]
}

/// What is known of when a snapshot was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    /// At its instant, which agrees with the order of the jobs.
    At(DateTime<Utc>),
    /// After the first and before the second of these, whatever its instant says; `None` where
    /// nothing is known.
    Between(Option<DateTime<Utc>>, DateTime<Utc>),
    /// Its instant has not come yet.
    InFuture,
}

/// The reasons to keep each of a source's snapshots, which are given newest first (by their jobs,
/// whatever their instants say); days, weeks, months and years are those of `zone`.
#[must_use]
pub fn reasons(
    snapshots: &[Candidate],
    rules: &Rules,
    zone: Tz,
    now: DateTime<Utc>,
) -> Vec<Reasons> {
    let made = made(snapshots, now);
    let mut kept: Vec<Reasons> = vec![Vec::new(); snapshots.len()];
    let mut full = true;
    for rule in each_rule(rules) {
        full &= apply(&rule, &made, zone, &mut kept);
    }
    let counted = |index: &usize| made.get(*index).is_some_and(|it| *it != Made::InFuture);
    if !full {
        // The oldest of those with a certain date, and of all: which one is older is not known.
        let sure = |index: &usize| matches!(made.get(*index), Some(Made::At(_)));
        let last = (0..snapshots.len()).rev().find(counted);
        let last_sure = (0..snapshots.len()).rev().find(sure).filter(|it| Some(*it) != last);
        for index in last.into_iter().chain(last_sure) {
            if let Some(reasons) = kept.get_mut(index) {
                reasons.push("oldest, while the policy is not full".to_owned());
            }
        }
    }
    // The newest one, and the newest of those that are not dated in the future.
    let good = |index: &usize| snapshots.get(*index).is_some_and(|snapshot| snapshot.good);
    let newest = (0..snapshots.len()).find(good);
    let newest_counted =
        (0..snapshots.len()).filter(good).find(counted).filter(|it| Some(*it) != newest);
    for index in newest.into_iter().chain(newest_counted) {
        if let Some(reasons) = kept.get_mut(index) {
            reasons.push("newest good one".to_owned());
        }
    }
    for ((snapshot, made), reasons) in snapshots.iter().zip(&made).zip(&mut kept) {
        if *made == Made::InFuture {
            reasons.push(format!("dated in the future: {}", rfc3339(snapshot.created_at)));
        }
        reasons.extend(snapshot.held.as_ref().map(|why| format!("held: {why}")));
    }
    kept
}

/// Adds one rule's reasons. Says whether it has found as many periods as it may keep.
fn apply(rule: &Rule, made: &[Made], zone: Tz, kept: &mut [Reasons]) -> bool {
    let (mut found, mut index) = (0, 0);
    let mut last = None;
    for (made, reasons) in made.iter().zip(kept) {
        if found == rule.keep {
            break;
        }
        let period = |at: DateTime<Utc>| (rule.period)(at.with_timezone(&zone), index);
        let period = match *made {
            Made::InFuture => continue,
            Made::At(at) => Some(period(at)),
            // The last so many are counted, whenever they were made.
            Made::Between(_, until) if rule.name == "last" => Some(period(until)),
            Made::Between(since, until) => {
                let last = period(until);
                since.is_some_and(|since| period(since) == last).then_some(last)
            }
        };
        index += 1;
        match period {
            None => reasons.push(format!("{}, as its date cannot be right", rule.name)),
            period if period == last => {}
            Some(period) => {
                found += 1;
                reasons.push(match rule.name {
                    "last" => format!("last {found} of {}", rule.keep),
                    name => format!("{name} {period}"),
                });
                last = Some(period);
            }
        }
    }
    found == rule.keep
}

/// When each of these snapshots was made, as far as that is known. They are given newest first.
fn made(snapshots: &[Candidate], now: DateTime<Utc>) -> Vec<Made> {
    let past: Vec<usize> = (0..)
        .zip(snapshots)
        .filter(|(_, snapshot)| snapshot.created_at <= now)
        .map(|(index, _)| index)
        .collect();
    let instants: Vec<DateTime<Utc>> = past
        .iter()
        .filter_map(|index| snapshots.get(*index))
        .map(|snapshot| snapshot.created_at)
        .collect();
    let mut made = vec![Made::InFuture; snapshots.len()];
    let agreeing = agreeing(&instants);
    // The nearest newer instant that is sure; later on the nearest older one.
    let mut until = now;
    for ((index, at), agrees) in past.iter().zip(&instants).zip(&agreeing) {
        if *agrees {
            until = *at;
        }
        if let Some(made) = made.get_mut(*index) {
            *made = if *agrees { Made::At(*at) } else { Made::Between(None, until) };
        }
    }
    let mut since = None;
    for made in made.iter_mut().rev() {
        match made {
            Made::At(at) => since = Some(*at),
            Made::Between(from, _) => *from = since,
            Made::InFuture => {}
        }
    }
    made
}

/// Which of these instants, that should never rise, surely agree with their order: those without
/// which no choice of them in order can be as long. One wrong instant among right ones is never
/// part of it, whichever way it is wrong; nor is a right one, where none can say which is wrong.
fn agreeing(instants: &[DateTime<Utc>]) -> Vec<bool> {
    let forward = longest_ends(instants.iter().map(|at| Reverse(*at)));
    let mut backward = longest_ends(instants.iter().rev().copied());
    backward.reverse();
    let longest = forward.iter().copied().max().unwrap_or(0);
    let is_choice = |(before, after): (&usize, &usize)| before + after == longest + 1;
    // How many could stand at each place of the longest choice.
    let mut rivals = vec![0_usize; longest + 1];
    for pair in forward.iter().zip(&backward).filter(|pair| is_choice(*pair)) {
        if let Some(count) = rivals.get_mut(*pair.0) {
            *count += 1;
        }
    }
    let alone = |place: &usize| rivals.get(*place) == Some(&1);
    forward.iter().zip(&backward).map(|pair| is_choice(pair) && alone(pair.0)).collect()
}

/// For each item, the length of the longest choice of items that ends with it and never falls.
fn longest_ends<T: Ord>(items: impl Iterator<Item = T>) -> Vec<usize> {
    // The least item with which a choice of each length can end.
    let mut ends: Vec<T> = Vec::new();
    let ends = &mut ends;
    items
        .map(|item| {
            let place = ends.partition_point(|end| *end <= item);
            match ends.get_mut(place) {
                Some(end) => *end = item,
                None => ends.push(item),
            }
            place + 1
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{NaiveDate, TimeDelta, TimeZone};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn night(days: i64) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 1, 1, 2, 0, 0).unwrap() + TimeDelta::days(days)
    }

    fn nightly(nights: i64) -> Vec<Candidate> {
        (0..nights)
            .rev()
            .map(|day| Candidate { created_at: night(day), good: true, held: None })
            .collect()
    }

    fn policy(last: u32, daily: u32, weekly: u32, monthly: u32, yearly: u32) -> Rules {
        Rules {
            keep_last: last,
            keep_daily: daily,
            keep_weekly: weekly,
            keep_monthly: monthly,
            keep_yearly: yearly,
        }
    }

    fn kept(snapshots: &[Candidate], policy: &Rules) -> Vec<usize> {
        kept_at(snapshots, policy, night(4000))
    }

    fn kept_at(snapshots: &[Candidate], policy: &Rules, now: DateTime<Utc>) -> Vec<usize> {
        let reasons = reasons(snapshots, policy, chrono_tz::UTC, now);
        (0..snapshots.len()).filter(|index| !reasons[*index].is_empty()).collect()
    }

    #[test]
    fn each_rule_keeps_the_newest_of_its_periods() {
        let snapshots = nightly(40);
        assert_eq!(kept(&snapshots, &policy(3, 0, 0, 0, 0)), [0, 1, 2]);
        // 2026-02-09 is a Monday; the newest night is that of Monday, 2026-02-09.
        assert_eq!(kept(&snapshots, &policy(0, 0, 3, 0, 0)), [0, 1, 8]);
        assert_eq!(kept(&snapshots, &policy(0, 0, 0, 2, 0)), [0, 9]);
        assert_eq!(kept(&snapshots, &policy(1, 2, 0, 0, 1)), [0, 1]);
    }

    #[test]
    fn every_one_kept_has_its_reasons() {
        let reasons = reasons(&nightly(3), &policy(1, 1, 1, 1, 1), chrono_tz::UTC, night(3));
        assert_eq!(
            reasons[0],
            [
                "last 1 of 1",
                "daily 2026-01-03",
                "weekly 2026-W01",
                "monthly 2026-01",
                "yearly 2026",
                "newest good one",
            ]
        );
        assert_eq!(reasons[1], Vec::<String>::new());
    }

    #[test]
    fn the_oldest_stays_until_the_policy_is_full() {
        assert_eq!(kept(&nightly(40), &policy(2, 0, 0, 3, 0)), [0, 1, 9, 39]);
        assert_eq!(kept(&nightly(70), &policy(2, 0, 0, 3, 0)), [0, 1, 11, 39]);
    }

    #[test]
    fn the_newest_good_one_and_what_is_held_stay() {
        let mut snapshots = nightly(10);
        for snapshot in &mut snapshots[..5] {
            snapshot.good = false;
        }
        snapshots[8].held = Some("the auditors".into());
        assert_eq!(kept(&snapshots, &policy(1, 0, 0, 0, 0)), [0, 5, 8]);
        let reasons = reasons(&snapshots, &policy(1, 0, 0, 0, 0), chrono_tz::UTC, night(10));
        assert_eq!(reasons[8], ["held: the auditors"]);
    }

    #[test]
    fn days_are_those_of_the_zone() {
        // Both are on one day in UTC, and on two in Berlin.
        let at = |hour| Candidate {
            created_at: Utc.with_ymd_and_hms(2026, 7, 1, hour, 30, 0).unwrap(),
            good: true,
            held: None,
        };
        let snapshots = [at(22), at(21)];
        let two = policy(0, 2, 0, 0, 0);
        let in_zone = |zone| reasons(&snapshots, &two, zone, night(300))[1].join(";");
        assert_eq!(in_zone(chrono_tz::UTC), "oldest, while the policy is not full");
        assert_eq!(in_zone(chrono_tz::Europe::Berlin), "daily 2026-07-01");
    }

    #[test]
    fn nothing_has_no_reasons() {
        assert_eq!(
            reasons(&[], &policy(1, 1, 1, 1, 1), chrono_tz::UTC, night(3)),
            Vec::<Reasons>::new()
        );
    }

    /// The dates of the snapshots, newest first, as days since the first night.
    fn dated(days: &[i64]) -> Vec<Candidate> {
        days.iter()
            .map(|day| Candidate { created_at: night(*day), good: true, held: None })
            .collect()
    }

    #[test]
    fn a_snapshot_of_a_clock_that_was_ahead_takes_no_other_one_s_place() {
        // Job 4 was made while the clock was a year ahead; jobs 5 and 6 are younger.
        let snapshots = dated(&[5, 4, 368, 2, 1, 0]);
        let three = policy(0, 3, 0, 0, 0);
        // Until that year is over it is in the future, then it is out of order.
        let at = |now| reasons(&snapshots, &three, chrono_tz::UTC, now);
        let early = at(night(5));
        assert_eq!(early[2], ["dated in the future: 2027-01-04T02:00:00Z"]);
        let late = at(night(400));
        assert_eq!(late[2], ["daily, as its date cannot be right"]);
        for reasons in [early, late] {
            assert_eq!(reasons[3], ["daily 2026-01-03"]);
            let going: Vec<_> = (0..6).filter(|index| reasons[*index].is_empty()).collect();
            assert_eq!(going, [4, 5]);
        }
        // The newest of all, while the clock is right again.
        let snapshots = dated(&[368, 2, 1, 0]);
        let one = policy(1, 0, 0, 0, 0);
        assert_eq!(kept_at(&snapshots, &one, night(3)), [0, 1]);
    }

    #[test]
    fn one_old_date_does_not_make_all_that_is_older_old() {
        let snapshots = dated(&[9, 8, -20_000, 6, 5, 4, 3]);
        assert_eq!(kept(&snapshots, &policy(0, 4, 0, 0, 0)), [0, 1, 2, 3, 4]);
        // Its month is that of its neighbours, whatever it says: it is not the newest of it.
        assert_eq!(kept(&snapshots, &policy(0, 0, 0, 1, 0)), [0]);
    }

    #[test]
    fn nothing_goes_while_the_clock_is_behind_every_snapshot() {
        let snapshots = nightly(30);
        let all: Vec<usize> = (0..30).collect();
        assert_eq!(kept_at(&snapshots, &policy(1, 1, 0, 0, 0), night(-10_000)), all);
    }

    #[test]
    fn where_nothing_tells_which_date_is_wrong_both_stay() {
        let snapshots = dated(&[0, 400]);
        assert_eq!(kept_at(&snapshots, &policy(0, 1, 1, 1, 1), night(500)), [0, 1]);
    }

    /// The length of the longest choice of these that never rises.
    fn longest(instants: &[DateTime<Utc>]) -> usize {
        let mut best: Vec<usize> = Vec::new();
        for (index, at) in instants.iter().enumerate() {
            let before = (0..index).filter(|other| instants[*other] >= *at);
            best.push(1 + before.map(|other| best[other]).max().unwrap_or(0));
        }
        best.into_iter().max().unwrap_or(0)
    }

    /// The same, slowly and in other words. A snapshot is sure when no choice in order is as long
    /// without it. It is the newest of its period, and fewer than so many periods are newer; where
    /// its period is not known, the latter alone.
    fn obviously(snapshots: &[Candidate], policy: &Rules, now: DateTime<Utc>) -> Vec<usize> {
        type Period = fn(NaiveDate) -> (i32, u32);
        let periods: [(u32, Period); 4] = [
            (policy.keep_daily, |day| (day.year(), day.ordinal())),
            (policy.keep_weekly, |day| (day.iso_week().year(), day.iso_week().week())),
            (policy.keep_monthly, |day| (day.year(), day.month())),
            (policy.keep_yearly, |day| (day.year(), 0)),
        ];
        let all: Vec<usize> = (0..snapshots.len()).collect();
        let at = |index: usize| snapshots[index].created_at;
        let past: Vec<usize> = all.iter().copied().filter(|index| at(*index) <= now).collect();
        let whole = longest(&past.iter().map(|index| at(*index)).collect::<Vec<_>>());
        let sure: Vec<usize> = past
            .iter()
            .copied()
            .filter(|index| {
                let others = past.iter().filter(|other| *other != index);
                longest(&others.map(|other| at(*other)).collect::<Vec<_>>()) < whole
            })
            .collect();
        let own = |index: usize, period: Period| {
            if sure.contains(&index) {
                return Some(period(at(index).date_naive()));
            }
            let newer = sure.iter().rev().find(|other| **other < index);
            let newer = newer.map_or(now, |other| at(*other));
            let older = sure.iter().find(|other| **other > index)?;
            let (newer, older) = (period(newer.date_naive()), period(at(*older).date_naive()));
            (newer == older).then_some(newer)
        };
        let mut kept: BTreeSet<usize> =
            all.iter().copied().filter(|index| at(*index) > now).collect();
        kept.extend(past.iter().take(policy.keep_last as usize));
        let mut full = past.len() >= policy.keep_last as usize;
        for (keep, period) in periods {
            let keep = keep as usize;
            let found: BTreeSet<_> = past.iter().filter_map(|it| own(*it, period)).collect();
            full &= found.len() >= keep;
            for index in &past {
                let newer: BTreeSet<_> = past
                    .iter()
                    .filter(|other| *other < index)
                    .filter_map(|other| own(*other, period))
                    .collect();
                let is_newest = own(*index, period).is_none_or(|own| !newer.contains(&own));
                if is_newest && newer.len() < keep {
                    kept.insert(*index);
                }
            }
        }
        if !full {
            kept.extend(past.last());
            kept.extend(sure.last());
        }
        kept.extend(all.iter().find(|index| snapshots[**index].good));
        kept.extend(past.iter().find(|index| snapshots[**index].good));
        kept.extend(all.iter().filter(|index| snapshots[**index].held.is_some()));
        kept.into_iter().collect()
    }

    type Gaps = Vec<(i64, bool, bool)>;

    /// Gaps in hours between the snapshots, newest first; whether each is good; whether it is held.
    fn gaps() -> impl Strategy<Value = Gaps> {
        prop::collection::vec((0i64..200, any::<bool>(), prop::bool::weighted(0.1)), 0..60)
    }

    fn history(gaps: Gaps) -> Vec<Candidate> {
        let mut at = night(3000);
        gaps.into_iter()
            .map(|(hours, good, held)| {
                at -= TimeDelta::hours(hours);
                Candidate { created_at: at, good, held: held.then(|| "x".to_owned()) }
            })
            .collect()
    }

    fn any_policy() -> impl Strategy<Value = Rules> {
        (0u32..5, 0u32..8, 0u32..6, 0u32..6, 0u32..4).prop_map(
            |(last, daily, weekly, monthly, yearly)| policy(last, daily, weekly, monthly, yearly),
        )
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_obvious_way(gaps in gaps(), policy in any_policy()) {
            let snapshots = history(gaps);
            let now = night(3001);
            prop_assert_eq!(
                kept_at(&snapshots, &policy, now), obviously(&snapshots, &policy, now)
            );
        }

        /// Any dates at all, and any present.
        #[test]
        fn it_agrees_with_the_obvious_way_when_clocks_were_wrong(
            gaps in gaps(),
            wrong in prop::collection::vec((0usize..60, -4000i64..4000), 0..20),
            now in 2000i64..4000,
            policy in any_policy(),
        ) {
            let mut snapshots = history(gaps);
            for (index, days) in wrong {
                if let Some(snapshot) = snapshots.get_mut(index) {
                    snapshot.created_at += TimeDelta::days(days);
                }
            }
            prop_assert_eq!(
                kept_at(&snapshots, &policy, night(now)),
                obviously(&snapshots, &policy, night(now))
            );
        }

        /// A clock is wrong by years for some nights on end, ahead or behind, and is set right
        /// again: whatever would stay with the right dates stays with the wrong ones.
        #[test]
        fn a_clock_that_was_wrong_removes_nothing_that_a_right_one_keeps(
            gaps in gaps(),
            (from, nights) in (0usize..60, 1usize..20),
            years in prop::sample::select(vec![-40i64, -15, 15, 40]),
            later in 0i64..9000,
            policy in any_policy(),
        ) {
            let right = history(gaps);
            let to = right.len().min(from + nights);
            let mut wrong = right.clone();
            for snapshot in wrong.iter_mut().take(to).skip(from) {
                snapshot.created_at += TimeDelta::days(365 * years);
            }
            // As many right dates lie on either side: else none can say which are the wrong ones.
            let nights = to.saturating_sub(from);
            prop_assume!(nights <= from && nights <= right.len() - to);
            let now = night(3000 + later);
            let (with_right, with_wrong) =
                (kept_at(&right, &policy, now), kept_at(&wrong, &policy, now));
            for index in with_right {
                prop_assert!(with_wrong.contains(&index), "{index} of {with_wrong:?}");
            }
        }

        /// A clock that is behind when retention is applied.
        #[test]
        fn a_clock_that_is_behind_removes_nothing_that_a_right_one_keeps(
            gaps in gaps(), behind in 0i64..1000, policy in any_policy(),
        ) {
            let snapshots = history(gaps);
            let right = kept_at(&snapshots, &policy, night(3001));
            let wrong = kept_at(&snapshots, &policy, night(3001 - behind));
            prop_assert!(right.iter().all(|index| wrong.contains(index)), "{right:?} {wrong:?}");
        }

        #[test]
        fn whatever_the_dates_say_the_newest_good_one_stays(
            days in prop::collection::vec((-4000i64..4000, any::<bool>()), 1..40),
            now in -4000i64..4000,
            policy in any_policy(),
        ) {
            let snapshots: Vec<_> = days
                .iter()
                .map(|(day, good)| Candidate { created_at: night(*day), good: *good, held: None })
                .collect();
            let kept = kept_at(&snapshots, &policy, night(now));
            if let Some(newest) = snapshots.iter().position(|snapshot| snapshot.good) {
                prop_assert!(kept.contains(&newest));
            }
        }

        #[test]
        fn keeping_more_never_keeps_less(
            nights in 0i64..100, last in 0u32..5, daily in 0u32..9, more in 0u32..5,
        ) {
            let snapshots = nightly(nights);
            let few = kept(&snapshots, &policy(last, daily, 1, 1, 1));
            let many = kept(&snapshots, &policy(last, daily + more, 1, 1, 1));
            // Only the oldest may go as the policy fills up, never the other way round.
            prop_assert!(few.iter().all(|index| many.contains(index)));
        }
    }
}
