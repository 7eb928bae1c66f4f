//! Backups of the staged and older versions of a source with `versions = "all"`: one after another,
//! each once, after the source's ordinary backup.

use super::{Engine, EngineConfig};
use crate::archive::Archive;
use crate::job::{Job, State, Trigger, VersionState};
use crate::policy::apart::KEEP_VERSIONS;
use crate::service::ExportService;
use crate::settings::Source;
use crate::store::{Creation, Filter, NewJob, StoreError};
use std::collections::BTreeSet;

/// The failed jobs of a source that are looked at, the newest.
const FAILED: u32 = 50;

/// Whether the next version of its source may be backed up now that this job has ended: after an
/// ordinary backup that is archived, and after that of a version, well or not.
fn goes_on(job: &Job) -> bool {
    match job.version {
        None => job.is_ordinary_backup() && job.state == State::Archived,
        Some(_) => matches!(job.state, State::Archived | State::Failed),
    }
}

/// Whether an account can spare an export: as many as it has sources are left for their ordinary
/// backups.
fn is_spare(started: u32, sources: usize, most: u32) -> bool {
    let reserved = u32::try_from(sources).unwrap_or(u32::MAX);
    started.saturating_add(reserved) < most
}

/// The first of these versions, oldest first, that is not known. The listing has the newest first;
/// no more are backed up than retention keeps.
fn next_unknown(versions: Vec<String>, known: &BTreeSet<String>) -> Option<String> {
    let mut kept = versions.into_iter().take(KEEP_VERSIONS as usize);
    kept.rfind(|version| !known.contains(&version.to_lowercase()))
}

/// The versions that a source's snapshots came from, in lower case.
fn archived_versions(archive: &Archive, source: &str) -> std::io::Result<BTreeSet<String>> {
    let versions = archive.snapshots(source)?.flat_map(|snapshot| {
        let published = snapshot.manifest.published_version.map(|version| version.job_id);
        snapshot.manifest.origin.version.into_iter().chain(published)
    });
    Ok(versions.map(|version| version.to_lowercase()).collect())
}

impl Engine {
    /// Creates the backup of the next version of a source, if there is one that is not archived
    /// yet. What goes wrong is logged: the source's next backup tries again.
    pub(super) async fn begin_next_version(&self, config: &EngineConfig, ended: &Job) {
        let Some(source) = config.settings.source(&ended.source) else { return };
        let Some(service) = config.services.get(&source.account) else { return };
        if !source.all_versions || !goes_on(ended) {
            return;
        }
        if let Err(error) = self.create_next_version(config, source, &**service).await {
            let source = source.name.as_str();
            tracing::warn!(source, "its other versions are not backed up now: {error}");
        }
    }

    async fn create_next_version(
        &self,
        config: &EngineConfig,
        source: &Source,
        service: &dyn ExportService,
    ) -> Result<(), String> {
        let (store, now) = (&self.shared.store, self.now());
        let said = |error: StoreError| error.to_string();
        let Some(account) = config.settings.account_of(source) else { return Ok(()) };
        let (_, started) = store.quota_used(&account.name, now).await.map_err(said)?;
        let of_account = |it: &&Source| it.account == account.name;
        let sources = config.settings.sources.iter().filter(of_account).count();
        if !is_spare(started, sources, account.max_jobs_per_day) {
            return Ok(());
        }
        let Some(listing) = service.listing() else { return Ok(()) };
        let listed = listing.versions(&source.target, now).await;
        let listed = listed.map_err(|failure| failure.message)?;
        // By the identifiers that their manifests have.
        let others = listed.into_iter().filter(|version| version.state != VersionState::Published);
        let targets = others.filter_map(|it| listing.at_version(&source.target, &it.id).ok());
        let versions = targets.filter_map(|target| target.origin().version.clone()).collect();
        let (archive, name) = (self.shared.archive.clone(), source.name.clone());
        let known = tokio::task::spawn_blocking(move || archived_versions(&archive, &name));
        let known = known.await.map_err(|error| error.to_string())?;
        let mut known = known.map_err(|error| error.to_string())?;
        known.extend(source.target.origin().version.iter().map(|it| it.to_lowercase()));
        known.extend(self.failed_versions(&source.name).await.map_err(said)?);
        let Some(version) = next_unknown(versions, &known) else { return Ok(()) };
        let new = NewJob {
            source: source.name.clone(),
            account: source.account.clone(),
            trigger: Trigger::Schedule,
            note: format!("version {version}, which is not published"),
        };
        match store.create_version(new, version, now).await.map_err(said)? {
            Creation::Created(job) => {
                tracing::info!(job = job.id, source = job.source, "another version is backed up");
            }
            // It comes after the source's next ordinary backup.
            Creation::Busy(_) => {}
        }
        Ok(())
    }

    /// The versions whose backup has failed since the source's last ordinary one, in lower case.
    async fn failed_versions(&self, source: &str) -> Result<BTreeSet<String>, StoreError> {
        let store = &self.shared.store;
        let since = store.last_archived(source).await?.map_or(0, |job| job.id);
        let filter = Filter {
            source: Some(source.to_owned()),
            state: Some(State::Failed),
            limit: FAILED,
            ..Filter::default()
        };
        let failed = store.jobs(&filter).await?.into_iter().filter(|job| job.id > since);
        Ok(failed.filter_map(|job| job.version).map(|it| it.to_lowercase()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_unknown_version_is_next_and_no_more_than_are_kept() {
        let listed = |most: usize| (0..most).map(|at| format!("V{at}")).collect::<Vec<_>>();
        let known = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
        let next = |most, ids: &[&str]| next_unknown(listed(most), &known(ids));
        assert_eq!(next(3, &[]), Some("V2".to_owned()));
        assert_eq!(next(3, &["v2"]), Some("V1".to_owned()));
        assert_eq!(next(3, &["v0", "v1", "v2"]), None);
        assert_eq!(next(0, &[]), None);
        assert_eq!(next(1000, &[]), Some("V9".to_owned()));
    }

    #[test]
    fn the_exports_of_ordinary_backups_are_reserved() {
        assert!(is_spare(0, 1, 2));
        assert!(!is_spare(1, 1, 2));
        assert!(!is_spare(0, 25, 25));
        assert!(is_spare(24, 25, 50));
        assert!(!is_spare(25, 25, 50));
    }
}
