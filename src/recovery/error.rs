//! Why the database cannot be opened or rebuilt.

use crate::store::StoreError;
use std::io;
use std::path::PathBuf;

/// Why the database cannot be opened or rebuilt. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The state folder cannot be used.
    #[error("cannot use the state folder {}: {error}", .folder.display())]
    State {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The archive folder cannot be used.
    #[error(
        "cannot use the archive folder {}: {error}; make it, or let the program's user write to it",
        .folder.display()
    )]
    Archive {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The archive cannot be read.
    #[error("cannot read the archive {}: {error}", .folder.display())]
    Unreadable {
        /// Its folder.
        folder: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The database cannot be rebuilt.
    #[error("cannot rebuild the database {}: {error}", .database.display())]
    Rebuild {
        /// The database.
        database: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Another process rebuilds it.
    #[error("another nightjar (process {process}) rebuilds the database; wait until it finishes")]
    Rebuilding {
        /// The process's number.
        process: String,
    },
    /// A daemon has it open.
    #[error(
        "a daemon (process {process}) has the database open: stop it (`systemctl stop nightjar`), \
         then run `nightjar reindex`"
    )]
    Daemon {
        /// The process's number.
        process: String,
    },
    /// Another process has it open.
    #[error(
        "another nightjar has the database open; wait until it finishes, then run `nightjar reindex`"
    )]
    InUse,
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}
