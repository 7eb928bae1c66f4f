//! The locks that keep other processes from opening the database while it is rebuilt.

use super::{Recovery, RecoveryError};
use crate::store::lock::{self, Held};
use std::io;

/// The lock on whether the database may be rebuilt: a process that has it open shares it, a process
/// that rebuilds it holds it alone.
pub(super) const LOCK: &str = "database.lock";

/// Keeps other processes from opening the database.
#[derive(Debug)]
pub(super) struct Exclusive {
    database: Held,
    /// The daemon's lock, where this is not the daemon.
    _daemon: Option<Held>,
}

impl Exclusive {
    /// Lets others open the database beside this process.
    pub(super) fn into_shared(self) -> io::Result<Held> {
        self.database.into_shared()
    }
}

impl Recovery<'_> {
    /// Makes sure that no other process has the database open, or will while the locks are held
    /// that are returned, and `daemon` where this process is the daemon.
    pub(super) fn exclude_others(&self, daemon: Option<&Held>) -> Result<Exclusive, RecoveryError> {
        let state_dir = &self.settings.state_dir;
        let own = match daemon {
            Some(_) => None,
            None => Some(lock::rebuild(state_dir).map_err(|error| self.unusable(error))?),
        };
        let own = own.transpose().map_err(|holder| match holder.strip_suffix(lock::REBUILDS) {
            Some(process) => RecoveryError::Rebuilding { process: process.to_owned() },
            None => RecoveryError::Daemon { process: holder },
        })?;
        let database =
            lock::try_take(&state_dir.join(LOCK)).map_err(|error| self.unusable(error))?;
        match database {
            Ok(database) if !lock::any_worker_alive(state_dir, daemon.or(own.as_ref())) => {
                Ok(Exclusive { database, _daemon: own })
            }
            _ => Err(RecoveryError::InUse),
        }
    }
}
