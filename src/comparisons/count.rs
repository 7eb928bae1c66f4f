//! Counts how much each night changed, after it was archived.

use super::{CompareError, Comparer};
use crate::archive::Archive;
use crate::diff::{self, DiffError};
use crate::engine::Notice;
use crate::job::JobStep;
use crate::report::{Pair, ReportError, Reporter};
use crate::settings::Settings;
use crate::store::{ContentPair, Store, StoreError, StoredComparison};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The most snapshots of a source that are counted, the newest: those that the page shows.
const MOST: usize = 400;
/// How long after its start a daemon begins: backups that were missed go first.
const AFTER_START: Duration = Duration::from_secs(5);
/// How often it looks for snapshots that other processes have made.
const INTERVAL: Duration = Duration::from_mins(10);
/// How soon it looks again while a download is under way.
const AFTER_DOWNLOAD: Duration = Duration::from_secs(30);
/// How long one comparison may take.
const LIMIT: Duration = Duration::from_mins(15);
/// How long after a failure the same comparison is tried again.
const AFTER_FAILURE: Duration = Duration::from_hours(6);

/// Why counting stops for now.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interrupted {
    #[error("a download is under way")]
    Download,
    #[error(transparent)]
    Stopped(#[from] CompareError),
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl From<StoreError> for Interrupted {
    fn from(error: StoreError) -> Interrupted {
        Interrupted::Report(error.into())
    }
}

/// Counts the changes of each night. The counts are kept in the database.
#[derive(Debug)]
pub struct Counting {
    store: Store,
    reporter: Reporter,
    comparer: Comparer,
    archived: Arc<Notify>,
    /// When a comparison failed.
    failed: BTreeMap<ContentPair, Instant>,
}

impl Counting {
    /// Counting for this database and this archive, with temporary files in `folder`. `reporter`
    /// reads both.
    pub fn new(store: Store, archive: Archive, reporter: Reporter, folder: &Path) -> Counting {
        let comparer = Comparer::new(archive, folder);
        Counting { store, reporter, comparer, archived: Arc::default(), failed: BTreeMap::new() }
    }

    /// Observes the engine: what it archives is counted soon. Returns immediately.
    pub fn observer(&self) -> impl Fn(&Notice<'_>) + Send + Sync + use<> {
        let archived = Arc::clone(&self.archived);
        move |notice| {
            if matches!(notice, Notice::Moved { job, .. } if job.state.is_final()) {
                archived.notify_one();
            }
        }
    }

    /// Counts what is not counted yet, at the start, after each backup and now and then, until
    /// stopped. Calls `counted` after each time.
    pub async fn keep_counting(
        mut self,
        settings: impl Fn() -> Settings,
        counted: impl Fn(),
        stop: &CancellationToken,
    ) {
        let mut wait = AFTER_START;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tokio::time::timeout(wait, self.archived.notified()) => {}
            }
            let sources: Vec<String> =
                settings().sources.into_iter().map(|source| source.name).collect();
            wait = match self.count_all(&sources, MOST, stop).await {
                Ok(()) => INTERVAL,
                Err(Interrupted::Download) => AFTER_DOWNLOAD,
                Err(error) => {
                    if !stop.is_cancelled() {
                        tracing::warn!(%error, "changes cannot be counted now; trying again");
                    }
                    INTERVAL
                }
            };
            counted();
        }
    }

    /// Counts the newest snapshot of each of these sources, once.
    pub async fn count_newest(&mut self, sources: &[String], stop: &CancellationToken) {
        match self.count_all(sources, 1, stop).await {
            Ok(()) | Err(Interrupted::Download | Interrupted::Stopped(_)) => {}
            Err(error) => tracing::warn!(%error, "changes cannot be counted"),
        }
    }

    /// Counts what is not counted yet among the newest `most` snapshots of each of these sources.
    pub(super) async fn count_all(
        &mut self,
        sources: &[String],
        most: usize,
        stop: &CancellationToken,
    ) -> Result<(), Interrupted> {
        for source in sources {
            let pairs = match self.reporter.uncompared(source, most).await {
                Ok(pairs) => pairs,
                // A source that cannot be read must not keep the others from being counted.
                Err(ReportError::Archive { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            for pair in &pairs {
                self.count(source, pair, stop).await?;
            }
            if !pairs.is_empty() {
                self.forget(source).await?;
            }
        }
        Ok(())
    }

    async fn count(
        &mut self,
        source: &str,
        pair: &Pair,
        stop: &CancellationToken,
    ) -> Result<(), Interrupted> {
        self.failed.retain(|_, at| at.elapsed() < AFTER_FAILURE);
        if self.failed.contains_key(&pair.contents) {
            return Ok(());
        }
        if self.is_downloading().await? {
            return Err(Interrupted::Download);
        }
        let archive = self.reporter.archive();
        let (Some(old), Some(new)) =
            (archive.find(source, pair.old), archive.find(source, pair.new))
        else {
            return Ok(());
        };
        let counted =
            self.comparer.compare((old, new), 0, LIMIT, stop, |diff| Ok(diff.counts())).await;
        let counts = match counted {
            Ok(counts) => Some(counts),
            // That does not change: it follows from the two contents.
            Err(CompareError::Diff(DiffError::DifferentKeys { .. })) => None,
            Err(CompareError::Removed) => return Ok(()),
            Err(error @ CompareError::Stopped) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(source, snapshot = %pair.new, %error, "changes cannot be counted");
                self.failed.insert(pair.contents.clone(), Instant::now());
                return Ok(());
            }
        };
        let comparison = StoredComparison { pair: pair.contents.clone(), counts };
        self.store.record_comparison(source, &comparison, diff::RULES).await?;
        tracing::debug!(source, snapshot = %pair.new, ?counts, "changes were counted");
        Ok(())
    }

    /// Whether any process downloads a result now, or should.
    async fn is_downloading(&self) -> Result<bool, StoreError> {
        let live = self.store.live_jobs().await?;
        Ok(live
            .iter()
            .any(|job| job.step().is_some_and(JobStep::downloads) && job.waiting.is_none()))
    }

    /// Removes what is kept about contents that the archive no longer has.
    async fn forget(&self, source: &str) -> Result<(), Interrupted> {
        let contents = self.reporter.contents(source)?;
        if !contents.is_empty() {
            self.store.forget_comparisons(source, &contents).await?;
        }
        Ok(())
    }
}
