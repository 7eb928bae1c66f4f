//! Rebuilds the database from its newest intact copy and the archive.

use super::{Check, Found, Recovery, RecoveryError};
use crate::store::{FILE, Store, copies};
use std::io;
use std::path::PathBuf;

/// How the database was rebuilt.
#[derive(Debug)]
pub struct Rebuilt {
    /// The path of the damaged one; `None` if there was none.
    pub set_aside: Option<PathBuf>,
    /// The copy that it was made from, if one was intact.
    pub copy: Option<PathBuf>,
    /// Jobs that were imported from the archive.
    pub imported: usize,
}

impl Rebuilt {
    /// What was done, in words.
    pub fn summary(&self) -> String {
        let from = match &self.copy {
            Some(copy) => format!("rebuilt from the copy {}", copy.display()),
            None => "rebuilt".to_owned(),
        };
        let jobs = match self.imported {
            1 => "1 job was".to_owned(),
            count => format!("{count} jobs were"),
        };
        let aside = self.set_aside.as_ref().map_or(String::new(), |aside| {
            format!(
                "; the damaged one is kept as {}: remove it when you no longer need it",
                aside.display()
            )
        });
        format!("it is {from}, and {jobs} imported from the archive{aside}")
    }
}

/// A database that is built in a folder of its own, and the copy that it was made from.
struct Draft {
    store: Store,
    copy: Option<PathBuf>,
}

impl Recovery<'_> {
    /// Rebuilds the database, and sets the damaged one aside, if there is one. It gets its name
    /// when it is complete, with all that the archive knows: whatever happens before, the next
    /// start begins again.
    pub(super) async fn rebuild(&self, highest: i64) -> Result<(Rebuilt, Store), RecoveryError> {
        let state_dir = &self.settings.state_dir;
        let database = state_dir.join(FILE);
        // All of it must be readable now: a number that is given twice would be a name given twice.
        let in_archive = self.archive.highest_job().map_err(|error| self.cannot_rebuild(error))?;
        let highest = in_archive.max(highest);
        let Draft { store, copy } = self.draft(highest).await?;
        if copy.is_some() {
            // They may have ended since: what they would send now could undo what came later.
            store.end_copied_restores(self.clock.now()).await?;
        }
        let imported = self.import(&store).await?;
        // Closed, it is one file.
        store.close().await;
        let set_aside = match database.exists() {
            true => {
                let aside = copies::move_aside(state_dir, self.clock.now());
                Some(aside.map_err(|error| self.cannot_rebuild(error))?)
            }
            false => None,
        };
        copies::install_rebuilt(state_dir).map_err(|error| self.cannot_rebuild(error))?;
        self.clear_suspect();
        let store = Store::open(state_dir, highest).await?;
        Ok((Rebuilt { set_aside, copy, imported }, store))
    }

    /// A database in the rebuild folder: the newest copy that is intact, or an empty one.
    async fn draft(&self, highest: i64) -> Result<Draft, RecoveryError> {
        let state_dir = &self.settings.state_dir;
        let empty_folder =
            || copies::rebuild_folder(state_dir).map_err(|error| self.cannot_rebuild(error));
        let mut folder = empty_folder()?;
        for copy in copies::copies(state_dir) {
            copies::restore(&folder, &copy).map_err(|error| self.cannot_rebuild(error))?;
            if let Ok(Found::Intact(store)) = self.find(&folder, highest, Check::Whole).await {
                return Ok(Draft { store, copy: Some(copy) });
            }
            // An older one may be intact.
            folder = empty_folder()?;
        }
        Ok(Draft { store: Store::open(&folder, highest).await?, copy: None })
    }

    fn cannot_rebuild(&self, error: io::Error) -> RecoveryError {
        RecoveryError::Rebuild { database: self.settings.state_dir.join(FILE), error }
    }
}
