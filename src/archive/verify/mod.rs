//! Verifies the archive: reads every stored byte again and checks every statement of every
//! manifest. Collects all findings; none stops the verification.

mod compare;
mod recheck;
mod survey;

use self::survey::{DataFile, Survey};
use super::Archive;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// More threads than this would only make a disk seek.
const MOST_THREADS: usize = 4;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A snapshot is damaged, incomplete or not what its manifest claims.
    Error,
    /// Something does not belong here, but no snapshot is affected.
    Warning,
    /// Worth knowing; no action is needed.
    Note,
}

/// One problem that verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The source whose directory it is in; `null` for the archive's own directory.
    pub source: Option<String>,
    /// The snapshot that it concerns, as `SOURCE@TIMESTAMP-JOB` is made of; `null` for none.
    pub snapshot: Option<String>,
    /// The file's path.
    pub file: PathBuf,
    /// A machine-readable kind: `missing`, `damaged`, `claim`, `unproven`, `manifest`,
    /// `unreadable`, `orphan`, `unfinished`, `foreign`, `latest`, `older`.
    pub kind: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// A human-readable sentence.
    pub message: String,
}

/// The result of a verification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Whether every snapshot is intact: there is no [`Severity::Error`].
    pub ok: bool,
    /// How many snapshots were checked.
    pub checked: usize,
    /// Everything found, by source and file.
    pub findings: Vec<Finding>,
}

/// Progress of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Data files read to their end.
    pub done: usize,
    /// Data files to read.
    pub files: usize,
}

impl Archive {
    /// Verifies these sources, or the whole archive if none is named. A named source without a
    /// directory is a source without snapshots.
    pub fn verify(
        &self,
        only: &[String],
        progress: &(dyn Fn(VerifyProgress) + Sync),
    ) -> Verification {
        let mut survey = Survey::default();
        if only.is_empty() {
            survey.root(self);
        } else {
            for source in only {
                survey.folder(self, source);
            }
        }
        read_all(&survey.files, progress);
        survey.compare();
        survey.recheck(self);
        let mut findings = survey.findings;
        findings.sort_by(|a, b| (&a.source, &a.file, a.kind).cmp(&(&b.source, &b.file, b.kind)));
        Verification {
            ok: findings.iter().all(|finding| finding.severity != Severity::Error),
            checked: survey.checked,
            findings,
        }
    }
}

/// Reads the files on a few threads.
fn read_all(files: &[DataFile], progress: &(dyn Fn(VerifyProgress) + Sync)) {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    progress(VerifyProgress { done: 0, files: files.len() });
    thread::scope(|scope| {
        for _ in 0..threads.min(files.len()) {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let _ = file.examined.set(file.examine());
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    progress(VerifyProgress { done, files: files.len() });
                }
            });
        }
    });
}
