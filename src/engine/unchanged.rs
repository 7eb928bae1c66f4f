//! The look before a backup of a source that sets `skip_unchanged`: when the service still lists
//! the version that the newest snapshot came from, no remote job is started.
//!
//! What a look found is kept in memory until its job has ended. After a restart the next look finds
//! it again; a snapshot whose look was lost only lacks the version that it came from, and is
//! followed by a whole download.

use super::Engine;
use super::step::{Effect, Work};
use crate::job::{Job, ListedVersion, Outcome, VersionState};
use crate::manifest::{Origin, PublishedVersion, is_unchanged};
use crate::service::Failure;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// A job that has waited for longer than this since its look is looked at again.
const LOOK_AGAIN: TimeDelta = TimeDelta::hours(1);

/// What a job's last look found.
#[derive(Debug, Clone)]
struct Look {
    at: DateTime<Utc>,
    /// The version that a download would bring, if it is known.
    listed: Option<PublishedVersion>,
}

/// The last look of each live job, by its number.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<BTreeMap<i64, Look>>);

impl Looks {
    fn with<T>(&self, use_looks: impl FnOnce(&mut BTreeMap<i64, Look>) -> T) -> T {
        use_looks(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The jobs that may be submitted without another look.
    pub(super) fn recent(&self, now: DateTime<Utc>) -> BTreeSet<i64> {
        let is_recent = |look: &Look| now >= look.at && now - look.at < LOOK_AGAIN;
        let ids = |looks: &mut BTreeMap<i64, Look>| {
            looks.iter().filter(|(_, look)| is_recent(look)).map(|(id, _)| *id).collect()
        };
        self.with(ids)
    }

    /// Forgets a job that has ended.
    pub(super) fn forget(&self, job: i64) {
        self.with(|looks| looks.remove(&job));
    }

    /// The version that was listed before the job's remote job was submitted, if that is known.
    fn listed_before(&self, job: i64) -> Option<PublishedVersion> {
        self.with(|looks| looks.get(&job).and_then(|look| look.listed.clone()))
    }
}

/// The version that an export of this origin brings: the published one, or the one that is asked
/// for. `None` unless the service says both its identifier and its date.
fn exported(versions: &[ListedVersion], origin: &Origin) -> Option<PublishedVersion> {
    let is_wanted = |version: &&ListedVersion| match &origin.version {
        Some(id) => version.id.eq_ignore_ascii_case(id),
        None => version.state == VersionState::Published,
    };
    let version = versions.iter().find(is_wanted)?;
    Some(PublishedVersion { job_id: version.id.clone(), date: version.date? })
}

impl Engine {
    /// Looks whether the service still has what the source's newest snapshot came from.
    pub(super) async fn look_for_change(&self, work: &Work<'_>) -> Option<Effect> {
        let listed = tokio::select! {
            listed = self.list_exported(work) => listed,
            () = work.handle.cancel.cancelled() => return None,
        };
        let (listed, note) = match listed {
            Ok(listed) => (listed, None),
            Err(failure) => {
                let message = failure.message;
                (None, Some(format!("what is published is not known, it is exported: {message}")))
            }
        };
        let (engine, source) = (self.clone(), work.source.clone());
        let (version, now) = (listed.clone(), self.now());
        let same = tokio::task::spawn_blocking(move || {
            let every = source.skip_unchanged?;
            let archive = &engine.shared.archive;
            // What cannot be read is downloaded, where the trouble is reported.
            let newest = archive.newest(&source.name).ok()??;
            let origin = source.target.origin();
            let is_same = is_unchanged(&newest.manifest, origin, &version?, every, now);
            // A damaged snapshot stands for nothing: the service still has what it held.
            (is_same && archive.is_intact(&newest)).then_some(newest)
        });
        if let Some(same) = same.await.ok().flatten() {
            let message = format!(
                "unchanged: the service still lists the version that {} came from",
                same.manifest.name()
            );
            return Some(Outcome::Unchanged { manifest: same.path, message }.into());
        }
        let look = Look { at: now, listed };
        self.shared.looks.with(|looks| looks.insert(work.job.id, look));
        Some(Outcome::NotUnchanged { note }.into())
    }

    /// The version that an export brings now.
    async fn list_exported(&self, work: &Work<'_>) -> Result<Option<PublishedVersion>, Failure> {
        let Some(listing) = work.service.listing() else { return Ok(None) };
        let versions = listing.versions(work.target, self.now()).await?;
        Ok(exported(&versions, work.target.origin()))
    }

    /// The version that a download came from: the one that was listed before its remote job was
    /// submitted, and still is.
    pub(super) async fn came_from(&self, work: &Work<'_>) -> Option<PublishedVersion> {
        work.source.skip_unchanged?;
        let before = self.shared.looks.listed_before(work.job.id)?;
        let after = self.list_exported(work).await.ok()??;
        (after == before).then_some(after)
    }
}

/// Whether a job's next step is such a look: its intent to submit is not written yet.
pub(super) fn is_look(job: &Job) -> bool {
    job.is_ordinary_backup() && !job.is_submitting()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_brings_what_is_published_or_asked_for() {
        let at = DateTime::UNIX_EPOCH;
        let one = |id: &str, state, date| ListedVersion { id: id.into(), state, date };
        let versions = [
            one("a", VersionState::Staged, Some(at)),
            one("b", VersionState::Published, Some(at)),
            one("c", VersionState::Older, Some(at)),
            one("d", VersionState::Older, None),
        ];
        let found = |versions: &[ListedVersion], version: Option<&str>| {
            let version = version.map(str::to_owned);
            let origin = Origin { access_id: "x".into(), data_source: "S".into(), version };
            exported(versions, &origin).map(|it| it.job_id)
        };
        assert_eq!(found(&versions, None), Some("b".to_owned()));
        assert_eq!(found(&versions, Some("C")), Some("c".to_owned()));
        assert_eq!(found(&versions, Some("d")), None);
        assert_eq!(found(&versions, Some("e")), None);
        assert_eq!(found(&versions[..1], None), None);
    }
}
