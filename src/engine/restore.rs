//! The steps of a restore before the staged version is compared: check, look, change. Comparing is
//! in `verify`.

use super::document::{DocumentError, RestoredDocument};
use super::fetch::cannot_file;
use super::step::{Effect, Work};
use super::{Engine, EngineConfig};
use crate::archive::panic_message;
use crate::failpoint::Point;
use crate::job::{ErrorKind, Failure, FailureKind, Job, JobStep, Looked, Outcome, Restore, Stage};
use crate::service::{ExportService, Listing, LoadMode, LoadRules, Restoring, Submitted, Target};
use crate::settings::Source;
use std::io;

/// Identifiers that a look keeps, at most. A service lists the jobs of some days.
const LISTED: usize = 5_000;

/// Why a step cannot be taken, however often it is tried.
pub(super) fn refused(kind: ErrorKind, message: impl Into<String>) -> Outcome {
    Outcome::Refused { kind, message: message.into() }
}

/// The work on a request ended before anything was sent, and its intent is taken back. That is no
/// failure of the service, and is not counted as one.
fn not_sent() -> Outcome {
    let message = "stopped before the request was sent";
    Outcome::Failed(Failure::new(FailureKind::Local, message))
}

pub(super) fn cannot_load() -> Outcome {
    refused(ErrorKind::Rejected, "the source's service does not support loading data")
}

/// Whether the folder of the snapshot is not there, as when its disk is not mounted: then the
/// snapshot is not known to be gone.
fn is_away(restore: &Restore) -> bool {
    let folder = restore.snapshot.as_ref().and_then(|it| it.manifest.parent());
    folder.is_some_and(|folder| !folder.exists())
}

/// What a job's exports are of: the source's own target, or a version of it.
///
/// # Errors
/// The service has no versions, or none of this identifier.
pub(super) fn target_of(
    service: &dyn ExportService,
    source: &Source,
    job: &Job,
) -> Result<Target, Failure> {
    let version = match job.stage() {
        Stage::Verify => job.restore.as_ref().and_then(|restore| restore.version.as_deref()),
        _ => job.version.as_deref(),
    };
    let Some(version) = version else { return Ok(source.target.clone()) };
    let rejected = || Failure::new(FailureKind::Rejected, "the service has no versions");
    service.listing().ok_or_else(rejected)?.at_version(&source.target, version)
}

/// Whether the configuration names something else than what the job's step was begun for.
pub(super) fn is_retargeted(config: &EngineConfig, source: &Source, job: &Job) -> bool {
    let now = || config.settings.requested(source);
    if let Some(restore) = &job.restore {
        return restore.destination != now();
    }
    let asks = matches!(job.step(), Some(JobStep::Poll | JobStep::Fetch));
    let requested = job.remote.as_ref().and_then(|remote| remote.requested.as_ref());
    asks && requested.is_some_and(|requested| *requested != now())
}

impl Engine {
    /// Reads the snapshot that is to be restored, after it is held.
    pub(super) async fn check(&self, work: &Work<'_>) -> Option<Effect> {
        let restore = work.job.restore.clone()?;
        let Some(restoring) = work.service.restoring() else { return Some(cannot_load().into()) };
        if work.source.target.origin().version.is_some() {
            let message = "the destination is configured as one version of its data source: what \
                           it publishes is another one";
            return Some(refused(ErrorKind::Rejected, message).into());
        }
        if let Err(error) = self.hold_restored(work.job).await {
            let outcome = match error.kind() {
                io::ErrorKind::NotFound if !is_away(&restore) => {
                    refused(ErrorKind::NotFound, format!("the snapshot is gone: {error}"))
                }
                _ => cannot_file(&error),
            };
            return Some(outcome.into());
        }
        let (engine, rules) = (self.clone(), restoring.rules());
        let checking = tokio::task::spawn_blocking(move || engine.check_now(&restore, &rules));
        let outcome = tokio::select! {
            checked = checking => checked.unwrap_or_else(|error| Outcome::Panicked(panic_message(error))),
            () = work.handle.cancel.cancelled() => return None,
        };
        (!self.fails_at(Point::RestoreChecked)).then_some(outcome.into())
    }

    fn check_now(&self, restore: &Restore, rules: &LoadRules) -> Outcome {
        if restore.publish && restore.verify && !restore.safety && !restore.only.is_empty() {
            let message = "without the safety backup, the entities that are not named would be \
                           published without being compared";
            return refused(ErrorKind::Rejected, message);
        }
        let document = match self.document(restore) {
            Ok(document) => document,
            Err(outcome) => return outcome,
        };
        let (bytes, entities) = (document.length(), document.entities);
        if bytes > rules.bytes || entities > rules.entities {
            let message = format!(
                "the service takes {} bytes and {} entities in one load, and this is {bytes} bytes \
                 and {entities} entities",
                rules.bytes, rules.entities
            );
            return refused(ErrorKind::Rejected, message);
        }
        let name = document.snapshot.manifest.name();
        let message = format!(
            "the snapshot {name} is what its manifest says: {entities} entities, {bytes} bytes to \
             load"
        );
        let notes = match restore.safety {
            true => Vec::new(),
            false => {
                vec!["what is published is not backed up first, as was asked for".to_owned()]
            }
        };
        Outcome::Checked { message, notes }
    }

    pub(super) fn document(&self, restore: &Restore) -> Result<RestoredDocument, Outcome> {
        let Some(snapshot) = &restore.snapshot else {
            return Err(refused(ErrorKind::Protocol, "the restore names no snapshot"));
        };
        let archive = &self.shared.archive;
        RestoredDocument::find(archive, &snapshot.manifest, &snapshot.sha256, &restore.only)
            .map_err(|error| match error {
                DocumentError::Unusable(message) => refused(ErrorKind::Corrupt, message),
                DocumentError::Unreadable(message) => Outcome::Storage(message),
            })
    }

    /// Reads what the service lists.
    pub(super) async fn look(&self, work: &Work<'_>) -> Option<Effect> {
        let (Some(listing), Some(restoring)) = (work.service.listing(), work.service.restoring())
        else {
            return Some(cannot_load().into());
        };
        if self.fails_at(Point::RestoreLook) {
            return None;
        }
        let looked = tokio::select! {
            looked = self.listed(listing, restoring, work) => looked,
            () = work.handle.cancel.cancelled() => return None,
        };
        let outcome = looked.map_or_else(Outcome::Failed, Outcome::Looked);
        (!self.fails_at(Point::RestoreLooked)).then_some(outcome.into())
    }

    async fn listed(
        &self,
        listing: &dyn Listing,
        restoring: &dyn Restoring,
        work: &Work<'_>,
    ) -> Result<Looked, Failure> {
        let target = work.target;
        // A load that ends between the two is in the second.
        let activities = restoring.activities(self.now()).await?;
        let versions = match listing.versions(target, self.now()).await {
            // A source that does not exist has no versions; a load makes it.
            Err(failure) if failure.kind == FailureKind::NotFound => Vec::new(),
            versions => versions?,
        };
        if activities.len() > LISTED || versions.len() > LISTED {
            let message = format!("the service lists more than {LISTED} jobs or versions");
            return Err(Failure::new(FailureKind::Protocol, message));
        }
        let others = self.shared.store.remote_ids_of_others(work.job.id).await;
        let others = others.map_err(|error| Failure::new(FailureKind::Local, error.to_string()))?;
        Ok(Looked { name: target.origin().name().to_owned(), activities, versions, others })
    }

    /// Sends the request for a change. `None` when it was cancelled before it was sent, or its
    /// answer is lost.
    pub(super) async fn submit_change(&self, work: &Work<'_>, stage: Stage) -> Option<Effect> {
        let (Some(restoring), Some(restore)) = (work.service.restoring(), &work.job.restore) else {
            return Some(cannot_load().into());
        };
        let document = match stage {
            Stage::Load => {
                let (engine, restore) = (self.clone(), restore.clone());
                let finding = tokio::task::spawn_blocking(move || engine.document(&restore));
                let found = tokio::select! {
                    // A stop comes first, even when the document is found at the same moment.
                    biased;
                    () = work.handle.cancel.cancelled() => return Some(not_sent().into()),
                    found = finding => found,
                };
                match found {
                    Ok(Ok(document)) => Some(document),
                    // The archive cannot be read now: nothing was sent.
                    Ok(Err(Outcome::Storage(message))) => {
                        let failure = Failure::new(FailureKind::Local, message);
                        return Some(Outcome::Failed(failure).into());
                    }
                    Ok(Err(outcome)) => return Some(outcome.into()),
                    Err(panicked) => {
                        return Some(refused(ErrorKind::Protocol, panic_message(panicked)).into());
                    }
                }
            }
            _ => None,
        };
        // The last moment at which a cancel prevents it.
        match self.shared.store.holds(&self.shared.worker.name, work.job.id).await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                let failure = Failure::new(FailureKind::Local, error.to_string());
                return Some(Outcome::Failed(failure).into());
            }
        }
        let (before, after) = match stage {
            Stage::Load => (Point::LoadSubmit, Point::LoadSubmitted),
            Stage::RollBack => (Point::RollBackSubmit, Point::RollBackSubmitted),
            _ => (Point::PublishSubmit, Point::PublishSubmitted),
        };
        if self.fails_at(before) {
            return None;
        }
        let version = restore.version.as_deref().unwrap_or_default();
        let mode = if restore.only.is_empty() { LoadMode::Whole } else { LoadMode::Entities };
        let now = self.now();
        let request: futures_util::future::BoxFuture<'_, Result<Submitted, Failure>> =
            match (document, stage) {
                (Some(document), _) => {
                    let document = document.stream(self.shared.archive.clone());
                    restoring.load(work.target, mode, document, now)
                }
                (None, Stage::RollBack) => restoring.roll_back(work.target, version, now),
                (None, _) => restoring.publish(work.target, now),
            };
        let answer = tokio::select! {
            answer = request => answer,
            () = work.handle.abort.cancelled() => return None,
        };
        let outcome = answer.map_or_else(Outcome::Failed, Outcome::Submitted);
        (!self.fails_at(after)).then_some(outcome.into())
    }
}
