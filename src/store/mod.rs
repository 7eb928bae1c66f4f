//! SQLite: jobs, their timelines, quotas and schedules, shared safely by several processes.
//!
//! Every statement is in a named function of this module. Writes go through one writer
//! (`writer.rs`): operations that arrive during a commit share the next one. A write that
//! an effect depends on (the intent to submit) is durable before the function returns, for
//! `synchronous` is FULL.

mod alerts;
mod claim;
mod clock;
mod comparisons;
pub mod copies;
mod error;
mod history;
mod identity;
mod import;
mod jobs;
pub mod lock;
mod maintenance;
mod orphans;
mod persist;
mod pruning;
mod reading;
mod row;
mod schedules;
#[cfg(test)]
mod tests;
mod writer;

pub use crate::job::{AccountLimits, ArchivedJob, LONGEST_REMOTE_JOB, NewJob};
pub use alerts::SentAlert;
pub use claim::{Claim, Claimed};
pub use comparisons::{ContentPair, StoredComparison};
pub use error::StoreError;
pub use history::{DURATIONS, DayJobs, Filter, JobDurations, TimelineEvent};
pub use jobs::{Cancelled, Creation};
pub use maintenance::LastRun;
pub use orphans::Orphan;
pub use persist::IllegalMove;
pub use pruning::{HISTORY_KEPT, NEWEST_KEPT, PrunedHistory};
pub use schedules::{Accounted, Cursor};

use crate::files;
use crate::manifest::HIGHEST_JOB;
use error::{is_damage, of_opening};
use futures_util::future::BoxFuture;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection, Row, SqlitePool};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");
/// The database's file name in the state folder.
pub const FILE: &str = "nightjar.db";
/// The lock of a process that opens the database, and may be creating or migrating it.
const OPENING: &str = "open.lock";
/// How long a process waits for another one's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How many reads run at once: those of the page, and those of all others.
const READERS: u32 = 2;
/// How long a read for the page waits for a connection.
const PAGE_WAIT: Duration = Duration::from_secs(5);
/// How long it may then take.
const PAGE_READ: Duration = Duration::from_secs(2);
/// How often SQLite looks at the time while it reads for the page, in its own operations: about a
/// millisecond.
const OPERATIONS: i32 = 10_000;

type Result<T> = std::result::Result<T, StoreError>;

/// The database of one state folder.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
    /// The file that was opened.
    identity: Option<identity::Identity>,
    /// `None` where the database was opened for reading.
    writer: Option<writer::Writer>,
    readers: SqlitePool,
    /// The file's state, if it was opened as immutable.
    unchanging: Option<reading::Unchanging>,
    /// Keeps others from rebuilding the database while it is open.
    _open: Option<Arc<lock::Held>>,
}

impl Store {
    /// Opens the database in `state_dir`, makes it where there is none, and brings an older one up
    /// to date, keeping a copy. Job ids go on above `used_ids`, the highest in the archive, and
    /// stay within [`HIGHEST_JOB`].
    ///
    /// # Errors
    /// When the file is damaged, was written by a newer version, or cannot be used.
    pub async fn open(state_dir: &Path, used_ids: i64) -> Result<Store> {
        Store::open_as(state_dir, used_ids, false).await
    }

    /// The same where there were jobs before, so that a file without anything in it is not a new
    /// database.
    ///
    /// # Errors
    /// As [`Store::open`]; [`StoreError::Emptied`] when there is no file or nothing in it.
    pub async fn open_again(state_dir: &Path, used_ids: i64) -> Result<Store> {
        Store::open_as(state_dir, used_ids, true).await
    }

    async fn open_as(state_dir: &Path, used_ids: i64, had_jobs: bool) -> Result<Store> {
        let folder = |error| StoreError::Folder { path: state_dir.to_owned(), error };
        files::make_folder(state_dir).map_err(folder)?;
        let path = state_dir.join(FILE);
        // Opening is the one time that the schema may change: one process at once.
        let _guard = lock::wait_for(&state_dir.join(OPENING)).map_err(folder)?;
        if had_jobs && !identity::may_hold_data(&path) {
            return Err(StoreError::Emptied { path });
        }
        files::open(&path).map_err(|error| StoreError::Folder { path: path.clone(), error })?;
        // SQLite opens these by their paths, and follows any link.
        for part in ["-wal", "-shm", "-journal"] {
            let part = state_dir.join(format!("{FILE}{part}"));
            files::check_regular(&part)
                .map_err(|error| StoreError::Folder { path: part.clone(), error })?;
        }
        let mut connection = connect(&path).await?;
        if had_jobs && !has_tables(&mut connection, &path).await? {
            return Err(StoreError::Emptied { path });
        }
        migrate(&mut connection, &path).await?;
        sqlx::query(
            "INSERT INTO sqlite_sequence (name, seq) \
             SELECT 'jobs', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'jobs')",
        )
        .execute(&mut connection)
        .await?;
        // A sequence with no number left, for whatever reason, would end all backups: it goes
        // back to the highest number in use.
        let highest = sqlx::query("SELECT coalesce(max(id), 0) FROM jobs WHERE id < ?")
            .bind(HIGHEST_JOB)
            .fetch_one(&mut connection)
            .await
            .and_then(|row| row.try_get::<i64, _>(0));
        let highest = match highest {
            // Opening does not look for damage: what meets it in use marks the database.
            Err(error) if is_damage(&error) => 0,
            highest => highest?,
        };
        sqlx::query(
            "UPDATE sqlite_sequence SET seq = max(?1, ?2, \
               CASE WHEN typeof(seq) = 'integer' AND seq >= 0 AND seq < ?3 THEN seq ELSE 0 END) \
             WHERE name = 'jobs'",
        )
        .bind(used_ids)
        .bind(highest)
        .bind(HIGHEST_JOB)
        .execute(&mut connection)
        .await?;
        let readers = pool().connect_lazy_with(options(&path).read_only(true));
        let identity = identity::Identity::of(&path).map_err(folder)?;
        let writer = writer::Writer::start(connection, path.clone(), identity);
        let identity = Some(identity);
        Ok(Store { path, identity, writer: Some(writer), readers, unchanging: None, _open: None })
    }

    /// The same database for the status page: read through separate connections, so that other
    /// users of this store never wait for the page. A read that takes too long, or gets no
    /// connection in time, fails with an error that [`StoreError::is_busy`].
    pub fn for_page(&self) -> Store {
        let readers = pool()
            .acquire_timeout(PAGE_WAIT)
            .after_connect(|connection, _| Box::pin(limit_reading(connection)))
            .before_acquire(|connection, _| {
                Box::pin(async move { limit_reading(connection).await.map(|()| true) })
            })
            // A flood of page requests must not flood the log with slow statements.
            .connect_lazy_with(options(&self.path).read_only(true).disable_statement_logging());
        Store { readers, ..self.clone() }
    }

    /// Whether there is a file in the database's place that is long enough to hold anything.
    pub fn may_exist(state_dir: &Path) -> bool {
        identity::may_hold_data(&state_dir.join(FILE))
    }

    /// Holds this lock for as long as the database is open.
    #[must_use]
    pub fn holding(self, lock: lock::Held) -> Store {
        Store { _open: Some(Arc::new(lock)), ..self }
    }

    /// The WAL's modification time and size, which change with every commit of any process: a cheap
    /// check for changes.
    pub fn wal_fingerprint(&self) -> Option<(std::time::SystemTime, u64)> {
        let meta = fs::metadata(beside(&self.path, "-wal")).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    }

    /// An error where the path no longer names the file that this process opened, or that file was
    /// emptied. One look at the folder: cheap. Every write checks it too.
    ///
    /// # Errors
    /// [`StoreError::Replaced`], after which nothing is to be read or written through this store.
    pub fn check_in_place(&self) -> Result<()> {
        match self.identity {
            Some(identity) if !identity.is_in_place(&self.path) => {
                Err(StoreError::Replaced { path: self.path.clone() })
            }
            _ => Ok(()),
        }
    }

    /// How many transactions this process has committed.
    pub fn commits(&self) -> u64 {
        self.writer.as_ref().map_or(0, writer::Writer::commits)
    }

    /// The problems that SQLite finds in the file; empty when it is intact.
    pub async fn integrity(&self) -> Result<Vec<String>> {
        Ok(problems(&mut *self.readers.acquire().await?).await?)
    }

    /// Waits for what is being read, then closes the connections for reading.
    pub async fn close_reading(&self) {
        self.readers.close().await;
    }

    /// Waits for pending operations, then closes.
    pub async fn close(&self) {
        self.close_reading().await;
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
    }

    /// One write, in a transaction of its own or shared with others.
    async fn write<T, F>(&self, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, sqlx::Result<T>>
            + Send
            + 'static,
    {
        match &self.writer {
            Some(writer) => writer.write(operation).await,
            None => Err(StoreError::ReadOnly),
        }
    }
}

/// The problems that SQLite finds in a database file; empty when it is intact.
async fn problems(connection: &mut SqliteConnection) -> sqlx::Result<Vec<String>> {
    let checked = sqlx::query("PRAGMA quick_check(20)").fetch_all(connection).await;
    let rows = match checked {
        Err(error) if is_damage(&error) => return Ok(vec![error.to_string()]),
        checked => checked?,
    };
    let lines: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
}

/// Connections for reading, opened when they are first needed.
fn pool() -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Makes reads through the connection fail if they are not done within [`PAGE_READ`].
async fn limit_reading(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let begun = Instant::now();
    let mut handle = connection.lock_handle().await?;
    handle.set_progress_handler(OPERATIONS, move || begun.elapsed() < PAGE_READ);
    Ok(())
}

async fn connect(path: &Path) -> Result<SqliteConnection> {
    SqliteConnection::connect_with(&options(path)).await.map_err(|error| of_opening(path, error))
}

/// Whether anything was ever made in the file: another program's table counts.
async fn has_tables(connection: &mut SqliteConnection, path: &Path) -> Result<bool> {
    let tables: i64 = sqlx::query("SELECT count(*) FROM sqlite_schema WHERE type = 'table'")
        .fetch_one(connection)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(|error| of_opening(path, error))?;
    Ok(tables > 0)
}

/// The newest migration that the database has; `None` if none was ever run on it.
async fn schema_version(connection: &mut SqliteConnection) -> sqlx::Result<Option<i64>> {
    let tables: i64 =
        sqlx::query("SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'")
            .fetch_one(&mut *connection)
            .await?
            .try_get(0)?;
    if tables == 0 {
        return Ok(None);
    }
    let newest = sqlx::query("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    Ok(Some(newest))
}

/// A file beside the database whose name begins with the database's.
fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.to_owned().into_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<()> {
    let damaged = |error| of_opening(path, error);
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    if let Some(found) = schema_version(connection).await.map_err(damaged)? {
        if found > known {
            return Err(StoreError::Newer { path: path.to_owned(), found, known });
        }
        if found < known {
            keep_copy(path, found).await?;
        }
    }
    // Also where there is nothing to do: this compares what was applied with what is known.
    MIGRATIONS.run(&mut *connection).await.map_err(|error| match error {
        sqlx::migrate::MigrateError::Execute(error) => of_opening(path, error),
        other => StoreError::Sql(sqlx::Error::Migrate(Box::new(other))),
    })
}

/// A whole copy of the database before its schema changes, beside it, private like it.
async fn keep_copy(path: &Path, version: i64) -> Result<()> {
    let copy = beside(path, &format!(".schema-{version}"));
    // One that an earlier upgrade has left is replaced: after a downgrade it is out of date.
    copies::write_copy(path, &copy).await
}
