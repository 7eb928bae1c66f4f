//! How much a download differs from the last good snapshot: compared before it is filed, for
//! sources that set `max_change`.

use super::Engine;
use crate::archive::{Archive, Received};
use crate::diff::{self, Archived, DiffError, Options, Unfiled, Until};
use crate::manifest::{ChangeCounts, PublishedVersion};
use crate::printable;
use crate::settings::Source;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a comparison may take: 2 GiB take about a minute.
const DEADLINE: Duration = Duration::from_mins(15);

/// How much a download differs from the last good snapshot, or why that is not known; `None` where
/// it is not compared.
pub(super) type Compared = Option<Result<ChangeCounts, String>>;

/// A download that may be filed.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) received: Received,
    pub(super) compared: Compared,
    /// The version that it came from, where that is known.
    pub(super) came_from: Option<PublishedVersion>,
}

impl Engine {
    /// Compares a download with the source's last good snapshot if the source asks for that, one
    /// download at a time. Whatever fails, the download stays as it is. `None` when `cancel` was
    /// cancelled.
    pub(super) async fn compare(
        &self,
        source: &Source,
        received: Received,
        state_dir: &Path,
        cancel: &CancellationToken,
    ) -> Option<Candidate> {
        if source.max_change.is_none() || received.validation.is_err() {
            return Some(Candidate { received, compared: None, came_from: None });
        }
        let _one = tokio::select! {
            one = self.shared.comparing.lock() => one,
            () = cancel.cancelled() => return None,
        };
        let stop = cancel.child_token();
        let (archive, source) = (self.shared.archive.clone(), source.name.clone());
        let (folder, stopped) = (state_dir.to_owned(), stop.clone());
        let mut work = tokio::task::spawn_blocking(move || {
            // A panic must not lose the download.
            let compare = || compare(&archive, &source, &received, &folder, &stopped);
            let compared = catch_unwind(AssertUnwindSafe(compare))
                .unwrap_or_else(|panic| Some(Err(printable::panic_message(&*panic))));
            Candidate { received, compared, came_from: None }
        });
        let ended = match tokio::time::timeout(DEADLINE, &mut work).await {
            Ok(ended) => ended,
            Err(_) => {
                stop.cancel();
                let late = format!("that takes longer than {} minutes", DEADLINE.as_secs() / 60);
                work.await.map(|it| Candidate { compared: Some(Err(late)), ..it })
            }
        };
        ended.ok().filter(|_| !cancel.is_cancelled())
    }
}

fn compare(
    archive: &Archive,
    source: &str,
    received: &Received,
    folder: &Path,
    stop: &CancellationToken,
) -> Compared {
    let baseline = match archive.baseline(source) {
        Ok(baseline) => baseline?,
        Err(error) => return Some(Err(error.to_string())),
    };
    if baseline.manifest.content == received.content {
        let unchanged = baseline.manifest.entities;
        return Some(Ok(ChangeCounts { unchanged, ..ChangeCounts::default() }));
    }
    let old = Archived::new(archive, &baseline, &|_| {});
    let options = Options::beside_work(folder.to_owned(), 0);
    let compared = diff::compare(
        &Until { document: old, stop },
        &Until { document: Unfiled(received), stop },
        &options,
    );
    Some(compared.map(|diff| diff.counts()).map_err(|error: DiffError| error.to_string()))
}
