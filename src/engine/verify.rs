//! The staged version of a restore: fetched, and compared with what was to be loaded.

use super::Engine;
use super::document::RestoredDocument;
use super::restore::{cannot_load, refused};
use super::step::{Effect, Work};
use crate::archive::{Received, Snapshot, panic_message};
use crate::diff::{self, Archived, Diff, DiffError, Keys, Options, Unfiled, Until};
use crate::failpoint::Point;
use crate::job::{self, ErrorKind, Job, Outcome, Restore};
use crate::manifest::{Manifest, Name};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Changes that are kept to name the first of them.
const EXAMPLES: u64 = 3;

/// What a restore has staged, and how it is compared.
struct Staged {
    job: Job,
    /// The source's name.
    source: String,
    received: Received,
    /// Columns that the service may have added by itself.
    computed: &'static [&'static str],
    /// Where more changes than fit into memory are kept.
    folder: PathBuf,
    stop: CancellationToken,
}

impl Engine {
    /// Fetches the staged version and compares it with what was to be restored.
    pub(super) async fn compare_staged(&self, work: &Work<'_>) -> Option<Effect> {
        let Some(restoring) = work.service.restoring() else { return Some(cannot_load().into()) };
        let job = work.job;
        let name = Name::new(job.submitted_at(), job.id);
        let received = tokio::select! {
            received = self.receive(work, name) => received,
            () = work.handle.cancel.cancelled() => return None,
        };
        let (received, events) = match received {
            Ok(received) => received,
            Err(outcome) => return Some(outcome.into()),
        };
        let staged = Staged {
            job: job.clone(),
            source: work.source.name.clone(),
            received,
            computed: restoring.rules().computed_columns,
            folder: work.config.settings.state_dir.clone(),
            stop: work.handle.cancel.child_token(),
        };
        let engine = self.clone();
        let comparing = tokio::task::spawn_blocking(move || engine.compare_now(staged));
        let outcome = match comparing.await {
            Ok(outcome) => outcome?,
            Err(panicked) => Outcome::Panicked(panic_message(panicked)),
        };
        if self.fails_at(Point::VerifyCompared) {
            return None;
        }
        Some(Effect { outcome, events })
    }

    /// `None` when it was stopped.
    fn compare_now(&self, staged: Staged) -> Option<Outcome> {
        let job = &staged.job;
        let compared = match &staged.received.validation {
            Err(error) => Err((ErrorKind::Corrupt, error.to_string())),
            Ok(summary) => match job::wrong_number(summary.entities, job.expected()) {
                Some(message) => Err((ErrorKind::Incomplete, message)),
                None => Ok(summary.entities),
            },
        };
        let entities = match compared {
            Ok(entities) => entities,
            Err((kind, message)) => {
                let message = self.kept_aside(staged, message);
                return Some(Outcome::Unproven { kind, message });
            }
        };
        let restore = job.restore.clone()?;
        let document = match self.document(&restore) {
            Ok(document) => document,
            Err(outcome) => return Some(outcome),
        };
        let compared = self.differences(&staged, &restore, &document);
        if staged.stop.is_cancelled() {
            return None;
        }
        match compared {
            Ok(None) => {
                let what = match (restore.only.is_empty(), &job.snapshot) {
                    (true, _) => "is equal to the snapshot".to_owned(),
                    (false, Some(_)) => "has the chosen entities of the snapshot, and the others \
                                         as they were published"
                        .to_owned(),
                    (false, None) => "has the chosen entities of the snapshot; the others were \
                                      not compared, because there is no safety backup"
                        .to_owned(),
                };
                let message = format!("the staged version of {entities} entities {what}");
                Some(Outcome::Verified { message })
            }
            Ok(Some(difference)) => {
                let message = format!("the staged version is not what was loaded: {difference}");
                let message = self.kept_aside(staged, message);
                Some(refused(ErrorKind::Corrupt, message))
            }
            Err(error @ DiffError::Spill(_)) => Some(Outcome::Storage(error.to_string())),
            Err(error) => {
                let message = format!("the staged version cannot be compared: {error}");
                let message = self.kept_aside(staged, message);
                Some(refused(ErrorKind::Corrupt, message))
            }
        }
    }

    fn kept_aside(&self, staged: Staged, message: String) -> String {
        let Staged { job, source, received, .. } = staged;
        let name = Name::new(job.submitted_at(), job.id);
        let archive = &self.shared.archive;
        match archive.quarantine(&source, name, job.attempts, false, received) {
            Ok(path) => format!("{message} (kept aside as {})", path.display()),
            Err(error) => format!("{message} (it could not be kept aside: {error})"),
        }
    }

    /// What differs between the staged version and what it should be, in a sentence.
    fn differences(
        &self,
        staged: &Staged,
        restore: &Restore,
        document: &RestoredDocument,
    ) -> Result<Option<String>, DiffError> {
        let stop = &staged.stop;
        let archive = &self.shared.archive;
        let compare = |snapshot: &Snapshot, keys: Keys| {
            let options = Options {
                ignore: added_by_service(&snapshot.manifest, staged.computed),
                keys,
                ..Options::beside_work(staged.folder.clone(), EXAMPLES)
            };
            let old = Archived::new(archive, snapshot, &|_| {});
            let compared = diff::compare(
                &Until { document: old, stop },
                &Until { document: Unfiled(&staged.received), stop },
                &options,
            );
            compared.and_then(
                |diff| if diff.differs() { difference(&diff).map(Some) } else { Ok(None) },
            )
        };
        let only: Arc<BTreeSet<String>> = Arc::new(restore.only.iter().cloned().collect());
        if only.is_empty() {
            return compare(&document.snapshot, Keys::All);
        }
        if let Some(found) = compare(&document.snapshot, Keys::Only(Arc::clone(&only)))? {
            return Ok(Some(found));
        }
        let Some(safety) = &staged.job.snapshot else { return Ok(None) };
        let safety = archive.select(&safety.to_string_lossy()).map_err(|error| {
            let document = "the safety backup".to_owned();
            DiffError::Damaged { document, what: error.to_string() }
        })?;
        let found = compare(&safety, Keys::Except(only))?;
        Ok(found.map(|found| format!("entities that were not to be changed differ: {found}")))
    }
}

/// The columns that a service computes, as far as this snapshot lacks them.
fn added_by_service(manifest: &Manifest, computed: &[&str]) -> BTreeSet<String> {
    let has = |name: &str| manifest.columns.iter().any(|column| column.name == name);
    computed.iter().filter(|name| !has(name)).map(|name| (*name).to_owned()).collect()
}

/// What differs, with the first keys.
fn difference(diff: &Diff) -> Result<String, DiffError> {
    let counts = diff.counts();
    let mut parts = vec![format!(
        "{} entities added, {} removed, {} changed",
        counts.added, counts.removed, counts.changed
    )];
    let columns = diff.columns();
    for (names, what) in
        [(&columns.added, "added"), (&columns.removed, "missing"), (&columns.retyped, "retyped")]
    {
        if !names.is_empty() {
            parts.push(format!("columns {what}: {}", names.join(", ")));
        }
    }
    let mut keys = Vec::new();
    let mut changes = diff.changes()?;
    while let Some(change) = changes.next_change()? {
        keys.push(change.entity().key().unwrap_or("without a key").to_owned());
    }
    if !keys.is_empty() {
        parts.push(format!("the first: {}", keys.join(", ")));
    }
    Ok(parts.join("; "))
}
