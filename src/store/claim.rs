//! Claims jobs: one guarded statement with a lease, and for a submission the quota and the intent
//! in the same transaction. A lease does not expire: it ends only with its worker.

use super::jobs::live_job;
use super::persist::persist;
use super::row::{self, at, instant};
use super::{Result, Store};
use crate::job::{self, AccountLimits, Change, Job, JobStep, LONGEST_REMOTE_JOB, Usage};
use crate::policy::quota::WINDOW;
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
    /// Jobs that need no look before their submission.
    pub looked: BTreeSet<i64>,
    /// What the accounts of the sources allow, by source; a job of another source is left free.
    pub limits: Arc<BTreeMap<String, AccountLimits>>,
}

/// What a worker has claimed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claimed {
    /// To be worked on now. A queued one among these has its intent to submit written, unless it is
    /// looked at first.
    pub jobs: Vec<Job>,
    /// Jobs of sources that are not in the worker's configuration; left free.
    pub unconfigured: Vec<Job>,
    /// What happened to jobs that are not worked on now: they wait for quota, or a dead worker had
    /// left their submission unanswered.
    pub changes: Vec<Change>,
}

impl Store {
    /// Claims due jobs. A queued one is only claimed when its account's quota allows, and then the
    /// intent to submit is stored and charged before this returns: whatever happens afterwards, the
    /// database shows that a remote job may exist.
    pub async fn claim(&self, claim: Claim, now: DateTime<Utc>) -> Result<Claimed> {
        self.write(move |db| {
            Box::pin(async move {
                let mut claimed = Claimed::default();
                let mut known = BTreeMap::new();
                for job in lease(db, &claim, now).await? {
                    let Some(limits) = claim.limits.get(&job.source) else {
                        free(db, job.id, &claim.owner).await?;
                        claimed.unconfigured.push(job);
                        continue;
                    };
                    let looks = job::looks_first(&job, limits) && !claim.looked.contains(&job.id);
                    if job.step() == Some(JobStep::Submit) && !looks {
                        prepare(db, job, limits, &claim.owner, &mut known, &mut claimed, now)
                            .await?;
                    } else {
                        claimed.jobs.push(job);
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
        let row =
            sqlx::query("SELECT 1 FROM jobs INDEXED BY jobs_due WHERE finished_at IS NULL LIMIT 1")
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

    /// Charges a source's live job to this account from now on: the source's account may have
    /// changed in the configuration.
    pub async fn move_to_account(
        &self,
        source: &str,
        account: &str,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let (source, account) = (source.to_owned(), account.to_owned());
        self.write(move |db| {
            Box::pin(async move {
                let live = live_job(db, &source).await?;
                if let Some(change) = live.and_then(|job| job::move_to_account(&job, &account)) {
                    persist(db, change, None, now).await?;
                }
                Ok(())
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
/// needed. Both ask for downloads apart ([`JobStep::downloads`]).
const NEXT_DUE: &str = "SELECT due_at FROM jobs INDEXED BY jobs_due \
    WHERE finished_at IS NULL AND lease_owner IS NULL \
      AND iif(state = 'ready' AND coalesce(restore ->> '$.stage', 'backup') \
                IN ('backup', 'safety', 'verify'), ?2, ?1) \
      AND (?3 IS NULL OR id IN (SELECT value FROM json_each(?3))) \
      AND source NOT IN (SELECT value FROM json_each(?4)) \
    ORDER BY due_at LIMIT 1";
const LEASE: &str = "UPDATE jobs SET lease_owner = ?1 WHERE id IN ( \
      SELECT id FROM jobs INDEXED BY jobs_due \
      WHERE finished_at IS NULL AND due_at <= ?2 \
        AND lease_owner IS NULL \
        AND (state = 'ready' AND coalesce(restore ->> '$.stage', 'backup') \
               IN ('backup', 'safety', 'verify')) = ?3 \
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

/// What an account has running and has started, by the records of its remote jobs.
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
            .bind(at(now - WINDOW))
            .fetch_all(&mut *db)
            .await?;
    let instants = |rows: &[sqlx::sqlite::SqliteRow]| -> sqlx::Result<Vec<DateTime<Utc>>> {
        rows.iter().map(|row| Ok(instant(row.try_get(0)?))).collect()
    };
    let restores = sqlx::query(
        "SELECT * FROM jobs INDEXED BY jobs_due \
         WHERE finished_at IS NULL AND operation = 'restore' AND account = ? ORDER BY id",
    )
    .bind(account)
    .fetch_all(&mut *db)
    .await?;
    let restores = restores.iter().map(row::job).collect::<sqlx::Result<Vec<Job>>>()?;
    let first = restores.iter().filter(|job| job::goes_first(job)).map(|job| job.id).collect();
    Ok(Usage { running: instants(&running)?, started: instants(&started)?, first })
}

/// A queued job, leased: writes the intent to submit, or why the job is not submitted now, by
/// [`job::claim`].
async fn prepare(
    db: &mut SqliteConnection,
    job: Job,
    limits: &AccountLimits,
    owner: &str,
    known: &mut BTreeMap<String, Usage>,
    claimed: &mut Claimed,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if !known.contains_key(&job.account) {
        known.insert(job.account.clone(), usage(db, &job.account, now).await?);
    }
    let Some(usage) = known.get_mut(&job.account) else { return Ok(()) };
    let Some(change) = job::claim(&job, limits, usage, now) else { return Ok(()) };
    let Some(change) = persist(db, change, Some(owner), now).await? else { return Ok(()) };
    if change.intends_to_submit() {
        usage.start(job.id, now);
        claimed.jobs.push(change.into_job());
    } else if !change.events().is_empty() {
        claimed.changes.push(change);
    }
    Ok(())
}
