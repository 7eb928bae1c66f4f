//! Every statement is run here at least once, against a real file.

mod claims;
mod comparisons;
mod damage;
mod locks;
mod migrating;
mod opening;
mod plans;
mod pruning;
mod records;

use super::*;
use crate::job::{ErrorKind, Job, JobError, JobEvent, Policy, ScheduledTime, State, Trigger};
use crate::policy::backoff::Backoff;
use crate::policy::quota::Quota;
use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use std::collections::BTreeSet;
use std::sync::Arc;
use tempfile::TempDir;

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 25, 12, 0, 0).unwrap()
}

fn at(seconds: i64) -> DateTime<Utc> {
    noon() + TimeDelta::seconds(seconds)
}

async fn store() -> (TempDir, Store) {
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path(), 0).await.unwrap();
    (folder, store)
}

impl Store {
    /// Adds jobs for these times that have ended at once, each with a remote job and the timeline
    /// that a good night leaves.
    pub(crate) async fn add_ended_jobs(
        &self,
        new: &NewJob,
        jobs: &[(DateTime<Utc>, State)],
    ) -> Result<()> {
        let (new, jobs) = (new.clone(), jobs.to_vec());
        self.write(move |db| {
            Box::pin(async move {
                for (time, state) in jobs {
                    let scheduled = ScheduledTime { at: time, missed: 0 };
                    let job = super::jobs::create(db, new.clone(), Some(scheduled), time).await?;
                    let error = JobError { kind: ErrorKind::Aborted, message: "no".into() };
                    for event in [
                        JobEvent::Submitted { id: Some("1".into()), attempt: 1 },
                        JobEvent::Completed { expected: Some(3) },
                        match state {
                            State::Archived => JobEvent::Archived { message: "3 entities".into() },
                            State::Cancelled => JobEvent::Cancelled,
                            _ => JobEvent::Failed(error),
                        },
                    ] {
                        super::persist::add_event(db, &job, &event, time).await?;
                    }
                    sqlx::query(
                        "INSERT INTO remote_jobs (job, account, started_at, ended_at) \
                         VALUES (?1, ?2, ?3, ?3)",
                    )
                    .bind(job.id)
                    .bind(&new.account)
                    .bind(row::at(time))
                    .execute(&mut *db)
                    .await?;
                    let snapshot = format!("/archive/{}/{}.json", new.source, job.id);
                    let snapshot = (state == State::Archived).then_some(snapshot);
                    sqlx::query(
                        "UPDATE jobs SET state = ?, finished_at = ?, snapshot = ? WHERE id = ?",
                    )
                    .bind(state.as_str())
                    .bind(row::at(time))
                    .bind(snapshot)
                    .bind(job.id)
                    .execute(&mut *db)
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }
}

impl Store {
    /// Lets a job wait for nothing but its result's download.
    pub(crate) async fn set_ready(&self, job: i64) -> Result<()> {
        let ready = "UPDATE jobs SET state = 'ready', hold_kind = NULL, hold_message = NULL, \
                     result_url = 'https://service/result' WHERE id = ?";
        self.write(move |db| {
            Box::pin(async move { sqlx::query(ready).bind(job).execute(db).await.map(drop) })
        })
        .await
    }
}

fn new_job(source: &str) -> NewJob {
    NewJob {
        source: source.into(),
        account: "contoso".into(),
        trigger: Trigger::Manual,
        note: "made by hand".into(),
    }
}

fn policy() -> Policy {
    let wait = Backoff {
        initial: Duration::from_secs(5),
        max: Duration::from_secs(60),
        factor: 2.0,
        jitter: 0.0,
    };
    Policy {
        poll: wait,
        deadline: Duration::from_hours(24),
        retry: wait,
        attempts: 8,
        job_attempts: 3,
        lost_after: Duration::from_mins(15),
    }
}

fn claim_with(owner: &str, quota: Quota) -> Claim {
    Claim {
        owner: owner.into(),
        requests: 10,
        fetches: 10,
        only: None,
        unconfigured: Vec::new(),
        looked: BTreeSet::new(),
        limits: Arc::new(
            ["stores", "one", "two", "three"]
                .map(|source| {
                    (
                        source.to_owned(),
                        AccountLimits {
                            quota,
                            policy: policy(),
                            requested: source.to_owned(),
                            looks_first: false,
                        },
                    )
                })
                .into(),
        ),
    }
}

fn claim(owner: &str) -> Claim {
    claim_with(owner, Quota { max_in_process: 10, max_jobs_per_day: 50 })
}

async fn made(store: &Store, source: &str) -> Job {
    store.job_for(new_job(source), noon()).await.unwrap().0
}

/// A job whose submission this owner holds, its intent written.
async fn submitting(store: &Store, source: &str, owner: &str) -> Job {
    made(store, source).await;
    let claimed = store.claim(claim(owner), noon()).await.unwrap();
    claimed.jobs.into_iter().find(|job| job.source == source).unwrap()
}
