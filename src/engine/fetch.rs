//! Fetching, validating and filing a result.

use super::compare::Candidate;
use super::holds;
use super::resumable::ResumableDownload;
use super::step::{Effect, Work};
use super::{Engine, EngineConfig, Notice};
use crate::archive::{
    Attempt, Incoming, ReceiveError, Received, Snapshot, SnapshotMeta, panic_message,
};
use crate::failpoint::Point;
use crate::files;
use crate::job::{
    ErrorKind, Job, JobEvent, Operation, Outcome, Policy, RemoteJob, hold_of_safety,
    is_last_attempt, refusal,
};
use crate::manifest::{HIGHEST_JOB, Name, Role, changed_much, newly_unreadable, suspicions};
use crate::service::{ExportService, Failure};
use crate::settings::Source;
use futures_util::StreamExt;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

/// Less free space than this is a full disk, whatever is to be fetched.
const LEAST_SPACE: u64 = 64 << 10;
/// An export compresses to about a tenth; a quarter leaves a margin for those that do worse.
const PRESUMED_RATIO: u64 = 4;

impl Engine {
    /// Fetches the job's result into the archive; `None` when it was cancelled.
    pub(super) async fn fetch(&self, work: &Work<'_>) -> Option<Effect> {
        let Work { config, source, service, job, handle, .. } = *work;
        let name = Name::new(job.submitted_at(), job.id);
        if !name.is_valid() {
            let (kind, message) = (ErrorKind::Corrupt, impossible_name(name));
            return Some(Outcome::Unproven { kind, message }.into());
        }
        if self.fails_at(Point::Fetch) {
            return None;
        }
        if let Some(snapshot) = self.shared.archive.find(&source.name, name) {
            // Filed just before a crash or a full disk; the job was not updated.
            let how = "found in the archive: it was filed before the job was updated";
            return Some(self.held(job, &snapshot, archived(&snapshot, how, None)).into());
        }
        let received = tokio::select! {
            received = self.receive(work, name) => received,
            () = handle.cancel.cancelled() => return None,
        };
        let (received, events) = match received {
            Ok(arrived) => arrived,
            Err(outcome) => return Some(outcome.into()),
        };
        let folder = &config.settings.state_dir;
        let candidate = match job.is_ordinary_backup() {
            true => self.compare(source, received, folder, &handle.cancel).await?,
            false => Candidate { received, compared: None, came_from: None },
        };
        let came_from = tokio::select! {
            came_from = self.came_from(work) => came_from,
            () = handle.cancel.cancelled() => return None,
        };
        let candidate = Candidate { came_from, ..candidate };
        if self.fails_at(Point::Settle) {
            return None;
        }
        // If the job was cancelled or taken over meanwhile, the result is discarded.
        match self.shared.store.holds(&self.shared.worker.name, job.id).await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => return Some(Outcome::Storage(error.to_string()).into()),
        }
        // Not interrupted from here on: what was fetched is filed.
        let source = Source { target: work.target.clone(), ..source.clone() };
        let (engine, job) = (self.clone(), job.clone());
        let policy = config.policy();
        let service = Arc::clone(service);
        let settle = move || engine.settle(&policy, &*service, &source, &job, name, candidate);
        let settled = tokio::task::spawn_blocking(settle).await;
        let outcome = match settled {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => cannot_file(&error),
            Err(panicked) => Outcome::Panicked(panic_message(panicked)),
        };
        Some(Effect { outcome, events })
    }

    /// Everything up to and including validation.
    pub(super) async fn receive(
        &self,
        work: &Work<'_>,
        name: Name,
    ) -> Result<(Received, Vec<JobEvent>), Outcome> {
        let Work { config, source, service, target, job, .. } = *work;
        let archive = &self.shared.archive;
        let url = job.result_url().unwrap_or_default();
        files::make_folder(archive.root()).map_err(|error| cannot_file(&error))?;
        let newest = archive.newest(&source.name).map_err(|error| cannot_file(&error))?;
        self.check_space(newest.map_or(0, |newest| newest.manifest.stored.bytes))?;
        let mut download = service.fetch(target, url, self.now()).await.map_err(Outcome::Failed)?;
        let length = download.length;
        // More than may be received is not received, whatever the service announces.
        let most = length.unwrap_or(0).min(config.settings.http.max_bytes);
        self.check_space(most / PRESUMED_RATIO)?;
        let number = self.shared.attempts.fetch_add(1, Ordering::Relaxed);
        let attempt = Attempt::new(&self.shared.worker.name, number);
        let incoming = Incoming {
            source: &source.name,
            name,
            attempt,
            format: service.format(target),
            max_bytes: config.settings.http.max_bytes,
        };
        let mut before = 0;
        let progress = |bytes: u64| {
            self.shared.received.fetch_add(bytes.saturating_sub(before), Ordering::Relaxed);
            before = bytes;
            self.notify(Notice::Receiving { job: job.id, bytes, length });
        };
        let notes = Mutex::new(std::mem::take(&mut download.notes));
        let resumable = ResumableDownload {
            service: &**service,
            target,
            url,
            policy: config.policy(),
            download,
            notes: &|note| notes.lock().unwrap_or_else(PoisonError::into_inner).push(note),
            offset: 0,
        };
        archive
            .receive(incoming, resumable.chunks().boxed(), progress)
            .await
            .map(|received| {
                let notes = notes.into_inner().unwrap_or_else(PoisonError::into_inner);
                (received, notes.into_iter().map(JobEvent::Note).collect())
            })
            .map_err(|error: ReceiveError<Failure>| match error {
                ReceiveError::Remote(failure) => Outcome::Failed(failure),
                ReceiveError::Storage(error) => cannot_file(&error),
                ReceiveError::Panicked(message) => Outcome::Panicked(message),
            })
    }

    fn check_space(&self, needed: u64) -> Result<(), Outcome> {
        let needed = needed.max(LEAST_SPACE);
        let free = self.shared.archive.free_space().map_err(|error| cannot_file(&error))?;
        if free < needed {
            return Err(Outcome::Storage(format!(
                "the archive's disk is full: fewer than the {needed} bytes that are needed are free \
                 in {}; free some space; the job retries automatically",
                self.shared.archive.root().display()
            )));
        }
        Ok(())
    }

    /// Files what can be archived; moves the rest to quarantine.
    fn settle(
        &self,
        policy: &Policy,
        service: &dyn ExportService,
        source: &Source,
        job: &Job,
        name: Name,
        candidate: Candidate,
    ) -> io::Result<Outcome> {
        let is_last = is_last_attempt(job, policy, self.now());
        let (kind, problem) = match &candidate.received.validation {
            Ok(summary) => {
                let warning = summary.warnings.first().map(ToString::to_string);
                match refusal(summary.entities, job.expected(), warning, is_last) {
                    Some(refusal) => refusal,
                    None => return self.file(service, source, job, candidate),
                }
            }
            Err(error) => (ErrorKind::Corrupt, error.to_string()),
        };
        // What was announced is there, and only its keys or its schema are not proven.
        let received = candidate.received;
        let is_whole = kind == ErrorKind::Corrupt && received.validation.is_ok();
        let archive = &self.shared.archive;
        let kept = archive.quarantine(&source.name, name, job.attempts, is_whole, received);
        let place = match kept {
            Ok(path) => format!("kept aside as {}", path.display()),
            Err(error) => format!("it could not be kept aside: {error}"),
        };
        Ok(Outcome::Unproven { kind, message: format!("{problem} ({place})") })
    }

    /// Archives the job's newest document that was quarantined although it was whole, for the job
    /// fails otherwise. `None` where there is none, or it cannot be archived.
    pub(super) async fn file_quarantined(
        &self,
        config: &EngineConfig,
        job: &Job,
    ) -> Option<Outcome> {
        let source = config.settings.source(&job.source)?.clone();
        let service = Arc::clone(config.services.get(&source.account)?);
        if !self.shared.store.holds(&self.shared.worker.name, job.id).await.ok()? {
            return None;
        }
        let number = self.shared.attempts.fetch_add(1, Ordering::Relaxed);
        let attempt = Attempt::new(&self.shared.worker.name, number);
        let (archive, id, limit) =
            (self.shared.archive.clone(), job.id, config.settings.http.max_bytes);
        let (name, format) = (source.name.clone(), service.format(&source.target));
        let found = not_archived(
            tokio::task::spawn_blocking(move || archive.requeue(&name, id, attempt, format, limit))
                .await,
        );
        let (name, received) = found??;
        let (folder, never) = (&config.settings.state_dir, CancellationToken::new());
        let candidate = self.compare(&source, received, folder, &never).await?;
        // Of an earlier remote job: its id and its announced number are no longer the job's.
        let remote = Some(RemoteJob::intended(name.created_at()));
        let (engine, earlier) = (self.clone(), Job { remote, ..job.clone() });
        let file = move || engine.file(&*service, &source, &earlier, candidate);
        not_archived(tokio::task::spawn_blocking(file).await)
    }

    fn file(
        &self,
        service: &dyn ExportService,
        source: &Source,
        job: &Job,
        candidate: Candidate,
    ) -> io::Result<Outcome> {
        let Candidate { mut received, compared, came_from } = candidate;
        let summary = match &mut received.validation {
            Ok(summary) => summary,
            Err(error) => return Err(io::Error::other(error.to_string())),
        };
        // A manifest never holds the key, not even where the document does.
        for column in &mut summary.unreadable {
            column.first_key.take_if(|key| service.redact(key) != *key);
        }
        let archive = &self.shared.archive;
        let baseline = archive.baseline(&source.name)?.map(|it| it.manifest.entities);
        let before = archive.newest(&source.name)?.map(|it| it.manifest.unreadable);
        let mut suspicious = Vec::new();
        if job.is_ordinary_backup() {
            let (least, most) = (source.min_entities, source.max_shrink);
            suspicious.extend(suspicions(summary.entities, least, most, baseline));
            suspicious.extend(newly_unreadable(&summary.unreadable, before.as_deref()));
        }
        suspicious.extend(summary.warnings.iter().map(|warning| format!("not proven: {warning}")));
        let unknown = match compared {
            Some(Ok(counts)) => {
                let limit = source.max_change.unwrap_or(1.0);
                suspicious.extend(changed_much(&counts, limit));
                None
            }
            Some(Err(error)) => Some(format!("how much has changed is not known: {error}")),
            None => None,
        };
        let suspicious = suspicious.iter().map(|reason| service.redact(reason)).collect();
        let uncounted = "the service announced no number of entities: that none is missing is \
                         not proven";
        let meta = SnapshotMeta {
            source: source.name.clone(),
            origin: source.target.origin().clone(),
            role: role_of(job),
            published_version: came_from,
            job: job.id,
            remote_id: job.remote_id().map(str::to_owned),
            scheduled_for: job.scheduled_for,
            created_at: job.submitted_at(),
            completed_at: self.now(),
            expected: job.expected(),
            suspicious,
            notes: job.expected().is_none().then(|| uncounted.to_owned()).into_iter().collect(),
        };
        let snapshot = archive.file(received, meta)?;
        let how = match &snapshot.manifest.same_content_as {
            Some(duplicate) => format!("identical with {duplicate}, so it costs no space"),
            None => format!("{} bytes stored", snapshot.manifest.stored.bytes),
        };
        Ok(self.held(job, &snapshot, archived(&snapshot, &how, unknown)))
    }

    /// The outcome, once a restore holds its safety backup. A hold that cannot be written is tried
    /// again, as every file is.
    fn held(&self, job: &Job, snapshot: &Snapshot, outcome: Outcome) -> Outcome {
        if job.operation != Operation::Restore {
            return outcome;
        }
        let hold = hold_of_safety(job, &snapshot.path);
        match holds::hold(&self.shared.archive, &hold, self.now()) {
            Ok(()) => outcome,
            Err(error) => cannot_file(&error),
        }
    }
}

/// What the snapshot is for that a job makes.
fn role_of(job: &Job) -> Role {
    match (job.operation, &job.version) {
        (Operation::Restore, _) => Role::Safety,
        (Operation::Backup, Some(_)) => Role::Version,
        (Operation::Backup, None) => Role::Ordinary,
    }
}

/// What was done with a quarantined document; `None`, and an error in the log, if it failed.
fn not_archived<T>(done: Result<io::Result<T>, JoinError>) -> Option<T> {
    match done {
        Ok(Ok(done)) => Some(done),
        Ok(Err(error)) => {
            tracing::error!(%error, "the quarantined document could not be archived");
            None
        }
        Err(panicked) => {
            tracing::error!(error = panic_message(panicked), "archiving failed");
            None
        }
    }
}

/// Why nothing can be archived under this name.
pub(super) fn impossible_name(name: Name) -> String {
    format!(
        "{name} is no name for a snapshot: the job's number must be from 1 to {HIGHEST_JOB}, and its \
         instant in a year of four digits. Move files with such numbers out of the archive, and start \
         nightjar again"
    )
}

/// At most this many columns with unreadable values get a line in the timeline.
const COLUMNS_NOTED: usize = 10;

fn archived(snapshot: &Snapshot, how: &str, note: Option<String>) -> Outcome {
    let manifest = &snapshot.manifest;
    let proven = if manifest.unproven.is_empty() { "proven and " } else { "" };
    let mut notes: Vec<String> = manifest
        .unreadable
        .iter()
        .take(COLUMNS_NOTED)
        .map(|one| format!("kept as sent, but not readable as the column's type: {one}"))
        .collect();
    if let Some(more) = manifest.unreadable.len().checked_sub(COLUMNS_NOTED + 1) {
        notes.push(format!("unreadable values in {} columns more: see the manifest", more + 1));
    }
    notes.extend(note);
    Outcome::Archived {
        manifest: snapshot.path.clone(),
        message: format!(
            "{} entities, {} bytes, {proven}filed as {} ({how})",
            manifest.entities,
            manifest.content.bytes,
            manifest.name()
        ),
        suspicious: manifest.suspicious.clone(),
        notes,
    }
}

pub(super) fn cannot_file(error: &dyn std::error::Error) -> Outcome {
    Outcome::Storage(format!("the archive cannot be written: {error}"))
}
