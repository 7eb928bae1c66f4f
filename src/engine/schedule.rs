//! Finds the scheduled times that are due, and makes jobs of them.

use super::{Engine, EngineConfig};
use crate::job::{self, Job, Policy, trigger_for};
use crate::policy::schedule::due;
use crate::settings::Source;
use crate::store::{Accounted, NewJob, StoreError};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;

/// How long a due time waits for a job that is past its deadline, before it is looked at again.
const ACCOUNT_AGAIN: TimeDelta = TimeDelta::seconds(5);
/// When to check each source's schedule next, soonest first. The store knows what is accounted for;
/// this only avoids querying it while nothing can be due.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    times: BTreeSet<(DateTime<Utc>, String)>,
}

impl Agenda {
    /// Every schedule, to be checked at once: something may have been missed.
    pub(super) fn of(config: &EngineConfig) -> Agenda {
        let sources = config.settings.sources.iter();
        let times = sources.map(|source| (DateTime::UNIX_EPOCH, source.name.clone()));
        Agenda { times: times.collect() }
    }

    /// The next time of any schedule.
    pub(super) fn next(&self) -> Option<DateTime<Utc>> {
        self.times.first().map(|(at, _)| *at)
    }

    /// Takes out a source whose time has come.
    fn take_due(&mut self, now: DateTime<Utc>) -> Option<String> {
        if self.next()? > now {
            return None;
        }
        self.times.pop_first().map(|(_, source)| source)
    }
}

impl Engine {
    /// Begins the schedules of a configuration: of sources that are new, or whose schedule has
    /// changed, from now on.
    pub(super) async fn begin_schedules(
        &self,
        config: &EngineConfig,
    ) -> Result<Agenda, StoreError> {
        for source in &config.settings.sources {
            self.shared
                .store
                .start_schedule(&source.name, &source.schedule_identity(), self.now())
                .await?;
        }
        Ok(Agenda::of(config))
    }

    /// Accounts for every scheduled time that has come.
    pub(super) async fn schedule_due(
        &self,
        config: &EngineConfig,
        agenda: &mut Agenda,
    ) -> Result<(), StoreError> {
        let now = self.now();
        while let Some(name) = agenda.take_due(now) {
            let Some(source) = config.settings.source(&name) else { continue };
            match self.account(source, &config.policy(), now).await {
                Ok(true) => {
                    let next = source.schedule.next_after(now, source.timezone);
                    agenda.times.extend(next.map(|next| (next, name)));
                }
                Ok(false) => {
                    agenda.times.insert((now + ACCOUNT_AGAIN, name));
                }
                Err(error) => {
                    agenda.times.insert((now, name));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Accounts for the source's scheduled time that has come, if any; `false` when that has to
    /// wait.
    async fn account(
        &self,
        source: &Source,
        policy: &Policy,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let store = &self.shared.store;
        let Some(cursor) = store.cursor(&source.name).await? else { return Ok(true) };
        let Some(due) =
            due(&source.schedule, source.timezone, cursor.cursor, self.shared.started, now)
        else {
            return Ok(true);
        };
        let source_name = source.name.as_str();
        // A job that is past its deadline is about to end, perhaps in failure, and its export is
        // old: a time that is due is not skipped because of it.
        let late = |job: &Job| job.source == source.name && job::is_past_deadline(job, policy, now);
        if store.live_jobs().await?.iter().any(late) {
            return Ok(false);
        }
        let Some((trigger, note)) = trigger_for(due.missed, source.catch_up) else {
            store.record_missed(source_name, due.time, due.earlier + 1, now).await?;
            tracing::warn!(source = source_name, missed = %due.time, "missed; catch_up is off");
            return Ok(true);
        };
        let new = NewJob {
            source: source.name.clone(),
            account: source.account.clone(),
            trigger,
            note: note.to_owned(),
        };
        match store.account_for(new, due.time, due.earlier, now).await? {
            Accounted::Job(job) => {
                tracing::info!(
                    job = job.id, source = source_name, scheduled_for = %due.time, "{note}"
                );
            }
            Accounted::Skipped(live) => tracing::warn!(
                source = source_name, scheduled_for = %due.time, live_job = live,
                "skipped: a job of the source is still live"
            ),
            Accounted::Already => {}
        }
        Ok(true)
    }
}
