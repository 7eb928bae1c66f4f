//! What can go wrong with the database, and what follows from it.

use super::persist::IllegalMove;
use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong with the database. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be made or written.
    #[error(
        "cannot use the state folder {}: {error}; make it, or let the program's user write to it",
        .path.display()
    )]
    Folder {
        /// The state folder, or what is in it.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The database was written by a newer version.
    #[error(
        "{} was written by a newer version of nightjar (schema {found}, this one knows {known}); \
         install that version again, or move the file away to start an empty history (the archive \
         is not touched)", .path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema that this program knows.
        known: i64,
    },
    /// The file is not a database, or a damaged one.
    #[error(
        "{} is not a usable database: {error}; `nightjar reindex` sets it aside and makes a new one \
         from its newest copy and the archive", .path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        error: sqlx::Error,
    },
    /// Damage was met while the database was in use.
    #[error(
        "the database is damaged: {0}; start nightjar again, or type `nightjar reindex`: the next \
         start checks it, and rebuilds it from its newest copy and the archive where that is needed"
    )]
    Corrupt(String),
    /// The file holds nothing, although there were jobs.
    #[error(
        "{} is missing or empty, although there are copies of it or archived snapshots; start the \
         daemon, or type `nightjar backup` or `nightjar reindex`: each rebuilds it from its newest \
         copy and the archive", .path.display()
    )]
    Emptied {
        /// The database.
        path: PathBuf,
    },
    /// The path no longer names the file that this process opened.
    #[error(
        "the database {} was replaced, emptied or removed while it was in use; this process ends, so \
         that no two files give the same job ids. The next start reads what is there, and rebuilds \
         what is lost", .path.display()
    )]
    Replaced {
        /// The database.
        path: PathBuf,
    },
    /// Any other failure of a statement.
    #[error("the database: {0}")]
    Sql(sqlx::Error),
    /// A commit that several writes shared has failed.
    #[error("the database: {0}")]
    Commit(String),
    /// The database was written by an older version, and only a process that writes may change
    /// that.
    #[error(
        "{} was written by an older version of nightjar (schema {found}, this one reads {known}); \
         start the daemon (`systemctl restart nightjar`) or type `nightjar backup`: both bring it up \
         to date, and keep a copy of it as it is", .path.display()
    )]
    Older {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The schema that this program reads.
        known: i64,
    },
    /// A killed process has left a journal that cannot be read without changing anything.
    #[error(
        "{} was left open by a process that was killed, and cannot be read without changing it; \
         start the daemon or type `nightjar backup`: both put it in order. `nightjar reindex` does, \
         too", .path.display()
    )]
    LeftOpen {
        /// The database.
        path: PathBuf,
    },
    /// The database cannot be read.
    #[error(
        "{} cannot be read: {error}; type the command as the program's user, or as root", .path.display()
    )]
    Unreadable {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        error: sqlx::Error,
    },
    /// A change that the table of a job's moves does not have.
    #[error(transparent)]
    IllegalMove(IllegalMove),
    /// A write panicked. Nothing of it was stored.
    #[error(
        "a write to the database was given up: {0}; this is a bug in nightjar; please report it"
    )]
    Panicked(String),
    /// The database was opened for reading.
    #[error("the database was opened for reading")]
    ReadOnly,
    /// The writer has stopped.
    #[error("the database is closed")]
    Closed,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        if let sqlx::Error::Encode(cause) = &error
            && let Some(illegal) = cause.downcast_ref::<IllegalMove>()
        {
            return StoreError::IllegalMove(*illegal);
        }
        match is_damage(&error) {
            true => StoreError::Corrupt(error.to_string()),
            false => StoreError::Sql(error),
        }
    }
}

impl StoreError {
    /// Whether the database must be checked before it is used again: it is damaged, or another file
    /// may be in its place.
    pub fn is_doubtful(&self) -> bool {
        self.is_damage() || matches!(self, StoreError::Replaced { .. })
    }

    /// Whether the database itself is damaged.
    pub fn is_damage(&self) -> bool {
        matches!(self, StoreError::Damaged { .. } | StoreError::Corrupt(_))
    }

    /// Whether storage is the cause (full, read-only, failing, or too busy), so that it may pass.
    pub fn is_storage(&self) -> bool {
        match self {
            StoreError::Folder { .. } | StoreError::Commit(_) => true,
            // SQLITE_FULL, SQLITE_IOERR, SQLITE_READONLY, SQLITE_CANTOPEN, SQLITE_BUSY
            StoreError::Sql(error) => {
                self.is_busy() || matches!(code(error), Some(5 | 8 | 10 | 13 | 14))
            }
            _ => false,
        }
    }

    /// Whether a read got no connection, or not enough time, because of what else is read.
    pub fn is_busy(&self) -> bool {
        // SQLITE_INTERRUPT
        matches!(self, StoreError::Sql(sqlx::Error::PoolTimedOut))
            || matches!(self, StoreError::Sql(error) if code(error) == Some(9))
    }
}

/// Distinguishes damage from other errors.
pub(super) fn of_opening(path: &Path, error: sqlx::Error) -> StoreError {
    if is_damage(&error) {
        StoreError::Damaged { path: path.to_owned(), error }
    } else {
        StoreError::Sql(error)
    }
}

/// Whether SQLite says that the file is no database, or a damaged one.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    // SQLITE_CORRUPT, SQLITE_NOTADB
    matches!(code(error), Some(11 | 26))
}

/// SQLite's primary code of an error.
fn code(error: &sqlx::Error) -> Option<i32> {
    let sqlx::Error::Database(error) = error else { return None };
    Some(error.code()?.parse::<i32>().ok()? & 0xff)
}
