//! Opens the database for read-only commands: nothing is created, written or migrated, not even
//! SQLite's own files beside it.

use super::identity::NEW;
use super::{
    BUSY_TIMEOUT, FILE, MIGRATIONS, OPENING, Result, Store, StoreError, beside, copies, is_damage,
    lock, of_opening, schema_version,
};
use crate::files;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Row, SqlitePool};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How often an opening is tried again that may fail because others open or close the database.
const TRIES: u32 = 5;
/// How long after one try the next one follows.
const AGAIN: Duration = Duration::from_millis(20);

/// The state of a database file when it was opened as immutable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unchanging {
    length: u64,
    modified: Option<SystemTime>,
    has_wal: bool,
}

impl Unchanging {
    fn of(path: &Path) -> io::Result<Unchanging> {
        let meta = fs::metadata(path)?;
        let has_wal = beside(path, "-wal").exists();
        Ok(Unchanging { length: meta.len(), modified: meta.modified().ok(), has_wal })
    }
}

impl Store {
    /// Opens the database for reading its history; `None` where none was ever made. Changes nothing
    /// in the state folder, which may be read-only.
    ///
    /// # Errors
    /// When there is none, or nothing in it, although there are copies of it. When the file cannot
    /// be read, is damaged, has another schema than this program knows, or was left in a state that
    /// only a process that writes can put in order.
    pub async fn open_for_reading(state_dir: &Path) -> Result<Option<Store>> {
        for _ in 0..TRIES {
            match Store::try_for_reading(state_dir).await {
                // Another process may be migrating it now. A lock that this user may not open is
                // ignored.
                Err(StoreError::Older { .. }) => {
                    let _ = lock::wait_until_free(&state_dir.join(OPENING));
                }
                // Or closing it, which removes SQLite's files one by one.
                // Or putting a rebuilt one in its place.
                Err(
                    StoreError::LeftOpen { .. }
                    | StoreError::Unreadable { .. }
                    | StoreError::Emptied { .. },
                ) => {}
                opened => return opened,
            }
            crate::clock::pause(AGAIN).await;
        }
        Store::try_for_reading(state_dir).await
    }

    async fn try_for_reading(state_dir: &Path) -> Result<Option<Store>> {
        match Store::try_any_for_reading(state_dir).await? {
            None if !copies::copies(state_dir).is_empty() => {
                Err(StoreError::Emptied { path: state_dir.join(FILE) })
            }
            opened => Ok(opened),
        }
    }

    async fn try_any_for_reading(state_dir: &Path) -> Result<Option<Store>> {
        let path = state_dir.join(FILE);
        let folder = |error| StoreError::Folder { path: path.clone(), error };
        // SQLite opens these by their paths, and follows any link.
        for part in ["", "-wal", "-shm", "-journal"] {
            match files::check_regular(&beside(&path, part)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                checked => checked.map_err(folder)?,
            }
        }
        let seen = match Unchanging::of(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // A process that was killed while it made the database has got no further.
            // SQLite would count such a file as new, and remove a journal beside it.
            Ok(seen) if seen.length <= NEW => return Ok(None),
            seen => seen.map_err(folder)?,
        };
        let journal = fs::metadata(beside(&path, "-wal")).map_or(0, |wal| wal.len());
        let (options, unchanging) = match seen.has_wal {
            true if beside(&path, "-shm").exists() => (reading(&path), None),
            true if journal > 0 => return Err(StoreError::LeftOpen { path }),
            // No process has it open: without this, SQLite would create its files beside it.
            _ => (SqliteConnectOptions::new().filename(&path).immutable(true), Some(seen)),
        };
        let options = options.read_only(true).busy_timeout(BUSY_TIMEOUT);
        let readers = SqlitePoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        let schema = schema(&readers, &path).await;
        let store = Store { path, identity: None, writer: None, readers, unchanging, _open: None };
        match schema {
            Ok(true) => Ok(Some(store)),
            found => {
                let disturbed = store.was_modified();
                store.close().await;
                match found {
                    // A process has begun to write: read it as a database in use.
                    _ if disturbed => Box::pin(Store::try_for_reading(state_dir)).await,
                    Err(error) => Err(error),
                    Ok(_) => Ok(None),
                }
            }
        }
    }

    /// Whether another process has begun to write to a database that was opened as immutable: then
    /// read again.
    pub fn was_modified(&self) -> bool {
        let now = || Unchanging::of(&self.path).ok();
        self.unchanging.as_ref().is_some_and(|seen| now().as_ref() != Some(seen))
    }
}

/// Reads beside a process that has the database open, or after one that was killed: SQLite's shared
/// memory is not written, and is ignored if no process maintains it.
fn reading(path: &Path) -> SqliteConnectOptions {
    let path = percent_encode(path.as_os_str().as_bytes(), NON_ALPHANUMERIC);
    SqliteConnectOptions::new().filename(format!("file:{path}?readonly_shm=1"))
}

/// Whether anything was ever stored, which this program can read then.
async fn schema(readers: &SqlitePool, path: &Path) -> Result<bool> {
    let failed = |error: sqlx::Error| match is_damage(&error) {
        true => of_opening(path, error),
        false => StoreError::Unreadable { path: path.to_owned(), error },
    };
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    let mut reader = readers.acquire().await.map_err(failed)?;
    let found = schema_version(&mut reader).await.map_err(failed)?.unwrap_or(0);
    drop(reader);
    match found.cmp(&known) {
        std::cmp::Ordering::Equal => Ok(true),
        // Made by a process that came no further: nothing is in it.
        std::cmp::Ordering::Less if !had_jobs(readers).await.map_err(failed)? => Ok(false),
        std::cmp::Ordering::Less => Err(StoreError::Older { path: path.to_owned(), found, known }),
        std::cmp::Ordering::Greater => {
            Err(StoreError::Newer { path: path.to_owned(), found, known })
        }
    }
}

/// Whether the database ever had a job.
async fn had_jobs(readers: &SqlitePool) -> sqlx::Result<bool> {
    let tables: i64 =
        sqlx::query("SELECT count(*) FROM sqlite_schema WHERE name IN ('jobs', 'sqlite_sequence')")
            .fetch_one(readers)
            .await?
            .try_get(0)?;
    if tables < 2 {
        return Ok(false);
    }
    let row = sqlx::query("SELECT 1 FROM sqlite_sequence WHERE name = 'jobs' AND seq > 0")
        .fetch_optional(readers)
        .await?;
    Ok(row.is_some())
}
