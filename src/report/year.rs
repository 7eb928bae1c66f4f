//! A year of nights: what became of each day.

use super::{ReportError, Reporter};
use crate::job::{Job, State};
use crate::settings::Source;
use crate::store::Filter;
use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};

/// How many days are shown.
const SHOWN: u64 = 365;
/// The most jobs that are looked at.
const JOBS: u32 = 10_000;

/// What became of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NightState {
    /// Nothing was due and nothing was done, or it is not over yet.
    None,
    /// Something was due, and nothing came of it.
    Missed,
    /// A job failed, and none was archived.
    Failed,
    /// Archived, and worth a second look.
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
    /// What became of it.
    pub state: NightState,
}

impl Reporter {
    /// The last year of a source, oldest day first.
    pub async fn year(
        &self,
        source: &Source,
        now: DateTime<Utc>,
    ) -> Result<Vec<Night>, ReportError> {
        let filter = Filter { source: Some(source.name.clone()), limit: JOBS, ..Filter::default() };
        let (jobs, since) = match &self.store {
            Some(store) => {
                let cursor = store.cursor(&source.name).await?;
                (store.jobs(&filter).await?, cursor.map(|cursor| cursor.since))
            }
            None => (Vec::new(), None),
        };
        let names = self.archive.names(&source.name).map_err(|error| self.unreadable(error))?;
        let year_ago = now - TimeDelta::days(SHOWN as i64 + 1);
        let suspicious: BTreeSet<i64> = names
            .into_iter()
            .take_while(|name| name.created_at() > year_ago)
            .filter(|name| self.is_suspicious(&source.name, *name))
            .map(|name| name.job())
            .collect();
        Ok(nights(source, &jobs, &suspicious, since, now))
    }
}

/// What became of each day. `suspicious` are jobs; `since` is when the schedule began.
fn nights(
    source: &Source,
    jobs: &[Job],
    suspicious: &BTreeSet<i64>,
    since: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Vec<Night> {
    let zone = source.timezone;
    let day = |at: DateTime<Utc>| at.with_timezone(&zone).date_naive();
    let today = day(now);
    let first = today.checked_sub_days(Days::new(SHOWN - 1)).unwrap_or(today);
    let mut best: BTreeMap<NaiveDate, NightState> = BTreeMap::new();
    for job in jobs {
        let state = match job.state {
            State::Archived if suspicious.contains(&job.id) => NightState::Suspicious,
            State::Archived => NightState::Good,
            State::Failed => NightState::Failed,
            _ => continue,
        };
        // The night that it is for, not the one in which it was made up for.
        let of = day(job.scheduled_for.unwrap_or(job.created_at));
        let known = best.entry(of).or_insert(state);
        *known = state.max(*known);
    }
    // A time is missed once its grace is over.
    let grace = TimeDelta::from_std(source.grace).unwrap_or(TimeDelta::MAX);
    let owed_until = now.checked_sub_signed(grace).unwrap_or(now);
    let start = since.unwrap_or(now);
    let mut due = BTreeSet::new();
    let mut at = start.max(now - TimeDelta::days(SHOWN as i64));
    while let Some(next) = source.schedule.next_after(at, zone).filter(|next| *next <= owed_until) {
        due.insert(day(next));
        // One time of a day is enough.
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
    use crate::config::{Environment, parse};
    use crate::job::Trigger;
    use chrono::TimeZone;
    use std::path::Path;

    fn at(day: u32, hour: u32) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, day, hour, 0, 0).unwrap()
    }

    fn source() -> Source {
        let text = "timezone = \"Europe/Berlin\"\n[accounts.a]\nkey_env = \"K\"\n[[sources]]\n\
                    name = \"s\"\naccount = \"a\"\naccess_id = \"x\"\ndata_source = \"S\"\n\
                    schedule = \"0 2 * * *\"\n";
        let settings = parse(text, Path::new("/c.toml"), &Environment::default()).unwrap();
        settings.sources.into_iter().next().unwrap()
    }

    fn job(id: i64, state: State, scheduled_for: DateTime<Utc>) -> Job {
        Job {
            wait: chrono::TimeDelta::zero(),
            id,
            source: "s".into(),
            account: "a".into(),
            state,
            trigger: Trigger::Schedule,
            scheduled_for: Some(scheduled_for),
            created_at: scheduled_for,
            finished_at: Some(scheduled_for),
            due_at: scheduled_for,
            hold: None,
            attempts: 1,
            polls: 0,
            rounds: 0,
            failures: 0,
            remote: None,
            submitting: false,
            remote_id: None,
            status_url: None,
            result_url: None,
            first_submitted_at: None,
            submitted_at: None,
            expected: None,
            missing_since: None,
            error: None,
            snapshot: None,
        }
    }

    #[test]
    fn each_night_is_what_became_of_it() {
        let jobs = [
            job(5, State::Archived, at(24, 1)),
            job(4, State::Failed, at(23, 1)),
            job(3, State::Archived, at(21, 1)),
            job(2, State::Failed, at(20, 1)),
            job(1, State::Archived, at(20, 3)),
        ];
        let suspicious = BTreeSet::from([3]);
        let nights = nights(&source(), &jobs, &suspicious, Some(at(19, 12)), at(25, 3));
        assert_eq!(nights.len(), 365);
        let of = |day: u32| {
            let date = NaiveDate::from_ymd_opt(2026, 11, day).unwrap();
            nights.iter().find(|night| night.date == date).unwrap().state
        };
        assert_eq!(of(19), NightState::None, "before the schedule began");
        assert_eq!(of(20), NightState::Good, "one was archived in the end");
        assert_eq!(of(21), NightState::Suspicious);
        assert_eq!(of(22), NightState::Missed);
        assert_eq!(of(23), NightState::Failed);
        assert_eq!(of(24), NightState::Good);
        assert_eq!(of(25), NightState::None, "its grace is not over");
    }
}
