//! A year of nights: the result of each day.

use super::{ReportError, Reporter};
use crate::policy::schedule::Schedule;
use crate::settings::Source;
use crate::store::DayJobs;
use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use std::collections::{BTreeMap, BTreeSet};
use std::iter;

/// How many days are shown.
const SHOWN: u64 = 365;

/// The result of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NightState {
    /// No backup was due and none was made, or the day is not over yet.
    None,
    /// A backup was due, and there is none.
    Missed,
    /// A job failed, and none was archived.
    Failed,
    /// Archived as suspicious.
    Suspicious,
    /// Archived.
    Good,
}

impl NightState {
    /// Every state.
    pub const ALL: [NightState; 5] = [
        NightState::Good,
        NightState::Suspicious,
        NightState::Failed,
        NightState::Missed,
        NightState::None,
    ];

    /// The word that is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            NightState::None => "none",
            NightState::Missed => "missed",
            NightState::Failed => "failed",
            NightState::Suspicious => "suspicious",
            NightState::Good => "good",
        }
    }
}

/// One day of a source's zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Night {
    /// The day.
    pub date: NaiveDate,
    /// Its result.
    pub state: NightState,
}

impl Reporter {
    /// The last year of a source, oldest day first.
    pub async fn year(
        &self,
        source: &Source,
        now: DateTime<Utc>,
    ) -> Result<Vec<Night>, ReportError> {
        let names = self.archive.names(&source.name).map_err(|error| self.unreadable(error))?;
        let year_ago = now - TimeDelta::days(SHOWN as i64 + 1);
        let suspicious: BTreeSet<i64> = names
            .into_iter()
            // All names are read: where a clock was wrong, instants do not rise with the job ids.
            .filter(|name| name.created_at() > year_ago)
            .filter(|name| self.is_suspicious(&source.name, *name))
            .map(|name| name.job())
            .collect();
        let days = days(source.timezone, now);
        let starts: Vec<_> = days.iter().map(|(_, start)| *start).collect();
        let (jobs, since) = match &self.store {
            Some(store) => {
                let cursor = store.cursor(&source.name).await?;
                let jobs = store.days(&source.name, &starts, &suspicious).await?;
                (jobs, cursor.map(|cursor| cursor.since))
            }
            None => (Vec::new(), None),
        };
        let became = jobs.iter().filter_map(|jobs| Some((days.get(jobs.day)?.0, became(jobs)?)));
        Ok(nights(source, &became.collect(), since, now))
    }
}

/// The shown days that have begun, each with its first instant in the zone.
fn days(zone: Tz, now: DateTime<Utc>) -> Vec<(NaiveDate, DateTime<Utc>)> {
    // If the clocks skip midnight, the schedule gives the day's first instant.
    let Ok(midnight) = Schedule::parse("0 0 * * *") else { return Vec::new() };
    let next = |after: &DateTime<Utc>| midnight.next_after(*after, zone);
    let first = next(&(now - TimeDelta::days(SHOWN as i64 + 2)));
    iter::successors(first, next)
        .take_while(|start| *start <= now)
        .map(|start| (start.with_timezone(&zone).date_naive(), start))
        .collect()
}

/// The best result of a day's jobs.
fn became(jobs: &DayJobs) -> Option<NightState> {
    let DayJobs { archived, marked, failed, .. } = *jobs;
    match (archived, marked, failed) {
        (1.., ..) => Some(NightState::Good),
        (_, 1.., _) => Some(NightState::Suspicious),
        (_, _, 1..) => Some(NightState::Failed),
        _ => None,
    }
}

/// The result of each day. `best` has the best result of each day with jobs; `since` is when the
/// schedule began.
fn nights(
    source: &Source,
    best: &BTreeMap<NaiveDate, NightState>,
    since: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Vec<Night> {
    let zone = source.timezone;
    let day = |at: DateTime<Utc>| at.with_timezone(&zone).date_naive();
    let today = day(now);
    let first = today.checked_sub_days(Days::new(SHOWN - 1)).unwrap_or(today);
    // A scheduled time is missed once its grace period is over.
    let grace = TimeDelta::from_std(source.grace).unwrap_or(TimeDelta::MAX);
    let owed_until = now.checked_sub_signed(grace).unwrap_or(now);
    let start = since.unwrap_or(now);
    let mut due = BTreeSet::new();
    let mut at = start.max(now - TimeDelta::days(SHOWN as i64));
    while let Some(next) = source.schedule.next_after(at, zone).filter(|next| *next <= owed_until) {
        due.insert(day(next));
        // One missed time a day is enough.
        let rest = next + TimeDelta::hours(1);
        at = if day(rest) == day(next) { rest } else { next };
    }
    first
        .iter_days()
        .take_while(|date| *date <= today)
        .map(|date| {
            let missed = if due.contains(&date) { NightState::Missed } else { NightState::None };
            Night { date, state: best.get(&date).copied().unwrap_or(missed) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Archive;
    use crate::config::{Environment, parse};
    use crate::job::{State, Trigger};
    use crate::store::{NewJob, Store};
    use chrono::TimeZone;
    use std::path::Path;
    use tempfile::TempDir;

    fn at(day: u32, hour: u32) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, day, hour, 0, 0).unwrap()
    }

    fn source(schedule: &str) -> Source {
        let text = format!(
            "timezone = \"Europe/Berlin\"\n[accounts.a]\nkey_env = \"K\"\n[[sources]]\n\
             name = \"s\"\naccount = \"a\"\naccess_id = \"x\"\ndata_source = \"S\"\n\
             schedule = \"{schedule}\"\n"
        );
        let settings = parse(&text, Path::new("/c.toml"), &Environment::default()).unwrap();
        settings.sources.into_iter().next().unwrap()
    }

    /// A history of a schedule that began long ago, with the jobs of these times.
    async fn history(
        source: &Source,
        since: DateTime<Utc>,
        jobs: impl IntoIterator<Item = (DateTime<Utc>, State)>,
    ) -> (TempDir, Store) {
        let folder = TempDir::new().unwrap();
        let store = Store::open(folder.path(), 0).await.unwrap();
        let new = NewJob {
            source: source.name.clone(),
            account: source.account.clone(),
            trigger: Trigger::Schedule,
            note: "created by the schedule".into(),
        };
        store.start_schedule(&source.name, "s", since).await.unwrap();
        let jobs: Vec<_> = jobs.into_iter().collect();
        store.add_ended_jobs(&new, &jobs).await.unwrap();
        (folder, store)
    }

    async fn year(
        folder: &TempDir,
        store: Store,
        source: &Source,
        now: DateTime<Utc>,
    ) -> Vec<Night> {
        let archive = Archive::new(&folder.path().join("archive"), folder.path());
        Reporter::new(Some(store), archive).year(source, now).await.unwrap()
    }

    #[tokio::test]
    async fn each_night_has_the_best_result_of_its_jobs() {
        let source = source("0 2 * * *");
        let jobs = [
            (at(20, 1), State::Failed),
            (at(20, 3), State::Archived),
            (at(21, 1), State::Archived),
            (at(23, 1), State::Failed),
            // In Berlin this is the next day.
            (at(23, 23), State::Archived),
        ];
        let (folder, store) = history(&source, at(19, 12), jobs).await;
        let nights = year(&folder, store, &source, at(25, 3)).await;
        assert_eq!(nights.len(), 365);
        let of = |day: u32| {
            let date = NaiveDate::from_ymd_opt(2026, 11, day).unwrap();
            nights.iter().find(|night| night.date == date).unwrap().state
        };
        assert_eq!(of(19), NightState::None, "before the schedule began");
        assert_eq!(of(20), NightState::Good, "one was archived in the end");
        assert_eq!(of(21), NightState::Good);
        assert_eq!(of(22), NightState::Missed);
        assert_eq!(of(23), NightState::Failed);
        assert_eq!(of(24), NightState::Good);
        assert_eq!(of(25), NightState::None, "its grace is not over");
    }

    #[tokio::test]
    async fn a_source_that_runs_every_half_hour_has_a_whole_year() {
        let source = source("*/30 * * * *");
        let now = at(25, 12);
        let since = now - TimeDelta::days(366);
        let times = (0..366 * 48).map(|half| since + TimeDelta::minutes(30 * half));
        let jobs = times.map(|time| (time, State::Archived));
        let (folder, store) = history(&source, since, jobs).await;
        let nights = year(&folder, store, &source, now).await;
        let others: Vec<_> =
            nights.iter().filter(|night| night.state != NightState::Good).collect();
        assert_eq!(others, Vec::<&Night>::new());
    }

    #[test]
    fn the_best_of_a_day_counts_and_a_suspicious_one_is_less_than_a_good_one() {
        let jobs = |archived, marked, failed| became(&DayJobs { day: 0, archived, marked, failed });
        assert_eq!(jobs(1, 1, 1), Some(NightState::Good));
        assert_eq!(jobs(0, 1, 1), Some(NightState::Suspicious));
        assert_eq!(jobs(0, 0, 1), Some(NightState::Failed));
        assert_eq!(jobs(0, 0, 0), None);
    }

    #[test]
    fn days_follow_each_other_without_a_gap_in_every_zone() {
        let zones = [Tz::UTC, Tz::Europe__Berlin, Tz::America__Sao_Paulo, Tz::Africa__Cairo];
        for zone in zones {
            // Clocks were set at midnight in some of these years.
            for year in [2010, 2018, 2026] {
                let now = Utc.with_ymd_and_hms(year, 12, 20, 23, 30, 0).unwrap();
                let days = days(zone, now);
                assert!(days.len() > SHOWN as usize, "{zone} {year}");
                for pair in days.windows(2) {
                    assert_eq!(pair[0].0.succ_opt(), Some(pair[1].0), "{zone}");
                    let last = pair[1].1 - TimeDelta::milliseconds(1);
                    assert_eq!(last.with_timezone(&zone).date_naive(), pair[0].0, "{zone}");
                }
                assert_eq!(days.last().unwrap().0, now.with_timezone(&zone).date_naive());
            }
        }
    }
}
