//! Claims jobs: one guarded statement with a lease, and for a submission the quota and the intent in
//! the same transaction. A lease does not expire: it ends only with its worker.

use super::jobs::{add_event, record, update};
use super::row::{self, at, instant};
use super::{Result, Store};
use crate::job::{self, Decision, Job, JobEvent, Policy, Wait, WaitReason};
use crate::policy::quota::{self, Quota, Room};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A remote job that is not known to have ended is presumed to hold its place this long: the
/// service's documents put the longest job at 12 hours ("Bing Maps Data Source AccountLimits").
pub const LONGEST_REMOTE_JOB: TimeDelta = TimeDelta::hours(12);
const DAY: TimeDelta = TimeDelta::hours(24);

/// What a worker asks for.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The worker's name. A job that it claims stays its own until it releases the job or dies.
    pub owner: String,
    /// At most this many jobs to submit or poll.
    pub requests: u32,
    /// At most this many results to fetch.
    pub fetches: u32,
    /// Only these jobs, where given.
    pub only: Option<Vec<i64>>,
    /// No job of these sources: they are not in the worker's configuration.
    pub unconfigured: Vec<String>,
    /// What the accounts of the sources allow, by source; a job of another source is left free.
    pub limits: Arc<BTreeMap<String, AccountLimits>>,
}

/// What a worker has claimed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claimed {
    /// To be worked on now. A queued one among these has its intent to submit written.
    pub jobs: Vec<Job>,
    /// Jobs of sources that are not in the worker's configuration; left free.
    pub unconfigured: Vec<Job>,
    /// What was decided about submissions that a dead worker had left unanswered.
    pub decided: Vec<Decision>,
}

/// What one account allows, and how to decide for its jobs.
#[derive(Debug, Clone)]
pub struct AccountLimits {
    /// Its quotas.
    pub quota: Quota,
    /// For a submission that a dead worker left unanswered.
    pub policy: Policy,
}

impl Store {
    /// Claims due jobs. A queued one is only claimed when its account's quota allows, and then the
    /// intent to submit is stored and charged before this returns: whatever happens afterwards, the
    /// database shows that a remote job may exist.
    pub async fn claim(&self, claim: Claim, now: DateTime<Utc>) -> Result<Claimed> {
        self.write(move |db| {
            Box::pin(async move {
                let mut claimed = Claimed::default();
                let mut usage = BTreeMap::new();
                for job in lease(db, &claim, now).await? {
                    match (job.step(), claim.limits.get(&job.source)) {
                        (Some(job::JobStep::Submit), Some(limits)) if job.submitting => {
                            let decided = answer(db, job, limits, &claim.owner, now).await?;
                            claimed.decided.extend(decided);
                        }
                        (Some(job::JobStep::Submit), Some(limits)) => {
                            let job = submit(db, job, limits, &claim.owner, &mut usage, now);
                            claimed.jobs.extend(job.await?);
                        }
                        (_, Some(_)) => claimed.jobs.push(job),
                        (_, None) => {
                            free(db, job.id, &claim.owner).await?;
                            claimed.unconfigured.push(job);
                        }
                    }
                }
                Ok(claimed)
            })
        })
        .await
    }

    /// Which jobs this worker holds.
    pub async fn held(&self, owner: &str) -> Result<Vec<i64>> {
        let rows = sqlx::query("SELECT id FROM jobs WHERE lease_owner = ?")
            .bind(owner)
            .fetch_all(&self.readers)
            .await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>()?)
    }

    /// Whether any job is live, in any process.
    pub async fn any_live(&self) -> Result<bool> {
        let row = sqlx::query(
            "SELECT 1 FROM jobs INDEXED BY jobs_due \
             WHERE state IN ('queued', 'waiting', 'ready') LIMIT 1",
        )
        .fetch_optional(&self.readers)
        .await?;
        Ok(row.is_some())
    }

    /// Who holds leases.
    pub async fn lease_owners(&self) -> Result<Vec<String>> {
        let rows =
            sqlx::query("SELECT DISTINCT lease_owner FROM jobs WHERE lease_owner IS NOT NULL")
                .fetch_all(&self.readers)
                .await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>()?)
    }

    /// Whether this worker holds this job.
    ///
    /// # Errors
    /// When the database cannot be read, or another file is in its place: there the job may be
    /// another one.
    pub async fn holds(&self, owner: &str, id: i64) -> Result<bool> {
        self.check_in_place()?;
        let row = sqlx::query("SELECT 1 FROM jobs WHERE id = ? AND lease_owner = ?")
            .bind(id)
            .bind(owner)
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.is_some())
    }

    /// Frees every job that a worker holds except these: when it ends, or is known to be dead.
    pub async fn release_all(&self, owner: &str, but: &[i64]) -> Result<u64> {
        let (owner, but) = (owner.to_owned(), list(but));
        self.write(move |db| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE jobs SET lease_owner = NULL WHERE lease_owner = ? \
                     AND id NOT IN (SELECT value FROM json_each(?))",
                )
                .bind(&owner)
                .bind(&but)
                .execute(db)
                .await
                .map(|done| done.rows_affected())
            })
        })
        .await
    }

    /// Frees one job, which stays as it is and due as it was.
    pub async fn release(&self, id: i64, owner: &str) -> Result<()> {
        let owner = owner.to_owned();
        self.write(move |db| Box::pin(async move { free(db, id, &owner).await })).await
    }

    /// Charges a source's live job to this account from now on: the source's account may have changed in
    /// the configuration.
    pub async fn move_to_account(&self, source: &str, account: &str) -> Result<()> {
        let (source, account) = (source.to_owned(), account.to_owned());
        self.write(move |db| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE jobs SET account = ?1 WHERE source = ?2 AND account <> ?1 \
                     AND state IN ('queued', 'waiting', 'ready')",
                )
                .bind(&account)
                .bind(&source)
                .execute(db)
                .await
                .map(drop)
            })
        })
        .await
    }

    /// When the next job is due that no worker holds, among those that may be claimed.
    pub async fn next_due(
        &self,
        requests: bool,
        fetches: bool,
        only: Option<&[i64]>,
        unconfigured: &[String],
    ) -> Result<Option<DateTime<Utc>>> {
        let row = sqlx::query(NEXT_DUE)
            .bind(requests)
            .bind(fetches)
            .bind(only.map(list))
            .bind(list(unconfigured))
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?.map(instant))
    }
}

/// Both statements scan the index of live jobs by due time, from its beginning, and no further than
/// needed.
const NEXT_DUE: &str = "SELECT due_at FROM jobs INDEXED BY jobs_due \
    WHERE state IN ('queued', 'waiting', 'ready') AND lease_owner IS NULL \
      AND ((state = 'ready' AND ?2) OR (state <> 'ready' AND ?1)) \
      AND (?3 IS NULL OR id IN (SELECT value FROM json_each(?3))) \
      AND source NOT IN (SELECT value FROM json_each(?4)) \
    ORDER BY due_at LIMIT 1";
const LEASE: &str = "UPDATE jobs SET lease_owner = ?1 WHERE id IN ( \
      SELECT id FROM jobs INDEXED BY jobs_due \
      WHERE state IN ('queued', 'waiting', 'ready') AND due_at <= ?2 \
        AND lease_owner IS NULL AND (state = 'ready') = ?3 \
        AND (?4 IS NULL OR id IN (SELECT value FROM json_each(?4))) \
        AND source NOT IN (SELECT value FROM json_each(?5)) \
      ORDER BY due_at LIMIT ?6) \
    RETURNING *";

/// A list as an argument of `json_each`.
fn list<T: serde::Serialize>(values: &[T]) -> String {
    serde_json::json!(values).to_string()
}

async fn free(db: &mut SqliteConnection, id: i64, owner: &str) -> sqlx::Result<()> {
    sqlx::query("UPDATE jobs SET lease_owner = NULL WHERE id = ? AND lease_owner = ?")
        .bind(id)
        .bind(owner)
        .execute(db)
        .await
        .map(drop)
}

async fn lease(
    db: &mut SqliteConnection,
    claim: &Claim,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for (fetches, most) in [(false, claim.requests), (true, claim.fetches)] {
        let rows = sqlx::query(LEASE)
            .bind(&claim.owner)
            .bind(at(now))
            .bind(fetches)
            .bind(claim.only.as_deref().map(list))
            .bind(list(&claim.unconfigured))
            .bind(most)
            .fetch_all(&mut *db)
            .await?;
        for row in &rows {
            jobs.push(row::job(row)?);
        }
    }
    // UPDATE … RETURNING gives no order; the longest due goes first.
    jobs.sort_by_key(|job| (job.due_at, job.id));
    Ok(jobs)
}

/// What an account has running and has started, as its remote jobs' rows say.
#[derive(Debug)]
pub(super) struct Usage {
    /// When each unfinished one is presumed to end at the latest.
    pub(super) presumed_ends: Vec<DateTime<Utc>>,
    /// When each one of the last 24 hours was started.
    pub(super) starts: Vec<DateTime<Utc>>,
}

pub(super) async fn usage(
    db: &mut SqliteConnection,
    account: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Usage> {
    let running = sqlx::query(
        "SELECT started_at FROM remote_jobs \
         WHERE account = ? AND started_at > ? AND ended_at IS NULL",
    )
    .bind(account)
    .bind(at(now - LONGEST_REMOTE_JOB))
    .fetch_all(&mut *db)
    .await?;
    let started =
        sqlx::query("SELECT started_at FROM remote_jobs WHERE account = ? AND started_at > ?")
            .bind(account)
            .bind(at(now - DAY))
            .fetch_all(&mut *db)
            .await?;
    let instants = |rows: &[sqlx::sqlite::SqliteRow]| -> sqlx::Result<Vec<DateTime<Utc>>> {
        rows.iter().map(|row| Ok(instant(row.try_get(0)?))).collect()
    };
    let presumed_ends =
        instants(&running)?.into_iter().map(|start| start + LONGEST_REMOTE_JOB).collect();
    Ok(Usage { presumed_ends, starts: instants(&started)? })
}

/// A queued job, leased, whose submission was never answered: decides what follows from that.
async fn answer(
    db: &mut SqliteConnection,
    job: Job,
    limits: &AccountLimits,
    owner: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Decision>> {
    let decision = job::unanswered(&job, &limits.policy, now);
    if !update(db, &decision.job, job.state, owner).await? {
        return Ok(None);
    }
    record(db, &decision, now).await?;
    Ok(Some(decision))
}

/// A queued job, leased: writes the intent to submit when the account has room, otherwise until
/// when it waits. `None` when it is not to be submitted now.
async fn submit(
    db: &mut SqliteConnection,
    mut job: Job,
    limits: &AccountLimits,
    owner: &str,
    known: &mut BTreeMap<String, Usage>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Job>> {
    if !known.contains_key(&job.account) {
        known.insert(job.account.clone(), usage(db, &job.account, now).await?);
    }
    let Some(usage) = known.get_mut(&job.account) else { return Ok(None) };
    if let Room::Wait { until, reason } =
        quota::room(&limits.quota, &usage.presumed_ends, &usage.starts, now)
    {
        let reason = format!("waits for quota: {reason}");
        wait_for_quota(db, job, until, &reason, owner, now).await?;
        return Ok(None);
    }
    usage.presumed_ends.push(now + LONGEST_REMOTE_JOB);
    usage.starts.push(now);
    let remote: i64 = sqlx::query(
        "INSERT INTO remote_jobs (job, account, started_at) VALUES (?, ?, ?) RETURNING id",
    )
    .bind(job.id)
    .bind(&job.account)
    .bind(at(now))
    .fetch_one(&mut *db)
    .await?
    .try_get(0)?;
    job.attempts += 1;
    job.remote = Some(remote);
    job.submitting = true;
    job.submitted_at = Some(now);
    sqlx::query(
        "UPDATE jobs SET attempts = ?, remote = ?, submitting = 1, submitted_at = ? WHERE id = ?",
    )
    .bind(job.attempts)
    .bind(remote)
    .bind(at(now))
    .bind(job.id)
    .execute(&mut *db)
    .await?;
    Ok(Some(job))
}

async fn wait_for_quota(
    db: &mut SqliteConnection,
    mut job: Job,
    until: Option<DateTime<Utc>>,
    reason: &str,
    owner: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let is_new = job.waiting.as_ref().is_none_or(|wait| wait.message != reason);
    // At the latest: it is woken when a remote job of the account ends before that.
    job.due_at = until.unwrap_or(now + DAY);
    job.wait = (job.due_at - now).max(TimeDelta::zero());
    job.waiting = Some(Wait { why: WaitReason::Quota, message: reason.to_owned() });
    if update(db, &job, job.state, owner).await? && is_new {
        let rest = format!("; until {}", job.due_at.format("%Y-%m-%dT%H:%M:%SZ"));
        let event = JobEvent::wait("quota", reason, &rest);
        add_event(db, Some(job.id), &job.source, &event, now).await?;
    }
    Ok(())
}
