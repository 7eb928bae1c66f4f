//! Which snapshots to keep: each rule keeps the newest of so many days, weeks, months or years, and
//! a snapshot that any rule keeps stays.
//!
//! Only snapshots that exist are counted, so an outage ages nothing out. Whatever the numbers say,
//! a source's newest good snapshot stays, and so does its oldest while a rule has not found as many
//! periods as it may keep.

use crate::settings::Retention;
use chrono::{DateTime, Datelike, Utc};
use chrono_tz::Tz;

/// What retention knows of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// When its remote job was submitted.
    pub created_at: DateTime<Utc>,
    /// Whether it is not suspicious.
    pub good: bool,
    /// Why somebody asked to keep it, if so.
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

fn rules(policy: &Retention) -> [Rule; 5] {
    [
        Rule { name: "last", keep: policy.keep_last, period: |_, index| index.to_string() },
        Rule {
            name: "daily",
            keep: policy.keep_daily,
            period: |at, _| at.format("%F").to_string(),
        },
        Rule {
            name: "weekly",
            keep: policy.keep_weekly,
            period: |at, _| {
                let week = at.iso_week();
                format!("{}-W{:02}", week.year(), week.week())
            },
        },
        Rule {
            name: "monthly",
            keep: policy.keep_monthly,
            period: |at, _| at.format("%Y-%m").to_string(),
        },
        Rule {
            name: "yearly",
            keep: policy.keep_yearly,
            period: |at, _| at.format("%Y").to_string(),
        },
    ]
}

/// The reasons to keep each of a source's snapshots, which are given newest first; days, weeks,
/// months and years are those of `zone`.
#[must_use]
pub fn reasons(snapshots: &[Candidate], policy: &Retention, zone: Tz) -> Vec<Reasons> {
    let mut kept: Vec<Reasons> = vec![Vec::new(); snapshots.len()];
    let mut full = true;
    for rule in rules(policy) {
        let mut found = 0;
        let mut last = None;
        for (index, (snapshot, reasons)) in snapshots.iter().zip(&mut kept).enumerate() {
            if found == rule.keep {
                break;
            }
            let period = (rule.period)(snapshot.created_at.with_timezone(&zone), index);
            if last.as_ref() != Some(&period) {
                found += 1;
                reasons.push(match rule.name {
                    "last" => format!("last {found} of {}", rule.keep),
                    name => format!("{name} {period}"),
                });
                last = Some(period);
            }
        }
        full &= found == rule.keep;
    }
    if let Some(oldest) = kept.last_mut()
        && !full
    {
        oldest.push("oldest, while the policy is not full".to_owned());
    }
    let newest_good = snapshots.iter().position(|snapshot| snapshot.good);
    if let Some(reasons) = newest_good.and_then(|index| kept.get_mut(index)) {
        reasons.push("newest good one".to_owned());
    }
    for (snapshot, reasons) in snapshots.iter().zip(&mut kept) {
        reasons.extend(snapshot.held.as_ref().map(|why| format!("held: {why}")));
    }
    kept
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

    fn policy(last: u32, daily: u32, weekly: u32, monthly: u32, yearly: u32) -> Retention {
        Retention {
            keep_last: last,
            keep_daily: daily,
            keep_weekly: weekly,
            keep_monthly: monthly,
            keep_yearly: yearly,
        }
    }

    fn kept(snapshots: &[Candidate], policy: &Retention) -> Vec<usize> {
        let reasons = reasons(snapshots, policy, chrono_tz::UTC);
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
        let reasons = reasons(&nightly(3), &policy(1, 1, 1, 1, 1), chrono_tz::UTC);
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
        let reasons = reasons(&snapshots, &policy(1, 0, 0, 0, 0), chrono_tz::UTC);
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
        let in_zone = |zone| reasons(&snapshots, &two, zone)[1].join(";");
        assert_eq!(in_zone(chrono_tz::UTC), "oldest, while the policy is not full");
        assert_eq!(in_zone(chrono_tz::Europe::Berlin), "daily 2026-07-01");
    }

    #[test]
    fn nothing_has_no_reasons() {
        assert_eq!(reasons(&[], &policy(1, 1, 1, 1, 1), chrono_tz::UTC), Vec::<Reasons>::new());
    }

    /// The same, slowly and in other words: a snapshot is the newest of its period, and fewer than
    /// so many periods are newer.
    fn obviously(snapshots: &[Candidate], policy: &Retention) -> Vec<usize> {
        type Period = fn(NaiveDate) -> (i32, u32);
        let periods: [(u32, Period); 4] = [
            (policy.keep_daily, |day| (day.year(), day.ordinal())),
            (policy.keep_weekly, |day| (day.iso_week().year(), day.iso_week().week())),
            (policy.keep_monthly, |day| (day.year(), day.month())),
            (policy.keep_yearly, |day| (day.year(), 0)),
        ];
        let day = |index: usize| snapshots[index].created_at.date_naive();
        let mut kept: BTreeSet<usize> =
            (0..snapshots.len().min(policy.keep_last as usize)).collect();
        let mut full = snapshots.len() >= policy.keep_last as usize;
        for (keep, period) in periods {
            let all: BTreeSet<_> = (0..snapshots.len()).map(|index| period(day(index))).collect();
            full &= all.len() >= keep as usize;
            for index in 0..snapshots.len() {
                let own = period(day(index));
                let newer: BTreeSet<_> = (0..index).map(|other| period(day(other))).collect();
                if !newer.contains(&own) && newer.len() < keep as usize {
                    kept.insert(index);
                }
            }
        }
        if !full && !snapshots.is_empty() {
            kept.insert(snapshots.len() - 1);
        }
        kept.extend((0..snapshots.len()).find(|index| snapshots[*index].good));
        kept.extend((0..snapshots.len()).filter(|index| snapshots[*index].held.is_some()));
        kept.into_iter().collect()
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_obvious_way(
            gaps in prop::collection::vec((0i64..200, any::<bool>(), prop::bool::weighted(0.1)), 0..60),
            (last, daily, weekly, monthly, yearly) in
                (0u32..5, 0u32..8, 0u32..6, 0u32..6, 0u32..4),
        ) {
            let mut at = night(3000);
            let mut snapshots = Vec::new();
            for (hours, good, held) in gaps {
                at -= TimeDelta::hours(hours);
                let held = held.then(|| "x".to_owned());
                snapshots.push(Candidate { created_at: at, good, held });
            }
            let policy = policy(last, daily, weekly, monthly, yearly);
            prop_assert_eq!(kept(&snapshots, &policy), obviously(&snapshots, &policy));
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
