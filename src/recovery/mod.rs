//! Recovery of the database: opens it, and rebuilds one that is missing or damaged from its newest
//! intact copy and the archive.
//!
//! Whether the database is lost or damaged is decided again once no other process can have it open:
//! of two processes that start at once, one rebuilds it and the other opens the result.

mod error;
mod exclusive;
mod import;
mod rebuild;

pub use error::RecoveryError;
pub use rebuild::Rebuilt;

use crate::archive::Archive;
use crate::clock::{self, Clock};
use crate::files;
use crate::settings::Settings;
use crate::store::lock::{self, Held};
use crate::store::{FILE, Store, StoreError, copies};
use std::io;
use std::path::Path;
use std::time::Duration;

/// How long a process that finds the database lost waits for another one that may be rebuilding it.
const OTHERS: Duration = Duration::from_secs(5);
/// How often it checks again meanwhile.
const AGAIN: Duration = Duration::from_millis(100);

/// How thoroughly to check a database before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// That it can be opened.
    Quick,
    /// Every page and index of it.
    Whole,
}

impl Check {
    /// What the database in this folder needs: a whole check where a process has met damage, or has
    /// not closed it.
    pub fn needed(state_dir: &Path) -> Check {
        if copies::is_suspect(state_dir) { Check::Whole } else { Check::Quick }
    }
}

/// The outcome of [`Recovery::reindex`].
#[derive(Debug)]
pub enum Reindexed {
    /// The database was intact; so many jobs were imported from the archive.
    Intact {
        /// How many.
        imported: usize,
    },
    /// It was damaged or missing.
    Rebuilt(Rebuilt),
}

/// What a check has found in the database's place.
enum Found {
    Intact(Store),
    Missing,
    Damaged(String),
}

/// Opens and recovers the database of one state folder.
#[derive(Debug)]
pub struct Recovery<'s> {
    settings: &'s Settings,
    archive: Archive,
    clock: Clock,
}

impl<'s> Recovery<'s> {
    /// Recovery of the database of this configuration.
    pub fn new(settings: &'s Settings, clock: Clock) -> Recovery<'s> {
        let archive = Archive::new(&settings.archive_dir, &settings.state_dir);
        Recovery { settings, archive, clock }
    }

    /// Opens the database, created where there is none, with job numbers above the archive's. One
    /// that is missing or damaged is rebuilt first. `daemon` is the daemon's lock, where this
    /// process is the daemon.
    ///
    /// # Errors
    /// When the database or the archive cannot be used, or another process keeps it from being
    /// rebuilt.
    pub async fn open(&self, check: Check, daemon: Option<&Held>) -> Result<Store, RecoveryError> {
        let highest = self.prepare()?;
        let state_dir = &self.settings.state_dir;
        files::make_folder(state_dir).map_err(|error| self.unusable(error))?;
        let mut tries = OTHERS.as_millis() / AGAIN.as_millis();
        let exclusive = loop {
            let shared = self.share()?;
            if let Found::Intact(store) = self.find(state_dir, highest, check).await? {
                return Ok(store.holding(shared));
            }
            drop(shared);
            match self.exclude_others(daemon) {
                Ok(exclusive) => break exclusive,
                Err(error) if tries == 0 => return Err(error),
                Err(_) => tries -= 1,
            }
            clock::pause(AGAIN).await;
        };
        let trouble = match self.find(state_dir, highest, check).await? {
            Found::Intact(store) => {
                let shared = exclusive.into_shared().map_err(|error| self.unusable(error))?;
                return Ok(store.holding(shared));
            }
            Found::Missing => "the file is missing".to_owned(),
            Found::Damaged(trouble) => trouble,
        };
        let (rebuilt, store) = self.rebuild(highest).await?;
        let path = state_dir.join(FILE);
        tracing::error!(
            "the database {} was damaged or missing ({trouble}); {}",
            path.display(),
            rebuilt.summary()
        );
        let shared = exclusive.into_shared().map_err(|error| self.unusable(error))?;
        Ok(store.holding(shared))
    }

    /// Imports what the history lacks from the archive; rebuilds the database if it is missing or
    /// damaged.
    ///
    /// # Errors
    /// When the database or the archive cannot be used, or another process has it open.
    pub async fn reindex(&self) -> Result<Reindexed, RecoveryError> {
        let state_dir = &self.settings.state_dir;
        let _exclusive = self.exclude_others(None)?;
        let highest = self.prepare()?;
        let (reindexed, store) = match self.find(state_dir, highest, Check::Whole).await? {
            Found::Intact(store) => {
                (Reindexed::Intact { imported: self.import(&store).await? }, store)
            }
            Found::Missing | Found::Damaged(_) => {
                let (rebuilt, store) = self.rebuild(highest).await?;
                (Reindexed::Rebuilt(rebuilt), store)
            }
        };
        store.close().await;
        Ok(reindexed)
    }

    /// Makes the archive ready to be written. Returns the highest job number in it.
    fn prepare(&self) -> Result<i64, RecoveryError> {
        let folder = &self.settings.archive_dir;
        self.archive
            .prepare()
            .map_err(|error| RecoveryError::Archive { folder: folder.clone(), error })?;
        match self.archive.highest_job() {
            Ok(highest) => Ok(highest),
            // The database knows the numbers that were given; without it the archive alone does.
            Err(error) if Store::may_exist(&self.settings.state_dir) => {
                let shown = folder.display();
                tracing::error!("a part of the archive {shown} cannot be read: {error}");
                Ok(0)
            }
            Err(error) => Err(self.unreadable(error)),
        }
    }

    /// Checks the database of a folder.
    async fn find(
        &self,
        folder: &Path,
        highest: i64,
        check: Check,
    ) -> Result<Found, RecoveryError> {
        let had_jobs = highest > 0 || !copies::copies(folder).is_empty();
        if had_jobs && !folder.join(FILE).exists() {
            return Ok(Found::Missing);
        }
        let opened = match had_jobs {
            true => Store::open_again(folder, highest).await,
            false => Store::open(folder, highest).await,
        };
        let store = match opened {
            Ok(store) => store,
            Err(StoreError::Emptied { .. }) => {
                return Ok(Found::Damaged("the file is empty".into()));
            }
            Err(error) if error.is_damage() => return Ok(Found::Damaged(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        if check == Check::Whole {
            let problems = store.integrity().await?;
            if !problems.is_empty() {
                store.close().await;
                return Ok(Found::Damaged(problems.join("; ")));
            }
            if *folder == self.settings.state_dir {
                self.clear_suspect();
            }
        }
        Ok(Found::Intact(store))
    }

    /// Removes the mark that asks for a whole check.
    fn clear_suspect(&self) {
        if let Err(error) = copies::clear_suspect(&self.settings.state_dir) {
            tracing::warn!(%error, "the database is intact, but will be checked again");
        }
    }

    fn share(&self) -> Result<Held, RecoveryError> {
        let path = self.settings.state_dir.join(exclusive::LOCK);
        lock::share(&path).map_err(|error| self.unusable(error))
    }

    fn unusable(&self, error: io::Error) -> RecoveryError {
        RecoveryError::State { folder: self.settings.state_dir.clone(), error }
    }

    fn unreadable(&self, error: io::Error) -> RecoveryError {
        RecoveryError::Unreadable { folder: self.settings.archive_dir.clone(), error }
    }
}
