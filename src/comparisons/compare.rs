//! One comparison of two snapshots, on a background thread, until it is stopped.

use crate::archive::{Archive, Snapshot};
use crate::background;
use crate::diff::{self, Archived, Diff, DiffError, Options, Until};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// It was stopped.
    #[error("the comparison was stopped")]
    Stopped,
    /// It took too long.
    #[error("the comparison takes longer than {} s", .0.as_secs())]
    TooLong(Duration),
    /// A snapshot was removed meanwhile.
    #[error("a snapshot was removed while it was compared")]
    Removed,
    /// The two cannot be compared.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// The thread panicked, or could not be started.
    #[error("the comparison failed: {0}")]
    Thread(String),
}

/// Compares snapshots of one archive.
#[derive(Debug, Clone)]
pub struct Comparer {
    archive: Archive,
    /// The folder of temporary files, which have no names there.
    folder: PathBuf,
}

impl Comparer {
    /// Comparisons of snapshots of this archive, with temporary files in `folder`.
    pub fn new(archive: Archive, folder: &Path) -> Comparer {
        Comparer { archive, folder: folder.to_owned() }
    }

    /// Compares two snapshots and returns what `look` makes of the result, of which at most `most`
    /// changes are kept. Ends early when it is stopped or takes longer than `limit`.
    ///
    /// # Errors
    /// See [`CompareError`].
    pub(super) async fn compare<T: Send + 'static>(
        &self,
        (old, new): (Snapshot, Snapshot),
        most: u64,
        limit: Duration,
        stop: &CancellationToken,
        look: impl FnOnce(Diff) -> Result<T, DiffError> + Send + 'static,
    ) -> Result<T, CompareError> {
        let ended = stop.child_token();
        // A caller that no longer waits stops the thread.
        let _ended_guard = ended.clone().drop_guard();
        let (comparer, stopped) = (self.clone(), ended.clone());
        let compared = background::spawn("compare", move || {
            let compared = comparer.diff(&old, &new, most, &stopped).and_then(look);
            compared.map_err(|error| comparer.explained(error, [&old, &new]))
        });
        let thread = |error: io::Error| CompareError::Thread(error.to_string());
        let compared = tokio::time::timeout(limit, compared.map_err(thread)?);
        tokio::select! {
            result = compared => match result {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(CompareError::Thread("it panicked".to_owned())),
                Err(_) => Err(CompareError::TooLong(limit)),
            },
            () = stop.cancelled() => Err(CompareError::Stopped),
        }
    }

    fn diff(
        &self,
        old: &Snapshot,
        new: &Snapshot,
        most: u64,
        stop: &CancellationToken,
    ) -> Result<Diff, DiffError> {
        let document = |snapshot| {
            let document = Archived::new(&self.archive, snapshot, &|_| {});
            Until { document, stop }
        };
        let options = Options::beside_work(self.folder.clone(), most);
        diff::compare(&document(old), &document(new), &options)
    }

    /// The error, or that a snapshot is no longer there.
    fn explained(&self, error: DiffError, snapshots: [&Snapshot; 2]) -> CompareError {
        let is_there = |snapshot: &&Snapshot| {
            let manifest = &snapshot.manifest;
            self.archive.find(&manifest.source, manifest.name()).is_some()
        };
        match snapshots.iter().all(is_there) {
            true => CompareError::Diff(error),
            false => CompareError::Removed,
        }
    }
}
